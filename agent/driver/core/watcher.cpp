#include "agent/driver/core/watcher.h"

#include <algorithm>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

namespace reeve::agent::core_driver {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

constexpr int kTurn = 16;     ///< events of one process before the others have their turn
constexpr auto kRest = 20ms;  ///< after a turn, so that no process keeps us busy

int ms_until(steady_clock::time_point when) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

}  // namespace

Watcher::Watcher(Listener listener)
    : listener_(std::move(listener)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "core-watch");
}

Watcher::~Watcher() {
  {
    Lock lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
}

void Watcher::wake() const {
  (void)eventfd_write(wake_.get(), 1);
}

void Watcher::add(const std::string& uid, std::shared_ptr<const VmmProcess> process) {
  auto followed = std::make_shared<Followed>();
  auto events = process->watch();
  followed->process = std::move(process);
  if (events.ok()) followed->events = std::move(events).value();
  {
    Lock lock(mutex_);
    followed_[uid] = std::move(followed);
  }
  wake();
}

bool Watcher::hear(Followed& followed) {
  followed.unheard = false;
  for (int heard = 0; heard < kTurn; ++heard) {
    const auto event = followed.events->next_event(0ms);
    if (event.ok() && !event.value()) return heard > 0;
    if (event.ok()) continue;
    followed.events.reset();
    return true;
  }
  return followed.unheard = true;
}

void Watcher::run() {
  for (;;) {
    std::map<std::string, std::shared_ptr<Followed>> all;
    {
      Lock lock(mutex_);
      if (stopping_) return;
      all = followed_;
    }
    auto wake_at = steady_clock::time_point::max();
    const auto begun = steady_clock::now();
    std::vector<pollfd> wait{{wake_.get(), POLLIN, 0}};
    for (const auto& [uid, followed] : all) {
      const bool rests = followed->events && followed->rests_until > begun;
      if (rests || followed->unheard) wake_at = std::min(wake_at, followed->rests_until);
      wait.push_back({followed->process->pidfd(), POLLIN, 0});
      wait.push_back({followed->events && !rests ? followed->events->fd() : -1, POLLIN, 0});
    }
    (void)poll(wait.data(), wait.size(),
               wake_at == steady_clock::time_point::max() ? -1 : ms_until(wake_at));
    eventfd_t ignored = 0;
    (void)eventfd_read(wake_.get(), &ignored);
    const auto now = steady_clock::now();
    std::size_t at = 1;
    for (const auto& [uid, followed] : all) {
      const bool ended = wait[at].revents != 0;
      const bool speaks = followed->events && (wait[at + 1].revents != 0 ||
                                               (followed->unheard && followed->rests_until <= now));
      at += 2;
      const bool told = speaks && hear(*followed);
      if (told) followed->rests_until = steady_clock::now() + kRest;
      if (ended) {
        followed->process->reap();
        Lock lock(mutex_);
        if (const auto it = followed_.find(uid); it != followed_.end() && it->second == followed)
          followed_.erase(it);
      }
      if (ended) listener_.ended(uid, *followed->process);
      if (told && !ended) listener_.changed(uid);
    }
  }
}

}  // namespace reeve::agent::core_driver
