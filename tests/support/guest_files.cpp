// tests/support/guest_files.cpp - calls tools/guest/prepare.
#include "tests/support/guest_files.h"

#include <stdexcept>

#include "base/subprocess.h"
#include "base/text.h"
#include "tests/support/paths.h"

namespace reeve::test {

namespace {

/// The folders of two recipes.
std::pair<std::string, std::string> prepare(const std::string& one, const std::string& other) {
  const Command command{.argv = {source_dir() / "tools/guest/prepare", one, other},
                        .timeout = std::chrono::minutes(5)};
  auto outcome = run_checked(command);
  if (!outcome.ok()) throw std::runtime_error(outcome.error().message());  // Catch2 reports it
  const auto folders = split(trim(outcome.value()), '\n');
  if (folders.size() != 2) throw std::runtime_error("prepare printed: " + outcome.value());
  return {std::string(folders[0]), std::string(folders[1])};
}

GuestFiles prepare_guest(const std::string& initramfs) {
  const auto [kernel, guest] = prepare("kernel", initramfs);
  return {.kernel = kernel + "/vmlinux", .initramfs = guest + "/guest.cpio"};
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

GuestDisks guest_disks() {
  const auto [bootable, data] = prepare("bootable", "disk");
  return {.bootable = bootable + "/disk.qcow2", .data = data + "/data.raw"};
}

}  // namespace reeve::test
