#include "agent/link/sampler.h"

#include <algorithm>

#include "agent/executor/convert.h"

namespace reeve::agent {
namespace {

constexpr std::chrono::milliseconds kShortest{1000};

struct Counter {
  std::uint64_t cpu_time_us = 0;
  Monotonic at{};
};

v1::GuestUse to_proto(const GuestUse& use, const Counter& before, Monotonic now) {
  v1::GuestUse out;
  out.set_uid(use.uid);
  auto& sample = *out.mutable_use();
  const auto wall_us =
      std::chrono::duration_cast<std::chrono::microseconds>(now - before.at).count();
  if (before.at != Monotonic{} && wall_us > 0 && use.cpu_time_us >= before.cpu_time_us) {
    constexpr double kWhole = 10'000;
    sample.set_cpu_basis_points(static_cast<std::int32_t>(
        std::min(kWhole * 4096, kWhole * static_cast<double>(use.cpu_time_us - before.cpu_time_us) /
                                    static_cast<double>(wall_us))));
  }
  sample.set_memory_mib(use.memory_mib);
  sample.set_disk_read_bytes(static_cast<std::int64_t>(use.disk_read_bytes));
  sample.set_disk_write_bytes(static_cast<std::int64_t>(use.disk_write_bytes));
  sample.set_net_receive_bytes(static_cast<std::int64_t>(use.net_receive_bytes));
  sample.set_net_send_bytes(static_cast<std::int64_t>(use.net_send_bytes));
  if (use.guest_answer) *out.mutable_guest_answer_time() = agent::to_proto(*use.guest_answer);
  return out;
}

}  // namespace

struct Sampler::Last {
  std::map<std::string, Counter> guests{};
};

Sampler::Sampler(Loop& loop, Workers& workers, StepWorld world, HostProbe& probe,
                 std::function<void(v1::Metrics)> send)
    : workers_(workers),
      world_(std::make_shared<const StepWorld>(std::move(world))),
      probe_(probe),
      send_(std::move(send)),
      gate_(Gate::create(loop)),
      last_(std::make_shared<Last>()) {}

Sampler::~Sampler() {
  gate_->close();
}

void Sampler::set_interval(std::chrono::milliseconds interval) {
  interval_ = interval.count() <= 0 ? interval : std::max(interval, kShortest);
  gate_->cancel(timer_);
  timer_ = 0;
  if (interval_.count() > 0 && !sampling_) sample();
}

void Sampler::sample() {
  sampling_ = true;
  workers_.run([this, gate = gate_, world = world_, probe = &probe_, last = last_] {
    v1::Metrics metrics;
    *metrics.mutable_sample_time() = to_proto(world->clock->wall());
    *metrics.mutable_host() = probe->use();
    std::map<std::string, Counter> counters;
    for (const auto& [id, driver] : world->drivers) {
      const auto guests = driver->use();
      if (!guests.ok()) continue;
      const auto now = world->clock->monotonic();
      for (const auto& use : guests.value()) {
        *metrics.add_guests() = to_proto(use, last->guests[use.uid], now);
        counters[use.uid] = {use.cpu_time_us, now};
      }
    }
    last->guests = std::move(counters);
    if (const auto space = world->store->space(); space.ok())
      metrics.set_store_free_bytes(space.value().free_bytes);
    gate->post([this, metrics = std::move(metrics)] {
      sampling_ = false;
      if (interval_.count() <= 0) return;
      send_(metrics);
      timer_ = gate_->post_after(interval_, [this] { sample(); });
    });
  });
}

}  // namespace reeve::agent
