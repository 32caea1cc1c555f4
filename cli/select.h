// cli/select.h - finds resources by what people type: display name, uid, uid prefix, resource name,
// or glob.
//
// All of it is looked for by the server.
// NotFound/*_NOT_FOUND when nothing matches. InvalidArgument/AMBIGUOUS listing the matches when a
// prefix or glob matches several and the command takes one.
#pragma once

#include <string>
#include <vector>

#include "cli/client.h"

namespace reeve::cli {

Result<v1::VirtualMachine> select_vm(Client& client, const std::string& text);
/// All matches of all arguments, without repeats, in order.
Result<std::vector<v1::VirtualMachine>> select_vms(Client& client,
                                                   const std::vector<std::string>& texts);
Result<v1::Host> select_host(Client& client, const std::string& text);
Result<v1::Image> select_image(Client& client, const std::string& text);
/// By resource name, HOST/ID, or an id that one host only has.
Result<v1::Hypervisor> select_hypervisor(Client& client, const std::string& text);
/// The resource name of a machine, host or image, or of a job given by its uid; a resource name
/// itself is taken as it is. NotFound/RESOURCE_NOT_FOUND.
Result<std::string> select_resource(Client& client, const std::string& text);
/// Jobs have no display name: uid, uid prefix or resource name.
Result<v1::Job> select_job(Client& client, const std::string& text);

template <class T>
struct Listed {
  std::vector<T> items{};
  std::int64_t revision = 0;  ///< of the first page: a watch from here misses nothing
};

/// Whole lists, page by page.
Result<Listed<v1::VirtualMachine>> all_vms(Client& client, const std::string& filter,
                                           const std::string& order_by);
Result<Listed<v1::Host>> all_hosts(Client& client, const std::string& filter,
                                   const std::string& order_by);
Result<Listed<v1::Image>> all_images(Client& client, const std::string& filter,
                                     const std::string& order_by);
/// Those of `host` ("hosts/{uid}"), of all hosts when it is empty.
Result<Listed<v1::Hypervisor>> all_hypervisors(Client& client, const std::string& host,
                                               const std::string& filter,
                                               const std::string& order_by);
/// At most `limit` jobs, the newest unless `order_by` says otherwise.
Result<Listed<v1::Job>> newest_jobs(Client& client, const std::string& filter, std::size_t limit,
                                    const std::string& order_by = "");

/// Whether the object of a change is in the list of its kind that `filter` gives now.
Result<bool> matches(Client& client, const v1::Event& event, const std::string& filter);

/// A filter with another restriction, which holds beside it.
std::string narrowed(const std::string& filter, const std::string& restriction);

}  // namespace reeve::cli
