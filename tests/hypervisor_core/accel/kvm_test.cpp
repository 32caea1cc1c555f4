#include <algorithm>
#include <array>
#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "tests/hypervisor_core/support/payload.h"

namespace reeve::core::accel {

using test::kvm_is_real;
using test::kvm_or_skip;
using test::Payload;
using test::Recorder;

TEST_CASE("port and memory accesses reach the handler with their size and value", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {
                          0xe4, 0x60,                    // in al, 0x60
                          0xe6, 0x80,                    // out 0x80, al
                          0xb8, 0x34, 0x12,              // mov ax, 0x1234
                          0xe7, 0x81,                    // out 0x81, ax
                          0xbb, 0x00, 0xf0, 0x8e, 0xdb,  // mov ds, 0xf000 -> 0xf0000.. is RAM
                          0xb8, 0xff, 0xff, 0x8e, 0xd8,  // mov ds, 0xffff
                          0xa3, 0x20, 0x00,              // mov [0x20], ax -> 0x100010: no RAM
                          0xa1, 0x30, 0x00,              // mov ax, [0x30] -> 0x100020
                          0xe7, 0x82,                    // out 0x82, ax
                          0xe6, 0xf4,                    // stop
                          0xf4,
                      });
  Recorder recorder(*guest.vcpu);
  recorder.answer = 0xa55a;
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  CHECK(recorder.accesses == std::vector<Recorder::Access>{{'i', 0x60, 1, 0},
                                                           {'o', 0x80, 1, 0x5a},
                                                           {'o', 0x81, 2, 0x1234},
                                                           {'w', 0x100010, 2, 0xffff},
                                                           {'r', 0x100020, 2, 0},
                                                           {'o', 0x82, 2, 0xa55a},
                                                           {'o', 0xf4, 1, 0x5a}});
  const auto counters = guest.vcpu->counters();
  CHECK(counters.port_out == 4);
  CHECK(counters.mmio_write == 1);
  CHECK(counters.kicked == 1);
}

TEST_CASE("a kick before run is not lost, and one during it stops a busy guest", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {0xeb, 0xfe});  // jmp $
  Recorder recorder(*guest.vcpu);
  guest.vcpu->kick();
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  for (int i = 0; i < 20; ++i) {
    std::thread kicker([&] { guest.vcpu->kick(); });
    CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
    kicker.join();
  }
}

TEST_CASE("a kick wakes a guest that sleeps in HLT", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {0xfa, 0xf4});  // cli; hlt
  Recorder recorder(*guest.vcpu);
  std::thread kicker([&] {
    std::this_thread::yield();
    guest.vcpu->kick();
  });
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  kicker.join();
}

TEST_CASE("a triple fault is reported as shutdown", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  // lidt of an empty table in protected mode, then an undefined instruction.
  Payload guest(*kvm, {0x0f, 0x01, 0x1e, 0x00, 0x20,                    // lidt [0x2000] (zeroes)
                       0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0,  // cr0 |= PE
                       0x0f, 0x0b});                                    // ud2
  Recorder recorder(*guest.vcpu);
  const auto exit = guest.vcpu->run(recorder);
  INFO(exit_kind_name(exit.kind));
  if (exit.kind == ExitKind::EmulationFailure && !kvm_is_real()) return;  // it lacks ud2
  CHECK(exit.kind == ExitKind::Shutdown);
}

TEST_CASE("an instruction KVM cannot emulate is reported with its bytes", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  // Only KVM can carry out an access to what is no memory, and it knows no floating point.
  Payload guest(*kvm, {0xb8, 0xff, 0xff, 0x8e, 0xd8,  // ds = 0xffff
                       0xd8, 0x06, 0x00, 0x02,        // fadd dword [0x200]: at 0x1001f0
                       0xe6, 0xf4, 0xf4});
  Recorder recorder(*guest.vcpu);
  const auto exit = guest.vcpu->run(recorder);
  INFO(exit_kind_name(exit.kind));
  if (exit.kind == ExitKind::Kicked && !kvm_is_real()) return;  // it does know floating point
  REQUIRE(exit.kind == ExitKind::EmulationFailure);
  REQUIRE(exit.instruction_length >= 4);
  CHECK(exit.instruction[0] == std::byte{0xd8});
  CHECK(exit.instruction[3] == std::byte{0x02});
}

namespace {

/// Where the guest's code is. A real KVM lets a page be written as soon as it is first read, and
/// names it then: more than was written, never less.
constexpr std::uint64_t kCodePage = Payload::kCode / kPageSize;

}  // namespace

TEST_CASE("the dirty log names the pages a guest wrote, once", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm,
                {0xc6, 0x06, 0x00, 0x50, 0x01,  // mov byte [0x5000], 1
                 0xc6, 0x06, 0x00, 0x70, 0x01,  // mov byte [0x7000], 1
                 0xe6, 0xf4, 0xf4},
                true);
  Recorder recorder(*guest.vcpu);
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  std::array<std::uint64_t, 4> bitmap{};
  REQUIRE(guest.partition->take_dirty(0, bitmap).ok());
  CHECK((bitmap[0] & ~(1u << kCodePage)) == ((1u << 5) | (1u << 7)));
  bitmap = {};
  REQUIRE(guest.partition->take_dirty(0, bitmap).ok());
  CHECK(bitmap[0] == 0);
  CHECK_FALSE(guest.partition->take_dirty(9, bitmap).ok());
}

namespace {

/// False with a printed reason where KVM has no dirty ring.
bool has_dirty_ring(Accelerator& kvm) {
  auto partition = Payload::take(kvm.create_partition({}));
  if (partition->dirty_ring() == nullptr) return false;
  const auto enabled = partition->dirty_ring()->enable(256);
  if (!enabled.ok()) test::skip(enabled.error());
  return enabled.ok();
}

}  // namespace

TEST_CASE("the dirty ring names the pages a guest wrote, once, and leaves no log", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm || !has_dirty_ring(*kvm)) return;
  Payload guest(*kvm,
                {0xc6, 0x06, 0x00, 0x50, 0x01,  // mov byte [0x5000], 1
                 0xc6, 0x06, 0x01, 0x50, 0x01,  // mov byte [0x5001], 1
                 0xc6, 0x06, 0x00, 0x70, 0x01,  // mov byte [0x7000], 1
                 0xe6, 0xf4, 0xf4},
                true, 256);
  Recorder recorder(*guest.vcpu);
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  std::vector<DirtyPage> pages;
  REQUIRE(guest.partition->dirty_ring()->take(pages).ok());
  std::sort(pages.begin(), pages.end());
  std::erase(pages, DirtyPage{0, kCodePage});
  CHECK(pages == std::vector<DirtyPage>{{0, 5}, {0, 7}});
  pages.clear();
  REQUIRE(guest.partition->dirty_ring()->take(pages).ok());
  CHECK(pages.empty());
  std::array<std::uint64_t, 4> bitmap{};
  CHECK(guest.partition->take_dirty(0, bitmap).error().reason() == "DIRTY_LOG_OFF");
}

TEST_CASE("a guest that writes more pages than the dirty ring holds goes on, none is lost",
          "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm || !has_dirty_ring(*kvm)) return;
  auto tiny = Payload::take(kvm->create_partition({}));
  CHECK(tiny->dirty_ring()->enable(300).error().reason() == "DIRTY_RING_SIZE");
  CHECK(tiny->dirty_ring()->enable(16).error().reason() == "DIRTY_RING_SIZE");
  // Writes a byte every 256 from 64 KiB up through ds: 15 times 16 pages of 4 KiB, and all again.
  Payload guest(*kvm, {0xb9, 0x02, 0x00,        // cx = 2
                       0xbb, 0x00, 0x10,        // again: bx = 0x1000
                       0x8e, 0xdb,              // segment: ds = bx
                       0x31, 0xff,              // di = 0
                       0xc6, 0x05, 0x01,        // page: mov byte [di], 1
                       0x81, 0xc7, 0x00, 0x10,  // di += 0x1000
                       0x75, 0xf7,              // until it wraps
                       0x81, 0xc3, 0x00, 0x10,  // bx += 0x1000
                       0x75, 0xed,              // until it wraps
                       0xe2, 0xe8,              // twice
                       0xe6, 0xf4, 0xf4},
                true, 256);
  Recorder recorder(*guest.vcpu);
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  std::vector<DirtyPage> pages;
  REQUIRE(guest.partition->dirty_ring()->take(pages).ok());
  std::set<std::uint64_t> seen;
  for (const auto& page : pages) seen.insert(page.page);
  CHECK(seen.size() == pages.size());
  seen.erase(kCodePage);
  CHECK(seen.size() == 240);
  CHECK(*seen.begin() == 16);
  CHECK(*seen.rbegin() == 255);
}

TEST_CASE("a doorbell makes an event instead of an exit", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {0xb8, 0xff, 0xff, 0x8e, 0xd8,  // ds = 0xffff
                       0xa3, 0x20, 0x00,              // write 0x100010
                       0xa3, 0x20, 0x00, 0xe6, 0xf4, 0xf4});
  Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto* doorbells = guest.partition->doorbells();
  REQUIRE(doorbells != nullptr);
  REQUIRE(doorbells->attach(0x100010, event.get()).ok());
  Recorder recorder(*guest.vcpu);
  CHECK(guest.vcpu->run(recorder).kind == ExitKind::Kicked);
  CHECK(recorder.accesses == std::vector<Recorder::Access>{{'o', 0xf4, 1, 0xff}});
  eventfd_t rings = 0;
  CHECK(eventfd_read(event.get(), &rings) == 0);
  CHECK(rings == 2);
  CHECK(doorbells->detach(0x100010, event.get()).ok());
}

TEST_CASE("a vCPU's state moves to another virtual machine and goes on", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  const std::initializer_list<int> counting = {
      0x41,        // inc cx
      0x89, 0xc8,  // mov ax, cx
      0xe6, 0xf4,  // out 0xf4, al: the host looks
      0xeb, 0xf9,  // again
  };
  Payload first(*kvm, counting);
  Recorder seen_first(*first.vcpu);
  for (int i = 0; i < 3; ++i) CHECK(first.vcpu->run(seen_first).kind == ExitKind::Kicked);
  const auto state = Payload::take(first.vcpu->state());
  CHECK(state.general.rcx == 3);
  CHECK(state.msrs.size() > 5);

  Payload second(*kvm, counting);
  const auto restored = second.vcpu->set_state(state);
  if (!restored.ok()) FAIL(restored.error().message());
  Recorder seen_second(*second.vcpu);
  CHECK(second.vcpu->run(seen_second).kind == ExitKind::Kicked);
  CHECK(seen_second.accesses.back().value == 4);
}

TEST_CASE("interrupt controller state and clock can be read and put back", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {0xf4});
  auto state = Payload::take(guest.partition->interrupt_state());
  state.io_apic.redirection[4] = 0x10000 | 0x34;
  state.pic_master.imr = 0xfb;
  REQUIRE(guest.partition->set_interrupt_state(state).ok());
  const auto again = Payload::take(guest.partition->interrupt_state());
  CHECK(again.io_apic.redirection[4] == state.io_apic.redirection[4]);
  CHECK(again.pic_master.imr == 0xfb);
  REQUIRE(guest.partition->set_clock(5'000'000'000).ok());
  CHECK(Payload::take(guest.partition->clock()) >= 5'000'000'000);
}

TEST_CASE("message-signalled lines are routed, rerouted and given back", "[accel][kvm]") {
  auto kvm = kvm_or_skip();
  if (!kvm) return;
  Payload guest(*kvm, {0xf4});
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<MsiLine>> lines;
    for (std::uint32_t i = 0; i < 64; ++i) {
      lines.push_back(Payload::take(guest.partition->create_msi_line()));
      lines.back()->raise();  // before it is routed: nothing
      CHECK(lines.back()->route({0xfee00000, 0x40 + i}).ok());
      CHECK(lines.back()->route({0xfee00000, 0x41 + i}).ok());
      lines.back()->raise();
    }
  }
}

}  // namespace reeve::core::accel
