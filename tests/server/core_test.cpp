// The server without gRPC, as callers see it, over a simulated estate.
#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/uuid.h"
#include "db/repo/audit_repo.h"
#include "db/repo/feed_repo.h"
#include "tests/sim/scenario.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;
using Vm = v1::VirtualMachine;

namespace {

struct Scene {
  Scene() : cluster(1) {
    log::set_sink([](std::string_view) {});
    cluster.boot();
    image = succeed(cluster, import_image(cluster, "base", fresh()));
  }
  std::string fresh() { return new_uuid(cluster.world.random()); }
  std::string make(const std::string& name, bool start) {
    return succeed(cluster, create_vm(cluster, name, image, start, fresh()));
  }
  std::string reason(const Go& go) {
    const auto answer = cluster.call(go);
    cluster.run_until([&] { return answer->has_value(); }, 1min);
    REQUIRE(answer->has_value());
    return (*answer)->ok() ? "" : std::string((*answer)->error().reason());
  }
  Go start(const std::string& vm, const std::string& id = "", const std::string& etag = "",
           bool plan = false) {
    v1::StartVmRequest request;
    request.set_name(vm);
    request.set_request_id(id);
    request.set_etag(etag);
    request.set_validate_only(plan);
    return [this, request](server::Reply<v1::Job> reply) {
      cluster.core().vms().start(cluster.caller, request, std::move(reply));
    };
  }
  Result<v1::VirtualMachine> get(const std::string& vm, server::PermissionSet permissions) {
    v1::GetVmRequest request;
    request.set_name(vm);
    auto caller = cluster.caller;
    caller.permissions = permissions;
    return cluster.core().vms().get(caller, request);
  }
  Vm::State state(const std::string& vm) { return cluster.vm(vm.substr(4))->state(); }

  Cluster cluster;
  std::string image{};
};

}  // namespace

TEST_CASE("a plan shows steps and placement and changes nothing", "[core]") {
  Scene s;
  const auto before = s.cluster.revision();
  v1::CreateVmRequest request;
  request.mutable_vm()->set_display_name("web");
  request.mutable_vm()->mutable_spec()->set_cpus(1);
  request.mutable_vm()->mutable_spec()->set_memory_mib(512);
  request.mutable_vm()->mutable_spec()->add_disks()->set_image(s.image);
  request.set_start(true);
  request.set_validate_only(true);
  const auto answer = s.cluster.call([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().create(s.cluster.caller, request, std::move(reply));
  });
  REQUIRE(answer->has_value());
  const auto plan = (*answer)->value();
  CHECK(plan.state() == v1::Job::STATE_PLANNED);
  CHECK(plan.name().empty());
  CHECK(plan.steps_size() == 3);
  CHECK(plan.placement().reasons_size() == 1);
  CHECK(plan.diff_size() > 0);
  s.cluster.world.run_for(1s);
  CHECK(s.cluster.revision() == before);
}

TEST_CASE("lists come in every order that the API promises, forwards and backwards", "[core]") {
  Scene s;
  s.make("b-oldest", false);
  s.cluster.world.run_for(2s);
  const auto first = s.make("c-changed-last", false);
  s.cluster.world.run_for(2s);
  s.make("a-newest", false);
  s.cluster.world.run_for(2s);
  CHECK(s.cluster.finish(s.cluster.must_answer(s.start(first)).value().uid()).state() ==
        v1::Job::STATE_SUCCEEDED);
  const auto listed = [&](const std::string& order_by, const std::string& filter) {
    std::string names;
    v1::ListVmsRequest request;
    request.set_order_by(order_by);
    request.set_filter(filter);
    request.set_page_size(1);
    do {
      v1::ListVmsResponse page;
      REQUIRE(s.cluster.core().vms().list(s.cluster.caller, request, page).ok());
      for (const auto& vm : page.vms()) names += vm.display_name().substr(0, 1);
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return names;
  };
  CHECK(listed("", "") == "abc");
  CHECK(listed("create_time", "") == "bca");
  CHECK(listed("update_time", "") == "bac");
  CHECK(listed("update_time desc", "") == "cab");
  CHECK(listed("update_time desc", "state = STOPPED") == "ab");
  CHECK(listed("create_time", "state = STOPPED AND display_name = \"*-newest\"") == "a");
  v1::ListVmsRequest wrong;
  wrong.set_order_by("memory");
  v1::ListVmsResponse nothing;
  const auto refused = s.cluster.core().vms().list(s.cluster.caller, wrong, nothing);
  CHECK(refused.error().reason() == "BAD_FILTER");
  CHECK(refused.error().remedy().find("update_time") != std::string::npos);
  for (const std::string order_by : {"update_time", "create_time", "display_name"}) {
    v1::ListImagesRequest images;
    images.set_order_by(order_by);
    CHECK(s.cluster.core().images().list(s.cluster.caller, images).value().images_size() == 1);
    v1::ListHostsRequest hosts;
    hosts.set_order_by(order_by);
    CHECK(s.cluster.core().hosts().list(s.cluster.caller, hosts).value().hosts_size() > 0);
  }
}

TEST_CASE("hypervisors are listed over all hosts or of one, page by page, and got by name",
          "[core]") {
  Cluster cluster(1, 3);
  log::set_sink([](std::string_view) {});
  cluster.boot();
  auto& hypervisors = cluster.core().hypervisors();
  v1::ListHypervisorsRequest request;
  request.set_page_size(2);
  const auto first = hypervisors.list(cluster.caller, request).value();
  REQUIRE(first.hypervisors_size() == 2);
  request.set_page_token(first.next_page_token());
  const auto second = hypervisors.list(cluster.caller, request).value();
  REQUIRE(second.hypervisors_size() == 1);
  CHECK(second.next_page_token().empty());
  const auto& one = second.hypervisors(0);
  CHECK(one.name() != first.hypervisors(0).name());

  v1::GetHypervisorRequest named;
  named.set_name(one.name());
  CHECK(hypervisors.get(cluster.caller, named).value().SerializeAsString() ==
        one.SerializeAsString());
  request.Clear();
  request.set_parent(one.name().substr(0, one.name().find("/hypervisors/")));
  const auto of_host = hypervisors.list(cluster.caller, request).value();
  REQUIRE(of_host.hypervisors_size() == 1);
  CHECK(of_host.hypervisors(0).name() == one.name());
  request.set_page_token(first.next_page_token());  // of a list without parent
  CHECK(hypervisors.list(cluster.caller, request).error().reason() == "BAD_PAGE_TOKEN");

  const auto listed = [&](const std::string& filter) {
    v1::ListHypervisorsRequest filtered;
    filtered.set_filter(filter);
    filtered.set_order_by("id desc");
    return hypervisors.list(cluster.caller, filtered).value().hypervisors_size();
  };
  CHECK(listed("kind = SIM AND available = true") == 3);
  CHECK(listed("kind = LIBVIRT") == 0);
  CHECK(listed("available = false") == 0);
  CHECK(listed("id = \"" + one.id().substr(0, 1) + "*\"") == 3);
  CHECK(listed("id = other") == 0);
}

TEST_CASE("the same request_id is the same job, and no other request", "[core]") {
  Scene s;
  const auto id = s.fresh();
  const auto first = s.cluster.must_answer(create_vm(s.cluster, "web", s.image, false, id));
  const auto second = s.cluster.must_answer(create_vm(s.cluster, "web", s.image, false, id));
  CHECK(first.value().uid() == second.value().uid());
  CHECK(s.reason(create_vm(s.cluster, "other", s.image, false, id)) == "REQUEST_ID_REUSED");
}

TEST_CASE("a refused call says why and changes nothing", "[core]") {
  Scene s;
  const auto vm = s.make("web", false);
  const auto before = s.cluster.revision();
  CHECK(s.reason(create_vm(s.cluster, "web", s.image, false, "")) == "NAME_TAKEN");
  CHECK(s.reason(create_vm(s.cluster, "x", "images/" + s.fresh(), false, "")) == "IMAGE_NOT_FOUND");
  CHECK(s.reason(s.start("vms/" + s.fresh())) == "VM_NOT_FOUND");
  CHECK(s.reason(s.start("vms/x")) == "BAD_FIELD");
  CHECK(s.reason(s.start(vm, "", "no-such-etag")) == "STALE_ETAG");
  v1::StopVmRequest stop;
  stop.set_name(vm);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().stop(s.cluster.caller, stop, std::move(reply));
  }) == "VM_NOT_RUNNING");
  v1::DeleteImageRequest remove;
  remove.set_name(s.image);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().images().remove(s.cluster.caller, remove, std::move(reply));
  }) == "IMAGE_IN_USE");
  CHECK(s.cluster.revision() == before);
}

TEST_CASE("a machine that fits nowhere is told what is missing where", "[core]") {
  Scene s;
  v1::CreateVmRequest request;
  request.mutable_vm()->set_display_name("big");
  request.mutable_vm()->mutable_spec()->set_cpus(1);
  request.mutable_vm()->mutable_spec()->set_memory_mib(20 * 1024);
  request.mutable_vm()->mutable_spec()->add_disks()->set_image(s.image);
  const auto answer = s.cluster.must_answer([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().create(s.cluster.caller, request, std::move(reply));
  });
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().reason() == "NO_HOST_FITS");
  CHECK(answer.error().message().find("'host0' has 16384 MiB free") != std::string::npos);
  CHECK(answer.error().message().find("4096 MiB missing") != std::string::npos);
}

TEST_CASE("what a job holds is busy for others, and free when it has ended", "[core]") {
  Scene s;
  const auto vm = s.make("web", false);
  const auto job = s.cluster.must_answer(s.start(vm));
  CHECK(s.reason(s.start(vm)) == "RESOURCE_BUSY");
  const auto seen = s.get(vm, server::PermissionSet::all());
  CHECK(seen.value().active_job() == job.value().name());
  CHECK(s.cluster.finish(job.value().uid()).state() == v1::Job::STATE_SUCCEEDED);
  CHECK(s.state(vm) == Vm::STATE_RUNNING);
  CHECK(s.reason(s.start(vm)) == "VM_NOT_STOPPED");
}

TEST_CASE("what happens on a host shows in the inventory", "[core]") {
  Scene s;
  auto& host = *s.cluster.hosts[0];
  const auto vm = s.make("web", true);
  host.hypervisor.crash_guest(vm.substr(4));
  s.cluster.world.run_for(5s);
  CHECK(s.state(vm) == Vm::STATE_CRASHED);
  host.hypervisor.vanish(vm.substr(4));
  s.cluster.world.run_for(70s);
  CHECK(s.state(vm) == Vm::STATE_MISSING);
}

TEST_CASE("a machine made elsewhere is found, can be switched, and goes when it is gone",
          "[core]") {
  Scene s;
  agent::GuestSeen foreign;
  foreign.uid = s.fresh();
  foreign.display_name = "Old Mail (do not touch)";
  foreign.cpus = 2;
  foreign.memory_mib = 512;
  s.cluster.hosts[0]->hypervisor.add_foreign(foreign);
  s.cluster.world.run_for(70s);
  const auto found = s.cluster.vm(foreign.uid);
  REQUIRE(found);
  CHECK(found->origin() == Vm::ORIGIN_DISCOVERED);
  CHECK(found->display_name() == foreign.display_name);
  v1::DeleteVmRequest remove;
  remove.set_name("vms/" + foreign.uid);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().remove(s.cluster.caller, remove, std::move(reply));
  }) == "VM_NOT_MANAGED");
  s.cluster.hosts[0]->hypervisor.vanish(foreign.uid);
  s.cluster.world.run_for(70s);
  CHECK_FALSE(s.cluster.vm(foreign.uid));
}

TEST_CASE("a host that is away keeps its machines as last seen, and refuses changes", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  s.cluster.hosts[0]->set_reachable(false);
  s.cluster.world.run_for(30s);
  CHECK(s.state(vm) == Vm::STATE_RUNNING);
  v1::StopVmRequest stop;
  stop.set_name(vm);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().stop(s.cluster.caller, stop, std::move(reply));
  }) == "HOST_UNREACHABLE");
  const auto shown = s.get(vm, server::PermissionSet::all());
  for (const auto& action : shown.value().allowed_actions())
    if (action.verb() == "StopVm") CHECK(action.reason() == "HOST_UNREACHABLE");
}

TEST_CASE("a hypervisor that does not answer makes its machines unknown, until it is back",
          "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  s.cluster.hosts[0]->hypervisor.go_away();
  s.cluster.world.run_for(90s);
  CHECK(s.state(vm) == Vm::STATE_UNKNOWN);
  s.cluster.hosts[0]->hypervisor.come_back();
  s.cluster.world.run_for(90s);
  CHECK(s.state(vm) == Vm::STATE_RUNNING);
}

TEST_CASE("machines that an agent has not been able to list are unknown, and none is lost",
          "[core]") {
  Scene s;
  auto& host = *s.cluster.hosts[0];
  const auto vm = s.make("web", true);
  agent::GuestSeen foreign;
  foreign.uid = s.fresh();
  foreign.display_name = "theirs";
  host.hypervisor.add_foreign(foreign);
  s.cluster.world.run_for(70s);
  REQUIRE(s.cluster.vm(foreign.uid));
  host.kill_agent();
  // The fifth try is about 8 s after the first, the sixth another 8 s later.
  host.hypervisor.inject(agent::SimFault::fail(agent::SimVerb::List), 5);
  host.start_agent();
  s.cluster.world.run_for(10s);
  CHECK(s.state(vm) == Vm::STATE_UNKNOWN);
  REQUIRE(s.cluster.vm(foreign.uid));
  CHECK(s.cluster.vm(foreign.uid)->state() == Vm::STATE_UNKNOWN);
  s.cluster.world.run_for(20s);
  CHECK(s.state(vm) == Vm::STATE_RUNNING);
  CHECK(s.cluster.vm(foreign.uid)->state() == Vm::STATE_STOPPED);
}

TEST_CASE("what was held back while a job ran is stored without a full observation", "[core]") {
  Scene s;
  auto& host = *s.cluster.hosts[0];
  const auto vm = s.make("web", false);
  const auto stop = [&] {
    v1::StopVmRequest request;
    request.set_name(vm);
    return s.cluster.must_answer([&](server::Reply<v1::Job> reply) {
      s.cluster.core().vms().stop(s.cluster.caller, request, std::move(reply));
    });
  };
  s.cluster.world.run_for(5s);
  const int before = host.full_observations;
  for (int i = 0; i < 20; ++i) {
    const auto started = s.cluster.finish(s.cluster.must_answer(s.start(vm)).value().uid());
    REQUIRE(started.state() == v1::Job::STATE_SUCCEEDED);
    CHECK(s.state(vm) == Vm::STATE_RUNNING);
    // Only an observation has it.
    CHECK(s.cluster.vm(vm.substr(4))->status().has_start_time());
    REQUIRE(s.cluster.finish(stop().value().uid()).state() == v1::Job::STATE_SUCCEEDED);
    CHECK(s.state(vm) == Vm::STATE_STOPPED);
    CHECK_FALSE(s.cluster.vm(vm.substr(4))->status().has_start_time());
  }
  // Absence is news, too: the job finds the machine off, its host no longer has it.
  REQUIRE(s.cluster.finish(s.cluster.must_answer(s.start(vm)).value().uid()).state() ==
          v1::Job::STATE_SUCCEEDED);
  host.hypervisor.set_habits(vm.substr(4), {.ignores_shutdown = true});
  const auto stopping = stop();
  s.cluster.world.run_for(1s);
  host.hypervisor.vanish(vm.substr(4));
  s.cluster.finish(stopping.value().uid());
  CHECK(s.state(vm) == Vm::STATE_MISSING);
  s.cluster.world.run_for(5s);
  CHECK(host.full_observations == before);
}

TEST_CASE("a machine is as its host shows it after a job that failed", "[core]") {
  Scene s;
  auto& host = *s.cluster.hosts[0];
  const auto vm = s.make("web", false);
  s.cluster.world.run_for(5s);
  const int before = host.full_observations;
  host.hypervisor.inject(agent::SimFault{
      .verb = agent::SimVerb::Start,
      .effect = agent::SimFault::Effect::Now,
      .error = Error(Code::FailedPrecondition, "GUEST_STATE", "started, and says that it is not")});
  const auto job = s.cluster.finish(s.cluster.must_answer(s.start(vm)).value().uid());
  CHECK(job.state() == v1::Job::STATE_FAILED);
  s.cluster.world.run_for(1s);
  agent::SimDriver driver(host.hypervisor);
  const bool runs = driver.get(vm.substr(4)).value().state == agent::GuestState::Running;
  CHECK(s.state(vm) == (runs ? Vm::STATE_RUNNING : Vm::STATE_STOPPED));
  CHECK(host.full_observations == before);
}

TEST_CASE("first-boot data is shown only to those who may edit machines", "[core]") {
  Scene s;
  v1::CreateVmRequest request;
  request.mutable_vm()->set_display_name("web");
  request.mutable_vm()->mutable_spec()->set_cpus(1);
  request.mutable_vm()->mutable_spec()->set_memory_mib(512);
  request.mutable_vm()->mutable_spec()->add_disks()->set_image(s.image);
  request.mutable_vm()->mutable_spec()->mutable_cloud_init()->set_user_data(
      "#cloud-config\npassword: hunter2");
  const auto vm = succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().create(s.cluster.caller, request, std::move(reply));
  });
  CHECK(s.get(vm, server::PermissionSet::all()).value().spec().cloud_init().user_data().size() >
        10);
  const auto viewer = server::PermissionSet{}.with(v1::PERMISSION_VIEW);
  CHECK(s.get(vm, viewer).value().spec().cloud_init().user_data().empty());
}

TEST_CASE("limits are planned with what they were, and hold while the machine runs", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  auto& hypervisor = s.cluster.hosts[0]->hypervisor;
  const auto update = [&](const std::vector<std::string>& paths, v1::VmSpec spec, bool plan) {
    v1::UpdateVmRequest request;
    request.mutable_vm()->set_name(vm);
    *request.mutable_vm()->mutable_spec() = std::move(spec);
    for (const auto& path : paths) request.mutable_update_mask()->add_paths(path);
    request.set_validate_only(plan);
    return Go([&s, request](server::Reply<v1::Job> reply) {
      s.cluster.core().vms().update(s.cluster.caller, request, std::move(reply));
    });
  };
  v1::VmSpec spec;
  spec.mutable_limits()->set_cpu_weight(300);
  spec.mutable_limits()->set_memory_limit_mib(1024);
  const std::vector<std::string> paths{"spec.limits.cpu_weight", "spec.limits.memory_limit_mib"};
  const auto answer = s.cluster.call(update(paths, spec, true));
  REQUIRE(answer->has_value());
  const auto plan = (*answer)->value();
  REQUIRE(plan.diff_size() == 2);
  CHECK(plan.diff(0).field() == "spec.limits.cpu_weight");
  CHECK(plan.diff(0).before() == "default");
  CHECK(plan.diff(0).after() == "300");
  CHECK(hypervisor.limits_of(vm.substr(4)) == agent::GuestLimits{});
  succeed(s.cluster, update(paths, spec, false));
  CHECK(hypervisor.limits_of(vm.substr(4)) ==
        agent::GuestLimits{.cpu_weight = 300, .memory_limit_mib = 1024});
  const auto seen = *s.cluster.vm(vm.substr(4));
  CHECK(seen.spec().limits().cpu_weight() == 300);
  CHECK(seen.status().pending_restart().empty());
  // More memory than the limit leaves room for, whichever of them is changed.
  spec.set_memory_mib(1000);
  CHECK(s.reason(update({"spec.memory_mib"}, spec, false)) == "BAD_FIELD");
  spec.mutable_limits()->set_memory_limit_mib(600);
  CHECK(s.reason(update({"spec.limits.memory_limit_mib"}, spec, false)) == "BAD_FIELD");
  spec.mutable_limits()->set_cpu_weight(10'001);
  CHECK(s.reason(update({"spec.limits.cpu_weight"}, spec, false)) == "BAD_FIELD");
  CHECK(s.reason(update({"spec.limits"}, spec, false)) == "BAD_MASK");
  succeed(s.cluster, update({"spec.limits.cpu_weight", "spec.limits.memory_limit_mib"}, {}, false));
  CHECK(hypervisor.limits_of(vm.substr(4)) == agent::GuestLimits{});
}

TEST_CASE("a reboot is no start: what waits for one goes on waiting", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  const auto update = [&](bool plan) {
    v1::UpdateVmRequest request;
    request.set_validate_only(plan);
    request.mutable_vm()->set_name(vm);
    request.mutable_vm()->mutable_spec()->set_cpus(3);
    request.mutable_update_mask()->add_paths("spec.cpus");
    return Go([&s, request](server::Reply<v1::Job> reply) {
      s.cluster.core().vms().update(s.cluster.caller, request, std::move(reply));
    });
  };
  const auto reboot = [&](bool plan) {
    v1::RebootVmRequest request;
    request.set_validate_only(plan);
    request.set_name(vm);
    return Go([&s, request](server::Reply<v1::Job> reply) {
      s.cluster.core().vms().reboot(s.cluster.caller, request, std::move(reply));
    });
  };
  const auto pending = [&] {
    const auto fields = s.cluster.vm(vm.substr(4))->status().pending_restart();
    return std::vector<std::string>{fields.begin(), fields.end()};
  };
  const auto title = [&](const Go& planned) {
    const auto answer = s.cluster.call(planned);
    REQUIRE(answer->has_value());
    return (*answer)->value().steps(0).title();
  };
  const std::string waits = "; spec.cpus waits until it is stopped and started";
  CHECK(title(reboot(true)) == "restart the guest");
  CHECK(title(update(true)) == "change the definition" + waits);
  succeed(s.cluster, update(false));
  CHECK(pending() == std::vector<std::string>{"spec.cpus"});
  const auto started = s.cluster.vm(vm.substr(4))->status().start_time();
  CHECK(title(reboot(true)) == "restart the guest" + waits);
  succeed(s.cluster, reboot(false));
  CHECK(s.state(vm) == Vm::STATE_RUNNING);
  CHECK(pending() == std::vector<std::string>{"spec.cpus"});
  CHECK(s.cluster.vm(vm.substr(4))->status().start_time().seconds() == started.seconds());
  s.cluster.world.run_for(10s);
  CHECK(pending() == std::vector<std::string>{"spec.cpus"});
  v1::StopVmRequest stop;
  stop.set_name(vm);
  succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().stop(s.cluster.caller, stop, std::move(reply));
  });
  succeed(s.cluster, s.start(vm));
  CHECK(pending().empty());
}

TEST_CASE("what a guest says shows with the time of its answer, bounded, and makes no versions",
          "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  auto& hypervisor = s.cluster.hosts[0]->hypervisor;
  agent::GuestFacts facts{.os_name = "Debian\x1b[2J",
                          .kernel_release = "6.1.0",
                          .host_name = std::string(100'000, 'h')};
  for (int i = 0; i < 200; ++i) {
    facts.nics.push_back({.name = "eth0", .mac = "52:54:00:00:00:01"});
    for (int a = 0; a < 100; ++a) facts.nics.back().addresses.push_back("10.0.0.1");
  }
  hypervisor.guest_says(vm.substr(4), facts);
  s.cluster.world.run_for(30s);
  const auto told = s.get(vm, server::PermissionSet::all()).value().status();
  CHECK(told.guest().os_name() == "Debian [2J");
  CHECK(told.guest().host_name().size() == 256);
  CHECK(told.guest().nics_size() == 16);
  CHECK(told.guest().nics(0).addresses_size() == 8);
  CHECK(told.addresses_size() == 16);
  CHECK(told.guest().observe_time().seconds() > 0);
  const auto revision = s.cluster.revision();
  s.cluster.world.run_for(10min);
  const auto later = s.get(vm, server::PermissionSet::all()).value().status();
  CHECK(later.guest().observe_time().seconds() > told.guest().observe_time().seconds() + 500);
  CHECK(s.cluster.revision() == revision);
  hypervisor.guest_powers_off(vm.substr(4));
  s.cluster.world.run_for(10s);
  CHECK_FALSE(s.get(vm, server::PermissionSet::all()).value().status().has_guest());
}

TEST_CASE("an image is incomplete only while its host says that the file is gone", "[core]") {
  Scene s;
  auto& host = *s.cluster.hosts[0];
  const auto uid = s.image.substr(s.image.find('/') + 1);
  const auto state_after_restart = [&] {
    host.kill_agent();
    host.start_agent();
    s.cluster.world.run_for(1min);
    return s.cluster.images().front().state();
  };
  host.disk.fault = [](std::string_view point) -> Status {
    if (point == "images") return Error(Code::Internal, "SYSTEM_CALL", "open: too many open files");
    return {};
  };
  CHECK(state_after_restart() == v1::Image::STATE_READY);
  host.disk.fault = nullptr;
  const auto file = host.disk.images.at(uid);
  host.disk.images.clear();
  CHECK(state_after_restart() == v1::Image::STATE_INCOMPLETE);
  host.disk.images[uid] = file;
  CHECK(state_after_restart() == v1::Image::STATE_READY);
  s.make("web", false);
}

TEST_CASE("an agent of an earlier version is not asked for what it cannot do", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  auto& host = *s.cluster.hosts[0];
  host.session.version = "0.0.9";
  host.session.features = {"something-else"};
  host.kill_agent();
  host.start_agent();
  s.cluster.world.run_for(1min);
  v1::SaveVmRequest save;
  save.set_name(vm);
  const auto refused = s.cluster.must_answer([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().save(s.cluster.caller, save, std::move(reply));
  });
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason() == "AGENT_TOO_OLD");
  CHECK(refused.error().message().find("'host0', version 0.0.9") != std::string::npos);
  CHECK(refused.error().remedy().find("reeve-agent") != std::string::npos);

  // Nor to leave out what it does not understand.
  v1::UpdateVmRequest update;
  update.mutable_vm()->set_name(vm);
  update.mutable_vm()->mutable_spec()->mutable_limits()->set_cpu_weight(200);
  update.mutable_update_mask()->add_paths("spec.limits.cpu_weight");
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().update(s.cluster.caller, update, std::move(reply));
  }) == "AGENT_TOO_OLD");
  s.make("other", true);  // what every agent can do goes on

  host.session = {.version = "0.1.0"};
  host.kill_agent();
  host.start_agent();
  s.cluster.world.run_for(1min);
  succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().save(s.cluster.caller, save, std::move(reply));
  });
  CHECK(s.state(vm) == Vm::STATE_SAVED);
}

TEST_CASE("no two machines have one address, however they are asked for at once", "[core]") {
  Scene s;
  const auto create = [&](const std::string& name, std::vector<std::string> macs) {
    v1::CreateVmRequest request;
    request.mutable_vm()->set_display_name(name);
    request.mutable_vm()->mutable_spec()->set_cpus(1);
    request.mutable_vm()->mutable_spec()->set_memory_mib(64);
    request.mutable_vm()->mutable_spec()->add_disks()->set_image(s.image);
    for (const auto& mac : macs) request.mutable_vm()->mutable_spec()->add_nics()->set_mac(mac);
    return [&s, request](server::Reply<v1::Job> reply) {
      s.cluster.core().vms().create(s.cluster.caller, request, std::move(reply));
    };
  };
  const std::string mac = "52:54:00:00:00:07";
  std::vector<Answer> answers;
  for (const auto* name : {"one", "two", "three"})
    answers.push_back(s.cluster.call(create(name, {mac, ""})));
  s.cluster.run_until(
      [&] { return std::ranges::all_of(answers, [](const auto& a) { return a->has_value(); }); },
      1min);
  REQUIRE((*answers[0])->ok());
  for (const auto i : {1U, 2U}) {
    REQUIRE_FALSE((*answers[i])->ok());
    const auto& error = (*answers[i])->error();
    CHECK(error.reason() == "MAC_TAKEN");
    CHECK(error.message().find("'one'") != std::string::npos);
    CHECK(error.resource() == (*answers[0])->value().target());
  }
  CHECK(s.cluster.finish((*answers[0])->value().uid()).state() == v1::Job::STATE_SUCCEEDED);

  // Given ones: of the server's pool, each another, besides those in use.
  answers.clear();
  for (int i = 0; i < 20; ++i)
    answers.push_back(s.cluster.call(create("given" + std::to_string(i), {"", ""})));
  s.cluster.world.run_for(1min);
  std::set<std::string> given;
  std::size_t cards = 0;
  for (const auto& vm : s.cluster.vms())
    for (const auto& nic : vm.spec().nics()) {
      ++cards;
      given.insert(nic.mac());
      if (nic.mac() != mac) CHECK(nic.mac().starts_with("56:"));
    }
  CHECK(cards == 42);
  CHECK(given.size() == cards);

  // A machine that goes gives its address back.
  v1::DeleteVmRequest remove;
  remove.set_name((*answers[0])->value().target());
  for (const auto& vm : s.cluster.vms())
    if (vm.display_name() == "one") remove.set_name(vm.name());
  succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().remove(s.cluster.caller, remove, std::move(reply));
  });
  succeed(s.cluster, create("two", {mac}));
}

TEST_CASE("machines of a database from before are found by address and image", "[core]") {
  Scene s;
  const auto vm = s.make("web", false);
  const auto mac = s.cluster.vm(vm.substr(4))->spec().nics(0).mac();
  s.cluster.kill_server();
  {
    auto database = db::Database::open(kDatabasePath,
                                       {.access = db::Access::Write, .vfs = s.cluster.disk.vfs()});
    REQUIRE(database.ok());
    REQUIRE(database.value()
                ->run_script("DELETE FROM vm_mac; DELETE FROM vm_image;"
                             "UPDATE meta SET value = 1 WHERE key = 'vm_devices_missing'")
                .ok());
  }
  s.cluster.start_server();
  s.cluster.calm();
  v1::CreateVmRequest request;
  request.mutable_vm()->set_display_name("other");
  request.mutable_vm()->mutable_spec()->set_cpus(1);
  request.mutable_vm()->mutable_spec()->set_memory_mib(64);
  request.mutable_vm()->mutable_spec()->add_disks()->set_image(s.image);
  request.mutable_vm()->mutable_spec()->add_nics()->set_mac(mac);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().create(s.cluster.caller, request, std::move(reply));
  }) == "MAC_TAKEN");
  v1::DeleteImageRequest remove;
  remove.set_name(s.image);
  CHECK(s.reason([&](server::Reply<v1::Job> reply) {
    s.cluster.core().images().remove(s.cluster.caller, remove, std::move(reply));
  }) == "IMAGE_IN_USE");
}

TEST_CASE("the history of one machine is complete or says that it is not", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  const auto list = [&](std::int64_t from, const std::string& resource) {
    v1::ListEventsRequest request;
    request.set_resource(resource);
    request.set_from_revision(from);
    return s.cluster.core().events().list(s.cluster.caller, request);
  };
  const auto all = list(0, vm).value();
  REQUIRE(all.events_size() >= 3);
  for (const auto& event : all.events()) CHECK(event.resource() == vm);
  const auto second = all.events(1).revision();
  CHECK(list(second, vm).value().events_size() == all.events_size() - 2);
  const auto beyond = list(s.cluster.revision() + 1, vm);
  REQUIRE_FALSE(beyond.ok());
  CHECK(beyond.error().reason() == "REVISION_UNKNOWN");
  s.cluster.kill_server();
  {
    auto database = db::Database::open(kDatabasePath,
                                       {.access = db::Access::Write, .vfs = s.cluster.disk.vfs()});
    auto tx = database.value()->begin().value();
    REQUIRE(db::FeedRepo(tx).compact(second, 0, 1000).ok());
    REQUIRE(tx.commit().ok());
  }
  s.cluster.start_server();
  for (const auto& resource : {vm, std::string()}) {
    const auto gap = list(second - 1, resource);
    REQUIRE_FALSE(gap.ok());
    CHECK(gap.error().reason() == "REVISION_COMPACTED");
    CHECK(gap.error().metadata().at("floor") == std::to_string(second));
  }
  CHECK(list(second, vm).value().events_size() == all.events_size() - 2);
}

TEST_CASE("a history longer than ten thousand versions is listed from its beginning", "[core]") {
  Scene s;
  const auto vm = s.make("web", true);
  s.cluster.kill_server();
  const auto before = s.cluster.revision();
  {
    auto database = db::Database::open(kDatabasePath,
                                       {.access = db::Access::Write, .vfs = s.cluster.disk.vfs()});
    auto tx = database.value()->begin().value();
    db::FeedRepo feed(tx);
    auto version = feed.history(vm.substr(4), 0, 1).value().front();
    for (int i = 0; i < 10'001; ++i) REQUIRE(feed.append(version).ok());
    REQUIRE(tx.commit().ok());
  }
  s.cluster.start_server();
  v1::ListEventsRequest request;
  request.set_resource(vm);
  request.set_from_revision(before);
  const auto page = s.cluster.core().events().list(s.cluster.caller, request).value();
  REQUIRE(page.events_size() == 50);
  CHECK(page.events(0).revision() == before + 1);
}

TEST_CASE("what goes with a host is shown before it is removed", "[core]") {
  Scene s;
  const auto web = s.make("web", true);
  const auto mail = s.make("mail", false);
  v1::DeleteHostRequest request;
  request.set_name("hosts/" + s.cluster.hosts[0]->uid);
  const auto remove = [&] {
    auto answer = std::make_shared<std::optional<Result<v1::DeleteHostResponse>>>();
    s.cluster.core().hosts().remove(
        s.cluster.caller, request,
        [answer](Result<v1::DeleteHostResponse> result) { answer->emplace(std::move(result)); });
    REQUIRE(s.cluster.run_until([&] { return answer->has_value(); }, 1min));
    return **answer;
  };
  const auto audited = [&] { return s.cluster.audit_entries(); };
  const auto before = audited();
  request.set_validate_only(true);
  CHECK(remove().error().reason() == "HOST_NOT_EMPTY");
  request.set_force(true);
  request.set_etag("other");
  CHECK(remove().error().reason() == "STALE_ETAG");
  request.clear_etag();
  const auto shown = remove();
  REQUIRE(shown.ok());
  CHECK(std::vector<std::string>(shown.value().vms().begin(), shown.value().vms().end()) ==
        std::vector{mail, web});
  CHECK(std::vector<std::string>(shown.value().images().begin(), shown.value().images().end()) ==
        std::vector{s.image});
  // Nothing went, nothing is in the audit log, and the host is not cut off.
  CHECK(audited() == before);
  s.cluster.world.run_for(1min);
  CHECK(s.state(web) == Vm::STATE_RUNNING);
  CHECK(succeed(s.cluster, s.start(mail)) == mail);

  request.set_validate_only(false);
  const auto removed = remove();
  REQUIRE(removed.ok());
  CHECK(removed.value().SerializeAsString() == shown.value().SerializeAsString());
  CHECK_FALSE(s.cluster.vm(web.substr(4)));
}

TEST_CASE("a cancelled job undoes what it did", "[core]") {
  Scene s;
  const auto created = s.cluster.must_answer(create_vm(s.cluster, "web", s.image, true, s.fresh()));
  v1::CancelJobRequest cancel;
  cancel.set_name(created.value().name());
  const auto answer = s.cluster.call([&](server::Reply<v1::Job> reply) {
    s.cluster.core().jobs().cancel(s.cluster.caller, cancel, std::move(reply));
  });
  const auto job = s.cluster.finish(created.value().uid());
  CHECK(job.state() == v1::Job::STATE_CANCELLED);
  s.cluster.calm();
  CHECK(s.cluster.broken_promise() == "");
  CHECK(s.cluster.vms().empty());
}

TEST_CASE("a job waits for an unreachable host, parks with choices, and goes on by itself",
          "[core]") {
  Scene s;
  const auto vm = s.make("web", false);
  const auto job = s.cluster.must_answer(s.start(vm));
  s.cluster.hosts[0]->set_reachable(false);
  s.cluster.hosts[0]->kill_agent();
  s.cluster.world.run_for(5min);
  const auto parked = s.cluster.job(job.value().uid()).value();
  if (parked.state() == v1::Job::STATE_SUCCEEDED) return;  // it was quicker than the cut
  CHECK(parked.state() == v1::Job::STATE_PARKED);
  CHECK(parked.choices_size() >= 2);
  CHECK(parked.error().detail().reason() == "HOST_UNREACHABLE");
  s.cluster.calm();
  CHECK(s.cluster.job(job.value().uid()).value().state() == v1::Job::STATE_SUCCEEDED);
}
