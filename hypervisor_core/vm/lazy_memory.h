// hypervisor_core/vm/lazy_memory.h - fills guest memory from a saved state while the guest runs.
//
// Memory that has not been read yet is missing; whoever touches it, a vCPU or a device, waits in
// the kernel until the thread "memory-fill" has put it there (userfaultfd). Those who wait come
// first, the rest follows in order. Pages that were given back to the host meanwhile (balloon,
// reset) stay empty. When a piece cannot be read, or its checksum is wrong, nobody who waits for it
// goes on, and nobody gets at memory any more (Content::Lost): the machine must end.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/vm/saved_index.h"

namespace reeve::core {

class LazyMemory final : private ReleaseListener {
 public:
  /// Takes over the memory, which must be untouched, and begins. `lost` is called at most once, on
  /// the filling thread. Unimplemented/LAZY_UNAVAILABLE says what the host lacks.
  static Result<std::unique_ptr<LazyMemory>> start(GuestMemory& memory, Fd file,
                                                   std::vector<SavedChunk> chunks,
                                                   std::function<void(const Error&)> lost);
  /// Stops; memory that lacks something then is Content::Lost, and whoever waits for it goes on.
  ~LazyMemory() override;
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;

  /// Blocks until all memory is there. The error that `lost` was told.
  Status wait_until_filled();
  std::uint64_t bytes_left() const { return bytes_left_.load(std::memory_order_relaxed); }
  /// Runs `work` on the filling thread, or not at all when that is done.
  Status on_thread(const std::function<Status()>& work);

 private:
  LazyMemory(GuestMemory& memory, Fd file, std::vector<SavedChunk> chunks,
             std::function<void(const Error&)> lost);
  Status open_faults();
  void releasing(Gpa address, std::uint64_t length) override;
  void run();
  Status fill();
  void obey();
  Status serve_faults();
  Status serve(const std::byte* touched);
  Status load(std::size_t chunk);
  Status place(const SavedChunk& chunk, std::span<const std::byte> pages);
  Status copy_run(Gpa address, std::span<const std::byte> pages);
  void wake(const std::byte* page) const;
  bool settled(Gpa address) const REEVE_REQUIRES(mutex_);
  void settle(Gpa address, std::uint64_t pages) REEVE_REQUIRES(mutex_);
  std::optional<std::size_t> page_number(Gpa address) const;
  std::byte* host_of(Gpa address, std::uint64_t length) const;

  GuestMemory& memory_;
  const Fd file_;
  const std::vector<SavedChunk> chunks_;  ///< ascending by address
  const std::function<void(const Error&)> lost_;
  Fd faults_;
  std::vector<bool> loaded_;  ///< per chunk; the thread's own
  std::vector<std::byte> record_;
  std::atomic<std::uint64_t> bytes_left_{0};
  std::atomic<bool> stopping_{false};

  /// Held while pages are put into memory: a page is either put before it is given back, or never.
  Mutex mutex_;
  std::vector<bool> settled_ REEVE_GUARDED_BY(mutex_);  ///< per page of all regions: never put

  Mutex state_mutex_;
  CondVar state_changed_;
  std::optional<Status> outcome_ REEVE_GUARDED_BY(state_mutex_);
  const std::function<Status()>* work_ REEVE_GUARDED_BY(state_mutex_) = nullptr;
  Status work_outcome_ REEVE_GUARDED_BY(state_mutex_);

  std::thread thread_;
};

}  // namespace reeve::core
