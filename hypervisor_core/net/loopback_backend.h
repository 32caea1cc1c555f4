// hypervisor_core/net/loopback_backend.h - two backends that are each other's far end, for tests.
#pragma once

#include <memory>
#include <utility>

#include "base/fd.h"
#include "hypervisor_core/net/backend.h"

namespace reeve::core {

class LoopbackBackend final : public NetBackend {
 public:
  using Ends = std::pair<std::unique_ptr<LoopbackBackend>, std::unique_ptr<LoopbackBackend>>;
  static Result<Ends> create(Offloads offloads = {});

  std::string_view kind() const override { return "loopback"; }
  Offloads offloads() const override { return offloads_; }
  Status set_guest_offloads(const Offloads& wanted) override {
    guest_ = wanted;
    return {};
  }
  Offloads guest_offloads() const { return guest_; }
  NetOutcome send(std::uint16_t pair, std::span<const iovec> frame) override;
  NetOutcome receive(std::uint16_t pair, std::span<const iovec> room, std::size_t& bytes) override;
  int fd(std::uint16_t /*pair*/) const override { return socket_.get(); }

 private:
  LoopbackBackend(Fd socket, Offloads offloads) : socket_(std::move(socket)), offloads_(offloads) {}
  Fd socket_;
  const Offloads offloads_;
  Offloads guest_{};
};

}  // namespace reeve::core
