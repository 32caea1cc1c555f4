// hypervisor_core/block/vectored_io.h - scattered reads and writes at a file offset, carried
// through to the end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "base/status.h"

namespace reeve::core {

/// Reads all ranges; what lies behind the end of the file reads as zeroes.
Status read_vectored(int fd, std::uint64_t offset, std::span<const iovec> out);
Status write_vectored(int fd, std::uint64_t offset, std::span<const iovec> in);
/// The part of `ranges` from byte `from` on, `length` bytes long, which exist.
std::vector<iovec> slice(std::span<const iovec> ranges, std::uint64_t from, std::uint64_t length);
void zero(std::span<const iovec> ranges);
/// Writes zeroes the slow way.
Status write_zero_bytes(int fd, std::uint64_t offset, std::uint64_t length);

}  // namespace reeve::core
