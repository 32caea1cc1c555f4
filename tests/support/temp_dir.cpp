#include "tests/support/temp_dir.h"

#include <cstdlib>
#include <string>

#include "base/check.h"

namespace reeve::test {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "reeve-test-XXXXXX").string();
  REEVE_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace reeve::test
