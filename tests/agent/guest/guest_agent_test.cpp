// The client against agents that answer late, wrongly, twice or not at all.
#include "agent/guest/guest_agent.h"

#include <deque>

#include <catch2/catch.hpp>

#include "tests/agent/guest/hand_clock.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

/// An agent as scripted; time passes only while nothing comes.
class Agent final : public GuestAgentWire {
 public:
  explicit Agent(HandClock& time) : time_(time) {}

  Result<std::string> exchange(const GuestAgentLine& line) override {
    ++exchanges;
    if (!line.text.empty()) {
      asked.push_back(line.text);
      if (line.thaw_after.count() != 0) thaw_after = line.thaw_after;
      react(line.text);
    }
    if (!lines.empty()) {
      auto next = lines.front();
      lines.pop_front();
      return next;
    }
    time_.advance(line.timeout);
    return Error{Code::DeadlineExceeded, "GUEST_AGENT_SILENT", "nothing"};
  }

  bool was_asked(const std::string& text) const {
    for (const auto& line : asked)
      if (line.find(text) != std::string::npos) return true;
    return false;
  }

  std::deque<std::string> lines{};
  std::vector<std::string> asked{};
  std::chrono::milliseconds thaw_after{0};
  bool with_ids = true, deaf = false;
  int lost_thaws = 0;
  std::string freeze_answer{"{\"return\":1}"};
  int exchanges = 0;

 private:
  static std::string id_of(const std::string& request) {
    const auto at = request.rfind("\"id\":") + 5;
    return request.substr(at, request.size() - at - 1);
  }
  void answer(const std::string& request, const std::string& value) {
    lines.push_back("{\"return\":" + value + (with_ids ? ",\"id\":" + id_of(request) : "") + "}");
  }
  void react(const std::string& request) {
    const auto is = [&](const char* name) { return request.find(name) != std::string::npos; };
    if (deaf || is("guest-shutdown")) return;
    if (is("guest-sync")) return answer(request, id_of(request));
    if (is("fsfreeze-freeze")) {
      if (!freeze_answer.empty()) lines.push_back(freeze_answer);
      return;
    }
    if (is("fsfreeze-thaw") && lost_thaws-- > 0) return;
    answer(request, is("fsfreeze-thaw") ? "1" : "{}");
  }
  HandClock& time_;
};

struct World {
  HandClock time{};
  Agent agent{time};
  GuestAgent client{agent, time};
};

std::string reason_of(const Status& status) {
  return status.ok() ? "" : std::string(status.error().reason());
}

}  // namespace

TEST_CASE("a heartbeat is preceded by guest-sync once", "[guest-agent]") {
  World w;
  CHECK(w.client.ping().ok());
  CHECK(w.client.ping().ok());
  REQUIRE(w.agent.asked.size() == 3);
  CHECK(w.agent.asked[0].find("guest-sync") != std::string::npos);
  CHECK(w.agent.asked[1].find("guest-ping") != std::string::npos);
}

TEST_CASE("answers to older calls and old sync ids are passed over", "[guest-agent]") {
  World w;
  w.agent.with_ids = GENERATE(true, false);
  w.agent.lines = {R"({"return":999})", R"({"return":{}})", "garbage", R"({"error":{}})"};
  CHECK(w.client.ping().ok());
  CHECK(w.agent.lines.empty());
}

TEST_CASE("a late answer with another id is not taken for ours", "[guest-agent]") {
  World w;
  REQUIRE(w.client.ping().ok());
  w.agent.lines = {R"({"return":{"version":"stale"},"id":1})"};
  CHECK(w.client.version().value().empty());
}

TEST_CASE("a silent agent is reported within the timeout, and synced with again", "[guest-agent]") {
  World w;
  REQUIRE(w.client.ping().ok());
  w.agent.deaf = true;
  w.client.set_timeout(3s);
  const auto begin = w.time.monotonic();
  CHECK(reason_of(w.client.ping()) == "GUEST_AGENT_SILENT");
  CHECK(w.time.monotonic() - begin == 3s);
  w.agent.deaf = false;
  w.agent.asked.clear();
  CHECK(w.client.ping().ok());
  CHECK(w.agent.asked[0].find("guest-sync") != std::string::npos);
}

TEST_CASE("a guest that says only nonsense for ever does not hold us", "[guest-agent]") {
  World w;
  w.agent.deaf = true;
  for (int i = 0; i < 500; ++i) w.agent.lines.push_back("nonsense");
  CHECK(reason_of(w.client.ping()) == "GUEST_AGENT_SILENT");
  CHECK(w.agent.exchanges < 100);
}

TEST_CASE("a shutdown that is not answered was asked for, and a refusal is told", "[guest-agent]") {
  World w;
  CHECK(w.client.shutdown(GuestAgent::Shutdown::Reboot).ok());
  CHECK(w.agent.was_asked(R"("mode":"reboot")"));
  REQUIRE(w.client.ping().ok());
  w.agent.lines.push_back(R"({"error":{"class":"GenericError","desc":"no"}})");
  CHECK(reason_of(w.client.shutdown(GuestAgent::Shutdown::PowerOff)) == "GUEST_AGENT_REFUSED");
}

TEST_CASE("the time is told in nanoseconds", "[guest-agent]") {
  World w;
  CHECK(w.client.set_time(from_micros(1'700'000'000'000'000)).ok());
  CHECK(w.agent.was_asked(R"("time":1700000000000000000)"));
  w.agent.lines = {R"({"return":1700000000000000000,"id":3})"};
  w.agent.deaf = true;
  CHECK(to_micros(w.client.time().value()) == 1'700'000'000'000'000);
}

TEST_CASE("file systems are thawed after the work, and the wire would have done it",
          "[guest-agent]") {
  World w;
  bool frozen_meanwhile = false;
  CHECK(w.client
            .while_frozen(10s,
                          [&]() -> Status {
                            frozen_meanwhile = w.agent.was_asked("fsfreeze-freeze") &&
                                               !w.agent.was_asked("fsfreeze-thaw");
                            return {};
                          })
            .ok());
  CHECK(frozen_meanwhile);
  CHECK(w.agent.was_asked("fsfreeze-thaw"));
  CHECK(w.agent.thaw_after == 10s);
}

TEST_CASE("work that fails or takes too long is thawed after, and told", "[guest-agent]") {
  World w;
  CHECK(reason_of(w.client.while_frozen(10s, []() -> Status {
          return Error{Code::Internal, "COPY_FAILED", "disk full"};
        })) == "COPY_FAILED");
  CHECK(w.agent.was_asked("fsfreeze-thaw"));
  CHECK(reason_of(w.client.while_frozen(10s, [&]() -> Status {
          w.time.advance(11s);
          return {};
        })) == "FREEZE_EXPIRED");
}

TEST_CASE("a freeze whose answer is lost or a refusal is thawed, and nothing is copied",
          "[guest-agent]") {
  World w;
  w.agent.freeze_answer = GENERATE("", "garbage", R"({"error":{"class":"GenericError"}})");
  bool worked = false;
  CHECK_FALSE(w.client
                  .while_frozen(10s,
                                [&]() -> Status {
                                  worked = true;
                                  return {};
                                })
                  .ok());
  CHECK_FALSE(worked);
  CHECK(w.agent.was_asked("fsfreeze-thaw"));
}

TEST_CASE("a thaw is repeated, and one that is never confirmed is told", "[guest-agent]") {
  World w;
  w.agent.lost_thaws = 2;
  CHECK(w.client.while_frozen(60s, [] { return Status{}; }).ok());
  w.agent.lost_thaws = 100;
  CHECK(reason_of(w.client.while_frozen(60s, [] { return Status{}; })) == "GUEST_STILL_FROZEN");
}

}  // namespace reeve::agent
