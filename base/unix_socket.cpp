#include "base/unix_socket.h"

#include <cerrno>

#include <sys/socket.h>
#include <sys/un.h>

namespace reeve {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  constexpr std::size_t kLongest = sizeof address.sun_path - 1;
  if (path.empty() || path.size() > kLongest)
    return Error{Code::InvalidArgument, "SOCKET_PATH",
                 "the path '" + path + "' of a socket has " + std::to_string(path.size()) +
                     " bytes, allowed are 1 to " + std::to_string(kLongest)};
  path.copy(address.sun_path, kLongest);
  return address;
}

Result<Fd> make_socket(int flags) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!socket) return errno_error("making a socket");
  return socket;
}

}  // namespace

Result<Fd> connect_unix(const std::filesystem::path& path, SocketWaits waits) {
  const auto address = TRY(address_of(path.native()));
  Fd socket = TRY(make_socket(waits == SocketWaits::No ? SOCK_NONBLOCK : 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  if (errno == EAGAIN)
    return Error{Code::Unavailable, "SOCKET_FULL",
                 "connecting to '" + path.native() + "': its listener takes nobody in"};
  return errno_error("connecting to '" + path.native() + "'");
}

Result<Fd> listen_unix(const std::filesystem::path& path, int backlog) {
  const auto address = TRY(address_of(path.native()));
  Fd socket = TRY(make_socket(SOCK_NONBLOCK));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("binding '" + path.native() + "'");
  if (::listen(socket.get(), backlog) != 0)
    return errno_error("listening on '" + path.native() + "'");
  return socket;
}

}  // namespace reeve
