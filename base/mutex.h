// base/mutex.h - a mutex whose guarded members are checked by clang's thread-safety analysis.
//
//   Mutex mutex_;
//   std::map<...> entries_ REEVE_GUARDED_BY(mutex_);
//   Lock lock(mutex_);
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define REEVE_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define REEVE_THREAD_ATTRIBUTE(x)
#endif
#define REEVE_GUARDED_BY(m) REEVE_THREAD_ATTRIBUTE(guarded_by(m))
#define REEVE_REQUIRES(m) REEVE_THREAD_ATTRIBUTE(requires_capability(m))

namespace reeve {

class REEVE_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() REEVE_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() REEVE_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

/// Holds a Mutex for a scope; can wait on a condition of it.
class REEVE_THREAD_ATTRIBUTE(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& mutex) REEVE_THREAD_ATTRIBUTE(acquire_capability(mutex))
      : lock_(mutex.native()) {}
  ~Lock() REEVE_THREAD_ATTRIBUTE(release_capability()) {}
  std::unique_lock<std::mutex>& native() { return lock_; }

 private:
  std::unique_lock<std::mutex> lock_;
};

/// Waits with a Lock. Callers loop on their own condition, so that the analysis sees the guarded
/// reads.
class CondVar {
 public:
  void wait(Lock& lock) { cv_.wait(lock.native()); }
  template <class Duration>
  std::cv_status wait_for(Lock& lock, Duration d) {
    return cv_.wait_for(lock.native(), d);
  }
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace reeve
