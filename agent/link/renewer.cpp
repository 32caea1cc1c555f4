#include "agent/link/renewer.h"

#include <pthread.h>

#include "agent/link/grpc_enrollment.h"
#include "base/log.h"

namespace reeve::agent {
namespace {

constexpr std::chrono::minutes kLook{10};
constexpr std::chrono::seconds kRetry{30};

}  // namespace

Renewer::Renewer(const IdentityFiles& files, const Clock& clock) : files_(files), clock_(clock) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "renewer");
}

Renewer::~Renewer() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

std::chrono::seconds Renewer::look() {
  const auto validity = files_.validity();
  if (!validity.ok()) {
    log::error("the certificate cannot be read", validity.error());
    return kLook;
  }
  if (!validity.value().is_due(clock_.wall())) return kLook;
  const auto renewed = renew(files_);
  if (renewed.ok()) {
    log::info("certificate renewed");
    return kLook;
  }
  if (validity.value().end <= clock_.wall()) {
    log::error("the certificate has expired and could not be renewed", renewed.error());
    return kRetry;
  }
  log::warning("the certificate could not be renewed", renewed.error());
  return kLook;
}

void Renewer::run() {
  for (;;) {
    const auto wait = look();
    const auto until = RealClock::instance().monotonic() + wait;
    Lock lock(mutex_);
    while (!stopping_) {
      const auto left = until - RealClock::instance().monotonic();
      if (left.count() <= 0) break;
      wake_.wait_for(lock, left);
    }
    if (stopping_) return;
  }
}

}  // namespace reeve::agent
