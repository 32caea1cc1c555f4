// agent/link/renewer.h - keeps the certificate of this host fresh: looks now and then, renews when
// a third of its life is left or all of it is gone.
#pragma once

#include <thread>

#include "agent/link/identity.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace reeve::agent {

class Renewer {
 public:
  /// Both outlive the renewer. Starts its thread ("renewer"), which looks at once.
  Renewer(const IdentityFiles& files, const Clock& clock);
  ~Renewer();
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;

 private:
  void run();
  /// How long to wait before the next look.
  std::chrono::seconds look();

  const IdentityFiles& files_;
  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace reeve::agent
