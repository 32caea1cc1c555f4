#include "hypervisor_core/chipset/i8042.h"

#include "reeve/core/v1/chipset_state.pb.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kData = 0, kCommand = 4;
constexpr std::uint8_t kReadCommandByte = 0x20, kWriteCommandByte = 0x60, kTestController = 0xaa,
                       kTestPort1 = 0xab, kTestPort2 = 0xa9, kReadOutputPort = 0xd0,
                       kWriteOutputPort = 0xd1, kPulseReset = 0xfe;
constexpr std::uint8_t kOutputFull = 1, kSystemFlag = 4, kKeylockOpen = 0x10;

}  // namespace

void I8042::read(std::uint64_t offset, std::span<std::byte> out) {
  if (out.size() != 1 || (offset != kData && offset != kCommand)) return fill_ones(out);
  Lock lock(mutex_);
  if (offset == kCommand) {
    out[0] = static_cast<std::byte>(kSystemFlag | kKeylockOpen | (has_output_ ? kOutputFull : 0));
    return;
  }
  out[0] = static_cast<std::byte>(output_);
  has_output_ = false;
}

void I8042::write(std::uint64_t offset, std::span<const std::byte> value) {
  if (value.size() != 1) return;
  const auto byte = std::to_integer<std::uint8_t>(value[0]);
  bool reset_wanted = false;
  {
    Lock lock(mutex_);
    if (offset == kCommand) {
      reset_wanted = byte == kPulseReset;
      command(byte);
    } else if (offset == kData) {
      if (pending_command_ == kWriteCommandByte) command_byte_ = byte;
      if (pending_command_ == kWriteOutputPort) {
        reset_wanted = (byte & 1) == 0;
        output_port_ = byte | 1;
      }
      pending_command_ = 0;
    }
  }
  if (reset_wanted) events_.raise(MachineEvent::Reset, 0);
}

void I8042::command(std::uint8_t value) {
  pending_command_ = 0;
  switch (value) {
    case kReadCommandByte: return answer(command_byte_);
    case kWriteCommandByte:
    case kWriteOutputPort: pending_command_ = value; return;
    case kTestController: return answer(0x55);
    case kTestPort1:
    case kTestPort2: return answer(1);  // clock line stuck: nothing is plugged in
    case kReadOutputPort: return answer(output_port_);
    default: return;
  }
}

void I8042::reset() {
  Lock lock(mutex_);
  pending_command_ = 0;
  command_byte_ = 0x30;
  output_port_ = 3;
  has_output_ = false;
}

void I8042::save(v1::KeyboardControllerState& state) const {
  Lock lock(mutex_);
  state.set_version(1);
  state.set_pending_command(pending_command_);
  state.set_command_byte(command_byte_);
  state.set_output_port(output_port_);
  if (has_output_) state.set_output(&output_, 1);
}

Status I8042::load(const v1::KeyboardControllerState& state) {
  if (state.version() != 1 || state.output().size() > 1)
    return Error{Code::InvalidArgument, "DEVICE_STATE",
                 "keyboard controller state is not version 1"};
  Lock lock(mutex_);
  pending_command_ = static_cast<std::uint8_t>(state.pending_command());
  command_byte_ = static_cast<std::uint8_t>(state.command_byte());
  output_port_ = static_cast<std::uint8_t>(state.output_port());
  has_output_ = !state.output().empty();
  output_ = has_output_ ? static_cast<std::uint8_t>(state.output()[0]) : 0;
  return {};
}

}  // namespace reeve::core
