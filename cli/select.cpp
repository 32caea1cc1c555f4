#include "cli/select.h"

#include <set>

#include "base/text.h"

namespace reeve::cli {
namespace {

template <class Stub, class Request, class Response, class Items>
auto all_pages(Client& client, Stub& stub,
               grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
               Request request, std::size_t limit, Items items_of)
    -> Result<std::vector<std::decay_t<decltype(*items_of(std::declval<Response&>()).begin())>>> {
  std::vector<std::decay_t<decltype(*items_of(std::declval<Response&>()).begin())>> all;
  request.set_page_size(static_cast<std::int32_t>(std::min<std::size_t>(limit, 1000)));
  do {
    Response page = TRY(client.call(method, stub, request));
    for (auto& item : items_of(page)) all.push_back(std::move(item));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.size() < limit);
  if (all.size() > limit) all.resize(limit);
  return all;
}

constexpr std::size_t kAll = SIZE_MAX;

bool is_glob(const std::string& text) {
  return text.find_first_of("*?") != std::string::npos;
}

/// An exact display name or uid wins over prefixes and globs.
template <class T>
std::vector<T> matches(const std::vector<T>& items, const std::string& text) {
  std::vector<T> exact, loose;
  for (const auto& item : items) {
    if (item.display_name() == text || item.uid() == text || item.name() == text)
      exact.push_back(item);
    else if (is_glob(text) ? glob_match(text, item.display_name())
                           : text.size() >= 4 && item.uid().starts_with(text))
      loose.push_back(item);
  }
  return exact.empty() ? loose : exact;
}

template <class T>
Error nothing(Reason reason, const char* noun, const std::string& text) {
  return Error(Code::NotFound, reason, std::string("no ") + noun + " matches '" + text + "'")
      .remedy(std::string("list them with: reeve ") + noun + " list");
}

template <class T>
Result<T> exactly_one(std::vector<T> found, Reason reason, const char* noun,
                      const std::string& text) {
  if (found.empty()) return nothing<T>(reason, noun, text);
  if (found.size() == 1) return std::move(found.front());
  std::string message = "'" + text + "' matches " + std::to_string(found.size()) + " objects:";
  for (const auto& item : found) message += "\n  " + item.display_name() + "  " + item.uid();
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message))
      .remedy("give a name or more of the uid");
}

}  // namespace

Result<std::vector<v1::VirtualMachine>> all_vms(Client& client, const std::string& filter,
                                                const std::string& order_by) {
  v1::ListVmsRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.vms(), &v1::VmService::Stub::ListVms, request, kAll,
      [](v1::ListVmsResponse & page) -> auto& { return *page.mutable_vms(); });
}

Result<std::vector<v1::Host>> all_hosts(Client& client, const std::string& filter,
                                        const std::string& order_by) {
  v1::ListHostsRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.hosts(), &v1::HostService::Stub::ListHosts, request, kAll,
      [](v1::ListHostsResponse & page) -> auto& { return *page.mutable_hosts(); });
}

Result<std::vector<v1::Image>> all_images(Client& client, const std::string& filter,
                                          const std::string& order_by) {
  v1::ListImagesRequest request;
  request.set_filter(filter);
  request.set_order_by(order_by);
  return all_pages(
      client, client.images(), &v1::ImageService::Stub::ListImages, request, kAll,
      [](v1::ListImagesResponse & page) -> auto& { return *page.mutable_images(); });
}

Result<std::vector<v1::Job>> newest_jobs(Client& client, const std::string& filter,
                                         std::size_t limit) {
  v1::ListJobsRequest request;
  request.set_filter(filter);
  return all_pages(
      client, client.jobs(), &v1::JobService::Stub::ListJobs, request, limit,
      [](v1::ListJobsResponse & page) -> auto& { return *page.mutable_jobs(); });
}

Result<v1::VirtualMachine> select_vm(Client& client, const std::string& text) {
  if (text.starts_with("vms/")) {
    v1::GetVmRequest request;
    request.set_name(text);
    return client.call(&v1::VmService::Stub::GetVm, client.vms(), request);
  }
  return exactly_one(matches(TRY(all_vms(client, "", "")), text), "VM_NOT_FOUND", "vm", text);
}

Result<std::vector<v1::VirtualMachine>> select_vms(Client& client,
                                                   const std::vector<std::string>& texts) {
  std::vector<v1::VirtualMachine> chosen;
  std::set<std::string> seen;
  const auto everything = TRY(all_vms(client, "", ""));
  for (const auto& text : texts) {
    auto found = matches(everything, text);
    if (found.empty()) return nothing<v1::VirtualMachine>("VM_NOT_FOUND", "vm", text);
    if (!is_glob(text)) {
      auto one = TRY(exactly_one(std::move(found), "VM_NOT_FOUND", "vm", text));
      found = {std::move(one)};
    }
    for (auto& vm : found)
      if (seen.insert(vm.uid()).second) chosen.push_back(std::move(vm));
  }
  return chosen;
}

Result<v1::Host> select_host(Client& client, const std::string& text) {
  return exactly_one(matches(TRY(all_hosts(client, "", "")), text), "HOST_NOT_FOUND", "host", text);
}

Result<v1::Image> select_image(Client& client, const std::string& text) {
  return exactly_one(matches(TRY(all_images(client, "", "")), text), "IMAGE_NOT_FOUND", "image",
                     text);
}

Result<v1::Job> select_job(Client& client, const std::string& text) {
  constexpr std::size_t kUuid = 36;
  if (text.starts_with("jobs/") || text.size() == kUuid) {
    v1::GetJobRequest request;
    request.set_name(text.starts_with("jobs/") ? text : "jobs/" + text);
    return client.call(&v1::JobService::Stub::GetJob, client.jobs(), request);
  }
  std::vector<v1::Job> found;
  for (auto& job : TRY(newest_jobs(client, "", 1000)))
    if (text.size() >= 4 && job.uid().starts_with(text)) found.push_back(std::move(job));
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error(Code::NotFound, "JOB_NOT_FOUND", "no job matches '" + text + "'")
        .remedy("list them with: reeve job list");
  std::string message = "'" + text + "' matches " + std::to_string(found.size()) + " jobs:";
  for (const auto& job : found) message += "\n  " + job.uid() + "  " + job.kind();
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message))
      .remedy("give more of the uid");
}

}  // namespace reeve::cli
