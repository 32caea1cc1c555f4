#include "agent/driver/core/guest_services.h"

#include <utility>

namespace reeve::agent::core_driver {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswer = 2s;
constexpr auto kAwake =
    10s;  ///< for a guest that has just come back, its memory perhaps still unread
constexpr auto kTurn = 2s;         ///< between two guests that are asked for addresses
constexpr auto kFresh = 20s;       ///< how long an answer is good for
constexpr auto kSilence = 60s;     ///< how long a silent guest is left alone
constexpr std::size_t kMost = 16;  ///< addresses shown of one machine

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

std::vector<std::string> GuestServices::addresses(const std::string& uid,
                                                  const VmmProcess& process) {
  {
    Lock lock(mutex_);
    const auto now = clock_.monotonic();
    auto& known = known_[uid];
    if (now < known.ask_again || now < next_turn_) return known.addresses;
    next_turn_ = now + kTurn;
    known.ask_again = now + kSilence;  // also for who comes while we ask
  }
  Wire wire(process);
  GuestAgent agent(wire, clock_);
  agent.set_timeout(kAnswer);
  const auto nics = agent.nics();
  Lock lock(mutex_);
  auto& known = known_[uid];
  if (!nics.ok()) return known.addresses;
  known = {.ask_again = clock_.monotonic() + kFresh};
  for (const auto& nic : nics.value())
    for (const auto& address : nic.addresses)
      if (known.addresses.size() < kMost) known.addresses.push_back(address);
  return known.addresses;
}

void GuestServices::forget(const std::string& uid) {
  Lock lock(mutex_);
  known_.erase(uid);
}

}  // namespace reeve::agent::core_driver
