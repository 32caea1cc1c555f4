#include "server/link/console_hub.h"

#include <array>

#include "base/text.h"

namespace reeve::server {

std::string new_ticket(Random& random) {
  std::array<std::byte, 16> bytes{};
  random.fill(bytes);
  return to_hex(bytes);
}

Status ConsoleHub::claim_writer(const std::shared_ptr<ConsoleSession>& session, ConsoleMode mode) {
  if (mode == ConsoleMode::Read) return {};
  std::shared_ptr<ConsoleSession> replaced;
  {
    Lock lock(mutex_);
    auto& writer = writers_[session->vm_uid];
    replaced = writer.lock();
    if (replaced != nullptr && mode == ConsoleMode::Write) {
      return Error{Code::FailedPrecondition, "CONSOLE_WRITER_TAKEN",
                   "another client is writing to this console"}
          .remedy("Attach read-only, or take over.");
    }
    writer = session;
    session->writable = true;
  }
  if (replaced != nullptr) {
    replaced->writable = false;
    replaced->output.push({});  // an empty chunk: tells that client
  }
  return {};
}

Result<std::shared_ptr<ConsoleSession>> ConsoleHub::attach(const Place& place, ConsoleMode mode) {
  auto session = std::make_shared<ConsoleSession>();
  session->vm_uid = place.vm_uid;
  session->host_uid = place.host_uid;
  session->ticket = new_ticket(random_);
  TRY(claim_writer(session, mode));
  {
    Lock lock(mutex_);
    waiting_.emplace(session->ticket, session);
  }
  agent::v1::ConnectResponse message;
  auto* open = message.mutable_open_console();
  open->set_ticket(session->ticket);
  open->set_guest(place.vm_uid);
  open->set_from_offset(place.from_offset);
  const auto ticket = session->ticket;
  agents_.send(place.host_uid, std::move(message), [hub = self_, ticket](Status sent) {
    if (!sent.ok() && *hub != nullptr) (*hub)->give_up(ticket, sent.error());
  });
  loop_.post_after(kRelayTimeout, [hub = self_, ticket] {
    if (*hub == nullptr) return;
    (*hub)->give_up(ticket, {Code::Unavailable, "HOST_UNREACHABLE",
                             "the host did not open the console in time"});
  });
  return session;
}

void ConsoleHub::give_up(const std::string& ticket, const Error& why) {
  std::shared_ptr<ConsoleSession> session;
  {
    Lock lock(mutex_);
    const auto it = waiting_.find(ticket);
    if (it == waiting_.end()) return;
    session = std::move(it->second);
    waiting_.erase(it);
  }
  session->output.finish(why);
}

Result<std::shared_ptr<ConsoleSession>> ConsoleHub::redeem(const std::string& ticket,
                                                           const std::string& host_uid) {
  Lock lock(mutex_);
  const auto it = waiting_.find(ticket);
  if (it == waiting_.end() || it->second->host_uid != host_uid)
    return Error{Code::NotFound, "TICKET_UNKNOWN", "the ticket is unknown, used or expired"};
  auto session = std::move(it->second);
  waiting_.erase(it);
  session->connected = true;
  return session;
}

void ConsoleHub::detach(const std::shared_ptr<ConsoleSession>& session) {
  {
    Lock lock(mutex_);
    waiting_.erase(session->ticket);
    const auto it = writers_.find(session->vm_uid);
    if (it != writers_.end()) {
      const auto writer = it->second.lock();
      if (writer == nullptr || writer == session) writers_.erase(it);
    }
  }
  session->input.finish({});
  session->output.abandon({Code::Cancelled, "CONSOLE_DETACHED", "the client has detached"});
}

}  // namespace reeve::server
