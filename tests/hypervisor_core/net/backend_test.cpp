// Frames through the loopback and through passt's framing, also when the far end lies or goes away.
#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "hypervisor_core/net/gather.h"
#include "hypervisor_core/net/loopback_backend.h"
#include "hypervisor_core/net/passt_backend.h"
#include "hypervisor_core/net/tap_backend.h"

using namespace reeve;
using namespace reeve::core;

namespace {

const std::string kHeader(kNetHeaderBytes, '\0');

NetOutcome send(NetBackend& backend, std::string frame) {
  std::string bytes = kHeader + frame;
  const std::size_t cut = std::min<std::size_t>(bytes.size(), 14);  // split somewhere odd
  const iovec ranges[] = {{bytes.data(), cut}, {bytes.data() + cut, bytes.size() - cut}};
  return backend.send(0, ranges);
}

struct Received {
  NetOutcome outcome = NetOutcome::Done;
  std::string frame{};
};
Received receive(NetBackend& backend, std::size_t room = 2048) {
  std::string bytes(room, '?');
  const iovec ranges[] = {{bytes.data(), 5}, {bytes.data() + 5, room - 5}};
  std::size_t length = 0;
  Received result{backend.receive(0, ranges, length)};
  if (result.outcome == NetOutcome::Done) {
    CHECK(bytes.substr(0, kNetHeaderBytes) == kHeader);
    result.frame = bytes.substr(kNetHeaderBytes, length - kNetHeaderBytes);
  }
  return result;
}

struct Passt {
  Fd far{};
  std::unique_ptr<PasstBackend> near{};
  Passt() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    far = Fd(ends[0]);
    near = PasstBackend::adopt(Fd(ends[1])).value();
  }
  void say(const std::string& bytes) {
    REQUIRE(write_all(far.get(), std::as_bytes(std::span(bytes))).ok());
  }
  static std::string framed(const std::string& frame) {
    std::string out(4, '\0');
    store_be(std::as_writable_bytes(std::span(out)), static_cast<std::uint32_t>(frame.size()));
    return out + frame;
  }
};

}  // namespace

TEST_CASE("loopback carries frames both ways and notices the end", "[net]") {
  auto ends = LoopbackBackend::create().value();
  CHECK(receive(*ends.first).outcome == NetOutcome::WouldBlock);
  CHECK(send(*ends.first, "hello frame") == NetOutcome::Done);
  CHECK(receive(*ends.second).frame == "hello frame");
  CHECK(send(*ends.second, std::string(3000, 'x')) == NetOutcome::Done);
  CHECK(receive(*ends.first).outcome == NetOutcome::Dropped);
  ends.second.reset();
  CHECK(receive(*ends.first).outcome == NetOutcome::Lost);
  CHECK(send(*ends.first, "x") == NetOutcome::Lost);
}

TEST_CASE("passt's framing is put on and taken off", "[net]") {
  Passt passt;
  CHECK(send(*passt.near, "to the world") == NetOutcome::Done);
  std::string out(16, '\0');
  REQUIRE(::read(passt.far.get(), out.data(), 16) == 16);
  CHECK(out == Passt::framed("to the world"));
  passt.say(Passt::framed("first") + Passt::framed("second") + Passt::framed("third").substr(0, 6));
  CHECK(receive(*passt.near).frame == "first");
  CHECK(receive(*passt.near).frame == "second");
  CHECK(receive(*passt.near).outcome == NetOutcome::WouldBlock);
  passt.say(Passt::framed("third").substr(6));
  CHECK(receive(*passt.near).frame == "third");
}

TEST_CASE("a full socket holds frames back and loses none", "[net]") {
  Passt passt;
  int sent = 0;
  while (send(*passt.near, std::string(1500, static_cast<char>('a' + sent % 26))) ==
         NetOutcome::Done)
    ++sent;
  REQUIRE(sent > 3);
  std::string all;
  char buffer[65536];
  for (int i = 0; i < 2000 && all.size() < static_cast<std::size_t>(sent) * 1504; ++i) {
    const ssize_t n = ::recv(passt.far.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) all.append(buffer, static_cast<std::size_t>(n));
    passt.near->flush(0);
  }
  for (int i = 0; i < sent; ++i)
    REQUIRE((all.substr(static_cast<std::size_t>(i) * 1504, 1504) ==
             Passt::framed(std::string(1500, static_cast<char>('a' + i % 26)))));
}

TEST_CASE("a passt that lies about lengths or ends is lost, not trusted", "[net]") {
  Passt passt;
  SECTION("no length") {
    passt.say(std::string(4, '\0'));
  }
  SECTION("a length of 4 GiB") {
    passt.say(std::string(4, '\xff'));
  }
  SECTION("one byte too many") {
    std::string length(4, '\0');
    store_be(std::as_writable_bytes(std::span(length)), std::uint32_t{kMaxFrameBytes + 1});
    passt.say(length);
  }
  SECTION("gone") {
    passt.far.reset();
  }
  CHECK(receive(*passt.near).outcome == NetOutcome::Lost);
  CHECK(receive(*passt.near).outcome == NetOutcome::Lost);
  CHECK(send(*passt.near, "x") == NetOutcome::Lost);
}

TEST_CASE("frames of impossible length are dropped on the way out", "[net]") {
  Passt passt;
  CHECK(send(*passt.near, "") == NetOutcome::Dropped);
  CHECK(send(*passt.near, std::string(kMaxFrameBytes + 1, 'x')) == NetOutcome::Dropped);
}

TEST_CASE("tap devices with impossible names or pairs are refused", "[net]") {
  CHECK(TapBackend::open("", 1).error().reason() == "TAP_NAME");
  CHECK(TapBackend::open("a/b", 1).error().reason() == "TAP_NAME");
  CHECK(TapBackend::open("tap%d", 1).error().reason() == "TAP_NAME");
  CHECK(TapBackend::open("sixteen-letters-", 1).error().reason() == "TAP_NAME");
  CHECK(TapBackend::open("tap", 0).error().reason() == "NIC_PAIRS");
  CHECK(TapBackend::open("tap", 9).error().reason() == "NIC_PAIRS");
  CHECK(PasstBackend::connect("/nonexistent/socket").error().reason() == "PASST_NOT_THERE");
}
