#include "agent/driver/core/watcher.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

namespace reeve::agent::core_driver {

using namespace std::chrono_literals;

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

bool Watcher::drain(core::control::ControlClient& events) {
  for (;;) {
    const auto event = events.next_event(0ms);
    if (!event.ok()) return false;
    if (!event.value()) return true;
  }
}

void Watcher::run() {
  for (;;) {
    std::map<std::string, std::shared_ptr<Followed>> all;
    {
      Lock lock(mutex_);
      if (stopping_) return;
      all = followed_;
    }
    std::vector<pollfd> wait{{wake_.get(), POLLIN, 0}};
    for (const auto& [uid, followed] : all) {
      wait.push_back({followed->process->pidfd(), POLLIN, 0});
      wait.push_back({followed->events ? followed->events->fd() : -1, POLLIN, 0});
    }
    (void)poll(wait.data(), wait.size(), -1);
    eventfd_t ignored = 0;
    (void)eventfd_read(wake_.get(), &ignored);
    std::size_t at = 1;
    for (const auto& [uid, followed] : all) {
      const bool ended = wait[at].revents != 0;
      const bool told = wait[at + 1].revents != 0;
      at += 2;
      if (told && !drain(*followed->events)) followed->events.reset();
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
