// agent/link/observer.h - keeps the picture of this host and says what changed.
//
// Looks at every hypervisor at a rhythm, when one says that something changed, and after each step.
// Reads run on workers; the picture lives on the loop. A guest of a hypervisor that cannot be asked
// stays in the picture as it was last seen: the hypervisor's own entry says that it is not
// available. Nor is one whose guests could never be listed since our start: what is absent from the
// picture is then unknown, and must not count as gone. A look that failed is repeated soon.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "agent/executor/gate.h"
#include "agent/executor/step.h"
#include "agent/host/host_probe.h"
#include "base/loop.h"
#include "base/thread.h"
#include "proto/picture.h"

namespace reeve::agent {

struct ObserverSettings {
  std::string version{};
  std::chrono::milliseconds poll_without_events{5'000};
  std::chrono::milliseconds poll_with_events{60'000};
  std::chrono::milliseconds poll_host{60'000};
  // After a look at guests that failed: at first, and doubled up to this.
  std::chrono::milliseconds retry_min{500};
  std::chrono::milliseconds retry_max{30'000};
  std::chrono::milliseconds retry_images{5'000};  ///< when the store could not be listed
  std::chrono::milliseconds settle{20};           ///< changes within this time leave as one delta
};

class Observer {
 public:
  /// `send` delivers an observation and says whether a connection took it. References outlive the
  /// observer.
  Observer(Loop& loop, Workers& workers, StepWorld world, HostProbe& probe,
           ObserverSettings settings, std::function<bool(v1::Observation)> send);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  void start();
  /// The connection is new, or the server asks: everything is sent, as soon as everything has been
  /// seen.
  void send_full(bool new_connection);
  /// How a guest looks after a step. What was read before is older and does not replace it.
  void looked_at(const GuestRef& guest, const Result<GuestSeen>& seen);
  /// An image came or went: nothing full is sent until the store has been listed again.
  void images_changed();
  /// Sends what waits now, so that a result does not overtake what it caused.
  void flush();
  const Picture& picture() const { return picture_; }

 private:
  struct Source {
    Driver* driver = nullptr;
    bool has_events = false;
    bool seen_once = false;
    bool listed_once = false;
    std::string why_unlisted{};  ///< while not listed_once
    bool reading = false;
    bool all_dirty = true;                           ///< list again
    std::set<std::string> dirty{};                   ///< guests to look at again
    std::map<std::string, std::uint64_t> touched{};  ///< uid -> count_ when a step looked at it
    TimerId timer = 0;
    TimerId retry = 0;
    std::chrono::milliseconds retry_in{};  ///< 0: retry_min
  };
  struct Reading;

  void read_host();
  void refresh(const std::string& id);
  void read(const std::string& id);
  void took(const std::string& id, const Reading& reading);
  void poll(const std::string& id);
  void retry(const std::string& id);
  void list_images();
  void images_listed(std::uint64_t listing, const Result<std::vector<std::string>>& images);
  bool may_send() const;
  void set_guest(const v1::GuestSeen& seen);
  void drop_guest(const std::string& hypervisor, const std::string& uid);
  void changed();
  void send_delta();
  v1::Observation stamped();

  Workers& workers_;
  const std::shared_ptr<const StepWorld> world_;
  HostProbe& probe_;
  const Clock& clock_;
  const ObserverSettings settings_;
  const std::function<bool(v1::Observation)> send_;
  const std::shared_ptr<Gate> gate_;

  std::map<std::string, Source> sources_{};
  std::uint64_t count_ = 0;  ///< rises with every read begun and every look of a step
  bool host_seen_ = false;
  Picture picture_{};
  std::vector<std::string> images_{};
  enum class Images : std::uint8_t { Listing, Listed, Unknown };
  Images images_are_ = Images::Listing;
  std::uint64_t listings_ = 0;        ///< begun; only the last one counts
  bool images_told_unknown_ = false;  ///< in the last full observation
  // What the next delta says.
  bool full_wanted_ = true;
  bool host_changed_ = false;
  std::set<std::string> changed_hypervisors_{};
  std::set<std::string> changed_guests_{};
  std::uint64_t sequence_ = 0;
  TimerId send_timer_ = 0;
};

}  // namespace reeve::agent
