// tests/support/paths.h - where the source tree is, for tests that run its scripts or read its
// files.
#pragma once

#include <filesystem>

namespace reeve::test {

std::filesystem::path source_dir();

}  // namespace reeve::test
