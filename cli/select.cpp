#include "cli/select.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "base/uuid.h"
#include "cli/names.h"

namespace reeve::cli {
namespace {

template <class Stub, class Request, class Response, class Items>
auto all_pages(Client& client, Stub& stub,
               grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
               Request request, std::size_t limit, Items items_of)
    -> Result<Listed<std::decay_t<decltype(*items_of(std::declval<Response&>()).begin())>>> {
  Listed<std::decay_t<decltype(*items_of(std::declval<Response&>()).begin())>> all;
  request.set_page_size(static_cast<std::int32_t>(std::min<std::size_t>(limit, 1000)));
  do {
    Response page = TRY(client.call(method, stub, request));
    if (request.page_token().empty()) all.revision = page.revision();
    for (auto& item : items_of(page)) all.items.push_back(std::move(item));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.items.size() < limit);
  if (all.items.size() > limit) all.items.resize(limit);
  return all;
}

constexpr std::size_t kAll = SIZE_MAX;

bool is_glob(const std::string& text) {
  return text.find_first_of("*?") != std::string::npos;
}

/// What finding needs to know of one kind of resource.
template <class T>
struct Noun {
  std::string_view word{};        ///< "vm"
  std::string_view collection{};  ///< "vms/"
  Reason not_found;
  Result<Listed<T>> (*list)(Client& client, const std::string& filter,
                            const std::string& order_by) = nullptr;
  Result<T> (*get)(Client& client, const std::string& name) = nullptr;
};

template <class Request, class Stub, class T>
Result<T> get_one(Client& client, Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, T*),
                  const std::string& name) {
  Request request;
  request.set_name(name);
  return client.call(method, stub, request);
}

constexpr Noun<v1::VirtualMachine> kVms{
    "vm", "vms/", "VM_NOT_FOUND", all_vms, [](Client& client, const std::string& name) {
      return get_one(client, client.vms(), &v1::VmService::Stub::GetVm, name);
    }};
constexpr Noun<v1::Host> kHosts{
    "host", "hosts/", "HOST_NOT_FOUND", all_hosts, [](Client& client, const std::string& name) {
      return get_one(client, client.hosts(), &v1::HostService::Stub::GetHost, name);
    }};
constexpr Noun<v1::Image> kImages{
    "image", "images/", "IMAGE_NOT_FOUND", all_images, [](Client& client, const std::string& name) {
      return get_one(client, client.images(), &v1::ImageService::Stub::GetImage, name);
    }};

std::string named(const std::string& name_or_glob) {
  std::string filter = "display_name = \"";
  for (const char c : name_or_glob) {
    if (c == '"' || c == '\\') filter += '\\';
    filter += c;
  }
  return filter + '"';
}

/// For begins_a_uid() texts.
std::string with_uid(const std::string& prefix) {
  return "uid = \"" + prefix + "*\"";
}

bool begins_a_uid(std::string_view text) {
  constexpr std::size_t kShortest = 4;
  return text.size() >= kShortest &&
         text.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

/// All that `text` stands for: a display name or uid wins over a prefix.
template <class T>
Result<std::vector<T>> find(Client& client, const Noun<T>& noun, const std::string& text) {
  constexpr std::size_t kLongest = 255;
  if (text.empty() || text.size() > kLongest || !is_utf8(text)) return std::vector<T>{};
  if (text.starts_with(noun.collection)) return std::vector<T>{TRY(noun.get(client, text))};
  auto found = TRY(noun.list(client, named(text), "")).items;
  if (!found.empty() || !begins_a_uid(text)) return found;
  if (is_uuid(text)) {
    auto one = noun.get(client, std::string(noun.collection) + text);
    if (one.ok())
      found.push_back(std::move(one).value());
    else if (one.error().code() != Code::NotFound)
      return std::move(one).error();
    return found;
  }
  return TRY(noun.list(client, with_uid(text), "")).items;
}

template <class T>
Error nothing(const Noun<T>& noun, const std::string& text) {
  const std::string word(noun.word);
  return Error(Code::NotFound, noun.not_found, "no " + word + " matches '" + text + "'")
      .remedy("list them with: reeve " + word + " list");
}

template <class T>
Result<T> exactly_one(const Noun<T>& noun, std::vector<T> found, const std::string& text) {
  if (found.empty()) return nothing(noun, text);
  if (found.size() == 1) return std::move(found.front());
  std::string message = "'" + text + "' matches " + std::to_string(found.size()) + " objects:";
  for (const auto& item : found) message += "\n  " + item.display_name() + "  " + item.uid();
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message))
      .remedy("give a name or more of the uid");
}

}  // namespace

Result<Listed<v1::VirtualMachine>> all_vms(Client& client, const std::string& filter,
                                           const std::string& order_by) {
  v1::ListVmsRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.vms(), &v1::VmService::Stub::ListVms, request, kAll,
      [](v1::ListVmsResponse & page) -> auto& { return *page.mutable_vms(); });
}

Result<Listed<v1::Host>> all_hosts(Client& client, const std::string& filter,
                                   const std::string& order_by) {
  v1::ListHostsRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.hosts(), &v1::HostService::Stub::ListHosts, request, kAll,
      [](v1::ListHostsResponse & page) -> auto& { return *page.mutable_hosts(); });
}

Result<Listed<v1::Image>> all_images(Client& client, const std::string& filter,
                                     const std::string& order_by) {
  v1::ListImagesRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.images(), &v1::ImageService::Stub::ListImages, request, kAll,
      [](v1::ListImagesResponse & page) -> auto& { return *page.mutable_images(); });
}

Result<Listed<v1::Hypervisor>> all_hypervisors(Client& client, const std::string& host,
                                               const std::string& filter,
                                               const std::string& order_by) {
  v1::ListHypervisorsRequest request;
  request.set_parent(host);
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.hypervisors(), &v1::HypervisorService::Stub::ListHypervisors, request, kAll,
      [](v1::ListHypervisorsResponse & page) -> auto& { return *page.mutable_hypervisors(); });
}

Result<Listed<v1::Job>> newest_jobs(Client& client, const std::string& filter, std::size_t limit,
                                    const std::string& order_by) {
  v1::ListJobsRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.jobs(), &v1::JobService::Stub::ListJobs, request, limit,
      [](v1::ListJobsResponse & page) -> auto& { return *page.mutable_jobs(); });
}

Result<v1::VirtualMachine> select_vm(Client& client, const std::string& text) {
  return exactly_one(kVms, TRY(find(client, kVms, text)), text);
}

Result<std::vector<v1::VirtualMachine>> select_vms(Client& client,
                                                   const std::vector<std::string>& texts) {
  std::vector<v1::VirtualMachine> chosen;
  std::set<std::string> seen;
  for (const auto& text : texts) {
    auto found = TRY(find(client, kVms, text));
    if (found.empty() || !is_glob(text)) found = {TRY(exactly_one(kVms, std::move(found), text))};
    for (auto& vm : found)
      if (seen.insert(vm.uid()).second) chosen.push_back(std::move(vm));
  }
  return chosen;
}

Result<v1::Host> select_host(Client& client, const std::string& text) {
  return exactly_one(kHosts, TRY(find(client, kHosts, text)), text);
}

Result<v1::Image> select_image(Client& client, const std::string& text) {
  return exactly_one(kImages, TRY(find(client, kImages, text)), text);
}

Result<v1::Hypervisor> select_hypervisor(Client& client, const std::string& text) {
  const auto get = [&](const std::string& name) {
    return get_one(client, client.hypervisors(), &v1::HypervisorService::Stub::GetHypervisor, name);
  };
  if (text.starts_with("hosts/")) return get(text);
  if (const auto slash = text.find('/'); slash != std::string::npos) {
    const auto host = TRY(select_host(client, text.substr(0, slash)));
    return get(host.name() + "/hypervisors/" + text.substr(slash + 1));
  }
  std::vector<v1::Hypervisor> found;
  for (auto& item : TRY(all_hypervisors(client, "", "", "")).items)
    if (item.id() == text) found.push_back(std::move(item));
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error(Code::NotFound, "HYPERVISOR_NOT_FOUND", "no hypervisor matches '" + text + "'")
        .remedy("list them with: reeve hypervisor list");
  std::string message = "'" + text + "' is on " + std::to_string(found.size()) + " hosts:";
  Names names(client, Names::Expect::Many);
  for (const auto& item : found) message += "\n  " + names.of(item.name()) + "/" + text;
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message)).remedy("give HOST/" + text);
}

Result<std::string> select_resource(Client& client, const std::string& text) {
  if (text.find('/') != std::string::npos) return text;
  std::vector<std::string> found;
  const auto take = [&found](const auto& items) {
    for (const auto& item : items) found.push_back(item.name());
  };
  take(TRY(find(client, kVms, text)));
  take(TRY(find(client, kHosts, text)));
  take(TRY(find(client, kImages, text)));
  if (found.empty() && begins_a_uid(text))
    if (const auto job = select_job(client, text); job.ok()) found.push_back(job.value().name());
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error(Code::NotFound, "RESOURCE_NOT_FOUND",
                 "no machine, host, image or job matches '" + text + "'")
        .remedy("what is gone is named by kind and uid: vms/UID");
  return Error(Code::InvalidArgument, "AMBIGUOUS",
               "'" + text + "' matches " + std::to_string(found.size()) + " objects:\n  " +
                   join(found, "\n  "))
      .remedy("give one of these names");
}

Result<v1::Job> select_job(Client& client, const std::string& text) {
  constexpr std::size_t kUuid = 36;
  if (text.starts_with("jobs/") || text.size() == kUuid) {
    v1::GetJobRequest request;
    request.set_name(text.starts_with("jobs/") ? text : "jobs/" + text);
    return client.call(&v1::JobService::Stub::GetJob, client.jobs(), request);
  }
  std::vector<v1::Job> found;
  if (begins_a_uid(text)) found = TRY(newest_jobs(client, with_uid(text), 1000)).items;
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error(Code::NotFound, "JOB_NOT_FOUND", "no job matches '" + text + "'")
        .remedy("list them with: reeve job list");
  std::string message = "'" + text + "' matches " + std::to_string(found.size()) + " jobs:";
  for (const auto& job : found) message += "\n  " + job.uid() + "  " + job.kind();
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message))
      .remedy("give more of the uid");
}

Result<bool> matches(Client& client, const v1::Event& event, const std::string& filter) {
  const auto listed = [&event](const auto& all) {
    return std::any_of(all.items.begin(), all.items.end(),
                       [&event](const auto& item) { return item.name() == event.resource(); });
  };
  const auto& name = event.resource();
  const auto one = narrowed(filter, "uid = " + name.substr(name.find('/') + 1));
  switch (event.object_case()) {
    case v1::Event::kVm: return listed(TRY(all_vms(client, one, "")));
    case v1::Event::kHost: return listed(TRY(all_hosts(client, one, "")));
    case v1::Event::kImage: return listed(TRY(all_images(client, one, "")));
    case v1::Event::kJobObject: return listed(TRY(newest_jobs(client, one, 1)));
    default: return true;
  }
}

std::string narrowed(const std::string& filter, const std::string& restriction) {
  return trim(filter).empty() ? restriction : filter + " AND " + restriction;
}

}  // namespace reeve::cli
