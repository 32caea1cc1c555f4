#include "cli/output/resources.h"

#include <ctime>

#include <fmt/format.h>

#include "base/text.h"
#include "cli/output/vm_page.h"

namespace reeve::cli {
namespace {

/// A size: rounded for people, in bytes for csv.
template <class T>
Column<T> size_column(const std::string& title, std::int64_t (*bytes)(const T&)) {
  return {.title = title,
          .text = [bytes](const T& item) { return human_bytes(bytes(item)); },
          .csv_title = title + " BYTES",
          .csv_text = [bytes](const T& item) { return std::to_string(bytes(item)); }};
}

/// A moment: how long ago for people, as the API has it for csv; empty there when it was never.
template <class T>
Column<T> age_column(const std::string& title, const std::string& csv_title,
                     const google::protobuf::Timestamp& (*time)(const T&),
                     const std::string& never = "-") {
  return {
      .title = title,
      .text =
          [time, never](const T& item) {
            const auto seconds = time(item).seconds();
            return seconds == 0 ? never : human_age(seconds, std::time(nullptr));
          },
      .csv_title = csv_title,
      .csv_text =
          [time](const T& item) { return time(item).seconds() == 0 ? "" : time_text(time(item)); }};
}

template <class T>
Column<T> wide(Column<T> column) {
  column.wide = true;
  return column;
}

template <class List>
std::string join_list(const List& list) {
  return join(std::vector<std::string>(list.begin(), list.end()), ",");
}

std::string vm_state(const v1::VirtualMachine& vm) {
  return short_enum(v1::VirtualMachine::State_Name(vm.state()), "STATE_");
}

/// With the marks that kMarks explains.
std::string marked_vm_state(const v1::VirtualMachine& vm) {
  return vm_state(vm) + (vm.active_job().empty() ? "" : "*") +
         (vm.status().pending_restart().empty() ? "" : "^");
}

/// A host: what it is called for people, the start of its uid for csv.
template <class T>
Column<T> host_column(const NameOf& name_of, const std::string& (*host)(const T&)) {
  return {.title = "HOST",
          .text = [name_of, host](const T& item) { return name_of(host(item)); },
          .csv_title = "HOST",
          .csv_text = [host](const T& item) { return short_uid(host(item)); }};
}

std::string hypervisors_of(const v1::Host& host) {
  std::vector<std::string> parts;
  for (const auto& hypervisor : host.hypervisors())
    parts.push_back(hypervisor.id() + (hypervisor.available() ? "" : "!"));
  return join(parts, ",");
}

}  // namespace

std::string uid_of(std::string_view name) {
  return std::string(name.substr(name.find('/') + 1));  // npos + 1 is 0: no slash, all of it
}

std::string short_uid(std::string_view name) {
  return uid_of(name).substr(0, 8);
}

std::string join_map(const google::protobuf::Map<std::string, std::string>& labels) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : labels) parts.push_back(key + "=" + value);
  std::sort(parts.begin(), parts.end());
  return join(parts, ",");
}

std::string actions_text(const google::protobuf::RepeatedPtrField<v1::AllowedAction>& actions) {
  std::string out = actions.empty() ? "" : "actions:\n";
  for (const auto& action : actions)
    out += fmt::format("  {:<14} {}\n", action.verb(),
                       action.allowed() ? "yes" : "no: " + printable(action.description()));
  return out;
}

std::vector<Column<v1::VirtualMachine>> vm_columns(const NameOf& name_of) {
  using Vm = v1::VirtualMachine;
  return {
      {"NAME", [](const Vm& v) { return v.display_name(); }},
      {.title = "STATE", .text = marked_vm_state, .csv_title = "STATE", .csv_text = vm_state},
      {"CPUS", [](const Vm& v) { return std::to_string(v.spec().cpus()); }},
      size_column<Vm>("MEMORY", [](const Vm& v) { return v.spec().memory_mib() << 20; }),
      host_column<Vm>(
          name_of, [](const Vm& v) -> auto& {
            return v.status().host().empty() ? v.spec().host() : v.status().host();
          }),
      {"ADDRESSES", [](const Vm& v) { return join_list(v.status().addresses()); }},
      age_column<Vm>(
          "AGE", "CREATED", [](const Vm& v) -> auto& { return v.create_time(); }),
      {"UID", [](const Vm& v) { return v.uid(); }, true},
      {"HYPERVISOR", [](const Vm& v) { return v.spec().hypervisor(); }, true},
      {"ADDRESS", first_address, true},
      {"GUEST OS", [](const Vm& v) { return v.status().guest().os_name(); }, true},
      wide(age_column<Vm>(
          "SEEN", "SEEN", [](const Vm& v) -> auto& { return v.status().observe_time(); })),
      {"REASON", [](const Vm& v) { return v.state_reason(); }, true},
      {"PENDING", [](const Vm& v) { return join_list(v.status().pending_restart()); }, true},
      {"JOB", [](const Vm& v) { return v.active_job(); }, true},
      {"LABELS", [](const Vm& v) { return join_map(v.labels()); }, true},
  };
}

const std::vector<Column<v1::Host>>& host_columns() {
  using v1::Host;
  static const std::vector<Column<Host>> columns{
      {"NAME", [](const Host& h) { return h.display_name(); }},
      {"STATE", [](const Host& h) { return short_enum(Host::State_Name(h.state()), "STATE_"); }},
      {"CPUS", [](const Host& h) { return std::to_string(h.status().cpu().threads()); }},
      size_column<Host>("MEMORY", [](const Host& h) { return h.status().memory_mib() << 20; }),
      size_column<Host>("FREE DISK", [](const Host& h) { return h.status().store_free_bytes(); }),
      {"HYPERVISORS", hypervisors_of},
      age_column<Host>(
          "SEEN", "SEEN", [](const Host& h) -> auto& { return h.status().last_seen_time(); }),
      {"UID", [](const Host& h) { return h.uid(); }, true},
      {"CPU MODEL", [](const Host& h) { return h.status().cpu().model(); }, true},
      {"KERNEL", [](const Host& h) { return h.status().kernel(); }, true},
      {.title = "KVM",
       .text =
           [](const Host& h) {
             if (!h.status().has_kvm()) return "-";
             return h.status().kvm().usable() ? "usable" : "not usable";
           },
       .wide = true,
       .csv_title = "KVM",
       .csv_text = [](const Host& h) { return h.status().kvm().description(); }},
      {"AGENT", [](const Host& h) { return h.status().agent_version(); }, true},
      {"LABELS", [](const Host& h) { return join_map(h.labels()); }, true},
  };
  return columns;
}

std::vector<Column<v1::Hypervisor>> hypervisor_columns(const NameOf& name_of) {
  using v1::Hypervisor;
  return {
      {"ID", [](const Hypervisor& h) { return h.id(); }},
      {"KIND",
       [](const Hypervisor& h) {
         return short_enum(v1::HypervisorKind_Name(h.kind()), "HYPERVISOR_KIND_");
       }},
      {"AVAILABLE", [](const Hypervisor& h) { return h.available() ? "yes" : "no"; }},
      {"VERSION", [](const Hypervisor& h) { return h.version(); }},
      host_column<Hypervisor>(
          name_of, [](const Hypervisor& h) -> auto& { return h.name(); }),
      {"URI", [](const Hypervisor& h) { return h.uri(); }, true},
      {"CAPABILITIES", [](const Hypervisor& h) { return join_list(h.capabilities()); }, true},
      {"DESCRIPTION", [](const Hypervisor& h) { return h.description(); }, true},
      {"NAME", [](const Hypervisor& h) { return h.name(); }, true},
  };
}

const std::vector<Column<v1::Image>>& image_columns() {
  using v1::Image;
  static const std::vector<Column<Image>> columns{
      {"NAME", [](const Image& i) { return i.display_name(); }},
      {"KIND", [](const Image& i) { return short_enum(Image::Kind_Name(i.kind()), "KIND_"); }},
      {"FORMAT",
       [](const Image& i) {
         return i.format() == 0 ? "-" : short_enum(v1::DiskFormat_Name(i.format()), "DISK_FORMAT_");
       }},
      {"STATE", [](const Image& i) { return short_enum(Image::State_Name(i.state()), "STATE_"); }},
      size_column<Image>("SIZE", [](const Image& i) { return i.size_bytes(); }),
      size_column<Image>("VIRTUAL SIZE", [](const Image& i) { return i.virtual_size_bytes(); }),
      age_column<Image>(
          "AGE", "CREATED", [](const Image& i) -> auto& { return i.create_time(); }),
      {"UID", [](const Image& i) { return i.uid(); }, true},
      {"COPIES", [](const Image& i) { return std::to_string(i.copies_size()); }, true},
      {"SHA256", [](const Image& i) { return i.sha256(); }, true},
      {"LABELS", [](const Image& i) { return join_map(i.labels()); }, true},
  };
  return columns;
}

const std::vector<Column<v1::Job>>& job_columns() {
  using v1::Job;
  static const std::vector<Column<Job>> columns{
      {"UID", [](const Job& j) { return short_uid(j.uid()); }},
      {"KIND", [](const Job& j) { return j.kind(); }},
      {"TARGET", [](const Job& j) { return j.target_display_name(); }},
      {"STATE", [](const Job& j) { return short_enum(Job::State_Name(j.state()), "STATE_"); }},
      {"STEP",
       [](const Job& j) {
         for (const auto& step : j.steps())
           if (step.state() == v1::JobStep::STATE_RUNNING ||
               step.state() == v1::JobStep::STATE_UNDOING)
             return step.title();
         return std::string("-");
       }},
      age_column<Job>(
          "AGE", "CREATED", [](const Job& j) -> auto& { return j.create_time(); }),
      {"ERROR", [](const Job& j) { return j.error().message(); }},
      {"JOB", [](const Job& j) { return j.name(); }, true},
      {"RESOURCE", [](const Job& j) { return j.target(); }, true},
      {"ACTOR", [](const Job& j) { return j.actor(); }, true},
  };
  return columns;
}

const std::vector<Column<v1::AuditEntry>>& audit_columns() {
  using v1::AuditEntry;
  static const std::vector<Column<AuditEntry>> columns{
      {"SEQ", [](const AuditEntry& a) { return std::to_string(a.sequence()); }},
      age_column<AuditEntry>(
          "AGE", "TIME", [](const AuditEntry& a) -> auto& { return a.time(); }),
      {"ACTOR", [](const AuditEntry& a) { return a.actor(); }},
      {"METHOD", [](const AuditEntry& a) { return a.method(); }},
      {"RESOURCE", [](const AuditEntry& a) { return a.resource(); }},
      {"OUTCOME", [](const AuditEntry& a) { return a.code() == 0 ? "ok" : a.reason(); }},
      {"PEER", [](const AuditEntry& a) { return a.peer(); }, true},
      {"SUMMARY", [](const AuditEntry& a) { return a.summary(); }, true},
      {"JOB", [](const AuditEntry& a) { return a.job(); }, true},
      {"HASH", [](const AuditEntry& a) { return a.hash(); }, true},
  };
  return columns;
}

const std::vector<Column<v1::ApiToken>>& token_columns() {
  using v1::ApiToken;
  static const std::vector<Column<ApiToken>> columns{
      {"NAME", [](const ApiToken& t) { return t.display_name(); }},
      {"ROLE", [](const ApiToken& t) { return short_enum(v1::Role_Name(t.role()), "ROLE_"); }},
      age_column<ApiToken>(
          "AGE", "CREATED", [](const ApiToken& t) -> auto& { return t.create_time(); }),
      age_column<ApiToken>(
          "USED", "USED", [](const ApiToken& t) -> auto& { return t.last_use_time(); }, "never"),
      {"TOKEN", [](const ApiToken& t) { return t.name(); }},
  };
  return columns;
}

}  // namespace reeve::cli
