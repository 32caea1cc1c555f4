// hypervisor_core/block/create.h - makes new disks: raw, qcow2, and overlays on an existing disk.
//
// All of them make a new file (AlreadyExists/FILE_EXISTS) with mode 0600, write it through to the
// disk together with its name, and leave nothing behind when they fail. They never open another
// file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/status.h"

namespace reeve::core {

/// Recorded when a disk is made or imported; never found out by looking at its bytes.
enum class DiskFormat : std::uint8_t { Raw, Qcow2 };
std::string_view name_of(DiskFormat format);  ///< "raw", "qcow2"
/// InvalidArgument/DISK_FORMAT.
Result<DiskFormat> disk_format_of(std::string_view name);

/// `size_bytes` is a positive multiple of 512 in all of these: InvalidArgument/DISK_SIZE otherwise,
/// or when the format cannot hold it. The file is sparse.
Status create_raw(const std::filesystem::path& path, std::uint64_t size_bytes);

/// An empty version 3 image. `cluster_bits` 9 to 21: InvalidArgument/QCOW2_CLUSTER_SIZE.
Status create_qcow2(const std::filesystem::path& path, std::uint64_t size_bytes,
                    std::uint32_t cluster_bits = 16);

/// An empty image that reads as `backing_path` where nothing was written yet, and as zeroes beyond
/// its end. The name is stored as given (at most 1023 bytes: InvalidArgument/QCOW2_BACKING_NAME)
/// with its format, so that other tools do not guess either.
Status create_overlay(const std::filesystem::path& path, const std::filesystem::path& backing_path,
                      DiskFormat backing_format, std::uint64_t size_bytes,
                      std::uint32_t cluster_bits = 16);

}  // namespace reeve::core
