// bench/libvirt_bench.cpp - what our libvirt driver adds to libvirt's own calls.
//
//   libvirt_bench [--rounds N] [--guests N] [--starts N] [--max-start-added-ms N]
//
// In a private libvirtd (needs root), QEMU without KVM, ours and raw calls taking turns, medians:
//   get      state and both definitions of one guest, parsed     raw: the same calls, not parsed
//   list     all guests, definitions known from before           raw: one bulk call for the states
//   relist   all guests after all were forgotten                 raw: bulk call and every
//   definition define   a guest that exists, unchanged                      raw: reading it and
//   writing it back new      a guest that does not exist                         raw: defining the
//   same XML start    to running, with the start time in its mark         raw: virDomainCreate
// Exits 1 when `start` adds more than --max-start-added-ms.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/driver/libvirt/domain_xml.h"
#include "agent/driver/libvirt/driver.h"
#include "agent/driver/libvirt/handles.h"
#include "base/file.h"
#include "base/log.h"
#include "base/uuid.h"
#include "tests/support/libvirtd.h"

namespace reeve::bench {
namespace {

using agent::GuestDefinition;
using agent::libvirt::Connect;
using agent::libvirt::Domain;
using agent::libvirt::LibvirtDriver;
using agent::libvirt::Text;
using Steady = std::chrono::steady_clock;

struct Options {
  int rounds = 200;
  int guests = 100;
  int starts = 7;
  double max_start_added_ms = 0;  ///< 0: no limit
};

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "libvirt_bench: %s\n", what.c_str());
  std::exit(2);
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) give_up(result.error().message());
  return std::move(result).value();
}

void must(const Status& status) {
  if (!status.ok()) give_up(status.error().message());
}

double micros_of(const std::function<void()>& work) {
  const auto begin = Steady::now();
  work();
  return std::chrono::duration<double, std::micro>(Steady::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

/// Ours and raw, one after the other, `rounds` times.
struct Pair {
  std::vector<double> ours{};
  std::vector<double> raw{};

  double added_ms() const { return (median(ours) - median(raw)) / 1'000; }
  void print(const char* name) const {
    std::printf("%-8s ours %10.0f us   raw %10.0f us   ratio %5.2f   added %8.3f ms\n", name,
                median(ours), median(raw), median(ours) / median(raw), added_ms());
  }
};

Pair take_turns(int rounds, const std::function<void()>& ours, const std::function<void()>& raw) {
  Pair pair;
  for (int i = 0; i < rounds; ++i) {
    pair.ours.push_back(micros_of(ours));
    pair.raw.push_back(micros_of(raw));
  }
  return pair;
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    driver_ = must(LibvirtDriver::create({.uri = daemon_.uri(),
                                          .confine = false,
                                          .keep_definitions = std::chrono::hours(1),
                                          .first_attempt = std::chrono::seconds(30)},
                                         RealClock::instance(), SystemRandom::instance()));
    raw_ = agent::libvirt::own_connect(virConnectOpen(daemon_.uri().c_str()));
    if (!raw_) give_up("no libvirtd");
    for (int i = 0; i < options_.guests; ++i) guests_.push_back(new_guest());
    for (const auto& guest : guests_) must(driver_->define(guest));
  }

  /// False when a limit is broken.
  bool run() {
    get().print("get");
    list().print("list");
    relist().print("relist");
    define().print("define");
    define_new().print("new");
    const auto started = start();
    started.print("start");
    return options_.max_start_added_ms <= 0 || started.added_ms() <= options_.max_start_added_ms;
  }

 private:
  GuestDefinition new_guest() {
    GuestDefinition guest{.uid = new_uuid(SystemRandom::instance()), .memory_mib = 64};
    guest.display_name = "bench-" + guest.uid.substr(0, 13);
    guest.run_dir = dir_ / guest.uid.substr(0, 13);
    if (!make_dirs(guest.run_dir).ok()) give_up("no run directory");
    return guest;
  }
  Domain find(const std::string& uid) const {
    return Domain(virDomainLookupByUUIDString(raw_.get(), uid.c_str()));
  }
  static Text xml_of(virDomainPtr domain, unsigned flags) {
    return Text(virDomainGetXMLDesc(domain, flags));
  }
  void for_each_domain(const std::function<void(virDomainPtr)>& work) const {
    virDomainStatsRecordPtr* records = nullptr;
    const int count = virConnectGetAllDomainStats(raw_.get(), VIR_DOMAIN_STATS_STATE, &records, 0);
    for (int i = 0; i < count; ++i) work(records[i]->dom);
    virDomainStatsRecordListFree(records);
  }

  Pair get() {
    const auto& uid = guests_.front().uid;
    return take_turns(
        options_.rounds, [&] { must(driver_->get(uid)); },
        [&] {
          const auto domain = find(uid);
          int state = 0;
          virDomainGetState(domain.get(), &state, nullptr, 0);
          xml_of(domain.get(), VIR_DOMAIN_XML_INACTIVE);
        });
  }
  Pair list() {
    return take_turns(
        options_.rounds / 4 + 1, [&] { must(driver_->list()); },
        [&] { for_each_domain([](virDomainPtr) {}); });
  }
  Pair relist() {
    // A second driver that never keeps anything.
    const auto forgetful = must(LibvirtDriver::create(
        {.uri = daemon_.uri(), .keep_definitions = std::chrono::milliseconds(0)},
        RealClock::instance(), SystemRandom::instance()));
    return take_turns(
        options_.rounds / 20 + 1, [&] { must(forgetful->list()); },
        [&] {
          for_each_domain([](virDomainPtr domain) { xml_of(domain, VIR_DOMAIN_XML_INACTIVE); });
        });
  }
  Pair define() {
    const auto& guest = guests_.front();
    return take_turns(
        options_.rounds / 4 + 1, [&] { must(driver_->define(guest)); },
        [&] {
          const auto xml = xml_of(find(guest.uid).get(), VIR_DOMAIN_XML_INACTIVE);
          const Domain again(
              virDomainDefineXMLFlags(raw_.get(), xml.get(), VIR_DOMAIN_DEFINE_VALIDATE));
        });
  }
  Pair define_new() {
    Pair pair;
    for (int i = 0; i < options_.rounds / 4 + 1; ++i) {
      const auto ours = new_guest();
      pair.ours.push_back(micros_of([&] { must(driver_->define(ours)); }));
      const auto theirs = new_guest();
      const auto xml = agent::libvirt::to_text(
          agent::libvirt::new_domain(theirs, {.name = theirs.display_name, .confine = false}));
      pair.raw.push_back(micros_of([&] {
        const Domain domain(
            virDomainDefineXMLFlags(raw_.get(), xml.c_str(), VIR_DOMAIN_DEFINE_VALIDATE));
        if (!domain) give_up("raw define failed");
      }));
      must(driver_->undefine(ours.uid));
      virDomainUndefine(find(theirs.uid).get());
    }
    return pair;
  }
  Pair start() {
    const auto& uid = guests_.front().uid;
    const auto domain = find(uid);
    Pair pair;
    for (int i = 0; i < options_.starts; ++i) {
      pair.ours.push_back(micros_of([&] { must(driver_->start(uid)); }));
      must(driver_->power_off(uid));
      pair.raw.push_back(micros_of([&] {
        if (virDomainCreate(domain.get()) < 0) give_up("raw start failed");
      }));
      virDomainDestroy(domain.get());
    }
    return pair;
  }

  const Options options_;
  test::TempDir dir_;
  test::Libvirtd daemon_;
  std::unique_ptr<LibvirtDriver> driver_;
  Connect raw_;
  std::vector<GuestDefinition> guests_;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const double value = std::atof(argv[i + 1]);
    if (name == "--rounds")
      options.rounds = static_cast<int>(value);
    else if (name == "--guests")
      options.guests = static_cast<int>(value);
    else if (name == "--starts")
      options.starts = static_cast<int>(value);
    else if (name == "--max-start-added-ms")
      options.max_start_added_ms = value;
    else
      give_up("unknown option " + std::string(name));
  }
  return options;
}

}  // namespace
}  // namespace reeve::bench

int main(int argc, char** argv) {
  reeve::log::set_level(reeve::log::Level::Error);
  reeve::bench::Bench bench(reeve::bench::parse(argc, argv));
  return bench.run() ? 0 : 1;
}
