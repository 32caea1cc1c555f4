#include "server/link/upload_hub.h"

#include <algorithm>

namespace reeve::server {

Result<std::shared_ptr<Upload>> UploadHub::send(const std::string& ticket,
                                                const std::string& host_uid) {
  std::shared_ptr<Upload> upload;
  {
    Lock lock(mutex_);
    auto& entry = uploads_[ticket];
    if (entry != nullptr && entry->has_client)
      return Error{Code::Aborted, "UPLOAD_TWICE", "this upload is under way already"};
    // Whoever waits under this ticket from another host does not get the bytes.
    if (entry == nullptr || entry->host_uid != host_uid) {
      if (entry != nullptr)
        entry->data.finish(Error{Code::NotFound, "TICKET_UNKNOWN", "not this host's upload"});
      entry = std::make_shared<Upload>();
      entry->ticket = ticket;
      entry->host_uid = host_uid;
    }
    entry->has_client = true;
    upload = entry;
  }
  loop_.post_after(kAgentTimeout, [hub = self_, ticket] {
    if (*hub != nullptr) (*hub)->expire(ticket, true);
  });
  return upload;
}

Result<std::shared_ptr<Upload>> UploadHub::receive(const std::string& ticket,
                                                   const std::string& host_uid) {
  std::shared_ptr<Upload> upload;
  {
    Lock lock(mutex_);
    const auto waiting = std::ranges::count_if(
        uploads_, [&](const auto& entry) { return entry.second->host_uid == host_uid; });
    if (static_cast<std::size_t>(waiting) >= kWaitingPerHost && !uploads_.contains(ticket))
      return Error{Code::ResourceExhausted, "TOO_MANY_UPLOADS", "too many uploads wait"};
    auto& entry = uploads_[ticket];
    if (entry != nullptr && (entry->has_agent || entry->host_uid != host_uid))
      return Error{Code::NotFound, "TICKET_UNKNOWN", "the ticket is unknown, used or expired"};
    if (entry == nullptr) {
      entry = std::make_shared<Upload>();
      entry->ticket = ticket;
      entry->host_uid = host_uid;
    }
    entry->has_agent = true;
    upload = entry;
  }
  loop_.post_after(kClientTimeout, [hub = self_, ticket] {
    if (*hub != nullptr) (*hub)->expire(ticket, false);
  });
  return upload;
}

void UploadHub::expire(const std::string& ticket, bool wants_agent) {
  std::shared_ptr<Upload> upload;
  {
    Lock lock(mutex_);
    const auto it = uploads_.find(ticket);
    if (it == uploads_.end()) return;
    if (wants_agent ? it->second->has_agent : it->second->has_client) return;
    upload = it->second;
  }
  if (wants_agent)
    upload->data.abandon(
        {Code::Unavailable, "HOST_UNREACHABLE", "the host did not ask for the upload in time"});
  else
    upload->data.finish(
        Error{Code::Aborted, "UPLOAD_INTERRUPTED", "the upload did not come in time"});
}

void UploadHub::client_left(const std::shared_ptr<Upload>& upload) {
  Lock lock(mutex_);
  const auto it = uploads_.find(upload->ticket);
  if (it != uploads_.end() && it->second == upload && !upload->has_agent) uploads_.erase(it);
}

void UploadHub::leave(const std::shared_ptr<Upload>& upload) {
  Lock lock(mutex_);
  const auto it = uploads_.find(upload->ticket);
  if (it != uploads_.end() && it->second == upload) uploads_.erase(it);
}

}  // namespace reeve::server
