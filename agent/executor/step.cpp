#include "agent/executor/step.h"

#include "agent/executor/guest_steps.h"
#include "agent/executor/saved_steps.h"

namespace reeve::agent {
namespace {

/// A step that is one call, or a few that make no sense apart.
class OnceStep final : public Step {
 public:
  using Work = std::function<Result<Facts>(StepContext&)>;
  explicit OnceStep(Work work) : work_(std::move(work)) {}
  Result<Advance> advance(StepContext& context) override {
    return Advance{.done = true, .facts = TRY(work_(context))};
  }

 private:
  Work work_;
};

bool is_absent(const Error& error) {
  return error.reason() == "GUEST_NOT_FOUND";
}

Result<Facts> import_image(const v1::ImportImage& action, StepContext& context) {
  const CopyProgress progress = [&context](std::int64_t done, std::int64_t total) {
    context.progress("copying", done, total);
    return !context.cancelled;
  };
  Store& store = *context.world.store;
  if (action.source_case() == v1::ImportImage::kHostPath)
    return facts_of(TRY(store.import_file(action, progress)));
  if (auto there = store.image(action.uid()); there.ok()) return facts_of(there.value());
  const auto source = TRY(context.world.uploads->open(action.upload().ticket()));
  return facts_of(TRY(store.import_stream(action, *source, progress)));
}

/// Definitions made by others are shown and power-controlled, never changed.
Status refuse_foreign(Driver& driver, const std::string& uid) {
  const auto seen = driver.get(uid);
  if (seen.ok() && !seen.value().managed)
    return Error{Code::FailedPrecondition, "GUEST_NOT_MANAGED",
                 "the machine was made elsewhere; its definition is not changed"};
  if (!seen.ok() && !is_absent(seen.error())) return seen.error();
  return {};
}

Facts pending_facts(const std::vector<std::string>& pending) {
  std::string list;
  for (const auto& field : pending) list += (list.empty() ? "" : ",") + field;
  return list.empty() ? Facts{} : Facts{{"pending_restart", list}};
}

Result<Facts> define(const v1::GuestSpec& spec, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(spec.hypervisor()));
  TRY(refuse_foreign(driver, spec.uid()));
  if (!TRY(context.world.store->is_prepared(spec)))
    return Error{Code::FailedPrecondition, "GUEST_NOT_PREPARED",
                 "the files of the machine are missing or were made for another specification"};
  const GuestDefinition definition = TRY(context.world.store->definition_of(spec));
  return pending_facts(TRY(driver.define(definition)));
}

Result<Facts> update(const v1::GuestSpec& spec, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(spec.hypervisor()));
  TRY(refuse_foreign(driver, spec.uid()));
  TRY(driver.get(spec.uid()));  // an update never makes a machine
  const GuestDefinition definition = TRY(context.world.store->definition_of(spec));
  Facts facts = pending_facts(TRY(driver.define(definition)));
  TRY(context.world.store->update_spec(spec));
  return facts;
}

Result<Facts> undefine(const v1::UndefineGuest& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  TRY(refuse_foreign(driver, action.uid()));
  auto undefined = driver.undefine(action.uid());
  if (!undefined.ok() && !is_absent(undefined.error())) return std::move(undefined).error();
  return Facts{};
}

Result<Facts> remove_files(const v1::RemoveGuestFiles& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  const auto seen = driver.get(action.uid());
  if (seen.ok())
    return Error{Code::FailedPrecondition, "GUEST_STILL_DEFINED",
                 "the machine is still defined on its hypervisor"};
  if (!is_absent(seen.error())) return seen.error();
  TRY(context.world.store->remove_guest(action.uid()));
  return Facts{};
}

Result<Facts> start(const v1::StartGuest& action, StepContext& context) {
  Driver& driver = *TRY(context.world.driver(action.hypervisor()));
  const auto seen = TRY(driver.get(action.uid()));
  if (seen.state == GuestState::Running || seen.state == GuestState::Paused) return Facts{};
  TRY(start_anew(driver, *context.world.store, action.uid()));
  return Facts{};
}

template <class Target>
OnceStep::Work power(const Target& target, Status (Driver::*verb)(std::string_view)) {
  return [target, verb](StepContext& context) -> Result<Facts> {
    Driver& driver = *TRY(context.world.driver(target.hypervisor()));
    TRY((driver.*verb)(target.uid()));
    return Facts{};
  };
}

template <class Message>
std::unique_ptr<Step> once(const Message& action,
                           Result<Facts> (*work)(const Message&, StepContext&)) {
  return std::make_unique<OnceStep>(
      [action, work](StepContext& context) { return work(action, context); });
}

Result<Facts> remove_image(const v1::RemoveImage& action, StepContext& context) {
  TRY(context.world.store->remove_image(action.uid()));
  return Facts{};
}

Result<Facts> prepare(const v1::PrepareGuest& action, StepContext& context) {
  TRY(context.world.store->prepare_guest(action.spec()));
  return Facts{};
}

}  // namespace

Result<Driver*> StepWorld::driver(std::string_view id) const {
  const auto it = drivers.find(id);
  if (it != drivers.end()) return it->second;
  return Error{Code::NotFound, "HYPERVISOR_NOT_FOUND",
               "this host has no hypervisor '" + std::string(id.substr(0, 64)) + "'"};
}

Facts facts_of(const v1::StoredImage& image) {
  return {{"sha256", image.sha256()},
          {"size_bytes", std::to_string(image.size_bytes())},
          {"virtual_size_bytes", std::to_string(image.virtual_size_bytes())}};
}

std::unique_ptr<Step> make_step(const v1::Action& action) {
  switch (action.kind_case()) {
    case v1::Action::kImportImage: return once(action.import_image(), import_image);
    case v1::Action::kRemoveImage: return once(action.remove_image(), remove_image);
    case v1::Action::kPrepareGuest: return once(action.prepare_guest(), prepare);
    case v1::Action::kRemoveGuestFiles: return once(action.remove_guest_files(), remove_files);
    case v1::Action::kDefineGuest: return once(action.define_guest().spec(), define);
    case v1::Action::kUndefineGuest: return once(action.undefine_guest(), undefine);
    case v1::Action::kStartGuest: return once(action.start_guest(), start);
    case v1::Action::kStopGuest: return std::make_unique<StopStep>(action.stop_guest());
    case v1::Action::kRebootGuest: return std::make_unique<RebootStep>(action.reboot_guest());
    case v1::Action::kPauseGuest:
      return std::make_unique<OnceStep>(power(action.pause_guest(), &Driver::pause));
    case v1::Action::kResumeGuest: return once(action.resume_guest(), resume_guest);
    case v1::Action::kUpdateGuest: return once(action.update_guest().spec(), update);
    case v1::Action::kSaveGuest: return once(action.save_guest(), save_guest);
    case v1::Action::kRestoreGuest: return once(action.restore_guest(), restore_guest);
    case v1::Action::KIND_NOT_SET: break;
  }
  return std::make_unique<OnceStep>([](StepContext&) -> Result<Facts> {
    return Error{Code::InvalidArgument, "BAD_ACTION", "this agent does not know the action"};
  });
}

GuestRef guest_of(const v1::Action& action) {
  const auto of = [](const auto& target) { return GuestRef{target.uid(), target.hypervisor()}; };
  switch (action.kind_case()) {
    case v1::Action::kPrepareGuest: return of(action.prepare_guest().spec());
    case v1::Action::kRemoveGuestFiles: return of(action.remove_guest_files());
    case v1::Action::kDefineGuest: return of(action.define_guest().spec());
    case v1::Action::kUndefineGuest: return of(action.undefine_guest());
    case v1::Action::kStartGuest: return of(action.start_guest());
    case v1::Action::kStopGuest: return of(action.stop_guest());
    case v1::Action::kRebootGuest: return of(action.reboot_guest());
    case v1::Action::kPauseGuest: return of(action.pause_guest());
    case v1::Action::kResumeGuest: return of(action.resume_guest());
    case v1::Action::kUpdateGuest: return of(action.update_guest().spec());
    case v1::Action::kSaveGuest: return of(action.save_guest());
    case v1::Action::kRestoreGuest: return of(action.restore_guest());
    case v1::Action::kImportImage:
    case v1::Action::kRemoveImage:
    case v1::Action::KIND_NOT_SET: break;
  }
  return {};
}

}  // namespace reeve::agent
