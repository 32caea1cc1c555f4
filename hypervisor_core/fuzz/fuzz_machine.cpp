// hypervisor_core/fuzz/fuzz_machine.cpp - hostile machine records applied to a real board with all
// devices, which then runs from there and is saved again.
//
// The input is a program that changes a sound record field by field, since few records made of
// bytes alone would pass the first checks.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "hypervisor_core/fuzz/input.h"
#include "hypervisor_core/fuzz/own_folder.h"
#include "hypervisor_core/fuzz/still_machine.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/vm/snapshot.h"
#include "reeve/core/v1/saved_state.pb.h"

using namespace reeve;
using namespace reeve::core;

namespace {

constexpr int kMaxSteps = 40;
constexpr Gpa kRings = 1 << 20;  // of all queues, a page each
constexpr Gpa kFirstBar = kPciWindow32.base;
constexpr std::uint32_t kQueueSize = 16;
constexpr std::uint32_t kDriverOk = 0xf;  // and all that comes before it
constexpr std::uint64_t kVersion1 = 1ULL << 32;

struct NoEvents final : MachineEvents {
  void raise(MachineEvent, std::uint32_t) override {}
};
struct NoConsole final : ByteSink {
  void write(std::span<const std::byte>) override {}
};
struct Text final : StateSink {
  Status write(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  std::string text{};
};
class Source final : public StateSource {
 public:
  explicit Source(std::string_view text) : text_(text) {}
  Status read(std::span<std::byte> out) override {
    if (out.size() > text_.size()) return Error{Code::DataLoss, "STATE_TRUNCATED", "too short"};
    if (!out.empty()) std::memcpy(out.data(), text_.data(), out.size());
    text_.remove_prefix(out.size());
    return {};
  }

 private:
  std::string_view text_;
};

/// A board nothing was loaded into yet.
struct Fresh {
  static fuzz::StillWorld& world() {
    static const fuzz::OwnFolder folder;
    static fuzz::StillWorld made(folder.path());
    return made;
  }
  fuzz::StillAccelerator accelerator{};
  NoEvents events{};
  NoConsole console{};
  const v1::MachineConfig config = world().config();
  std::unique_ptr<Board> board{};
  std::vector<std::unique_ptr<VcpuThread>> vcpus{};

  Fresh() {
    board = Board::create(config, {.accelerator = accelerator,
                                   .events = events,
                                   .console = console,
                                   .clock = RealClock::instance(),
                                   .open_network = world().open_network()})
                .value();
    for (std::uint32_t id = 0; id < config.vcpus(); ++id)
      vcpus.push_back(
          std::make_unique<VcpuThread>(board->make_vcpu(id).value(), *board, VcpuThread::Hooks{}));
  }

  /// The machine record of what save_machine() writes.
  std::string saved() {
    Text file;
    REEVE_CHECK(save_machine(file, *board, vcpus, config, "still").ok());
    Source source(file.text);
    RecordReader reader(source);
    REEVE_CHECK(reader.begin().ok());
    std::string record;
    for (;;)
      if (reader.next(record).value() == RecordType::Machine) return record;
  }
};

/// Of a machine whose driver has set up every queue of every device.
v1::SavedMachine make_sound() {
  Fresh fresh;
  v1::SavedMachine machine;
  REEVE_CHECK(machine.ParseFromString(fresh.saved()));
  Gpa ring = kRings;
  for (auto& device : *machine.mutable_devices()) {
    device.set_status(kDriverOk);
    device.set_driver_features(kVersion1);
    (*device.mutable_config_space())[4] = 6;  // memory and bus mastering on
    std::uint32_t vector = 0;
    for (auto& queue : *device.mutable_queues()) {
      queue.set_size(kQueueSize);
      queue.set_descriptors(ring);
      queue.set_available(ring + 0x400);
      queue.set_used(ring + 0x800);
      queue.set_enabled(true);
      queue.set_vector(vector++);
      ring += kPageSize;
    }
  }
  machine.set_memory_pages(0);
  return machine;
}

const v1::SavedMachine& sound_machine() {
  static const auto machine = make_sound();
  return machine;
}

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Fields of the fuzzer's take the place of ours, or are added to them where there are many.
void merge(google::protobuf::MessageLite& into, fuzz::Input& input) {
  (void)into.MergeFromString(text(input.take(input.number<std::uint8_t>())));
}

template <class Many>
auto* one_of(Many* many, fuzz::Input& input) {
  const auto at = input.number<std::uint8_t>();
  return many->empty() ? nullptr : many->Mutable(at % many->size());
}

template <class Many>
void drop_last(Many* many) {
  if (!many->empty()) many->RemoveLast();
}

void change_device(v1::VirtioPciState& device, std::uint8_t how, fuzz::Input& input) {
  switch (how % 8) {
    case 0: return merge(device, input);
    case 1:
    case 2:
      if (auto* queue = one_of(device.mutable_queues(), input)) merge(*queue, input);
      return;
    case 3: return merge(*device.mutable_msix(), input);
    case 4:
      if (auto* entry = one_of(device.mutable_msix()->mutable_entries(), input))
        merge(*entry, input);
      return;
    case 5:  // one message behind another is both merged
      device.mutable_device_state()->append(text(input.take(input.number<std::uint8_t>())));
      return;
    case 6: {
      auto& space = *device.mutable_config_space();
      const auto at = input.number<std::uint8_t>();
      const auto bytes = text(input.take(input.number<std::uint8_t>() % 8));
      if (at + bytes.size() <= space.size()) space.replace(at, bytes.size(), bytes);
      return;
    }
    default:
      if (input.number<std::uint8_t>() % 2 == 0)
        device.set_device_state(text(input.take(input.number<std::uint8_t>())));
      else
        drop_last(device.mutable_queues());
  }
}

void change(v1::SavedMachine& machine, Board& board, fuzz::Input& input) {
  const auto what = input.number<std::uint8_t>();
  switch (what % 16) {
    case 0: return merge(machine, input);
    case 1:
      if (auto* vcpu = one_of(machine.mutable_vcpus(), input)) merge(*vcpu, input);
      return;
    case 2: return merge(*machine.mutable_interrupts(), input);
    case 3: return merge(*machine.mutable_serial(), input);
    case 4: return merge(*machine.mutable_rtc(), input);
    case 5: return merge(*machine.mutable_acpi(), input);
    case 6: return merge(*machine.mutable_keyboard(), input);
    case 7:
      return what < 128 ? drop_last(machine.mutable_vcpus()) : drop_last(machine.mutable_devices());
    case 8:
    case 9: {  // what the queues find there
      const Gpa at = kRings + input.number<std::uint16_t>() * 8u;
      (void)board.memory().write(at, input.take(input.number<std::uint8_t>()));
      return;
    }
    default:
      if (auto* device = one_of(machine.mutable_devices(), input))
        change_device(*device, what / 16, input);
  }
}

/// What a machine goes through that was restored: its devices run, and guest and host use them.
void use(Board& board) {
  REEVE_CHECK(board.peripherals().go().ok());
  std::byte number[4]{};
  for (const auto& plugged : board.peripherals().plugged()) {
    auto& config = plugged.transport->config();
    const Gpa bar = config.get<std::uint32_t>(pci::kBar0);
    for (std::uint32_t at = 0; at < 0x40; at += 4) board.mmio_read(bar + at, number);
    board.mmio_read(bar + 0x2000, number);
    for (std::uint16_t queue = 0; queue < 8; ++queue) {
      put_number(number, queue);
      board.mmio_write(bar + 0x3000 + queue * 4u, std::span(number).first(2));
    }
  }
  for (std::uint16_t port = 0x3f8; port < 0x400; ++port)
    board.port_read(port, std::span(number).first(1));
  for (const std::uint16_t port :
       std::initializer_list<std::uint16_t>{0x60, 0x64, 0x71, 0x600, 0x604, 0x608, 0xcfc})
    board.port_read(port, std::span(number).first(1));
  (void)board.type(std::as_bytes(std::span("typed", 5)));
  (void)board.peripherals().send_to_agent("{}");
  (void)board.peripherals().set_balloon(1 << 20);
  board.peripherals().ask_for_statistics();
  board.acpi().press_power_button();
  board.rtc().check_alarm();
  v1::MachineStatus status;
  board.peripherals().describe(status);
  board.peripherals().halt();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  auto machine = sound_machine();
  std::string again;
  {
    Fresh fresh;
    for (int i = 0; i < kMaxSteps && !input.empty(); ++i) change(machine, *fresh.board, input);
    const auto applied = apply_machine(machine.SerializeAsString(), machine.memory_pages(),
                                       *fresh.board, fresh.vcpus);
    if (!applied.ok()) {
      REEVE_CHECK(size != 0);  // the sound one is taken
      return 0;
    }
    use(*fresh.board);
    again = fresh.saved();
  }
  // What we saved we can load, whatever it was that we loaded before.
  REEVE_CHECK(machine.ParseFromString(again));
  Fresh other;
  const auto loaded = apply_machine(again, machine.memory_pages(), *other.board, other.vcpus);
  if (!loaded.ok()) std::fprintf(stderr, "refused: %s\n", loaded.error().message().c_str());
  REEVE_CHECK(loaded.ok());
  return 0;
}
