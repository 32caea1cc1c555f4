#include "cli/names.h"

#include "base/uuid.h"
#include "cli/output/resources.h"
#include "cli/select.h"

namespace reeve::cli {
namespace {

constexpr std::size_t kUuid = 36;

/// "hosts/{uid}" of "hosts/{uid}/hypervisors/{id}"; empty when `text` does not begin with one.
std::string resource_at(std::string_view text) {
  for (const std::string_view kind : {"hosts/", "vms/", "images/"})
    if (text.starts_with(kind) && is_uuid(text.substr(kind.size(), kUuid)))
      return std::string(text.substr(0, kind.size() + kUuid));
  return {};
}

}  // namespace

void Names::read(const std::string& resource, const std::string& kind) {
  if (!read_.insert(expect_ == Expect::Many ? kind : resource).second) return;
  const auto keep = [this](const auto& listed) {
    if (!listed.ok()) return;
    for (const auto& item : listed.value().items) by_resource_[item.name()] = item.display_name();
  };
  const auto keep_one = [&](auto& stub, auto method, auto request) {
    request.set_name(resource);
    const auto one = client_.call(method, stub, request);
    if (one.ok()) by_resource_[resource] = one.value().display_name();
  };
  const bool many = expect_ == Expect::Many;
  if (kind == "hosts") {
    if (many) return keep(all_hosts(client_, "", ""));
    keep_one(client_.hosts(), &v1::HostService::Stub::GetHost, v1::GetHostRequest());
  } else if (kind == "images") {
    if (many) return keep(all_images(client_, "", ""));
    keep_one(client_.images(), &v1::ImageService::Stub::GetImage, v1::GetImageRequest());
  } else {
    if (many) return keep(all_vms(client_, "", ""));
    keep_one(client_.vms(), &v1::VmService::Stub::GetVm, v1::GetVmRequest());
  }
}

std::string Names::of(const std::string& text) {
  const std::string resource = resource_at(text);
  if (resource.empty()) return text;
  if (!by_resource_.contains(resource)) read(resource, resource.substr(0, resource.find('/')));
  const auto found = by_resource_.find(resource);
  return found == by_resource_.end() || found->second.empty() ? short_uid(resource) : found->second;
}

std::string Names::in(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::string resource = resource_at(std::string_view(text).substr(at));
    if (resource.empty()) {
      out += text[at++];
    } else {
      out += of(resource);
      at += resource.size();
    }
  }
  return out;
}

}  // namespace reeve::cli
