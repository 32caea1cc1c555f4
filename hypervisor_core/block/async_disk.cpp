#include "hypervisor_core/block/async_disk.h"

#include <cerrno>

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace reeve::core {
namespace {

DiskOutcome outcome_of(const Status& status) {
  if (status.ok()) return DiskOutcome::Done;
  return status.error().code() == Code::ResourceExhausted ? DiskOutcome::Full : DiskOutcome::Failed;
}

class InlineDisk final : public AsyncDisk {
 public:
  explicit InlineDisk(Disk& disk) : disk_(disk) {}
  std::string_view kind() const override { return "inline"; }
  void submit(DiskRequest request) override {
    done_.push_back({request.tag, run_disk_request(disk_, request)});
  }
  void kick() override {}
  void reap(std::vector<DiskCompletion>& out) override {
    out.insert(out.end(), done_.begin(), done_.end());
    done_.clear();
  }
  void settle() override {}
  int event_fd() const override { return -1; }

 private:
  Disk& disk_;
  std::vector<DiskCompletion> done_;
};

class ThreadedDisk final : public AsyncDisk {
 public:
  ThreadedDisk(Disk& disk, Fd event, std::size_t threads, std::function<Status()> prepare)
      : disk_(disk),
        event_(std::move(event)),
        prepare_(std::move(prepare)),
        pool_("disk", threads) {}
  ~ThreadedDisk() override { settle(); }
  std::string_view kind() const override { return "threads"; }

  void submit(DiskRequest request) override {
    {
      Lock lock(mutex_);
      ++running_;
    }
    pool_.run([this, request = std::move(request)] {
      finish(request.tag,
             prepare_thread() ? run_disk_request(disk_, request) : DiskOutcome::Failed);
    });
  }
  void kick() override {}
  void reap(std::vector<DiskCompletion>& out) override {
    Lock lock(mutex_);
    out.insert(out.end(), done_.begin(), done_.end());
    done_.clear();
  }
  void settle() override {
    Lock lock(mutex_);
    while (running_ != 0) idle_.wait(lock);
  }
  int event_fd() const override { return event_.get(); }

 private:
  /// Once on each thread, before its first request.
  bool prepare_thread() const {
    thread_local bool prepared = false;
    if (!prepared) prepared = !prepare_ || prepare_().ok();
    return prepared;
  }
  void finish(std::uint64_t tag, DiskOutcome outcome) {
    Lock lock(mutex_);
    done_.push_back({tag, outcome});
    --running_;
    const std::uint64_t one = 1;
    while (::write(event_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    if (running_ == 0) idle_.notify_all();
  }

  Disk& disk_;
  Fd event_;
  const std::function<Status()> prepare_;
  Mutex mutex_;
  CondVar idle_;
  std::size_t running_ REEVE_GUARDED_BY(mutex_) = 0;
  std::vector<DiskCompletion> done_ REEVE_GUARDED_BY(mutex_);
  WorkerPool pool_;  // last: its threads use the members above
};

}  // namespace

DiskOutcome run_disk_request(Disk& disk, const DiskRequest& request) {
  using Kind = DiskRequest::Kind;
  switch (request.kind) {
    case Kind::Read: return outcome_of(disk.read(request.offset, request.ranges));
    case Kind::Write: return outcome_of(disk.write(request.offset, request.ranges));
    case Kind::Flush: return outcome_of(disk.flush());
    case Kind::WriteZeroes:
      return outcome_of(disk.write_zeroes(request.offset, request.length, request.unmap));
    case Kind::Discard:
      if (disk.discard() == nullptr) return DiskOutcome::Unsupported;
      return outcome_of(disk.discard()->discard(request.offset, request.length));
  }
  return DiskOutcome::Unsupported;
}

std::unique_ptr<AsyncDisk> make_inline_disk(Disk& disk) {
  return std::make_unique<InlineDisk>(disk);
}

Result<std::unique_ptr<AsyncDisk>> make_threaded_disk(Disk& disk, std::size_t threads,
                                                      std::function<Status()> prepare_thread) {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return errno_error("making an eventfd");
  return std::unique_ptr<AsyncDisk>(
      std::make_unique<ThreadedDisk>(disk, std::move(event), threads, std::move(prepare_thread)));
}

Result<std::unique_ptr<AsyncDisk>> make_async_disk(Disk& disk, unsigned depth,
                                                   std::function<Status()> prepare_thread) {
  constexpr std::size_t kThreads = 2;
  auto uring = make_uring_disk(disk, depth);
  if (uring.ok()) return uring;
  return make_threaded_disk(disk, kThreads, std::move(prepare_thread));
}

}  // namespace reeve::core
