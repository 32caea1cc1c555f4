// hypervisor_core/boot/byte_source.h - a kernel or initrd, wherever its bytes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "base/fd.h"
#include "base/file.h"
#include "base/status.h"

namespace reeve::core::boot {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  /// Fills all of `out`; DataLoss/FILE_TRUNCATED when there is less.
  virtual Status read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// The open file whose bytes these are, from its beginning on; -1: none.
  virtual int file() const { return -1; }
};

/// An open file. The size is taken once; a file that shrinks later fails to read.
class FileSource final : public ByteSource {
 public:
  FileSource(Fd fd, std::uint64_t size) : fd_(std::move(fd)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override {
    return read_at(fd_.get(), offset, out);
  }
  int file() const override { return fd_.get(); }

 private:
  Fd fd_;
  std::uint64_t size_;
};

/// Bytes in memory, which outlive the source.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset)
      return Error{Code::DataLoss, "FILE_TRUNCATED", "the image ends too early"};
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace reeve::core::boot
