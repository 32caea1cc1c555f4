#include "agent/storage/image_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto/sha256.h"
#include "base/file.h"
#include "base/text.h"
#include "hypervisor_core/block/qcow2_header.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kChunk = 1u << 20;
constexpr std::size_t kHoleBlock = 64u << 10;
constexpr std::int64_t kMaxBootFile = std::int64_t{2} << 30;

class FileSource final : public ByteSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    for (;;) {
      const ssize_t n = ::read(fd_, into.data(), into.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return errno_error("reading the image");
    }
  }

 private:
  int fd_;
};

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// Writes the blocks that are not zero; the file already ends where `size` says or is extended
/// later.
Status write_sparse(int to, std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto block = bytes.first(std::min(bytes.size(), kHoleBlock));
    if (!is_zero(block)) TRY(write_at(to, static_cast<std::uint64_t>(offset), block));
    offset += static_cast<std::int64_t>(block.size());
    bytes = bytes.subspan(block.size());
  }
  return {};
}

/// Reads as much as fits, so that blocks stay aligned however the source cuts its pieces.
Result<std::size_t> fill(ByteSource& source, std::span<std::byte> buffer) {
  std::size_t have = 0;
  while (have < buffer.size()) {
    const std::size_t n = TRY(source.read(buffer.subspan(have)));
    if (n == 0) break;
    have += n;
  }
  return have;
}

enum class Write : std::uint8_t { Yes, AlreadyThere };

Result<Copied> pass(ByteSource& source, int to, std::int64_t total, Write write,
                    const CopyProgress& progress) {
  crypto::Sha256 digest;
  std::vector<std::byte> buffer(kChunk);
  std::int64_t done = 0;
  for (;;) {
    const std::size_t n = TRY(fill(source, buffer));
    if (n == 0) break;
    const auto bytes = std::span<const std::byte>(buffer).first(n);
    if (done + static_cast<std::int64_t>(n) > total)
      return Error{Code::InvalidArgument, "UPLOAD_SIZE",
                   "there are more than the " + std::to_string(total) + " bytes announced"};
    digest.update(bytes);
    if (write == Write::Yes) TRY(write_sparse(to, done, bytes));
    done += static_cast<std::int64_t>(n);
    if (!progress(done, total))
      return Error{Code::Cancelled, "STEP_CANCELLED", "the import was cancelled"};
  }
  if (write == Write::Yes && ::ftruncate(to, done) != 0) return errno_error("setting the size");
  if (::fsync(to) != 0) return errno_error("syncing the image");
  return Copied{done, digest.finish_hex()};
}

Error invalid(std::string message) {
  return {Code::InvalidArgument, "IMAGE_INVALID", std::move(message)};
}

constexpr std::string_view kQcow2Magic = "QFI\xfb";

Result<std::int64_t> check_disk(const v1::ImportImage& action, int fd, std::int64_t size) {
  if (action.format() == reeve::v1::DISK_FORMAT_QCOW2) {
    const core::Qcow2Facts facts = TRY(core::inspect_qcow2(fd));
    if (!facts.backing_file.empty())
      return invalid("the image needs another file ('" + facts.backing_file.substr(0, 200) +
                     "'); flatten it first");
    return static_cast<std::int64_t>(facts.virtual_size);
  }
  constexpr std::int64_t kSector = 512;
  if (size % kSector != 0)
    return invalid("a raw disk of " + std::to_string(size) +
                   " bytes is no whole number of sectors");
  std::byte first[4];
  TRY(read_at(fd, 0, first));
  if (std::memcmp(first, kQcow2Magic.data(), sizeof first) == 0)
    return invalid("the bytes are a qcow2 image, but are said to be raw");
  return size;
}

}  // namespace

Result<Copied> copy_stream(ByteSource& source, int to, std::int64_t total_bytes,
                           const CopyProgress& progress) {
  return pass(source, to, total_bytes, Write::Yes, progress);
}

Result<Copied> copy_file(int from, int to, const CopyProgress& progress) {
  const auto size = static_cast<std::int64_t>(TRY(core::disk_file_size(from)));
  if (::ioctl(to, FICLONE, from) == 0) {
    // Shared blocks: the digest is of our own file, whatever happens to the source from now on.
    FileSource source(to);
    const auto now = static_cast<std::int64_t>(TRY(core::disk_file_size(to)));
    return pass(source, to, now, Write::AlreadyThere, progress);
  }
  ::posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
  FileSource source(from);
  return pass(source, to, size, Write::Yes, progress);
}

Result<v1::StoredImage> check_image(const v1::ImportImage& action, int fd, const Copied& copied) {
  if (copied.size_bytes == 0) return invalid("the image is empty");
  std::string expected = action.sha256();
  std::transform(expected.begin(), expected.end(), expected.begin(), [](char c) {
    return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (!expected.empty() && expected != copied.sha256)
    return Error(Code::DataLoss, "IMAGE_DIGEST", "the bytes do not have the expected digest")
        .remedy("fetch the image again, or correct the digest")
        .with("expected", expected)
        .with("actual", copied.sha256);
  std::int64_t virtual_size = copied.size_bytes;
  if (action.kind() == reeve::v1::Image::KIND_DISK) {
    virtual_size = TRY(check_disk(action, fd, copied.size_bytes));
  } else if (action.kind() != reeve::v1::Image::KIND_ISO && copied.size_bytes > kMaxBootFile) {
    return invalid("a kernel or initial RAM disk over 2 GiB");
  }
  v1::StoredImage image;
  image.set_uid(action.uid());
  image.set_kind(action.kind());
  image.set_format(action.format());
  image.set_size_bytes(copied.size_bytes);
  image.set_virtual_size_bytes(virtual_size);
  image.set_sha256(copied.sha256);
  return image;
}

}  // namespace reeve::agent
