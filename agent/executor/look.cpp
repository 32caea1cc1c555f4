// Each case follows the "Done when" of its action in proto/reeve/agent/v1/step.proto.
#include <google/protobuf/util/message_differencer.h>

#include "agent/executor/convert.h"
#include "agent/executor/step.h"

namespace reeve::agent {
namespace {

v1::StepSeen outcome(v1::StepSeen::Outcome what, const Facts& facts = {}) {
  v1::StepSeen seen;
  seen.set_outcome(what);
  for (const auto& [key, value] : facts) (*seen.mutable_facts())[key] = value;
  return seen;
}
v1::StepSeen done(const Facts& facts = {}) {
  return outcome(v1::StepSeen::OUTCOME_DONE, facts);
}
v1::StepSeen not_done() {
  return outcome(v1::StepSeen::OUTCOME_NOT_DONE);
}
v1::StepSeen done_if(bool yes) {
  return yes ? done() : not_done();
}
v1::StepSeen unknowable(const Error& why) {
  v1::StepSeen seen = outcome(v1::StepSeen::OUTCOME_UNKNOWABLE);
  *seen.mutable_error() = to_proto(why);
  return seen;
}

bool is_absent(const Error& error) {
  return error.code() == Code::NotFound;
}

/// Looks at a guest; an absent one is handed on as null, anything else that fails cannot be told.
template <class Judge>
v1::StepSeen look_at(const std::string& uid, const std::string& hypervisor, const StepWorld& world,
                     Judge judge) {
  auto driver = world.driver(hypervisor);
  if (!driver.ok()) return unknowable(driver.error());
  const auto seen = driver.value()->get(uid);
  if (!seen.ok() && !is_absent(seen.error())) return unknowable(seen.error());
  return judge(seen.ok() ? &seen.value() : nullptr);
}

template <class Target>
v1::StepSeen look_for_state(const Target& target, const StepWorld& world,
                            std::initializer_list<GuestState> states) {
  return look_at(target.uid(), target.hypervisor(), world, [&](const GuestSeen* seen) {
    if (!seen) return not_done();
    for (const auto state : states)
      if (seen->state == state) return done();
    return not_done();
  });
}

v1::StepSeen look_for_image(const std::string& uid, Store& store) {
  const auto image = store.image(uid);
  if (image.ok()) return done(facts_of(image.value()));
  return is_absent(image.error()) ? not_done() : unknowable(image.error());
}

v1::StepSeen look_for_no_image(const std::string& uid, Store& store) {
  const auto image = store.image(uid);
  if (image.ok()) return not_done();
  return is_absent(image.error()) ? done() : unknowable(image.error());
}

v1::StepSeen look_for_files(const v1::RemoveGuestFiles& action, Store& store) {
  const auto there = store.has_guest(action.uid());
  return there.ok() ? done_if(!there.value()) : unknowable(there.error());
}

v1::StepSeen look_for_prepared(const v1::GuestSpec& spec, Store& store) {
  const auto prepared = store.is_prepared(spec);
  return prepared.ok() ? done_if(prepared.value()) : unknowable(prepared.error());
}

v1::StepSeen look_for_update(const v1::GuestSpec& spec, const StepWorld& world) {
  return look_at(spec.uid(), spec.hypervisor(), world, [&](const GuestSeen* seen) {
    const auto stored = world.store->guest(spec.uid());
    if (!stored.ok() && !is_absent(stored.error())) return unknowable(stored.error());
    // The spec is stored after the definition was changed, so an equal one proves both.
    if (!seen || !stored.ok() ||
        !google::protobuf::util::MessageDifferencer::Equals(stored.value(), spec))
      return not_done();
    Facts facts;
    for (const auto& field : seen->pending_restart)
      facts["pending_restart"] += (facts["pending_restart"].empty() ? "" : ",") + field;
    return done(facts);
  });
}

v1::StepSeen look_for_saved(const v1::SaveGuest& action, const StepWorld& world) {
  return look_at(action.uid(), action.hypervisor(), world, [&](const GuestSeen* seen) {
    return done_if(seen && is_off(*seen) && world.store->saved_state(action.uid()).ok());
  });
}

v1::StepSeen look_for_restored(const v1::RestoreGuest& action, const StepWorld& world) {
  return look_at(action.uid(), action.hypervisor(), world, [&](const GuestSeen* seen) {
    if (!seen || world.store->saved_state(action.uid()).ok()) return not_done();
    if (!is_off(*seen)) return done_if(seen->state == GuestState::Running);
    // It ran, or may have, and has ended since: doing it again would be wrong.
    const auto used = world.store->was_state_used(action.uid());
    return done_if(used.ok() && used.value());
  });
}

}  // namespace

void note_saved_state(GuestSeen& seen, Store& store) {
  if (!seen.managed) return;
  if (seen.state == GuestState::Running) {
    (void)store.free_used_state(seen.uid);  // tried again whenever it is seen
  } else if (is_off(seen) && store.saved_state(seen.uid).ok()) {
    seen.saved = true;
    if (const auto fits = store.check_saved_state(seen.uid); !fits.ok())
      seen.state_reason = fits.error().message();
  }
}

v1::StepSeen look(const v1::Action& action, const StepWorld& world) {
  Store& store = *world.store;
  switch (action.kind_case()) {
    case v1::Action::kImportImage: return look_for_image(action.import_image().uid(), store);
    case v1::Action::kRemoveImage: return look_for_no_image(action.remove_image().uid(), store);
    case v1::Action::kPrepareGuest: return look_for_prepared(action.prepare_guest().spec(), store);
    case v1::Action::kRemoveGuestFiles: return look_for_files(action.remove_guest_files(), store);
    case v1::Action::kDefineGuest:
      return look_at(action.define_guest().spec().uid(), action.define_guest().spec().hypervisor(),
                     world, [](const GuestSeen* seen) { return done_if(seen != nullptr); });
    case v1::Action::kUndefineGuest:
      return look_at(action.undefine_guest().uid(), action.undefine_guest().hypervisor(), world,
                     [](const GuestSeen* seen) { return done_if(seen == nullptr); });
    case v1::Action::kStartGuest:
      return look_for_state(action.start_guest(), world, {GuestState::Running, GuestState::Paused});
    case v1::Action::kStopGuest:
      // A guest that is not there is off; one that is saved has not been stopped.
      return look_at(action.stop_guest().uid(), action.stop_guest().hypervisor(), world,
                     [&](const GuestSeen* seen) {
                       return done_if(!seen || (seen->state == GuestState::Stopped &&
                                                !store.saved_state(seen->uid).ok()));
                     });
    case v1::Action::kRebootGuest:
      return unknowable({Code::Unknown, "REBOOT_UNKNOWABLE",
                         "a reboot leaves nothing behind that shows whether it happened"});
    case v1::Action::kPauseGuest:
      return look_for_state(action.pause_guest(), world, {GuestState::Paused});
    case v1::Action::kResumeGuest:
      return look_for_state(action.resume_guest(), world, {GuestState::Running});
    case v1::Action::kUpdateGuest: return look_for_update(action.update_guest().spec(), world);
    case v1::Action::kSaveGuest: return look_for_saved(action.save_guest(), world);
    case v1::Action::kRestoreGuest: return look_for_restored(action.restore_guest(), world);
    case v1::Action::KIND_NOT_SET: break;
  }
  return unknowable({Code::InvalidArgument, "BAD_ACTION", "this agent does not know the action"});
}

}  // namespace reeve::agent
