// server/rpc/turn.h - who may write to a stream: one at a time, and whoever comes meanwhile is not
// forgotten.
//
//   void advance() { if (turn_.take()) pump(); }
//   void pump() { do { if (start_write()) return; } while (!turn_.give_back()); }   // keeps the
//   turn while writing void OnWriteDone(bool) { pump(); }
#pragma once

#include "base/mutex.h"

namespace reeve::server {

/// Any thread.
class Turn {
 public:
  /// True when the turn is yours; otherwise its holder will look again.
  bool take() {
    Lock lock(mutex_);
    if (held_) {
      again_ = true;
      return false;
    }
    held_ = true;
    return true;
  }
  /// False when someone asked meanwhile: look again, the turn is still yours.
  bool give_back() {
    Lock lock(mutex_);
    held_ = again_;
    again_ = false;
    return !held_;
  }

 private:
  Mutex mutex_;
  bool held_ REEVE_GUARDED_BY(mutex_) = false;
  bool again_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::server
