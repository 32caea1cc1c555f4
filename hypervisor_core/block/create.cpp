#include "hypervisor_core/block/create.h"

#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/undo.h"
#include "hypervisor_core/block/qcow2_format.h"
#include "hypervisor_core/block/qcow2_header.h"

namespace reeve::core {
namespace {

/// Where the tables of a new image lie, in clusters: header, refcount table, refcount blocks, L1.
struct Layout {
  std::uint64_t l1_entries = 0;
  std::uint64_t l1_clusters = 0;
  std::uint64_t blocks = 1;
  std::uint64_t table_clusters = 1;
  std::uint64_t total() const { return 1 + table_clusters + blocks + l1_clusters; }
};

std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
  return value / by + (value % by != 0);
}

Status check_size(std::uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % 512 != 0 || size_bytes > qcow2::kMaxVirtualSize)
    return Error{Code::InvalidArgument, "DISK_SIZE",
                 "a disk of " + std::to_string(size_bytes) + " bytes"}
        .remedy("Give a positive multiple of 512.");
  return {};
}

Result<Layout> lay_out(std::uint64_t size_bytes, std::uint32_t cluster_bits) {
  TRY(check_size(size_bytes));
  if (cluster_bits < kQcow2MinClusterBits || cluster_bits > kQcow2MaxClusterBits)
    return Error{Code::InvalidArgument, "QCOW2_CLUSTER_SIZE",
                 "clusters of 2^" + std::to_string(cluster_bits) + " bytes"};
  const std::uint64_t cluster = std::uint64_t{1} << cluster_bits;
  Layout layout;
  layout.l1_entries = divide_up(size_bytes, qcow2::l1_reach(cluster_bits));
  if (layout.l1_entries * 8 > kQcow2MaxL1Bytes)
    return Error{Code::InvalidArgument, "DISK_SIZE", "too large for clusters of this size"}.remedy(
        "Use larger clusters.");
  layout.l1_clusters = divide_up(layout.l1_entries * 8, cluster);
  for (;;) {  // the refcount blocks count themselves
    const auto blocks = divide_up(layout.total(), qcow2::refcounts_per_block(cluster_bits));
    const auto table = divide_up(blocks * 8, cluster);
    if (blocks <= layout.blocks && table <= layout.table_clusters) return layout;
    layout.blocks = std::max(blocks, layout.blocks);
    layout.table_clusters = std::max(table, layout.table_clusters);
  }
}

template <std::unsigned_integral T>
void put(std::vector<std::byte>& bytes, std::size_t offset, T value) {
  store_be<T>(std::span(bytes).subspan(offset, sizeof(T)), value);
}

void put_text(std::vector<std::byte>& bytes, std::size_t offset, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) bytes[offset + i] = static_cast<std::byte>(text[i]);
}

/// Extensions and the backing name after the fixed header.
Status put_backing(std::vector<std::byte>& bytes, std::string_view name, std::string_view format) {
  std::size_t at = qcow2::kHeaderLength3 + 8;
  if (!name.empty()) {
    put<std::uint32_t>(bytes, at, qcow2::kExtensionBackingFormat);
    put<std::uint32_t>(bytes, at + 4, static_cast<std::uint32_t>(format.size()));
    put_text(bytes, at + 8, format);
    at += 16;  // "raw" and "qcow2" pad to eight bytes
  }
  at += 8;  // the end mark is zeroes
  if (name.empty()) return {};
  if (name.size() > kQcow2MaxBackingName || at + name.size() > bytes.size() ||
      name.find('\0') != std::string_view::npos)
    return Error{Code::InvalidArgument, "QCOW2_BACKING_NAME", "the backing name does not fit"};
  put<std::uint64_t>(bytes, 8, at);
  put<std::uint32_t>(bytes, 16, static_cast<std::uint32_t>(name.size()));
  put_text(bytes, at, name);
  return {};
}

/// Header, refcount table and refcount blocks; the L1 table after them is a hole of zeroes.
Result<std::vector<std::byte>> make_image(const Layout& layout, std::uint64_t size_bytes,
                                          std::uint32_t cluster_bits, std::string_view backing,
                                          std::string_view backing_format) {
  const std::uint64_t cluster = std::uint64_t{1} << cluster_bits;
  std::vector<std::byte> header(cluster);
  put<std::uint32_t>(header, 0, qcow2::kMagic);
  put<std::uint32_t>(header, 4, 3);
  put<std::uint32_t>(header, 20, cluster_bits);
  put<std::uint64_t>(header, 24, size_bytes);
  put<std::uint32_t>(header, 36, static_cast<std::uint32_t>(layout.l1_entries));
  put<std::uint64_t>(header, 40, (1 + layout.table_clusters + layout.blocks) * cluster);
  put<std::uint64_t>(header, 48, cluster);
  put<std::uint32_t>(header, 56, static_cast<std::uint32_t>(layout.table_clusters));
  put<std::uint32_t>(header, 96, qcow2::kRefcountOrder);
  put<std::uint32_t>(header, 100, qcow2::kHeaderLength3 + 8);
  TRY(put_backing(header, backing, backing_format));

  std::vector<std::byte> image = std::move(header);
  image.resize((1 + layout.table_clusters + layout.blocks) * cluster);
  const auto first_block = 1 + layout.table_clusters;
  for (std::uint64_t i = 0; i < layout.blocks; ++i)
    put<std::uint64_t>(image, cluster + i * 8, (first_block + i) * cluster);
  for (std::uint64_t i = 0; i < layout.total(); ++i)
    put<std::uint16_t>(image, first_block * cluster + i * 2, 1);
  return image;
}

/// Makes `path` with `start` at its front and `size` bytes in all, durably.
Status make_file(const std::filesystem::path& path, std::span<const std::byte> start,
                 std::uint64_t size) {
  Undo undo;
  auto fd = TRY(open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  undo.push([&] { ::unlink(path.c_str()); });
  TRY(write_at(fd.get(), 0, start));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return errno_error("sizing a disk");
  if (::fsync(fd.get()) != 0) return errno_error("writing a disk through");
  TRY(sync_dir(path.has_parent_path() ? path.parent_path() : "."));
  undo.release();
  return {};
}

Status make_qcow2(const std::filesystem::path& path, std::uint64_t size_bytes,
                  std::uint32_t cluster_bits, std::string_view backing,
                  std::string_view backing_format) {
  const auto layout = TRY(lay_out(size_bytes, cluster_bits));
  const auto image = TRY(make_image(layout, size_bytes, cluster_bits, backing, backing_format));
  return make_file(path, image, layout.total() << cluster_bits);
}

}  // namespace

std::string_view name_of(DiskFormat format) {
  return format == DiskFormat::Raw ? "raw" : "qcow2";
}

Result<DiskFormat> disk_format_of(std::string_view name) {
  if (name == "raw") return DiskFormat::Raw;
  if (name == "qcow2") return DiskFormat::Qcow2;
  return Error{Code::InvalidArgument, "DISK_FORMAT", "no disk format '" + std::string(name) + "'"};
}

Status create_raw(const std::filesystem::path& path, std::uint64_t size_bytes) {
  TRY(check_size(size_bytes));
  return make_file(path, {}, size_bytes);
}

Status create_qcow2(const std::filesystem::path& path, std::uint64_t size_bytes,
                    std::uint32_t cluster_bits) {
  return make_qcow2(path, size_bytes, cluster_bits, {}, {});
}

Status create_overlay(const std::filesystem::path& path, const std::filesystem::path& backing_path,
                      DiskFormat backing_format, std::uint64_t size_bytes,
                      std::uint32_t cluster_bits) {
  if (backing_path.empty())
    return Error{Code::InvalidArgument, "QCOW2_BACKING_NAME", "an overlay needs a backing disk"};
  return make_qcow2(path, size_bytes, cluster_bits, backing_path.native(), name_of(backing_format));
}

}  // namespace reeve::core
