#include "server/link/upload_hub.h"

#include <catch2/catch.hpp>

#include "base/sim_loop.h"

namespace reeve::server {
namespace {

struct UploadFixture {
  SimWorld world{1};
  SimLoop loop{world};
  UploadHub hub{loop};
};

TEST_CASE_METHOD(UploadFixture, "client and agent of an upload meet, whoever comes first",
                 "[link]") {
  const auto client = hub.send("t1", "host-1").value();
  CHECK(hub.receive("t1", "host-1").value() == client);
  const auto agent = hub.receive("t2", "host-1").value();
  CHECK(hub.send("t2", "host-1").value() == agent);
}

TEST_CASE_METHOD(UploadFixture, "an upload ticket serves one client, one agent, one host",
                 "[link]") {
  const auto upload = hub.send("t", "host-1").value();
  CHECK(hub.send("t", "host-1").error().reason() == "UPLOAD_TWICE");
  CHECK(hub.receive("t", "host-2").error().reason() == "TICKET_UNKNOWN");
  REQUIRE(hub.receive("t", "host-1").ok());
  CHECK(hub.receive("t", "host-1").error().reason() == "TICKET_UNKNOWN");

  const auto thief = hub.receive("t3", "host-2").value();
  const auto rightful = hub.send("t3", "host-1").value();
  CHECK(rightful != thief);
  CHECK(thief->data.end()->error().reason() == "TICKET_UNKNOWN");
}

TEST_CASE_METHOD(UploadFixture, "neither end of an upload waits for ever", "[link]") {
  const auto lonely_client = hub.send("t1", "host-1").value();
  world.run_for(std::chrono::seconds(61));
  CHECK(lonely_client->data.abandoned()->reason() == "HOST_UNREACHABLE");
  const auto lonely_agent = hub.receive("t2", "host-1").value();
  world.run_for(std::chrono::minutes(11));
  CHECK(lonely_agent->data.end()->error().reason() == "UPLOAD_INTERRUPTED");
}

TEST_CASE_METHOD(UploadFixture, "a client that gave up before the agent came can try again",
                 "[link]") {
  const auto first = hub.send("t", "host-1").value();
  hub.client_left(first);
  const auto second = hub.send("t", "host-1").value();
  CHECK(second != first);
  CHECK(hub.receive("t", "host-1").value() == second);
}

TEST_CASE_METHOD(UploadFixture, "a host cannot pile up uploads that nobody sends", "[link]") {
  for (int i = 0; i < 16; ++i) REQUIRE(hub.receive("t" + std::to_string(i), "host-1").ok());
  CHECK(hub.receive("t16", "host-1").error().reason() == "TOO_MANY_UPLOADS");
  CHECK(hub.receive("t16", "host-2").ok());
}

}  // namespace
}  // namespace reeve::server
