// hypervisor_core/net/tap_backend.h - frames through a tap device of the kernel
// (Documentation/networking/tuntap).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "hypervisor_core/net/backend.h"

namespace reeve::core {

class TapBackend final : public NetBackend {
 public:
  /// Attaches to the tap device `name`, making it when it does not exist (which needs privileges).
  /// InvalidArgument/TAP_NAME, NIC_PAIRS (1 to 8); PermissionDenied/FILE_ACCESS; errors of system
  /// calls.
  static Result<std::unique_ptr<TapBackend>> open(const std::string& name, std::uint16_t pairs);
  /// One attached descriptor per pair, opened by someone with privileges.
  static Result<std::unique_ptr<TapBackend>> adopt(std::vector<Fd> queues);

  std::string_view kind() const override { return "tap"; }
  std::uint16_t pairs() const override { return static_cast<std::uint16_t>(queues_.size()); }
  Offloads offloads() const override { return {.checksum = true, .tso4 = true, .tso6 = true}; }
  Status set_guest_offloads(const Offloads& wanted) override;
  Status use_pairs(std::uint16_t count) override;
  NetOutcome send(std::uint16_t pair, std::span<const iovec> frame) override;
  NetOutcome receive(std::uint16_t pair, std::span<const iovec> room, std::size_t& bytes) override;
  int fd(std::uint16_t pair) const override { return queues_[pair].get(); }

 private:
  explicit TapBackend(std::vector<Fd> queues)
      : queues_(std::move(queues)), attached_(queues_.size(), true) {}
  std::vector<Fd> queues_;
  std::vector<bool> attached_;
};

}  // namespace reeve::core
