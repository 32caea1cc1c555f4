#include "hypervisor_core/vmm/error_log.h"

#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

namespace reeve::core::vmm {
namespace {

constexpr std::string_view kLastLine = "reeve-vmm: no more is written here\n";

/// Of a message it cannot read or write; a guest may have a part in it.
void tell_of_protobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  log::guest_warning("protobuf", {{"said", message}});
}

}  // namespace

void ErrorLog::write(std::string_view line) {
  Lock lock(mutex_);
  if (full_) return;
  full_ = written_ + line.size() + kLastLine.size() > kMaxBytes;
  written_ += line.size();
  // A full disk or a closed stderr must not stop the machine; the line is lost.
  (void)write_all(fd_, as_bytes(full_ ? kLastLine : line));
}

void bound_errors() {
  static ErrorLog errors(STDERR_FILENO);
  log::set_sink([](std::string_view line) { errors.write(line); });
  google::protobuf::SetLogHandler(tell_of_protobuf);
}

}  // namespace reeve::core::vmm
