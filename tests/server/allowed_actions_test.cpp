// What allowed_actions says of a resource is what its calls answer: state by state, verb by verb.
#include <map>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/uuid.h"
#include "tests/sim/scenario.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;
using Vm = v1::VirtualMachine;

namespace {

using Actions = google::protobuf::RepeatedPtrField<v1::AllowedAction>;
using Answers = std::map<std::string, std::string>;  ///< verb -> reason; "" when it is possible

Answers shown(const Actions& actions) {
  Answers answers;
  for (const auto& action : actions) {
    CHECK(action.allowed() == action.reason().empty());
    answers[action.verb()] = action.reason();
  }
  return answers;
}

template <class T>
std::string reason(const Result<T>& result) {
  return result.ok() ? "" : std::string(result.error().reason());
}

struct Scene {
  Scene() : cluster(1) {
    log::set_sink([](std::string_view) {});
    cluster.boot();
    image = succeed(cluster, import_image(cluster, "base", fresh()));
    vm = succeed(cluster, create_vm(cluster, "web", image, false, fresh()));
  }
  std::string fresh() { return new_uuid(cluster.world.random()); }
  SimHost& host() { return *cluster.hosts[0]; }
  std::string vm_uid() const { return vm.substr(vm.find('/') + 1); }

  template <class T = v1::Job>
  std::string answer(const std::type_identity_t<std::function<void(server::Reply<T>)>>& go) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    go([result](Result<T> value) { result->emplace(std::move(value)); });
    REQUIRE(cluster.run_until([&] { return result->has_value(); }, 1min));
    return reason(**result);
  }
  template <class Request, class Method>
  std::string plan(Method method, Request request = {}) {
    request.set_name(vm);
    request.set_validate_only(true);
    return answer([&](server::Reply<v1::Job> reply) {
      (cluster.core().vms().*method)(cluster.caller, request, std::move(reply));
    });
  }
  template <class Request, class Method>
  void run(Method method) {
    Request request;
    request.set_name(vm);
    succeed(cluster, [&](server::Reply<v1::Job> reply) {
      (cluster.core().vms().*method)(cluster.caller, request, std::move(reply));
    });
  }

  v1::VirtualMachine the_vm(server::PermissionSet permissions = server::PermissionSet::all()) {
    v1::GetVmRequest request;
    request.set_name(vm);
    auto caller = cluster.caller;
    caller.permissions = permissions;
    return cluster.core().vms().get(caller, request).value();
  }
  v1::Image the_image(server::PermissionSet permissions = server::PermissionSet::all()) {
    v1::GetImageRequest request;
    request.set_name(image);
    auto caller = cluster.caller;
    caller.permissions = permissions;
    return cluster.core().images().get(caller, request).value();
  }
  v1::Host the_host(server::PermissionSet permissions = server::PermissionSet::all()) {
    v1::GetHostRequest request;
    request.set_name("hosts/" + host().uid);
    auto caller = cluster.caller;
    caller.permissions = permissions;
    return cluster.core().hosts().get(caller, request).value();
  }

  Answers vm_calls() {
    using server::VmService;
    v1::UpdateVmRequest update;
    update.mutable_vm()->set_name(vm);
    update.mutable_vm()->mutable_spec()->set_cpus(2);
    update.mutable_update_mask()->add_paths("spec.cpus");
    update.set_validate_only(true);
    return {{"StartVm", plan<v1::StartVmRequest>(&VmService::start)},
            {"StopVm", plan<v1::StopVmRequest>(&VmService::stop)},
            {"RebootVm", plan<v1::RebootVmRequest>(&VmService::reboot)},
            {"PauseVm", plan<v1::PauseVmRequest>(&VmService::pause)},
            {"ResumeVm", plan<v1::ResumeVmRequest>(&VmService::resume)},
            {"SaveVm", plan<v1::SaveVmRequest>(&VmService::save)},
            {"RestoreVm", plan<v1::RestoreVmRequest>(&VmService::restore)},
            {"UpdateVm", answer([&](server::Reply<v1::Job> reply) {
               cluster.core().vms().update(cluster.caller, update, std::move(reply));
             })},
            {"DeleteVm", plan<v1::DeleteVmRequest>(&VmService::remove)},
            {"AttachConsole", reason(cluster.core().vms().console_place(vm))}};
  }
  Answers image_calls() {
    v1::DeleteImageRequest remove;
    remove.set_name(image);
    remove.set_validate_only(true);
    v1::UpdateImageRequest update;
    update.mutable_image()->set_name(image);
    update.mutable_image()->set_description("changed");
    update.mutable_update_mask()->add_paths("description");
    update.set_validate_only(true);
    return {{"DeleteImage", answer([&](server::Reply<v1::Job> reply) {
               cluster.core().images().remove(cluster.caller, remove, std::move(reply));
             })},
            {"UpdateImage", answer<v1::Image>([&](server::Reply<v1::Image> reply) {
               cluster.core().images().update(cluster.caller, update, std::move(reply));
             })}};
  }
  Answers host_calls() {
    v1::DeleteHostRequest remove;
    remove.set_name("hosts/" + host().uid);
    remove.set_validate_only(true);
    v1::UpdateHostRequest update;
    update.mutable_host()->set_name(remove.name());
    update.mutable_host()->set_display_name("renamed");
    update.mutable_update_mask()->add_paths("display_name");
    update.set_validate_only(true);
    const auto updated = answer<v1::Host>([&](server::Reply<v1::Host> reply) {
      cluster.core().hosts().update(cluster.caller, update, std::move(reply));
    });
    return {{"UpdateHost", updated},
            {"DeleteHost",
             answer<v1::DeleteHostResponse>([&](server::Reply<v1::DeleteHostResponse> reply) {
               cluster.core().hosts().remove(cluster.caller, remove, std::move(reply));
             })}};
  }
  void check_vm(Vm::State state) {
    INFO("the machine is " << Vm::State_Name(state));
    REQUIRE(the_vm().state() == state);
    CHECK(shown(the_vm().allowed_actions()) == vm_calls());
  }
  void check_image(const std::string& deletion) {
    INFO("DeleteImage: " << deletion);
    const auto said = shown(the_image().allowed_actions());
    CHECK(said == image_calls());
    CHECK(said.at("DeleteImage") == deletion);
  }
  void check_host(const std::string& deletion) {
    INFO("DeleteHost: " << deletion);
    const auto said = shown(the_host().allowed_actions());
    CHECK(said == host_calls());
    CHECK(said.at("DeleteHost") == deletion);
  }

  Cluster cluster;
  std::string image{};
  std::string vm{};
};

}  // namespace

TEST_CASE("a machine's allowed_actions are what its calls answer, in every state", "[core]") {
  using server::VmService;
  Scene s;
  s.check_vm(Vm::STATE_STOPPED);
  s.run<v1::StartVmRequest>(&VmService::start);
  s.check_vm(Vm::STATE_RUNNING);
  s.run<v1::PauseVmRequest>(&VmService::pause);
  s.check_vm(Vm::STATE_PAUSED);
  s.run<v1::SaveVmRequest>(&VmService::save);
  s.check_vm(Vm::STATE_SAVED);
  s.run<v1::RestoreVmRequest>(&VmService::restore);
  s.host().hypervisor.crash_guest(s.vm_uid());
  s.cluster.world.run_for(10s);
  s.check_vm(Vm::STATE_CRASHED);
  s.host().hypervisor.go_away();
  s.cluster.world.run_for(5min);
  s.check_vm(Vm::STATE_UNKNOWN);
  s.host().hypervisor.come_back();
  s.host().hypervisor.vanish(s.vm_uid());
  s.cluster.world.run_for(5min);
  s.check_vm(Vm::STATE_MISSING);
}

TEST_CASE("a machine's allowed_actions are what its calls answer, wherever it is", "[core]") {
  using server::VmService;
  Scene s;
  s.run<v1::StartVmRequest>(&VmService::start);

  // A job holds it.
  s.host().hypervisor.set_habits(s.vm_uid(), {.ignores_shutdown = true});
  v1::StopVmRequest stop;
  stop.set_name(s.vm);
  const auto job = s.cluster.must_answer([&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().stop(s.cluster.caller, stop, std::move(reply));
  });
  s.check_vm(Vm::STATE_RUNNING);
  CHECK(shown(s.the_vm().allowed_actions()).at("StartVm") == "RESOURCE_BUSY");
  CHECK(s.cluster.finish(job.value().uid()).state() == v1::Job::STATE_SUCCEEDED);
  s.run<v1::StartVmRequest>(&VmService::start);

  // Its agent is of an earlier version.
  s.host().session.version = "0.0.9";
  s.host().session.features.clear();
  s.host().kill_agent();
  s.host().start_agent();
  s.cluster.world.run_for(1min);
  s.check_vm(Vm::STATE_RUNNING);
  CHECK(shown(s.the_vm().allowed_actions()).at("SaveVm") == "AGENT_TOO_OLD");

  // Its host is away.
  s.host().kill_agent();
  s.cluster.world.run_for(1min);
  s.check_vm(Vm::STATE_RUNNING);
  CHECK(shown(s.the_vm().allowed_actions()).at("StopVm") == "HOST_UNREACHABLE");
  s.host().start_agent();

  // Reeve did not make it.
  const auto uid = s.fresh();
  s.host().hypervisor.add_foreign({.uid = uid, .display_name = "theirs"});
  s.cluster.world.run_for(2min);
  s.vm = "vms/" + uid;
  s.check_vm(s.the_vm().state());
  CHECK(shown(s.the_vm().allowed_actions()).at("DeleteVm") == "VM_NOT_MANAGED");
}

TEST_CASE("an image's allowed_actions are what its calls answer", "[core]") {
  Scene s;
  s.check_image("IMAGE_IN_USE");
  s.run<v1::DeleteVmRequest>(&server::VmService::remove);
  s.check_image("");
  s.host().kill_agent();
  s.cluster.world.run_for(1min);
  s.check_image("HOST_UNREACHABLE");
  const auto used = s.image;
  s.host().start_agent();
  s.cluster.world.run_for(1min);
  s.host().disk.fault = [](std::string_view point) -> Status {
    if (point == "import.begin") return Error(Code::Unavailable, "UPLOAD_LOST", "later");
    return {};
  };
  const auto job = s.cluster.must_answer(import_image(s.cluster, "second", s.fresh()));
  s.image = job.value().target();
  s.check_image("RESOURCE_BUSY");
  CHECK_FALSE(s.the_image().active_job().empty());
}

TEST_CASE("a host's allowed_actions are what its calls answer", "[core]") {
  Scene s;
  s.check_host("HOST_NOT_EMPTY");
  s.run<v1::DeleteVmRequest>(&server::VmService::remove);
  s.check_host("HOST_NOT_EMPTY");  // its image
  v1::DeleteImageRequest remove;
  remove.set_name(s.image);
  succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().images().remove(s.cluster.caller, remove, std::move(reply));
  });
  s.check_host("");
}

TEST_CASE("a caller without the permission reads the reason that the call answers", "[core]") {
  Scene s;
  const auto viewer = server::PermissionSet{}.with(v1::PERMISSION_VIEW);
  Actions all = s.the_vm(viewer).allowed_actions();
  all.MergeFrom(s.the_image(viewer).allowed_actions());
  all.MergeFrom(s.the_host(viewer).allowed_actions());
  CHECK(all.size() == 14);
  // The door answers NOT_PERMITTED by the option of the method: the same permission opens both.
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const auto& action : all) {
    INFO(action.verb());
    CHECK(action.reason() == "NOT_PERMITTED");
    const google::protobuf::MethodDescriptor* method = nullptr;
    for (const auto* service :
         {"reeve.v1.VmService", "reeve.v1.ImageService", "reeve.v1.HostService"})
      if (const auto* found = pool->FindServiceByName(service)->FindMethodByName(action.verb()))
        method = found;
    REQUIRE(method);
    const auto needed = method->options().GetExtension(v1::authorization).permission();
    const auto holder = server::PermissionSet{}.with(needed);
    Actions his = s.the_vm(holder).allowed_actions();
    his.MergeFrom(s.the_image(holder).allowed_actions());
    his.MergeFrom(s.the_host(holder).allowed_actions());
    CHECK(shown(his).at(action.verb()) != "NOT_PERMITTED");
  }
}
