#include "server/jobs/effects.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

using Vm = v1::VirtualMachine;

std::string fact(const EffectContext& context, const char* name) {
  const auto it = context.facts.find(name);
  return it == context.facts.end() ? std::string() : it->second;
}

std::int64_t number_fact(const EffectContext& context, const char* name) {
  const std::string text = fact(context, name);
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::max<std::int64_t>(0, value);
}

/// Runs `change` on the machine's row, if there is one.
template <class Change>
Status with_vm(const EffectContext& context, Change change) {
  db::VmRepo repo(context.tx);
  auto row = repo.get(context.plan.vm_uid());
  if (!row.ok()) return row.error().code() == Code::NotFound ? Status{} : Status(row.error());
  auto seen = TRY(document<Vm>(row.value().status, "machine " + row.value().uid));
  return change(repo, std::move(row).value(), seen);
}

template <class Change>
Status with_image(const EffectContext& context, Change change) {
  db::ImageRepo repo(context.tx);
  auto row = repo.get(context.plan.image_uid());
  if (!row.ok()) return row.error().code() == Code::NotFound ? Status{} : Status(row.error());
  return change(repo, std::move(row).value());
}

Status write_status(db::VmRepo& repo, db::Vm row, const Vm& seen, const db::Change& change) {
  row.status = vm_status_document(seen);
  TRY(repo.update_status(row, change));
  return {};
}

Status vm_created(const EffectContext& context) {
  const auto& vm = context.plan.vm_after();
  Vm seen;
  seen.mutable_status()->set_host(vm.spec().host());
  seen.mutable_status()->set_hypervisor(vm.spec().host() + "/hypervisors/" +
                                        vm.spec().hypervisor());
  db::Vm row;
  row.uid = vm.uid();
  row.name = vm.display_name();
  row.host_uid = vm.spec().host().substr(vm.spec().host().find('/') + 1);
  row.hypervisor_uid = context.plan.hypervisor_uid();
  row.state = to_word(Vm::STATE_CREATING);
  row.cpus = vm.spec().cpus();
  row.memory_mib = vm.spec().memory_mib();
  row.origin = to_word(Vm::ORIGIN_MANAGED);
  row.spec = vm_spec_document(vm);
  row.status = vm_status_document(seen);
  db::VmRepo repo(context.tx);
  TRY(repo.insert(std::move(row), context.change));
  return repo.set_devices(vm.uid(), devices_of(vm.spec()));
}

/// A version that only says that a job began or ended: active_job and allowed_actions have changed.
Status vm_touched(const EffectContext& context) {
  return with_vm(context, [&](db::VmRepo& repo, const db::Vm& row, Vm&) -> Status {
    TRY(repo.update_status(row, context.change));
    return {};
  });
}

Status set_state(const EffectContext& context, Vm::State state) {
  return with_vm(context, [&](db::VmRepo& repo, db::Vm row, Vm& seen) {
    row.state = to_word(state);
    seen.clear_state_reason();
    if (state == Vm::STATE_STOPPED || state == Vm::STATE_SAVED) {
      seen.mutable_status()->clear_start_time();
      seen.mutable_status()->clear_addresses();
      seen.mutable_status()->clear_guest();
      seen.mutable_status()->clear_pending_restart();
    }
    if (state == Vm::STATE_RUNNING) {
      *seen.mutable_status()->mutable_start_time() = to_proto(context.change.time);
      seen.mutable_status()->clear_pending_restart();
    }
    row.status_observed_at = context.change.time;
    return write_status(repo, std::move(row), seen, context.change);
  });
}

Status vm_stopped(const EffectContext& context) {
  return set_state(context, Vm::STATE_STOPPED);
}
Status vm_running(const EffectContext& context) {
  return set_state(context, Vm::STATE_RUNNING);
}
Status vm_paused(const EffectContext& context) {
  return set_state(context, Vm::STATE_PAUSED);
}

Status vm_saved(const EffectContext& context) {
  return set_state(context, Vm::STATE_SAVED);
}

/// Resumed or rebooted, but not started: neither start time nor what waits for a start has changed.
Status vm_goes_on(const EffectContext& context) {
  return with_vm(context, [&](db::VmRepo& repo, db::Vm row, Vm& seen) {
    row.state = to_word(Vm::STATE_RUNNING);
    row.status_observed_at = context.change.time;
    seen.clear_state_reason();
    return write_status(repo, std::move(row), seen, context.change);
  });
}

Status write_intent(const EffectContext& context, const Vm& vm) {
  return with_vm(context, [&](db::VmRepo& repo, db::Vm row, Vm& seen) -> Status {
    row.name = vm.display_name();
    row.cpus = vm.spec().cpus();
    row.memory_mib = vm.spec().memory_mib();
    row.spec = vm_spec_document(vm);
    row.etag.clear();
    row = TRY(repo.update(std::move(row), context.change));
    TRY(repo.set_devices(row.uid, devices_of(vm.spec())));
    seen.mutable_status()->clear_pending_restart();
    const std::string pending = fact(context, "pending_restart");
    for (const auto& field : split(pending, ','))
      if (!field.empty()) seen.mutable_status()->add_pending_restart(std::string(field));
    return write_status(repo, std::move(row), seen, context.change);
  });
}

Status vm_changed(const EffectContext& context) {
  return write_intent(context, context.plan.vm_after());
}
Status vm_changed_back(const EffectContext& context) {
  return write_intent(context, context.plan.vm_before());
}

Status vm_forgotten(const EffectContext& context) {
  const Status removed = db::VmRepo(context.tx).remove(context.plan.vm_uid(), "", context.change);
  if (!removed.ok() && removed.error().code() == Code::NotFound) return {};
  return removed;
}

/// A job on it was given up: only the next observation says how it is.
Status vm_doubtful(const EffectContext& context) {
  return with_vm(context, [&](db::VmRepo& repo, db::Vm row, Vm& seen) {
    row.state = to_word(Vm::STATE_UNKNOWN);
    seen.set_state_reason("job " + job_name(context.change.job_uid) +
                          " was given up; the state is unknown until the host reports it");
    return write_status(repo, std::move(row), seen, context.change);
  });
}

Status image_created(const EffectContext& context) {
  const auto& image = context.plan.image_after();
  db::Image row;
  row.uid = image.uid();
  row.name = image.display_name();
  row.kind = to_word(image.kind());
  row.format = to_word(image.format());
  row.state = to_word(v1::Image::STATE_IMPORTING);
  row.sha256 = image.sha256();
  const auto& host = context.plan.steps(0).host();
  row.host_uid = host;
  row.spec = image_spec_document(image);
  row.status = image_status_document({});
  TRY(db::ImageRepo(context.tx).insert(std::move(row), context.change));
  return {};
}

Status image_touched(const EffectContext& context) {
  return with_image(context, [&](db::ImageRepo& repo, const db::Image& row) -> Status {
    TRY(repo.update_status(row, context.change));
    return {};
  });
}

/// Facts: sha256, size_bytes, virtual_size_bytes.
Status image_ready(const EffectContext& context) {
  return with_image(context, [&](db::ImageRepo& repo, db::Image row) -> Status {
    row.state = to_word(v1::Image::STATE_READY);
    row.sha256 = fact(context, "sha256");
    row.size_bytes = number_fact(context, "size_bytes");
    v1::Image seen;
    seen.set_virtual_size_bytes(number_fact(context, "virtual_size_bytes"));
    row.status = image_status_document(seen);
    row.status_observed_at = context.change.time;
    TRY(repo.update_status(row, context.change));
    return {};
  });
}

Status image_incomplete(const EffectContext& context) {
  return with_image(context, [&](db::ImageRepo& repo, db::Image row) -> Status {
    row.state = to_word(v1::Image::STATE_INCOMPLETE);
    TRY(repo.update_status(row, context.change));
    return {};
  });
}

Status image_forgotten(const EffectContext& context) {
  const Status removed =
      db::ImageRepo(context.tx).remove(context.plan.image_uid(), "", context.change);
  if (!removed.ok() && removed.error().code() == Code::NotFound) return {};
  return removed;
}

struct Effect {
  std::string_view name;
  Status (*apply)(const EffectContext&);
};

constexpr std::array<Effect, 16> kEffects{{
    {"vm_created", vm_created},
    {"vm_touched", vm_touched},
    {"vm_stopped", vm_stopped},
    {"vm_running", vm_running},
    {"vm_goes_on", vm_goes_on},
    {"vm_paused", vm_paused},
    {"vm_saved", vm_saved},
    {"vm_changed", vm_changed},
    {"vm_changed_back", vm_changed_back},
    {"vm_forgotten", vm_forgotten},
    {"vm_doubtful", vm_doubtful},
    {"image_created", image_created},
    {"image_touched", image_touched},
    {"image_ready", image_ready},
    {"image_incomplete", image_incomplete},
    {"image_forgotten", image_forgotten},
}};

}  // namespace

Status apply_effect(std::string_view name, const EffectContext& context) {
  if (name.empty()) return {};
  const auto it = std::ranges::find(kEffects, name, &Effect::name);
  if (it == kEffects.end())
    return Error(Code::Internal, "UNKNOWN_EFFECT",
                 "no effect is called '" + std::string(name) + "'");
  return it->apply(context);
}

std::vector<std::string_view> effect_names() {
  std::vector<std::string_view> names;
  for (const auto& effect : kEffects) names.push_back(effect.name);
  return names;
}

}  // namespace reeve::server
