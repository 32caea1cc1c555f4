#include "hypervisor_core/virtio/worker.h"

#include <array>
#include <atomic>
#include <future>
#include <map>
#include <thread>

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace reeve::core::virtio {
namespace {

// epoll data: the upper half says what, the lower which.
enum class Wake : std::uint32_t { Stop, Kick, Event };
std::uint64_t pack(Wake wake, std::uint32_t value) {
  return (std::uint64_t{static_cast<std::uint32_t>(wake)} << 32) | value;
}

}  // namespace

/// One thread with its queues.
class Workers::Thread final : public QueueSet {
 public:
  Thread(Device& device, std::vector<QueueSlot> slots)
      : device_(device), slots_(std::move(slots)) {}
  ~Thread() override { stop(); }

  Status start(const std::vector<EventSource>& sources, const std::string& name,
               const std::function<Status()>& prepare);
  std::vector<QueueSlot> stop();

  Queue* find(std::uint16_t index) override {
    for (auto& slot : slots_)
      if (slot.queue->index() == index) return slot.queue.get();
    return nullptr;
  }

 private:
  Status watch(int fd, std::uint64_t data, std::uint32_t events);
  void run();
  void kick(std::uint16_t index);

  Device& device_;
  std::vector<QueueSlot> slots_;
  Fd epoll_;
  Fd stop_;
  std::thread thread_;
};

Status Workers::Thread::watch(int fd, std::uint64_t data, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return errno_error("watching a descriptor of " + std::string(device_.name()));
  return {};
}

Status Workers::Thread::start(const std::vector<EventSource>& sources, const std::string& name,
                              const std::function<Status()>& prepare) {
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !stop_) return errno_error("making a worker");
  TRY(watch(stop_.get(), pack(Wake::Stop, 0), EPOLLIN));
  for (const auto& slot : slots_)
    // Edge-triggered: every notification is an edge, so nobody has to read the counter.
    TRY(watch(slot.kick_fd, pack(Wake::Kick, slot.queue->index()), EPOLLIN | EPOLLET));
  for (const auto& source : sources)
    TRY(watch(source.fd, pack(Wake::Event, source.token),
              EPOLLIN | EPOLLET | (source.writable ? std::uint32_t{EPOLLOUT} : 0)));

  std::promise<Status> ready;
  auto outcome = ready.get_future();
  thread_ = std::thread([this, name, prepare, &ready] {
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
    auto prepared = prepare ? prepare() : Status{};
    const bool go = prepared.ok();
    ready.set_value(std::move(prepared));
    if (go) run();
  });
  return outcome.get();
}

void Workers::Thread::kick(std::uint16_t index) {
  Queue* queue = find(index);
  if (queue != nullptr) device_.serve(index, *queue);
}

void Workers::Thread::run() {
  for (auto& slot : slots_) kick(slot.queue->index());
  std::array<epoll_event, 16> events{};
  for (bool stopping = false; !stopping;) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const auto data = events[static_cast<std::size_t>(i)].data.u64;
      const auto value = static_cast<std::uint32_t>(data);
      switch (static_cast<Wake>(data >> 32)) {
        case Wake::Stop: stopping = true; break;
        case Wake::Kick: kick(static_cast<std::uint16_t>(value)); break;
        case Wake::Event: device_.on_event(value, *this); break;
      }
    }
  }
  device_.quiesce(*this);
  for (auto& slot : slots_) slot.queue->signal_used();
}

std::vector<QueueSlot> Workers::Thread::stop() {
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    while (::write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  return std::exchange(slots_, {});
}

Result<std::unique_ptr<Workers>> Workers::start(Device& device, std::vector<QueueSlot> slots,
                                                const WorkerOptions& options) {
  const std::uint16_t per_worker = device.traits().queues_per_worker;
  const auto group = [per_worker](std::uint16_t queue) {
    return per_worker == 0 ? 0u : std::uint32_t{queue} / per_worker;
  };
  std::map<std::uint32_t, std::vector<QueueSlot>> groups;
  for (auto& slot : slots) {
    const auto key = group(slot.queue->index());
    groups[key].push_back(std::move(slot));
  }
  const auto sources = device.event_sources();
  std::unique_ptr<Workers> workers(new Workers());
  for (auto& [key, members] : groups) {
    std::vector<EventSource> mine;
    for (const auto& source : sources)
      if (group(source.queue) == key) mine.push_back(source);
    workers->threads_.push_back(std::make_unique<Thread>(device, std::move(members)));
    TRY(workers->threads_.back()->start(mine, options.name + "-" + std::to_string(key),
                                        options.prepare_thread));
  }
  return workers;
}

Workers::~Workers() {
  stop();
}

std::vector<QueueSlot> Workers::stop() {
  std::vector<QueueSlot> slots;
  for (auto& thread : threads_)
    for (auto& slot : thread->stop()) slots.push_back(std::move(slot));
  threads_.clear();
  return slots;
}

}  // namespace reeve::core::virtio
