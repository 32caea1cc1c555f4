#include "agent/link/grpc_console.h"

#include <optional>
#include <utility>

#include "agent/executor/convert.h"
#include "base/log.h"
#include "reeve/agent/v1/link_service.grpc.pb.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMostRelays = 64;
constexpr std::size_t kMostRefusals = 64;  // at a time
constexpr std::size_t kChunk = 32u << 10;

}  // namespace

/// One stream. One write is in flight at most; what the server has not taken stays in the ring.
/// While the guest does not take what was typed, nothing more is read; the sender then waits.
class GrpcConsoles::Relay final
    : public grpc::ClientBidiReactor<v1::RelayConsoleRequest, v1::RelayConsoleResponse> {
 public:
  Relay(GrpcConsoles& owner, const std::shared_ptr<grpc::Channel>& channel,
        const v1::OpenConsole& request, std::optional<Error> refusal)
      : owner_(owner),
        stub_(v1::LinkService::NewStub(channel)),
        uid_(request.guest()),
        refusal_(std::move(refusal)),
        next_(request.from_offset()) {
    outgoing_.set_ticket(request.ticket());
  }

  void begin() {
    stub_->async()->RelayConsole(&context_, this);
    attach();   // first: pump() needs it as soon as the ticket is written
    AddHold();  // until the server hangs up
    StartWrite(&outgoing_);
    StartRead(&incoming_);
    StartCall();
  }

  void cancel() { context_.TryCancel(); }

 private:
  void attach() {
    {
      Lock lock(mutex_);
      if (refusal_) return;
    }
    auto reader = owner_.consoles_.attach(uid_, [this] { look(); });
    Lock lock(mutex_);
    if (reader.ok())
      reader_ = reader.value();
    else
      refusal_ = reader.error();
  }

  /// There may be output, or room for what waits to be typed.
  void look() {
    type();
    pump();
    // Without a read under way only a write tells that the server has hung up: one without content.
    Lock lock(mutex_);
    if (typed_.empty() || writing_ || refused_ || ended_) return;
    outgoing_.Clear();
    writing_ = true;
    StartWrite(&outgoing_);
  }

  /// Sends the next bytes unless a write is in flight.
  void pump() {
    Lock lock(mutex_);
    if (writing_ || refused_ || ended_) return;
    if (refusal_) return refuse(*refusal_);
    auto chunk = owner_.consoles_.read(uid_, next_, kChunk);
    if (!chunk.ok()) return refuse(chunk.error());
    if (chunk.value().data.empty()) return;
    auto& output = *outgoing_.mutable_output();
    output.set_offset(static_cast<std::int64_t>(chunk.value().offset));
    output.set_lost_bytes(static_cast<std::int64_t>(chunk.value().lost));
    next_ = static_cast<std::int64_t>(chunk.value().offset + chunk.value().data.size());
    output.set_data(std::move(chunk.value().data));
    writing_ = true;
    StartWrite(&outgoing_);
  }

  /// The server hangs up on it; one that does not know of refusals, at the end of the messages.
  void refuse(const Error& why) REEVE_REQUIRES(mutex_) {
    log::warning("console cannot be relayed", why, {{"guest", uid_}});
    *outgoing_.mutable_refusal() = to_proto(why);
    writing_ = refused_ = true;
    StartWriteLast(&outgoing_, {});
    if (!std::exchange(typed_, {}).empty()) StartRead(&incoming_);  // to hear it hang up
  }

  /// Hands on what was read, and reads on when the guest's console has taken all of it.
  void type() {
    Lock lock(mutex_);
    if (typed_.empty() || ended_) return;
    typed_.erase(0, owner_.consoles_.write(uid_, typed_));
    if (typed_.empty()) StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    {
      Lock lock(mutex_);
      writing_ = false;
    }
    if (!ok) return end();
    pump();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end();
    {
      Lock lock(mutex_);
      if (ended_) return;
      typed_ = std::move(*incoming_.mutable_input());
      if (refused_) typed_.clear();
      if (typed_.empty()) return StartRead(&incoming_);
    }
    type();
  }

  /// The server has hung up: no wake may come after the hold is gone.
  void end() {
    Consoles::ReaderId reader = 0;
    {
      Lock lock(mutex_);
      if (ended_) return;
      ended_ = true;
      reader = reader_;
    }
    owner_.consoles_.detach(reader);
    context_.TryCancel();
    RemoveHold();
  }

  void OnDone(const grpc::Status& /*status*/) override { owner_.gone(this); }

  GrpcConsoles& owner_;
  std::unique_ptr<v1::LinkService::Stub> stub_;
  grpc::ClientContext context_;
  const std::string uid_;
  v1::RelayConsoleRequest outgoing_;
  v1::RelayConsoleResponse incoming_;
  Mutex mutex_;
  std::optional<Error> refusal_ REEVE_GUARDED_BY(mutex_);  // known before there was a reader
  Consoles::ReaderId reader_ REEVE_GUARDED_BY(mutex_) = 0;
  std::int64_t next_ REEVE_GUARDED_BY(mutex_);
  bool writing_ REEVE_GUARDED_BY(mutex_) = true;   // the ticket
  std::string typed_ REEVE_GUARDED_BY(mutex_);     // what the guest's console has not taken yet
  bool refused_ REEVE_GUARDED_BY(mutex_) = false;  // nothing more is written
  bool ended_ REEVE_GUARDED_BY(mutex_) = false;
};

GrpcConsoles::GrpcConsoles(Consoles& consoles, GrpcLink& link) : consoles_(consoles), link_(link) {}

GrpcConsoles::~GrpcConsoles() {
  Lock lock(mutex_);
  for (auto& [key, relay] : relays_) relay->cancel();
  while (!relays_.empty()) empty_.wait(lock);
}

void GrpcConsoles::open(const v1::OpenConsole& request) {
  const auto channel = link_.channel();
  if (!channel) return;
  Lock lock(mutex_);
  if (relays_.size() >= kMostRelays + kMostRefusals)
    return log::warning("too many consoles are open", {{"limit", kMostRelays}});
  std::optional<Error> refusal;
  if (relays_.size() >= kMostRelays)
    refusal = Error{Code::ResourceExhausted, "CONSOLE_LIMIT",
                    "the host has " + std::to_string(kMostRelays) + " consoles open"};
  auto relay = std::make_unique<Relay>(*this, channel, request, std::move(refusal));
  Relay* raw = relay.get();
  relays_.emplace(raw, std::move(relay));
  raw->begin();
}

void GrpcConsoles::gone(Relay* relay) {
  // Freed outside the lock: gRPC calls nothing of it after OnDone.
  std::unique_ptr<Relay> last;
  Lock lock(mutex_);
  const auto it = relays_.find(relay);
  last = std::move(it->second);
  relays_.erase(it);
  if (relays_.empty()) empty_.notify_all();
}

}  // namespace reeve::agent
