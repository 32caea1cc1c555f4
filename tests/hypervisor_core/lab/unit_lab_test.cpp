// tests/hypervisor_core/lab/unit_lab_test.cpp - the core's unit tests where KVM is real: what they
// take or skip on an emulated /dev/kvm (triple faults, emulation failures, the dirty ring) must
// hold there. Without those that read hundreds of MiB page by page ([lazy]), which takes minutes
// where every instruction is emulated: lab_test restores a Linux so.
#include <chrono>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"

namespace reeve::core {

TEST_CASE("the core's unit tests hold on a real KVM, without exception") {
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> argv{test::source_dir() / "tools/lab/run",
                                "--timeout",
                                "450",
                                "--env",
                                "REEVE_KVM_IS_REAL=1",
                                "--net",
                                "--add",
                                "/usr/bin/passt"};
  for (const char* program :
       {"reeve-vmm", "core_accel_test", "core_vm_test", "core_control_test"}) {
    argv.emplace_back("--add");
    argv.push_back(programs / program);
  }
  argv.insert(argv.end(),
              {"--", "sh", "-c",
               "failed=0; for test in accel vm control; do "
               "core_${test}_test ~[lazy] --durations yes || failed=1; done; exit $failed"});
  const auto done = run({.argv = argv, .timeout = std::chrono::minutes(8)});
  REQUIRE(done.ok());
  INFO(done.value().output << done.value().errors);
  CHECK(done.value().exit_code == 0);
  CHECK(done.value().output.find("skipped") == std::string::npos);
}

}  // namespace reeve::core
