#include "hypervisor_core/block/chain.h"

#include <algorithm>

#include "hypervisor_core/block/qcow2_disk.h"
#include "hypervisor_core/block/raw_disk.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kPiece = 1u << 20;

Error cancelled() {
  return {Code::Cancelled, "COMMIT_CANCELLED", "the copy was cancelled"};
}

Status copy_piece(Disk& from, Disk& to, std::uint64_t offset, std::span<std::byte> buffer) {
  TRY(from.read_bytes(offset, buffer));
  const bool all_zero =
      std::all_of(buffer.begin(), buffer.end(), [](std::byte b) { return b == std::byte{0}; });
  if (all_zero) return to.write_zeroes(offset, buffer.size(), Disk::Unmap::Yes);
  return to.write_bytes(offset, buffer);
}

}  // namespace

Result<std::unique_ptr<Disk>> open_chain(std::vector<Layer> layers, Access access) {
  if (layers.empty())
    return Error{Code::InvalidArgument, "DISK_NO_LAYERS", "a disk has at least one layer"};
  if (layers.size() > kMaxChainDepth)
    return Error{Code::FailedPrecondition, "DISK_CHAIN_TOO_LONG", "the disk has too many layers"}
        .remedy("Merge some of its checkpoints.");
  std::unique_ptr<Disk> disk;
  for (std::size_t i = layers.size(); i-- > 0;) {
    const Access mine = i == 0 ? access : Access::ReadOnly;
    auto& layer = layers[i];
    if (layer.format == DiskFormat::Qcow2) {
      disk = TRY(Qcow2Disk::open(std::move(layer.fd), mine, std::move(disk)));
    } else if (disk != nullptr) {
      return Error{Code::InvalidArgument, "QCOW2_BACKING_UNEXPECTED",
                   "a raw disk has no backing disk"};
    } else {
      disk = TRY(RawDisk::open(std::move(layer.fd), mine));
    }
  }
  return disk;
}

Status commit_overlay(Disk& overlay, Disk& base, const Progress& progress) {
  TRY(base.check_writable());
  if (overlay.extents() == nullptr)
    return Error{Code::FailedPrecondition, "DISK_NO_EXTENTS",
                 "the disk does not know its own parts"};
  const std::uint64_t size = overlay.size_bytes();
  if (base.size_bytes() < size) {
    if (base.resize() == nullptr)
      return Error{Code::FailedPrecondition, "DISK_SIZE",
                   "the disk below is smaller and cannot grow"};
    TRY(base.resize()->grow(size));
  }
  std::vector<std::byte> buffer(kPiece);
  for (std::uint64_t at = 0; at < size;) {
    if (progress && !progress(at, size)) return cancelled();
    const auto extent = TRY(overlay.extents()->extent_at(at, size - at));
    if (extent.kind == Extent::Kind::Zero)
      TRY(base.write_zeroes(at, extent.length, Disk::Unmap::Yes));
    if (extent.kind == Extent::Kind::Data)
      for (std::uint64_t done = 0; done < extent.length; done += kPiece) {
        const auto piece = std::span(buffer).first(std::min(kPiece, extent.length - done));
        TRY(overlay.read_bytes(at + done, piece));
        TRY(base.write_bytes(at + done, piece));
        if (progress && !progress(at + done, size)) return cancelled();
      }
    at += extent.length;
  }
  return base.flush();
}

Status copy_disk(Disk& from, Disk& to, const Progress& progress) {
  const std::uint64_t size = from.size_bytes();
  TRY(to.check_writable());
  TRY(to.check_range(0, size));
  std::vector<std::byte> buffer(kPiece);
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    if (progress && !progress(at, size)) return cancelled();
    TRY(copy_piece(from, to, at, std::span(buffer).first(std::min(kPiece, size - at))));
  }
  return to.flush();
}

}  // namespace reeve::core
