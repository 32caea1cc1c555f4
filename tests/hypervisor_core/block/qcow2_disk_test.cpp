// Reading, writing and layering qcow2 images, with a model in memory and qemu-img as the judges.
#include "hypervisor_core/block/qcow2_disk.h"

#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/random.h"
#include "hypervisor_core/block/chain.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/raw_disk.h"
#include "tests/hypervisor_core/block/qemu_img.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::test;
using reeve::test::TempDir;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

Fd open_rw(const fs::path& path) {
  return open_file(path, O_RDWR).value();
}

std::unique_ptr<Disk> open_disk(const fs::path& path, std::unique_ptr<Disk> backing = nullptr,
                                Access access = Access::ReadWrite) {
  auto disk = Qcow2Disk::open(open_rw(path), access, std::move(backing));
  if (!disk.ok()) FAIL(disk.error().reason() << ": " << disk.error().message());
  return std::move(disk).value();
}

std::unique_ptr<Disk> open_raw(const fs::path& path, Access access = Access::ReadOnly) {
  auto disk = RawDisk::open(open_rw(path), access);
  REQUIRE(disk.ok());
  return std::move(disk).value();
}

std::string read_back(Disk& disk, std::uint64_t offset, std::uint64_t length) {
  std::string out(length, '?');
  const auto status = disk.read_bytes(offset, std::as_writable_bytes(std::span(out)));
  if (!status.ok()) FAIL(status.error().reason() << ": " << status.error().message());
  return out;
}

std::string whole(Disk& disk) {
  return read_back(disk, 0, disk.size_bytes());
}

Status put(Disk& disk, std::uint64_t offset, const std::string& text) {
  return disk.write_bytes(offset, std::as_bytes(std::span(text)));
}

/// Random operations on a disk and on a string, compared after each.
class Model {
 public:
  Model(Disk& disk, std::string content, std::uint64_t seed)
      : disk_(&disk), content_(std::move(content)), random_(seed) {}

  void step() {
    const auto kind = random_.below(10);
    const std::uint64_t sectors = content_.size() / 512;
    const std::uint64_t first = random_.below(sectors);
    const std::uint64_t longest = random_.below(4) == 0 ? 1024 : 24;
    const std::uint64_t count = 1 + random_.below(std::min(longest, sectors - first));
    const std::uint64_t offset = first * 512, length = count * 512;
    if (kind < 5) {
      std::string text(length, static_cast<char>('a' + random_.below(26)));
      text[random_.below(length)] = '!';
      REQUIRE(put(*disk_, offset, text).ok());
      content_.replace(offset, length, text);
    } else if (kind < 7) {
      REQUIRE(disk_->write_zeroes(offset, length, Disk::Unmap::Yes).ok());
      content_.replace(offset, length, std::string(length, '\0'));
    } else if (kind == 7) {
      discard(offset, length);
    } else if (kind == 8) {
      REQUIRE(disk_->flush().ok());
    }
    REQUIRE(read_back(*disk_, offset, length) == content_.substr(offset, length));
  }
  void use(Disk& disk) { disk_ = &disk; }
  void grow(std::uint64_t size) {
    REQUIRE(disk_->resize()->grow(size).ok());
    content_.resize(size);
  }
  const std::string& content() const { return content_; }

 private:
  /// Each sector keeps its bytes or becomes zero.
  void discard(std::uint64_t offset, std::uint64_t length) {
    REQUIRE(disk_->discard()->discard(offset, length).ok());
    const auto now = read_back(*disk_, offset, length);
    for (std::uint64_t at = 0; at < length; at += 512) {
      const auto sector = now.substr(at, 512);
      REQUIRE((sector == std::string(512, '\0') || sector == content_.substr(offset + at, 512)));
    }
    content_.replace(offset, length, now);
  }

  Disk* disk_;
  std::string content_;
  SeededRandom random_;
};

}  // namespace

TEST_CASE("random work on an image agrees with a model and with qemu-img", "[block]") {
  const TempDir dir;
  const std::uint32_t cluster_bits = GENERATE(9u, 12u, 16u);
  const std::uint64_t size = 3 * kMiB + 512;
  REQUIRE(create_qcow2(dir / "disk", size, cluster_bits).ok());
  auto disk = open_disk(dir / "disk");
  Model model(*disk, std::string(size, '\0'), cluster_bits);
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 60; ++i) model.step();
    disk.reset();
    require_clean(dir / "disk");
    REQUIRE((content_by_qemu(dir / "disk") == model.content()));
    disk = open_disk(dir / "disk");
    REQUIRE((whole(*disk) == model.content()));
    model.use(*disk);
    if (round == 3) model.grow(40 * kMiB);  // a longer L1 table for small clusters
  }
}

TEST_CASE("random work on an overlay leaves its backing disk alone", "[block]") {
  const TempDir dir;
  const std::uint32_t cluster_bits = GENERATE(9u, 16u);
  const std::string base(kMiB, 'B');
  REQUIRE(create_raw(dir / "base", kMiB).ok());
  REQUIRE(put(*open_raw(dir / "base", Access::ReadWrite), 0, base).ok());
  REQUIRE(create_overlay(dir / "top", dir / "base", DiskFormat::Raw, 2 * kMiB, cluster_bits).ok());
  auto disk = open_disk(dir / "top", open_raw(dir / "base"));
  Model model(*disk, base + std::string(kMiB, '\0'), 7);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 60; ++i) model.step();
    disk.reset();
    require_clean(dir / "top");
    REQUIRE((content_by_qemu(dir / "top") == model.content()));
    disk = open_disk(dir / "top", open_raw(dir / "base"));
    REQUIRE((whole(*disk) == model.content()));
    model.use(*disk);
  }
  CHECK((whole(*open_raw(dir / "base")) == base));
}

TEST_CASE("images written by qemu-img read the same, compressed ones too", "[block]") {
  const TempDir dir;
  std::string content(2 * kMiB, '\0');
  SeededRandom random(3);
  for (std::size_t i = 0; i < content.size(); i += 7)
    content[i] = static_cast<char>(random.below(4));
  for (std::size_t i = 300'000; i < 900'000; ++i) content[i] = '\0';
  REQUIRE(write_file_durably(dir / "raw", content).ok());
  const auto options = GENERATE(as<std::vector<std::string>>{}, std::vector<std::string>{"-c"},
                                std::vector<std::string>{"-o", "compat=0.10"},
                                std::vector<std::string>{"-c", "-o", "cluster_size=4k"},
                                std::vector<std::string>{"-o", "cluster_size=2M"});
  std::vector<std::string> arguments{"convert", "-f", "raw", "-O", "qcow2"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {(dir / "raw").string(), (dir / "disk").string()});
  qemu_img(arguments);
  auto disk = open_disk(dir / "disk");
  REQUIRE((whole(*disk) == content));

  Model model(*disk, content, 11);  // overwriting compressed clusters gives their space back
  for (int i = 0; i < 80; ++i) model.step();
  disk.reset();
  require_clean(dir / "disk");
  CHECK((content_by_qemu(dir / "disk") == model.content()));
}

TEST_CASE("qemu-img compare and map agree with what we wrote", "[block]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "ours", 4 * kMiB).ok());
  REQUIRE(create_raw(dir / "raw", 4 * kMiB).ok());
  {
    auto ours = open_disk(dir / "ours");
    auto raw = open_raw(dir / "raw", Access::ReadWrite);
    for (Disk* disk : {ours.get(), raw.get()}) {
      REQUIRE(put(*disk, 64 * 1024, std::string(128 * 1024, 'x')).ok());
      REQUIRE(put(*disk, 3 * kMiB + 512, std::string(512, 'y')).ok());
    }
    const auto hole = ours->extents()->extent_at(0, 4 * kMiB);
    CHECK(hole.value().kind == Extent::Kind::Backing);
    CHECK(hole.value().length == 64 * 1024);
    CHECK(ours->extents()->extent_at(64 * 1024, kMiB).value().length == 128 * 1024);
  }
  qemu_img(
      {"compare", "-f", "qcow2", "-F", "raw", (dir / "ours").string(), (dir / "raw").string()});
  const auto map = qemu_img({"map", "-f", "qcow2", "--output=json", (dir / "ours").string()});
  CHECK(map.find("\"start\": 65536, \"length\": 131072, \"depth\": 0, \"present\": true") !=
        std::string::npos);
}

TEST_CASE("discarded space is reused after the tables that named it were written", "[block]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "disk", 64 * kMiB).ok());
  auto disk = open_disk(dir / "disk");
  for (int round = 0; round < 8; ++round) {
    for (std::uint64_t at = 0; at < 8 * kMiB; at += kMiB)
      REQUIRE(put(*disk, at, std::string(kMiB, 'x')).ok());
    REQUIRE(disk->discard()->discard(0, 8 * kMiB).ok());
    for (int i = 0; i < 3; ++i) REQUIRE(disk->flush().ok());
  }
  disk.reset();
  require_clean(dir / "disk");
  CHECK(fs::file_size(dir / "disk") < 12 * kMiB);
  // Space freed by an earlier user of the image is found again as well.
  disk = open_disk(dir / "disk");
  REQUIRE(put(*disk, 0, std::string(kMiB, 'y')).ok());
  disk.reset();
  CHECK(fs::file_size(dir / "disk") < 12 * kMiB);
  require_clean(dir / "disk");
}

TEST_CASE("a small-cluster image outgrows its refcount table", "[block]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "disk", 64 * kMiB, 9).ok());
  auto disk = open_disk(dir / "disk");
  for (std::uint64_t at = 0; at < 24 * kMiB; at += kMiB)
    REQUIRE(put(*disk, at, std::string(kMiB, static_cast<char>('a' + at / kMiB % 26))).ok());
  CHECK((read_back(*disk, 9 * kMiB, kMiB) == std::string(kMiB, 'j')));
  disk.reset();
  require_clean(dir / "disk");
}

TEST_CASE("a chain of overlays reads through, has a limit, and commits downwards", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "0", kMiB).ok());
  REQUIRE(put(*open_raw(dir / "0", Access::ReadWrite), 0, std::string(kMiB, '0')).ok());
  const auto layers = [&](std::size_t top) {
    std::vector<Layer> out;
    for (std::size_t i = top + 1; i-- > 0;)
      out.push_back(
          {open_rw(dir / std::to_string(i)), i == 0 ? DiskFormat::Raw : DiskFormat::Qcow2});
    return out;
  };
  for (std::size_t i = 1; i < kMaxChainDepth; ++i) {
    REQUIRE(create_overlay(dir / std::to_string(i), dir / std::to_string(i - 1),
                           i == 1 ? DiskFormat::Raw : DiskFormat::Qcow2, kMiB)
                .ok());
    auto chain = open_chain(layers(i), Access::ReadWrite);
    REQUIRE(chain.ok());
    REQUIRE(put(*chain.value(), i * 512, std::string(512, static_cast<char>('A' + i % 26))).ok());
  }
  const auto top = kMaxChainDepth - 1;
  REQUIRE(create_overlay(dir / std::to_string(top + 1), dir / std::to_string(top),
                         DiskFormat::Qcow2, kMiB)
              .ok());
  CHECK(open_chain(layers(top + 1), Access::ReadWrite).error().reason() == "DISK_CHAIN_TOO_LONG");

  std::string before;
  {
    auto chain = open_chain(layers(3), Access::ReadOnly);
    before = whole(*chain.value());
    CHECK(before.substr(512 * 2, 512) == std::string(512, 'C'));
  }
  {
    auto overlay = open_chain(layers(3), Access::ReadOnly);
    auto base = Qcow2Disk::open(
        open_rw(dir / "2"), Access::ReadWrite,
        Qcow2Disk::open(open_rw(dir / "1"), Access::ReadOnly, open_raw(dir / "0")).value());
    // The overlay holds its backing disk open for reading: merging needs it opened the other way
    // round.
    CHECK(base.error().reason() == "DISK_IN_USE");
  }
  auto overlay = open_disk(dir / "3", open_raw(dir / "0"), Access::ReadOnly);  // its own parts only
  auto base = open_disk(dir / "2", open_disk(dir / "1", open_raw(dir / "0"), Access::ReadOnly));
  REQUIRE(commit_overlay(*overlay, *base).ok());
  CHECK((whole(*base) == before));
  REQUIRE(commit_overlay(*overlay, *base).ok());
  CHECK((whole(*base) == before));
  CHECK(commit_overlay(*overlay, *base, [](auto, auto) { return false; }).error().reason() ==
        "COMMIT_CANCELLED");
}

TEST_CASE("commit grows a smaller base and carries zeroes down", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "base", kMiB).ok());
  REQUIRE(put(*open_raw(dir / "base", Access::ReadWrite), 0, std::string(kMiB, 'b')).ok());
  REQUIRE(create_overlay(dir / "top", dir / "base", DiskFormat::Raw, 2 * kMiB).ok());
  std::string expected;
  {
    auto top = open_disk(dir / "top", open_raw(dir / "base"));
    REQUIRE(top->write_zeroes(0, 512 * 1024, Disk::Unmap::Yes).ok());
    REQUIRE(put(*top, kMiB + kMiB / 2, std::string(512, 't')).ok());
    expected = whole(*top);
  }
  REQUIRE(create_raw(dir / "empty", kMiB).ok());
  auto top = open_disk(dir / "top", open_raw(dir / "empty"), Access::ReadOnly);
  auto base = open_raw(dir / "base", Access::ReadWrite);
  REQUIRE(commit_overlay(*top, *base).ok());
  CHECK((whole(*base) == expected));
}

TEST_CASE("growing an overlay does not show what its backing disk has there", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "base", 2 * kMiB).ok());
  REQUIRE(put(*open_raw(dir / "base", Access::ReadWrite), 0, std::string(2 * kMiB, 's')).ok());
  REQUIRE(create_overlay(dir / "top", dir / "base", DiskFormat::Raw, kMiB).ok());
  auto top = open_disk(dir / "top", open_raw(dir / "base"));
  REQUIRE(top->resize()->grow(3 * kMiB).ok());
  CHECK((whole(*top) == std::string(kMiB, 's') + std::string(2 * kMiB, '\0')));
  CHECK(top->resize()->grow(kMiB).error().reason() == "DISK_SHRINK");
  CHECK(top->resize()->grow(3 * kMiB + 1).error().reason() == "DISK_SIZE");
}

TEST_CASE("a disk opens only as the inventory has it", "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "base", kMiB).ok());
  REQUIRE(create_qcow2(dir / "plain", kMiB).ok());
  REQUIRE(create_overlay(dir / "top", dir / "base", DiskFormat::Raw, kMiB).ok());
  const auto refusal = [](Result<std::unique_ptr<Qcow2Disk>> disk) {
    return disk.ok() ? std::string() : std::string(disk.error().reason());
  };
  CHECK(refusal(Qcow2Disk::open(open_rw(dir / "top"), Access::ReadOnly)) ==
        "QCOW2_BACKING_MISSING");
  CHECK(refusal(Qcow2Disk::open(open_rw(dir / "plain"), Access::ReadOnly,
                                open_raw(dir / "base"))) == "QCOW2_BACKING_UNEXPECTED");
  CHECK(refusal(Qcow2Disk::open(open_rw(dir / "base"), Access::ReadOnly)) == "QCOW2_MAGIC");
  const auto held = open_disk(dir / "plain");
  CHECK(refusal(Qcow2Disk::open(open_rw(dir / "plain"), Access::ReadWrite)) == "DISK_IN_USE");
  const auto reader = open_disk(dir / "top", open_raw(dir / "base"), Access::ReadOnly);
  CHECK(put(*reader, 0, std::string(512, 'x')).error().reason() == "DISK_READ_ONLY");
  CHECK(put(*held, kMiB, std::string(512, 'x')).error().reason() == "DISK_RANGE");
  CHECK(put(*held, ~std::uint64_t{0}, std::string(512, 'x')).error().reason() == "DISK_RANGE");
}

TEST_CASE(
    "a raw disk that a guest filled with a qcow2 header stays raw, CVE-2026-27211, CVE-2026-24708",
    "[block]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "disk", kMiB).ok());
  REQUIRE(create_overlay(dir / "evil", "/etc/passwd", DiskFormat::Raw, kMiB).ok());
  const auto header = read_file(dir / "evil").value().substr(0, 65536);
  REQUIRE(put(*open_raw(dir / "disk", Access::ReadWrite), 0, header).ok());
  std::vector<Layer> layers;
  layers.push_back({open_rw(dir / "disk"), DiskFormat::Raw});
  const auto disk = open_chain(std::move(layers), Access::ReadOnly);
  REQUIRE(disk.ok());
  CHECK((read_back(*disk.value(), 0, 65536) == header));
}

TEST_CASE("tables that lie are refused or found when they are used", "[block]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "disk", kMiB).ok());
  REQUIRE(put(*open_disk(dir / "disk"), 0, std::string(512, 'x')).ok());
  Fd fd = open_rw(dir / "disk");
  const auto facts = inspect_qcow2(fd.get()).value();
  const auto get64 = [&](std::uint64_t at) {
    std::array<std::byte, 8> bytes{};
    REQUIRE(read_at(fd.get(), at, bytes).ok());
    return load_be<std::uint64_t>(bytes);
  };
  const auto set64 = [&](std::uint64_t at, std::uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_be(bytes, value);
    REQUIRE(write_at(fd.get(), at, bytes).ok());
  };
  std::uint64_t fresh = 512 * 1024;  // a cluster not written before
  const auto reason_of = [&]() -> std::string {
    auto disk = Qcow2Disk::open(open_rw(dir / "disk"), Access::ReadWrite);
    if (!disk.ok()) return std::string(disk.error().reason());
    std::string out(512, '\0');
    auto read = disk.value()->read_bytes(0, std::as_writable_bytes(std::span(out)));
    if (!read.ok()) return std::string(read.error().reason());
    auto written = put(*disk.value(), 0, out);
    if (written.ok()) written = put(*disk.value(), fresh += 65536, out);
    return written.ok() ? std::string() : std::string(written.error().reason());
  };
  const std::uint64_t copied = std::uint64_t{1} << 63;
  const std::uint64_t l2 = get64(facts.l1_offset) & ~copied;
  CHECK(reason_of().empty());
  SECTION("L1 beyond the file") {
    set64(facts.l1_offset, (std::uint64_t{1} << 40) | copied);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L1 unaligned") {
    set64(facts.l1_offset, (l2 + 512) | copied);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L1 names the L1 table") {
    set64(facts.l1_offset, facts.l1_offset | copied);
    CHECK(reason_of() == "QCOW2_OVERLAP");
  }
  SECTION("L1 with reserved bits") {
    set64(facts.l1_offset, l2 | copied | 1);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("refcount table names the header") {
    set64(facts.refcount_table_offset + 8, facts.l1_offset);
    CHECK(reason_of() == "QCOW2_OVERLAP");
  }
  SECTION("refcount block beyond the file") {
    set64(facts.refcount_table_offset, std::uint64_t{1} << 40);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L2 beyond the file") {
    set64(l2, (std::uint64_t{1} << 40) | copied);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L2 names the header") {
    set64(l2, copied | 1u << 9);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L2 names the L1 table") {
    set64(l2, facts.l1_offset | copied);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("L2 names itself") {
    set64(l2, l2 | copied);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("compressed cluster beyond the file") {
    set64(l2, (std::uint64_t{1} << 62) | (std::uint64_t{1} << 40));
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("compressed cluster over the tables") {
    set64(l2, (std::uint64_t{1} << 62) | facts.l1_offset);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("compressed garbage") {
    const std::uint64_t data = get64(l2) & ~copied;
    set64(l2, (std::uint64_t{1} << 62) | data);
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
  SECTION("refcounts of everything are zero") {
    const std::vector<std::byte> zeroes(65536);
    REQUIRE(write_at(fd.get(), get64(facts.refcount_table_offset), zeroes).ok());
    CHECK(reason_of() == "QCOW2_CORRUPT");
  }
}

TEST_CASE("threads may work on one image at once", "[block]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "disk", 16 * kMiB).ok());
  auto disk = open_disk(dir / "disk");
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      SeededRandom random(static_cast<std::uint64_t>(t));
      const std::uint64_t mine = static_cast<std::uint64_t>(t) * 4 * kMiB;
      std::string content(4 * kMiB, '\0');
      for (int i = 0; i < 120; ++i) {
        const std::uint64_t at = random.below(4 * kMiB / 512 - 64) * 512;
        const std::string text((1 + random.below(64)) * 512, static_cast<char>('a' + i % 26));
        bool good = true;
        if (i % 5 == 4) {
          good = disk->write_zeroes(mine + at, text.size(), Disk::Unmap::Yes).ok();
          content.replace(at, text.size(), std::string(text.size(), '\0'));
        } else {
          good = put(*disk, mine + at, text).ok();
          content.replace(at, text.size(), text);
        }
        if (i % 20 == 19) good = good && disk->flush().ok();
        std::string now(text.size(), '?');
        good = good && disk->read_bytes(mine + at, std::as_writable_bytes(std::span(now))).ok() &&
               now == content.substr(at, text.size());
        if (!good) ++failures;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  disk.reset();
  require_clean(dir / "disk");
}
