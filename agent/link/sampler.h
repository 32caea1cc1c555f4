// agent/link/sampler.h - samples host and guests at the rhythm the server asks for, while it
// listens.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/executor/gate.h"
#include "agent/executor/step.h"
#include "agent/host/host_probe.h"
#include "base/loop.h"
#include "base/thread.h"
#include "reeve/agent/v1/observation.pb.h"

namespace reeve::agent {

class Sampler {
 public:
  /// References outlive the sampler. `send` is called on the loop.
  Sampler(Loop& loop, Workers& workers, StepWorld world, HostProbe& probe,
          std::function<void(v1::Metrics)> send);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  /// Samples every `interval` (at least a second); 0 or less stops.
  void set_interval(std::chrono::milliseconds interval);

 private:
  struct Last;
  void sample();

  Workers& workers_;
  const std::shared_ptr<const StepWorld> world_;
  HostProbe& probe_;
  const std::function<void(v1::Metrics)> send_;
  const std::shared_ptr<Gate> gate_;
  const std::shared_ptr<Last> last_;  ///< of the one worker that samples
  std::chrono::milliseconds interval_{0};
  bool sampling_ = false;
  TimerId timer_ = 0;
};

}  // namespace reeve::agent
