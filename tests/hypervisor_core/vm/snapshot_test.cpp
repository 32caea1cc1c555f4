#include "hypervisor_core/vm/snapshot.h"

#include <cstring>
#include <functional>
#include <string>

#include <catch2/catch.hpp>

#include "base/bytes.h"
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
  config.set_console(true);  // without a driver in the guest: what is typed goes to the serial port
  config.set_guest_agent(true);
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

namespace {

/// `text` with its header changed.
std::string with_header(const std::string& text,
                        const std::function<void(v1::SavedHeader&)>& change) {
  TextSource source(text);
  RecordReader reader(source);
  auto header = read_saved_header(reader).value();
  TextSink before;
  REQUIRE(RecordWriter(before).begin().ok());
  const auto header_bytes = [](const v1::SavedHeader& h) {
    TextSink sink;
    RecordWriter writer(sink);
    REQUIRE(writer.write(RecordType::Header, as_bytes(h.SerializeAsString())).ok());
    return sink.text;
  };
  const std::size_t rest = before.text.size() + header_bytes(header).size();
  change(header);
  return before.text + header_bytes(header) + text.substr(rest);
}

/// Prints what CPUID says to it for a leaf in edx, ecx and eax, low byte first.
test::PayloadKernel cpuid_kernel(std::uint32_t leaf) {
  const auto byte = [leaf](unsigned at) { return static_cast<int>(leaf >> 8 * at & 0xff); };
  return test::PayloadKernel{
      0x66, 0xba,    0xfd,    0x03,    0xec,    0xa8, 0x01, 0x74, 0xf7,  // wait
      0x66, 0xba,    0xf8,    0x03,    0xec,                             // take it
      0xb8, byte(0), byte(1), byte(2), byte(3),                          // eax = leaf
      0x31, 0xc9,                                                        // ecx = 0
      0x0f, 0xa2,                                                        // cpuid
      0x66, 0xba,    0xf8,    0x03,                                      // dx = port
      0xee, 0xc1,    0xe8,    0x08,    0xee,                             // print al, the next byte
      0xc1, 0xe8,    0x08,    0xee,    0xc1,    0xe8, 0x08, 0xee,        // and two more
      0xeb, 0xd6};
}

std::uint32_t said_eax(Vm& vm) {
  const auto from = vm.console().end_offset();
  REQUIRE(vm.type(as_bytes("x")) == 1);
  const auto bytes = console_when(vm, from, 4);
  REQUIRE(bytes.size() == 4);
  return load_le<std::uint32_t>(as_bytes(bytes));
}

}  // namespace

TEST_CASE("a guest sees the processor it was started with, also after a reset",
          "[vm][saved][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  constexpr std::uint32_t kSignature = 1;
  const auto kernel = cpuid_kernel(kSignature);
  auto config = kernel.config();
  config.set_vcpus(2);
  auto first = take(Vm::create(config, *kvm));
  REQUIRE(first->start().ok());
  const auto signature = said_eax(*first);
  CHECK(signature != 0);
  REQUIRE(first->pause().ok());
  TextSink sink;
  REQUIRE(first->save(sink).ok());
  first.reset();

  TextSource unread(sink.text);
  RecordReader reader(unread);
  const auto header = read_saved_header(reader).value();
  REQUIRE(header.cpuid_size() == 2);
  CHECK(header.required_features_size() == 1);
  const auto cpuid = saved_cpuid(header);
  REQUIRE(cpuid.ok());
  CHECK(cpuid.value()[0] != cpuid.value()[1]);  // each has its own id

  // As if it had been started on a processor of another model.
  const auto other = with_header(sink.text, [](v1::SavedHeader& h) {
    for (auto& vcpu : *h.mutable_cpuid())
      for (auto& leaf : *vcpu.mutable_leaves())
        if (leaf.function() == kSignature) leaf.set_eax(leaf.eax() ^ 0xf);
  });
  TextSource source(other);
  auto second = take(Vm::restore(source, *kvm));
  CHECK(second->board().cpuid() != cpuid.value());
  TextSink again;
  REQUIRE(second->save(again).ok());
  REQUIRE(second->resume().ok());
  CHECK(said_eax(*second) == (signature ^ 0xf));
  REQUIRE(second->reset().ok());
  CHECK(said_eax(*second) == (signature ^ 0xf));
  second.reset();
  TextSource third_source(again.text);
  auto third = take(Vm::restore(third_source, *kvm));
  REQUIRE(third->resume().ok());
  CHECK(said_eax(*third) == (signature ^ 0xf));
}

TEST_CASE("a saved processor that this host cannot be is refused by name", "[vm][saved][kvm]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const test::PayloadKernel kernel(kCounter);
  auto vm = take(Vm::create(kernel.config(), *kvm));
  REQUIRE(vm->start().ok());
  REQUIRE(vm->pause().ok());
  TextSink sink;
  REQUIRE(vm->save(sink).ok());
  const auto refusal = [&](const std::function<void(v1::SavedHeader&)>& change) {
    const auto changed = with_header(sink.text, change);
    TextSource source(changed);
    auto restored = Vm::restore(source, *kvm);
    if (restored.ok()) return std::string("ok");
    return std::string(restored.error().reason()) + ": " + restored.error().message();
  };
  using Header = v1::SavedHeader;
  CHECK(refusal([](Header&) {}) == "ok");
  // Bit 10 of edx is no processor's.
  const auto one_bit = refusal([](Header& h) {
    for (auto& leaf : *h.mutable_cpuid(0)->mutable_leaves())
      if (leaf.function() == 1) leaf.set_edx(leaf.edx() | 1u << 10);
  });
  CHECK_THAT(one_bit, Catch::StartsWith("CPU_FEATURE: "));
  CHECK_THAT(one_bit, Catch::EndsWith("CPUID leaf 0x1.0 edx bit 10"));
  CHECK_THAT(refusal([](Header& h) {
               auto& leaf = *h.mutable_cpuid(0)->add_leaves();
               leaf.set_function(0xc0000001);
               leaf.set_edx(1);
             }),
             Catch::StartsWith("CPU_FEATURE: ") && Catch::Contains("leaf 0xc0000001.0 edx bit 0"));

  CHECK_THAT(refusal([](Header& h) { h.clear_cpuid(); }), Catch::StartsWith("STATE_FORMAT: "));
  CHECK_THAT(refusal([](Header& h) { h.add_cpuid()->add_leaves(); }),
             Catch::Equals("STATE_FORMAT: saved state: CPUID of 2 vCPUs of 1"));
  CHECK_THAT(refusal([](Header& h) { h.mutable_cpuid(0)->clear_leaves(); }),
             Catch::StartsWith("STATE_FORMAT: saved state: 0 CPUID leaves"));
  CHECK_THAT(refusal([](Header& h) {
               while (h.cpuid(0).leaves_size() < 257) h.mutable_cpuid(0)->add_leaves();
             }),
             Catch::StartsWith("STATE_FORMAT: saved state: 257 CPUID leaves"));

  // What a version that did not keep it left behind: the guest gets this host's, as it did then.
  CHECK(refusal([](Header& h) {
          h.clear_cpuid();
          h.clear_required_features();
        }) == "ok");
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
