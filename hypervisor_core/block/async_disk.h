// hypervisor_core/block/async_disk.h - disk requests that complete later, on the thread that asked.
//
// One AsyncDisk serves one queue of one thread: submit() any number, kick() once, and reap() when
// event_fd() is readable (edge-triggered) or right after kick(). Memory named by a request stays
// valid until its completion was reaped. Three kinds: io_uring for disks that are plain files, a
// few threads for all others, and inline for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/block/disk.h"

namespace reeve::core {

struct DiskRequest {
  enum class Kind : std::uint8_t { Read, Write, Flush, Discard, WriteZeroes };
  Kind kind = Kind::Read;
  Disk::Unmap unmap = Disk::Unmap::No;
  std::uint64_t tag = 0;  ///< the caller's; comes back with the completion
  std::uint64_t offset = 0;
  std::uint64_t length = 0;     ///< of Discard and WriteZeroes
  std::vector<iovec> ranges{};  ///< of Read and Write
};

enum class DiskOutcome : std::uint8_t { Done, Full, Failed, Unsupported };

struct DiskCompletion {
  std::uint64_t tag = 0;
  DiskOutcome outcome = DiskOutcome::Done;
};

class AsyncDisk {
 public:
  virtual ~AsyncDisk() = default;
  virtual std::string_view kind() const = 0;  ///< "uring", "threads", "inline"
  virtual void submit(DiskRequest request) = 0;
  virtual void kick() = 0;
  /// Appends what has completed.
  virtual void reap(std::vector<DiskCompletion>& out) = 0;
  /// Blocks until everything submitted can be reaped.
  virtual void settle() = 0;
  /// Every completion is an edge; the counter is never read, so it stays readable.
  virtual int event_fd() const = 0;
};

/// Runs one request to its end on this thread. Checks range and access.
DiskOutcome run_disk_request(Disk& disk, const DiskRequest& request);

/// `disk` outlives the result in all of these. At most `depth` requests are in flight at a time.
std::unique_ptr<AsyncDisk> make_inline_disk(Disk& disk);
/// `prepare_thread` runs first on each of its threads; where it fails, requests do. Errors of
/// eventfd.
Result<std::unique_ptr<AsyncDisk>> make_threaded_disk(Disk& disk, std::size_t threads,
                                                      std::function<Status()> prepare_thread = {});
/// Unimplemented/NO_IO_URING when the kernel or a filter denies it, or the disk is no plain file.
Result<std::unique_ptr<AsyncDisk>> make_uring_disk(Disk& disk, unsigned depth);
/// io_uring where it works, else threads.
Result<std::unique_ptr<AsyncDisk>> make_async_disk(Disk& disk, unsigned depth,
                                                   std::function<Status()> prepare_thread = {});

}  // namespace reeve::core
