// bench/db_bench.cpp - durable journal transitions per second, beside what the disk itself can do.
//
//   db_bench [--seconds N] [--rounds N] [--dir FOLDER] [--min-rate N]
//
// On one disk, interleaved, medians over the rounds:
//   fsync      append 4 KiB and fdatasync, in a loop: the floor for anything that promises
//   durability sqlite     the same journal row, one transaction and commit each, straight on a
//   connection writer 1   through the group writer, one job at a time: loop -> writer thread ->
//   loop writer 64  the same with 64 jobs in flight version 64 64 in flight, each changing a VM's
//   status: row, feed version, revision
// Exits 1 when `writer 64` is below --min-rate.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "db/group_writer.h"
#include "db/repo/host_repo.h"
#include "db/repo/job_repo.h"
#include "db/repo/vm_repo.h"
#include "db/store.h"

namespace reeve::bench {
namespace {

using Steady = std::chrono::steady_clock;
constexpr int kJobs = 64;

struct Options {
  double seconds = 1.0;
  int rounds = 5;
  double min_rate = 0;
  std::filesystem::path dir = std::filesystem::temp_directory_path();
};

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "db_bench: %s\n", error.message().c_str());
  std::exit(2);
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) give_up(result.error());
  return std::move(result).value();
}
void must(const Status& status) {
  if (!status.ok()) give_up(status.error());
}

db::Change change() {
  return {.actor = "bench", .time = RealClock::instance().wall()};
}
std::string job_uid(int i) {
  return "00000000-0000-4000-8000-0000000000" + std::to_string(10 + i);
}

Status put_step(db::Transaction& tx, int job, int ordinal) {
  return db::JobRepo(tx).put_step({.job_uid = job_uid(job),
                                   .ordinal = ordinal % 8,
                                   .name = "define the machine on its host",
                                   .host_uid = job_uid(0),
                                   .state = ordinal % 2 == 0 ? "running" : "done",
                                   .attempt = 1,
                                   .facts = std::string(120, 'f'),
                                   .start_time = change().time});
}

Status touch_vm(db::Transaction& tx, int job, int count) {
  db::Vm vm;
  vm.uid = job_uid(job);
  vm.state = count % 2 == 0 ? "running" : "stopped";
  vm.status = std::string(300, static_cast<char>('a' + count % 26));
  TRY(db::VmRepo(tx).update_status(vm, change()));
  return {};
}

Status fill(db::Database& database) {
  auto tx = TRY(database.begin());
  for (int i = 0; i < kJobs; ++i) {
    db::Job job;
    job.uid = job_uid(i);
    job.kind = "start_vm";
    job.state = "running";
    job.actor = "bench";
    job.plan = std::string(500, 'p');
    TRY(db::JobRepo(tx).insert(job, change()));
    db::Vm vm;
    vm.uid = job_uid(i);
    vm.name = "vm-" + std::to_string(i);
    vm.spec = std::string(500, 's');
    TRY(db::VmRepo(tx).insert(vm, change()));
  }
  return tx.commit();
}

double rate(std::int64_t count, Steady::time_point begin) {
  return static_cast<double>(count) / std::chrono::duration<double>(Steady::now() - begin).count();
}

bool is_over(Steady::time_point begin, double seconds) {
  return Steady::now() - begin >= std::chrono::duration<double>(seconds);
}

double fsync_rate(const Options& options) {
  const auto path = options.dir / "reeve-db-bench.raw";
  auto fd = must(open_file(path, O_WRONLY | O_CREAT | O_TRUNC));
  const std::vector<std::byte> block(4096, std::byte{7});
  std::int64_t count = 0;
  const auto begin = Steady::now();
  while (!is_over(begin, options.seconds)) {
    must(write_all(fd.get(), block));
    if (::fdatasync(fd.get()) != 0) must(Status(errno_error("fdatasync")));
    ++count;
  }
  const double result = rate(count, begin);
  must(remove_file(path));
  return result;
}

/// A fresh database with kJobs jobs and machines, gone afterwards.
class Scratch {
 public:
  explicit Scratch(const Options& options) : path_(options.dir / "reeve-db-bench.db") {
    remove();
    store_ = must(db::Store::open({.path = path_}));
    writer_ = store_->take_writer_connection();
    must(fill(*writer_));
  }
  ~Scratch() {
    writer_.reset();
    store_.reset();
    remove();
  }
  std::unique_ptr<db::Database> take() { return std::move(writer_); }

 private:
  void remove() {
    for (const auto* suffix : {"", "-wal", "-shm", ".lock"})
      (void)remove_file(path_.string() + suffix);
  }
  std::filesystem::path path_;
  std::unique_ptr<db::Store> store_;
  std::unique_ptr<db::Database> writer_;
};

double sqlite_rate(const Options& options) {
  Scratch scratch(options);
  const auto database = scratch.take();
  std::int64_t count = 0;
  const auto begin = Steady::now();
  while (!is_over(begin, options.seconds)) {
    auto tx = must(database->begin());
    must(put_step(tx, 0, static_cast<int>(count)));
    must(tx.commit());
    ++count;
  }
  return rate(count, begin);
}

using Step = Status (*)(db::Transaction&, int job, int count);

/// `jobs` state machines on a loop, each submitting its next step when the last one is durable.
double writer_rate(const Options& options, int jobs, Step step) {
  Scratch scratch(options);
  db::GroupWriter writer(scratch.take(), {});
  ThreadLoop loop("bench-core");
  std::int64_t count = 0;  // the loop's
  int running = jobs;
  const auto begin = Steady::now();
  std::function<void(int, int)> next = [&](int job, int number) {
    if (is_over(begin, options.seconds)) {
      --running;
      return;
    }
    writer.submit([step, job, number](db::Transaction& tx) { return step(tx, job, number); },
                  [&, job, number](Status status, std::int64_t) {
                    must(status);
                    loop.post([&, job, number] {
                      ++count;
                      next(job, number + 1);
                    });
                  });
  };
  loop.run_and_wait([&] {
    for (int job = 0; job < jobs; ++job) next(job, 0);
  });
  for (bool done = false; !done;) {
    ::usleep(2000);
    loop.run_and_wait([&] { done = running == 0; });
  }
  const double result = rate(count, begin);
  writer.stop();
  return result;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int run(const Options& options) {
  const std::vector<std::pair<std::string, std::function<double()>>> cases{
      {"fsync", [&] { return fsync_rate(options); }},
      {"sqlite", [&] { return sqlite_rate(options); }},
      {"writer 1", [&] { return writer_rate(options, 1, put_step); }},
      {"writer 64", [&] { return writer_rate(options, kJobs, put_step); }},
      {"version 64", [&] { return writer_rate(options, kJobs, touch_vm); }}};
  std::map<std::string, std::vector<double>> samples;
  for (int round = 0; round < options.rounds; ++round)
    for (const auto& [name, measure] : cases) samples[name].push_back(measure());

  const double floor = median(samples["fsync"]);
  std::printf("%-12s %12s %12s %12s %10s\n", "case", "median/s", "min/s", "max/s", "to fsync");
  for (const auto& [name, measure] : cases) {
    const auto& values = samples[name];
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    std::printf("%-12s %12.0f %12.0f %12.0f %9.2fx\n", name.c_str(), median(values), *low, *high,
                median(values) / floor);
  }
  if (median(samples["writer 64"]) >= options.min_rate) return 0;
  std::fprintf(stderr, "db_bench: writer 64 is below %.0f/s\n", options.min_rate);
  return 1;
}

int main_with(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const auto& value = arguments[i + 1];
    if (arguments[i] == "--seconds") {
      options.seconds = std::atof(value.c_str());
    } else if (arguments[i] == "--rounds") {
      options.rounds = std::max(1, std::atoi(value.c_str()));
    } else if (arguments[i] == "--min-rate") {
      options.min_rate = std::atof(value.c_str());
    } else if (arguments[i] == "--dir") {
      options.dir = value;
    } else {
      std::fprintf(stderr, "db_bench: no option '%s'\n", arguments[i].c_str());
      return 2;
    }
  }
  log::set_level(log::Level::Warning);
  return run(options);
}

}  // namespace
}  // namespace reeve::bench

int main(int argc, char** argv) {
  return reeve::bench::main_with(std::vector<std::string>(argv + 1, argv + argc));
}
