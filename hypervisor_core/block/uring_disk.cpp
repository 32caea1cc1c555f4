#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <thread>

#include <liburing.h>
#include <linux/falloc.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor_core/block/async_disk.h"
#include "hypervisor_core/block/vectored_io.h"

namespace reeve::core {
namespace {

constexpr auto kTryAgain = std::chrono::milliseconds(1);

/// Requests wait in waiting_ while `depth` are with the kernel. Whatever the kernel answers short
/// or cannot do (a short read, no hole punching) is finished inline: rare, and simpler than
/// resubmitting.
class UringDisk final : public AsyncDisk {
 public:
  UringDisk(Disk& disk, unsigned depth) : disk_(disk), slots_(depth) {
    for (unsigned i = 0; i < depth; ++i) free_.push_back(depth - 1 - i);
  }
  ~UringDisk() override {
    if (!open_) return;
    settle();
    ::io_uring_queue_exit(&ring_);
  }
  Status open();
  Status restrict_ring();

  std::string_view kind() const override { return "uring"; }
  void submit(DiskRequest request) override;
  void kick() override;
  void reap(std::vector<DiskCompletion>& out) override;
  void settle() override;
  int event_fd() const override { return event_.get(); }

 private:
  bool allowed(const DiskRequest& request) const;
  void prepare(io_uring_sqe& sqe, const DiskRequest& request) const;
  DiskOutcome conclude(const DiskRequest& request, int result);
  void collect();
  void hand_over();
  std::size_t with_kernel() const {
    return slots_.size() - free_.size() - ::io_uring_sq_ready(&ring_);
  }

  Disk& disk_;
  std::vector<DiskRequest> slots_;
  std::vector<unsigned> free_;
  std::deque<DiskRequest> waiting_;
  std::vector<DiskCompletion> done_;
  io_uring ring_{};
  bool open_ = false;
  Fd event_;
};

Status UringDisk::open() {
  const int error =
      ::io_uring_queue_init(static_cast<unsigned>(slots_.size()), &ring_, IORING_SETUP_R_DISABLED);
  if (error != 0)
    return Error{Code::Unimplemented, "NO_IO_URING", "io_uring is not available here"}.with(
        "errno", std::to_string(-error));
  open_ = true;
  event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_) return errno_error("making an eventfd");
  if (const int r = ::io_uring_register_eventfd(&ring_, event_.get()); r != 0)
    return errno_error("registering an eventfd", -r);
  return restrict_ring();
}

/// System call filters do not see what a ring is asked for: it can do I/O on a disk and no more.
Status UringDisk::restrict_ring() {
  constexpr std::array<std::uint8_t, 4> kOperations{IORING_OP_READV, IORING_OP_WRITEV,
                                                    IORING_OP_FSYNC, IORING_OP_FALLOCATE};
  std::array<io_uring_restriction, kOperations.size()> allowed{};
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[i].sqe_op = kOperations[i];
  }
  // Debian's liburing 2.3 does not export its functions for these two.
  const auto tell = [this](unsigned what, const void* list, std::size_t count) {
    return ::syscall(SYS_io_uring_register, ring_.ring_fd, what, list, count) == 0;
  };
  if (!tell(IORING_REGISTER_RESTRICTIONS, allowed.data(), allowed.size()) ||
      !tell(IORING_REGISTER_ENABLE_RINGS, nullptr, 0))
    return errno_error("restricting a ring");
  return {};
}

/// The kernel gets only what Disk itself would have let through.
bool UringDisk::allowed(const DiskRequest& request) const {
  using Kind = DiskRequest::Kind;
  if (request.kind == Kind::Flush) return true;
  if (request.kind != Kind::Read && disk_.read_only()) return false;
  const bool vectored = request.kind == Kind::Read || request.kind == Kind::Write;
  const auto length = vectored ? total_length(request.ranges) : request.length;
  return length != 0 && disk_.check_range(request.offset, length).ok();
}

void UringDisk::prepare(io_uring_sqe& sqe, const DiskRequest& request) const {
  using Kind = DiskRequest::Kind;
  const int fd = disk_.file()->fd();
  const auto count = static_cast<unsigned>(request.ranges.size());
  switch (request.kind) {
    case Kind::Read:
      ::io_uring_prep_readv(&sqe, fd, request.ranges.data(), count, request.offset);
      break;
    case Kind::Write:
      ::io_uring_prep_writev(&sqe, fd, request.ranges.data(), count, request.offset);
      break;
    case Kind::Flush: ::io_uring_prep_fsync(&sqe, fd, IORING_FSYNC_DATASYNC); break;
    case Kind::Discard:
    case Kind::WriteZeroes: {
      const bool punch = request.kind == Kind::Discard || request.unmap == Disk::Unmap::Yes;
      const int mode = (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
      ::io_uring_prep_fallocate(&sqe, fd, mode, static_cast<off_t>(request.offset),
                                static_cast<off_t>(request.length));
      break;
    }
  }
}

void UringDisk::submit(DiskRequest request) {
  if (request.ranges.size() > 1024 || !allowed(request))
    done_.push_back({request.tag, run_disk_request(disk_, request)});  // small or refused: says why
  else
    waiting_.push_back(std::move(request));
}

void UringDisk::kick() {
  while (!waiting_.empty() && !free_.empty()) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) break;
    const unsigned slot = free_.back();
    free_.pop_back();
    slots_[slot] = std::move(waiting_.front());
    waiting_.pop_front();
    prepare(*sqe, slots_[slot]);
    ::io_uring_sqe_set_data64(sqe, slot);
  }
  hand_over();
}

/// The kernel may take only some or none: it is short of memory (EAGAIN), or wants completions
/// taken first (EBUSY). The rest stays in the ring. A completion brings us back here; when none is
/// to come, nothing else does, so that it is tried until it works.
void UringDisk::hand_over() {
  while (::io_uring_sq_ready(&ring_) != 0) {
    const int taken = ::io_uring_submit(&ring_);
    if (taken > 0 || taken == -EINTR) continue;
    if (with_kernel() != 0) return;
    std::this_thread::sleep_for(kTryAgain);
  }
}

DiskOutcome UringDisk::conclude(const DiskRequest& request, int result) {
  using Kind = DiskRequest::Kind;
  const bool vectored = request.kind == Kind::Read || request.kind == Kind::Write;
  if (result == -ENOSPC || result == -EDQUOT) return DiskOutcome::Full;
  if (vectored && result >= 0 && static_cast<std::uint64_t>(result) == total_length(request.ranges))
    return DiskOutcome::Done;
  if (!vectored && result == 0) return DiskOutcome::Done;
  if (request.kind == Kind::Flush) return DiskOutcome::Failed;
  return run_disk_request(disk_, request);
}

void UringDisk::collect() {
  io_uring_cqe* cqe = nullptr;
  while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto slot = static_cast<unsigned>(::io_uring_cqe_get_data64(cqe));
    const int result = cqe->res;
    ::io_uring_cqe_seen(&ring_, cqe);
    done_.push_back({slots_[slot].tag, conclude(slots_[slot], result)});
    slots_[slot].ranges.clear();
    free_.push_back(slot);
  }
}

void UringDisk::reap(std::vector<DiskCompletion>& out) {
  collect();
  kick();
  out.insert(out.end(), done_.begin(), done_.end());
  done_.clear();
}

void UringDisk::settle() {
  for (;;) {
    kick();
    collect();
    if (waiting_.empty() && free_.size() == slots_.size()) return;
    io_uring_cqe* cqe = nullptr;
    if (with_kernel() != 0) (void)::io_uring_wait_cqe(&ring_, &cqe);
  }
}

}  // namespace

Result<std::unique_ptr<AsyncDisk>> make_uring_disk(Disk& disk, unsigned depth) {
  if (disk.file() == nullptr)
    return Error{Code::Unimplemented, "NO_IO_URING", "the disk is no plain file"};
  auto uring = std::make_unique<UringDisk>(disk, depth);
  TRY(uring->open());
  return std::unique_ptr<AsyncDisk>(std::move(uring));
}

}  // namespace reeve::core
