// tests/hypervisor_core/lab/agent_wire.h - from agent/guest to a machine's process.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>

#include "agent/guest/guest_agent.h"
#include "hypervisor_core/control/client.h"
#include "tests/hypervisor_core/lab/machine.h"

namespace reeve::lab {

class AgentWire final : public agent::GuestAgentWire {
 public:
  explicit AgentWire(core::control::ControlClient client) : client_(std::move(client)) {}
  Result<std::string> exchange(const agent::GuestAgentLine& line) override {
    core::v1::ControlRequest request;
    auto& call = *request.mutable_guest_agent_call();
    call.set_json(line.text);
    call.set_timeout_ms(static_cast<std::uint32_t>(line.timeout.count()));
    call.set_thaw_after_ms(static_cast<std::uint32_t>(line.thaw_after.count()));
    auto reply = TRY(client_.call(std::move(request), line.timeout + std::chrono::seconds(10)));
    return reply.guest_agent_answer();
  }

 private:
  core::control::ControlClient client_;
};

/// `folder` is the run directory of the machine's process.
inline AgentWire wire_to(const std::filesystem::path& folder) {
  return AgentWire(take(
      core::control::ControlClient::connect(folder / core::control::kControlSocket), "its agent"));
}

}  // namespace reeve::lab
