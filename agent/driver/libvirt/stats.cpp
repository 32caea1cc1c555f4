#include "agent/driver/libvirt/stats.h"

#include <charconv>
#include <string_view>

#include "agent/driver/libvirt/error.h"

namespace reeve::agent::libvirt {

namespace {

using States = std::vector<std::pair<Domain, DomainState>>;

struct Records {
  virDomainStatsRecordPtr* list = nullptr;
  int count = 0;

  Records() = default;
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
  ~Records() {
    if (list != nullptr) virDomainStatsRecordListFree(list);
  }
};

/// Numbers of any of libvirt's types; negative ones and text are 0.
std::uint64_t number_of(const virTypedParameter& parameter) {
  switch (parameter.type) {
    case VIR_TYPED_PARAM_INT:
      return parameter.value.i < 0 ? 0 : static_cast<std::uint64_t>(parameter.value.i);
    case VIR_TYPED_PARAM_UINT: return parameter.value.ui;
    case VIR_TYPED_PARAM_LLONG:
      return parameter.value.l < 0 ? 0 : static_cast<std::uint64_t>(parameter.value.l);
    case VIR_TYPED_PARAM_ULLONG: return parameter.value.ul;
    default: return 0;
  }
}

/// "block.3.rd.bytes" is `family` "block." with `field` ".rd.bytes".
bool is_field(std::string_view name, std::string_view family, std::string_view field) {
  return name.starts_with(family) && name.ends_with(field);
}

GuestUse use_of(const virDomainStatsRecord& record) {
  GuestUse use{.uid = uid_of(record.dom)};
  std::uint64_t unused_kib = 0;
  std::uint64_t available_kib = 0;
  std::uint64_t resident_kib = 0;
  for (int i = 0; i < record.nparams; ++i) {
    const auto& parameter = record.params[i];
    const std::string_view name = parameter.field;
    const auto value = number_of(parameter);
    if (name == "cpu.time")
      use.cpu_time_us = value / 1'000;
    else if (name == "balloon.unused")
      unused_kib = value;
    else if (name == "balloon.available")
      available_kib = value;
    else if (name == "balloon.rss")
      resident_kib = value;
    else if (is_field(name, "block.", ".rd.bytes"))
      use.disk_read_bytes += value;
    else if (is_field(name, "block.", ".wr.bytes"))
      use.disk_write_bytes += value;
    else if (is_field(name, "net.", ".rx.bytes"))
      use.net_receive_bytes += value;
    else if (is_field(name, "net.", ".tx.bytes"))
      use.net_send_bytes += value;
  }
  // What the guest says it uses; what its process holds where the guest says nothing.
  const auto used_kib = available_kib > unused_kib ? available_kib - unused_kib : resident_kib;
  use.memory_mib = static_cast<std::int64_t>(used_kib >> 10);
  return use;
}

Result<States> states_one_by_one(virConnectPtr connect) {
  virDomainPtr* domains = nullptr;
  const int count = virConnectListAllDomains(connect, &domains, 0);
  if (count < 0) return last_error("listing guests");
  std::vector<Domain> owned;
  for (int i = 0; i < count; ++i) owned.emplace_back(domains[i]);
  std::free(domains);  // NOLINT: libvirt allocates with malloc
  States states;
  for (auto& domain : owned) {
    const auto state = state_of(domain.get());
    if (state.ok()) {
      states.emplace_back(std::move(domain), state.value());
    } else if (state.error().reason() != "GUEST_NOT_FOUND") {
      return state.error();
    }
  }
  return states;
}

}  // namespace

Result<States> all_states(virConnectPtr connect) {
  Records records;
  records.count = virConnectGetAllDomainStats(connect, VIR_DOMAIN_STATS_STATE, &records.list, 0);
  if (records.count < 0) {
    if (last_error_is_unsupported()) return states_one_by_one(connect);
    return last_error("listing guests");
  }
  States states;
  states.reserve(static_cast<std::size_t>(records.count));
  for (int i = 0; i < records.count; ++i) {
    const auto& record = *records.list[i];
    DomainState state;
    for (int p = 0; p < record.nparams; ++p) {
      const std::string_view name = record.params[p].field;
      const auto value = static_cast<int>(number_of(record.params[p]) & 0xffff);
      if (name == "state.state") state.state = value;
      if (name == "state.reason") state.reason = value;
    }
    virDomainRef(record.dom);
    states.emplace_back(Domain(record.dom), state);
  }
  return states;
}

Result<std::vector<GuestUse>> read_use(virConnectPtr connect) {
  constexpr unsigned kGroups = VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON |
                               VIR_DOMAIN_STATS_BLOCK | VIR_DOMAIN_STATS_INTERFACE;
  constexpr unsigned kRunning = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE;
  Records records;
  // A guest busy with a long job must not hold up the others' figures; not every driver knows the
  // flag.
  for (const unsigned flags : {kRunning | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, kRunning}) {
    records.count = virConnectGetAllDomainStats(connect, kGroups, &records.list, flags);
    if (records.count >= 0 || !last_error_is_unsupported()) break;
  }
  std::vector<GuestUse> uses;
  if (records.count < 0 && last_error_is_unsupported()) return uses;
  if (records.count < 0) return last_error("reading statistics");
  for (int i = 0; i < records.count; ++i) uses.push_back(use_of(*records.list[i]));
  return uses;
}

}  // namespace reeve::agent::libvirt
