#include "hypervisor_core/vm/lazy_memory.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

namespace reeve::core {
namespace {

Error unavailable(const std::string& what) {
  return Error{Code::Unimplemented, "LAZY_UNAVAILABLE",
               "memory cannot be read while the guest runs: " + what};
}

/// Faults of the kernel on the guest's behalf must be served too: that takes root or the device.
Result<Fd> open_userfaultfd() {
  Fd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (fd) return fd;
  const Fd device(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device) fd = Fd(ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
  if (!fd) return unavailable("userfaultfd is refused, and /dev/userfaultfd absent or refused");
  return fd;
}

std::uint64_t number(const std::byte* address) {
  return reinterpret_cast<std::uintptr_t>(address);
}

}  // namespace

LazyMemory::LazyMemory(GuestMemory& memory, Fd file, std::vector<SavedChunk> chunks,
                       std::function<void(const Error&)> lost)
    : memory_(memory),
      file_(std::move(file)),
      chunks_(std::move(chunks)),
      lost_(std::move(lost)),
      loaded_(chunks_.size()),
      settled_(memory.size_bytes() / kPageSize) {
  for (const auto& chunk : chunks_) bytes_left_ += chunk.pages * kPageSize;
}

Result<std::unique_ptr<LazyMemory>> LazyMemory::start(GuestMemory& memory, Fd file,
                                                      std::vector<SavedChunk> chunks,
                                                      std::function<void(const Error&)> lost) {
  std::unique_ptr<LazyMemory> lazy(
      new LazyMemory(memory, std::move(file), std::move(chunks), std::move(lost)));
  TRY(lazy->open_faults());
  memory.set_release_listener(lazy.get());
  memory.set_content(Content::Arriving);
  lazy->thread_ = std::thread([raw = lazy.get()] {
    pthread_setname_np(pthread_self(), "memory-fill");
    raw->run();
  });
  return lazy;
}

Status LazyMemory::open_faults() {
  faults_ = TRY(open_userfaultfd());
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_MISSING_SHMEM;
  if (ioctl(faults_.get(), UFFDIO_API, &api) != 0)
    return unavailable("the kernel does not know it for shared memory");
  for (const auto& region : memory_.regions()) {
    uffdio_register range{};
    range.range = {number(region.host), region.range.size};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (ioctl(faults_.get(), UFFDIO_REGISTER, &range) != 0)
      return unavailable(errno_error("registering guest memory").message());
    constexpr __u64 kNeeded = (1ull << _UFFDIO_COPY) | (1ull << _UFFDIO_ZEROPAGE);
    if ((range.ioctls & kNeeded) != kNeeded) return unavailable("not for this kind of memory");
  }
  return {};
}

LazyMemory::~LazyMemory() {
  if (!thread_.joinable()) return;  // start() failed: nothing has been taken over
  stopping_ = true;
  thread_.join();
  memory_.set_release_listener(nullptr);
  // First this, then faults_ goes: those who wait find out that what they have waited for is lost.
  if (bytes_left_ != 0) memory_.set_content(Content::Lost);
}

Status LazyMemory::wait_until_filled() {
  Lock lock(state_mutex_);
  while (!outcome_) state_changed_.wait(lock);
  return *outcome_;
}

Status LazyMemory::on_thread(const std::function<Status()>& work) {
  Lock lock(state_mutex_);
  if (outcome_) return {};
  work_ = &work;
  while (work_ != nullptr && !outcome_) state_changed_.wait(lock);
  if (std::exchange(work_, nullptr) != nullptr) return {};
  return work_outcome_;
}

std::optional<std::size_t> LazyMemory::page_number(Gpa address) const {
  for (const auto& region : memory_.regions())
    if (region.range.covers(address, 1))
      return (region.file_offset + (address - region.range.base)) / kPageSize;
  return std::nullopt;
}

/// Not GuestMemory::span(), which waits for us.
std::byte* LazyMemory::host_of(Gpa address, std::uint64_t length) const {
  for (const auto& region : memory_.regions())
    if (region.range.covers(address, length)) return region.host + (address - region.range.base);
  return nullptr;
}

bool LazyMemory::settled(Gpa address) const {
  return settled_[*page_number(address)];
}

void LazyMemory::settle(Gpa address, std::uint64_t pages) {
  const auto first = page_number(address);
  if (!first) return;
  for (std::uint64_t i = 0; i < pages && *first + i < settled_.size(); ++i)
    settled_[*first + i] = true;
}

void LazyMemory::releasing(Gpa address, std::uint64_t length) {
  Lock lock(mutex_);
  settle(address, length / kPageSize);
}

void LazyMemory::run() {
  const auto outcome = fill();
  if (!outcome.ok()) {
    memory_.set_content(Content::Lost);  // nobody begins to wait any more
    lost_(outcome.error());
  } else if (bytes_left_ == 0) {
    memory_.set_content(Content::There);
    faults_.reset();
  }
  Lock lock(state_mutex_);
  outcome_ = outcome;
  state_changed_.notify_all();
}

Status LazyMemory::fill() {
  for (std::size_t next = 0; next < chunks_.size() && !stopping_; ++next) {
    obey();
    TRY(serve_faults());
    if (!loaded_[next]) TRY(load(next));
  }
  return {};
}

void LazyMemory::obey() {
  Lock lock(state_mutex_);
  if (work_ == nullptr) return;
  work_outcome_ = (*work_)();
  work_ = nullptr;
  state_changed_.notify_all();
}

Status LazyMemory::serve_faults() {
  pollfd wait{faults_.get(), POLLIN, 0};
  while (poll(&wait, 1, 0) > 0) {
    uffd_msg message{};
    if (::read(faults_.get(), &message, sizeof message) != sizeof message) return {};
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    TRY(serve(reinterpret_cast<const std::byte*>(message.arg.pagefault.address)));
  }
  return {};
}

Status LazyMemory::serve(const std::byte* touched) {
  for (const auto& region : memory_.regions()) {
    if (touched < region.host || touched >= region.host + region.range.size) continue;
    const std::uint64_t offset =
        static_cast<std::uint64_t>(touched - region.host) / kPageSize * kPageSize;
    const Gpa address = region.range.base + offset;
    const auto after =
        std::upper_bound(chunks_.begin(), chunks_.end(), address,
                         [](Gpa a, const SavedChunk& chunk) { return a < chunk.address; });
    const auto at = static_cast<std::size_t>(after - chunks_.begin());
    if (at > 0 && address - chunks_[at - 1].address < chunks_[at - 1].pages * kPageSize &&
        !loaded_[at - 1])
      TRY(load(at - 1));
    // Not in the file, given back meanwhile, or there already.
    uffdio_zeropage zero{};
    zero.range = {number(region.host + offset), kPageSize};
    if (ioctl(faults_.get(), UFFDIO_ZEROPAGE, &zero) != 0) wake(region.host + offset);
    return {};
  }
  return {};
}

void LazyMemory::wake(const std::byte* page) const {
  uffdio_range range{number(page), kPageSize};
  (void)ioctl(faults_.get(), UFFDIO_WAKE, &range);
}

Status LazyMemory::load(std::size_t index) {
  const auto& chunk = chunks_[index];
  const auto pages = read_chunk(file_.get(), chunk, record_);
  if (!pages.ok()) return pages.error();
  TRY(place(chunk, pages.value()));
  loaded_[index] = true;
  bytes_left_ -= chunk.pages * kPageSize;
  return {};
}

/// Puts the chunk's pages but those that were given back.
Status LazyMemory::place(const SavedChunk& chunk, std::span<const std::byte> pages) {
  Lock lock(mutex_);
  for (std::uint64_t page = 0; page < chunk.pages;) {
    std::uint64_t end = page;
    while (end < chunk.pages && !settled(chunk.address + end * kPageSize)) ++end;
    if (end > page)
      TRY(copy_run(chunk.address + page * kPageSize,
                   pages.subspan(page * kPageSize, (end - page) * kPageSize)));
    page = end + 1;
  }
  settle(chunk.address, chunk.pages);
  return {};
}

Status LazyMemory::copy_run(Gpa address, std::span<const std::byte> pages) {
  std::byte* const target = host_of(address, pages.size());
  if (target == nullptr)
    return Error{Code::InvalidArgument, "STATE_FORMAT", "memory outside of the machine"};
  std::size_t done = 0;
  while (done < pages.size()) {
    uffdio_copy copy{};
    copy.dst = number(target + done);
    copy.src = number(pages.data() + done);
    copy.len = pages.size() - done;
    if (ioctl(faults_.get(), UFFDIO_COPY, &copy) == 0) return {};
    if (copy.copy > 0)
      done += static_cast<std::size_t>(copy.copy);
    else if (copy.copy == -EEXIST)
      done += kPageSize;  // a zero page that was asked for before anybody knew better
    else if (copy.copy != -EAGAIN)
      return errno_error("placing guest memory");
  }
  return {};
}

}  // namespace reeve::core
