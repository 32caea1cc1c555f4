#include "hypervisor_core/virtio/devices/vsock_connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

namespace reeve::core::virtio {

VsockConnection::VsockConnection(Ports ports, Origin origin, Fd socket)
    : ports_(ports),
      state_(origin == Origin::Guest ? State::Open : State::Connecting),
      socket_(std::move(socket)),
      response_due_(origin == Origin::Guest),
      request_due_(origin == Origin::Host) {}

bool VsockConnection::wants_input() const {
  return state_ == State::Open && !host_ended_ && !guest_takes_none_ && !input_waits_;
}

void VsockConnection::take_credit(const VsockHeader& header) {
  guest_buffer_ = header.buffer_size;
  guest_forwarded_ = header.forwarded_bytes;
}

/// What the guest can still take. It may claim anything; only its own data is at stake.
std::uint32_t VsockConnection::guest_room() const {
  const std::uint32_t on_the_way = sent_ - guest_forwarded_;
  return on_the_way < guest_buffer_ ? guest_buffer_ - on_the_way : 0;
}

void VsockConnection::fail() {
  if (state_ == State::Dead) return;
  state_ = State::Dead;
  reset_due_ = true;
  socket_.reset();
  to_host_.clear();
}

void VsockConnection::push_to_host() {
  while (!to_host_.empty()) {
    const ssize_t n = ::send(socket_.get(), to_host_.data(), to_host_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return fail();
    to_host_.erase(to_host_.begin(), to_host_.begin() + n);
    forwarded_ += static_cast<std::uint32_t>(n);
  }
  if (forwarded_ - told_forwarded_ >= kBuffer / 2) credit_due_ = true;
  if (guest_ended_) ::shutdown(socket_.get(), SHUT_WR);
}

void VsockConnection::take_data(std::span<const std::byte> data) {
  if (guest_ended_ || data.size() > kBuffer - to_host_.size()) return fail();  // beyond its credit
  to_host_.insert(to_host_.end(), data.begin(), data.end());
  push_to_host();
}

void VsockConnection::receive(const VsockHeader& header, std::span<const std::byte> data) {
  if (state_ == State::Dead) return;
  take_credit(header);
  switch (header.operation) {
    case kVsockResponse:
      if (state_ != State::Connecting || request_due_) return fail();
      state_ = State::Open;
      return;
    case kVsockData: return state_ == State::Open ? take_data(data) : fail();
    case kVsockShutdown:
      if ((header.flags & kVsockNoMoreReceive) != 0) guest_takes_none_ = true;
      if ((header.flags & kVsockNoMoreSend) != 0) {
        guest_ended_ = true;
        if (to_host_.empty()) ::shutdown(socket_.get(), SHUT_WR);
      }
      if (guest_ended_ && guest_takes_none_) fail();  // a clean end is answered with a reset
      return;
    case kVsockReset:
      fail();
      reset_due_ = false;
      return;
    case kVsockCreditRequest: credit_due_ = true; return;
    case kVsockCreditUpdate: return;
    default: return fail();
  }
}

void VsockConnection::host_ready() {
  if (state_ == State::Dead) return;
  if (!to_host_.empty()) push_to_host();
  if (state_ == State::Open) input_waits_ = true;
}

bool VsockConnection::next_packet(VsockHeader& header, std::span<std::byte> room) {
  const auto fill = [&](std::uint16_t operation, std::uint32_t flags = 0,
                        std::uint32_t length = 0) {
    header.operation = operation;
    header.flags = flags;
    header.length = length;
    header.buffer_size = kBuffer;
    header.forwarded_bytes = told_forwarded_ = forwarded_;
    return true;
  };
  if (std::exchange(reset_due_, false)) return fill(kVsockReset);
  if (std::exchange(response_due_, false)) return fill(kVsockResponse);
  if (std::exchange(request_due_, false)) return fill(kVsockRequest);
  if (std::exchange(credit_due_, false)) return fill(kVsockCreditUpdate);
  if (state_ != State::Open) return false;
  const std::size_t limit = std::min<std::size_t>(room.size(), guest_room());
  if (!input_waits_ || limit == 0) return false;
  ssize_t n = 0;
  do n = ::recv(socket_.get(), room.data(), limit, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    sent_ += static_cast<std::uint32_t>(n);
    return fill(kVsockData, 0, static_cast<std::uint32_t>(n));
  }
  input_waits_ = false;
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) {
    fail();
    reset_due_ = false;
    return fill(kVsockReset);
  }
  host_ended_ = true;
  return fill(kVsockShutdown, kVsockNoMoreSend);
}

}  // namespace reeve::core::virtio
