#include "agent/driver/core/cgroups.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/text.h"
#include "tests/support/temp_dir.h"

namespace reeve::agent::core_driver {
namespace {

namespace fs = std::filesystem;

/// Control files as the kernel would make them, in folders that are not the kernel's.
void touch(const fs::path& folder, std::initializer_list<const char*> names) {
  fs::create_directories(folder);
  for (const char* name : names) std::ofstream(folder / name) << "";
}

std::string content(const fs::path& file) {
  return std::string(trim(read_file(file).value()));
}

constexpr const char* kUid = "6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e";

}  // namespace

TEST_CASE("limits follow a machine's size", "[core]") {
  const auto limits = limits_of(4, 1024);
  CHECK(limits.cpu_weight == 400);
  CHECK(limits.cpu_limit_percent == 500);
  CHECK(limits.memory_bytes == (1024ull + 16 + 128) << 20);
  CHECK(limits_of(254, 1024).cpu_weight == 10'000);
}

TEST_CASE("one tree of control groups gets its words", "[core]") {
  const reeve::test::TempDir dir;
  std::ofstream(dir / "cgroup.controllers") << "cpuset cpu io memory pids\n";
  touch(dir.path(), {"cgroup.subtree_control"});
  touch(dir / "reeve", {"cgroup.subtree_control"});
  const auto group = dir / "reeve" / kUid;
  touch(group, {"cpu.weight", "cpu.max", "memory.max"});
  const auto groups = Cgroups::find(dir.path().string());
  REQUIRE(groups.layout() == Cgroups::Layout::V2);
  const auto made =
      groups.make(kUid, {.cpu_weight = 200, .cpu_limit_percent = 150, .memory_bytes = 4096});
  REQUIRE(made.ok());
  CHECK(made.value() == std::vector<std::string>{group.string()});
  CHECK(content(group / "cpu.weight") == "200");
  CHECK(content(group / "cpu.max") == "150000 100000");
  CHECK(content(group / "memory.max") == "4096");
  CHECK(content(dir / "cgroup.subtree_control") == "+cpu +memory");
  REQUIRE(groups.make(kUid, {}).ok());
  CHECK(content(group / "cpu.max") == "max 100000");
  CHECK(content(group / "memory.max") == "max");
}

TEST_CASE("trees of their own for each controller get theirs", "[core]") {
  const reeve::test::TempDir dir;
  touch(dir / "cpu", {"cpu.shares"});
  touch(dir / "memory", {"memory.limit_in_bytes"});
  const auto cpu = dir / "cpu" / "reeve" / kUid;
  const auto memory = dir / "memory" / "reeve" / kUid;
  touch(cpu, {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"});
  touch(memory, {"memory.limit_in_bytes"});
  const auto groups = Cgroups::find(dir.path().string());
  REQUIRE(groups.layout() == Cgroups::Layout::V1);
  REQUIRE(
      groups.make(kUid, {.cpu_weight = 200, .cpu_limit_percent = 150, .memory_bytes = 8192}).ok());
  CHECK(content(cpu / "cpu.shares") == "2048");
  CHECK(content(cpu / "cpu.cfs_quota_us") == "150000");
  CHECK(content(memory / "memory.limit_in_bytes") == "8192");
  REQUIRE(groups.make(kUid, {}).ok());
  CHECK(content(cpu / "cpu.cfs_quota_us") == "-1");
}

TEST_CASE("a host without control groups has no layout, and a refusal names the file", "[core]") {
  const reeve::test::TempDir dir;
  const auto none = Cgroups::find(dir.path().string());
  CHECK(none.layout() == Cgroups::Layout::None);
  CHECK(none.make(kUid, {}).value().empty());
  std::ofstream(dir / "cgroup.controllers") << "cpu memory\n";
  const auto refused = Cgroups::find(dir.path().string()).make(kUid, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message().find("cgroup.subtree_control") != std::string::npos);
}

}  // namespace reeve::agent::core_driver
