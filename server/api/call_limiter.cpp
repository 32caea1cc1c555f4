#include "server/api/call_limiter.h"

#include "server/auth/audit_log.h"

namespace reeve::server {

Status CallLimiter::enter(const std::string& actor, const std::string& address) {
  const int most = actor == kAnonymous ? limits_.anonymous : limits_.per_actor;
  Lock lock(mutex_);
  const auto by_actor = by_actor_.find(actor);
  const auto by_address = by_address_.find(address);
  if (open_ >= limits_.in_all || (by_actor != by_actor_.end() && by_actor->second >= most) ||
      (by_address != by_address_.end() && by_address->second >= limits_.per_address)) {
    return Error{Code::ResourceExhausted, "TOO_MANY_CALLS", "too many calls are open at once"}
        .remedy("Wait for some to end.");
  }
  ++open_;
  ++by_actor_[actor];
  ++by_address_[address];
  return {};
}

void CallLimiter::leave(const std::string& actor, const std::string& address) {
  Lock lock(mutex_);
  --open_;
  decrease(by_actor_, actor);
  decrease(by_address_, address);
}

int CallLimiter::open() const {
  Lock lock(mutex_);
  return open_;
}

void CallLimiter::decrease(Counts& counts, const std::string& key) {
  const auto it = counts.find(key);
  if (it != counts.end() && --it->second == 0) counts.erase(it);
}

}  // namespace reeve::server
