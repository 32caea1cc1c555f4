// agent/guest/rota.h - whose turn it is to be asked what it says of itself, and what it said last.
//
// A guest is asked now and then, sooner after its start, later when it is silent or says something
// else each time: however many there are and whatever they do, asking costs little. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/guest/facts.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace reeve::agent {

class Rota {
 public:
  struct Heard {
    GuestFacts facts{};
    WallTime at{};  ///< of the last answer
  };

  /// `clock` outlives the object.
  explicit Rota(const Clock& clock) : clock_(clock) {}

  /// One of `running` whose time has come, or nothing; what others said is forgotten. It counts as
  /// silent until answered() is called.
  std::optional<std::string> next(const std::vector<std::string>& running);
  /// Takes what it said, bounded; true when that is something else than before.
  bool answered(const std::string& uid, GuestFacts facts);
  /// One go: asks those whose time has come, a few at most, none after one that does not answer and
  /// none once kInOneGo has passed, for some answer slowly on purpose. Returns those that say
  /// something else than before.
  std::vector<std::string> ask(
      const std::vector<std::string>& running,
      const std::function<Result<GuestFacts>(const std::string& uid)>& question);
  static constexpr std::chrono::seconds kInOneGo{2};
  std::optional<Heard> heard(const std::string& uid) const;
  void forget(const std::string& uid);

 private:
  struct Known {
    std::optional<Heard> heard{};
    Monotonic due{};
    std::chrono::seconds silence{0};  ///< until it is asked again if it does not answer
    std::chrono::seconds pause{0};    ///< and if it does
    bool changes = false;             ///< said something else than the time before
  };
  const Clock& clock_;
  mutable Mutex mutex_;
  std::map<std::string, Known> known_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::agent
