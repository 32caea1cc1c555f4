#include "agent/storage/dir_store.h"

#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/storage/image_copy.h"
#include "agent/storage/saved_files.h"
#include "agent/storage/seed.h"
#include "agent/storage/spec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/undo.h"
#include "base/uuid.h"
#include "hypervisor_core/block/create.h"

namespace reeve::agent {

namespace fs = std::filesystem;

namespace {

// Others may pass through to what they were given by owner or descriptor; only we can list.
constexpr mode_t kPassMode = 0711;
constexpr mode_t kOwnMode = 0700;
constexpr std::int64_t kReserve = 16 << 20;  ///< never fill the last of a disk with an image

std::string_view file_name_of(reeve::v1::Image::Kind kind) {
  switch (kind) {
    case reeve::v1::Image::KIND_KERNEL: return "kernel";
    case reeve::v1::Image::KIND_INITRD: return "initrd";
    case reeve::v1::Image::KIND_ISO: return "iso";
    default: return "disk";
  }
}

Status check_uid(std::string_view uid) {
  if (is_uuid(uid)) return {};
  return Error{Code::InvalidArgument, "BAD_UID", "not a uid"};
}

Error refused(const std::string& path, const std::string& why, const std::string& remedy) {
  return Error(Code::PermissionDenied, "IMPORT_PATH_REFUSED", "'" + path + "' " + why)
      .remedy(remedy + ", or upload the image");
}

Error outside(const std::string& path, const std::vector<std::string>& allowed) {
  return refused(path, "is not below a folder this host imports from",
                 allowed.empty() ? "set 'import_dirs' in the agent's configuration"
                                 : "move it below " + join(allowed, " or "));
}

bool climbs(std::string_view path) {
  for (const auto part : split(path, '/'))
    if (part == "..") return true;
  return false;
}

}  // namespace

DirStore::DirStore(DirStoreOptions options, std::string data, Folder root, Folder images,
                   Folder guests, Folder making)
    : options_(std::move(options)),
      data_(std::move(data)),
      root_(std::move(root)),
      images_(std::move(images)),
      guests_(std::move(guests)),
      making_(std::move(making)) {}

Result<std::unique_ptr<DirStore>> DirStore::open(DirStoreOptions options) {
  std::error_code error;
  const std::string data = fs::canonical(options.data, error).string();
  if (error) return errno_error("opening data folder '" + options.data + "'", error.value());
  Folder root = TRY(Folder::open(data));
  Folder images = TRY(root.make_folder("images", kPassMode));
  Folder guests = TRY(root.make_folder("guests", kPassMode));
  Folder making = TRY(root.make_folder("making", kOwnMode));
  for (const auto& name : TRY(making.list())) {
    log::info("removing what an interrupted change left", {{"name", name}});
    TRY(making.remove_tree(name));
  }
  TRY(root.sync());
  std::vector<std::string> import_dirs;
  for (const auto& dir : options.import_dirs) {
    const std::string real = fs::canonical(dir, error).string();
    if (error) {
      log::warning("an import folder does not exist", {{"folder", dir}});
      continue;
    }
    import_dirs.push_back(real);
  }
  options.import_dirs = std::move(import_dirs);
  return std::unique_ptr<DirStore>(new DirStore(std::move(options), data, std::move(root),
                                                std::move(images), std::move(guests),
                                                std::move(making)));
}

std::string DirStore::making_name(std::string_view uid) {
  Lock lock(mutex_);
  return std::string(uid) + "." + std::to_string(next_name_++);
}

// --- Space ---

Result<StoreSpace> DirStore::space() {
  struct statvfs fs_facts {};
  if (::fstatvfs(root_.fd(), &fs_facts) != 0) return errno_error("looking at the free space");
  const auto unit = static_cast<std::int64_t>(fs_facts.f_frsize);
  return StoreSpace{static_cast<std::int64_t>(fs_facts.f_bavail) * unit,
                    static_cast<std::int64_t>(fs_facts.f_blocks) * unit};
}

Error DirStore::with_space(Error error, std::int64_t needed_bytes) {
  const auto now = space();
  const auto free = now.ok() ? now.value().free_bytes : 0;
  const bool full = error.reason() == "DISK_FULL" ||
                    (error.reason() == "PROGRAM_FAILED" && now.ok() && free < (1 << 20));
  if (!full) return error;
  return Error(Code::ResourceExhausted, "DISK_FULL",
               "the store '" + data_ + "' is full: " + std::to_string(needed_bytes) +
                   " bytes are needed, " + std::to_string(free) + " are free")
      .remedy("remove images or machines from this host, or add space below its store")
      .with("needed_bytes", std::to_string(needed_bytes))
      .with("free_bytes", std::to_string(free));
}

Status DirStore::check_space(std::int64_t needed_bytes) {
  const StoreSpace now = TRY(space());
  if (now.free_bytes >= needed_bytes + std::min(kReserve, now.total_bytes / 64)) return {};
  return with_space({Code::ResourceExhausted, "DISK_FULL", ""}, needed_bytes);
}

// --- Images ---

Result<Fd> DirStore::open_import(const std::string& path) const {
  if (climbs(path)) return refused(path, "has '..' in it", "name it without");
  const std::string plain = fs::path(path).lexically_normal().string();
  for (const auto& dir : options_.import_dirs) {
    const std::string prefix = dir.ends_with('/') ? dir : dir + "/";
    if (!plain.starts_with(prefix)) continue;
    const Folder folder = TRY(Folder::open(dir));
    auto fd =
        folder.open_file(std::string_view(plain).substr(prefix.size()), O_RDONLY | O_NONBLOCK);
    if (!fd.ok() && fd.error().reason() == "PATH_ESCAPES")
      return refused(path, "has a symbolic link in it, which is not followed",
                     "name the file that it leads to");
    if (!fd.ok()) return std::move(fd).error();
    struct stat st {};
    if (::fstat(fd.value().get(), &st) != 0) return errno_error("looking at '" + path + "'");
    if (!S_ISREG(st.st_mode)) return refused(path, "is not a plain file", "name a file");
    return fd;
  }
  return outside(path, options_.import_dirs);
}

Result<v1::StoredImage> DirStore::bring_in(const v1::ImportImage& action, std::int64_t needed_bytes,
                                           const Fill& fill) {
  TRY(check_space(needed_bytes));
  const std::string name = making_name(action.uid());
  Undo undo;
  undo.push([&] {
    if (auto removed = making_.remove_tree(name); !removed.ok())
      log::warning("a half-made image stays until the next start", removed.error());
  });
  const auto make = [&]() -> Result<v1::StoredImage> {
    at("import.begin");
    const Folder folder = TRY(making_.make_folder(name, kPassMode));
    const Fd fd =
        TRY(folder.open_file(file_name_of(action.kind()), O_RDWR | O_CREAT | O_EXCL, 0600));
    v1::StoredImage image = TRY(fill(fd.get()));
    at("import.filled");
    // Read-only from here on: its bytes never change.
    if (::fchmod(fd.get(), 0400) != 0) return errno_error("setting the mode of the image");
    *image.mutable_import_time() = timestamp_of(options_.clock->wall());
    TRY(folder.write_durably("image.pb", image.SerializeAsString()));
    at("import.recorded");
    auto moved = making_.move_to(name, images_, action.uid());
    if (!moved.ok() && moved.error().code() != Code::AlreadyExists) return std::move(moved).error();
    at("import.visible");
    TRY(images_.sync());
    return image;
  };
  auto made = make();
  if (!made.ok()) return with_space(std::move(made).error(), needed_bytes);
  return made;
}

Result<v1::StoredImage> DirStore::import_file(const v1::ImportImage& action,
                                              const CopyProgress& progress) {
  TRY(check_uid(action.uid()));
  if (images_.has(action.uid())) return image(action.uid());
  const Fd from = TRY(open_import(action.host_path()));
  struct stat st {};
  if (::fstat(from.get(), &st) != 0) return errno_error("looking at the image");
  constexpr std::int64_t kStatBlock = 512;
  return bring_in(action, std::min<std::int64_t>(st.st_size, st.st_blocks * kStatBlock),
                  [&](int fd) -> Result<v1::StoredImage> {
                    const Copied copied = TRY(copy_file(from.get(), fd, progress));
                    return check_image(action, fd, copied);
                  });
}

Result<v1::StoredImage> DirStore::import_stream(const v1::ImportImage& action, ByteSource& source,
                                                const CopyProgress& progress) {
  TRY(check_uid(action.uid()));
  if (images_.has(action.uid())) return image(action.uid());
  const auto size = action.upload().size_bytes();
  return bring_in(action, size, [&](int fd) -> Result<v1::StoredImage> {
    const Copied copied = TRY(copy_stream(source, fd, size, progress));
    if (copied.size_bytes != size)
      return Error{Code::InvalidArgument, "UPLOAD_SIZE",
                   "the upload ended after " + std::to_string(copied.size_bytes) + " of " +
                       std::to_string(size) + " bytes"};
    return check_image(action, fd, copied);
  });
}

Result<v1::StoredImage> DirStore::image(std::string_view uid) {
  TRY(check_uid(uid));
  if (!images_.has(uid)) return image_not_found(uid);
  const std::string record = TRY(images_.read(std::string(uid) + "/image.pb"));
  v1::StoredImage image;
  if (!image.ParseFromString(record) || image.uid() != uid)
    return Error{Code::DataLoss, "STORE_DAMAGED",
                 "the record of image '" + std::string(uid) + "' is damaged"};
  return image;
}

Result<std::string> DirStore::image_path(std::string_view uid) {
  const v1::StoredImage stored = TRY(image(uid));
  return data_ + "/images/" + stored.uid() + "/" + std::string(file_name_of(stored.kind()));
}

Result<std::vector<std::string>> DirStore::images() {
  std::vector<std::string> uids = TRY(images_.list());
  std::erase_if(uids, [](const std::string& name) { return !is_uuid(name); });
  return uids;
}

/// A guest made from the image; empty when there is none.
Result<std::string> DirStore::user_of_image(std::string_view uid) {
  for (const auto& guest_uid : TRY(guests())) {
    const auto spec = guest(guest_uid);
    // A spec that cannot be read may well use it.
    if (!spec.ok()) return guest_uid;
    if (spec.value().kernel_image() == uid || spec.value().initrd_image() == uid) return guest_uid;
    for (const auto& disk : spec.value().disks())
      if (disk.image() == uid) return guest_uid;
  }
  return std::string{};
}

Status DirStore::remove_image(std::string_view uid) {
  TRY(check_uid(uid));
  if (!images_.has(uid)) return {};
  {
    Lock lock(mutex_);
    if (in_preparation_.contains(uid))
      return Error{Code::FailedPrecondition, "IMAGE_IN_USE",
                   "a machine is being made from the image"};
    // Held while the guests are read: prepare_guest() names its images before it makes its folder
    // visible.
    const std::string user = TRY(user_of_image(uid));
    if (!user.empty())
      return Error(Code::FailedPrecondition, "IMAGE_IN_USE",
                   "machine '" + user + "' is made from the image")
          .resource("vms/" + user);
    const std::string name = "gone." + std::string(uid) + "." + std::to_string(next_name_++);
    TRY(images_.move_to(uid, making_, name));
    at("remove_image.hidden");
    TRY(images_.sync());
  }
  for (const auto& name : TRY(making_.list()))
    if (name.starts_with("gone." + std::string(uid))) TRY(making_.remove_tree(name));
  return {};
}

// --- Guests ---

Result<Folder> DirStore::guest_folder(std::string_view uid) {
  TRY(check_uid(uid));
  if (!guests_.has(uid)) return guest_files_not_found(uid);
  return guests_.folder(uid);
}

Status DirStore::make_disk(const v1::GuestDisk& disk, const Folder& folder) {
  const std::string path = folder.path_of(disk_file_name(disk));
  const auto size = static_cast<std::uint64_t>(disk.size_bytes());
  if (disk.image().empty())
    return disk.format() == reeve::v1::DISK_FORMAT_RAW ? core::create_raw(path, size)
                                                       : core::create_qcow2(path, size);
  const v1::StoredImage stored = TRY(image(disk.image()));
  const bool is_disk = stored.kind() == reeve::v1::Image::KIND_DISK;
  if (!is_disk && stored.kind() != reeve::v1::Image::KIND_ISO)
    return Error{Code::InvalidArgument, "BAD_DISK",
                 "the image of disk '" + disk.id() + "' is no disk"};
  const auto format = is_disk ? stored.format() : reeve::v1::DISK_FORMAT_RAW;
  if (format != disk.image_format())
    return Error{Code::InvalidArgument, "BAD_DISK",
                 "the image of disk '" + disk.id() + "' was imported with another format"};
  constexpr std::int64_t kSector = 512;
  const std::int64_t image_size = (stored.virtual_size_bytes() + kSector - 1) / kSector * kSector;
  if (size != 0 && disk.size_bytes() < image_size)
    return Error(Code::InvalidArgument, "DISK_TOO_SMALL",
                 "disk '" + disk.id() + "' is smaller than its image of " +
                     std::to_string(image_size) + " bytes")
        .with("needed_bytes", std::to_string(image_size));
  return core::create_overlay(
      path, TRY(image_path(disk.image())),
      format == reeve::v1::DISK_FORMAT_QCOW2 ? core::DiskFormat::Qcow2 : core::DiskFormat::Raw,
      size != 0 ? size : static_cast<std::uint64_t>(image_size));
}

Status DirStore::fill_guest(const v1::GuestSpec& spec, const Folder& folder,
                            const std::string& path) {
  for (const auto& disk : spec.disks()) {
    TRY(make_disk(disk, folder));
    at("prepare.disk");
  }
  if (!spec.kernel_image().empty()) TRY(image(spec.kernel_image()));
  if (!spec.initrd_image().empty()) TRY(image(spec.initrd_image()));
  if (spec.has_seed()) TRY(make_seed(spec.seed(), path));
  at("prepare.seed");
  TRY(folder.make_folder("run", kPassMode));
  TRY(folder.write_durably("spec.pb", spec.SerializeAsString()));
  at("prepare.recorded");
  return {};
}

Status DirStore::prepare_guest(const v1::GuestSpec& spec) {
  TRY(check_uid(spec.uid()));
  if (guests_.has(spec.uid())) return reprepare(spec);
  std::vector<std::string> used{spec.kernel_image(), spec.initrd_image()};
  for (const auto& disk : spec.disks()) used.push_back(disk.image());
  Undo undo;
  {
    Lock lock(mutex_);
    for (const auto& uid : used) ++in_preparation_[uid];
  }
  undo.push([&] {
    Lock lock(mutex_);
    for (const auto& uid : used)
      if (--in_preparation_[uid] == 0) in_preparation_.erase(uid);
  });
  const std::string name = making_name(spec.uid());
  Undo remove;
  remove.push([&] {
    if (auto removed = making_.remove_tree(name); !removed.ok())
      log::warning("a half-made guest stays until the next start", removed.error());
  });
  const auto make = [&]() -> Status {
    at("prepare.begin");
    const Folder folder = TRY(making_.make_folder(name, kPassMode));
    TRY(fill_guest(spec, folder, data_ + "/making/" + name));
    TRY(making_.move_to(name, guests_, spec.uid()));
    at("prepare.visible");
    return guests_.sync();
  };
  auto made = make();
  constexpr std::int64_t kGuestFiles = 4 << 20;
  if (!made.ok()) return with_space(std::move(made).error(), kGuestFiles);
  return {};
}

Result<bool> DirStore::has_all_files(const v1::GuestSpec& spec) {
  const Folder folder = TRY(guest_folder(spec.uid()));
  for (const auto& disk : spec.disks())
    if (!folder.has(disk_file_name(disk))) return false;
  return !spec.has_seed() || folder.has("seed.iso");
}

Status DirStore::reprepare(const v1::GuestSpec& spec) {
  const v1::GuestSpec stored = TRY(guest(spec.uid()));
  if (!same_files(stored, spec))
    return Error{Code::AlreadyExists, "GUEST_PREPARED_OTHERWISE",
                 "the machine's folder is there with other disks or another seed"};
  if (!TRY(has_all_files(stored)))
    return Error{Code::DataLoss, "STORE_DAMAGED", "files of the machine are missing"};
  return same_spec(stored, spec) ? Status{} : update_spec(spec);
}

Result<bool> DirStore::is_prepared(const v1::GuestSpec& spec) {
  TRY(check_uid(spec.uid()));
  if (!guests_.has(spec.uid())) return false;
  if (!same_spec(TRY(guest(spec.uid())), spec)) return false;
  return has_all_files(spec);
}

Status DirStore::remove_folder(const Folder& from, std::string_view uid, std::string_view what) {
  const std::string name = making_name("gone." + std::string(uid));
  TRY(from.move_to(uid, making_, name));
  at(std::string(what) + ".hidden");
  TRY(from.sync());
  return making_.remove_tree(name);
}

Status DirStore::remove_guest(std::string_view uid) {
  TRY(check_uid(uid));
  if (!guests_.has(uid)) return {};
  return remove_folder(guests_, uid, "remove_guest");
}

Result<bool> DirStore::has_guest(std::string_view uid) {
  TRY(check_uid(uid));
  return guests_.has(uid);
}

Result<v1::GuestSpec> DirStore::guest(std::string_view uid) {
  const Folder folder = TRY(guest_folder(uid));
  v1::GuestSpec spec;
  const auto record = folder.read("spec.pb");
  if (!record.ok() || !spec.ParseFromString(record.value()) || spec.uid() != uid)
    return Error{Code::DataLoss, "STORE_DAMAGED",
                 "the specification of machine '" + std::string(uid) + "' cannot be read"};
  return spec;
}

Result<std::vector<std::string>> DirStore::guests() {
  std::vector<std::string> uids = TRY(guests_.list());
  std::erase_if(uids, [](const std::string& name) { return !is_uuid(name); });
  return uids;
}

Status DirStore::update_spec(const v1::GuestSpec& spec) {
  const Folder folder = TRY(guest_folder(spec.uid()));
  at("update_spec.begin");
  auto written = folder.write_durably("spec.pb", spec.SerializeAsString());
  at("update_spec.visible");
  if (!written.ok()) return with_space(std::move(written).error(), 1 << 20);
  return {};
}

Result<GuestDefinition> DirStore::definition_of(const v1::GuestSpec& spec) {
  TRY(guest_folder(spec.uid()));
  return make_definition(spec, data_ + "/guests/" + spec.uid(),
                         [this](std::string_view uid) { return image_path(uid); });
}

// --- Saved state ---

Result<std::string> DirStore::new_saved_state(std::string_view uid) {
  const Folder folder = TRY(guest_folder(uid));
  if (auto begun = saved_files::begin(folder); !begun.ok())
    return with_space(std::move(begun).error(), 1 << 20);
  return path_of_guest(uid, saved_files::kPart);
}

Result<std::string> DirStore::begun_saved_state(std::string_view uid) {
  const Folder folder = TRY(guest_folder(uid));
  if (!folder.has(saved_files::kPart))
    return Error{Code::NotFound, "NO_SAVED_STATE", "no save of the machine was begun"};
  return path_of_guest(uid, saved_files::kPart);
}

Status DirStore::keep_saved_state(std::string_view uid) {
  const Folder folder = TRY(guest_folder(uid));
  const v1::GuestSpec spec = TRY(guest(uid));
  auto kept = saved_files::keep(folder, spec, [this](auto point) { at(point); });
  if (!kept.ok()) return with_space(std::move(kept).error(), 1 << 20);
  return {};
}

Result<std::string> DirStore::saved_state(std::string_view uid) {
  const Folder folder = TRY(guest_folder(uid));
  if (!folder.has(saved_files::kState)) return saved_files::no_saved_state();
  return path_of_guest(uid, saved_files::kState);
}

Status DirStore::check_saved_state(std::string_view uid) {
  return saved_files::check(TRY(guest_folder(uid)));
}

Status DirStore::use_saved_state(std::string_view uid) {
  return saved_files::use(TRY(guest_folder(uid)), [this](auto point) { at(point); });
}

Status DirStore::free_used_state(std::string_view uid) {
  return saved_files::free_used(TRY(guest_folder(uid)), [this](auto point) { at(point); });
}

Result<bool> DirStore::was_state_used(std::string_view uid) {
  return saved_files::was_used(TRY(guest_folder(uid)));
}

Status DirStore::remove_saved_state(std::string_view uid) {
  return saved_files::clear(TRY(guest_folder(uid)));
}

std::string DirStore::path_of_guest(std::string_view uid, std::string_view file) const {
  return data_ + "/guests/" + std::string(uid) + "/" + std::string(file);
}

}  // namespace reeve::agent
