// bench/db_read_bench.cpp - reads of an inventory of 1,000 hosts and 50,000 machines.
//
//   db_read_bench [--vms N] [--dir FOLDER] [--max-page-ms N]
//
// Prints median and 99th percentile in milliseconds. Exits 1 when the median page of 500 takes
// longer than --max-page-ms.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/uuid.h"
#include "db/repo/feed_repo.h"
#include "db/repo/host_repo.h"
#include "db/repo/vm_repo.h"
#include "db/sqlite/backup.h"
#include "db/store.h"

namespace reeve::bench {
namespace {

using Steady = std::chrono::steady_clock;
constexpr int kVmsPerHost = 50;

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "db_read_bench: %s\n", error.message().c_str());
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

double millis_since(Steady::time_point begin) {
  return std::chrono::duration<double, std::milli>(Steady::now() - begin).count();
}

struct Inventory {
  std::vector<std::string> host_uids{};
  std::vector<std::string> vm_uids{};
};

Result<Inventory> fill(db::Database& database, int vms) {
  SeededRandom random(1);
  Inventory out;
  const db::Change change{.actor = "bench", .time = RealClock::instance().wall()};
  auto tx = TRY(database.begin());
  for (int i = 0; i < vms; ++i) {
    if (i % kVmsPerHost == 0) {
      db::Host host;
      host.uid = new_uuid(random);
      host.name = "host-" + std::to_string(i / kVmsPerHost);
      host.cert_key_sha256 = host.uid;
      host.spec = std::string(200, 's');
      host.status = std::string(2000, 't');
      out.host_uids.push_back(host.uid);
      TRY(db::HostRepo(tx).insert(host, change));
    }
    db::Vm vm;
    vm.uid = new_uuid(random);
    vm.name = "vm-" + std::to_string(random.below(1'000'000)) + "-" + std::to_string(i);
    vm.host_uid = out.host_uids.back();
    vm.state = i % 10 == 0 ? "stopped" : "running";
    vm.cpus = 2;
    vm.memory_mib = 2048;
    vm.origin = "created";
    vm.spec = std::string(500, 's');
    vm.status = std::string(400, 't');
    out.vm_uids.push_back(vm.uid);
    TRY(db::VmRepo(tx).insert(vm, change));
  }
  TRY(tx.commit());
  return out;
}

/// Runs `work` `times` times; prints and returns the median.
double measure(const char* name, int times, const std::function<void(int)>& work) {
  std::vector<double> samples;
  for (int i = 0; i < times; ++i) {
    const auto begin = Steady::now();
    work(i);
    samples.push_back(millis_since(begin));
  }
  std::sort(samples.begin(), samples.end());
  const double middle = samples[samples.size() / 2];
  std::printf("%-34s %10.3f %10.3f\n", name, middle, samples[samples.size() * 99 / 100]);
  return middle;
}

double measure_reads(db::Store& store, const Inventory& inventory) {
  auto& readers = store.readers();
  const auto vm_uid = [&](int i) {
    return inventory.vm_uids[static_cast<std::size_t>(i) * 7919 % inventory.vm_uids.size()];
  };
  measure("get one machine", 2000, [&](int i) {
    must(readers.read([&](db::ReadTransaction& tx) { return db::VmReader(tx).get(vm_uid(i)); }));
  });
  db::Page page{.limit = 500};
  const double page_millis = measure("page of 500, by name", 100, [&](int) {
    const auto rows = must(readers.read([&](db::ReadTransaction& tx) {
      return db::VmReader(tx).list({}, db::ObjectOrder::Name, page);
    }));
    page.after.reset();
    if (rows.size() == 500) page.after = db::key_of(rows.back(), db::ObjectOrder::Name);
  });
  measure("page of 500, stopped ones, newest", 50, [&](int) {
    must(readers.read([&](db::ReadTransaction& tx) {
      return db::VmReader(tx).list({db::Column::State, "stopped"}, db::ObjectOrder::CreateTime,
                                   {.limit = 500, .descending = true});
    }));
  });
  const db::Restriction stopped{.column = db::Column::State, .value = "stopped"};
  const db::Restriction paused{.column = db::Column::State, .value = "paused"};
  const db::Restriction recent{db::Column::CreateTime, db::Compare::More, INT64_MAX};
  const auto filtered = [&](const char* name, const db::Filter& filter) {
    measure(name, 50, [&](int) {
      must(readers.read([&](db::ReadTransaction& tx) {
        return db::VmReader(tx).list(filter, db::ObjectOrder::Name, {.limit = 500});
      }));
    });
  };
  filtered("page of 500, stopped or paused", db::Filter().also({stopped, paused}));
  filtered("page of 500, none of 50,000 match", db::Filter().also({recent}));
  measure("machines of one host", 1000, [&](int i) {
    const auto& host =
        inventory.host_uids[static_cast<std::size_t>(i) % inventory.host_uids.size()];
    must(readers.read([&](db::ReadTransaction& tx) {
      return db::VmReader(tx).list({db::Column::HostUid, host}, db::ObjectOrder::Name,
                                   {.limit = 500});
    }));
  });
  measure("what every host carries", 20, [&](int) {
    must(readers.read([](db::ReadTransaction& tx) { return db::VmReader(tx).host_loads(); }));
  });
  measure("1,000 versions of the feed", 50, [&](int i) {
    must(readers.read([&](db::ReadTransaction& tx) {
      return db::FeedReader(tx).versions(i * 1000 % 50'000, {}, 1000);
    }));
  });
  measure("all machines, in pages of 1,000", 3, [&](int) {
    db::Page all{.limit = 1000};
    while (true) {
      const auto part = must(readers.read([&](db::ReadTransaction& tx) {
        return db::VmReader(tx).list({}, db::ObjectOrder::Name, all);
      }));
      if (part.size() < 1000) return;
      all.after = db::key_of(part.back(), db::ObjectOrder::Name);
    }
  });
  return page_millis;
}

int run(int vms, const std::filesystem::path& dir, double max_page_millis) {
  const auto path = dir / "reeve-db-read-bench.db";
  const auto copy = dir / "reeve-db-read-bench.copy";
  const auto remove_all = [&] {
    for (const auto* suffix : {"", "-wal", "-shm", ".lock"})
      (void)remove_file(path.string() + suffix);
    (void)remove_file(copy);
  };
  remove_all();
  double page_millis = 0;
  {
    auto store = must(db::Store::open({.path = path}));
    auto writer = store->take_writer_connection();
    const auto begin = Steady::now();
    const auto inventory = must(fill(*writer, vms));
    must(writer->checkpoint());
    std::printf("%d machines stored with versions in %.0f ms, %.0f MB\n", vms, millis_since(begin),
                static_cast<double>(must(reeve::file_size(path))) / 1e6);
    std::printf("%-34s %10s %10s\n", "read", "median ms", "p99 ms");
    page_millis = measure_reads(*store, inventory);
    measure("quick_check", 1, [&](int) { must(store->check()); });
    measure("verified online backup", 1, [&](int) { must(db::backup_to_file(path, copy)); });
  }
  remove_all();
  if (page_millis <= max_page_millis) return 0;
  std::fprintf(stderr, "db_read_bench: a page of 500 takes over %.1f ms\n", max_page_millis);
  return 1;
}

}  // namespace
}  // namespace reeve::bench

int main(int argc, char** argv) {
  int vms = 50'000;
  double max_page_millis = 1e9;
  std::filesystem::path dir = std::filesystem::temp_directory_path();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--vms") vms = std::max(1, std::atoi(argv[i + 1]));
    if (option == "--max-page-ms") max_page_millis = std::atof(argv[i + 1]);
    if (option == "--dir") dir = argv[i + 1];
  }
  reeve::log::set_level(reeve::log::Level::Warning);
  return reeve::bench::run(vms, dir, max_page_millis);
}
