#include "server/app/vm_service.h"

#include <array>

#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/filter_names.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    kUidKey,
    {"state", db::Column::State, FilterKey::Type::Word,
     "creating stopped running paused crashed missing unknown saved"},
    kHostKey,
    kDisplayNameKey,
    kCreateTimeKey,
    kUpdateTimeKey,
});

class Vms final : public VmService {
 public:
  explicit Vms(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::VirtualMachine> get(const Caller& caller, const v1::GetVmRequest& request) override {
    const auto uid = TRY(uid_of(request.name(), "vms", "name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::VirtualMachine> {
      Inventory inventory(tx, parts_.now());
      const auto row = TRY(db::VmReader(tx).get(uid));
      v1::VirtualMachine vm;
      TRY(inventory.show(row, caller.permissions, vm));
      parts_.live->fill(vm);
      return vm;
    });
  }

  Status list(const Caller& caller, const v1::ListVmsRequest& request,
              v1::ListVmsResponse& response) override {
    const auto query = TRY(query_of(parts_, request, {.keys = kFilterKeys}));
    const auto add = [&](Inventory& inventory, const db::Vm& row) -> Result<bool> {
      auto& vm = *response.add_vms();
      TRY(inventory.show(row, caller.permissions, vm));
      const bool wanted = TRY(query.filter.labels_match(inventory.tx(), db::ObjectKind::Vm, vm));
      if (!wanted) return response.mutable_vms()->RemoveLast(), false;
      redact(vm);
      parts_.live->fill(vm);
      return true;
    };
    return list_page<db::VmReader>(parts_, query, response, add);
  }

  void create(const Caller& caller, const v1::CreateVmRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void update(const Caller& caller, const v1::UpdateVmRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void remove(const Caller& caller, const v1::DeleteVmRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void start(const Caller& caller, const v1::StartVmRequest& request,
             Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void stop(const Caller& caller, const v1::StopVmRequest& request, Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void reboot(const Caller& caller, const v1::RebootVmRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void pause(const Caller& caller, const v1::PauseVmRequest& request,
             Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void resume(const Caller& caller, const v1::ResumeVmRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void save(const Caller& caller, const v1::SaveVmRequest& request, Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void restore(const Caller& caller, const v1::RestoreVmRequest& request,
               Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }

  Result<ConsolePlace> console_place(const std::string& vm_name) override {
    const auto uid = TRY(uid_of(vm_name, "vms", "open.name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<ConsolePlace> {
      Inventory inventory(tx, parts_.now());
      const auto row = TRY(db::VmReader(tx).get(uid));
      const auto facts = TRY(inventory.facts(row));
      if (auto error = refusal(VmVerb::AttachConsole, facts, Force::No)) return std::move(*error);
      return ConsolePlace{.vm_uid = row.uid, .host_uid = row.host_uid};
    });
  }

 private:
  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<VmService> make_vm_service(const ServiceParts& parts) {
  return std::make_unique<Vms>(parts);
}

}  // namespace reeve::server
