// tests/support/paths.cpp - the path CMake was given.
#include "tests/support/paths.h"

namespace reeve::test {

std::filesystem::path source_dir() {
  return REEVE_SOURCE_DIR;
}

}  // namespace reeve::test
