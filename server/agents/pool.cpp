#include "server/agents/pool.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "proto/features.h"

namespace reeve::server {

namespace {

/// An agent that gets its picture wrong again and again is not asked without end.
constexpr std::chrono::milliseconds kResyncPause{1000};
constexpr std::chrono::milliseconds kReleaseDelay{100};

agent::v1::ConnectResponse refusal(const std::string& reason, const std::string& message) {
  agent::v1::ConnectResponse response;
  response.mutable_refusal()->set_reason(reason);
  response.mutable_refusal()->set_message(message);
  return response;
}

}  // namespace

Pool::Pool(PoolParts parts) : parts_(std::move(parts)) {}

Pool::~Pool() {
  if (timer_ != 0) parts_.loop.cancel(timer_);
  for (auto& [id, session] : sessions_) session.channel->close();
}

void Pool::start() {
  tick();
}

void Pool::post(Task task) {
  parts_.loop.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

// ---------------------------------------------------------------- the adaptor's side

SessionId Pool::open(std::string host_uid, std::shared_ptr<AgentChannel> channel) {
  const SessionId id = next_id_++;
  post([this, id, host_uid = std::move(host_uid), channel = std::move(channel)] {
    Session session;
    session.host_uid = host_uid;
    session.channel = channel;
    session.heard = session.spoke = now();
    sessions_.emplace(id, std::move(session));
  });
  return id;
}

void Pool::receive(SessionId id, agent::v1::ConnectRequest message) {
  post([this, id, message = std::move(message)] { handle(id, message); });
}

void Pool::closed(SessionId id) {
  post([this, id] { end(id); });
}

void Pool::send(const std::string& host_uid, agent::v1::ConnectResponse message,
                std::function<void(Status)> sent) {
  post([this, host_uid, message = std::move(message), sent = std::move(sent)] {
    if (send_now(host_uid, message)) return sent({});
    sent(Error(Code::Unavailable, "HOST_UNREACHABLE", "the host is not connected")
             .resource("hosts/" + host_uid));
  });
}

void Pool::disconnect(const std::string& host_uid, const std::string& reason,
                      const std::string& message) {
  post([this, host_uid, reason, message] {
    std::vector<SessionId> ids;
    for (const auto& [id, session] : sessions_)
      if (session.host_uid == host_uid) ids.push_back(id);
    for (const SessionId id : ids) refuse(id, reason, message);
  });
}

// ---------------------------------------------------------------- conversation

Pool::Session* Pool::find(SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : &it->second;
}

Pool::Session* Pool::connected(const std::string& host_uid) {
  const auto it = current_.find(host_uid);
  return it == current_.end() ? nullptr : find(it->second);
}

void Pool::handle(SessionId id, const agent::v1::ConnectRequest& message) {
  Session* session = find(id);
  if (session == nullptr) return;
  session->heard = now();
  using Kind = agent::v1::ConnectRequest;
  if (session->phase == Phase::Greeting) {
    if (message.kind_case() == Kind::kHello) return greet(id, message.hello());
    return refuse(id, "HELLO_EXPECTED", "the first message must be Hello");
  }
  if (session->phase == Phase::Entering) return refuse(id, "WELCOME_AWAITED", "wait for Welcome");
  parts_.live.heard(session->host_uid, wall());
  const std::string host = session->host_uid;
  switch (message.kind_case()) {
    case Kind::kObservation: return observed(id, message.observation());
    case Kind::kStepResult: return reports_->step_result(host, message.step_result());
    case Kind::kStepProgress: return reports_->step_progress(host, message.step_progress());
    case Kind::kStepSeen: return reports_->step_seen(host, message.step_seen());
    case Kind::kMetrics: return parts_.live.sampled(host, message.metrics(), wall());
    case Kind::kHello: return refuse(id, "HELLO_REPEATED", "Hello was said before");
    default: return;  // a heartbeat, or a kind of a later release
  }
}

void Pool::greet(SessionId id, const agent::v1::Hello& hello) {
  Session& session = *find(id);
  if (hello.host_uid() != session.host_uid)
    return refuse(id, "HOST_KEY_MISMATCH", "the certificate's key belongs to another host");
  if (hello.epoch() > parts_.epoch) {
    log::error(
        "agent has obeyed a later epoch: stop the other server, or, if this one's database was put "
        "back by hand, stop it and run 'reeve-server advance'",
        {{"host", session.host_uid}, {"agent_epoch", hello.epoch()}, {"epoch", parts_.epoch}});
    return refuse(id, "EPOCH_BEHIND",
                  "this server's epoch " + std::to_string(parts_.epoch) + " is lower than " +
                      std::to_string(hello.epoch()) +
                      ", which this host has obeyed: another server is in charge, or this one's "
                      "database was put back by hand and needs 'reeve-server advance'");
  }
  session.hello = hello;
  session.phase = Phase::Entering;
  enter(id);
}

void Pool::enter(SessionId id) {
  Session& session = *find(id);
  session.entered_at = ++writes_;
  parts_.writer.submit(
      [host = session.host_uid, hello = session.hello, epoch = parts_.epoch,
       time = wall()](db::Transaction& tx) {
        return mark_connected(tx, host, hello, agreed_features(hello.features()),
                              static_cast<std::int64_t>(epoch), time);
      },
      [this, alive = std::weak_ptr<bool>(alive_), &loop = parts_.loop, id](const Status& outcome,
                                                                           std::int64_t) {
        loop.post([this, alive, id, outcome] {
          if (!alive.expired()) entered(id, outcome);
        });
      });
}

void Pool::entered(SessionId id, const Status& outcome) {
  Session* session = find(id);
  if (session == nullptr) return;
  if (!outcome.ok()) {
    if (outcome.error().code() == Code::NotFound)
      return refuse(id, "HOST_REVOKED", "this host is not in the inventory");
    return refuse(id, "SERVER_UNAVAILABLE", outcome.error().message());
  }
  const std::string host = session->host_uid;
  if (const auto left = left_at_.find(host);
      left != left_at_.end() && left->second > session->entered_at)
    return enter(id);  // an older session ended after this Hello was recorded: record it again
  if (const auto other = current_.find(host); other != current_.end()) {
    const SessionId old = other->second;
    log::warning("agent connected twice: the older session ends", {{"host", host}});
    find(old)->channel->close();
    sessions_.erase(old);
    current_.erase(host);
    reports_->agent_lost(host);
  }
  session->phase = Phase::Connected;
  current_[host] = id;
  agent::v1::ConnectResponse message;
  auto& welcome = *message.mutable_welcome();
  welcome.set_epoch(parts_.epoch);
  welcome.set_version(parts_.settings.version);
  welcome.set_heartbeat_ms(parts_.settings.heartbeat.count());
  welcome.set_metrics_ms(parts_.settings.metrics.count());
  const auto features = agreed_features(session->hello.features());
  *welcome.mutable_features() = {features.begin(), features.end()};
  say(*session, message);
  parts_.live.heard(host, wall());
  log::info(
      "agent connected",
      {{"host", host}, {"version", session->hello.version()}, {"features", join(features, " ")}});
  reports_->agent_connected(host);
}

void Pool::refuse(SessionId id, const std::string& reason, const std::string& message) {
  Session* session = find(id);
  if (session == nullptr) return;
  log::warning("agent refused", {{"host", session->host_uid}, {"reason", reason}});
  session->channel->send(refusal(reason, message));
  session->channel->close();
  end(id);
}

void Pool::end(SessionId id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  const Session session = std::move(it->second);
  sessions_.erase(it);
  const auto current = current_.find(session.host_uid);
  if (current == current_.end() || current->second != id) return;
  current_.erase(current);
  leave(session);
}

void Pool::leave(const Session& session) {
  const std::string host = session.host_uid;
  log::info("agent lost", {{"host", host}});
  left_at_[host] = ++writes_;
  parts_.live.lost(host);
  const auto silence = now() - session.heard;
  const WallTime last_seen =
      wall() - std::chrono::duration_cast<std::chrono::microseconds>(silence);
  parts_.writer.submit(
      [host, epoch = parts_.epoch, last_seen, time = wall()](db::Transaction& tx) -> Status {
        const Status marked =
            mark_disconnected(tx, host, static_cast<std::int64_t>(epoch), last_seen, time);
        if (!marked.ok() && marked.error().code() == Code::NotFound) return {};
        return marked;
      },
      [host](const Status& outcome, std::int64_t) {
        if (!outcome.ok())
          log::error("host not marked disconnected", outcome.error(), {{"host", host}});
      });
  reports_->agent_lost(host);
}

void Pool::say(Session& session, const agent::v1::ConnectResponse& message) {
  session.spoke = now();
  session.channel->send(message);
}

bool Pool::send_now(const std::string& host_uid, const agent::v1::ConnectResponse& message) {
  Session* session = connected(host_uid);
  if (session == nullptr) return false;
  say(*session, message);
  return true;
}

void Pool::tick() {
  std::vector<SessionId> silent;
  agent::v1::ConnectResponse beat;
  beat.mutable_heartbeat();
  for (auto& [id, session] : sessions_) {
    if (now() - session.heard >= parts_.settings.host_timeout)
      silent.push_back(id);
    else if (session.phase == Phase::Connected &&
             now() - session.spoke >= parts_.settings.heartbeat / 2)
      say(session, beat);
  }
  for (const SessionId id : silent) {
    log::warning("agent is silent", {{"host", find(id)->host_uid}});
    find(id)->channel->close();
    end(id);
  }
  timer_ = parts_.loop.post_after(parts_.settings.heartbeat / 2,
                                  [this, alive = std::weak_ptr<bool>(alive_)] {
                                    if (!alive.expired()) tick();
                                  });
}

// ---------------------------------------------------------------- observations

void Pool::observed(SessionId id, const agent::v1::Observation& seen) {
  Session& session = *find(id);
  const bool in_order = session.complete && seen.sequence() == session.sequence + 1;
  if (!seen.full() && !in_order) {
    session.complete = false;
    return ask_resync(id);
  }
  session.sequence = seen.sequence();
  session.complete = true;
  session.picture.apply(seen);
  const bool agrees = parts_.sha256(session.picture.canonical()) == seen.digest();
  store(id, seen);
  if (agrees) return;
  log::warning("agent's picture differs",
               {{"host", session.host_uid}, {"sequence", seen.sequence()}});
  ask_resync(id);
}

void Pool::store(SessionId id, const agent::v1::Observation& seen) {
  auto outcome = std::make_shared<SightingOutcome>();
  const std::string& host_uid = find(id)->host_uid;
  parts_.writer.submit(
      [host = host_uid, seen, time = wall(), &random = parts_.random,
       outcome](db::Transaction& tx) {
        return apply_observation(tx, host, seen, time, random, *outcome);
      },
      [this, alive = std::weak_ptr<bool>(alive_), &loop = parts_.loop, id, host = host_uid,
       outcome](const Status& status, std::int64_t) {
        loop.post([this, alive, id, host, outcome, status] {
          if (alive.expired()) return;
          if (status.ok()) return applied(host, *outcome);
          log::error("observation not stored", status.error(), {{"host", host}});
          ask_resync(id);  // nothing of it is in the inventory
        });
      });
}

void Pool::applied(const std::string& host_uid, const SightingOutcome& outcome) {
  for (const auto& uid : outcome.strangers)
    log::warning("host has a machine of ours that the inventory does not place there",
                 {{"host", host_uid}, {"vm", uid}});
  Session* session = connected(host_uid);
  if (session == nullptr) return;
  session->held_back.insert(outcome.held_back.begin(), outcome.held_back.end());
  if (outcome.look_again) ask_resync(current_[host_uid]);
}

void Pool::released(const std::string& host_uid, const std::string& vm_uid, bool look_again) {
  Session* session = connected(host_uid);
  if (session == nullptr) return;
  const bool news = session->held_back.erase(vm_uid) > 0;
  if (!news && !look_again) return;
  if (session->complete && !vm_uid.empty()) {
    // All that a Resync would tell of it is here already.
    agent::v1::Observation seen;
    const auto guest = session->picture.guests.find(vm_uid);
    if (guest != session->picture.guests.end())
      *seen.add_guests() = guest->second;
    else
      seen.add_gone_guests(vm_uid);
    return store(current_[host_uid], seen);
  }
  // Images come with full observations only. Many jobs may end at once: one look serves all.
  if (session->resync_waits) return;
  session->resync_waits = true;
  parts_.loop.post_after(kReleaseDelay,
                         [this, alive = std::weak_ptr<bool>(alive_), id = current_[host_uid]] {
                           Session* later = alive.expired() ? nullptr : find(id);
                           if (later == nullptr) return;
                           later->resync_waits = false;
                           later->asked_resync.reset();
                           ask_resync(id);
                         });
}

void Pool::ask_resync(SessionId id) {
  Session* session = find(id);
  if (session == nullptr || session->phase != Phase::Connected) return;
  if (session->asked_resync && now() - *session->asked_resync < kResyncPause) {
    if (session->resync_waits) return;
    session->resync_waits = true;
    parts_.loop.post_after(kResyncPause, [this, alive = std::weak_ptr<bool>(alive_), id] {
      Session* later = alive.expired() ? nullptr : find(id);
      if (later == nullptr) return;
      later->resync_waits = false;
      ask_resync(id);
    });
    return;
  }
  session->asked_resync = now();
  agent::v1::ConnectResponse message;
  message.mutable_resync();
  say(*session, message);
}

}  // namespace reeve::server
