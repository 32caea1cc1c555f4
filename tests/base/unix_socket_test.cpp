#include "base/unix_socket.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace reeve {
namespace {

TEST_CASE("a connected socket carries bytes to the listener", "[base]") {
  test::TempDir dir;
  const auto listener = listen_unix(dir / "socket", 4).value();
  const auto client = connect_unix(dir / "socket", SocketWaits::Yes).value();
  const Fd accepted(::accept(listener.get(), nullptr, nullptr));
  REQUIRE(accepted);
  REQUIRE(::write(client.get(), "hello", 5) == 5);
  char bytes[8];
  CHECK(::read(accepted.get(), bytes, sizeof bytes) == 5);
}

TEST_CASE("sockets are close-on-exec, and wait only where asked to", "[base]") {
  test::TempDir dir;
  const auto listener = listen_unix(dir / "socket", 4).value();
  const auto waits = connect_unix(dir / "socket", SocketWaits::Yes).value();
  const auto not_waits = connect_unix(dir / "socket", SocketWaits::No).value();
  for (const auto* fd : {&listener, &waits, &not_waits})
    CHECK((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(waits.get(), F_GETFL) & O_NONBLOCK) == 0);
  CHECK((::fcntl(not_waits.get(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(listener.get(), F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE("a listener that accepts nobody does not hold who must not wait", "[base]") {
  test::TempDir dir;
  const auto listener = listen_unix(dir / "socket", 0).value();
  std::vector<Fd> waiting;
  auto last = connect_unix(dir / "socket", SocketWaits::No);
  for (int i = 0; i < 100 && last.ok(); ++i) {
    waiting.push_back(std::move(last).value());
    last = connect_unix(dir / "socket", SocketWaits::No);
  }
  REQUIRE_FALSE(last.ok());
  CHECK(last.error().reason() == "SOCKET_FULL");
}

TEST_CASE("a path that fits a socket's address to the last byte works, one more is refused",
          "[base]") {
  test::TempDir dir;
  const std::string start = (dir / "").string();
  const std::string longest = start + std::string(107 - start.size(), 's');
  const auto listener = listen_unix(longest, 4);
  REQUIRE(listener.ok());
  CHECK(connect_unix(longest, SocketWaits::Yes).ok());
  for (const auto& path : {longest + "s", std::string()}) {
    CHECK(connect_unix(path, SocketWaits::Yes).error().reason() == "SOCKET_PATH");
    CHECK(listen_unix(path, 4).error().reason() == "SOCKET_PATH");
  }
}

TEST_CASE("an absent socket, one nobody listens on and a taken path are told apart", "[base]") {
  test::TempDir dir;
  CHECK(connect_unix(dir / "absent", SocketWaits::Yes).error().reason() == "FILE_NOT_FOUND");
  { const auto gone = listen_unix(dir / "left", 4).value(); }
  CHECK(connect_unix(dir / "left", SocketWaits::Yes).error().reason() == "SYSTEM_CALL");
  const auto taken = listen_unix(dir / "left", 4);
  REQUIRE_FALSE(taken.ok());
  CHECK(taken.error().message().find("left") != std::string::npos);
}

}  // namespace
}  // namespace reeve
