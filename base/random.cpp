#include "base/random.h"

#include <cstring>

#include <sys/random.h>

#include "base/check.h"

namespace reeve {

std::uint64_t Random::below(std::uint64_t bound) {
  REEVE_CHECK(bound > 0);
  // Rejection keeps it uniform: values below `2^64 mod bound` are drawn again.
  const std::uint64_t reject = (0 - bound) % bound;
  for (;;) {
    std::uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    if (value >= reject) return value % bound;
  }
}

void SystemRandom::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    REEVE_CHECK(n > 0);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

SystemRandom& SystemRandom::instance() {
  static SystemRandom source;
  return source;
}

void SeededRandom::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t value = engine_();
    const std::size_t n = out.size() < sizeof value ? out.size() : sizeof value;
    std::memcpy(out.data(), &value, n);
    out = out.subspan(n);
  }
}

}  // namespace reeve
