// agent/storage/store.h - the files of this host: images of the library and the folders of its
// guests.
//
// Calls block on the disk: workers only. Safe from several threads; calls about one guest or one
// image are serialised by the caller (agent/executor). Every change is atomic for a crash: it
// happened or it did not, and what was half made is swept at the next start. All changes are
// idempotent.
//
// Errors every call may return: InvalidArgument/BAD_UID, ResourceExhausted/DISK_FULL (metadata
// needed_bytes, free_bytes; nothing is left behind), Internal/SYSTEM_CALL, DataLoss/STORE_DAMAGED
// (a record that cannot be read).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/driver/driver.h"
#include "base/status.h"
#include "reeve/agent/v1/guest.pb.h"
#include "reeve/agent/v1/step.pb.h"
#include "reeve/agent/v1/store.pb.h"

namespace reeve::agent {

/// Bytes of an upload, in order.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Reads up to `into.size()` bytes; 0 at the end. Unavailable/UPLOAD_LOST when the stream broke,
  /// Aborted/UPLOAD_INTERRUPTED when nobody sends any more.
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
};

/// Opens the bytes behind an upload ticket. Blocks: workers only.
class Uploads {
 public:
  virtual ~Uploads() = default;
  /// Unavailable/UPLOAD_LOST, PermissionDenied/TICKET_INVALID.
  virtual Result<std::unique_ptr<ByteSource>> open(const std::string& ticket) = 0;
};

/// Told about bytes while they are copied. False: stop, the call ends with
/// Cancelled/STEP_CANCELLED.
using CopyProgress = std::function<bool(std::int64_t done, std::int64_t total)>;

struct StoreSpace {
  std::int64_t free_bytes = 0;
  std::int64_t total_bytes = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  /// Copies `action.host_path()` into the store, checking and hashing it on the way. An image that
  /// is there already is returned. PermissionDenied/IMPORT_PATH_REFUSED (not below an allowed
  /// folder, or a link in the path), NotFound/FILE_NOT_FOUND, InvalidArgument/IMAGE_INVALID or a
  /// QCOW2_... reason (not what it is said to be), DataLoss/IMAGE_DIGEST (metadata expected,
  /// actual), Cancelled/STEP_CANCELLED.
  virtual Result<v1::StoredImage> import_file(const v1::ImportImage& action,
                                              const CopyProgress& progress) = 0;
  /// The same from an upload of exactly `action.upload().size_bytes()` bytes.
  /// InvalidArgument/UPLOAD_SIZE when there are more or fewer.
  virtual Result<v1::StoredImage> import_stream(const v1::ImportImage& action, ByteSource& source,
                                                const CopyProgress& progress) = 0;
  /// NotFound/IMAGE_NOT_FOUND.
  virtual Result<v1::StoredImage> image(std::string_view uid) = 0;
  /// Path of its bytes. NotFound/IMAGE_NOT_FOUND.
  virtual Result<std::string> image_path(std::string_view uid) = 0;
  /// Fine when absent. FailedPrecondition/IMAGE_IN_USE while a guest of this host is made from it.
  virtual Status remove_image(std::string_view uid) = 0;
  virtual Result<std::vector<std::string>> images() = 0;

  /// Makes the folder, disks, seed and spec of a guest. Disks that exist stay as they are.
  /// NotFound/IMAGE_NOT_FOUND, InvalidArgument/DISK_TOO_SMALL,
  /// AlreadyExists/GUEST_PREPARED_OTHERWISE when it is there with other disks.
  virtual Status prepare_guest(const v1::GuestSpec& spec) = 0;
  /// True when the folder has all disks, the seed and this very spec.
  virtual Result<bool> is_prepared(const v1::GuestSpec& spec) = 0;
  /// Removes the folder of a guest with everything in it; fine when absent.
  virtual Status remove_guest(std::string_view uid) = 0;
  virtual Result<bool> has_guest(std::string_view uid) = 0;
  /// NotFound/GUEST_FILES_NOT_FOUND.
  virtual Result<v1::GuestSpec> guest(std::string_view uid) = 0;
  virtual Result<std::vector<std::string>> guests() = 0;
  /// Replaces the stored spec. NotFound/GUEST_FILES_NOT_FOUND.
  virtual Status update_spec(const v1::GuestSpec& spec) = 0;
  /// A prepared guest with all paths filled in. NotFound/GUEST_FILES_NOT_FOUND,
  /// NotFound/IMAGE_NOT_FOUND.
  virtual Result<GuestDefinition> definition_of(const v1::GuestSpec& spec) = 0;

  // A saved state is written, kept, perhaps used, and forgotten (saved_files.h draws it). All may
  // return NotFound/GUEST_FILES_NOT_FOUND.

  /// Where a driver may write a guest's saved state; forgets older ones.
  virtual Result<std::string> new_saved_state(std::string_view uid) = 0;
  /// Path of what a driver wrote and nobody has kept yet. NotFound/NO_SAVED_STATE.
  virtual Result<std::string> begun_saved_state(std::string_view uid) = 0;
  /// The state written there is complete and the guest is off: keeps it durably, with its disks,
  /// and notes how those were. NotFound/NO_SAVED_STATE.
  virtual Status keep_saved_state(std::string_view uid) = 0;
  /// Path of the complete saved state; nothing has run from it. NotFound/NO_SAVED_STATE.
  virtual Result<std::string> saved_state(std::string_view uid) = 0;
  /// FailedPrecondition/SAVED_STATE_STALE when a disk was written since it was kept, or the state
  /// itself is not as it was.
  virtual Status check_saved_state(std::string_view uid) = 0;
  /// Something is about to run from it: it is never offered again, whatever happens from here on.
  /// Durable. Fine when it is used already; NotFound/NO_SAVED_STATE.
  virtual Status use_saved_state(std::string_view uid) = 0;
  /// Gives the space of a used state back, and remembers that it was used. Fine when there is none.
  virtual Status free_used_state(std::string_view uid) = 0;
  /// Whether the last state that was kept has been used.
  virtual Result<bool> was_state_used(std::string_view uid) = 0;
  /// Forgets all of it; fine when absent.
  virtual Status remove_saved_state(std::string_view uid) = 0;

  virtual Result<StoreSpace> space() = 0;
};

}  // namespace reeve::agent
