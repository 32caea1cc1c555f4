#include "hypervisor_core/block/qcow2_io.h"

#include <array>

#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/file.h"
#include "hypervisor_core/block/vectored_io.h"

namespace reeve::core {
namespace {

template <class T>
Result<std::vector<T>> read_table(int fd, std::uint64_t offset, std::uint64_t entries) {
  std::vector<T> table(entries);
  const iovec range{table.data(), entries * sizeof(T)};
  TRY(read_vectored(fd, offset, std::span(&range, 1)));
  for (auto& entry : table) entry = byte_swap(entry);
  return table;
}

template <class T>
Status write_table(int fd, std::uint64_t offset, std::span<const T> entries) {
  std::vector<T> swapped(entries.begin(), entries.end());
  for (auto& entry : swapped) entry = byte_swap(entry);
  return write_at(fd, offset, std::as_bytes(std::span(swapped)));
}

}  // namespace

Result<std::vector<std::uint64_t>> read_table64(int fd, std::uint64_t offset,
                                                std::uint64_t entries) {
  return read_table<std::uint64_t>(fd, offset, entries);
}

Result<std::vector<std::uint16_t>> read_table16(int fd, std::uint64_t offset,
                                                std::uint64_t entries) {
  return read_table<std::uint16_t>(fd, offset, entries);
}

Status write_table64(int fd, std::uint64_t offset, std::span<const std::uint64_t> entries) {
  return write_table(fd, offset, entries);
}

Status write_table16(int fd, std::uint64_t offset, std::span<const std::uint16_t> entries) {
  return write_table(fd, offset, entries);
}

Status write_header32(int fd, std::uint64_t offset, std::uint32_t value) {
  std::array<std::byte, 4> bytes{};
  store_be(bytes, value);
  return write_at(fd, offset, bytes);
}

Status write_header64(int fd, std::uint64_t offset, std::uint64_t value) {
  std::array<std::byte, 8> bytes{};
  store_be(bytes, value);
  return write_at(fd, offset, bytes);
}

Status sync_data(int fd) {
  if (::fdatasync(fd) != 0) return errno_error("flushing a disk");
  return {};
}

Error corrupt(std::string what) {
  return Error{Code::DataLoss, "QCOW2_CORRUPT", std::move(what)}.remedy(
      "Check the image with qemu-img check -f qcow2, or restore a copy.");
}

}  // namespace reeve::core
