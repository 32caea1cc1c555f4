#include <atomic>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/sim_loop.h"
#include "base/slow_tasks.h"
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

TEST_CASE("slow tasks are told once a minute, with what was left out", "[base]") {
  SlowTasks slow;
  const Monotonic start{};
  CHECK_FALSE(slow.note(start, 5ms));
  const auto first = slow.note(start, 6ms);
  REQUIRE(first);
  CHECK(first->took == 6ms);
  CHECK(first->left_out == 0);
  int told = 0;
  for (int i = 0; i < 5900; ++i)
    if (slow.note(start + i * 10ms, i == 7 ? 90ms : 8ms)) ++told;
  CHECK(told == 0);
  CHECK_FALSE(slow.note(start + 60s, 5ms));
  const auto second = slow.note(start + 60s, 7ms);
  REQUIRE(second);
  CHECK(second->took == 7ms);
  CHECK(second->left_out == 5900);
  CHECK(second->worst_left_out == 90ms);
  CHECK_FALSE(slow.note(start + 119s, 1s));
  const auto third = slow.note(start + 200s, 6ms);
  REQUIRE(third);
  CHECK(third->left_out == 1);
  CHECK(third->worst_left_out == 1s);
}

TEST_CASE("a thread loop that is slow all the time fills no log, and each says so", "[base]") {
  std::vector<std::string> lines;
  Mutex mutex;
  log::set_sink([&](std::string_view line) {
    Lock lock(mutex);
    lines.emplace_back(line);
  });
  {
    ThreadLoop one("one"), two("two");
    for (int i = 0; i < 20; ++i)
      for (auto* loop : {&one, &two}) loop->post([] { std::this_thread::sleep_for(6ms); });
  }
  log::set_sink({});
  REQUIRE(lines.size() == 2);
  const auto all = lines[0] + lines[1];
  CHECK(all.find(R"("message":"slow task on loop","loop":"one","micros":)") != std::string::npos);
  CHECK(all.find(R"("loop":"two")") != std::string::npos);
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
