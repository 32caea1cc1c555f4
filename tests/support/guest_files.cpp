// tests/support/guest_files.cpp - calls tools/guest/prepare.
#include "tests/support/guest_files.h"

#include <stdexcept>

#include "base/subprocess.h"
#include "base/text.h"
#include "tests/support/paths.h"

namespace reeve::test {

namespace {

GuestFiles prepare_guest(const std::string& initramfs) {
  const Command prepare{.argv = {source_dir() / "tools/guest/prepare", "kernel", initramfs},
                        .timeout = std::chrono::minutes(5)};
  auto outcome = run_checked(prepare);
  if (!outcome.ok()) throw std::runtime_error(outcome.error().message());  // Catch2 reports it
  const auto folders = split(trim(outcome.value()), '\n');
  if (folders.size() != 2) throw std::runtime_error("prepare printed: " + outcome.value());
  return {.kernel = std::string(folders[0]) + "/vmlinux",
          .initramfs = std::string(folders[1]) + "/guest.cpio"};
}

}  // namespace

GuestFiles quick_guest() {
  static const GuestFiles files = prepare_guest("initramfs");
  return files;
}

GuestFiles agent_guest() {
  static const GuestFiles files = prepare_guest("agent");
  return files;
}

}  // namespace reeve::test
