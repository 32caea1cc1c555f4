// What inspect_qcow2() accepts from QEMU, and which lies it refuses by name.
#include "hypervisor_core/block/qcow2_header.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "hypervisor_core/block/create.h"
#include "tests/hypervisor_core/block/qemu_img.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::core;
using reeve::core::test::qemu_img;
using reeve::test::TempDir;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

Result<Qcow2Facts> inspect(const std::filesystem::path& path) {
  const auto fd = open_file(path, O_RDONLY);
  REQUIRE(fd.ok());
  return inspect_qcow2(fd.value().get());
}

/// A good image whose header can be changed field by field.
struct Patient {
  TempDir dir{};
  std::filesystem::path path = dir / "disk";
  Fd fd{};

  Patient() {
    REQUIRE(create_qcow2(path, 64 * kMiB).ok());
    fd = open_file(path, O_RDWR).value();
  }
  template <std::unsigned_integral T>
  Patient& set(std::uint64_t offset, T value) {
    std::array<std::byte, sizeof(T)> bytes{};
    store_be<T>(bytes, value);
    REQUIRE(write_at(fd.get(), offset, bytes).ok());
    return *this;
  }
  std::string refusal() const {
    auto facts = inspect_qcow2(fd.get());
    return facts.ok() ? "" : std::string(facts.error().reason());
  }
};

}  // namespace

TEST_CASE("an image we made reads back and passes qemu-img check", "[block]") {
  const TempDir dir;
  for (const std::uint32_t cluster_bits : {9u, 12u, 16u, 21u}) {
    const auto path = dir / ("disk" + std::to_string(cluster_bits));
    REQUIRE(create_qcow2(path, 100 * kMiB, cluster_bits).ok());
    const auto facts = inspect(path);
    REQUIRE(facts.ok());
    CHECK(facts.value().version == 3);
    CHECK(facts.value().cluster_bits == cluster_bits);
    CHECK(facts.value().virtual_size == 100 * kMiB);
    CHECK(facts.value().backing_file.empty());
    reeve::core::test::require_clean(path);
    CHECK(qemu_img({"info", "-f", "qcow2", "--output=json", path.string()})
              .find("\"virtual-size\": 104857600") != std::string::npos);
  }
}

TEST_CASE("an overlay names its backing disk and format to qemu-img", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "base.raw", 10 * kMiB).ok());
  REQUIRE(create_overlay(dir / "top", dir / "base.raw", DiskFormat::Raw, 20 * kMiB).ok());
  const auto facts = inspect(dir / "top");
  REQUIRE(facts.ok());
  CHECK(facts.value().backing_file == (dir / "base.raw").string());
  CHECK(facts.value().backing_format == "raw");
  reeve::core::test::require_clean(dir / "top");
  const auto info = qemu_img({"info", "-f", "qcow2", "--output=json", (dir / "top").string()});
  CHECK(info.find("\"backing-filename-format\": \"raw\"") != std::string::npos);
}

TEST_CASE("images made by qemu-img are accepted", "[block]") {
  const TempDir dir;
  const auto path = (dir / "disk").string();
  const auto options = GENERATE(as<std::string>{}, "compat=0.10", "compat=1.1", "cluster_size=512",
                                "cluster_size=2M", "preallocation=metadata");
  qemu_img({"create", "-q", "-f", "qcow2", "-o", options, path, "50M"});
  const auto facts = inspect(path);
  REQUIRE(facts.ok());
  CHECK(facts.value().virtual_size == 50 * kMiB);
  CHECK(facts.value().version == (options == "compat=0.10" ? 2u : 3u));
}

TEST_CASE("images by qemu-img outside the subset are refused by name", "[block]") {
  const TempDir dir;
  const auto path = (dir / "disk").string();
  SECTION("external data file, CVE-2024-32498") {
    qemu_img(
        {"create", "-q", "-f", "qcow2", "-o", "data_file=" + (dir / "data").string(), path, "1M"});
    CHECK(inspect(path).error().reason() == "QCOW2_DATA_FILE");
  }
  SECTION("zstd") {
    qemu_img({"create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", path, "1M"});
    CHECK(inspect(path).error().reason() == "QCOW2_COMPRESSION");
  }
  SECTION("extended L2") {
    qemu_img({"create", "-q", "-f", "qcow2", "-o", "extended_l2=on", path, "1M"});
    CHECK(inspect(path).error().reason() == "QCOW2_FEATURE");
  }
  SECTION("refcount width") {
    qemu_img({"create", "-q", "-f", "qcow2", "-o", "refcount_bits=64", path, "1M"});
    CHECK(inspect(path).error().reason() == "QCOW2_REFCOUNT_WIDTH");
  }
  SECTION("internal snapshot") {
    qemu_img({"create", "-q", "-f", "qcow2", path, "1M"});
    qemu_img({"snapshot", "-c", "s", path});
    CHECK(inspect(path).error().reason() == "QCOW2_SNAPSHOTS");
  }
}

TEST_CASE("a lying header is refused by the name of the lie", "[block]") {
  using U32 = std::uint32_t;
  using U64 = std::uint64_t;
  Patient image;
  CHECK(image.refusal().empty());
  SECTION("magic") {
    CHECK(image.set<U32>(0, 0x514649fc).refusal() == "QCOW2_MAGIC");
  }
  SECTION("version") {
    CHECK(image.set<U32>(4, 4).refusal() == "QCOW2_VERSION");
  }
  SECTION("clusters too small") {
    CHECK(image.set<U32>(20, 8).refusal() == "QCOW2_CLUSTER_SIZE");
  }
  SECTION("clusters too large, CVE-2014-0144") {
    CHECK(image.set<U32>(20, 64).refusal() == "QCOW2_CLUSTER_SIZE");
  }
  SECTION("odd size") {
    CHECK(image.set<U64>(24, 511).refusal() == "QCOW2_SIZE");
  }
  SECTION("size that wraps") {
    CHECK(image.set<U64>(24, ~U64{511}).refusal() == "QCOW2_SIZE");
  }
  SECTION("encrypted") {
    CHECK(image.set<U32>(32, 1).refusal() == "QCOW2_ENCRYPTED");
  }
  SECTION("L1 too short") {
    CHECK(image.set<U64>(24, U64{1} << 50).refusal() == "QCOW2_L1");
  }
  SECTION("L1 of 32 GiB, CVE-2014-0145") {
    CHECK(image.set<U32>(36, ~U32{0}).refusal() == "QCOW2_L1");
  }
  SECTION("L1 beyond the file") {
    CHECK(image.set<U64>(40, U64{1} << 40).refusal() == "QCOW2_TRUNCATED");
  }
  SECTION("L1 that wraps") {
    CHECK(image.set<U64>(40, ~U64{0xffff}).refusal() == "QCOW2_TRUNCATED");
  }
  SECTION("L1 unaligned") {
    CHECK(image.set<U64>(40, 65537).refusal() == "QCOW2_L1");
  }
  SECTION("L1 over the header") {
    CHECK(image.set<U64>(40, 0).refusal() == "QCOW2_L1");
  }
  SECTION("L1 over refcounts") {
    CHECK(image.set<U64>(40, 65536).refusal() == "QCOW2_OVERLAP");
  }
  SECTION("no refcounts") {
    CHECK(image.set<U32>(56, 0).refusal() == "QCOW2_REFCOUNT_TABLE");
  }
  SECTION("huge refcounts, CVE-2014-0146") {
    CHECK(image.set<U32>(56, ~U32{0}).refusal() == "QCOW2_REFCOUNT_TABLE");
  }
  SECTION("refcounts beyond the file") {
    CHECK(image.set<U32>(56, 100).refusal() == "QCOW2_TRUNCATED");
  }
  SECTION("refcounts unaligned") {
    CHECK(image.set<U64>(48, 1).refusal() == "QCOW2_REFCOUNT_TABLE");
  }
  SECTION("refcount width") {
    CHECK(image.set<U32>(96, 63).refusal() == "QCOW2_REFCOUNT_WIDTH");
  }
  SECTION("snapshots") {
    CHECK(image.set<U32>(60, 1).refusal() == "QCOW2_SNAPSHOTS");
  }
  SECTION("dirty") {
    CHECK(image.set<U64>(72, 1).refusal() == "QCOW2_DIRTY");
  }
  SECTION("corrupt") {
    CHECK(image.set<U64>(72, 2).refusal() == "QCOW2_CORRUPT");
  }
  SECTION("data file, CVE-2024-32498") {
    CHECK(image.set<U64>(72, 4).refusal() == "QCOW2_DATA_FILE");
  }
  SECTION("unknown feature") {
    CHECK(image.set<U64>(72, U64{1} << 40).refusal() == "QCOW2_FEATURE");
  }
  SECTION("header length") {
    CHECK(image.set<U32>(100, 65544).refusal() == "QCOW2_HEADER");
  }
  SECTION("compression") {
    CHECK(image.set<std::uint8_t>(104, 1).refusal() == "QCOW2_COMPRESSION");
  }
  SECTION("extension past the header") {
    CHECK(image.set<U32>(112, 0x12345678).set<U32>(116, ~U32{0}).refusal() == "QCOW2_EXTENSION");
  }
  SECTION("data file by extension, CVE-2024-32498") {
    CHECK(image.set<U32>(112, 0x44415441).set<U32>(116, 4).refusal() == "QCOW2_DATA_FILE");
  }
  SECTION("backing name in the header") {
    CHECK(image.set<U64>(8, 64).set<U32>(16, 4).refusal() == "QCOW2_BACKING_NAME");
  }
  SECTION("backing name across the first cluster") {
    CHECK(image.set<U64>(8, 65535).set<U32>(16, 4).refusal() == "QCOW2_BACKING_NAME");
  }
  SECTION("backing name that wraps") {
    CHECK(image.set<U64>(8, ~U64{0}).set<U32>(16, 2).refusal() == "QCOW2_BACKING_NAME");
  }
  SECTION("backing name too long") {
    CHECK(image.set<U64>(8, 1024).set<U32>(16, 1024).refusal() == "QCOW2_BACKING_NAME");
  }
  SECTION("backing name with a NUL") {
    CHECK(image.set<U64>(8, 1024).set<U32>(16, 4).refusal() == "QCOW2_BACKING_NAME");
  }
}

TEST_CASE("looking at an image opens nothing that it names, CVE-2024-4467", "[block]") {
  const TempDir dir;
  const auto base = (dir / "base").string();
  REQUIRE(mkfifo(base.c_str(), 0600) == 0);  // opening it would not return
  Patient image;
  for (const std::string& name :
       {base, "json:{\"driver\":\"nvme\"}" + base, "nbd://127.0.0.1/" + base}) {
    CAPTURE(name);
    std::string padded = name;
    padded.resize(std::max<std::size_t>(name.size(), 4));
    image.set<std::uint64_t>(8, 1024).set<std::uint32_t>(16,
                                                         static_cast<std::uint32_t>(padded.size()));
    for (std::size_t at = 0; at < padded.size(); ++at)
      image.set<std::uint8_t>(1024 + at, static_cast<std::uint8_t>(padded[at]));
    CHECK(image.refusal().empty());  // a name is kept as a name
  }
}

TEST_CASE("an image cut anywhere in its metadata is refused", "[block]") {
  Patient image;
  const auto whole = inspect_qcow2(image.fd.get()).value();
  const auto metadata_end = whole.l1_offset + whole.l1_entries * 8u;
  for (std::uint64_t length = 0; length < metadata_end; length += length < 256 ? 1 : 4093) {
    REQUIRE(create_raw(image.dir / "cut", 512).ok());
    REQUIRE(::truncate((image.dir / "cut").c_str(), 0) == 0);
    auto cut = open_file(image.dir / "cut", O_RDWR);
    std::vector<std::byte> bytes(length);
    REQUIRE(read_at(image.fd.get(), 0, bytes).ok());
    REQUIRE(write_at(cut.value().get(), 0, bytes).ok());
    CHECK(inspect_qcow2(cut.value().get()).error().reason() == "QCOW2_TRUNCATED");
    REQUIRE(remove_file(image.dir / "cut").ok());
  }
}

TEST_CASE("only regular files and block devices are disks", "[block]") {
  const auto null = open_file("/dev/null", O_RDONLY);
  CHECK(inspect_qcow2(null.value().get()).error().reason() == "DISK_NOT_A_FILE");
}

TEST_CASE("making a disk never replaces a file and refuses odd sizes", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "disk", kMiB).ok());
  CHECK(create_raw(dir / "disk", kMiB).error().reason() == "FILE_EXISTS");
  CHECK(create_qcow2(dir / "disk", kMiB).error().reason() == "FILE_EXISTS");
  CHECK(create_raw(dir / "other", 1000).error().reason() == "DISK_SIZE");
  CHECK(create_qcow2(dir / "other", 0).error().reason() == "DISK_SIZE");
  CHECK(create_qcow2(dir / "other", kMiB, 22).error().reason() == "QCOW2_CLUSTER_SIZE");
  CHECK(create_qcow2(dir / "other", std::uint64_t{1} << 40, 9).error().reason() == "DISK_SIZE");
  CHECK(create_overlay(dir / "other", std::string(1024, 'x'), DiskFormat::Raw, kMiB)
            .error()
            .reason() == "QCOW2_BACKING_NAME");
  CHECK_FALSE(std::filesystem::exists(dir / "other"));
}
