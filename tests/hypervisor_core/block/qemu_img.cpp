#include "tests/hypervisor_core/block/qemu_img.h"

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/subprocess.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::test {

std::string qemu_img(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{"qemu-img"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto finished = run({.argv = argv});
  REQUIRE(finished.ok());
  INFO(finished.value().output << finished.value().errors);
  REQUIRE(finished.value().exit_code == 0);
  return finished.value().output;
}

void require_clean(const std::filesystem::path& image) {
  qemu_img({"check", "-f", "qcow2", image.string()});  // exit 2: corrupt, 3: leaks
}

std::string content_by_qemu(const std::filesystem::path& image) {
  const reeve::test::TempDir dir;
  qemu_img({"convert", "-f", "qcow2", "-O", "raw", image.string(), (dir / "raw").string()});
  auto content = read_file(dir / "raw", 256u << 20);
  REQUIRE(content.ok());
  return std::move(content).value();
}

}  // namespace reeve::core::test
