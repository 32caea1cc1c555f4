// agent/driver/sim/hypervisor.h - the pretended hypervisor process: guests that live on while
// agents come and go.
//
//   SimWorld world(seed);
//   SimLoop machine(world);                       // the host's own loop, not the agent's
//   SimHypervisor hypervisor(machine, world.random());
//   auto driver = std::make_unique<SimDriver>(hypervisor);   // destroyed and made anew with each
//   agent
//
// Guests shut down and reboot on the loop's clock; events reach listeners as tasks of that loop.
// Safe from several threads, except that faults by chance draw from `random` under the hypervisor's
// own lock: hand in a source nobody else uses from another thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/driver/driver.h"
#include "agent/driver/sim/faults.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/random.h"

namespace reeve::agent {

/// How a guest behaves when nobody forces it.
struct SimHabits {
  std::chrono::microseconds shutdown_delay{std::chrono::seconds(2)};
  std::chrono::microseconds reboot_delay{std::chrono::seconds(2)};
  bool ignores_shutdown = false;
};

struct SimOptions {
  std::string name{"sim"};  ///< in facts().uri as "sim:///NAME"
  SimHabits habits{};       ///< of guests without their own
  std::chrono::microseconds event_delay{std::chrono::milliseconds(1)};
  std::chrono::microseconds event_jitter{0};  ///< up to this is added, by chance
  bool events = true;                         ///< false: watch() returns false, as ESX would
  bool statistics = true;
  bool saved_state = true;
};

class SimHypervisor {
 public:
  /// Both must outlive the hypervisor.
  SimHypervisor(Loop& loop, Random& random, SimOptions options = {});
  ~SimHypervisor();
  SimHypervisor(const SimHypervisor&) = delete;
  SimHypervisor& operator=(const SimHypervisor&) = delete;

  // --- Faults and outside events, for tests ---

  /// The next `times` matching calls meet `fault`. Faults of one verb are met in the order given.
  void inject(const SimFault& fault, int times = 1);
  void set_chances(const SimChances& chances);
  /// Drops every event until switched off again; state changes go on unseen.
  void lose_events(bool lose);
  /// The connection breaks: all verbs fail with HYPERVISOR_DOWN; guests go on.
  void go_away();
  /// The connection is back; the listener hears "all may have changed".
  void come_back();
  /// The machine lost power: all guests are off, definitions remain.
  void lose_power();
  /// Somebody removed the guest behind our back, running or not.
  void vanish(std::string_view uid);
  void crash_guest(std::string_view uid);
  /// The guest shut itself down from inside.
  void guest_powers_off(std::string_view uid);
  /// A guest that is not ours; appears as it is given.
  void add_foreign(const GuestSeen& guest);
  void set_habits(std::string_view uid, const SimHabits& habits);
  /// Times a guest went from off to running or restored: "a VM never runs twice" is checked with
  /// it.
  int starts_of(std::string_view uid) const;
  GuestLimits limits_of(std::string_view uid) const;
  /// What the guest says of itself from now on.
  void guest_says(std::string_view uid, GuestFacts facts);
  /// Times saved memory ran although the guest's disk had been written since it was saved: what
  /// must never happen. A guest writes whenever it runs.
  int stale_runs() const;

 private:
  friend class SimDriver;

  struct Guest {
    GuestDefinition definition{};  ///< what the next start uses
    GuestSeen seen{};              ///< what runs now
    GuestLimits limits{};          ///< in force, also while it runs
    std::optional<SimHabits> habits{};
    Monotonic running_since{};              ///< valid while Running
    std::chrono::microseconds cpu_time{0};  ///< of this run, up to running_since
    std::uint64_t run = 0;                  ///< counts starts: a timer of an older run does nothing
    int starts = 0;
    std::uint64_t disk_writes = 0;
    std::optional<std::uint64_t> restored_at{};  ///< disk_writes when it was saved; nothing ran yet
  };
  struct Saved {
    std::string uid{};
    std::uint64_t disk_writes = 0;
    GuestSeen seen{};
    std::chrono::microseconds cpu_time{0};
  };
  /// Shared by the driver that made it and events under way to it.
  struct Listener {
    Mutex mutex;
    std::function<void(std::string)> changed REEVE_GUARDED_BY(mutex);
  };
  struct Life {
    Mutex mutex;
    bool over REEVE_GUARDED_BY(mutex) = false;
  };
  using Work = std::function<Status()>;

  // What SimDriver calls; each takes the lock and meets faults.
  Result<std::vector<GuestSeen>> list();
  Result<GuestSeen> get(std::string_view uid);
  Result<std::vector<GuestUse>> use();
  Result<std::vector<std::string>> define(const GuestDefinition& definition);
  Status undefine(std::string_view uid);
  Status start(std::string_view uid);
  Status request_shutdown(std::string_view uid);
  Status request_reboot(std::string_view uid);
  Status power_off(std::string_view uid);
  Status reset(std::string_view uid);
  Status pause(std::string_view uid);
  Status resume(std::string_view uid);
  Status save(std::string_view uid, const std::string& path);
  Status restore(std::string_view uid, const std::string& path);
  void add_listener(std::shared_ptr<Listener> listener);
  void remove_listener(const std::shared_ptr<Listener>& listener);
  DriverFacts facts() const;

  /// Runs `work` under the lock unless a fault says otherwise.
  Status call(SimVerb verb, Work work) REEVE_REQUIRES(mutex_);
  /// Runs `work` if the guest `uid` exists; under the lock.
  Status on_guest(SimVerb verb, std::string_view uid, std::function<Status(Guest&)> work);
  std::optional<SimFault> next_fault(SimVerb verb) REEVE_REQUIRES(mutex_);
  std::optional<SimFault> fault_by_chance(SimVerb verb) REEVE_REQUIRES(mutex_);
  void load_guest(Guest& guest, GuestState state) REEVE_REQUIRES(mutex_);
  void run_guest(Guest& guest) REEVE_REQUIRES(mutex_);
  void stop_guest(Guest& guest, GuestState state, std::string reason) REEVE_REQUIRES(mutex_);
  /// Runs `work` after `delay` if the guest is still in the run it is in now.
  void in_this_run(const Guest& guest, std::chrono::microseconds delay,
                   std::function<void(Guest&)> work) REEVE_REQUIRES(mutex_);
  void after(std::chrono::microseconds delay, std::function<void()> work);
  void announce(const std::string& uid) REEVE_REQUIRES(mutex_);
  const SimHabits& habits_of(const Guest& guest) const;
  std::chrono::microseconds cpu_time_of(const Guest& guest) const;

  Loop& loop_;
  Random& random_;
  const SimOptions options_;
  /// Shared with timers of the loop, which may outlive us and look here first.
  const std::shared_ptr<Life> life_ = std::make_shared<Life>();

  mutable Mutex mutex_;
  std::map<std::string, Guest, std::less<>> guests_ REEVE_GUARDED_BY(mutex_);
  std::map<std::string, Saved, std::less<>> saved_ REEVE_GUARDED_BY(mutex_);  ///< by path
  std::vector<std::shared_ptr<Listener>> listeners_ REEVE_GUARDED_BY(mutex_);
  std::vector<SimFault> faults_ REEVE_GUARDED_BY(mutex_);
  SimChances chances_ REEVE_GUARDED_BY(mutex_);
  bool away_ REEVE_GUARDED_BY(mutex_) = false;
  bool losing_events_ REEVE_GUARDED_BY(mutex_) = false;
  int stale_runs_ REEVE_GUARDED_BY(mutex_) = 0;
};

}  // namespace reeve::agent
