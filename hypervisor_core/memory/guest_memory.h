// hypervisor_core/memory/guest_memory.h - guest RAM and the only ways to touch it.
//
// RAM is one sealed memfd, mapped shared, cut into regions at guest-physical addresses. Every
// access names an address and a length that come from the guest; it is refused unless the whole
// range lies in one region, so a device can neither leave RAM nor reach another device (DMA to RAM
// only).
//
// The guest's vCPUs change the bytes at any moment: read a value once, then check the copy. Bytes
// are copied without any order between them; ring indices use load_acquire() and store_release().
// All functions may be called from any thread.
#pragma once

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "base/status.h"

namespace reeve::core {

/// A guest-physical address.
using Gpa = std::uint64_t;

inline constexpr std::uint64_t kPageSize = 4096;

/// A range of guest-physical addresses.
struct MemoryRange {
  Gpa base = 0;
  std::uint64_t size = 0;  ///< bytes

  bool operator==(const MemoryRange&) const = default;
  /// True when [address, address + length) lies inside, without overflow.
  constexpr bool covers(Gpa address, std::uint64_t length) const {
    return address >= base && address - base <= size && length <= size - (address - base);
  }
};

/// What backs RAM. Transparent asks the kernel for huge pages, Reserved takes them from hugetlbfs.
enum class PageBacking : std::uint8_t { Small, Transparent, Reserved };

/// Hears that pages are about to be given back to the host, on the thread that does it.
class ReleaseListener {
 public:
  virtual ~ReleaseListener() = default;
  virtual void releasing(Gpa address, std::uint64_t length) = 0;
};

/// What a GuestMemory holds. Who touches memory that is Arriving waits until that part is there.
/// Lost refuses all access, as if there were no RAM: what is missing would read as zeroes, and a
/// device would take them for the guest's.
enum class Content : std::uint8_t { There, Arriving, Lost };

class GuestMemory {
 public:
  /// A range of RAM and where it lives here.
  struct Region {
    MemoryRange range{};
    std::byte* host = nullptr;      ///< mapped read-write for the life of the GuestMemory
    std::uint64_t file_offset = 0;  ///< in fd()
  };

  /// Zeroed RAM at `ranges`: page-aligned, ascending, disjoint, at most kMaxRegions.
  /// InvalidArgument/MEMORY_LAYOUT, ResourceExhausted/MEMORY_UNAVAILABLE.
  static Result<std::unique_ptr<GuestMemory>> create(std::span<const MemoryRange> ranges,
                                                     PageBacking backing = PageBacking::Small);
  static constexpr std::size_t kMaxRegions = 8;
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  std::span<const Region> regions() const { return regions_; }
  std::uint64_t size_bytes() const { return size_bytes_; }
  /// The memfd behind all regions, for another process that must map guest RAM. Size is sealed.
  int fd() const { return fd_.get(); }

  /// Copies RAM out; false and `out` untouched when the range is not RAM, or lost (see Content).
  [[nodiscard]] bool read(Gpa address, std::span<std::byte> out) const;
  /// Copies into RAM and marks it dirty; false and nothing written when the range is not RAM.
  [[nodiscard]] bool write(Gpa address, std::span<const std::byte> bytes);
  [[nodiscard]] bool fill(Gpa address, std::uint64_t length, std::byte value);
  /// Copies a part of an open file into RAM within the kernel: pages that nobody touched yet are
  /// neither mapped nor zeroed first. False when that cannot be done with this file or memory, or
  /// when the file ends; what the range holds is unknown then.
  [[nodiscard]] bool copy_from_file(Gpa address, int file, std::uint64_t offset,
                                    std::uint64_t length);
  /// Gives whole pages back to the host; they read as zeroes from then on. InvalidArgument/
  /// MEMORY_LAYOUT when they are not RAM; where the host keeps them they stay as they are.
  Status release(Gpa address, std::uint64_t length);
  /// Told before pages are given back; null: nobody. The listener outlives its being set.
  void set_release_listener(ReleaseListener* listener);
  /// For whoever fills memory while it is used (userfaultfd); There at first, Lost for ever.
  void set_content(Content content) { content_ = content; }
  /// All of RAM reads as zeroes again and its pages go back to the host. Only while nothing uses
  /// it.
  Status discard();
  bool contains(Gpa address, std::uint64_t length) const {
    return find(address, length) != nullptr;
  }

  /// One little-endian number at any alignment.
  template <std::unsigned_integral T>
  [[nodiscard]] std::optional<T> read_le(Gpa address) const {
    std::byte copy[sizeof(T)];
    if (!read(address, copy)) return std::nullopt;
    return load_le<T>(copy);
  }
  template <std::unsigned_integral T>
  [[nodiscard]] bool write_le(Gpa address, T value) {
    std::byte copy[sizeof(T)];
    store_le<T>(copy, value);
    return write(address, copy);
  }
  /// A packed structure as the guest laid it out. T must be trivially copyable without pointers.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read_object(Gpa address) const {
    T copy;
    if (!read(address, std::as_writable_bytes(std::span(&copy, 1)))) return std::nullopt;
    return copy;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool write_object(Gpa address, const T& value) {
    return write(address, std::as_bytes(std::span(&value, 1)));
  }

  /// The bytes themselves, for zero-copy I/O (iovec, io_uring). Absent when not RAM. The guest may
  /// change them under the caller. Whoever changes them calls mark_dirty() *after* the change.
  [[nodiscard]] std::optional<std::span<std::byte>> span(Gpa address, std::uint64_t length) const {
    const Region* region = reach(address, length);
    if (region == nullptr) return std::nullopt;
    return std::span(region->host + (address - region->range.base), length);
  }

  /// Atomic little-endian access for rings; absent or false when not RAM or not naturally aligned.
  /// x86 only runs little-endian, which create() relies on.
  template <std::unsigned_integral T>
  [[nodiscard]] std::optional<T> load_acquire(Gpa address) const {
    T* target = aligned<T>(address);
    if (target == nullptr) return std::nullopt;
    return std::atomic_ref<T>(*target).load(std::memory_order_acquire);
  }
  template <std::unsigned_integral T>
  [[nodiscard]] bool store_release(Gpa address, T value) {
    T* target = aligned<T>(address);
    if (target == nullptr) return false;
    std::atomic_ref<T>(*target).store(value, std::memory_order_release);
    mark_dirty(address, sizeof(T));
    return true;
  }

  /// Notes that the host (not a vCPU) wrote to the range. Cheap when tracking is off; ranges
  /// outside RAM are ignored.
  void mark_dirty(Gpa address, std::uint64_t length) {
    if (tracking_.load(std::memory_order_relaxed)) set_dirty(address, length);
  }
  /// Starts (all clean) or ends tracking of host writes. vCPU writes are the accelerator's dirty
  /// log.
  void track_dirty(bool on);
  /// Moves the dirty bits of regions()[index], one per page, bit 0 of word 0 first, into `bitmap`
  /// (OR-ed) and clears them. `bitmap` holds (pages + 63) / 64 words.
  void take_dirty(std::size_t index, std::span<std::uint64_t> bitmap);

 private:
  GuestMemory() = default;
  const Region* find(Gpa address, std::uint64_t length) const {
    for (const auto& region : regions_)
      if (region.range.covers(address, length)) return &region;
    return nullptr;
  }
  /// The same once the content is there.
  const Region* reach(Gpa address, std::uint64_t length) const {
    const Region* region = find(address, length);
    if (region == nullptr || content_.load() == Content::There) return region;
    return wait_for(*region, address, length) ? region : nullptr;
  }
  bool wait_for(const Region& region, Gpa address, std::uint64_t length) const;
  template <class T>
  T* aligned(Gpa address) const {
    static_assert(std::endian::native == std::endian::little);
    if (address % sizeof(T) != 0) return nullptr;
    const Region* region = reach(address, sizeof(T));
    if (region == nullptr) return nullptr;
    return reinterpret_cast<T*>(region->host + (address - region->range.base));
  }
  void set_dirty(Gpa address, std::uint64_t length);

  Fd fd_;
  std::vector<Region> regions_;
  std::uint64_t size_bytes_ = 0;
  std::byte* mapping_ = nullptr;
  std::atomic<bool> tracking_{false};
  std::atomic<Content> content_{Content::There};
  Mutex listener_mutex_;
  ReleaseListener* listener_ REEVE_GUARDED_BY(listener_mutex_) = nullptr;
  std::vector<std::unique_ptr<std::atomic<std::uint64_t>[]>> dirty_;  ///< one bitmap per region
};

}  // namespace reeve::core
