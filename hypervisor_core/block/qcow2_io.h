// hypervisor_core/block/qcow2_io.h - big-endian tables and header fields of a qcow2 file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace reeve::core {

/// What lies behind the end of the file reads as zeroes: writers may leave the tail of a table
/// unwritten.
Result<std::vector<std::uint64_t>> read_table64(int fd, std::uint64_t offset,
                                                std::uint64_t entries);
Result<std::vector<std::uint16_t>> read_table16(int fd, std::uint64_t offset,
                                                std::uint64_t entries);
Status write_table64(int fd, std::uint64_t offset, std::span<const std::uint64_t> entries);
Status write_table16(int fd, std::uint64_t offset, std::span<const std::uint16_t> entries);
Status write_header32(int fd, std::uint64_t offset, std::uint32_t value);
Status write_header64(int fd, std::uint64_t offset, std::uint64_t value);
/// fdatasync(2).
Status sync_data(int fd);
/// DataLoss/QCOW2_CORRUPT with its remedy.
Error corrupt(std::string what);

}  // namespace reeve::core
