#include "agent/link/observer.h"

#include <algorithm>
#include <optional>

#include <google/protobuf/util/message_differencer.h>

#include "agent/executor/convert.h"
#include "base/crypto/sha256.h"
#include "base/log.h"

namespace reeve::agent {
namespace {

template <class Message>
bool same(const Message& a, const Message& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

/// For a person: the message, and what to do.
std::string describe(const Error& error) {
  return error.message() + (error.remedy().empty() ? "" : ". " + error.remedy());
}

}  // namespace

/// What a worker found out about one hypervisor.
struct Observer::Reading {
  std::uint64_t begun = 0;
  bool listed = false;  ///< `guests` is all there is
  DriverFacts facts{};
  std::vector<GuestSeen> guests{};
  std::vector<std::string> gone{};
  std::optional<Error> failed{};  ///< the list, or a look at one guest
};

Observer::Observer(Loop& loop, Workers& workers, StepWorld world, HostProbe& probe,
                   ObserverSettings settings, std::function<bool(v1::Observation)> send)
    : workers_(workers),
      world_(std::make_shared<const StepWorld>(std::move(world))),
      probe_(probe),
      clock_(loop.clock()),
      settings_(std::move(settings)),
      send_(std::move(send)),
      gate_(Gate::create(loop)) {
  for (const auto& [id, driver] : world_->drivers) sources_[id].driver = driver;
}

Observer::~Observer() {
  gate_->close();
  for (auto& [id, source] : sources_) source.driver->watch({});
}

void Observer::start() {
  for (auto& [id, source] : sources_) {
    source.has_events =
        source.driver->watch([gate = gate_, this, name = id](const std::string& uid) {
          gate->post([this, name, uid] {
            auto& changed = sources_[name];
            if (uid.empty()) {
              changed.all_dirty = true;
            } else {
              changed.dirty.insert(uid);
            }
            refresh(name);
          });
        });
    poll(id);
  }
  read_host();
  images_changed();
}

void Observer::read_host() {
  workers_.run([this, gate = gate_, probe = &probe_, world = world_, version = settings_.version] {
    reeve::v1::HostStatus host = probe->facts();
    host.set_agent_version(version);
    if (const auto space = world->store->space(); space.ok()) {
      host.set_store_free_bytes(space.value().free_bytes);
      host.set_store_total_bytes(space.value().total_bytes);
    }
    gate->post([this, host = std::move(host)] {
      host_seen_ = true;
      if (!same(picture_.host, host)) {
        picture_.host = host;
        host_changed_ = true;
      }
      changed();
      gate_->post_after(settings_.poll_host, [this] { read_host(); });
    });
  });
}

void Observer::poll(const std::string& id) {
  auto& source = sources_[id];
  source.all_dirty = true;
  refresh(id);
  source.timer = gate_->post_after(
      source.has_events ? settings_.poll_with_events : settings_.poll_without_events,
      [this, id] { poll(id); });
}

void Observer::retry(const std::string& id) {
  auto& source = sources_[id];
  if (source.retry != 0) return;
  source.retry_in = std::clamp(source.retry_in * 2, settings_.retry_min, settings_.retry_max);
  source.retry = gate_->post_after(source.retry_in, [this, id] {
    auto& again = sources_[id];
    again.retry = 0;
    again.all_dirty = true;
    refresh(id);
  });
}

void Observer::refresh(const std::string& id) {
  auto& source = sources_[id];
  if (source.reading || (!source.all_dirty && source.dirty.empty())) return;
  source.reading = true;
  read(id);
}

void Observer::read(const std::string& id) {
  auto& source = sources_[id];
  Reading reading;
  reading.begun = ++count_;
  reading.listed = source.all_dirty;
  std::set<std::string> wanted = std::exchange(source.dirty, {});
  source.all_dirty = false;
  workers_.run([this, gate = gate_, id, driver = source.driver, world = world_,
                reading = std::move(reading), wanted = std::move(wanted)]() mutable {
    reading.facts = driver->facts();
    if (reading.listed) {
      auto all = driver->list();
      if (all.ok()) {
        reading.guests = std::move(all).value();
      } else {
        reading.listed = false;
        reading.failed = all.error();
        if (reading.facts.available)
          log::warning("guests could not be listed", all.error(), {{"hypervisor", id}});
      }
    } else {
      for (const auto& uid : wanted) {
        auto seen = driver->get(uid);
        if (seen.ok()) {
          reading.guests.push_back(std::move(seen).value());
        } else if (seen.error().reason() == "GUEST_NOT_FOUND") {
          reading.gone.push_back(uid);
        } else {
          reading.failed = seen.error();
        }
      }
    }
    for (auto& seen : reading.guests) note_saved_state(seen, *world->store);
    gate->post([this, id, reading = std::move(reading)] { took(id, reading); });
  });
}

void Observer::took(const std::string& id, const Reading& reading) {
  auto& source = sources_[id];
  source.reading = false;
  source.seen_once = true;
  source.listed_once |= reading.listed;
  if (reading.listed) source.retry_in = {};
  auto facts = to_proto(reading.facts, id);
  if (!source.listed_once) {
    if (reading.failed) source.why_unlisted = describe(*reading.failed);
    if (facts.available()) {
      facts.set_available(false);
      facts.set_description("its guests could not be listed: " + source.why_unlisted);
    }
  }
  auto& known = picture_.hypervisors[id];
  if (!same(known, facts)) {
    known = std::move(facts);
    changed_hypervisors_.insert(id);
  }
  // A step has looked after this reading began: its word is newer.
  const auto is_older = [&](const std::string& uid) {
    const auto touched = source.touched.find(uid);
    if (touched == source.touched.end() || touched->second < reading.begun) return false;
    source.dirty.insert(uid);
    return true;
  };
  std::set<std::string> listed;
  for (const auto& seen : reading.guests) {
    listed.insert(seen.uid);
    if (!is_older(seen.uid)) set_guest(to_proto(seen, id));
  }
  for (const auto& uid : reading.gone)
    if (!is_older(uid)) drop_guest(id, uid);
  if (reading.listed) {
    std::vector<std::string> missing;
    for (const auto& [uid, guest] : picture_.guests)
      if (guest.hypervisor() == id && !listed.contains(uid)) missing.push_back(uid);
    for (const auto& uid : missing)
      if (!is_older(uid)) drop_guest(id, uid);
    std::erase_if(source.touched, [&](const auto& entry) { return entry.second < reading.begun; });
  }
  if (reading.failed) retry(id);
  changed();
  refresh(id);
}

void Observer::looked_at(const GuestRef& guest, const Result<GuestSeen>& seen) {
  const auto it = sources_.find(guest.hypervisor);
  if (it == sources_.end()) return;
  it->second.touched[guest.uid] = ++count_;
  if (seen.ok()) {
    set_guest(to_proto(seen.value(), guest.hypervisor));
  } else if (seen.error().reason() == "GUEST_NOT_FOUND") {
    drop_guest(guest.hypervisor, guest.uid);
  }
  changed();
}

void Observer::set_guest(const v1::GuestSeen& seen) {
  auto& known = picture_.guests[seen.uid()];
  if (same(known, seen)) return;
  known = seen;
  changed_guests_.insert(seen.uid());
}

void Observer::drop_guest(const std::string& hypervisor, const std::string& uid) {
  const auto it = picture_.guests.find(uid);
  if (it == picture_.guests.end() || it->second.hypervisor() != hypervisor) return;
  picture_.guests.erase(it);
  changed_guests_.insert(uid);
}

void Observer::images_changed() {
  images_are_ = Images::Listing;
  list_images();
}

void Observer::list_images() {
  workers_.run([this, gate = gate_, world = world_, listing = ++listings_] {
    auto images = world->store->images();
    gate->post([this, listing, images = std::move(images)] { images_listed(listing, images); });
  });
}

void Observer::images_listed(std::uint64_t listing,
                             const Result<std::vector<std::string>>& images) {
  if (listing != listings_) return;  // something has changed since it began
  if (images.ok()) {
    images_ = images.value();
    images_are_ = Images::Listed;
    full_wanted_ |= images_told_unknown_;
  } else {
    log::error("images could not be listed", images.error());
    images_are_ = Images::Unknown;
    gate_->post_after(settings_.retry_images, [this, listing] {
      if (listing == listings_) list_images();
    });
  }
  changed();
}

bool Observer::may_send() const {
  if (!host_seen_) return false;
  if (full_wanted_ && images_are_ == Images::Listing) return false;
  for (const auto& [id, source] : sources_)
    if (!source.seen_once) return false;
  return true;
}

void Observer::send_full(bool new_connection) {
  if (new_connection) sequence_ = 0;
  full_wanted_ = true;
  changed();
}

void Observer::changed() {
  const bool anything =
      full_wanted_ || host_changed_ || !changed_hypervisors_.empty() || !changed_guests_.empty();
  if (!anything || send_timer_ != 0) return;
  send_timer_ = gate_->post_after(settings_.settle, [this] {
    send_timer_ = 0;
    send_delta();
  });
}

void Observer::flush() {
  if (send_timer_ == 0) return;
  gate_->cancel(send_timer_);
  send_timer_ = 0;
  send_delta();
}

v1::Observation Observer::stamped() {
  v1::Observation observation;
  observation.set_sequence(sequence_ + 1);
  *observation.mutable_observe_time() = to_proto(clock_.wall());
  return observation;
}

void Observer::send_delta() {
  if (!may_send()) return;
  v1::Observation delta = stamped();
  delta.set_full(full_wanted_);
  if (full_wanted_) {
    *delta.mutable_host() = picture_.host;
    for (const auto& [id, hypervisor] : picture_.hypervisors) *delta.add_hypervisors() = hypervisor;
    for (const auto& [uid, guest] : picture_.guests) *delta.add_guests() = guest;
    delta.set_images_unknown(images_are_ == Images::Unknown);
    if (!delta.images_unknown())
      for (const auto& uid : images_) delta.add_images(uid);
  } else {
    if (host_changed_) *delta.mutable_host() = picture_.host;
    for (const auto& id : changed_hypervisors_) *delta.add_hypervisors() = picture_.hypervisors[id];
    for (const auto& uid : changed_guests_) {
      const auto it = picture_.guests.find(uid);
      if (it == picture_.guests.end()) {
        delta.add_gone_guests(uid);
      } else {
        *delta.add_guests() = it->second;
      }
    }
  }
  delta.set_digest(crypto::sha256_hex(picture_.canonical()));
  // Not connected: the next connection begins with everything.
  const bool unknown = delta.images_unknown();
  if (!send_(std::move(delta))) return;
  ++sequence_;
  if (full_wanted_) images_told_unknown_ = unknown;
  full_wanted_ = false;
  host_changed_ = false;
  changed_hypervisors_.clear();
  changed_guests_.clear();
}

}  // namespace reeve::agent
