// agent/storage/sim_store.h - a Store in memory whose disk outlives the agent, for simulations.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/storage/store.h"
#include "base/clock.h"

namespace reeve::agent {

/// The disk of one simulated host. Plain data that the simulator owns, prepares and inspects.
struct SimDisk {
  struct File {
    std::int64_t size_bytes = 0;
    std::string sha256{};
  };
  struct Guest {
    v1::GuestSpec spec{};
    /// Of a saved state; as the names of the files in saved_files.h.
    bool state_begun = false;
    bool state_kept = false;
    bool state_used = false;
  };
  std::map<std::string, File> host_files{};  ///< what import_file finds, by path
  std::map<std::string, v1::StoredImage, std::less<>> images{};
  std::map<std::string, Guest, std::less<>> guests{};
  std::int64_t free_bytes = std::int64_t{1} << 40;
  std::int64_t total_bytes = std::int64_t{1} << 40;
  /// Asked at each point of a change ("import.begin", "import.visible", "prepare.begin",
  /// "prepare.visible", "remove_guest.begin", "remove_guest.gone", "remove_image.begin",
  /// "remove_image.gone", "update_spec.begin", "update_spec.visible", and ".begin", ".visible" of
  /// "new_state", "keep_state", "use_state", "free_state", "remove_state"), and when the images are
  /// listed ("images"). An error ends the change right there: what was done up to then stays, as
  /// after a crash or a failing disk. Unset: nothing fails.
  std::function<Status(std::string_view point)> fault{};
  /// Told of each point before `fault` is asked.
  std::function<void(std::string_view point)> reached{};
};

class SimStore final : public Store {
 public:
  /// `disk` and `clock` outlive the store.
  SimStore(SimDisk& disk, const Clock& clock) : disk_(disk), clock_(clock) {}

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
  Status at(std::string_view point) const {
    if (disk_.reached) disk_.reached(point);
    return disk_.fault ? disk_.fault(point) : Status{};
  }
  Result<v1::StoredImage> keep_image(const v1::ImportImage& action, const SimDisk::File& file);
  Result<SimDisk::Guest*> find(std::string_view uid);

  SimDisk& disk_;
  const Clock& clock_;
};

/// Uploads whose bytes are zeroes: by ticket, each works once.
class SimUploads final : public Uploads {
 public:
  std::map<std::string, std::int64_t> sizes{};
  Result<std::unique_ptr<ByteSource>> open(const std::string& ticket) override;
};

}  // namespace reeve::agent
