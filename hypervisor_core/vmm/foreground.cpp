#include "hypervisor_core/vmm/foreground.h"

#include <array>
#include <cstdio>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/file.h"
#include "hypervisor_core/accel/kvm/kvm.h"
#include "hypervisor_core/vm/vm.h"

namespace reeve::core::vmm {
namespace {

int exit_code_of(const v1::ExitReport& report) {
  switch (report.kind()) {
    case v1::ExitReport::KIND_GUEST_POWER_OFF: return 0;
    case v1::ExitReport::KIND_DEBUG_EXIT: return static_cast<int>(report.code() * 2 + 1) & 0xff;
    case v1::ExitReport::KIND_GUEST_RESET: return 3;
    default: return 4;
  }
}

/// Copies new console output to standard output.
void show_output(Vm& vm, std::uint64_t& offset) {
  for (;;) {
    const auto piece = vm.console().read(offset, 16384);
    if (piece.bytes.empty()) return;
    offset = piece.offset + piece.bytes.size();
    (void)write_all(STDOUT_FILENO, std::as_bytes(std::span(piece.bytes)));
  }
}

/// False at the end of input.
bool take_input(Vm& vm) {
  std::array<std::byte, 512> bytes{};
  const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  if (got > 0) (void)vm.type(std::span(bytes).first(static_cast<std::size_t>(got)));
  return got > 0;
}

}  // namespace

Result<int> run_in_foreground(const v1::MachineConfig& config) {
  auto device = TRY(accel::open_kvm_device());
  auto kvm = TRY(accel::make_kvm(std::move(device)));
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd");
  const auto ring = [fd = wake.get()] { (void)eventfd_write(fd, 1); };
  auto vm = TRY(Vm::create(config, *kvm, {.on_change = ring}));
  vm->console().set_listener(ring);
  TRY(vm->start());

  std::uint64_t offset = 0;
  bool input_open = true;
  while (vm->state() != Vm::State::Ended) {
    std::array<pollfd, 2> wait{
        {{wake.get(), POLLIN, 0}, {input_open ? STDIN_FILENO : -1, POLLIN, 0}}};
    (void)poll(wait.data(), wait.size(), -1);
    eventfd_t ignored = 0;
    (void)eventfd_read(wake.get(), &ignored);
    show_output(*vm, offset);
    if ((wait[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) input_open = take_input(*vm);
  }
  show_output(*vm, offset);
  vm->console().set_listener({});
  const auto report = vm->exit().value_or(v1::ExitReport{});
  std::fprintf(stderr, "reeve-vmm: %s\n%s", report.message().c_str(), report.registers().c_str());
  return exit_code_of(report);
}

}  // namespace reeve::core::vmm
