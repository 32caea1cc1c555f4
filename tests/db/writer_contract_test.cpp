// Both writers pass this file.
#include <atomic>
#include <thread>

#include "base/sim_loop.h"
#include "db/group_writer.h"
#include "db/inline_writer.h"
#include "db/repo/feed_repo.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

struct Answer {
  std::string reason{};
  std::int64_t revision = 0;
};

/// Collects answers in the order they came.
struct Answers {
  std::mutex mutex{};
  std::vector<Answer> all{};
  std::vector<std::pair<std::int64_t, std::int64_t>> commits{};

  Writer::Done done() {
    return [this](Status status, std::int64_t revision) {
      std::lock_guard guard(mutex);
      all.push_back({reason_of(status), revision});
    };
  }
  Writer::OnCommit on_commit() {
    return [this](std::int64_t first, std::int64_t last) {
      std::lock_guard guard(mutex);
      commits.emplace_back(first, last);
    };
  }
  std::size_t size() {
    std::lock_guard guard(mutex);
    return all.size();
  }
};

Writer::Work insert_host(const std::string& name) {
  return [name](Transaction& tx) -> Status {
    TRY(HostRepo(tx).insert(host_row("uid-" + name, name), by("a")));
    return {};
  };
}

struct Threaded {
  std::atomic<bool> is_busy{false}, may_go{false};
  GroupWriter writer;
  Threaded(MemoryDb& memory, Answers& answers) : writer(memory.connect(), answers.on_commit()) {}
  /// Keeps the thread busy until everything is queued, so that it becomes one group.
  void queue_together(const std::function<void()>& submit_all) {
    is_busy = may_go = false;
    writer.submit(
        [this](Transaction&) -> Status {
          is_busy = true;
          while (!may_go) std::this_thread::yield();
          return {};
        },
        {});
    while (!is_busy) std::this_thread::yield();
    submit_all();
    may_go = true;
  }
  void wait_for(Answers& answers, std::size_t count) {
    while (answers.size() < count) std::this_thread::yield();
  }
  void refuse_writes() { writer.set_read_only("page 7 is damaged"); }
};

struct Inline {
  SimWorld world{1};
  SimLoop loop{world};
  InlineWriter writer;
  Inline(MemoryDb& memory, Answers& answers)
      : writer(loop, memory.connect(), answers.on_commit()) {}
  void queue_together(const std::function<void()>& submit_all) { submit_all(); }
  void wait_for(Answers& answers, std::size_t count) {
    while (answers.size() < count && world.step()) {
    }
    REQUIRE(answers.size() >= count);
  }
  void refuse_writes() { writer.set_read_only("page 7 is damaged"); }
};

std::int64_t hosts_in(MemoryDb& memory) {
  auto tx = must(memory.database->begin_read());
  return must(tx.integer("SELECT count(*) FROM host")).value();
}

TEMPLATE_TEST_CASE("work that waits together commits together, answered in order", "[db]", Threaded,
                   Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  subject.queue_together([&] {
    for (const auto* name : {"a", "b", "c"})
      subject.writer.submit(insert_host(name), answers.done());
  });
  subject.wait_for(answers, 3);
  CHECK(hosts_in(memory) == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(answers.all[i].reason == "OK");
    CHECK(answers.all[i].revision == static_cast<std::int64_t>(i) + 1);
  }
  CHECK(answers.commits == std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 3}});
}

TEMPLATE_TEST_CASE("a failing work is undone alone", "[db]", Threaded, Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  subject.queue_together([&] {
    subject.writer.submit(insert_host("a"), answers.done());
    subject.writer.submit(
        [](Transaction& tx) -> Status {
          TRY(HostRepo(tx).insert(host_row("x", "x"), by("a")));
          return Error{Code::Internal, "CHANGED_ITS_MIND", "no"};
        },
        answers.done());
    subject.writer.submit(insert_host("a"), answers.done());
    subject.writer.submit(insert_host("b"), answers.done());
  });
  subject.wait_for(answers, 4);
  CHECK(answers.all[0].reason == "OK");
  CHECK(answers.all[1].reason == "CHANGED_ITS_MIND");
  CHECK(answers.all[2].reason == "DB_UNIQUE");
  CHECK(answers.all[3].reason == "OK");
  CHECK(answers.all[3].revision == 2);
  CHECK(hosts_in(memory) == 2);
}

TEMPLATE_TEST_CASE("when the commit fails everyone is told and nothing is visible", "[db]",
                   Threaded, Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  memory.disk.set_failing(FaultDisk::Operation::Sync, true);
  subject.queue_together([&] {
    subject.writer.submit(insert_host("a"), answers.done());
    subject.writer.submit(insert_host("b"), answers.done());
  });
  subject.wait_for(answers, 2);
  CHECK(answers.all[0].reason == "DB_IO");
  CHECK(answers.all[1].reason == "DB_IO");
  CHECK(answers.commits.empty());
  memory.disk.set_failing(FaultDisk::Operation::Sync, false);
  CHECK(hosts_in(memory) == 0);
  // What reached the disk is unknown after a failed fsync, so writing has ended until a restart.
  subject.writer.submit(insert_host("c"), answers.done());
  subject.wait_for(answers, 3);
  CHECK(answers.all[2].reason == "DB_READ_ONLY");
}

TEMPLATE_TEST_CASE("a full disk refuses the group and writing goes on when there is room", "[db]",
                   Threaded, Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  subject.writer.submit(insert_host("first"), answers.done());
  subject.wait_for(answers, 1);
  memory.disk.set_capacity(memory.disk.size("/reeve.db") + memory.disk.size("/reeve.db-wal") +
                           2000);
  subject.writer.submit(insert_host("second"), answers.done());
  subject.wait_for(answers, 2);
  CHECK(answers.all[1].reason == "DISK_FULL");
  CHECK(hosts_in(memory) == 1);  // reads go on
  memory.disk.clear_capacity();
  subject.writer.submit(insert_host("second"), answers.done());
  subject.wait_for(answers, 3);
  CHECK(answers.all[2].reason == "OK");
}

TEMPLATE_TEST_CASE("a read-only database refuses with a remedy and answers reads", "[db]", Threaded,
                   Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  subject.refuse_writes();
  bool ran = false;
  Status refusal;
  subject.writer.submit(
      [&](Transaction&) -> Status {
        ran = true;
        return {};
      },
      [&](Status status, std::int64_t) {
        refusal = std::move(status);
        answers.done()({}, 0);
      });
  subject.wait_for(answers, 1);
  CHECK_FALSE(ran);
  REQUIRE(reason_of(refusal) == "DB_READ_ONLY");
  CHECK(refusal.error().message().find("page 7") != std::string::npos);
  CHECK(!refusal.error().remedy().empty());
  CHECK(hosts_in(memory) == 0);
}

TEMPLATE_TEST_CASE("work that changes nothing announces nothing", "[db]", Threaded, Inline) {
  MemoryDb memory;
  Answers answers;
  TestType subject(memory, answers);
  subject.writer.submit([](Transaction&) -> Status { return {}; }, answers.done());
  subject.wait_for(answers, 1);
  CHECK(answers.all[0].reason == "OK");
  CHECK(answers.all[0].revision == 0);
  CHECK(answers.commits.empty());
}

TEST_CASE("many threads submit and every acknowledged work is there, once, in a feed without gaps",
          "[db]") {
  constexpr int kThreads = 8, kEach = 100;
  MemoryDb memory;
  std::atomic<int> ok{0};
  std::vector<std::int64_t> announced;  // only the writer's thread touches it
  GroupWriter writer(memory.connect(), [&](std::int64_t first, std::int64_t last) {
    for (auto r = first; r <= last; ++r) announced.push_back(r);
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i)
        writer.submit(insert_host(std::to_string(t) + "-" + std::to_string(i)),
                      [&](Status status, std::int64_t revision) {
                        ok += status.ok() && revision > 0 ? 1 : 0;
                      });
    });
  for (auto& thread : threads) thread.join();
  writer.stop();
  CHECK(ok == kThreads * kEach);
  CHECK(hosts_in(memory) == kThreads * kEach);
  REQUIRE(announced.size() == kThreads * kEach);
  for (std::size_t i = 0; i < announced.size(); ++i)
    REQUIRE(announced[i] == static_cast<std::int64_t>(i) + 1);
  CHECK(writer.counters().works == kThreads * kEach);
  CHECK(writer.counters().commits <= kThreads * kEach);
}

TEST_CASE("stopping commits what is queued and refuses what comes later", "[db]") {
  MemoryDb memory;
  Answers answers;
  GroupWriter writer(memory.connect(), {});
  for (int i = 0; i < 20; ++i) writer.submit(insert_host(std::to_string(i)), answers.done());
  const auto database = writer.stop();
  CHECK(database != nullptr);
  CHECK(hosts_in(memory) == 20);
  writer.submit(insert_host("late"), answers.done());
  CHECK(answers.all.back().reason == "DB_CLOSED");
  CHECK(answers.all.size() == 21);
}

TEST_CASE("an inline writer that dies takes its queue along, as a crash does", "[db]") {
  MemoryDb memory;
  SimWorld world(1);
  SimLoop loop(world);
  Answers answers;
  auto writer = std::make_unique<InlineWriter>(loop, memory.connect(), Writer::OnCommit{});
  writer->submit(insert_host("a"), answers.done());
  writer.reset();
  while (world.step()) {
  }
  CHECK(answers.all.empty());
  CHECK(hosts_in(memory) == 0);
}

}  // namespace
}  // namespace reeve::db
