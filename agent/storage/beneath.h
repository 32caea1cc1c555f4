// agent/storage/beneath.h - opens names below a folder and never leaves it: no link is followed, no
// ".." climbs out (openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/status.h"

namespace reeve::agent {

/// A folder by descriptor. Names are relative to it. Any thread.
class Folder {
 public:
  /// The folder itself may be reached through links: it is the administrator's choice.
  static Result<Folder> open(const std::string& path);

  /// openat2(2), close-on-exec. Besides errno_error()'s: PermissionDenied/PATH_ESCAPES for a link
  /// or "..".
  Result<Fd> open_file(std::string_view name, int flags, mode_t mode = 0600) const;
  Result<Folder> folder(std::string_view name) const;
  /// Makes it; fine when it exists.
  Result<Folder> make_folder(std::string_view name, mode_t mode) const;
  Result<std::vector<std::string>> list() const;
  bool has(std::string_view name) const;  ///< links count as themselves
  /// Moves an entry of this folder into another; AlreadyExists/FILE_EXISTS if the new name is
  /// taken.
  Status move_to(std::string_view name, const Folder& to, std::string_view new_name) const;
  Status remove_file(std::string_view name) const;  ///< fine when absent
  Status remove_tree(std::string_view name) const;  ///< fine when absent; follows nothing
  /// Whole small file; DataLoss/STORE_DAMAGED beyond `limit`.
  Result<std::string> read(std::string_view name, std::size_t limit = 16u << 20) const;
  /// Temporary file, fsync, rename, fsync of this folder.
  Status write_durably(std::string_view name, std::string_view content, mode_t mode = 0600) const;
  Status sync() const;
  int fd() const { return fd_.get(); }
  /// A path for calls that take no descriptor, valid in this process while this object lives.
  std::string path_of(std::string_view name) const;

 private:
  explicit Folder(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace reeve::agent
