#include "agent/executor/saved_steps.h"

#include "base/log.h"

namespace reeve::agent {
namespace {

Result<SavedState*> saving(Driver& driver) {
  if (auto* ability = driver.saved_state()) return ability;
  return Error{Code::Unimplemented, "NOT_SUPPORTED", "this hypervisor cannot save a machine"};
}

/// Machines of others have no files here.
bool is_absent(const Error& error) {
  return error.code() == Code::NotFound;
}

/// What is paused runs on. If that is a restored machine, its state is used from here on.
Status run_on(Driver& driver, Store& store, const std::string& uid) {
  auto used = store.use_saved_state(uid);
  if (!used.ok() && !is_absent(used.error())) return used;
  TRY(driver.resume(uid));
  if (auto freed = store.free_used_state(uid); !freed.ok() && !is_absent(freed.error()))
    log::warning("the space of a used saved state stays taken", freed.error(), {{"guest", uid}});
  return {};
}

}  // namespace

Result<Facts> save_guest(const v1::SaveGuest& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  SavedState& ability = *TRY(saving(driver));
  Store& store = *context.world.store;
  const GuestSeen seen = TRY(driver.get(action.uid()));
  const bool off = is_off(seen);
  if (off && store.saved_state(action.uid()).ok()) return Facts{};
  // Off or paused already: an agent before us may have been interrupted. The driver says whether
  // its file is whole; until then it may be one that the hypervisor still writes.
  auto path = seen.state != GuestState::Running ? store.begun_saved_state(action.uid())
                                                : store.new_saved_state(action.uid());
  if (off && !path.ok() && is_absent(path.error()))
    return Error{Code::FailedPrecondition, "GUEST_STATE", "the guest is off"};
  if (!path.ok() && is_absent(path.error())) path = store.new_saved_state(action.uid());
  const std::string file = TRY(std::move(path));
  TRY(ability.save(action.uid(), file));
  TRY(store.keep_saved_state(action.uid()));
  return Facts{};
}

Result<Facts> restore_guest(const v1::RestoreGuest& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  SavedState& ability = *TRY(saving(driver));
  Store& store = *context.world.store;
  if (is_off(TRY(driver.get(action.uid())))) {
    if (TRY(store.was_state_used(action.uid()))) return Facts{};
    const std::string path = TRY(store.saved_state(action.uid()));
    TRY(store.check_saved_state(action.uid()));
    TRY(ability.restore(action.uid(), path));
  }
  TRY(run_on(driver, store, action.uid()));
  return Facts{};
}

Result<Facts> resume_guest(const v1::ResumeGuest& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  TRY(run_on(driver, *context.world.store, action.uid()));
  return Facts{};
}

Status start_anew(Driver& driver, Store& store, const std::string& uid) {
  if (store.saved_state(uid).ok())
    return Error(Code::FailedPrecondition, "GUEST_SAVED", "the machine has a saved state")
        .remedy("restore it");
  auto forgotten = store.remove_saved_state(uid);
  if (!forgotten.ok() && !is_absent(forgotten.error())) return forgotten;
  return driver.start(uid);
}

}  // namespace reeve::agent
