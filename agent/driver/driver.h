// agent/driver/driver.h - one hypervisor on this host, whoever made it.
//
// All verbs are idempotent, because steps are repeated after a lost reply: starting a running guest
// succeeds, removing an absent one too. Calls may block on the hypervisor: they run on the agent's
// workers, never on its loop. Implementations are safe to call from several threads; verbs on one
// guest are serialised by the caller (agent/executor).
//
// Errors every verb may return:
//   NotFound/GUEST_NOT_FOUND          no such guest on this hypervisor
//   FailedPrecondition/GUEST_STATE    not possible in its state (message names the state)
//   Unavailable/HYPERVISOR_DOWN       the connection is lost; the same call may succeed later
//   DeadlineExceeded/HYPERVISOR_BUSY  it did not answer in time; effect unknown: observe
//   InvalidArgument/GUEST_INVALID     it refuses the definition (message says what)
//   Unimplemented/NOT_SUPPORTED       this hypervisor cannot
//
// What a verb finds, and what it answers (tests/contract/driver_contract_test.cpp walks it):
//                     stopped, crashed   running        paused
//   start             starts             already fine   GUEST_STATE
//   request_shutdown  already fine       asks           GUEST_STATE
//   request_reboot    GUEST_STATE        asks           GUEST_STATE
//   power_off         already fine       off            off
//   reset             GUEST_STATE        resets         GUEST_STATE
//   pause             GUEST_STATE        pauses         already fine
//   resume            GUEST_STATE        already fine   resumes
//   undefine          gone               GUEST_STATE    GUEST_STATE
// A guest that does not exist is GUEST_NOT_FOUND, but already fine for undefine.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guest/facts.h"
#include "base/clock.h"
#include "base/status.h"

namespace reeve::agent {

enum class DiskFormat : std::uint8_t { Raw, Qcow2 };

/// A disk as a file that exists. Nothing is probed: format and backing chain are what these fields
/// say.
struct GuestDisk {
  std::string id{};  ///< "disk0"; also its serial number in the guest
  std::string path{};
  DiskFormat format = DiskFormat::Qcow2;
  std::string backing_path{};  ///< image it overlays; empty when none
  DiskFormat backing_format = DiskFormat::Raw;
  bool read_only = false;
};

struct GuestNic {
  std::string id{};
  std::string mac{};     ///< "52:54:00:..."
  std::string bridge{};  ///< empty: user network
};

/// The least a memory limit leaves beside the guest's own memory: for the process that runs it, its
/// buffers and the page cache of its disks.
inline constexpr std::int64_t kLeastBesideMib = 128;

/// Bounds on what a guest takes of the host; 0 is the driver's default.
struct GuestLimits {
  std::int32_t cpu_weight = 0;         ///< against other guests, 1 to 10000
  std::int32_t cpu_limit_percent = 0;  ///< of one processor
  std::int64_t memory_limit_mib = 0;   ///< of guest and process together
  bool operator==(const GuestLimits&) const = default;
};

/// A guest with everything resolved to this host. Plain data; drivers keep no pointer into it.
struct GuestDefinition {
  std::string uid{};           ///< identity for life, a UUID; also the SMBIOS UUID
  std::string display_name{};  ///< unique on the server, shown in the hypervisor's own tools
  std::int32_t cpus = 1;
  std::int64_t memory_mib = 256;
  std::vector<GuestDisk> disks{};
  std::vector<GuestNic> nics{};
  std::string kernel_path{};  ///< direct kernel boot when not empty
  std::string initrd_path{};
  std::string command_line{};
  std::string seed_path{};  ///< NoCloud ISO; empty when none
  bool guest_agent = false;
  GuestLimits limits{};   ///< a running guest has them at once; needs "resource-limits"
  std::string run_dir{};  ///< this guest's own folder, exists; sockets and logs go here
};

enum class GuestState : std::uint8_t { Stopped, Running, Paused, Crashed };

/// A guest as the hypervisor shows it now.
struct GuestSeen {
  std::string uid{};
  std::string display_name{};
  GuestState state = GuestState::Stopped;
  std::string state_reason{};  ///< for a person; may be empty
  bool managed = false;        ///< carries Reeve's mark
  std::int32_t cpus = 0;       ///< of the running guest, or of the definition when off
  std::int64_t memory_mib = 0;
  std::optional<WallTime> start_time{};
  std::optional<GuestFacts> guest{};  ///< what it last said of itself, and nobody has checked
  std::vector<std::string> addresses{};
  std::vector<std::string> pending_restart{};  ///< "spec.cpus", ...
  bool saved = false;  ///< off, and a saved state waits; told by the agent's store, not by drivers
  std::uint64_t reboots =
      0;  ///< rises when the guest restarts from inside, where the driver can tell
};

inline bool is_off(const GuestSeen& seen) {
  return seen.state == GuestState::Stopped || seen.state == GuestState::Crashed;
}

/// Use since the guest's start; counters only rise while it runs.
struct GuestUse {
  std::string uid{};
  std::uint64_t cpu_time_us = 0;
  std::int64_t memory_mib = 0;
  std::uint64_t disk_read_bytes = 0;
  std::uint64_t disk_write_bytes = 0;
  std::uint64_t net_receive_bytes = 0;
  std::uint64_t net_send_bytes = 0;
  std::optional<WallTime> guest_answer{};  ///< when an agent in it answered last
};

/// What one connection is and can do, found by asking and trying when it was made.
struct DriverFacts {
  std::string kind{};  ///< "core", "libvirt", "sim"
  std::string uri{};   ///< empty for our own
  std::string version{};
  bool available = false;
  std::string description{};  ///< why not, and the remedy
  /// Sorted; the names are listed in docs/guide/drivers.md.
  std::vector<std::string> capabilities{};
  std::vector<std::string> warnings{};
};

/// Optional ability: memory and device state to a file and back.
class SavedState {
 public:
  virtual ~SavedState() = default;
  /// Then it is off. A repeat finds it off, the file whole and nothing run since: fine; else
  /// GUEST_STATE. A repeat while the save of an agent before us goes on never harms that one's file
  /// (where the driver can tell, it waits and takes it). A failure leaves it running if it ran
  /// before; after HYPERVISOR_BUSY the save may still go on.
  virtual Status save(std::string_view uid, const std::string& path) = 0;
  /// Then it is paused, and nothing of it has run: whoever calls resume() notes first that the file
  /// is used. A failure leaves the file as good as it was. Fine when it is not off.
  /// NotFound/SAVED_STATE_NOT_FOUND, InvalidArgument/SAVED_STATE_NOT_FOUND: of another guest.
  virtual Status restore(std::string_view uid, const std::string& path) = 0;
};

/// Optional ability: the serial console as a stream. The driver names the socket (or PTY) that
/// carries the bytes of a running guest; agent/console owns the ring and the readers.
///
/// Nothing is lost while the agent is away if output is taken from the log and the socket serves
/// input alone: follow log_path() from the byte last taken (by inode: its writer bounds it by
/// renaming FILE to FILE.0, FILE.1, ... and starting anew), connect to console_path(), write there,
/// and read and drop what it sends, since a guest whose listener does not read stalls.
class SerialConsole {
 public:
  virtual ~SerialConsole() = default;
  /// Path of a UNIX stream socket or character device to open for both directions, valid while the
  /// guest runs. FailedPrecondition/GUEST_STATE when it is off.
  virtual Result<std::string> console_path(std::string_view uid) = 0;
  /// File to which everything the guest writes to its console is appended, run after run, whoever
  /// is connected. Known while it is off, too. NOT_SUPPORTED where there is none: read the socket.
  virtual Result<std::string> log_path(std::string_view /*uid*/) {
    return Error(Code::Unimplemented, "NOT_SUPPORTED", "no console log");
  }
};

class Driver {
 public:
  virtual ~Driver() = default;

  virtual DriverFacts facts() = 0;
  /// All guests of this hypervisor, ours and others'.
  virtual Result<std::vector<GuestSeen>> list() = 0;
  virtual Result<GuestSeen> get(std::string_view uid) = 0;
  /// Use of the running guests; an empty list where the hypervisor has no statistics.
  virtual Result<std::vector<GuestUse>> use() = 0;

  /// Makes the guest known, off. Known already: its definition becomes this one, keeping what the
  /// hypervisor or others added. Returns what takes effect only at the next start ("spec.cpus",
  /// ...).
  virtual Result<std::vector<std::string>> define(const GuestDefinition& guest) = 0;
  /// Forgets the guest and the hypervisor's own records of it; never its disks. GUEST_STATE while
  /// it runs.
  virtual Status undefine(std::string_view uid) = 0;
  virtual Status start(std::string_view uid) = 0;
  /// Asks the guest to shut down (no wait). NOT_SUPPORTED where it cannot be asked.
  virtual Status request_shutdown(std::string_view uid) = 0;
  virtual Status request_reboot(std::string_view uid) = 0;
  virtual Status power_off(std::string_view uid) = 0;  ///< at once
  virtual Status reset(std::string_view uid) = 0;      ///< at once, as the reset button
  virtual Status pause(std::string_view uid) = 0;
  virtual Status resume(std::string_view uid) = 0;

  /// Calls `changed(uid)` from any thread whenever a guest may have changed; an empty uid means all
  /// may have (reconnect). At most one listener. False: no events, the agent polls.
  virtual bool watch(std::function<void(std::string uid)> changed) = 0;

  virtual SavedState* saved_state() { return nullptr; }
  virtual SerialConsole* serial_console() { return nullptr; }
};

}  // namespace reeve::agent
