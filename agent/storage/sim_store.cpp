#include "agent/storage/sim_store.h"

#include <algorithm>
#include <array>

#include "agent/storage/saved_files.h"
#include "agent/storage/spec.h"

namespace reeve::agent {
namespace {

constexpr std::int64_t kSeedBytes = 400'000;

std::string folder_of(std::string_view uid) {
  return "sim:/guests/" + std::string(uid);
}

Error disk_full(std::int64_t needed, std::int64_t free) {
  return Error(Code::ResourceExhausted, "DISK_FULL", "the simulated disk is full")
      .with("needed_bytes", std::to_string(needed))
      .with("free_bytes", std::to_string(free));
}

}  // namespace

Result<v1::StoredImage> SimStore::keep_image(const v1::ImportImage& action,
                                             const SimDisk::File& file) {
  if (file.size_bytes > disk_.free_bytes) return disk_full(file.size_bytes, disk_.free_bytes);
  if (!action.sha256().empty() && action.sha256() != file.sha256)
    return Error(Code::DataLoss, "IMAGE_DIGEST", "the bytes have another digest")
        .with("expected", action.sha256())
        .with("actual", file.sha256);
  v1::StoredImage image;
  image.set_uid(action.uid());
  image.set_kind(action.kind());
  image.set_format(action.format());
  image.set_size_bytes(file.size_bytes);
  image.set_virtual_size_bytes(file.size_bytes);
  image.set_sha256(file.sha256);
  *image.mutable_import_time() = timestamp_of(clock_.wall());
  disk_.images[action.uid()] = image;
  disk_.free_bytes -= file.size_bytes;
  TRY(at("import.visible"));
  return image;
}

Result<v1::StoredImage> SimStore::import_file(const v1::ImportImage& action,
                                              const CopyProgress& progress) {
  if (const auto it = disk_.images.find(action.uid()); it != disk_.images.end()) return it->second;
  TRY(at("import.begin"));
  const auto file = disk_.host_files.find(action.host_path());
  if (file == disk_.host_files.end())
    return Error{Code::NotFound, "FILE_NOT_FOUND", "no file '" + action.host_path() + "'"};
  if (!progress(file->second.size_bytes / 2, file->second.size_bytes))
    return Error{Code::Cancelled, "STEP_CANCELLED", "the import was cancelled"};
  return keep_image(action, file->second);
}

Result<v1::StoredImage> SimStore::import_stream(const v1::ImportImage& action, ByteSource& source,
                                                const CopyProgress& progress) {
  if (const auto it = disk_.images.find(action.uid()); it != disk_.images.end()) return it->second;
  TRY(at("import.begin"));
  std::int64_t size = 0;
  std::array<std::byte, 4096> buffer{};
  for (;;) {
    const std::size_t n = TRY(source.read(buffer));
    if (n == 0) break;
    size += static_cast<std::int64_t>(n);
    if (!progress(size, action.upload().size_bytes()))
      return Error{Code::Cancelled, "STEP_CANCELLED", "the import was cancelled"};
  }
  if (size != action.upload().size_bytes())
    return Error{Code::InvalidArgument, "UPLOAD_SIZE", "the upload has another size"};
  return keep_image(action, {size, action.sha256()});
}

Result<v1::StoredImage> SimStore::image(std::string_view uid) {
  const auto it = disk_.images.find(uid);
  if (it == disk_.images.end()) return image_not_found(uid);
  return it->second;
}

Result<std::string> SimStore::image_path(std::string_view uid) {
  TRY(image(uid));
  return "sim:/images/" + std::string(uid);
}

Status SimStore::remove_image(std::string_view uid) {
  const auto it = disk_.images.find(uid);
  if (it == disk_.images.end()) return {};
  for (const auto& [guest_uid, guest] : disk_.guests)
    for (const auto& disk : guest.spec.disks())
      if (disk.image() == uid)
        return Error{Code::FailedPrecondition, "IMAGE_IN_USE",
                     "machine '" + guest_uid + "' is made from it"};
  TRY(at("remove_image.begin"));
  disk_.free_bytes += it->second.size_bytes();
  disk_.images.erase(it);
  return at("remove_image.gone");
}

Result<std::vector<std::string>> SimStore::images() {
  if (disk_.fault) TRY(disk_.fault("images"));
  std::vector<std::string> uids;
  for (const auto& [uid, image] : disk_.images) uids.push_back(uid);
  return uids;
}

Status SimStore::prepare_guest(const v1::GuestSpec& spec) {
  TRY(at("prepare.begin"));
  if (const auto it = disk_.guests.find(spec.uid()); it != disk_.guests.end()) {
    if (!same_files(it->second.spec, spec))
      return Error{Code::AlreadyExists, "GUEST_PREPARED_OTHERWISE", "it is there with other disks"};
    it->second.spec = spec;
    return {};
  }
  TRY(make_definition(spec, folder_of(spec.uid()),
                      [this](std::string_view uid) { return image_path(uid); }));
  if (disk_.free_bytes < kSeedBytes) return disk_full(kSeedBytes, disk_.free_bytes);
  disk_.guests[spec.uid()].spec = spec;
  return at("prepare.visible");
}

Result<bool> SimStore::is_prepared(const v1::GuestSpec& spec) {
  const auto it = disk_.guests.find(spec.uid());
  return it != disk_.guests.end() && same_spec(it->second.spec, spec);
}

Status SimStore::remove_guest(std::string_view uid) {
  const auto it = disk_.guests.find(uid);
  if (it == disk_.guests.end()) return {};
  TRY(at("remove_guest.begin"));
  disk_.guests.erase(it);
  return at("remove_guest.gone");
}

Result<bool> SimStore::has_guest(std::string_view uid) {
  return disk_.guests.contains(uid);
}

Result<SimDisk::Guest*> SimStore::find(std::string_view uid) {
  const auto it = disk_.guests.find(uid);
  if (it == disk_.guests.end()) return guest_files_not_found(uid);
  return &it->second;
}

Result<v1::GuestSpec> SimStore::guest(std::string_view uid) {
  return TRY(find(uid))->spec;
}

Result<std::vector<std::string>> SimStore::guests() {
  std::vector<std::string> uids;
  for (const auto& [uid, guest] : disk_.guests) uids.push_back(uid);
  return uids;
}

Status SimStore::update_spec(const v1::GuestSpec& spec) {
  auto* guest = TRY(find(spec.uid()));
  TRY(at("update_spec.begin"));
  guest->spec = spec;
  return at("update_spec.visible");
}

Result<GuestDefinition> SimStore::definition_of(const v1::GuestSpec& spec) {
  TRY(find(spec.uid()));
  return make_definition(spec, folder_of(spec.uid()),
                         [this](std::string_view uid) { return image_path(uid); });
}

Result<std::string> SimStore::new_saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  TRY(at("new_state.begin"));
  guest->state_begun = true;
  guest->state_kept = guest->state_used = false;
  TRY(at("new_state.visible"));
  return folder_of(uid) + "/state";
}

Result<std::string> SimStore::begun_saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  if (!guest->state_begun)
    return Error{Code::NotFound, "NO_SAVED_STATE", "no save of the machine was begun"};
  return folder_of(uid) + "/state";
}

Status SimStore::keep_saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  TRY(at("keep_state.begin"));
  if (!guest->state_begun) return saved_files::no_saved_state();
  guest->state_kept = true;
  guest->state_begun = guest->state_used = false;
  return at("keep_state.visible");
}

Result<std::string> SimStore::saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  if (!guest->state_kept) return saved_files::no_saved_state();
  return folder_of(uid) + "/state";
}

/// The simulated hypervisor counts what runs against disks that were written since.
Status SimStore::check_saved_state(std::string_view uid) {
  TRY(find(uid));
  return {};
}

Status SimStore::use_saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  if (!guest->state_kept) return guest->state_used ? Status{} : saved_files::no_saved_state();
  TRY(at("use_state.begin"));
  guest->state_kept = false;
  guest->state_used = true;
  return at("use_state.visible");
}

Status SimStore::free_used_state(std::string_view uid) {
  if (!TRY(find(uid))->state_used) return {};
  TRY(at("free_state.begin"));
  return at("free_state.visible");
}

Result<bool> SimStore::was_state_used(std::string_view uid) {
  auto* guest = TRY(find(uid));
  return !guest->state_kept && guest->state_used;
}

Status SimStore::remove_saved_state(std::string_view uid) {
  auto* guest = TRY(find(uid));
  TRY(at("remove_state.begin"));
  guest->state_begun = guest->state_kept = guest->state_used = false;
  return at("remove_state.visible");
}

Result<StoreSpace> SimStore::space() {
  return StoreSpace{disk_.free_bytes, disk_.total_bytes};
}

Result<std::unique_ptr<ByteSource>> SimUploads::open(const std::string& ticket) {
  class Zeroes final : public ByteSource {
   public:
    explicit Zeroes(std::int64_t left) : left_(left) {}
    Result<std::size_t> read(std::span<std::byte> into) override {
      const auto n = std::min(into.size(), static_cast<std::size_t>(left_));
      std::fill_n(into.begin(), n, std::byte{0});
      left_ -= static_cast<std::int64_t>(n);
      return n;
    }

   private:
    std::int64_t left_;
  };
  const auto it = sizes.find(ticket);
  if (it == sizes.end())
    return Error{Code::PermissionDenied, "TICKET_INVALID", "the upload ticket is unknown or used"};
  std::unique_ptr<ByteSource> source = std::make_unique<Zeroes>(it->second);
  sizes.erase(it);
  return source;
}

}  // namespace reeve::agent
