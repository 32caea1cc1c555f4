#include "hypervisor_core/vm/snapshot.h"

#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include "base/text.h"
#include "hypervisor_core/vm/save_convert.h"
#include "hypervisor_core/vm/vm.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"

namespace reeve::core {
namespace {

using namespace std::chrono_literals;

class TextSink final : public StateSink {
 public:
  Status write(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  std::string text;
};

class TextSource final : public StateSource {
 public:
  explicit TextSource(std::string_view text) : text_(text) {}
  Status read(std::span<std::byte> out) override {
    if (out.size() > text_.size()) return Error{Code::DataLoss, "STATE_TRUNCATED", "too short"};
    std::memcpy(out.data(), text_.data(), out.size());
    text_.remove_prefix(out.size());
    return {};
  }

 private:
  std::string_view text_;
};

/// Waits for each typed character and prints the next letter of its own counter, kept in memory.
const std::initializer_list<int> kCounter = {
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,  // wait for input
    0x66, 0xba, 0xf8, 0x03, 0xec,                          // take it
    0xfe, 0x05, 0x00, 0x00, 0x20, 0x00,                    // inc byte [0x200000]
    0xa0, 0x00, 0x00, 0x20, 0x00, 0x04, 'a',  0xee,        // print 'a' + it
    0xeb, 0xe2};

std::string console_when(Vm& vm, std::uint64_t from, std::size_t length) {
  for (int i = 0; i < 2000 && vm.console().end_offset() < from + length; ++i)
    (void)vm.wait_until_ended(2ms);
  return vm.console().read(from, 100).bytes;
}

std::unique_ptr<Vm> take(Result<std::unique_ptr<Vm>> vm) {
  if (!vm.ok()) FAIL(vm.error().message());
  return std::move(vm).value();
}

}  // namespace

TEST_CASE("a machine goes on in another one where it was saved", "[vm][saved][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const test::PayloadKernel kernel(kCounter);
  auto config = kernel.config();
  config.set_rng(true);
  auto first = take(Vm::create(config, *kvm));
  REQUIRE(first->start().ok());
  CHECK(first->type(as_bytes("xx")) == 2);
  CHECK(console_when(*first, 0, 2) == "bc");
  TextSink sink;
  CHECK(first->save(sink).error().reason() == "VM_NOT_PAUSED");
  REQUIRE(first->pause().ok());
  REQUIRE(first->save(sink).ok());
  CHECK(sink.text.size() < 300'000);  // 4 MiB of RAM, nearly all of it zero
  REQUIRE(first->resume().ok());
  first->stop();

  TextSource source(sink.text);
  auto second = take(Vm::restore(source, *kvm));
  CHECK(second->state() == Vm::State::Paused);
  REQUIRE(second->resume().ok());
  CHECK(second->type(as_bytes("x")) == 1);
  CHECK(console_when(*second, 0, 1) == "d");
  REQUIRE(second->reset().ok());
  CHECK(second->type(as_bytes("x")) == 1);
  CHECK(console_when(*second, 1, 1) == "b");
}

TEST_CASE("a copy of a machine is told so: a new generation id and an event for it",
          "[vm][saved][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  // For each typed character: the 16 bytes of the generation id, and the events that wait (GPE0).
  const test::PayloadKernel kernel{0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,  // wait
                                   0x66, 0xba, 0xf8, 0x03, 0xec,                          // take it
                                   0xbe, 0x00, 0xf0, 0x0f, 0x00,  // esi = 0xff000
                                   0xb9, 0x10, 0x00, 0x00, 0x00,  // ecx = 16
                                   0xac, 0xee, 0xe2, 0xfc,        // print [esi++], 16 times
                                   0x66, 0xba, 0x10, 0x06, 0xec,  // al = GPE0 status
                                   0x66, 0xba, 0xf8, 0x03, 0xee,  // print al
                                   0xeb, 0xd8};
  struct Said {
    std::string id;
    char events = 0;
  };
  const auto ask = [](Vm& vm) {
    const auto from = vm.console().end_offset();
    REQUIRE(vm.type(as_bytes("x")) == 1);
    for (int i = 0; i < 2000 && vm.console().end_offset() < from + 17; ++i)
      (void)vm.wait_until_ended(2ms);
    const auto bytes = vm.console().read(from, 17).bytes;
    REQUIRE(bytes.size() == 17);
    return Said{bytes.substr(0, 16), bytes[16]};
  };
  constexpr char kNewId = 1 << AcpiHardware::kGenerationIdEvent;
  auto vm = take(Vm::create(kernel.config(), *kvm));
  REQUIRE(vm->start().ok());
  const auto first = ask(*vm);
  CHECK(first.id != std::string(16, '\0'));
  CHECK(first.events == 0);
  REQUIRE(vm->pause().ok());
  TextSink sink;
  REQUIRE(vm->save(sink).ok());
  REQUIRE(vm->resume().ok());
  CHECK(ask(*vm).id == first.id);  // the original is no copy
  REQUIRE(vm->reset().ok());
  CHECK(ask(*vm).id == first.id);
  std::string before = first.id;
  for (int copy = 0; copy < 2; ++copy) {
    TextSource source(sink.text);
    auto restored = take(Vm::restore(source, *kvm));
    REQUIRE(restored->resume().ok());
    const auto said = ask(*restored);
    CHECK(said.id != first.id);
    CHECK(said.id != before);
    CHECK(said.events == kNewId);
    before = said.id;
  }
}

TEST_CASE("a damaged or foreign saved state is refused by name", "[vm][saved][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const test::PayloadKernel kernel(kCounter);
  auto vm = take(Vm::create(kernel.config(), *kvm));
  REQUIRE(vm->start().ok());
  REQUIRE(vm->pause().ok());
  TextSink sink;
  REQUIRE(vm->save(sink).ok());
  const auto reason = [&](const std::string& text) {
    TextSource source(text);
    auto restored = Vm::restore(source, *kvm);
    return restored.ok() ? std::string("ok") : std::string(restored.error().reason());
  };
  CHECK(reason(sink.text) == "ok");
  CHECK(reason("") == "STATE_TRUNCATED");
  CHECK(reason("something else entirely") == "STATE_FORMAT");
  for (const std::size_t at :
       {sink.text.size() / 4, sink.text.size() / 2, sink.text.size() * 3 / 4}) {
    CHECK(reason(sink.text.substr(0, at)) == "STATE_TRUNCATED");
    auto flipped = sink.text;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    CHECK(reason(flipped) == "STATE_CHECKSUM");
  }
  auto version = sink.text;
  version[8] = 2;
  CHECK(reason(version) == "STATE_VERSION");

  v1::SavedHeader header;
  header.set_version(1);
  header.add_required_features("time-travel");
  TextSink future;
  RecordWriter writer(future);
  REQUIRE(writer.begin().ok());
  REQUIRE(writer.write(RecordType::Header, as_bytes(header.SerializeAsString())).ok());
  CHECK(reason(future.text) == "STATE_FEATURE");
}

TEST_CASE("processor state survives its message", "[saved]") {
  accel::CpuState cpu;
  cpu.general = {.rax = 1, .r15 = 15, .rip = 0xffffffff81000000, .rflags = 0x246};
  cpu.system.cs = {.base = 1,
                   .limit = 0xfffff,
                   .selector = 0x10,
                   .type = 11,
                   .present = 1,
                   .privilege = 3,
                   .code_or_data = 1,
                   .long_mode = 1,
                   .granularity = 1};
  cpu.system.ldt.unusable = 1;
  cpu.system.gdt = {0x1000, 0x7f};
  cpu.system.pending_interrupts[3] = 7;
  cpu.msrs = {{0x10, 99}, {0xc0000080, 0xd01}};
  cpu.xsave.assign(4096, std::byte{3});
  cpu.debug.address[2] = 5;
  cpu.events.nmi_pending = true;
  cpu.events.interrupt_vector = 0x31;
  cpu.run_state = accel::RunState::Halted;
  cpu.local_apic[5] = std::byte{9};
  v1::SavedVcpu saved;
  to_saved(cpu, saved);
  const auto back = from_saved(saved);
  REQUIRE(back.ok());
  CHECK(back.value().general == cpu.general);
  CHECK(back.value().system == cpu.system);
  CHECK(back.value().msrs == cpu.msrs);
  CHECK(back.value().xsave == cpu.xsave);
  CHECK(back.value().debug == cpu.debug);
  CHECK(back.value().events == cpu.events);
  CHECK(back.value().run_state == cpu.run_state);
  CHECK(back.value().local_apic == cpu.local_apic);
  saved.mutable_general()->RemoveLast();
  CHECK(from_saved(saved).error().reason() == "STATE_FORMAT");
}

TEST_CASE("the checksum is CRC-32C", "[saved]") {
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283);
  CHECK(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))) == 0xe3069283);
  CHECK(crc32c({}) == 0);
}

}  // namespace reeve::core
