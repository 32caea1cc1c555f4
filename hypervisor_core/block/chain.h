// hypervisor_core/block/chain.h - opens the layers of a disk, and merges an overlay into what lies
// under it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/disk.h"

namespace reeve::core {

/// One opened file of a disk and its recorded format.
struct Layer {
  Fd fd{};
  DiskFormat format = DiskFormat::Raw;
};

/// `layers` from the top down; all but the first are opened for reading only. InvalidArgument/
/// DISK_NO_LAYERS, FailedPrecondition/DISK_CHAIN_TOO_LONG, and what the disks themselves refuse.
Result<std::unique_ptr<Disk>> open_chain(std::vector<Layer> layers, Access access);

/// Called between pieces with the bytes looked at and the bytes in all; false cancels.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// Copies everything that `overlay` itself holds (not what lies under it) into `base`, growing it
/// when it is smaller, and flushes it. May be repeated after a crash. Neither is in use by a VM
/// meanwhile. FailedPrecondition/DISK_NO_EXTENTS, DISK_READ_ONLY; Cancelled/COMMIT_CANCELLED.
Status commit_overlay(Disk& overlay, Disk& base, const Progress& progress = {});

/// Copies all that can be read from `from` into the empty disk `to` of at least its size, leaving
/// out zeroes.
Status copy_disk(Disk& from, Disk& to, const Progress& progress = {});

}  // namespace reeve::core
