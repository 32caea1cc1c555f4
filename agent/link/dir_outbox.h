// agent/link/dir_outbox.h - the outbox as files: outbox/<number>.pb for each result, outbox/epoch.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "agent/link/outbox.h"
#include "agent/storage/beneath.h"

namespace reeve::agent {

class DirOutbox final : public Outbox {
 public:
  /// Opens or makes `<data>/outbox` (0700).
  static Result<std::unique_ptr<DirOutbox>> open(const std::string& data);

  Result<std::vector<std::pair<std::uint64_t, v1::StepResult>>> load() override;
  Result<std::uint64_t> put(const v1::StepResult& result) override;
  Status remove(std::uint64_t number) override;
  Result<std::uint64_t> epoch() override;
  Status set_epoch(std::uint64_t epoch) override;

 private:
  explicit DirOutbox(Folder folder) : folder_(std::move(folder)) {}

  const Folder folder_;
  std::atomic<std::uint64_t> next_{1};
};

}  // namespace reeve::agent
