#include "agent/driver/libvirt/driver.h"

#include <algorithm>
#include <utility>

#include "agent/driver/heard.h"
#include "agent/driver/libvirt/limits.h"
#include "agent/driver/libvirt/verbs.h"
#include "base/log.h"

namespace reeve::agent::libvirt {

/// Outlives the driver while libvirt still holds a call or a callback of ours.
struct LibvirtDriver::Shared {
  explicit Shared(std::chrono::milliseconds keep) : guests(keep) {}

  Guests guests;
  std::shared_ptr<EventSink> sink{};
  Mutex mutex;
  Abilities abilities REEVE_GUARDED_BY(mutex){};
  DriverFacts facts REEVE_GUARDED_BY(mutex){};
  Subscription subscription REEVE_GUARDED_BY(mutex){};
  bool attached_once REEVE_GUARDED_BY(mutex) = false;
  bool defines_slowly REEVE_GUARDED_BY(mutex) = false;
  bool without_limits REEVE_GUARDED_BY(mutex) = false;

  Abilities abilities_now() {
    Lock lock(mutex);
    return abilities;
  }
  /// A hypervisor that was set up without control groups starts guests without their limits.
  void note_limits(virDomainPtr domain) {
    const bool unlimited = has_limits(domain) && !can_limit(domain);
    Lock lock(mutex);
    without_limits = unlimited;
  }
  void note_slow_define() {
    Lock lock(mutex);
    if (!std::exchange(defines_slowly, true))
      log::warning("hypervisor defines slowly", {{"uri", facts.uri}});
  }
};

namespace {

constexpr std::chrono::seconds kSlowDefine{1};

/// Drivers that never had events; all others are taken to have them until a connection says
/// otherwise.
bool lacks_events_for_sure(const std::string& uri) {
  return uri.starts_with("esx") || uri.starts_with("vpx") || uri.starts_with("gsx") ||
         uri.starts_with("hyperv") || uri.starts_with("vmware");
}

}  // namespace

Result<std::unique_ptr<LibvirtDriver>> LibvirtDriver::create(LibvirtOptions options,
                                                             const Clock& clock, Random& random) {
  options.connection.uri = options.uri;
  std::unique_ptr<LibvirtDriver> driver(new LibvirtDriver(std::move(options), clock, random));
  driver->connection_.wait_for_first_attempt(driver->options_.first_attempt);
  return driver;
}

// The hooks own what they use: an overdue call may run them after the driver is gone.
LibvirtDriver::LibvirtDriver(LibvirtOptions options, const Clock& clock, Random& random)
    : options_(std::move(options)),
      clock_(clock),
      rota_(clock),
      shared_(std::make_shared<Shared>(options_.keep_definitions)),
      calls_("libvirt-call", options_.threads),
      connection_(options_.connection, hooks(options_, shared_), random) {}

LibvirtDriver::~LibvirtDriver() {
  shared_->sink->listen(nullptr);
}

ConnectionHooks LibvirtDriver::hooks(const LibvirtOptions& options,
                                     const std::shared_ptr<Shared>& shared) {
  // The sink must not own `shared`, which owns the sink.
  shared->sink = std::make_shared<EventSink>(
      [weak = std::weak_ptr(shared)](const std::string& uid, Event event) {
        const auto self = weak.lock();
        if (!self) return;
        self->guests.forget(uid);
        if (event == Event::Reboot) self->guests.note_reboot(uid);
      });
  ConnectionHooks hooks;
  hooks.attach = [shared, uri = options.uri,
                  kvm = options.kvm_usable](const Connect& connect) -> Status {
    auto subscription = subscribe(connect.get(), shared->sink);
    auto probed = probe(connect.get(), subscription, kvm);
    if (!probed.ok()) {
      unsubscribe(connect.get(), subscription);
      return std::move(probed).error();
    }
    auto abilities = std::move(probed).value();
    auto facts = facts_of(connect.get(), uri, abilities);
    Lock lock(shared->mutex);
    shared->subscription = std::move(subscription);
    shared->abilities = std::move(abilities);
    shared->facts = std::move(facts);
    shared->attached_once = true;
    return {};
  };
  hooks.attached = [shared](const Connect& connect) {
    shared->guests.forget("");
    shared->sink->tell("", Event::Change);
    if (examines_anew(connect.get(), shared->abilities_now())) shared->note_slow_define();
  };
  hooks.detach = [shared](const Connect& connect) {
    Subscription subscription;
    {
      Lock lock(shared->mutex);
      subscription = std::exchange(shared->subscription, {});
    }
    unsubscribe(connect.get(), subscription);
  };
  return hooks;
}

template <class T>
Result<T> LibvirtDriver::call(std::string_view attempt, std::chrono::milliseconds deadline,
                              std::function<Result<T>(const Connect&)> work) {
  const Connect connect = TRY(connection_.get());
  Result<T> outcome =
      calls_.run<T>(attempt, deadline, [connect, work = std::move(work)] { return work(connect); });
  if (!outcome.ok() && outcome.error().code() == Code::Unavailable)
    connection_.report_failure(connect);
  return outcome;
}

Status LibvirtDriver::change(std::string_view attempt, std::string_view uid,
                             std::function<Status(virDomainPtr)> work) {
  auto outcome = call<Done>(
      attempt, options_.change_deadline,
      [id = std::string(uid), work = std::move(work)](const Connect& connect) -> Result<Done> {
        const auto domain = TRY(find_domain(connect.get(), id));
        return TRY(work(domain.get()));
      });
  if (!outcome.ok()) return std::move(outcome).error();
  shared_->guests.forget(std::string(uid));
  return {};
}

DriverFacts LibvirtDriver::facts() {
  const auto connected = connection_.get();
  const auto overdue = calls_.overdue();
  DriverFacts facts;
  {
    Lock lock(shared_->mutex);
    facts = shared_->facts;
    if (shared_->defines_slowly) facts.warnings.push_back(slow_define_warning());
    if (shared_->without_limits)
      facts.warnings.emplace_back(
          "machines run without the limits they were given: libvirt is set up without control "
          "groups (cgroup_controllers in qemu.conf), or none are mounted");
  }
  facts.kind = "libvirt";
  facts.uri = options_.uri;
  facts.available = connected.ok();
  if (!connected.ok())
    facts.description = connected.error().message() + ". " + connected.error().remedy();
  if (overdue > 0)
    facts.warnings.push_back(
        std::to_string(overdue) +
        " calls are past their deadline: libvirtd, a guest or its storage hangs");
  return facts;
}

bool LibvirtDriver::has(std::string_view capability) {
  Lock lock(shared_->mutex);
  const auto& all = shared_->facts.capabilities;
  return std::find(all.begin(), all.end(), capability) != all.end();
}

Result<std::vector<GuestSeen>> LibvirtDriver::list() {
  auto all = call<std::vector<GuestSeen>>(
      "listing guests", options_.change_deadline,
      [shared = shared_](const Connect& connect) { return shared->guests.list(connect.get()); });
  if (!all.ok()) return all;
  std::vector<GuestSeen> told = std::move(all).value();
  for (auto& seen : told) seen = with_facts(std::move(seen), rota_);
  return told;
}

void LibvirtDriver::ask_guests() {
  const auto deadline = std::min(options_.agent_deadline, Rota::kInOneGo);
  const auto question = [&](const std::string& uid) {
    return call<GuestFacts>("asking the guest", options_.read_deadline,
                            [uid, deadline](const Connect& connect) -> Result<GuestFacts> {
                              const auto domain = TRY(find_domain(connect.get(), uid));
                              return ask_guest(domain.get(), deadline);
                            });
  };
  for (const auto& uid : rota_.ask(shared_->guests.that_answer(), question))
    shared_->sink->tell(uid, Event::Change);
}

Result<GuestSeen> LibvirtDriver::get(std::string_view uid) {
  auto seen = call<GuestSeen>(
      "looking at the guest", options_.read_deadline,
      [shared = shared_, id = std::string(uid)](const Connect& connect) -> Result<GuestSeen> {
        const auto domain = TRY(find_domain(connect.get(), id));
        return shared->guests.get(domain.get());
      });
  if (!seen.ok()) return seen;
  return with_facts(std::move(seen).value(), rota_);
}

Result<std::vector<GuestUse>> LibvirtDriver::use() {
  auto uses =
      call<std::vector<GuestUse>>("reading statistics", options_.read_deadline,
                                  [](const Connect& connect) { return read_use(connect.get()); });
  if (!uses.ok()) return uses;
  ask_guests();
  std::vector<GuestUse> all = std::move(uses).value();
  add_answers(all, rota_);
  return all;
}

Result<std::vector<std::string>> LibvirtDriver::define(const GuestDefinition& guest) {
  using Pending = std::vector<std::string>;
  const XmlChoices choices{.disk_cache = options_.disk_cache, .confine = options_.confine};
  return call<Pending>(
      "defining the guest", options_.change_deadline,
      [shared = shared_, guest, choices](const Connect& connect) -> Result<Pending> {
        const auto begin = std::chrono::steady_clock::now();
        auto pending =
            define_guest(connect.get(), shared->guests, guest, choices, shared->abilities_now());
        if (std::chrono::steady_clock::now() - begin > kSlowDefine) shared->note_slow_define();
        shared->guests.forget(guest.uid);
        return pending;
      });
}

Status LibvirtDriver::undefine(std::string_view uid) {
  auto outcome = change("removing the guest", uid, [shared = shared_](virDomainPtr domain) {
    return undefine_guest(domain, shared->guests);
  });
  if (!outcome.ok() && outcome.error().reason() == "GUEST_NOT_FOUND") return {};
  return outcome;
}

Status LibvirtDriver::start(std::string_view uid) {
  return change("starting the guest", uid,
                [shared = shared_, now = clock_.wall()](virDomainPtr domain) -> Status {
                  TRY(start_guest(domain, now));
                  shared->note_limits(domain);
                  return {};
                });
}

Status LibvirtDriver::request_shutdown(std::string_view uid) {
  return change("asking the guest to shut down", uid,
                [shared = shared_, deadline = options_.agent_deadline](virDomainPtr domain) {
                  return shut_down_guest(domain, shared->guests, deadline);
                });
}

Status LibvirtDriver::request_reboot(std::string_view uid) {
  return change("asking the guest to reboot", uid,
                [shared = shared_, deadline = options_.agent_deadline](virDomainPtr domain) {
                  return reboot_guest(domain, shared->guests, deadline);
                });
}

Status LibvirtDriver::power_off(std::string_view uid) {
  return change("powering off the guest", uid, power_off_guest);
}

Status LibvirtDriver::reset(std::string_view uid) {
  return change("resetting the guest", uid, reset_guest);
}

Status LibvirtDriver::pause(std::string_view uid) {
  return change("pausing the guest", uid, pause_guest);
}

Status LibvirtDriver::resume(std::string_view uid) {
  return change("resuming the guest", uid, resume_guest);
}

bool LibvirtDriver::watch(std::function<void(std::string uid)> changed) {
  shared_->sink->listen(std::move(changed));
  Lock lock(shared_->mutex);
  if (shared_->attached_once) return shared_->abilities.has_events;
  return !lacks_events_for_sure(options_.uri);
}

SavedState* LibvirtDriver::saved_state() {
  return has("saved-state") ? this : nullptr;
}
SerialConsole* LibvirtDriver::serial_console() {
  return has("console") ? this : nullptr;
}

Status LibvirtDriver::save(std::string_view uid, const std::string& path) {
  auto outcome = call<Done>("saving the guest", options_.save_deadline,
                            [id = std::string(uid), path](const Connect& connect) -> Result<Done> {
                              const auto domain = TRY(find_domain(connect.get(), id));
                              return TRY(save_guest(domain.get(), path));
                            });
  if (!outcome.ok()) return std::move(outcome).error();
  return {};
}

Status LibvirtDriver::restore(std::string_view uid, const std::string& path) {
  auto outcome = call<Done>(
      "restoring the guest", options_.save_deadline,
      [id = std::string(uid), path, now = clock_.wall()](const Connect& connect) -> Result<Done> {
        const auto domain = TRY(find_domain(connect.get(), id));
        return TRY(restore_guest(domain.get(), path, now));
      });
  if (!outcome.ok()) return std::move(outcome).error();
  return {};
}

Result<std::string> LibvirtDriver::console_path(std::string_view uid) {
  return call<std::string>(
      "finding the console", options_.read_deadline,
      [shared = shared_, id = std::string(uid)](const Connect& connect) -> Result<std::string> {
        const auto domain = TRY(find_domain(connect.get(), id));
        return console_path_of(domain.get(), shared->guests);
      });
}

Result<std::string> LibvirtDriver::log_path(std::string_view uid) {
  return call<std::string>(
      "finding the console log", options_.read_deadline,
      [shared = shared_, id = std::string(uid)](const Connect& connect) -> Result<std::string> {
        const auto domain = TRY(find_domain(connect.get(), id));
        return console_log_of(domain.get(), shared->guests);
      });
}

}  // namespace reeve::agent::libvirt
