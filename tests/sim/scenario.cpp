#include "tests/sim/scenario.h"

#include <stdexcept>

#include "base/uuid.h"

namespace reeve::test {

using namespace std::chrono_literals;

const char* name_of(Fault fault) {
  switch (fault) {
    case Fault::KillServer: return "kill-server";
    case Fault::PowerCutServer: return "power-cut-server";
    case Fault::KillAgent: return "kill-agent";
    case Fault::KillBoth: return "kill-both";
    case Fault::CutLink: return "cut-link";
    case Fault::CutLinkLong: return "cut-link-long";
    case Fault::FreezeLink: return "freeze-link";
    case Fault::DatabaseFull: return "database-full";
    case Fault::OutboxFull: return "outbox-full";
    case Fault::HypervisorFails: return "hypervisor-fails";
    case Fault::HypervisorHangs: return "hypervisor-hangs";
    case Fault::StoreFails: return "store-fails";
    case Fault::ClockForward: return "clock-forward";
    case Fault::ClockBack: return "clock-back";
    case Fault::GuestEndsAlone: return "guest-ends-alone";
  }
  return "?";
}

void strike(Cluster& cluster, SimHost& host, Fault fault) {
  const auto later = [&](std::chrono::microseconds delay, std::function<void()> task) {
    cluster.net.post_after(delay, std::move(task));
  };
  Cluster* const c = &cluster;
  SimHost* const h = &host;
  switch (fault) {
    case Fault::KillServer:
    case Fault::PowerCutServer:
      cluster.kill_server(fault == Fault::KillServer ? FaultDisk::Loss::KillProcess
                                                     : FaultDisk::Loss::PowerCut);
      return later(1s, [c] { c->start_server(); });
    case Fault::KillAgent: host.kill_agent(); return later(1s, [h] { h->start_agent(); });
    case Fault::KillBoth:
      cluster.kill_server();
      host.kill_agent();
      later(1s, [c] { c->start_server(); });
      return later(2s, [h] { h->start_agent(); });
    case Fault::CutLink: return host.cut();
    case Fault::CutLinkLong:
      host.set_reachable(false);
      return later(5min, [h] { h->set_reachable(true); });
    case Fault::FreezeLink: return host.freeze();
    case Fault::DatabaseFull:
      cluster.disk.set_capacity(1);
      return later(20s, [c] { c->disk.clear_capacity(); });
    case Fault::OutboxFull:
      host.outbox_disk.full = true;
      return later(20s, [h] { h->outbox_disk.full = false; });
    case Fault::HypervisorFails:
      return host.hypervisor.inject(
          {.verb = agent::SimVerb::Any,
           .error = Error(Code::Internal, "HYPERVISOR_ERROR", "injected")});
    case Fault::HypervisorHangs:
      return host.hypervisor.inject(
          agent::SimFault::hang(agent::SimVerb::Any, agent::SimFault::Effect::Now));
    case Fault::StoreFails:
      host.disk.fault = [h](std::string_view) -> Status {
        h->disk.fault = nullptr;
        return Error(Code::ResourceExhausted, "DISK_FULL", "injected");
      };
      return;
    case Fault::ClockForward: return cluster.world.jump_wall(1h);
    case Fault::ClockBack: return cluster.world.jump_wall(-1h);
    case Fault::GuestEndsAlone:
      host.die();
      later(500ms, [h] {
        agent::SimDriver driver(h->hypervisor);
        const auto guests = driver.list();
        for (const auto& guest : guests.ok() ? guests.value() : std::vector<agent::GuestSeen>{})
          h->hypervisor.guest_powers_off(guest.uid);
      });
      return later(2s, [h] { h->start_agent(); });
  }
}

Go import_image(Cluster& cluster, const std::string& name, const std::string& request_id,
                const std::string& host) {
  v1::ImportImageRequest request;
  request.mutable_image()->set_display_name(name);
  request.mutable_image()->set_kind(v1::Image::KIND_DISK);
  request.mutable_image()->set_format(v1::DISK_FORMAT_RAW);
  request.set_host_path("/images/base");
  request.set_host(host);
  request.set_request_id(request_id);
  return [&cluster, request](server::Reply<v1::Job> reply) {
    cluster.core().images().import(cluster.caller, request, std::move(reply));
  };
}

Go create_vm(Cluster& cluster, const std::string& name, const std::string& image, bool start,
             const std::string& request_id, const std::map<std::string, std::string>& labels) {
  v1::CreateVmRequest request;
  auto& vm = *request.mutable_vm();
  vm.set_display_name(name);
  vm.mutable_spec()->set_cpus(1);
  vm.mutable_spec()->set_memory_mib(512);
  vm.mutable_spec()->add_disks()->set_image(image);
  vm.mutable_spec()->add_nics();
  vm.mutable_labels()->insert(labels.begin(), labels.end());
  request.set_start(start);
  request.set_request_id(request_id);
  return [&cluster, request](server::Reply<v1::Job> reply) {
    cluster.core().vms().create(cluster.caller, request, std::move(reply));
  };
}

std::string succeed(Cluster& cluster, const Go& go) {
  const auto answer = cluster.must_answer(go);
  if (!answer.ok())
    throw std::runtime_error(std::string(answer.error().reason()) + ": " +
                             answer.error().message());
  const auto job = cluster.finish(answer.value().uid());
  if (job.state() != v1::Job::STATE_SUCCEEDED) throw std::runtime_error(job.ShortDebugString());
  return job.target();
}

namespace {

Stage with_image(Cluster& cluster) {
  Stage stage;
  stage.host = "hosts/" + cluster.hosts.front()->uid;
  stage.image =
      succeed(cluster, import_image(cluster, "base", new_uuid(cluster.world.random()), stage.host));
  return stage;
}
Stage with_vm(Cluster& cluster) {
  Stage stage = with_image(cluster);
  stage.vm = succeed(
      cluster, create_vm(cluster, "web", stage.image, false, new_uuid(cluster.world.random())));
  return stage;
}
Stage with_running(Cluster& cluster) {
  Stage stage = with_image(cluster);
  stage.vm = succeed(
      cluster, create_vm(cluster, "web", stage.image, true, new_uuid(cluster.world.random())));
  return stage;
}

template <class Request>
using Method = void (server::VmService::*)(const server::Caller&, const Request&,
                                           server::Reply<v1::Job>);

template <class Request>
Go verb(Cluster& cluster, Method<Request> method, const Stage& stage,
        const std::string& request_id) {
  Request request;
  request.set_name(stage.vm);
  request.set_request_id(request_id);
  return [&cluster, method, request](server::Reply<v1::Job> reply) {
    (cluster.core().vms().*method)(cluster.caller, request, std::move(reply));
  };
}

Stage with_paused(Cluster& cluster) {
  Stage stage = with_running(cluster);
  succeed(cluster, verb<v1::PauseVmRequest>(cluster, &server::VmService::pause, stage,
                                            new_uuid(cluster.world.random())));
  return stage;
}

Stage with_saved(Cluster& cluster) {
  Stage stage = with_running(cluster);
  succeed(cluster, verb<v1::SaveVmRequest>(cluster, &server::VmService::save, stage,
                                           new_uuid(cluster.world.random())));
  return stage;
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  using server::VmService;
  static const std::vector<Scenario> all{
      {"ImportImage", [](Cluster& c) { return Stage{.host = "hosts/" + c.hosts.front()->uid}; },
       [](Cluster& c, const Stage& s, const std::string& id) {
         return import_image(c, "base", id, s.host);
       }},
      {"UploadImage", [](Cluster& c) { return Stage{.host = "hosts/" + c.hosts.front()->uid}; },
       [](Cluster& c, const Stage& s, const std::string& id) -> Go {
         v1::ImportImageRequest request;
         request.mutable_image()->set_display_name("base");
         request.mutable_image()->set_kind(v1::Image::KIND_DISK);
         request.mutable_image()->set_format(v1::DISK_FORMAT_RAW);
         request.set_upload_bytes(1 << 20);
         request.set_host(s.host);
         request.set_request_id(id);
         return [&c, request](server::Reply<v1::Job> reply) {
           c.core().images().import(c.caller, request, std::move(reply));
         };
       }},
      {"DeleteImage", with_image,
       [](Cluster& c, const Stage& s, const std::string& id) -> Go {
         v1::DeleteImageRequest request;
         request.set_name(s.image);
         request.set_request_id(id);
         return [&c, request](server::Reply<v1::Job> reply) {
           c.core().images().remove(c.caller, request, std::move(reply));
         };
       }},
      {"CreateVm", with_image,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return create_vm(c, "web", s.image, true, id);
       }},
      {"StartVm", with_vm,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::StartVmRequest>(c, &VmService::start, s, id);
       }},
      {"StopVm", with_running,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::StopVmRequest>(c, &VmService::stop, s, id);
       }},
      {"RebootVm", with_running,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::RebootVmRequest>(c, &VmService::reboot, s, id);
       }},
      {"PauseVm", with_running,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::PauseVmRequest>(c, &VmService::pause, s, id);
       }},
      {"ResumeVm", with_paused,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::ResumeVmRequest>(c, &VmService::resume, s, id);
       }},
      {"SaveVm", with_running,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::SaveVmRequest>(c, &VmService::save, s, id);
       }},
      {"RestoreVm", with_saved,
       [](Cluster& c, const Stage& s, const std::string& id) {
         return verb<v1::RestoreVmRequest>(c, &VmService::restore, s, id);
       }},
      {"UpdateVm", with_vm,
       [](Cluster& c, const Stage& s, const std::string& id) -> Go {
         v1::UpdateVmRequest request;
         request.mutable_vm()->set_name(s.vm);
         request.mutable_vm()->set_display_name("renamed");
         request.mutable_vm()->mutable_spec()->set_cpus(3);
         request.mutable_update_mask()->add_paths("display_name");
         request.mutable_update_mask()->add_paths("spec.cpus");
         request.set_request_id(id);
         return [&c, request](server::Reply<v1::Job> reply) {
           c.core().vms().update(c.caller, request, std::move(reply));
         };
       }},
      {"DeleteVm", with_running,
       [](Cluster& c, const Stage& s, const std::string& id) -> Go {
         v1::DeleteVmRequest request;
         request.set_name(s.vm);
         request.set_force(true);
         request.set_request_id(id);
         return [&c, request](server::Reply<v1::Job> reply) {
           c.core().vms().remove(c.caller, request, std::move(reply));
         };
       }},
  };
  return all;
}

}  // namespace reeve::test
