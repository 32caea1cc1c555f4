// hypervisor_core/net/passt_backend.h - frames through the stream socket of a passt process.
// The framing is QEMU's: a length of four bytes, big-endian, then the frame without any header.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "hypervisor_core/net/backend.h"

namespace reeve::core {

class PasstBackend final : public NetBackend {
 public:
  /// Connects to passt's UNIX socket. Unavailable/PASST_NOT_THERE.
  static Result<std::unique_ptr<PasstBackend>> connect(const std::filesystem::path& socket);
  /// Takes a connected stream socket.
  static Result<std::unique_ptr<PasstBackend>> adopt(Fd socket);

  std::string_view kind() const override { return "passt"; }
  NetOutcome send(std::uint16_t pair, std::span<const iovec> frame) override;
  void flush(std::uint16_t /*pair*/) override { (void)send_rest(); }
  NetOutcome receive(std::uint16_t pair, std::span<const iovec> room, std::size_t& bytes) override;
  int fd(std::uint16_t /*pair*/) const override { return socket_.get(); }

 private:
  explicit PasstBackend(Fd socket) : socket_(std::move(socket)) {}
  bool send_rest();
  bool fill();

  Fd socket_;
  bool lost_ = false;
  std::vector<std::byte> rest_;      ///< of a frame that the socket took only in part
  std::vector<std::byte> received_;  ///< bytes [from_, to_) are not yet delivered
  std::size_t from_ = 0, to_ = 0;
};

}  // namespace reeve::core
