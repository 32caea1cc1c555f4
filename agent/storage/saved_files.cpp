#include "agent/storage/saved_files.h"

#include <span>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/storage/spec.h"
#include "base/file.h"
#include "reeve/agent/v1/store.pb.h"

namespace reeve::agent::saved_files {
namespace {

constexpr const char* kMarks = "state.marks";
constexpr const char* kUsed = "state.used";
constexpr std::size_t kMarksRoom = 8192;  ///< for the disks a machine can have

Error stale(const std::string& why) {
  return Error(Code::FailedPrecondition, "SAVED_STATE_STALE",
               "the saved memory no longer fits the machine's disks: " + why)
      .remedy("drop the saved memory (stop the machine with a grace of 0) and start it anew");
}

Result<v1::FileMark> mark_of(const Fd& file, const std::string& name) {
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return errno_error("looking at '" + name + "'");
  constexpr std::int64_t kSecond = 1'000'000'000;
  v1::FileMark mark;
  mark.set_name(name);
  mark.set_size_bytes(st.st_size);
  mark.set_written_ns(st.st_mtim.tv_sec * kSecond + st.st_mtim.tv_nsec);
  return mark;
}

Result<v1::FileMark> mark_of(const Folder& folder, const std::string& name) {
  return mark_of(TRY(folder.open_file(name, O_RDONLY | O_NONBLOCK)), name);
}

/// Its content and its time of writing, on the storage.
Result<v1::FileMark> synced_mark_of(const Folder& folder, const std::string& name) {
  const Fd file = TRY(folder.open_file(name, O_RDONLY | O_NONBLOCK));
  if (::fsync(file.get()) != 0) return errno_error("syncing '" + name + "'");
  return mark_of(file, name);
}

/// In place, where begin() made room. Nothing reads it before the state has its name.
Status overwrite(const Folder& folder, const std::string& name, const std::string& content) {
  const Fd file = TRY(folder.open_file(name, O_WRONLY | O_CREAT));
  TRY(write_at(file.get(), 0, std::as_bytes(std::span(content))));
  if (::ftruncate(file.get(), static_cast<off_t>(content.size())) != 0 || ::fsync(file.get()) != 0)
    return errno_error("writing '" + name + "'");
  return {};
}

Status compare(const Folder& folder, const v1::FileMark& kept, const std::string& name) {
  const auto now = mark_of(folder, name);
  if (!now.ok()) return stale("'" + name + "' cannot be read: " + now.error().message());
  if (now.value().size_bytes() != kept.size_bytes())
    return stale("'" + name + "' had " + std::to_string(kept.size_bytes()) + " bytes and has " +
                 std::to_string(now.value().size_bytes()));
  if (now.value().written_ns() != kept.written_ns())
    return stale("'" + name + "' was written since");
  return {};
}

}  // namespace

Error no_saved_state() {
  return {Code::NotFound, "NO_SAVED_STATE", "the machine has no saved state"};
}

Status clear(const Folder& folder) {
  for (const char* name : {kState, kMarks, kPart, kUsed}) TRY(folder.remove_file(name));
  return folder.sync();
}

Status begin(const Folder& folder) {
  TRY(clear(folder));
  return folder.write_durably(kMarks, std::string(kMarksRoom, '\0'));
}

Status keep(const Folder& folder, const v1::GuestSpec& spec, const At& at) {
  if (!folder.has(kPart)) return no_saved_state();
  v1::SavedStateMarks marks;
  // What the guest wrote without a flush is in its saved memory as written.
  for (const auto& disk : spec.disks())
    if (!disk.read_only()) *marks.add_disks() = TRY(synced_mark_of(folder, disk_file_name(disk)));
  *marks.mutable_state() = TRY(synced_mark_of(folder, kPart));
  TRY(folder.remove_file(kUsed));
  TRY(overwrite(folder, kMarks, marks.SerializeAsString()));
  at("keep_state.marked");
  TRY(folder.move_to(kPart, folder, kState));
  at("keep_state.visible");
  return folder.sync();
}

Status check(const Folder& folder) {
  const auto text = folder.read(kMarks);
  v1::SavedStateMarks marks;
  if (!text.ok() || !marks.ParseFromString(text.value()) || !marks.has_state())
    return stale("the record of how they were cannot be read");
  for (const auto& disk : marks.disks()) TRY(compare(folder, disk, disk.name()));
  return compare(folder, marks.state(), kState);
}

Status use(const Folder& folder, const At& at) {
  if (!folder.has(kState)) return was_used(folder) ? Status{} : no_saved_state();
  TRY(folder.remove_file(kUsed));
  at("use_state.begin");
  TRY(folder.move_to(kState, folder, kUsed));
  at("use_state.visible");
  return folder.sync();
}

Status free_used(const Folder& folder, const At& at) {
  const auto held = mark_of(folder, kUsed);
  if (!held.ok() || held.value().size_bytes() == 0) return {};
  at("free_state.begin");
  return folder.write_durably(kUsed, "");  // another file under its name
}

bool was_used(const Folder& folder) {
  return !folder.has(kState) && folder.has(kUsed);
}

}  // namespace reeve::agent::saved_files
