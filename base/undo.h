// base/undo.h - clean-up that happens unless success releases it.
//
//   Undo undo;
//   TRY(make_dir(path));  undo.push([&] { remove_dir(path); });
//   TRY(fill(path));
//   undo.release();
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace reeve {

class Undo {
 public:
  Undo() = default;
  ~Undo() {
    for (auto it = steps_.rbegin(); it != steps_.rend(); ++it) (*it)();
  }
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;

  void push(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void release() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace reeve
