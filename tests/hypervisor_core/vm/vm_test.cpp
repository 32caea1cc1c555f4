#include "hypervisor_core/vm/vm.h"

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/socket.h>

#include "base/subprocess.h"
#include "base/text.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/pci/root.h"
#include "hypervisor_core/virtio/pci_layout.h"
#include "hypervisor_core/vm/agent_channel.h"
#include "hypervisor_core/vm/config.h"
#include "tests/hypervisor_core/support/fake_board.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/virtio/driver_side.h"
#include "tests/support/temp_dir.h"

namespace reeve::core {
namespace {

using namespace std::chrono_literals;

/// A Multiboot kernel of 32-bit code at 1 MiB, in a file.
class PayloadKernel {
 public:
  PayloadKernel(std::initializer_list<int> code) : PayloadKernel(std::vector<int>(code)) {}
  explicit PayloadKernel(const std::vector<int>& code) {
    std::string image(4096, '\0');
    const std::uint32_t flags = 1u << 16;
    const std::array<std::uint32_t, 8> header{0x1badb002, flags,    0u - 0x1badb002 - flags,
                                              0x100000,   0x100000, 0x101000,
                                              0x102000,   0x100040};
    std::memcpy(image.data(), header.data(), sizeof header);
    std::size_t at = 0x40;
    for (const int byte : code) image[at++] = static_cast<char>(byte);
    std::ofstream(path(), std::ios::binary) << image;
  }
  std::string path() const { return (dir_ / "kernel").string(); }

 private:
  reeve::test::TempDir dir_;
};

v1::MachineConfig config_for(const PayloadKernel& kernel) {
  v1::MachineConfig config;
  config.set_vcpus(1);
  config.set_memory_mib(4);
  config.set_kernel_path(kernel.path());
  config.set_uuid("6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  config.set_debug_exit(true);
  return config;
}

std::unique_ptr<Vm> make(const v1::MachineConfig& config, accel::Accelerator& kvm) {
  auto vm = Vm::create(config, kvm);
  if (!vm.ok()) FAIL(vm.error().message());
  return std::move(vm).value();
}

v1::ExitReport ended(Vm& vm) {
  REQUIRE(vm.wait_until_ended(10s));
  return *vm.exit();
}

// out of one byte in al: mov dx, port; mov al, value; out dx, al
#define OUT(port, value) 0x66, 0xba, (port)&0xff, (port) >> 8, 0xb0, value, 0xee

}  // namespace

TEST_CASE("a payload guest prints on its console and ends with its code", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{OUT(0x3f8, 'h'), OUT(0x3f8, 'i'), OUT(0xf4, 0x21), 0xeb, 0xfe};
  auto vm = make(config_for(kernel), *kvm);
  CHECK(vm->state() == Vm::State::Created);
  REQUIRE(vm->start().ok());
  const auto report = ended(*vm);
  CHECK(report.kind() == v1::ExitReport::KIND_DEBUG_EXIT);
  CHECK(report.code() == 0x21);
  CHECK(vm->console().read(0, 100).bytes == "hi");
  CHECK(vm->status().boot_format() == "Multiboot");
  CHECK(vm->resume().error().reason() == "VM_ENDED");
}

TEST_CASE("a guest that panics says so and goes on", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{OUT(0x505, 1), OUT(0x3f8, 'p'), 0xeb, 0xfe};
  auto vm = make(config_for(kernel), *kvm);
  CHECK_FALSE(vm->status().guest_panicked());
  REQUIRE(vm->start().ok());
  for (int i = 0; i < 2000 && !vm->status().guest_panicked(); ++i) (void)vm->wait_until_ended(2ms);
  CHECK(vm->status().guest_panicked());
  CHECK(vm->state() == Vm::State::Running);
  for (int i = 0; i < 2000 && vm->console().end_offset() == 0; ++i) (void)vm->wait_until_ended(2ms);
  CHECK(vm->console().read(0, 100).bytes == "p");
}

TEST_CASE("however many events wait, the one that ends the machine is not lost", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  std::vector<int> code{0xb9,           200,  0,    0,    0,  // ecx = 200
                        OUT(0x505, 1),  0x49, 0x75, 0xf6,     // panic, until 0
                        OUT(0x3f8, 'p')};
  auto expected = v1::ExitReport::KIND_GUEST_POWER_OFF;
  std::vector<int> last;
  SECTION("power off") {
    last = {0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef, 0xeb, 0xfe};
  }
  SECTION("debug exit") {
    last = {OUT(0xf4, 7), 0xeb, 0xfe};
    expected = v1::ExitReport::KIND_DEBUG_EXIT;
  }
  SECTION("reset") {
    last = {0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe};
    expected = v1::ExitReport::KIND_GUEST_RESET;
  }
  SECTION("triple fault") {
    last = {0x0f, 0x0b};  // ud2 without an IDT
    expected = v1::ExitReport::KIND_TRIPLE_FAULT;
  }
  code.insert(code.end(), last.begin(), last.end());
  const PayloadKernel kernel(code);
  auto config = config_for(kernel);
  config.set_on_reset(v1::ON_RESET_STOP);
  // The machine's thread is held at the first event, so that all others wait.
  const auto here = std::this_thread::get_id();
  std::promise<void> go_on;
  const auto released = go_on.get_future().share();
  VmOptions options;
  options.on_change = [&] {
    if (std::this_thread::get_id() != here) released.wait();
  };
  auto made = Vm::create(config, *kvm, options);
  REQUIRE(made.ok());
  auto& vm = *made.value();
  REQUIRE(vm.start().ok());
  for (int i = 0; i < 5000 && vm.console().end_offset() == 0; ++i) (void)vm.wait_until_ended(2ms);
  CHECK(vm.console().end_offset() == 1);
  (void)vm.wait_until_ended(50ms);  // the guest is one instruction from its end
  go_on.set_value();
  REQUIRE(vm.wait_until_ended(10s));
  const auto kind = vm.exit()->kind();
  // A KVM that emulates gives up on an exception without a handler.
  CHECK((kind == expected || (expected == v1::ExitReport::KIND_TRIPLE_FAULT &&
                              kind == v1::ExitReport::KIND_EMULATION_FAILURE)));
  CHECK(vm.status().guest_panicked());
}

namespace {

/// Drives the first PCI device of a running machine as far as its receive queue, as its guest
/// would.
void take_network_card(Board& board, virtio::test::DriverSide& receive) {
  using namespace virtio::pci_layout;
  const auto set = [&](std::uint64_t at, std::uint64_t value, std::size_t size) {
    std::array<std::byte, 8> bytes{};
    put_number(bytes, value);
    board.mmio_write(kPciWindow32.base + at, std::span(bytes).first(size));
  };
  const auto status = [&] {
    std::byte value{};
    board.mmio_read(kPciWindow32.base + kDeviceStatus, std::span(&value, 1));
    return std::to_integer<unsigned>(value);
  };
  test::write_number(board.pci().ecam(), (1 << 15) + pci::kCommand, 6, 2);
  set(kDeviceStatus, 3, 1);
  const auto& ring = receive.config();
  for (std::uint32_t half = 0; half < 2; ++half) {
    set(kDriverFeatureSelect, half, 4);
    set(kDriverFeature, ring.features >> (32 * half) & 0xffffffff, 4);
  }
  set(kDeviceStatus, 0xb, 1);
  set(kQueueSelect, 0, 2);
  set(kQueueSize, ring.size, 2);
  set(kQueueDescriptors, ring.descriptors, 8);
  set(kQueueAvailable, ring.available, 8);
  set(kQueueUsed, ring.used, 8);
  set(kQueueEnable, 1, 2);
  set(kDeviceStatus, 0xf, 1);
  CHECK(status() == 0xf);
}

}  // namespace

TEST_CASE("a machine says that the passt of its network card has gone", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  Fd ours(ends[0]), theirs(ends[1]);
  auto passt = Process::spawn({"passt", "--quiet", "--foreground", "--fd", "10"}, {},
                              Process::Session::Own, {{theirs.get(), 10}});
  theirs.reset();
  if (!passt.ok() || passt.value().wait(300ms).ok()) {
    WARN("skipped: passt does not run here");
    return;
  }
  const PayloadKernel kernel{0xf4, 0xeb, 0xfd};
  auto config = config_for(kernel);
  auto& nic = *config.add_nics();
  nic.set_id("net0");
  nic.set_mac("52:54:00:12:34:50");
  nic.set_passt_fd(static_cast<std::uint32_t>(ours.get()));
  std::atomic<int> changes{0};
  VmOptions options;
  options.on_change = [&] { ++changes; };
  auto made = Vm::create(config, *kvm, options);
  if (!made.ok()) FAIL(made.error().message());
  ours.release();  // the machine's now
  auto& vm = *made.value();
  REQUIRE(vm.start().ok());
  virtio::test::DriverSide receive(vm.board().memory(), 0x200000);
  for (int i = 0; i < 8; ++i) receive.submit({receive.writable(1526)});
  take_network_card(vm.board(), receive);
  if (passt.value().wait(0ms).ok()) {
    WARN("skipped: passt has ended by itself");
    return;
  }
  CHECK(vm.status().lost_network().empty());
  CHECK(vm.alarms() == 0);
  const int before = changes;
  passt.value().signal(SIGKILL);
  for (int i = 0; i < 2000 && vm.alarms() == 0; ++i) (void)vm.wait_until_ended(5ms);
  CHECK(vm.status().lost_network() == "network card 'net0': its passt on the host has gone");
  CHECK(vm.alarms() == 1);
  for (int i = 0; i < 2000 && changes == before; ++i) (void)vm.wait_until_ended(5ms);
  CHECK(changes > before);
  CHECK(vm.state() == Vm::State::Running);
}

TEST_CASE("ACPI sleep state 5 ends the machine as powered off", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0x66, 0xba, 0x04, 0x06, 0x66, 0xb8,
                             0x00, 0x34, 0x66, 0xef, 0xeb, 0xfe};
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  CHECK(ended(*vm).kind() == v1::ExitReport::KIND_GUEST_POWER_OFF);
}

TEST_CASE("a guest that resets starts again with fresh memory, or ends if told to", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  // Prints the CMOS byte 0x40 and the memory byte at 2 MiB, sets both, resets; ends when CMOS has
  // been set.
  const PayloadKernel kernel{0xb0, 0x40, 0xe6, 0x70, 0xe4, 0x71,              // al = cmos[0x40]
                             0x88, 0xc3,                                      // bl = al
                             0x04, '0',  0x66, 0xba, 0xf8, 0x03, 0xee,        // print al + '0'
                             0xa0, 0x00, 0x00, 0x20, 0x00,                    // al = [0x200000]
                             0x04, '0',  0xee,                                // print
                             0x84, 0xdb, 0x75, 0x13,                          // if bl: end
                             0xb0, 0x40, 0xe6, 0x70, 0xb0, 0x01, 0xe6, 0x71,  // cmos[0x40] = 1
                             0xc6, 0x05, 0x00, 0x00, 0x20, 0x00, 0x05,        // [0x200000] = 5
                             0xb0, 0xfe, 0xe6, 0x64,                          // reset
                             0xb0, 0x07, 0xe6, 0xf4, 0xeb, 0xfe};             // end
  auto config = config_for(kernel);
  SECTION("restart") {
    auto vm = make(config, *kvm);
    REQUIRE(vm->start().ok());
    CHECK(ended(*vm).kind() == v1::ExitReport::KIND_DEBUG_EXIT);
    CHECK(vm->console().read(0, 100).bytes == "0010");
    CHECK(vm->status().resets() == 1);
  }
  SECTION("stop") {
    config.set_on_reset(v1::ON_RESET_STOP);
    auto vm = make(config, *kvm);
    REQUIRE(vm->start().ok());
    CHECK(ended(*vm).kind() == v1::ExitReport::KIND_GUEST_RESET);
  }
}

TEST_CASE("a busy guest pauses, resumes, resets and stops at any time", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8};  // inc [0x200000]
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  const auto count = [&] { return vm->board().memory().read_le<std::uint32_t>(0x200000); };
  const auto goes_on_from = [&](std::optional<std::uint32_t> before) {
    for (int i = 0; i < 2000 && count() == before; ++i) std::this_thread::sleep_for(1ms);
    return count() != before;
  };
  CHECK(goes_on_from(0));
  for (int i = 0; i < 20; ++i) {
    REQUIRE(vm->pause().ok());
    CHECK(vm->pause().ok());
    const auto before = count();
    std::this_thread::sleep_for(5ms);  // enough for a processor that was not stopped to count
    CHECK(count() == before);
    REQUIRE(vm->resume().ok());
    CHECK(goes_on_from(before));
  }
  REQUIRE(vm->reset().ok());
  CHECK(vm->state() == Vm::State::Running);
  vm->stop();
  vm->stop();
  CHECK(vm->exit()->kind() == v1::ExitReport::KIND_KILLED);
}

TEST_CASE("of what a guest agent says only lines that can be passed on are kept", "[vm]") {
  AgentChannel channel;
  const auto say = [&](std::string_view text) { (void)channel.guest_wrote(as_bytes(text)); };
  int heard = 0;
  channel.set_listener([&] { ++heard; });
  say("\xff{\"return\":1}\n");                                        // its mark after a resync
  say("{\"return\":\"\xc3\x28\"}\n{\"return\":\"\xed\xa0\x80\"}\n");  // not UTF-8: protobuf
                                                                      // complains
  say(std::string(AgentChannel::kMaxLine + 1, 'x') + "\n");
  say("{\"return\":\"\xc3\xa4\"}\n");
  CHECK(heard == 2);
  CHECK(channel.take_line() == "{\"return\":1}");
  CHECK(channel.take_line() == "{\"return\":\"\xc3\xa4\"}");
  CHECK_FALSE(channel.take_line());
}

TEST_CASE("there are no devices that nobody asked for, CVE-2015-3456", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xf4};
  auto config = config_for(kernel);
  config.set_debug_exit(false);
  auto vm = make(config, *kvm);
  // Floppy, IDE, VGA, parallel and second serial port, debug ports: all absent.
  for (const int number :
       {0x3f0, 0x3f5, 0x1f0, 0x170, 0x3c0, 0x3d4, 0x378, 0x2f8, 0x402, 0x501, 0xf4, 0xb2, 0x510}) {
    CAPTURE(number);
    const auto port = static_cast<std::uint16_t>(number);
    std::byte value{0};
    vm->board().port_write(port, std::span<const std::byte>(&value, 1));
    vm->board().port_read(port, std::span(&value, 1));
    CHECK(value == std::byte{0xff});
  }
}

TEST_CASE("a machine that cannot start again after a reset ends with the cause", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe};  // reset
  auto vm = make(config_for(kernel), *kvm);
  std::filesystem::resize_file(kernel.path(), 100);
  REQUIRE(vm->start().ok());
  const auto report = ended(*vm);
  CHECK(report.kind() == v1::ExitReport::KIND_DEVICE_ERROR);
  INFO(report.message());
  CHECK(report.message().find("reset failed") != std::string::npos);
}

TEST_CASE("the clock's alarm goes off while the machine runs", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xb0, 0x01, 0xe6, 0x70, 0xb0, 0xff, 0xe6, 0x71,  // every second
                             0xb0, 0x03, 0xe6, 0x70, 0xb0, 0xff, 0xe6, 0x71,
                             0xb0, 0x05, 0xe6, 0x70, 0xb0, 0xff, 0xe6, 0x71,
                             0xb0, 0x0b, 0xe6, 0x70, 0xb0, 0x22, 0xe6, 0x71,  // alarm on
                             0xb0, 0x0c, 0xe6, 0x70, 0xe4, 0x71,              // status C
                             0xa8, 0x80, 0x74, 0xf6,                          // until it interrupts
                             0xb0, 0x09, 0xe6, 0xf4, 0xeb, 0xfe};
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  CHECK(ended(*vm).kind() == v1::ExitReport::KIND_DEBUG_EXIT);
}

namespace {

/// A triple fault's are gone on AMD (Linux, svm.c, shutdown_interception()), and the report says
/// so.
void check_registers(const v1::ExitReport& report, const char* part) {
  INFO(report.registers());
  __builtin_cpu_init();
  if (report.kind() == v1::ExitReport::KIND_TRIPLE_FAULT && test::kvm_is_real() &&
      __builtin_cpu_is("amd"))
    CHECK(report.registers().starts_with("registers lost: "));
  else
    CHECK(report.registers().find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("an exit report names the instruction that could not be executed", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xbb, 0x44, 0x33, 0x22, 0x11, 0xcc};  // ebx = 0x11223344; int3
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  const auto report = ended(*vm);
  INFO(report.message());
  check_registers(report, "11223344");
  if (report.kind() == v1::ExitReport::KIND_EMULATION_FAILURE && !test::kvm_is_real())
    CHECK(report.instruction().substr(0, 1) == "\xcc");  // this KVM emulates, and lacks int3
  else
    CHECK(report.kind() == v1::ExitReport::KIND_TRIPLE_FAULT);  // no IDT to find a handler in
}

TEST_CASE("an instruction that cannot run ends the machine with its registers", "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const PayloadKernel kernel{0xbb, 0x78, 0x56, 0x34,
                             0x12, 0x0f, 0x0b};  // ebx = 0x12345678; ud2, no IDT
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  const auto report = ended(*vm);
  INFO(report.message());
  if (report.kind() != v1::ExitReport::KIND_EMULATION_FAILURE || test::kvm_is_real())
    CHECK(report.kind() == v1::ExitReport::KIND_TRIPLE_FAULT);
  check_registers(report, "rbx=0000000012345678");
}

TEST_CASE("an instruction KVM cannot emulate ends the machine with its bytes and registers",
          "[vm][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  // ebx = 0x12345678; fadd dword [0xd0000000], which is no memory; debug exit where KVM can do
  // that.
  const PayloadKernel kernel{0xbb, 0x78, 0x56, 0x34, 0x12, 0xd8, 0x05, 0x00,
                             0x00, 0x00, 0xd0, 0xe6, 0xf4, 0xeb, 0xfe};
  auto vm = make(config_for(kernel), *kvm);
  REQUIRE(vm->start().ok());
  const auto report = ended(*vm);
  INFO(report.message() << "\n" << report.registers());
  if (report.kind() == v1::ExitReport::KIND_DEBUG_EXIT && !test::kvm_is_real()) return;
  REQUIRE(report.kind() == v1::ExitReport::KIND_EMULATION_FAILURE);
  CHECK(report.instruction().substr(0, 6) == std::string("\xd8\x05\x00\x00\x00\xd0", 6));
  CHECK(report.registers().find("rbx=0000000012345678") != std::string::npos);
}

TEST_CASE("a console flood keeps the last output only", "[vm]") {
  ConsoleRing ring(1000);
  for (int i = 0; i < 300; ++i) ring.write(as_bytes("0123456789"));
  CHECK(ring.end_offset() == 3000);
  const auto piece = ring.read(5, 4096);
  CHECK(piece.offset == 2000);
  CHECK(piece.bytes.size() == 1000);
  CHECK(ring.read(2995, 4096).bytes == "56789");
  CHECK(ring.read(9999, 10).bytes.empty());
  CHECK(ring.read(2000, 3).bytes == "012");
}

TEST_CASE("impossible configurations are refused by name", "[vm]") {
  const PayloadKernel kernel{0xf4};
  const auto good = config_for(kernel);
  CHECK(check_config(good).ok());
  const auto refused = [&](auto change) {
    auto config = good;
    change(config);
    const auto status = check_config(config);
    return !status.ok() && status.error().reason() == "MACHINE_CONFIG";
  };
  CHECK(refused([](auto& c) { c.set_vcpus(0); }));
  CHECK(refused([](auto& c) { c.set_vcpus(255); }));
  CHECK(refused([](auto& c) { c.set_memory_mib(0); }));
  CHECK(refused([](auto& c) { c.set_memory_mib(~0ull); }));
  CHECK(refused([](auto& c) { c.clear_kernel_path(); }));
  CHECK(refused([](auto& c) { c.set_uuid("x"); }));
  CHECK(refused([](auto& c) { c.set_vsock_cid(2); }));
  CHECK(refused([](auto& c) { c.add_disks()->set_id("a"); }));
  CHECK(refused([](auto& c) {
    auto& nic = *c.add_nics();
    nic.set_id("n");
    nic.set_mac("53:54:00:00:00:01");
    nic.set_tap_name("tap0");
  }));
}

}  // namespace reeve::core
