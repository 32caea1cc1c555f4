// base/random.h - where randomness comes from: the kernel in daemons, a seed in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

namespace reeve {

class Random {
 public:
  virtual ~Random() = default;
  /// Fills `out`; safe for keys when the source is SystemRandom.
  virtual void fill(std::span<std::byte> out) = 0;
  /// Uniform in [0, bound); `bound` > 0.
  std::uint64_t below(std::uint64_t bound);
};

/// getrandom(2). Thread-safe.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> out) override;
  static SystemRandom& instance();
};

/// Repeatable from its seed, the same on every machine. One thread.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::byte> out) override;

 private:
  std::mt19937_64 engine_;
};

}  // namespace reeve
