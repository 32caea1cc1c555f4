// agent/storage/dir_store.h - the store as folders on a disk.
//
//   <data>/images/<uid>/{disk|kernel|initrd|iso, image.pb}   bytes that never change, and their
//   record <data>/guests/<uid>/{spec.pb, <id>.qcow2|raw, seed.iso, state..., run/} <data>/making/
//   half-made things; emptied at start
//
// A folder appears under its uid in one rename, when all in it is on the disk.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/storage/beneath.h"
#include "agent/storage/store.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace reeve::agent {

struct DirStoreOptions {
  std::string data{};                      ///< exists; ours alone
  std::vector<std::string> import_dirs{};  ///< folders import_file may read below
  const Clock* clock = &RealClock::instance();
  /// Called at each point of a change where a crash leaves something else behind; for tests.
  std::function<void(std::string_view point)> at{};
};

class DirStore final : public Store {
 public:
  /// Makes the folders, sweeps what a crash left. One DirStore per data folder.
  static Result<std::unique_ptr<DirStore>> open(DirStoreOptions options);

  Result<v1::StoredImage> import_file(const v1::ImportImage& action,
                                      const CopyProgress& progress) override;
  Result<v1::StoredImage> import_stream(const v1::ImportImage& action, ByteSource& source,
                                        const CopyProgress& progress) override;
  Result<v1::StoredImage> image(std::string_view uid) override;
  Result<std::string> image_path(std::string_view uid) override;
  Status remove_image(std::string_view uid) override;
  Result<std::vector<std::string>> images() override;
  Status prepare_guest(const v1::GuestSpec& spec) override;
  Result<bool> is_prepared(const v1::GuestSpec& spec) override;
  Status remove_guest(std::string_view uid) override;
  Result<bool> has_guest(std::string_view uid) override;
  Result<v1::GuestSpec> guest(std::string_view uid) override;
  Result<std::vector<std::string>> guests() override;
  Status update_spec(const v1::GuestSpec& spec) override;
  Result<GuestDefinition> definition_of(const v1::GuestSpec& spec) override;
  Result<std::string> new_saved_state(std::string_view uid) override;
  Result<std::string> begun_saved_state(std::string_view uid) override;
  Status keep_saved_state(std::string_view uid) override;
  Result<std::string> saved_state(std::string_view uid) override;
  Status check_saved_state(std::string_view uid) override;
  Status use_saved_state(std::string_view uid) override;
  Status free_used_state(std::string_view uid) override;
  Result<bool> was_state_used(std::string_view uid) override;
  Status remove_saved_state(std::string_view uid) override;
  Result<StoreSpace> space() override;

 private:
  using Fill = std::function<Result<v1::StoredImage>(int fd)>;

  DirStore(DirStoreOptions options, std::string data, Folder root, Folder images, Folder guests,
           Folder making);
  void at(std::string_view point) const {
    if (options_.at) options_.at(point);
  }
  Result<Fd> open_import(const std::string& path) const;
  Result<v1::StoredImage> bring_in(const v1::ImportImage& action, std::int64_t needed_bytes,
                                   const Fill& fill);
  Status check_space(std::int64_t needed_bytes);
  /// Turns "no space" into numbers a person can use.
  Error with_space(Error error, std::int64_t needed_bytes);
  Status fill_guest(const v1::GuestSpec& spec, const Folder& folder, const std::string& path);
  Status make_disk(const v1::GuestDisk& disk, const Folder& folder);
  Status reprepare(const v1::GuestSpec& spec);
  Result<bool> has_all_files(const v1::GuestSpec& spec);
  Result<std::string> user_of_image(std::string_view uid);
  Result<Folder> guest_folder(std::string_view uid);
  std::string path_of_guest(std::string_view uid, std::string_view file) const;
  /// Moves it out of sight in one step, then removes it.
  Status remove_folder(const Folder& from, std::string_view uid, std::string_view what);
  std::string making_name(std::string_view uid);

  const DirStoreOptions options_;
  const std::string data_;  ///< absolute
  const Folder root_;
  const Folder images_;
  const Folder guests_;
  const Folder making_;
  Mutex mutex_;
  std::uint64_t next_name_ REEVE_GUARDED_BY(mutex_) = 0;
  /// Images that guests being prepared are made from, by number of such guests.
  std::map<std::string, int, std::less<>> in_preparation_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::agent
