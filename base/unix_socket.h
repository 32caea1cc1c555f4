// base/unix_socket.h - UNIX stream sockets by path. Descriptors are close-on-exec.
//
// Errors: InvalidArgument/SOCKET_PATH for an empty path or one that does not fit into a socket's
// address (unix(7): 107 bytes), Unavailable/SOCKET_FULL, otherwise errno_error()'s (base/fd.h).
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/fd.h"
#include "base/status.h"

namespace reeve {

enum class SocketWaits : std::uint8_t { Yes, No };  ///< No: O_NONBLOCK

/// Connects to the listener at `path`. With SocketWaits::No a listener whose backlog is full is
/// SOCKET_FULL instead of a wait without end.
Result<Fd> connect_unix(const std::filesystem::path& path, SocketWaits waits);

/// Binds `path`, which must not exist, and listens; the listener does not wait. The file's mode is
/// 0777 less the umask.
Result<Fd> listen_unix(const std::filesystem::path& path, int backlog);

}  // namespace reeve
