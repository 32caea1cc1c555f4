#include "server/app/hypervisor_service.h"

#include <array>

#include "base/text.h"
#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "server/app/errors.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/filter_names.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    {"id", db::Column::Name},
    {"kind", db::Column::Kind, FilterKey::Type::Word, "core libvirt sim"},
    kHostKey,
    {.name = "available",
     .type = FilterKey::Type::Other,
     .read = [](const std::string& value, db::ReadTransaction&) -> Result<db::Restriction> {
       const bool available = TRY(filter_flag(value));
       return db::Restriction{.column = db::Column::State,
                              .value = available ? "available" : "unavailable"};
     }},
});

struct Place {
  std::string host_uid{};
  std::string id{};
};

/// "hosts/{uid}/hypervisors/{id}".
Result<Place> place_of(const std::string& name) {
  constexpr std::string_view kBetween = "/hypervisors/";
  const auto at = name.find(kBetween);
  const bool whole = at != std::string::npos && at + kBetween.size() < name.size();
  const auto host = uid_of(name.substr(0, at), "hosts", "name");
  if (name.empty()) return host.error();
  if (!whole || !host.ok() || !is_utf8(name))
    return bad_field("name", "must be hosts/{uid}/hypervisors/{id}");
  return Place{.host_uid = host.value(), .id = name.substr(at + kBetween.size())};
}

class Hypervisors final : public HypervisorService {
 public:
  explicit Hypervisors(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::Hypervisor> get(const Caller&, const v1::GetHypervisorRequest& request) override {
    const auto place = TRY(place_of(request.name()));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Hypervisor> {
      return to_proto(TRY(db::HypervisorReader(tx).get_by_name(place.host_uid, place.id)));
    });
  }

  Result<v1::ListHypervisorsResponse> list(const Caller&,
                                           const v1::ListHypervisorsRequest& request) override {
    auto query = TRY(query_of(
        parts_, request,
        {.keys = kFilterKeys, .labels = Labels::No, .orders = {"id"}, .usual_order = "id"}));
    if (!request.parent().empty()) {
      const auto host_uid = TRY(uid_of(request.parent(), "hosts", "parent"));
      TRY(require_host(host_uid));
      query.filter.rows.also(db::Column::HostUid, host_uid);
    }
    v1::ListHypervisorsResponse response;
    const auto add = [&](Inventory&, const db::Hypervisor& row) -> Result<bool> {
      *response.add_hypervisors() = TRY(to_proto(row));
      return true;
    };
    TRY(list_page<db::HypervisorReader>(parts_, query, response, add));
    return response;
  }

 private:
  Status require_host(const std::string& uid) const {
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Status {
      TRY(db::HostReader(tx).get(uid));
      return {};
    });
  }

  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<HypervisorService> make_hypervisor_service(const ServiceParts& parts) {
  return std::make_unique<Hypervisors>(parts);
}

}  // namespace reeve::server
