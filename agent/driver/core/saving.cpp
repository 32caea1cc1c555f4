// How a machine is paused, runs on, is saved and comes back.
#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/driver/core/driver.h"
#include "agent/driver/core/seen.h"
#include "base/file.h"
#include "base/log.h"
#include "hypervisor_core/vm/snapshot.h"

namespace reeve::agent::core_driver {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using core::v1::ControlRequest;
using Record = core::v1::GuestRecord;

constexpr auto kSave = 30min;
/// Until a save that an agent left behind is nobody's: a server asks for it again as soon as it has
/// the agent back.
constexpr auto kTakeUp = 2min;
constexpr const char* kSaved = "saved";  ///< why a machine is off

/// A saved state fits the machine that it was made of alone: another has other disks.
Status require_state_of(const core::v1::GuestRecord& record, const std::string& path) {
  const Fd file = TRY(open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  core::FdSource source(file.get());
  core::RecordReader reader(source);
  const auto header = core::read_saved_header(reader);
  if (!header.ok())
    return Error(header.error())
        .during("reading the saved state of '" + record.display_name() + "'");
  if (header.value().config().uuid() == record.uid()) return {};
  return Error{Code::InvalidArgument, "SAVED_STATE_NOT_FOUND",
               "'" + path + "' holds the state of another guest"};
}

fs::path state_file(const core::v1::GuestRecord& record) {
  return fs::path(vmm_folder(record)) / kSavedFile;
}

/// Answered when all that was asked of the machine before is over, be it by an agent before us.
Status halt(const VmmProcess& process, std::chrono::milliseconds patience) {
  ControlRequest request;
  request.mutable_pause();
  TRY(process.call(std::move(request), patience));
  return {};
}

Result<core::v1::MachineStatus> status_of(const VmmProcess& process,
                                          std::chrono::milliseconds patience) {
  ControlRequest request;
  request.mutable_get_status();
  return TRY(process.call(std::move(request), patience)).status();
}

bool is_halted(const core::v1::MachineStatus& status) {
  return status.state() == core::v1::MachineStatus::STATE_PAUSED;
}

/// One that failed is removed by its maker, unless the disk refuses that, too.
bool is_whole(const fs::path& file) {
  const auto opened = open_file(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  return opened.ok() && core::check_trailer(opened.value().get()).ok();
}

}  // namespace

Status CoreDriver::pause(std::string_view uid) {
  take_up(uid);
  Guest guest = TRY(find(uid));
  const bool saving = guest.record.saving() != Record::SAVING_UNSPECIFIED;
  const auto seen = TRY(see(guest));
  if (is_off(seen)) return wrong_state(seen);
  TRY(halt(*guest.process, saving ? std::chrono::milliseconds(kSave) : kVerb));
  if (!saving) return {};
  // From here on it is paused because that was asked for, whatever became of its save.
  TRY(remove_file(state_file(guest.record)));
  guest.record.clear_saving();
  guest.record.clear_end_reason();
  return keep(guest);
}

Status CoreDriver::resume(std::string_view uid) {
  take_up(uid);
  Guest guest = TRY(find(uid));
  const bool saving = guest.record.saving() != Record::SAVING_UNSPECIFIED;
  if ((saving || !guest.record.end_reason().empty()) && !is_off(TRY(see(guest)))) {
    if (saving) TRY(drop_state(guest));
    if (!guest.record.end_reason().empty()) {
      guest.record.clear_end_reason();  // it was about to end as saved, and goes on instead
      TRY(keep(guest));
    }
  }
  TRY(send(uid, {GuestState::Running, GuestState::Paused},
           [](ControlRequest& request) { request.mutable_resume(); }));
  if (saving) {
    guest.record.clear_saving();
    (void)keep(guest);  // it may be a full disk that ended the save, and the machine does run
  }
  if (has_agent(guest)) services_.tell_time(*guest.process);
  return {};
}

/// Before the machine runs: its memory as it was must not be taken for its memory as it is then. A
/// save that is under way is waited for; a resume that was sent and not waited for would come after
/// it, and before the next attempt has taken its file.
Status CoreDriver::drop_state(const Guest& guest) const {
  if (is_halted(TRY(status_of(*guest.process, kLook)))) TRY(halt(*guest.process, kSave));
  return remove_file(state_file(guest.record));
}

Status CoreDriver::save(std::string_view uid, const std::string& path) {
  take_up(uid);
  Guest guest = TRY(find(uid));
  const auto seen = TRY(see(guest));
  if (is_off(seen)) {
    if (guest.record.end_reason() == kSaved && fs::exists(path)) return {};
    return wrong_state(seen);
  }
  if (auto made = make_state(guest, path); !made.ok()) {
    give_up_save(guest, made.error());
    return std::move(made).error().during("saving guest '" + seen.display_name + "'");
  }
  // From here on a repeat takes the file for whole, unless something has run since.
  guest.record.set_end_reason(kSaved);
  TRY(keep(guest));
  return end(std::move(guest), kSaved);
}

/// The process goes on saving when its agent dies. So a machine that was paused for a save, and
/// still is, has the file of that save when it is over, unless it failed.
Status CoreDriver::make_state(Guest& guest, const std::string& path) {
  const auto deadline = std::chrono::steady_clock::now() + kSave;
  const auto left = [&] {
    return std::max(
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()),
        std::chrono::milliseconds(0));
  };
  const fs::path file = state_file(guest.record);
  const bool halted = is_halted(TRY(status_of(*guest.process, kLook)));
  if (halted) TRY(halt(*guest.process, left()));
  if (!halted || guest.record.saving() == Record::SAVING_UNSPECIFIED || !is_whole(file))
    TRY(remove_file(file));
  if (!halted || guest.record.saving() == Record::SAVING_UNSPECIFIED) {
    // Noted first: an agent that dies now leaves a machine that somebody knows to resume.
    guest.record.set_saving(halted ? Record::SAVING_PAUSED : Record::SAVING_RUNNING);
    TRY(keep(guest));
  }
  if (!halted) TRY(halt(*guest.process, kVerb));
  if (!fs::exists(fs::symlink_status(file))) {
    ControlRequest request;
    request.mutable_save()->set_file_name(kSavedFile);
    TRY(guest.process->call(std::move(request), left()));
  }
  // Its maker is a guest's process: what it left is taken only if it is a file.
  struct stat st {};
  if (lstat(file.c_str(), &st) != 0 || !S_ISREG(st.st_mode))
    return Error{Code::Internal, "SAVED_STATE_MISSING", "the vmm process left no saved state"};
  if (geteuid() == 0 && lchown(file.c_str(), 0, 0) != 0) return errno_error("taking saved state");
  if (rename(file.c_str(), path.c_str()) != 0) return errno_error("moving it to '" + path + "'");
  return sync_dir(fs::path(path).parent_path());
}

/// A save ends without a saved state, and the machine as it was before.
void CoreDriver::give_up_save(const Guest& guest, const Error& why) {
  const std::string& uid = guest.record.uid();
  // It may be going on: the next attempt waits for it, and if there is none, list() does.
  if (why.code() == Code::DeadlineExceeded) return leave(uid);
  if (guest.record.saving() == Record::SAVING_UNSPECIFIED) return;  // nothing was done to it
  const bool ran = guest.record.saving() == Record::SAVING_RUNNING;
  if (auto back = ran ? resume(uid) : pause(uid); !back.ok()) leave(uid);
}

void CoreDriver::leave(const std::string& uid) {
  Lock lock(left_mutex_);
  left_[uid] = clock_.monotonic() + kTakeUp;
}

void CoreDriver::take_up(std::string_view uid) {
  Lock lock(left_mutex_);
  if (const auto it = left_.find(uid); it != left_.end()) left_.erase(it);
}

/// A save may be left for good: its job was cancelled or given up while the agent was away. No
/// attempt runs at the same time: it takes its machine out of `left_` first, under the same lock.
void CoreDriver::end_left_saves() {
  Lock lock(left_mutex_);
  for (auto it = left_.begin(); it != left_.end();) {
    const bool over = it->second <= clock_.monotonic() && end_left_save(it->first);
    it = over ? left_.erase(it) : std::next(it);
  }
}

/// True when there is nothing more to do. The note in the record stays, since verbs may be writing
/// there; of a machine that runs it says nothing, and one that is paused has no file.
bool CoreDriver::end_left_save(const std::string& uid) {
  const auto found = find(uid);
  if (!found.ok() || !found.value().process || !found.value().process->is_alive()) return true;
  const Guest& guest = found.value();
  const auto status = status_of(*guest.process, patience_with(uid));
  if (!status.ok()) return false;
  if (!is_halted(status.value())) return true;
  if (!status.value().doing().empty()) return false;
  if (!remove_file(state_file(guest.record)).ok()) return false;
  if (guest.record.saving() != Record::SAVING_RUNNING) return true;
  log::info("machine runs on: nobody has asked again for its save", {{"guest", uid}});
  ControlRequest request;
  request.mutable_resume();
  if (!guest.process->call(std::move(request), kVerb).ok()) return false;
  if (has_agent(guest)) services_.tell_time(*guest.process);
  return true;
}

Status CoreDriver::restore(std::string_view uid, const std::string& path) {
  Guest guest = TRY(find(uid));
  if (!is_off(TRY(see(guest)))) return {};
  if (!fs::exists(path))
    return Error{Code::NotFound, "SAVED_STATE_NOT_FOUND", "no saved state '" + path + "'"};
  TRY(require_state_of(guest.record, path));
  return launch(std::move(guest), path);
}

}  // namespace reeve::agent::core_driver
