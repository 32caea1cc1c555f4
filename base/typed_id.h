// base/typed_id.h - ids of different things are different types, so they cannot be swapped.
//
//   using VmId = TypedId<struct VmTag>;
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace reeve {

template <class Tag>
class TypedId {
 public:
  TypedId() = default;
  explicit TypedId(std::string text) : text_(std::move(text)) {}
  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend auto operator<=>(const TypedId&, const TypedId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const TypedId& id) { return out << id.text_; }

 private:
  std::string text_;
};

using HostId = TypedId<struct HostTag>;
using VmId = TypedId<struct VmTag>;
using ImageId = TypedId<struct ImageTag>;
using JobId = TypedId<struct JobTag>;

}  // namespace reeve

template <class Tag>
struct std::hash<reeve::TypedId<Tag>> {
  std::size_t operator()(const reeve::TypedId<Tag>& id) const {
    return std::hash<std::string>{}(id.text());
  }
};
