#include "agent/console/consoles.h"

#include <algorithm>
#include <set>

#include <pthread.h>

#include "base/clock.h"
#include "base/uuid.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto kBusyPace = 20ms;
constexpr auto kIdlePace = 2s;

Monotonic now() {
  return RealClock::instance().monotonic();
}

}  // namespace

Consoles::Consoles(std::string guests_dir, Store& store, Drivers drivers, std::uint64_t ring_bytes)
    : guests_dir_(std::move(guests_dir)),
      store_(store),
      drivers_(std::move(drivers)),
      ring_bytes_(ring_bytes) {
  for (const auto& [id, driver] : drivers_)
    askers_.emplace(id, std::make_unique<WorkerPool>("console-ask", 1));
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "console");
}

Consoles::~Consoles() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    wake_thread_.notify_all();
  }
  thread_.join();
  askers_.clear();
}

Consoles::Entry& Consoles::entry_of(const std::string& uid) {
  Entry& entry = guests_[uid];
  if (!entry.console)
    entry.console =
        std::make_shared<GuestConsole>(uid, guests_dir_ + "/" + uid + "/console.ring", ring_bytes_);
  return entry;
}

std::shared_ptr<GuestConsole> Consoles::find(const std::string& uid) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  return it == guests_.end() ? nullptr : it->second.console;
}

Result<Consoles::ReaderId> Consoles::attach(const std::string& uid, std::function<void()> wake) {
  if (!is_uuid(uid)) return Error{Code::InvalidArgument, "BAD_UID", "not a uid"};
  Lock lock(mutex_);
  ++entry_of(uid).readers;
  const ReaderId id = next_reader_++;
  readers_.emplace(id, Reader{uid, std::move(wake)});
  called_ = true;
  wake_thread_.notify_all();
  return id;
}

void Consoles::detach(ReaderId reader) {
  Lock lock(mutex_);
  const auto it = readers_.find(reader);
  if (it == readers_.end()) return;
  if (const auto guest = guests_.find(it->second.uid); guest != guests_.end())
    --guest->second.readers;
  readers_.erase(it);
  while (waking_ == reader) woken_.wait(lock);
}

Result<ConsoleChunk> Consoles::read(const std::string& uid, std::int64_t offset,
                                    std::size_t limit) {
  const auto console = find(uid);
  if (!console)
    return Error{Code::NotFound, "GUEST_FILES_NOT_FOUND", "no machine " + uid + " on this host"};
  return console->read(offset, limit);
}

std::size_t Consoles::write(const std::string& uid, std::string_view bytes) {
  const auto console = find(uid);
  if (!console) return bytes.size();
  const std::size_t taken = console->write(bytes, now());
  if (taken > 0) call_thread();
  return taken;
}

void Consoles::call_thread() {
  Lock lock(mutex_);
  called_ = true;
  wake_thread_.notify_all();
}

/// Has the guest's hypervisor asked, on the thread that is there for it.
void Consoles::ask(const Served& guest) {
  const auto spec = store_.guest(guest.uid);
  const auto asker = spec.ok() ? askers_.find(spec.value().hypervisor()) : askers_.end();
  if (asker == askers_.end()) return guest.console->ask(nullptr);
  Driver* const driver = drivers_.find(asker->first)->second;
  asker->second->run([this, driver, console = guest.console] {
    console->ask(driver->serial_console());
    call_thread();
  });
}

void Consoles::scan() {
  const auto uids = store_.guests();
  if (!uids.ok()) return;
  const std::set<std::string> there(uids.value().begin(), uids.value().end());
  Lock lock(mutex_);
  for (const auto& uid : there)
    if (is_uuid(uid)) entry_of(uid);
  std::erase_if(guests_, [&](const auto& entry) {
    return entry.second.readers == 0 && !there.contains(entry.first);
  });
}

std::vector<Consoles::Served> Consoles::guests() {
  Lock lock(mutex_);
  std::vector<Served> all;
  all.reserve(guests_.size());
  for (const auto& [uid, entry] : guests_) all.push_back({uid, entry.console, entry.readers > 0});
  return all;
}

void Consoles::wake_readers_of(const std::string& uid) {
  std::vector<ReaderId> ids;
  {
    Lock lock(mutex_);
    for (const auto& [id, reader] : readers_)
      if (reader.uid == uid) ids.push_back(id);
  }
  for (const ReaderId id : ids) {
    std::function<void()> wake;
    {
      Lock lock(mutex_);
      const auto it = readers_.find(id);
      if (it == readers_.end()) continue;
      wake = it->second.wake;
      waking_ = id;
    }
    wake();
    Lock lock(mutex_);
    waking_ = 0;
    woken_.notify_all();
  }
}

void Consoles::run() {
  Monotonic next_scan{};
  for (;;) {
    const bool all = now() >= next_scan;
    if (all) {
      scan();
      next_scan = now() + kIdlePace;
    }
    bool busy = false;
    bool grown = false;
    for (const auto& guest : guests()) {
      const bool used = guest.is_read || guest.console->is_open();
      busy = busy || used;
      if (!used && !all) continue;
      if (guest.console->serve(now())) {
        grown = true;
        wake_readers_of(guest.uid);
      }
      if (guest.console->begin_asking(now())) ask(guest);
    }
    Lock lock(mutex_);
    if (stopping_) return;
    if (!grown && !called_)
      wake_thread_.wait_for(lock, busy ? Monotonic::duration(kBusyPace) : next_scan - now());
    called_ = false;
  }
}

}  // namespace reeve::agent
