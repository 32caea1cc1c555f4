#include "agent/link/session.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace reeve::agent {

using std::chrono::milliseconds;

Session::Session(Loop& loop, Workers& workers, Random& random, ServerChannel& channel,
                 Outbox& outbox, std::uint64_t epoch, SessionSettings settings,
                 SessionHandlers handlers)
    : workers_(workers),
      random_(random),
      channel_(channel),
      outbox_(outbox),
      clock_(loop.clock()),
      settings_(std::move(settings)),
      handlers_(std::move(handlers)),
      gate_(Gate::create(loop)),
      epoch_(epoch),
      backoff_(settings_.backoff_min) {}

Session::~Session() {
  gate_->close();
  connection_.reset();
}

void Session::start() {
  gate_->post([this] { connect(); });
}

void Session::connect() {
  state_ = State::Greeting;
  const auto attempt = ++attempt_;
  heard_ = spoke_ = clock_.monotonic();
  ConnectionEvents events;
  events.received = [gate = gate_, this, attempt](v1::ConnectResponse message) {
    gate->post([this, attempt, message = std::move(message)] { on_message(attempt, message); });
  };
  events.closed = [gate = gate_, this, attempt](Error why) {
    gate->post([this, attempt, why = std::move(why)] {
      if (attempt == attempt_ && state_ != State::Waiting) drop(why);
    });
  };
  connection_ = channel_.connect(std::move(events));
  v1::ConnectRequest request;
  auto& hello = *request.mutable_hello();
  hello.set_host_uid(settings_.host_uid);
  hello.set_version(settings_.version);
  for (const auto& feature : settings_.features) hello.add_features(feature);
  hello.set_boot_id(settings_.boot_id);
  hello.set_epoch(epoch_);
  connection_->send(std::move(request));
  timer_ = gate_->post_after(settings_.connect_timeout, [this] {
    drop({Code::DeadlineExceeded, "LINK_TIMEOUT", "the server did not say welcome in time"});
  });
}

void Session::on_message(std::uint64_t attempt, v1::ConnectResponse message) {
  if (attempt != attempt_ || state_ == State::Waiting) return;
  heard_ = clock_.monotonic();
  switch (state_) {
    case State::Waiting: return;
    case State::Greeting:
      if (message.has_welcome()) return welcome(message.welcome());
      if (message.has_refusal()) {
        backoff_ = settings_.backoff_max;
        return drop(Error::from_wire(
            Code::PermissionDenied, message.refusal().reason().substr(0, 64),
            "the server refuses this host: " + message.refusal().message().substr(0, 500)));
      }
      return drop({Code::Internal, "LINK_PROTOCOL", "the server did not begin with a welcome"});
    case State::Fencing: {
      constexpr std::size_t kMostHeld = 10'000;
      held_.push_back(std::move(message));
      if (held_.size() > kMostHeld)
        drop({Code::ResourceExhausted, "LINK_PROTOCOL",
              "the server sends faster than epochs are kept"});
      return;
    }
    case State::Connected: return deliver(std::move(message));
  }
}

void Session::welcome(const v1::Welcome& welcome) {
  gate_->cancel(timer_);
  if (welcome.epoch() < epoch_) {
    backoff_ = settings_.backoff_max;
    return drop({Code::FailedPrecondition, "EPOCH_STALE",
                 "the server has epoch " + std::to_string(welcome.epoch()) +
                     ", this host has obeyed " + std::to_string(epoch_)});
  }
  state_ = State::Fencing;
  if (welcome.epoch() == epoch_) return established(welcome);
  workers_.run([this, gate = gate_, outbox = &outbox_, attempt = attempt_, welcome] {
    auto kept = outbox->set_epoch(welcome.epoch());
    gate->post([this, attempt, welcome, kept = std::move(kept)] {
      // A full disk must not cut the host off; until a restart the epoch is remembered here.
      if (!kept.ok()) log::error("the epoch is held in memory only", kept.error());
      epoch_ = std::max(epoch_, welcome.epoch());
      if (attempt == attempt_ && state_ == State::Fencing) established(welcome);
    });
  });
}

void Session::established(const v1::Welcome& welcome) {
  state_ = State::Connected;
  backoff_ = settings_.backoff_min;
  heartbeat_ = std::clamp(milliseconds(welcome.heartbeat_ms()), kMinHeartbeat, kMaxHeartbeat);
  log::info("connected to the server",
            {{"epoch", welcome.epoch()},
             {"version", welcome.version().substr(0, 64)},
             {"features", join({welcome.features().begin(), welcome.features().end()}, " ")}});
  watch_heartbeat();
  handlers_.connected(welcome);
  const auto attempt = attempt_;
  for (auto& message : std::exchange(held_, {}))
    if (attempt == attempt_ && state_ == State::Connected) deliver(std::move(message));
}

void Session::deliver(v1::ConnectResponse message) {
  if (message.has_welcome() || message.has_refusal())
    return drop({Code::Internal, "LINK_PROTOCOL", "a second welcome"});
  if (message.has_run_step() && message.run_step().epoch() < epoch_)
    return drop({Code::FailedPrecondition, "EPOCH_STALE", "a step of an earlier epoch"});
  if (message.has_heartbeat()) return;
  handlers_.received(std::move(message));
}

bool Session::send(v1::ConnectRequest message) {
  if (state_ != State::Connected) return false;
  spoke_ = clock_.monotonic();
  connection_->send(std::move(message));
  return true;
}

void Session::watch_heartbeat() {
  const auto now = clock_.monotonic();
  if (now - heard_ > heartbeat_ * kMissedHeartbeats)
    return drop({Code::DeadlineExceeded, "LINK_SILENT", "nothing was heard from the server"});
  if (now - spoke_ >= heartbeat_ / 2) {
    v1::ConnectRequest message;
    message.mutable_heartbeat();
    send(std::move(message));
  }
  timer_ = gate_->post_after(heartbeat_ / 2, [this] { watch_heartbeat(); });
}

void Session::drop(const Error& why) {
  const bool was_connected = state_ == State::Connected;
  state_ = State::Waiting;
  ++attempt_;
  gate_->cancel(timer_);
  // A connection is not destroyed from within its own event or send().
  gate_->post([old = std::make_shared<std::unique_ptr<Connection>>(std::move(connection_))] {
    old->reset();
  });
  held_.clear();
  log::warning("no connection to the server", why);
  if (was_connected) handlers_.disconnected();
  schedule_reconnect();
}

void Session::schedule_reconnect() {
  // Between half of the backoff and all of it: a thousand agents do not come back in one moment.
  const auto half = static_cast<std::uint64_t>(backoff_.count() / 2);
  const milliseconds wait(static_cast<std::int64_t>(half + random_.below(half + 1)));
  backoff_ = std::min(backoff_ * 2, settings_.backoff_max);
  timer_ = gate_->post_after(wait, [this] { connect(); });
}

}  // namespace reeve::agent
