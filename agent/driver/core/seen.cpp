#include "agent/driver/core/seen.h"

#include "agent/driver/core/record.h"
#include "base/text.h"
#include "hypervisor_core/control/run_dir.h"
#include "hypervisor_core/control/said.h"

namespace reeve::agent::core_driver {
namespace {

namespace v1 = core::v1;

GuestSeen seen_as(const v1::GuestRecord& record, const v1::MachineConfig& machine) {
  GuestSeen seen;
  seen.uid = record.uid();
  seen.display_name = record.display_name();
  seen.managed = true;
  seen.cpus = static_cast<std::int32_t>(machine.vcpus());
  seen.memory_mib = static_cast<std::int64_t>(machine.memory_mib());
  return seen;
}

void judge(const v1::ExitReport& report, GuestSeen& seen) {
  using Report = v1::ExitReport;
  switch (report.kind()) {
    case Report::KIND_GUEST_POWER_OFF: seen.state_reason = "shut down"; return;
    case Report::KIND_KILLED:
      if (report.code() != 0) break;  // by a signal of somebody else
      seen.state_reason = "powered off";
      return;
    case Report::KIND_GUEST_RESET:
    case Report::KIND_DEBUG_EXIT: seen.state_reason = report.message(); return;
    default: break;
  }
  seen.state = GuestState::Crashed;
  seen.state_reason = in_short(report);
}

}  // namespace

std::string in_short(const v1::ExitReport& report) {
  constexpr std::size_t kMostBytes = 15, kMostText = 120;  // its maker may have been taken over
  std::string text = report.message().empty() ? "ended without a reason" : report.message();
  if (const auto bytes = report.instruction().substr(0, kMostBytes); !bytes.empty())
    text += ", instruction " + to_hex(as_bytes(bytes));
  const auto first = report.registers().substr(0, report.registers().find('\n'));
  if (!first.empty()) text += ", " + std::string(trim(core::control::passable(first, kMostText)));
  return text;
}

std::optional<v1::ExitReport> report_of(const v1::GuestRecord& record) {
  auto report = core::control::read_exit_report(vmm_folder(record));
  if (!report.ok()) return std::nullopt;
  return std::move(report).value();
}

std::string vmm_folder(const v1::GuestRecord& record) {
  return record.run_dir() + "/vmm";
}

GuestSeen seen_running(const v1::GuestRecord& record, const v1::MachineStatus& status) {
  GuestSeen seen = seen_as(record, record.running());
  seen.state = GuestState::Running;
  using Status = v1::MachineStatus;
  if (!status.lost_network().empty())
    seen.state_reason = status.lost_network() +
                        "; it comes back when the guest is stopped and "
                        "started";
  if (status.state() == Status::STATE_PAUSED) seen.state = GuestState::Paused;
  if (status.state() == Status::STATE_WAITING_FOR_SPACE) {
    seen.state = GuestState::Paused;
    seen.state_reason = status.waiting_for() + "; it goes on by itself when that is over";
  }
  if (status.guest_panicked()) seen.state_reason = "the guest's kernel has crashed";
  if (!status.doing().empty()) seen.state_reason = "it " + status.doing();
  seen.start_time = from_micros(record.start_time_us());
  seen.pending_restart = pending_restart(record);
  seen.reboots = status.resets();
  return seen;
}

GuestSeen seen_off(const v1::GuestRecord& record, const std::string& boot_id) {
  GuestSeen seen = seen_as(record, record.machine());
  // It is noted before a saved machine is ended, by an agent that may not have come further.
  seen.state_reason = record.end_reason();
  if (record.start_time_us() == 0 || !record.end_reason().empty()) return seen;
  if (const auto report = report_of(record)) {
    judge(*report, seen);
  } else if (record.boot_id() != boot_id) {
    seen.state_reason = "the host went down";
  } else {
    seen.state = GuestState::Crashed;
    seen.state_reason = "its vmm process is gone and left no report";
  }
  return seen;
}

GuestUse use_of(const v1::GuestRecord& record, const v1::MachineStatus& status,
                std::int64_t rss_mib) {
  GuestUse use;
  use.uid = record.uid();
  use.cpu_time_us = status.cpu_time_us();
  use.memory_mib = rss_mib;
  for (const auto& disk : status.disks()) {
    use.disk_read_bytes += disk.read_bytes();
    use.disk_write_bytes += disk.written_bytes();
  }
  for (const auto& nic : status.nics()) {
    use.net_receive_bytes += nic.received_bytes();
    use.net_send_bytes += nic.sent_bytes();
  }
  return use;
}

const char* name_of(GuestState state) {
  switch (state) {
    case GuestState::Stopped: return "off";
    case GuestState::Running: return "running";
    case GuestState::Paused: return "paused";
    case GuestState::Crashed: return "crashed";
  }
  return "unknown";
}

Error wrong_state(const GuestSeen& seen) {
  return {Code::FailedPrecondition, "GUEST_STATE",
          "guest '" + seen.display_name + "' is " + name_of(seen.state)};
}

}  // namespace reeve::agent::core_driver
