// hypervisor_core/vmm/error_log.h - what reeve-vmm says on stderr while its guest runs.
//
// Under the agent stderr is a file that nobody empties while the machine lives, which may be years,
// and what is said there may be a guest's doing. So it is bounded for the life of the process: the
// last line says that no more follows.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/mutex.h"

namespace reeve::core::vmm {

class ErrorLog {
 public:
  static constexpr std::size_t kMaxBytes = 256 << 10;

  explicit ErrorLog(int fd) : fd_(fd) {}
  /// Writes a line whole or not at all. Any thread, with any of the jail's filters.
  void write(std::string_view line);

 private:
  const int fd_;
  Mutex mutex_;
  std::size_t written_ REEVE_GUARDED_BY(mutex_) = 0;
  bool full_ REEVE_GUARDED_BY(mutex_) = false;
};

/// From here on all that base/log.h and protobuf say goes through an ErrorLog to stderr. Once,
/// before there are threads.
void bound_errors();

}  // namespace reeve::core::vmm
