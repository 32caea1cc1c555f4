// The ring as the specification has it, then as a hostile guest has it.
#include "hypervisor_core/virtio/queue.h"

#include <catch2/catch.hpp>

#include "tests/hypervisor_core/virtio/driver_side.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

constexpr Gpa kBase = 0x10000;
constexpr std::uint64_t kPlain = kVersion1;

std::string read_all(Chain& chain) {
  std::string out(chain.readable_bytes(), '\0');
  REQUIRE(chain.read(std::as_writable_bytes(std::span(out))).ok());
  return out;
}

struct Ring {
  std::unique_ptr<GuestMemory> memory = make_memory();
  FakeInterrupts interrupts{};
  DriverSide driver;
  std::unique_ptr<Queue> queue;

  explicit Ring(std::uint64_t features = kCommonFeatures, std::uint16_t size = 16)
      : driver(*memory, kBase, size, features), queue(driver.make_queue(interrupts)) {}
  /// Pops until empty and says how many good chains there were.
  int serve() {
    int chains = 0;
    while (auto chain = queue->pop()) ++chains;
    queue->signal_used();
    return chains;
  }
};

}  // namespace

TEST_CASE("a chain is read and written across its buffers in order", "[virtio]") {
  Ring ring;
  const auto first = ring.driver.writable(3);
  const auto second = ring.driver.writable(10);
  const auto head =
      ring.driver.submit({ring.driver.readable("hel"), ring.driver.readable("lo"), first, second});
  {
    auto chain = ring.queue->pop();
    REQUIRE(chain);
    CHECK(chain->readable_bytes() == 5);
    CHECK(chain->writable_bytes() == 13);
    CHECK(read_all(*chain) == "hello");
    CHECK(chain->write(std::as_bytes(std::span("answer", 6))).ok());
    CHECK_FALSE(chain->write(std::as_bytes(std::span("too long", 8))).ok());
    CHECK(ring.driver.used_index() == 0);
  }
  const auto used = ring.driver.take_used();
  REQUIRE(used);
  CHECK(used->id == head);
  CHECK(used->length == 6);
  CHECK(ring.driver.text(first) + ring.driver.text(second, 3) == "answer");
}

TEST_CASE("an indirect chain reads as a direct one, also behind direct descriptors", "[virtio]") {
  Ring ring;
  ring.driver.submit_indirect({ring.driver.readable("in"), ring.driver.readable("direct")});
  const Gpa table = ring.driver.room(16);
  ring.driver.chain(table, 0, {ring.driver.readable("tail")});
  const auto front = ring.driver.readable("front ");
  ring.driver.set_descriptor(8, {front.address, front.length, kDescriptorNext, 9});
  ring.driver.set_descriptor(9, {table, 16, kDescriptorIndirect, 0});
  ring.driver.make_available(8);
  {
    auto chain = ring.queue->pop();
    REQUIRE(chain);
    CHECK(read_all(*chain) == "indirect");
  }
  auto chain = ring.queue->pop();
  REQUIRE(chain);
  CHECK(read_all(*chain) == "front tail");
}

TEST_CASE("zero-copy ranges cover the same bytes and short reads can be told", "[virtio]") {
  Ring ring;
  ring.driver.submit({ring.driver.readable("abc"), ring.driver.readable("defg"),
                      ring.driver.writable(4), ring.driver.writable(4)});
  {
    auto chain = ring.queue->pop();
    std::vector<iovec> ranges;
    chain->take_readable(5, ranges);
    REQUIRE(ranges.size() == 2);
    CHECK(std::string(static_cast<char*>(ranges[1].iov_base), ranges[1].iov_len) == "de");
    CHECK(read_all(*chain) == "fg");
    ranges.clear();
    chain->take_writable(100, ranges);
    CHECK(chain->written_bytes() == 8);
    chain->shorten(5);
  }
  CHECK(ring.driver.take_used()->length == 5);
}

TEST_CASE("the last bytes of the room can be written apart from the rest", "[virtio]") {
  Ring ring;
  const auto room = ring.driver.writable(8);
  ring.driver.submit({room});
  {
    auto chain = ring.queue->pop();
    CHECK(chain->write_last(std::as_bytes(std::span("!", 1))).ok());
    CHECK(chain->writable_bytes() == 7);
    CHECK(chain->write(std::as_bytes(std::span("abcdefg", 7))).ok());
  }
  CHECK(ring.driver.text(room) == "abcdefg!");
}

TEST_CASE("a chain put back is popped again", "[virtio]") {
  Ring ring;
  ring.driver.submit({ring.driver.readable("one")});
  ring.driver.submit({ring.driver.readable("two")});
  {
    auto chain = ring.queue->pop();
    CHECK(read_all(*chain) == "one");
    ring.queue->put_back(std::move(*chain));
  }
  CHECK(ring.queue->in_flight() == 0);
  CHECK(ring.queue->position() == QueuePosition{0, 0});
  auto chain = ring.queue->pop();
  CHECK(read_all(*chain) == "one");
}

TEST_CASE("with the event index the driver is interrupted only where it asked", "[virtio]") {
  Ring ring(kCommonFeatures);
  ring.driver.set_used_event(1);
  ring.driver.submit({ring.driver.readable("a")});
  ring.serve();
  CHECK(ring.interrupts.used[0] == 0);
  ring.driver.submit({ring.driver.readable("b")});
  ring.serve();
  CHECK(ring.interrupts.used[0] == 1);
  CHECK(ring.driver.available_event() == 2);
  ring.serve();
  CHECK(ring.interrupts.used[0] == 1);
}

TEST_CASE("without the event index flags ask for interrupts and kicks", "[virtio]") {
  Ring ring(kPlain);
  ring.serve();
  ring.driver.set_available_flags(kAvailableNoInterrupt);
  ring.driver.submit({ring.driver.readable("a")});
  {
    auto chain = ring.queue->pop();
    CHECK(ring.driver.used_flags() == kUsedNoNotify);
  }
  ring.serve();
  CHECK(ring.driver.used_flags() == 0);
  CHECK(ring.interrupts.used[0] == 0);
  ring.driver.set_available_flags(0);
  ring.driver.submit({ring.driver.readable("b")});
  ring.serve();
  CHECK(ring.interrupts.used[0] == 1);
}

TEST_CASE("a queue carries on where a saved one stopped, over the wrap of its indices",
          "[virtio]") {
  Ring ring;
  for (int i = 0; i < 70000; ++i) {
    ring.driver.reuse_room();
    ring.driver.submit({ring.driver.readable("x")});
    REQUIRE(ring.serve() == 1);
    if (i % 9973 == 0) {
      const auto position = ring.queue->position();
      ring.queue = ring.driver.make_queue(ring.interrupts, position);
    }
  }
  CHECK(ring.queue->position() == QueuePosition{70000 % 65536, 70000 % 65536});
}

TEST_CASE("a restored queue allows kicks again although its memory forbids them", "[virtio]") {
  Ring ring(kPlain);
  ring.serve();
  ring.driver.submit({ring.driver.readable("a")});
  { auto chain = ring.queue->pop(); }
  CHECK(ring.driver.used_flags() == kUsedNoNotify);
  ring.queue = ring.driver.make_queue(ring.interrupts, ring.queue->position());
  ring.serve();
  CHECK(ring.driver.used_flags() == 0);
}

TEST_CASE("host writes into a chain are marked dirty", "[virtio]") {
  Ring ring;
  const auto room = ring.driver.writable(10);
  ring.memory->track_dirty(true);
  ring.driver.submit({room});
  {
    auto chain = ring.queue->pop();
    CHECK(chain->write(std::as_bytes(std::span("x", 1))).ok());
  }
  std::vector<std::uint64_t> bitmap((ring.memory->size_bytes() / kPageSize + 63) / 64);
  ring.memory->take_dirty(0, bitmap);
  const auto dirty = [&](Gpa at) {
    return (bitmap[at / kPageSize / 64] >> (at / kPageSize % 64) & 1) != 0;
  };
  CHECK(dirty(room.address));
  CHECK(dirty(ring.driver.config().used));
}

TEST_CASE("lengths that lie are refused while dirty pages are tracked too, CVE-2019-14835",
          "[virtio]") {
  Ring ring;
  ring.memory->track_dirty(true);
  const auto end = ring.memory->size_bytes();
  ring.driver.set_descriptor(0, {end - 8, 4096, kDescriptorWrite, 0});
  ring.driver.set_descriptor(1, {~Gpa{0} - 8, 4096, kDescriptorWrite, 0});
  ring.driver.make_available(0);
  ring.driver.make_available(1);
  CHECK(ring.serve() == 0);
  CHECK(ring.queue->counters().bad_chains == 2);
  ring.memory->mark_dirty(end - 1, ~std::uint64_t{0});  // and who marks by mistake harms nobody
  ring.memory->mark_dirty(~Gpa{0}, 2);
  std::vector<std::uint64_t> bitmap((end / kPageSize + 63) / 64);
  ring.memory->take_dirty(0, bitmap);
  CHECK((bitmap.back() >> 63) == 0);
}

TEST_CASE("queues of impossible shape are refused when they are made", "[virtio]") {
  const auto memory = make_memory();
  FakeInterrupts interrupts;
  QueueConfig config{.size = 16, .descriptors = 0x1000, .available = 0x2000, .used = 0x3000};
  const auto refusal = [&] {
    auto queue = Queue::create(*memory, interrupts, config);
    return queue.ok() ? std::string() : std::string(queue.error().reason());
  };
  CHECK(refusal().empty());
  SECTION("size 0") {
    config.size = 0;
    CHECK(refusal() == "QUEUE_SIZE");
  }
  SECTION("size 3") {
    config.size = 3;
    CHECK(refusal() == "QUEUE_SIZE");
  }
  SECTION("size 32768") {
    config.size = 32768;
    CHECK(refusal() == "QUEUE_SIZE");
  }
  SECTION("descriptors at 8") {
    config.descriptors = 8;
    CHECK(refusal() == "QUEUE_ALIGNMENT");
  }
  SECTION("odd available") {
    config.available = 1;
    CHECK(refusal() == "QUEUE_ALIGNMENT");
  }
  SECTION("used at 2") {
    config.used = 2;
    CHECK(refusal() == "QUEUE_ALIGNMENT");
  }
  SECTION("descriptors over the end of RAM") {
    config.descriptors = (4u << 20) - 16;
    CHECK(refusal() == "QUEUE_NOT_IN_RAM");
  }
  SECTION("used ring that wraps") {
    config.used = ~Gpa{3};
    CHECK(refusal() == "QUEUE_NOT_IN_RAM");
  }
}

TEST_CASE("a bad chain goes back empty, is counted, and the next one is served", "[virtio]") {
  Ring ring;
  auto& driver = ring.driver;
  const auto good = driver.readable("good");
  SECTION("descriptor loop") {
    driver.set_descriptor(0, {good.address, 1, kDescriptorNext, 1});
    driver.set_descriptor(1, {good.address, 1, kDescriptorNext, 0});
  }
  SECTION("next outside the table") {
    driver.set_descriptor(0, {good.address, 1, kDescriptorNext, 16});
  }
  SECTION("address outside RAM") {
    driver.set_descriptor(0, {Gpa{1} << 40, 1, 0, 0});
  }
  SECTION("range over the end of RAM, CVE-2019-18960") {
    driver.set_descriptor(0, {(4u << 20) - 8, 9, 0, 0});
  }
  SECTION("range that wraps") {
    driver.set_descriptor(0, {~Gpa{0}, 2, 0, 0});
  }
  SECTION("address of a device, CVE-2024-3446") {
    driver.set_descriptor(0, {0xfee00000, 4, 0, 0});
  }
  SECTION("empty descriptor") {
    driver.set_descriptor(0, {good.address, 0, 0, 0});
  }
  SECTION("readable behind writable") {
    driver.set_descriptor(0, {good.address, 1, kDescriptorNext | kDescriptorWrite, 1});
    driver.set_descriptor(1, {good.address, 1, 0, 0});
  }
  SECTION("indirect table of odd length") {
    driver.set_descriptor(0, {good.address, 17, kDescriptorIndirect, 0});
  }
  SECTION("indirect table of no length") {
    driver.set_descriptor(0, {good.address, 0, kDescriptorIndirect, 0});
  }
  SECTION("indirect table larger than the ring") {
    driver.set_descriptor(0, {good.address, 17 * 16, kDescriptorIndirect, 0});
  }
  SECTION("indirect table outside RAM") {
    driver.set_descriptor(0, {Gpa{1} << 40, 16, kDescriptorIndirect, 0});
  }
  SECTION("indirect with next") {
    driver.set_descriptor(0, {good.address, 16, kDescriptorIndirect | kDescriptorNext, 1});
  }
  SECTION("indirect inside indirect") {
    const Gpa table = driver.room(16);
    driver.set_descriptor(table, 0, {table, 16, kDescriptorIndirect, 0});
    driver.set_descriptor(0, {table, 16, kDescriptorIndirect, 0});
  }
  SECTION("next outside the indirect table") {
    const Gpa table = driver.room(32);
    driver.set_descriptor(table, 0, {good.address, 1, kDescriptorNext, 2});
    driver.set_descriptor(0, {table, 32, kDescriptorIndirect, 0});
  }
  SECTION("loop inside the indirect table") {
    const Gpa table = driver.room(16);
    driver.set_descriptor(table, 0, {good.address, 1, kDescriptorNext, 0});
    driver.set_descriptor(0, {table, 16, kDescriptorIndirect, 0});
  }
  driver.make_available(0);
  driver.set_descriptor(5, {good.address, good.length, 0, 0});
  driver.make_available(5);
  CHECK(ring.serve() == 1);
  CHECK(ring.queue->counters().bad_chains == 1);
  CHECK_FALSE(ring.queue->broken());
  CHECK(driver.take_used()->length == 0);
  CHECK(driver.take_used()->id == 5);
  CHECK(ring.queue->in_flight() == 0);
}

TEST_CASE("a chain of more than 4 GiB of overlapping RAM is refused", "[virtio]") {
  const auto memory = make_memory(64u << 20);
  FakeInterrupts interrupts;
  DriverSide driver(*memory, kBase, 256);
  auto queue = driver.make_queue(interrupts);
  for (std::uint16_t i = 0; i < 128; ++i)
    driver.set_descriptor(i, {0, 63u << 20, static_cast<std::uint16_t>(i < 127 ? 1 : 0),
                              static_cast<std::uint16_t>(i + 1)});
  driver.make_available(0);
  CHECK_FALSE(queue->pop());
  CHECK(queue->counters().bad_chains == 1);
}

TEST_CASE("indirect tables are refused when they were not negotiated", "[virtio]") {
  Ring ring(kPlain);
  ring.driver.submit_indirect({ring.driver.readable("x")});
  CHECK(ring.serve() == 0);
  CHECK(ring.queue->counters().bad_chains == 1);
}

TEST_CASE("a broken ring stays broken and asks for a reset once", "[virtio]") {
  Ring ring;
  ring.driver.submit({ring.driver.readable("x")});
  SECTION("index jumps by more than the ring") {
    ring.driver.set_available_index(18);
  }
  SECTION("index runs backwards") {
    CHECK(ring.serve() == 1);
    ring.driver.set_available_index(0);
  }
  SECTION("head outside the table") {
    CHECK(ring.serve() == 1);
    ring.driver.make_available(16);
  }
  CHECK(ring.serve() == 0);
  CHECK(ring.queue->broken());
  ring.driver.submit({ring.driver.readable("y")});
  CHECK(ring.serve() == 0);
  CHECK(ring.interrupts.resets == 1);
}

TEST_CASE("a head reused while in flight breaks the ring, CVE-2026-45782", "[virtio]") {
  Ring ring;
  const auto head = ring.driver.submit({ring.driver.writable(8)});
  auto held = ring.queue->pop();
  REQUIRE(held);
  ring.driver.make_available(head);
  CHECK_FALSE(ring.queue->pop());
  CHECK(ring.queue->broken());
  CHECK(held->write(std::as_bytes(std::span("still", 5))).ok());
  held.reset();
  CHECK(ring.queue->in_flight() == 0);
}

TEST_CASE("rings moved in registers or memory after activation change nothing, CVE-2026-5747",
          "[virtio]") {
  Ring ring;
  ring.driver.submit({ring.driver.readable("kept")});
  auto chain = ring.queue->pop();
  REQUIRE(chain);
  ring.driver.set_descriptor(0, {Gpa{1} << 40, 0xffff'ffff, kDescriptorWrite, 0});
  CHECK(chain->readable_bytes() == 4);
  CHECK(chain->writable_bytes() == 0);
  CHECK(read_all(*chain) == "kept");
}
