#include "hypervisor_core/block/qcow2_header.h"

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/file.h"
#include "hypervisor_core/block/qcow2_format.h"

namespace reeve::core {
namespace {

__extension__ using Wide = unsigned __int128;

template <std::unsigned_integral T>
T field(std::span<const std::byte> header, std::size_t offset) {
  return load_be<T>(header.subspan(offset, sizeof(T)));
}

/// True when [offset, offset + length) lies inside `limit` bytes; cannot wrap.
bool fits(std::uint64_t offset, Wide length, std::uint64_t limit) {
  return Wide{offset} + length <= Wide{limit};
}

bool overlaps(std::uint64_t a, Wide a_length, std::uint64_t b, Wide b_length) {
  return Wide{a} < Wide{b} + b_length && Wide{b} < Wide{a} + a_length;
}

Error refuse(Reason reason, std::string message) {
  return {Code::InvalidArgument, reason, std::move(message)};
}

Error truncated(std::string_view what) {
  return {Code::DataLoss, "QCOW2_TRUNCATED", "the file ends before its " + std::string(what)};
}

Status check_features(std::uint64_t bits) {
  using namespace qcow2;
  if (bits & kIncompatibleDataFile)
    return refuse("QCOW2_DATA_FILE", "the image keeps its data in another file");
  if (bits & kIncompatibleCompression)
    return refuse("QCOW2_COMPRESSION", "the image is compressed with something other than zlib");
  if (bits & kIncompatibleCorrupt)
    return Error{Code::FailedPrecondition, "QCOW2_CORRUPT", "the image is marked corrupt"}.remedy(
        "Repair it with qemu-img check -r all, or restore a copy.");
  if (bits & kIncompatibleDirty)
    return Error{Code::FailedPrecondition, "QCOW2_DIRTY", "the image was not closed cleanly"}
        .remedy("Repair it with qemu-img check -r all.");
  if (bits != 0)
    return refuse("QCOW2_FEATURE", "the image needs features we do not have")
        .with("incompatible", std::to_string(bits));
  return {};
}

Status check_snapshots(std::span<const std::byte> header) {
  if (field<std::uint32_t>(header, 60) != 0)
    return refuse("QCOW2_SNAPSHOTS", "the image has internal snapshots")
        .remedy("Copy it with qemu-img convert -f qcow2 -O qcow2.");
  return {};
}

/// The fields every version has.
Result<Qcow2Facts> parse_common(std::span<const std::byte> header, std::uint64_t file_size) {
  if (field<std::uint32_t>(header, 0) != qcow2::kMagic)
    return refuse("QCOW2_MAGIC", "not a qcow2 image");
  Qcow2Facts facts;
  facts.file_size = file_size;
  facts.version = field<std::uint32_t>(header, 4);
  if (facts.version != 2 && facts.version != 3)
    return refuse("QCOW2_VERSION", "qcow2 version " + std::to_string(facts.version));
  facts.cluster_bits = field<std::uint32_t>(header, 20);
  if (facts.cluster_bits < kQcow2MinClusterBits || facts.cluster_bits > kQcow2MaxClusterBits)
    return refuse("QCOW2_CLUSTER_SIZE",
                  "clusters of 2^" + std::to_string(facts.cluster_bits) + " bytes");
  facts.virtual_size = field<std::uint64_t>(header, 24);
  if (facts.virtual_size % 512 != 0 || facts.virtual_size > qcow2::kMaxVirtualSize)
    return refuse("QCOW2_SIZE", "virtual size " + std::to_string(facts.virtual_size));
  if (field<std::uint32_t>(header, 32) != 0)
    return refuse("QCOW2_ENCRYPTED", "the image is encrypted");
  facts.l1_entries = field<std::uint32_t>(header, 36);
  facts.l1_offset = field<std::uint64_t>(header, 40);
  facts.refcount_table_offset = field<std::uint64_t>(header, 48);
  facts.refcount_table_clusters = field<std::uint32_t>(header, 56);
  TRY(check_snapshots(header));
  return facts;
}

/// The fields of version 3; version 2 has fixed values for them.
Status parse_version3(std::span<const std::byte> header, Qcow2Facts& facts) {
  if (facts.version == 2) {
    facts.header_length = qcow2::kHeaderLength2;
    return {};
  }
  if (header.size() < qcow2::kHeaderLength3) return truncated("header");
  facts.incompatible_features = field<std::uint64_t>(header, 72);
  facts.compatible_features = field<std::uint64_t>(header, 80);
  facts.autoclear_features = field<std::uint64_t>(header, 88);
  TRY(check_features(facts.incompatible_features));
  if (const auto order = field<std::uint32_t>(header, 96); order != qcow2::kRefcountOrder)
    return refuse("QCOW2_REFCOUNT_WIDTH", "refcounts of 2^" + std::to_string(order) + " bits");
  facts.header_length = field<std::uint32_t>(header, 100);
  if (facts.header_length < qcow2::kHeaderLength3 || facts.header_length % 8 != 0 ||
      facts.header_length > facts.cluster_size())
    return refuse("QCOW2_HEADER", "header length " + std::to_string(facts.header_length));
  if (facts.header_length > qcow2::kHeaderLength3) {
    if (header.size() <= qcow2::kHeaderLength3) return truncated("header");
    if (header[qcow2::kHeaderLength3] != std::byte{0})
      return refuse("QCOW2_COMPRESSION", "the image is compressed with something other than zlib");
  }
  return {};
}

Status check_tables(const Qcow2Facts& facts) {
  const std::uint64_t cluster = facts.cluster_size();
  const Wide l1_bytes = Wide{facts.l1_entries} * 8;
  const Wide needed = (Wide{facts.virtual_size} + qcow2::l1_reach(facts.cluster_bits) - 1) /
                      qcow2::l1_reach(facts.cluster_bits);
  if (l1_bytes > kQcow2MaxL1Bytes || Wide{facts.l1_entries} < needed)
    return refuse("QCOW2_L1", "L1 table of " + std::to_string(facts.l1_entries) + " entries");
  if (facts.l1_entries != 0 && (facts.l1_offset % cluster != 0 || facts.l1_offset == 0))
    return refuse("QCOW2_L1", "L1 table at " + std::to_string(facts.l1_offset));
  if (!fits(facts.l1_offset, l1_bytes, facts.file_size)) return truncated("L1 table");

  const Wide table_bytes = Wide{facts.refcount_table_clusters} * cluster;
  if (table_bytes == 0 || table_bytes > kQcow2MaxRefcountTableBytes)
    return refuse(
        "QCOW2_REFCOUNT_TABLE",
        "refcount table of " + std::to_string(facts.refcount_table_clusters) + " clusters");
  if (facts.refcount_table_offset % cluster != 0 || facts.refcount_table_offset == 0)
    return refuse("QCOW2_REFCOUNT_TABLE",
                  "refcount table at " + std::to_string(facts.refcount_table_offset));
  if (!fits(facts.refcount_table_offset, table_bytes, facts.file_size))
    return truncated("refcount table");
  if (overlaps(facts.l1_offset, l1_bytes, facts.refcount_table_offset, table_bytes) ||
      (facts.l1_entries != 0 && facts.l1_offset < cluster))
    return refuse("QCOW2_OVERLAP", "the tables of the image lie on each other");
  return {};
}

/// Reads one extension per turn until the end mark. `area` is the header cluster up to the backing
/// name.
Status parse_extensions(std::span<const std::byte> area, Qcow2Facts& facts) {
  std::size_t at = facts.header_length;
  while (at + 8 <= area.size()) {
    const auto type = field<std::uint32_t>(area, at);
    const auto length = field<std::uint32_t>(area, at + 4);
    at += 8;
    if (type == qcow2::kExtensionEnd) return {};
    if (length > area.size() - at)
      return refuse("QCOW2_EXTENSION", "a header extension ends outside the header");
    const auto body = area.subspan(at, length);
    if (type == qcow2::kExtensionDataFile)
      return refuse("QCOW2_DATA_FILE", "the image names an external data file");
    if (type == qcow2::kExtensionEncryption)
      return refuse("QCOW2_ENCRYPTED", "the image has an encryption header");
    if (type == qcow2::kExtensionBackingFormat)
      facts.backing_format.assign(reinterpret_cast<const char*>(body.data()), body.size());
    at += (std::size_t{length} + 7) & ~std::size_t{7};
  }
  return {};
}

Status parse_backing(std::span<const std::byte> header, std::span<const std::byte> cluster,
                     Qcow2Facts& facts) {
  const auto offset = field<std::uint64_t>(header, 8);
  const auto length = field<std::uint32_t>(header, 16);
  if (offset == 0) {
    if (length != 0) return refuse("QCOW2_BACKING_NAME", "a backing name without a place");
    return parse_extensions(cluster, facts);
  }
  if (offset < facts.header_length || length == 0 || length > kQcow2MaxBackingName ||
      !fits(offset, length, facts.cluster_size()))
    return refuse("QCOW2_BACKING_NAME", "the backing name lies outside the header");
  if (!fits(offset, length, cluster.size())) return truncated("backing name");
  facts.backing_file.assign(reinterpret_cast<const char*>(cluster.data()) + offset, length);
  if (facts.backing_file.find('\0') != std::string::npos)
    return refuse("QCOW2_BACKING_NAME", "the backing name holds a NUL");
  return parse_extensions(cluster.first(offset), facts);
}

}  // namespace

Result<std::uint64_t> disk_file_size(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return errno_error("reading the size of a disk");
  if (S_ISREG(st.st_mode)) return static_cast<std::uint64_t>(st.st_size);
  if (S_ISBLK(st.st_mode)) {
    std::uint64_t bytes = 0;
    if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) return errno_error("reading the size of a device");
    return bytes;
  }
  return refuse("DISK_NOT_A_FILE", "a disk is a regular file or a block device");
}

Result<Qcow2Facts> inspect_qcow2(int fd) {
  const auto file_size = TRY(disk_file_size(fd));
  if (file_size < qcow2::kHeaderLength2) return truncated("header");
  std::array<std::byte, qcow2::kHeaderLength3 + 8> start{};
  const auto header = std::span(start).first(std::min<std::uint64_t>(start.size(), file_size));
  TRY(read_at(fd, 0, header));
  auto facts = TRY(parse_common(header, file_size));
  TRY(parse_version3(header, facts));
  TRY(check_tables(facts));

  std::vector<std::byte> cluster(std::min(facts.cluster_size(), file_size));
  TRY(read_at(fd, 0, cluster));
  TRY(parse_backing(header, cluster, facts));
  return facts;
}

}  // namespace reeve::core
