// tests/hypervisor_core/lab/lost_power_test.cpp - the power of a whole host is cut, in the KVM lab:
// what a guest flushed is on its disks.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

std::string make_disk(const test::TempDir& dir, const std::string& name) {
  const auto path = (dir / name).string();
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 64 * kMiB);
  return path;
}

std::string run_out(const std::vector<std::string>& argv) {
  auto done = run({.argv = argv});
  REQUIRE(done.ok());
  INFO(argv[0] << done.value().output << done.value().errors);
  REQUIRE(done.value().exit_code <= 1);  // e2fsck replayed the journal
  return done.value().output + done.value().errors;
}

/// How many of four MiB are this letter.
std::ptrdiff_t count(const std::string& disk, std::uint64_t mib, char letter) {
  const auto content = read_file(disk, 64 * kMiB).value();
  const auto begin = content.begin() + static_cast<std::ptrdiff_t>(mib * kMiB);
  return std::count(begin, begin + 4 * kMiB, letter);
}

}  // namespace

TEST_CASE("what a guest flushed is there after the power of its host was cut") {
  const test::TempDir dir;
  const auto plain = make_disk(dir, "plain.raw"), images = make_disk(dir, "images.raw");
  (void)run_out({"/sbin/mke2fs", "-q", "-t", "ext4", images});
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> argv{test::source_dir() / "tools/lab/run",
                                "--guest",
                                "--timeout",
                                "450",
                                "--disk",
                                plain,
                                "--disk",
                                images};
  for (const char* program : {"reeve-vmm", "core_lost_power", "core_guest_probe"})
    argv.insert(argv.end(), {"--add", programs / program});
  argv.insert(argv.end(), {"--", "core_lost_power"});
  const auto done = run({.argv = argv, .timeout = std::chrono::minutes(8)});
  REQUIRE(done.ok());
  INFO(done.value().output << done.value().errors);
  REQUIRE(done.value().output.find("the power is cut now") != std::string::npos);
  REQUIRE(done.value().errors.find("ended without an answer (code 0)") != std::string::npos);

  CHECK(count(plain, 0, 'F') == 4 * kMiB);
  CHECK(count(plain, 8, 'U') == 0);  // else this test could not tell

  (void)run_out({"/sbin/e2fsck", "-fy", images});
  const auto image = (dir / "disk.qcow2").string(), content = (dir / "content.raw").string();
  (void)run_out({"/sbin/debugfs", "-R", "dump /disk.qcow2 " + image, images});
  const auto found = run({.argv = {"qemu-img", "check", "-f", "qcow2", image}});
  INFO(found.value().output << found.value().errors);
  // Leaks are what may be left of clusters whose tables were not written yet; 2 is a corrupt image.
  CHECK((found.value().exit_code == 0 || found.value().exit_code == 3));
  (void)run_out({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, content});
  CHECK(count(content, 0, 'F') == 4 * kMiB);
}

}  // namespace reeve::core
