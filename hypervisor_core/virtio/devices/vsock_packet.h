// hypervisor_core/virtio/devices/vsock_packet.h - headers of virtio socket packets (virtio 1.2,
// section 5.10).
#pragma once

#include <cstdint>

namespace reeve::core::virtio {

struct __attribute__((packed)) VsockHeader {
  std::uint64_t from_cid = 0;
  std::uint64_t to_cid = 0;
  std::uint32_t from_port = 0;
  std::uint32_t to_port = 0;
  std::uint32_t length = 0;
  std::uint16_t type = 1;  ///< stream
  std::uint16_t operation = 0;
  std::uint32_t flags = 0;
  std::uint32_t buffer_size = 0;      ///< receive buffer of the sender
  std::uint32_t forwarded_bytes = 0;  ///< bytes the sender has taken out of it, ever
};
static_assert(sizeof(VsockHeader) == 44);

enum VsockOperation : std::uint16_t {
  kVsockRequest = 1,
  kVsockResponse = 2,
  kVsockReset = 3,
  kVsockShutdown = 4,
  kVsockData = 5,
  kVsockCreditUpdate = 6,
  kVsockCreditRequest = 7,
};
inline constexpr std::uint32_t kVsockNoMoreReceive = 1;
inline constexpr std::uint32_t kVsockNoMoreSend = 2;
inline constexpr std::uint64_t kVsockHostCid = 2;

}  // namespace reeve::core::virtio
