// Many things at once on several hosts, under faults drawn by the seed; then calm, and every
// promise must hold.
#include <cstdlib>
#include <iostream>
#include <map>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/uuid.h"
#include "tests/sim/scenario.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;

namespace {

class Chaos {
 public:
  explicit Chaos(std::uint64_t seed) : cluster_(seed, 2) {}

  std::string play() {
    cluster_.boot();
    image_ = succeed(cluster_, import_image(cluster_, "base", new_uuid(random()),
                                            "hosts/" + cluster_.hosts[0]->uid));
    constexpr int kActs = 40;
    for (int act = 0; act < kActs; ++act) {
      if (random().below(4) == 0) strike_somewhere();
      do_something();
      cluster_.world.run_for(std::chrono::milliseconds(random().below(6000)));
    }
    cluster_.calm();
    const auto told = cluster_.acknowledged;
    for (const auto& uid : told) cluster_.finish(uid);
    cluster_.calm();
    return cluster_.broken_promise();
  }
  std::size_t jobs() const { return cluster_.acknowledged.size(); }

 private:
  Random& random() { return cluster_.world.random(); }

  void strike_somewhere() {
    auto& host = *cluster_.hosts[random().below(cluster_.hosts.size())];
    strike(cluster_, host, kFaults[random().below(kFaults.size())]);
  }

  /// Any machine that exists, or a name of none.
  std::string some_vm() {
    const auto vms = cluster_.vms();
    if (vms.empty()) return "vms/" + new_uuid(random());
    return vms[random().below(vms.size())].name();
  }

  void do_something() {
    if (!cluster_.server_runs()) return;
    const auto what = random().below(10);
    if (what == 0) return cancel_some();
    if (what <= 2) {
      const auto name = "vm" + std::to_string(random().below(6));
      (void)cluster_.call(
          create_vm(cluster_, name, image_, random().below(2) == 0, new_uuid(random())));
      return;
    }
    const auto go = verb(what, some_vm());
    (void)cluster_.call(go);
    if (random().below(5) == 0) (void)cluster_.call(go);  // the impatient send it twice
  }

  template <class Request, class Method>
  Go call_of(Request request, const std::string& vm, Method method) {
    request.set_name(vm);
    request.set_request_id(new_uuid(random()));
    return [this, request, method](server::Reply<v1::Job> reply) {
      (cluster_.core().vms().*method)(cluster_.caller, request, std::move(reply));
    };
  }

  Go verb(std::uint64_t what, const std::string& vm) {
    using server::VmService;
    switch (what) {
      case 3: return call_of(v1::StopVmRequest{}, vm, &VmService::stop);
      case 4: return call_of(v1::PauseVmRequest{}, vm, &VmService::pause);
      case 5: return call_of(v1::ResumeVmRequest{}, vm, &VmService::resume);
      case 6: return call_of(v1::RebootVmRequest{}, vm, &VmService::reboot);
      case 7: {
        v1::DeleteVmRequest request;
        request.set_force(true);
        return call_of(request, vm, &VmService::remove);
      }
      default: return call_of(v1::StartVmRequest{}, vm, &VmService::start);
    }
  }

  void cancel_some() {
    if (cluster_.acknowledged.empty()) return;
    auto it = cluster_.acknowledged.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random().below(cluster_.acknowledged.size())));
    v1::CancelJobRequest request;
    request.set_name("jobs/" + *it);
    (void)cluster_.call([this, request](server::Reply<v1::Job> reply) {
      cluster_.core().jobs().cancel(cluster_.caller, request, std::move(reply));
    });
  }

  Cluster cluster_;
  std::string image_{};
};

std::uint64_t env_number(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : fallback;
}

}  // namespace

TEST_CASE("many jobs under random faults break no promise", "[sim]") {
  log::set_level(log::Level::Error);
  const bool verbose = std::getenv("REEVE_SIM_VERBOSE") != nullptr;
  if (verbose) log::set_level(log::Level::Debug);
  log::set_sink([verbose](std::string_view line) {
    if (verbose) std::cerr << line << "\n";
  });
  const auto first = env_number("REEVE_SIM_SEED", 1);
  const auto seeds = std::getenv("REEVE_SIM_SEED") ? 1 : env_number("REEVE_SIM_SEEDS", 60);
  std::size_t jobs = 0;
  for (auto seed = first; seed < first + seeds; ++seed) {
    Chaos chaos(seed);
    const auto trouble = chaos.play();
    jobs += chaos.jobs();
    INFO("replay with: REEVE_SIM_SEED=" << seed << " build/dev/bin/sim_chaos_test");
    INFO(trouble);
    CHECK(trouble.empty());
  }
  std::cout << seeds << " seeds, " << jobs << " jobs\n";
}
