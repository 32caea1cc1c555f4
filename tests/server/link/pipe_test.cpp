#include "server/rpc/pipe.h"

#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "server/rpc/turn.h"

namespace reeve::server {
namespace {

Chunk chunk(std::int64_t offset, std::string bytes) {
  return {.offset = offset, .lost_bytes = 0, .bytes = std::move(bytes)};
}

TEST_CASE("a pipe hands chunks over in order and then says how it ended", "[link]") {
  Pipe pipe(100);
  CHECK_FALSE(pipe.pop().has_value());
  CHECK(pipe.push(chunk(0, "ab")));
  CHECK(pipe.push(chunk(2, "cd")));
  pipe.finish(Error{Code::Aborted, "UPLOAD_INTERRUPTED", "x"});
  pipe.finish({});  // the first call counts
  CHECK_FALSE(pipe.end().has_value());
  CHECK(pipe.pop()->bytes == "ab");
  CHECK(pipe.pop()->offset == 2);
  REQUIRE(pipe.end().has_value());
  CHECK(pipe.end()->error().reason() == "UPLOAD_INTERRUPTED");
  CHECK_FALSE(pipe.push(chunk(4, "late")));
  CHECK_FALSE(pipe.pop().has_value());
}

TEST_CASE("a full pipe asks for a pause and calls when there is room", "[link]") {
  Pipe pipe(4);
  int calls = 0;
  pipe.on_writable([&] { ++calls; });
  CHECK(pipe.push(chunk(0, "abc")));
  CHECK_FALSE(pipe.push(chunk(3, "defgh")));
  CHECK_FALSE(pipe.is_writable());
  CHECK(pipe.pop()->bytes == "abc");
  CHECK(calls == 0);  // still more than it should hold
  CHECK(pipe.pop()->bytes == "defgh");
  CHECK(calls == 1);
  CHECK(pipe.is_writable());
}

TEST_CASE("a consumer that gives up drops what is queued and tells the producer why", "[link]") {
  Pipe pipe(4);
  int calls = 0;
  pipe.on_writable([&] { ++calls; });
  pipe.push(chunk(0, "abcdef"));
  pipe.abandon({Code::Aborted, "GONE", "x"});
  pipe.abandon({Code::Aborted, "LATER", "x"});
  CHECK(calls == 1);
  CHECK(pipe.abandoned()->reason() == "GONE");
  CHECK_FALSE(pipe.is_writable());
  CHECK_FALSE(pipe.push(chunk(6, "x")));
}

/// Copies numbers through a pipe the way the streams do: each side takes its turn.
struct Copy {
  static constexpr std::int64_t kChunks = 20'000;
  Pipe pipe{64};
  Turn writing, reading;
  std::int64_t next = 0;              // the producer's, by turn
  std::atomic<std::int64_t> seen{0};  // the consumer's, by turn
  std::atomic<bool> in_order{true};

  void produce() {
    if (!writing.take()) return;
    do {
      while (next < kChunks && pipe.is_writable()) pipe.push(chunk(next++, "seven b"));
    } while (!writing.give_back());
  }
  void consume() {
    if (!reading.take()) return;
    do {
      while (const auto got = pipe.pop())
        if (got->offset != seen++) in_order = false;
    } while (!reading.give_back());
  }
};

TEST_CASE("nothing is lost or stuck between two threads that take turns", "[link]") {
  Copy copy;
  copy.pipe.on_writable([&] { copy.produce(); });
  std::thread producer([&] { copy.produce(); });
  while (copy.seen < Copy::kChunks) copy.consume();
  producer.join();
  CHECK(copy.in_order);
}

}  // namespace
}  // namespace reeve::server
