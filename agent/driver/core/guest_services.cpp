#include "agent/driver/core/guest_services.h"

#include <utility>

namespace reeve::agent::core_driver {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswer = 2s;
constexpr auto kAwake =
    10s;  ///< for a guest that has just come back, its memory perhaps still unread

class Wire final : public GuestAgentWire {
 public:
  explicit Wire(const VmmProcess& process) : process_(process) {}
  Result<std::string> exchange(const GuestAgentLine& line) override {
    core::v1::ControlRequest request;
    auto& call = *request.mutable_guest_agent_call();
    call.set_json(line.text);
    call.set_timeout_ms(static_cast<std::uint32_t>(line.timeout.count()));
    auto reply = process_.call(std::move(request), line.timeout + kAnswer);
    if (!reply.ok() && reply.error().reason() == "GUEST_STATE")
      return Error{Code::Unavailable, "VMM_GONE", reply.error().message()};
    if (!reply.ok()) return std::move(reply).error();
    return reply.value().guest_agent_answer();
  }

 private:
  const VmmProcess& process_;
};

}  // namespace

bool GuestServices::shut_down(const VmmProcess& process, GuestAgent::Shutdown how) const {
  Wire wire(process);
  GuestAgent agent(wire, clock_);
  agent.set_timeout(kAnswer);
  return agent.shutdown(how).ok();
}

void GuestServices::tell_time(const VmmProcess& process) const {
  Wire wire(process);
  GuestAgent agent(wire, clock_);
  agent.set_timeout(kAwake);
  if (agent.ping().ok()) (void)agent.set_time(clock_.wall());  // the time as late as can be
}

std::vector<std::string> GuestServices::ask(
    const std::map<std::string, const VmmProcess*>& running) {
  std::vector<std::string> uids;
  for (const auto& [uid, process] : running) uids.push_back(uid);
  return rota_.ask(uids, [&](const std::string& uid) {
    Wire wire(*running.at(uid));
    GuestAgent agent(wire, clock_);
    agent.set_timeout(kAnswer);
    return agent.facts();
  });
}

}  // namespace reeve::agent::core_driver
