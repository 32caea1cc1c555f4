#include "server/link/console_hub.h"

#include <catch2/catch.hpp>

#include "base/sim_loop.h"

namespace reeve::server {
namespace {

/// Remembers what it was asked to send; answers as told.
struct FakePool final : AgentPool {
  explicit FakePool(Loop& on) : loop(on) {}
  SessionId open(std::string, std::shared_ptr<AgentChannel>) override { return 1; }
  void receive(SessionId, agent::v1::ConnectRequest) override {}
  void closed(SessionId) override {}
  void disconnect(const std::string&, const std::string&, const std::string&) override {}
  void send(const std::string&, agent::v1::ConnectResponse message,
            std::function<void(Status)> sent) override {
    messages.push_back(std::move(message));
    loop.post([sent, status = answer] { sent(status); });
  }
  Loop& loop;
  Status answer{};
  std::vector<agent::v1::ConnectResponse> messages;
};

struct HubFixture {
  SimWorld world{1};
  SimLoop loop{world};
  SeededRandom random{1};
  FakePool pool{loop};
  ConsoleHub hub{pool, random, loop};
  ConsoleHub::Place place{.vm_uid = "vm-1", .host_uid = "host-1", .from_offset = 7};
};

TEST_CASE_METHOD(HubFixture, "attaching sends a ticket that only its host can redeem, once",
                 "[link]") {
  const auto session = hub.attach(place, ConsoleMode::Read).value();
  REQUIRE(pool.messages.size() == 1);
  const auto open = pool.messages.front().open_console();
  CHECK(open.guest() == "vm-1");
  CHECK(open.from_offset() == 7);
  CHECK(hub.redeem(open.ticket(), "host-2").error().reason() == "TICKET_UNKNOWN");
  CHECK(hub.redeem("other", "host-1").error().reason() == "TICKET_UNKNOWN");
  CHECK(hub.redeem(open.ticket(), "host-1").value() == session);
  CHECK(hub.redeem(open.ticket(), "host-1").error().reason() == "TICKET_UNKNOWN");
  world.run_for(std::chrono::minutes(1));
  CHECK_FALSE(session->output.end().has_value());  // the time-out was for the relay only
}

TEST_CASE_METHOD(HubFixture, "a host that is away or says nothing ends the session", "[link]") {
  pool.answer = Error{Code::Unavailable, "HOST_UNREACHABLE", "not connected"};
  const auto away = hub.attach(place, ConsoleMode::Read).value();
  world.run_for(std::chrono::milliseconds(1));
  REQUIRE(away->output.end().has_value());
  CHECK(away->output.end()->error().reason() == "HOST_UNREACHABLE");

  pool.answer = {};
  const auto silent = hub.attach(place, ConsoleMode::Read).value();
  world.run_for(std::chrono::seconds(14));
  CHECK_FALSE(silent->output.end().has_value());
  world.run_for(std::chrono::seconds(2));
  REQUIRE(silent->output.end().has_value());
  CHECK(silent->output.end()->error().reason() == "HOST_UNREACHABLE");
  CHECK(hub.redeem(silent->ticket, "host-1").error().reason() == "TICKET_UNKNOWN");
}

TEST_CASE_METHOD(HubFixture, "one client writes; another takes over only when it says so",
                 "[link]") {
  const auto first = hub.attach(place, ConsoleMode::Write).value();
  CHECK(first->writable);
  CHECK_FALSE(hub.attach(place, ConsoleMode::Read).value()->writable);
  CHECK(hub.attach(place, ConsoleMode::Write).error().reason() == "CONSOLE_WRITER_TAKEN");
  auto elsewhere = place;
  elsewhere.vm_uid = "vm-2";
  const auto other = hub.attach(elsewhere, ConsoleMode::Write).value();
  CHECK(other->writable);

  const auto second = hub.attach(place, ConsoleMode::TakeOver).value();
  CHECK(second->writable);
  CHECK_FALSE(first->writable);
  REQUIRE(first->output.pop().has_value());      // tells its client
  CHECK_FALSE(first->output.end().has_value());  // who stays as a reader

  hub.detach(first);  // no longer the writer: changes nothing
  CHECK(hub.attach(place, ConsoleMode::Write).error().reason() == "CONSOLE_WRITER_TAKEN");
  hub.detach(second);
  CHECK(hub.attach(place, ConsoleMode::Write).value()->writable);
}

TEST_CASE_METHOD(HubFixture, "a client that detaches ends its relay and spends its ticket",
                 "[link]") {
  const auto session = hub.attach(place, ConsoleMode::Write).value();
  hub.detach(session);
  CHECK(session->input.end().has_value());
  CHECK(session->output.abandoned().has_value());
  CHECK(hub.redeem(session->ticket, "host-1").error().reason() == "TICKET_UNKNOWN");
}

}  // namespace
}  // namespace reeve::server
