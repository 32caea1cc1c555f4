#include "agent/guest/guest_agent.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

/// A guest that answers with anything but the answer is heard out this many times per call.
constexpr int kMostStrays = 32;
constexpr int kThawAttempts = 3;
/// What obeys does not answer; what refuses does so at once.
constexpr auto kShutdownWait = 1500ms;

Error silent(std::string_view what) {
  return Error{Code::DeadlineExceeded, "GUEST_AGENT_SILENT",
               "the guest agent gave no answer to " + std::string(what)};
}

bool is_silence(const Error& error) {
  return error.code() == Code::DeadlineExceeded && error.reason() == "GUEST_AGENT_SILENT";
}

std::string request(std::string_view command, std::string_view arguments, std::int64_t id) {
  std::string line = "{\"execute\":\"" + std::string(command) + "\"";
  if (!arguments.empty()) line += ",\"arguments\":{" + std::string(arguments) + "}";
  return line + ",\"id\":" + std::to_string(id) + "}";
}

}  // namespace

Result<std::string> GuestAgent::await(GuestAgentLine line, std::int64_t id) {
  const auto deadline = clock_.monotonic() + line.timeout;
  for (int strays = 0; strays < kMostStrays; ++strays) {
    auto answer = TRY(wire_.exchange(line));
    if (answers(answer, id)) return answer;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock_.monotonic());
    if (left <= 0ms) break;
    line = {.timeout = left};  // something older: the next line may be ours
  }
  return silent("a request, only other lines");
}

/// After this the next line is the answer to the next request, even from agents that do not repeat
/// ids.
Status GuestAgent::sync() {
  const std::int64_t id = next_id_++;
  const auto deadline = clock_.monotonic() + timeout_;
  GuestAgentLine line{.text = request("guest-sync", "\"id\":" + std::to_string(id), id),
                      .timeout = timeout_};
  for (int strays = 0; strays < kMostStrays; ++strays) {
    const auto answer = TRY(wire_.exchange(line));
    const auto number = parse_number(answer);
    if (number.ok() && number.value() == id) {
      in_step_ = true;
      return {};
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock_.monotonic());
    if (left <= 0ms) break;
    line = {.timeout = left};
  }
  return silent("guest-sync");
}

Result<std::string> GuestAgent::call(std::string_view command, std::string_view arguments,
                                     std::chrono::milliseconds thaw_after) {
  if (!in_step_) TRY(sync());
  const std::int64_t id = next_id_++;
  in_step_ = false;
  auto answer = TRY(await(
      {.text = request(command, arguments, id), .timeout = timeout_, .thaw_after = thaw_after},
      id));
  in_step_ = true;
  return answer;
}

Status GuestAgent::ping() {
  const auto answer = TRY(call("guest-ping"));
  return parse_done(answer);
}

Result<std::string> GuestAgent::version() {
  const auto answer = TRY(call("guest-info"));
  return parse_version(answer);
}

Status GuestAgent::shutdown(Shutdown how) {
  if (!in_step_) TRY(sync());
  const std::int64_t id = next_id_++;
  in_step_ = false;
  const auto answer =
      await({.text = request(
                 "guest-shutdown",
                 how == Shutdown::Reboot ? "\"mode\":\"reboot\"" : "\"mode\":\"powerdown\"", id),
             .timeout = std::min<std::chrono::milliseconds>(timeout_, kShutdownWait)},
            id);
  if (answer.ok()) return parse_done(answer.value());
  if (is_silence(answer.error()) || answer.error().reason() == "VMM_GONE") return {};
  return answer.error();
}

Status GuestAgent::set_time(WallTime now) {
  const auto nanoseconds = std::chrono::nanoseconds(now.time_since_epoch()).count();
  const auto answer = TRY(call("guest-set-time", "\"time\":" + std::to_string(nanoseconds)));
  return parse_done(answer);
}

Result<WallTime> GuestAgent::time() {
  const auto answer = TRY(call("guest-get-time"));
  return from_micros(TRY(parse_number(answer)) / 1000);
}

Result<std::vector<GuestNicFacts>> GuestAgent::nics() {
  const auto answer = TRY(call("guest-network-get-interfaces"));
  return parse_nics(answer);
}

Result<GuestFacts> GuestAgent::facts() {
  GuestFacts facts;
  const auto system = TRY(call("guest-get-osinfo"));
  if (auto told = parse_os(system); told.ok()) facts = std::move(told).value();
  const auto host = TRY(call("guest-get-host-name"));
  if (auto name = parse_host_name(host); name.ok()) facts.host_name = std::move(name).value();
  const auto cards = TRY(call("guest-network-get-interfaces"));
  if (auto nics = parse_nics(cards); nics.ok()) facts.nics = std::move(nics).value();
  return facts;
}

Status GuestAgent::thaw() {
  std::optional<Error> last;
  for (int attempt = 0; attempt < kThawAttempts; ++attempt) {
    auto answer = call("guest-fsfreeze-thaw");
    auto outcome = answer.ok() ? parse_done(answer.value()) : Status(std::move(answer).error());
    if (outcome.ok()) return {};
    last = std::move(outcome).error();
  }
  return Error{
      Code::Unavailable, "GUEST_STILL_FROZEN",
      "the guest's file systems may still be frozen until their time is up: " + last->message()};
}

Status GuestAgent::while_frozen(std::chrono::milliseconds limit,
                                const std::function<Status()>& work) {
  if (!in_step_) TRY(sync());
  const auto begin = clock_.monotonic();
  const auto answer = call("guest-fsfreeze-freeze", {}, limit);
  auto outcome = answer.ok() ? parse_done(answer.value()) : Status(answer.error());
  if (outcome.ok()) outcome = work();
  const bool expired = clock_.monotonic() - begin >= limit;
  // Also after a freeze that failed: its answer may have been lost, or it stopped half-way.
  auto thawed = thaw();
  if (!outcome.ok()) return outcome;
  if (expired)
    return Error{Code::Aborted, "FREEZE_EXPIRED",
                 "the guest's file systems were thawed after " + std::to_string(limit.count()) +
                     " ms, before the work was done"};
  return thawed;
}

}  // namespace reeve::agent
