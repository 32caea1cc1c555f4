// The same layers in our hands and in qemu-img's: what a commit leaves behind, and what each layer
// of a chain holds.
#include <set>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "base/subprocess.h"
#include "hypervisor_core/block/chain.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/qcow2_disk.h"
#include "hypervisor_core/block/raw_disk.h"
#include "tests/hypervisor_core/block/qemu_img.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::test;
using reeve::test::TempDir;
namespace fs = std::filesystem;

constexpr std::uint64_t kKiB = 1u << 10, kMiB = 1u << 20;

/// The files of a disk in one folder, from the top down. Overlays name their backing file without
/// the folder, so that a copy of the folder is a copy of the disk.
struct Chain {
  fs::path dir;
  std::vector<std::string> names;
  bool raw_base = true;

  DiskFormat format(std::size_t i) const {
    return i + 1 == names.size() && raw_base ? DiskFormat::Raw : DiskFormat::Qcow2;
  }
  std::string format_name(std::size_t i) const { return std::string(name_of(format(i))); }
  std::string path(std::size_t i) const { return (dir / names[i]).string(); }

  std::vector<Layer> layers(std::size_t from = 0) const {
    std::vector<Layer> out;
    for (std::size_t i = from; i < names.size(); ++i)
      out.push_back({open_file(path(i), O_RDWR).value(), format(i)});
    return out;
  }
  std::unique_ptr<Disk> open(Access access, std::size_t from = 0) const {
    auto disk = open_chain(layers(from), access);
    if (!disk.ok()) FAIL(disk.error().reason() << ": " << disk.error().message());
    return std::move(disk).value();
  }
  /// One layer by itself; what an overlay lies on is not looked at.
  std::unique_ptr<Disk> open_alone(std::size_t i, const fs::path& empty) const {
    const bool lowest = i + 1 == names.size();
    if (lowest) return open(Access::ReadOnly, i);
    auto below = RawDisk::open(open_file(empty, O_RDWR).value(), Access::ReadOnly);
    REQUIRE(below.ok());
    auto disk = Qcow2Disk::open(open_file(path(i), O_RDWR).value(), Access::ReadOnly,
                                std::move(below).value());
    REQUIRE(disk.ok());
    return std::move(disk).value();
  }
  Chain copy_to(const fs::path& target) const {
    fs::create_directory(target);
    for (const auto& name : names) fs::copy_file(dir / name, target / name);
    return {target, names, raw_base};
  }
};

Status put(Disk& disk, std::uint64_t offset, const std::string& text) {
  return disk.write_bytes(offset, std::as_bytes(std::span(text)));
}

std::string whole(Disk& disk) {
  std::string out(disk.size_bytes(), '?');
  REQUIRE(disk.read_bytes(0, std::as_writable_bytes(std::span(out))).ok());
  return out;
}

/// Writes, zeroes and discards all over the disk.
void scribble(Disk& disk, std::uint64_t seed) {
  SeededRandom random(seed);
  for (int i = 0; i < 12; ++i) {
    const std::uint64_t sectors = disk.size_bytes() / 512;
    const std::uint64_t first = random.below(sectors);
    const std::uint64_t count = 1 + random.below(std::min<std::uint64_t>(384, sectors - first));
    const std::uint64_t offset = first * 512, length = count * 512;
    Status done;
    switch (i % 4) {
      case 0: done = disk.write_zeroes(offset, length, Disk::Unmap::Yes); break;
      case 1: done = disk.discard()->discard(offset, length); break;
      default:
        done = put(disk, offset, std::string(length, static_cast<char>('a' + random.below(26))));
    }
    REQUIRE(done.ok());
  }
  REQUIRE(disk.flush().ok());
}

/// Layers made and filled by us.
Chain made_by_us(const fs::path& dir, std::size_t overlays, std::uint32_t cluster_bits,
                 bool raw_base, std::uint64_t seed) {
  Chain chain{dir, {"base"}, raw_base};
  fs::create_directory(dir);
  REQUIRE(
      (raw_base ? create_raw(dir / "base", kMiB) : create_qcow2(dir / "base", kMiB, cluster_bits))
          .ok());
  scribble(*chain.open(Access::ReadWrite), seed);
  for (std::size_t i = 0; i < overlays; ++i) {
    const std::string name = "overlay" + std::to_string(i);
    REQUIRE(create_overlay(dir / name, chain.names.front(), chain.format(0), (2 + i) * kMiB,
                           cluster_bits)
                .ok());
    chain.names.insert(chain.names.begin(), name);
    scribble(*chain.open(Access::ReadWrite), seed + i + 1);
  }
  return chain;
}

void qemu_io(const fs::path& image, const std::string& format,
             const std::vector<std::string>& commands) {
  std::vector<std::string> argv{"qemu-io", "-f", format};
  for (const auto& command : commands) argv.insert(argv.end(), {"-c", command});
  argv.push_back(image.string());
  const auto finished = run({.argv = argv});
  REQUIRE(finished.ok());
  INFO(finished.value().output << finished.value().errors);
  REQUIRE(finished.value().exit_code == 0);
}

/// Layers made and filled by QEMU: holes, zero clusters with and without space of their own, and
/// overlays that reach beyond what they lie on.
Chain made_by_qemu(const fs::path& dir, const std::string& options) {
  Chain chain{dir, {"base"}, true};
  fs::create_directory(dir);
  qemu_img({"create", "-q", "-f", "raw", (dir / "base").string(), "1M"});
  qemu_io(dir / "base", "raw", {"write -P 0x62 0 256k", "write -P 0x63 768k 64k"});
  const auto overlay = [&](const std::string& name, const std::string& size) {
    qemu_img({"create", "-q", "-f", "qcow2", "-o", options, "-b", chain.names.front(), "-F",
              chain.format_name(0), (dir / name).string(), size});
    chain.names.insert(chain.names.begin(), name);
  };
  overlay("middle", "1536k");
  qemu_io(dir / "middle", "qcow2",
          {"write -P 0x64 128k 64k", "write -z 64k 64k", "write -P 0x65 1344k 192k"});
  overlay("top", "2M");
  qemu_io(
      dir / "top", "qcow2",
      {"write -P 0x66 1792k 64k", "write -z 1984k 64k", "write -z -u 1408k 64k", "discard 128k 64k",
       "write -P 0x67 256k 128k", "write -z 256k 64k", "write -P 0x68 513k 1k"});
  return chain;
}

/// A run of the disk: the layer that decides about it, and what that one says.
struct Run {
  std::uint64_t start = 0, length = 0;
  std::size_t depth = 0;
  enum class Kind : std::uint8_t { Data, Zero, Nothing } kind = Kind::Data;
  friend bool operator==(const Run&, const Run&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Run& run) {
    constexpr const char* kNames[] = {"data", "zero", "nothing"};
    return out << run.start / kKiB << "K+" << run.length / kKiB << "K " << run.depth << " "
               << kNames[static_cast<std::size_t>(run.kind)] << "\n";
  }
};

void append(std::vector<Run>& runs, const Run& run) {
  if (!runs.empty() && runs.back().depth == run.depth && runs.back().kind == run.kind)
    runs.back().length += run.length;
  else
    runs.push_back(run);
}

std::vector<Run> map_by_qemu(const Chain& chain) {
  std::vector<Run> runs;
  const auto map = nlohmann::json::parse(
      qemu_img({"map", "-f", chain.format_name(0), "--output=json", chain.path(0)}));
  for (const auto& entry : map) {
    auto kind = entry.at("data").get<bool>() ? Run::Kind::Data : Run::Kind::Zero;
    if (!entry.at("present").get<bool>()) kind = Run::Kind::Nothing;
    append(runs, {entry.at("start"), entry.at("length"), entry.at("depth"), kind});
  }
  return runs;
}

/// The same from extent_at() of each layer by itself.
std::vector<Run> map_by_us(const Chain& chain, const fs::path& empty) {
  std::vector<std::unique_ptr<Disk>> layers;
  for (std::size_t i = 0; i < chain.names.size(); ++i) layers.push_back(chain.open_alone(i, empty));
  std::vector<Run> runs;
  const std::uint64_t size = layers[0]->size_bytes();
  for (std::uint64_t at = 0; at < size;) {
    Run run{.start = at, .length = size - at};
    for (bool decided = false; !decided;) {
      auto& layer = *layers[run.depth];
      const std::uint64_t limit = std::min(run.length, layer.size_bytes() - at);
      const auto extent = layer.extents()->extent_at(at, limit);
      REQUIRE(extent.ok());
      REQUIRE(extent.value().length > 0);
      REQUIRE(extent.value().length <= limit);
      run.length = extent.value().length;
      decided = extent.value().kind != Extent::Kind::Backing;
      if (decided) {
        run.kind = extent.value().kind == Extent::Kind::Data ? Run::Kind::Data : Run::Kind::Zero;
      } else if (run.depth + 1 == layers.size() || layers[run.depth + 1]->size_bytes() <= at) {
        run.kind = Run::Kind::Nothing;
        decided = true;
      } else {
        ++run.depth;
      }
    }
    append(runs, run);
    at += run.length;
  }
  return runs;
}

/// qemu-img compare, both ways round.
void require_equal(const fs::path& a, const std::string& format_a, const fs::path& b,
                   const std::string& format_b) {
  qemu_img({"compare", "-f", format_a, "-F", format_b, a.string(), b.string()});
  qemu_img({"compare", "-f", format_b, "-F", format_a, b.string(), a.string()});
}

}  // namespace

TEST_CASE("qemu-img finds what a commit of ours promises, and commits our overlays to the same",
          "[block][qemu]") {
  const TempDir dir;
  const std::uint32_t cluster_bits = GENERATE(12u, 16u);
  const bool raw_base = GENERATE(true, false);
  const std::size_t overlays = GENERATE(1u, 2u);
  CAPTURE(cluster_bits, raw_base, overlays);
  const auto ours = made_by_us(dir / "ours", overlays, cluster_bits, raw_base, cluster_bits);
  const auto theirs = ours.copy_to(dir / "theirs");

  const auto before = dir / "before";
  qemu_img({"convert", "-f", "qcow2", "-O", "raw", ours.path(0), before.string()});
  CHECK((read_file(before, 64 * kMiB).value() == whole(*ours.open(Access::ReadOnly))));

  REQUIRE(create_raw(dir / "empty", kMiB).ok());
  {
    const auto top = ours.open_alone(0, dir / "empty");
    const auto base = ours.open(Access::ReadWrite, 1);
    REQUIRE(commit_overlay(*top, *base).ok());
  }
  qemu_img({"commit", "-q", "-f", "qcow2", theirs.path(0)});

  for (const auto* chain : {&ours, &theirs}) {
    for (std::size_t i = 0; i < chain->names.size(); ++i)
      if (chain->format(i) == DiskFormat::Qcow2) require_clean(chain->path(i));
    CHECK(chain->open(Access::ReadOnly, 1)->size_bytes() == fs::file_size(before));
    CHECK((whole(*chain->open(Access::ReadOnly, 1)) == read_file(before, 64 * kMiB).value()));
    require_equal(chain->path(1), chain->format_name(1), before, "raw");
    // The overlay shows the same on its committed base, whether it was emptied or not.
    require_equal(chain->path(0), "qcow2", before, "raw");
  }
  require_equal(ours.path(1), ours.format_name(1), theirs.path(1), theirs.format_name(1));
}

TEST_CASE("a copy of a chain is what qemu-img makes of it", "[block][qemu]") {
  const TempDir dir;
  const auto chain = made_by_us(dir / "ours", 2, 16, true, 5);
  REQUIRE(create_qcow2(dir / "copy", chain.open(Access::ReadOnly)->size_bytes()).ok());
  {
    const Chain copy{dir.path(), {"copy"}, false};
    const auto target = copy.open(Access::ReadWrite);
    REQUIRE(copy_disk(*chain.open(Access::ReadOnly), *target).ok());
  }
  require_clean(dir / "copy");
  require_equal(dir / "copy", "qcow2", chain.path(0), "qcow2");
}

TEST_CASE("what each layer holds is the same to us and to qemu-img map", "[block][qemu]") {
  const TempDir dir;
  REQUIRE(create_raw(dir / "empty", 4 * kMiB).ok());
  Chain chain;
  SECTION("made by qemu-img") {
    chain = made_by_qemu(dir / "chain", "cluster_size=64k");
  }
  SECTION("made by qemu-img, with small clusters") {
    chain = made_by_qemu(dir / "chain", "cluster_size=512");
  }
  SECTION("made by us") {
    chain = made_by_us(dir / "chain", 2, 16, true, 1);
  }
  SECTION("made by us, with small clusters") {
    chain = made_by_us(dir / "chain", 2, 12, true, 2);
  }
  SECTION("made by us on a qcow2 image") {
    chain = made_by_us(dir / "chain", 2, 16, false, 3);
  }
  const auto theirs = map_by_qemu(chain);
  const auto ours = map_by_us(chain, dir / "empty");
  CHECK(theirs.size() > 8);
  std::set<std::size_t> depths;
  std::set<Run::Kind> kinds;
  for (const auto& run : theirs) {
    depths.insert(run.depth);
    kinds.insert(run.kind);
  }
  CHECK(depths.size() == 3);  // else the images show too little
  CHECK(kinds.size() == 3);
  CHECK(ours == theirs);
  const auto content = content_by_qemu(chain.path(0));
  CHECK((whole(*chain.open(Access::ReadOnly)) == content));
}
