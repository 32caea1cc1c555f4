#include "hypervisor_core/memory/guest_memory.h"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

namespace reeve::core {
namespace {

constexpr std::uint64_t kHugePageSize = 2u << 20;

Error layout_error(std::string message) {
  return Error{Code::InvalidArgument, "MEMORY_LAYOUT", std::move(message)};
}

Error unavailable(std::string_view what) {
  return Error{Code::ResourceExhausted, "MEMORY_UNAVAILABLE", errno_error(what).message()};
}

Result<std::uint64_t> checked_total(std::span<const MemoryRange> ranges, PageBacking backing) {
  if (ranges.empty() || ranges.size() > GuestMemory::kMaxRegions)
    return layout_error("guest memory needs 1 to 8 regions");
  const std::uint64_t unit = backing == PageBacking::Reserved ? kHugePageSize : kPageSize;
  std::uint64_t total = 0;
  Gpa previous_end = 0;
  for (const auto& range : ranges) {
    if (range.size == 0 || range.base % unit != 0 || range.size % unit != 0)
      return layout_error("guest memory region is empty or not page-aligned");
    if (range.base < previous_end || range.base + range.size < range.base)
      return layout_error("guest memory regions overlap, wrap or are not ascending");
    if (total + range.size < total) return layout_error("guest memory is too large");
    previous_end = range.base + range.size;
    total += range.size;
  }
  return total;
}

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(std::span<const MemoryRange> ranges,
                                                         PageBacking backing) {
  const std::uint64_t total = TRY(checked_total(ranges, backing));
  std::unique_ptr<GuestMemory> memory(new GuestMemory);

  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (backing == PageBacking::Reserved) flags |= MFD_HUGETLB | MFD_HUGE_2MB;
  memory->fd_ = Fd(memfd_create("guest-ram", flags));
  if (!memory->fd_) return unavailable("memfd_create");
  if (ftruncate(memory->fd_.get(), static_cast<off_t>(total)) != 0) return unavailable("ftruncate");
  // Nobody who holds the descriptor can shrink it and turn our accesses into SIGBUS.
  if (fcntl(memory->fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return unavailable("F_ADD_SEALS");

  void* mapping = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                       memory->fd_.get(), 0);
  if (mapping == MAP_FAILED) return unavailable("mapping guest memory");
  memory->mapping_ = static_cast<std::byte*>(mapping);
  memory->size_bytes_ = total;
  if (backing == PageBacking::Transparent) (void)madvise(mapping, total, MADV_HUGEPAGE);
  (void)madvise(mapping, total, MADV_DONTDUMP);  // a core file must not hold the guest's secrets

  std::uint64_t offset = 0;
  for (const auto& range : ranges) {
    memory->regions_.push_back({range, memory->mapping_ + offset, offset});
    offset += range.size;
  }
  memory->dirty_.resize(ranges.size());
  return memory;
}

GuestMemory::~GuestMemory() {
  if (mapping_ != nullptr) munmap(mapping_, size_bytes_);
}

/// The kernel lets us go on when a page has been put there, or when nobody will put it any more.
bool GuestMemory::wait_for(const Region& region, Gpa address, std::uint64_t length) const {
  if (content_.load() == Content::Lost) return false;
  const std::byte* first = region.host + (address - region.range.base);
  for (std::uint64_t at = 0; at < length; at += kPageSize - (address + at) % kPageSize)
    (void)std::atomic_ref(const_cast<std::byte&>(first[at])).load(std::memory_order_relaxed);
  return content_.load() != Content::Lost;
}

bool GuestMemory::read(Gpa address, std::span<std::byte> out) const {
  const auto source = span(address, out.size());
  if (!source) return false;
  if (!out.empty()) std::memcpy(out.data(), source->data(), out.size());
  return true;
}

bool GuestMemory::write(Gpa address, std::span<const std::byte> bytes) {
  const auto target = span(address, bytes.size());
  if (!target) return false;
  if (bytes.empty()) return true;
  std::memcpy(target->data(), bytes.data(), bytes.size());
  mark_dirty(address, bytes.size());
  return true;
}

bool GuestMemory::fill(Gpa address, std::uint64_t length, std::byte value) {
  const auto target = span(address, length);
  if (!target) return false;
  if (length == 0) return true;
  std::memset(target->data(), std::to_integer<int>(value), length);
  mark_dirty(address, length);
  return true;
}

bool GuestMemory::copy_from_file(Gpa address, int file, std::uint64_t offset,
                                 std::uint64_t length) {
  const Region* region = find(address, length);
  if (region == nullptr || content_.load() != Content::There) return false;
  const auto position = static_cast<off_t>(region->file_offset + (address - region->range.base));
  if (lseek(fd_.get(), position, SEEK_SET) != position) return false;
  auto from = static_cast<off_t>(offset);
  for (std::uint64_t left = length; left > 0;) {
    const ssize_t copied = sendfile(fd_.get(), file, &from, left);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) return false;
    left -= static_cast<std::uint64_t>(copied);
  }
  mark_dirty(address, length);
  return true;
}

void GuestMemory::set_release_listener(ReleaseListener* listener) {
  Lock lock(listener_mutex_);
  listener_ = listener;
}

Status GuestMemory::release(Gpa address, std::uint64_t length) {
  const Region* region = content_.load() == Content::Lost ? nullptr : find(address, length);
  if (region == nullptr || address % kPageSize != 0 || length % kPageSize != 0)
    return layout_error("only whole pages of guest memory can be given back");
  {
    Lock lock(listener_mutex_);
    if (listener_ != nullptr) listener_->releasing(address, length);
  }
  // Failing (no huge page to split) leaves the memory where it is, which is only a pity.
  (void)fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(region->file_offset + (address - region->range.base)),
                  static_cast<off_t>(length));
  mark_dirty(address, length);
  return {};
}

Status GuestMemory::discard() {
  {
    Lock lock(listener_mutex_);
    for (const auto& region : regions_)
      if (listener_ != nullptr) listener_->releasing(region.range.base, region.range.size);
  }
  if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                static_cast<off_t>(size_bytes_)) != 0)
    return unavailable("discarding guest memory");
  for (const auto& region : regions_) mark_dirty(region.range.base, region.range.size);
  return {};
}

void GuestMemory::track_dirty(bool on) {
  if (on) {
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      const std::size_t words = (regions_[i].range.size / kPageSize + 63) / 64;
      // Kept once allocated: a device may be marking while tracking is switched.
      if (!dirty_[i]) dirty_[i] = std::make_unique<std::atomic<std::uint64_t>[]>(words);
      for (std::size_t w = 0; w < words; ++w) dirty_[i][w].store(0, std::memory_order_relaxed);
    }
  }
  tracking_.store(on, std::memory_order_seq_cst);
}

void GuestMemory::set_dirty(Gpa address, std::uint64_t length) {
  const Region* region = find(address, length);
  if (region == nullptr || length == 0) return;
  std::atomic_thread_fence(std::memory_order_acquire);
  auto& bits = dirty_[static_cast<std::size_t>(region - regions_.data())];
  const std::uint64_t first = (address - region->range.base) / kPageSize;
  const std::uint64_t last = (address - region->range.base + length - 1) / kPageSize;
  for (std::uint64_t page = first; page <= last; ++page)
    bits[page / 64].fetch_or(1ULL << (page % 64), std::memory_order_release);
}

void GuestMemory::take_dirty(std::size_t index, std::span<std::uint64_t> bitmap) {
  if (index >= regions_.size() || !dirty_[index]) return;
  const std::size_t words = (regions_[index].range.size / kPageSize + 63) / 64;
  for (std::size_t w = 0; w < words && w < bitmap.size(); ++w)
    bitmap[w] |= dirty_[index][w].exchange(0, std::memory_order_acquire);
}

}  // namespace reeve::core
