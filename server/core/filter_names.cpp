#include "server/core/filter_names.h"

#include "db/repo/host_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/list_request.h"
#include "server/app/words.h"

namespace reeve::server {
namespace {

std::string quoted(const std::string& value) {
  return "'" + value.substr(0, 64) + "'";
}

/// Nothing when nobody is called so.
template <class Reader>
Result<std::string> uid_by_name(db::ReadTransaction& tx, const std::string& name) {
  const auto row = Reader(tx).get_by_name(name);
  if (row.ok()) return row.value().uid;
  if (row.error().code() == Code::NotFound) return std::string();
  return row.error();
}

bool is_resource_name(const std::string& value) {
  return value.find('/') != value.npos;
}

}  // namespace

Result<std::string> host_in_filter(db::ReadTransaction& tx, const std::string& value) {
  if (is_resource_name(value)) return uid_of(value, "hosts", "filter");
  auto uid = TRY(uid_by_name<db::HostReader>(tx, value));
  if (uid.empty()) return bad_filter("names host " + quoted(value) + ", which there is not");
  return uid;
}

Result<std::string> target_in_filter(db::ReadTransaction& tx, const std::string& value) {
  if (is_resource_name(value)) {
    const std::string collection = value.substr(0, value.find('/'));
    if (collection == "vms" || collection == "images") return uid_of(value, collection, "filter");
    return bad_filter("has a target that is neither vms/{uid} nor images/{uid}");
  }
  auto vm = TRY(uid_by_name<db::VmReader>(tx, value));
  auto image = TRY(uid_by_name<db::ImageReader>(tx, value));
  if (vm.empty() && image.empty())
    return bad_filter("has the target " + quoted(value) +
                      ", which is no machine and no image; what is gone has its uid only");
  if (!vm.empty() && !image.empty())
    return bad_filter("has the target " + quoted(value) +
                      ", which is a machine and an image: give vms/" + vm + " or images/" + image);
  return vm.empty() ? image : vm;
}

}  // namespace reeve::server
