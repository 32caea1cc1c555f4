#include "hypervisor_core/vmm/foreground.h"

#include <array>
#include <cstdio>
#include <filesystem>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/file.h"
#include "hypervisor_core/vm/vm.h"
#include "hypervisor_core/vmm/accelerator.h"

namespace reeve::core::vmm {
namespace {

/// The machine rings for every byte of console output; it is heard this often at most.
constexpr int kRestMs = 2;

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

/// Names files as they are called from anywhere, and vsock sockets as they are from `root`.
Status settle_paths(v1::MachineConfig& config, std::string& root) {
  const auto settle = [](std::string* path) { *path = std::filesystem::absolute(*path); };
  settle(config.mutable_kernel_path());
  if (!config.initrd_path().empty()) settle(config.mutable_initrd_path());
  for (auto& disk : *config.mutable_disks())
    for (auto& layer : *disk.mutable_layers()) settle(layer.mutable_path());
  for (auto& nic : *config.mutable_nics())
    if (!nic.passt_socket().empty()) settle(nic.mutable_passt_socket());
  if (config.vsock_path().empty()) return {};
  settle(config.mutable_vsock_path());
  root = std::filesystem::path(config.vsock_path()).parent_path();
  if (chdir(root.c_str()) != 0) return errno_error("entering " + root);
  config.set_vsock_path(TRY(path_in_cell(config.vsock_path(), root)));
  return {};
}

}  // namespace

Result<int> run_in_foreground(v1::MachineConfig config, const CellOptions& cell) {
  std::string root;
  TRY(settle_paths(config, root));
  auto network = TRY(HostNetwork::open(config));
  auto jail = TRY(enter_cell(cell, config, {.root = root}, {}));
  const auto accelerator = TRY(open_accelerator());
  const Fd changed(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const Fd said(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!changed || !said) return errno_error("eventfd");
  const auto ring = [](const Fd& bell) {
    return [fd = bell.get()] { (void)eventfd_write(fd, 1); };
  };
  VmOptions options{.on_change = ring(changed), .open_network = network.opener()};
  if (jail) options.prepare_thread = sandbox::narrow_thread;
  auto vm = TRY(Vm::create(config, *accelerator, options));
  vm->console().set_listener(ring(said));
  if (jail) {
    TRY(jail->close());
    std::fprintf(stderr, "reeve-vmm: jail: %s\n", jail->report().text().c_str());
  }
  TRY(vm->start());

  std::uint64_t offset = 0;
  bool input_open = true, resting = false;
  while (vm->state() != Vm::State::Ended) {
    std::array<pollfd, 3> wait{{{changed.get(), POLLIN, 0},
                                {resting ? -1 : said.get(), POLLIN, 0},
                                {input_open ? STDIN_FILENO : -1, POLLIN, 0}}};
    (void)poll(wait.data(), wait.size(), resting ? kRestMs : -1);
    eventfd_t rings = 0;
    (void)eventfd_read(changed.get(), &rings);
    resting = eventfd_read(said.get(), &rings) == 0;
    show_output(*vm, offset);
    if ((wait[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0) input_open = take_input(*vm);
  }
  show_output(*vm, offset);
  vm->console().set_listener({});
  const auto report = vm->exit().value_or(v1::ExitReport{});
  std::fprintf(stderr, "reeve-vmm: %s\n%s", report.message().c_str(), report.registers().c_str());
  return exit_code_of(report);
}

}  // namespace reeve::core::vmm
