// hypervisor_core/fuzz/own_folder.h - a folder of the fuzzer's own, removed when it ends.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/check.h"

namespace reeve::core::fuzz {

class OwnFolder {
 public:
  OwnFolder() {
    auto name = (std::filesystem::temp_directory_path() / "reeve_fuzz_XXXXXX").native();
    REEVE_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~OwnFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace reeve::core::fuzz
