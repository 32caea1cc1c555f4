#include "server/app/vm_service.h"

#include "base/text.h"
#include "db/repo/feed_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/core_parts.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

struct VmQuery {
  db::VmFilter filter{};
  std::vector<FilterTerm> labels{};
};

Result<VmQuery> query_of(const std::string& filter) {
  VmQuery query;
  for (auto& term : TRY(parse_filter(filter))) {
    if (term.key == "state") {
      query.filter.state = TRY(filter_word(term.value, {"creating", "stopped", "running", "paused",
                                                        "crashed", "missing", "unknown"}));
    } else if (term.key == "host") {
      query.filter.host_uid = TRY(uid_of(term.value, "hosts", "filter"));
    } else if (term.key == "display_name") {
      query.filter.name_glob = term.value;
    } else if (term.key.starts_with("label.")) {
      query.labels.push_back({term.key.substr(6), term.value});
    } else {
      return bad_filter("has an unknown key '" + term.key.substr(0, 64) +
                        "'; known are state, host, display_name, label.KEY");
    }
  }
  return query;
}

class Vms final : public VmService {
 public:
  explicit Vms(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::VirtualMachine> get(const Caller& caller, const v1::GetVmRequest& request) override {
    const auto uid = TRY(uid_of(request.name(), "vms", "name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::VirtualMachine> {
      Inventory inventory(tx, parts_.now());
      const auto row = TRY(db::VmReader(tx).get(uid));
      auto vm = TRY(inventory.show(row, caller.permissions));
      parts_.live->fill(vm);
      return vm;
    });
  }

  Result<v1::ListVmsResponse> list(const Caller& caller,
                                   const v1::ListVmsRequest& request) override {
    const auto query = TRY(query_of(request.filter()));
    const auto order = TRY(parse_order(request.order_by(), {"display_name", "create_time"}));
    const auto page = TRY(PageRequest::of(request, order.descending));
    const auto by = order.key == "create_time" ? db::VmOrder::CreateTime : db::VmOrder::Name;
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::ListVmsResponse> {
      v1::ListVmsResponse response;
      Inventory inventory(tx, parts_.now());
      db::VmReader reader(tx);
      response.set_revision(TRY(db::FeedReader(tx).revision()));
      auto token = collect_page(
          page, [&](const db::Page& part) { return reader.list(query.filter, by, part); },
          [&](const db::Vm& row) { return db::VmReader::key_of(row, by); },
          [&](const db::Vm& row) -> Result<bool> {
            auto vm = TRY(inventory.show(row, caller.permissions));
            for (const auto& label : query.labels) {
              const auto it = vm.labels().find(label.key);
              if (it == vm.labels().end() || it->second != label.value) return false;
            }
            redact(vm);
            parts_.live->fill(vm);
            *response.add_vms() = std::move(vm);
            return true;
          });
      if (!token.ok()) return std::move(token).error();
      response.set_next_page_token(std::move(token).value());
      return response;
    });
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
