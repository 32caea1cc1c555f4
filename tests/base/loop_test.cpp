#include <atomic>

#include <catch2/catch.hpp>

#include "base/sim_loop.h"
#include "base/thread.h"

namespace reeve {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a thread loop runs tasks in order and timers after their delay", "[base]") {
  ThreadLoop loop("test");
  std::string order;
  loop.post([&] { order += 'a'; });
  loop.post([&] { order += 'b'; });
  std::atomic<bool> fired{false};
  loop.post_after(1ms, [&] { fired = true; });
  while (!fired) std::this_thread::yield();
  loop.run_and_wait([&] { order += 'c'; });
  CHECK(order == "abc");
}

TEST_CASE("a cancelled timer never runs", "[base]") {
  ThreadLoop loop("test");
  bool fired = false;
  loop.run_and_wait([&] {
    const auto id = loop.post_after(0ms, [&] { fired = true; });
    loop.cancel(id);
  });
  loop.run_and_wait([] {});
  loop.stop();
  CHECK_FALSE(fired);
}

std::string run_two_loops(std::uint64_t seed) {
  SimWorld world(seed);
  SimLoop one(world), two(world);
  std::string order;
  for (char c : std::string("abcd")) one.post([&order, c] { order += c; });
  for (char c : std::string("1234")) two.post([&order, c] { order += c; });
  while (world.step()) {
  }
  return order;
}

TEST_CASE("a simulated world repeats under its seed and varies with it", "[base]") {
  CHECK(run_two_loops(1) == run_two_loops(1));
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 50; ++seed) orders.insert(run_two_loops(seed));
  CHECK(orders.size() > 10);
  for (auto order : orders) {
    std::erase_if(order, [](char c) { return c >= '0' && c <= '9'; });
    CHECK(order == "abcd");
  }
}

TEST_CASE("simulated time jumps from timer to timer", "[base]") {
  SimWorld world(7);
  SimLoop loop(world);
  std::vector<std::chrono::microseconds> fired;
  const auto now = [&] {
    return std::chrono::duration_cast<std::chrono::microseconds>(
        loop.clock().monotonic().time_since_epoch());
  };
  loop.post_after(1h, [&] { fired.push_back(now()); });
  loop.post_after(1s, [&] { fired.push_back(now()); });
  world.run_for(30min);
  CHECK(fired == std::vector<std::chrono::microseconds>{1s});
  CHECK(now() == 30min);
  CHECK(world.run_until([&] { return fired.size() == 2; }, 2h));
  CHECK(now() == 1h);
}

TEST_CASE("a crashed loop takes its tasks and timers with it", "[base]") {
  SimWorld world(7);
  auto loop = std::make_unique<SimLoop>(world);
  bool ran = false;
  loop->post([&] { ran = true; });
  loop->post_after(1s, [&] { ran = true; });
  loop.reset();
  world.run_for(10s);
  CHECK_FALSE(ran);
}

TEST_CASE("a worker pool runs everything it was given", "[base]") {
  std::atomic<int> done{0};
  {
    WorkerPool pool("test", 3);
    for (int i = 0; i < 100; ++i) pool.run([&] { ++done; });
    while (done < 100) std::this_thread::yield();
  }
  CHECK(done == 100);
}

}  // namespace
}  // namespace reeve
