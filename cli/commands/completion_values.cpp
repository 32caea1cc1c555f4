#include "cli/commands/completion_values.h"

#include <array>
#include <set>

#include "base/text.h"
#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

constexpr auto kBudget = std::chrono::milliseconds(300);

/// Reads pages until the last one or the end of the budget: what has come by then is offered.
template <class Stub, class Request, class Response, class Items>
std::vector<std::string> live_names(Client& client, Stub& stub,
                                    grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                                    const std::string& filter, Items add_names) {
  const auto deadline = std::chrono::system_clock::now() + kBudget;
  Request request;
  request.set_filter(filter);
  request.set_page_size(1000);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    client.prepare(context, std::chrono::seconds(0));
    context.set_deadline(deadline);
    Response response;
    if (!(stub.*method)(&context, request, &response).ok()) return names;
    add_names(response, names);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

/// A filter for the names that begin with `current`; empty when none can.
std::string beginning_with(const std::string& current) {
  // A name has no character that means something in a filter.
  if (current.find_first_of("\"\\") != std::string::npos || !is_utf8(current)) return {};
  return "display_name = \"" + current + "*\"";
}

using Names = std::vector<std::string>;

Names vms(Client& client, const Meant& meant) {
  const auto filter = beginning_with(meant.current);
  if (filter.empty()) return {};
  return live_names(client, client.vms(), &v1::VmService::Stub::ListVms, filter,
                    [](const v1::ListVmsResponse& page, Names& names) {
                      for (const auto& vm : page.vms()) names.push_back(vm.display_name());
                    });
}

Names hosts(Client& client, const Meant& meant) {
  const auto filter = beginning_with(meant.current);
  if (filter.empty()) return {};
  return live_names(client, client.hosts(), &v1::HostService::Stub::ListHosts, filter,
                    [](const v1::ListHostsResponse& page, Names& names) {
                      for (const auto& host : page.hosts()) names.push_back(host.display_name());
                    });
}

Names images_of(Client& client, const Meant& meant, const std::set<v1::Image::Kind>& kinds) {
  const auto filter = beginning_with(meant.current);
  if (filter.empty()) return {};
  return live_names(client, client.images(), &v1::ImageService::Stub::ListImages, filter,
                    [&kinds](const v1::ListImagesResponse& page, Names& names) {
                      for (const auto& image : page.images())
                        if (kinds.empty() || kinds.contains(image.kind()))
                          names.push_back(image.display_name());
                    });
}

Names images(Client& client, const Meant& meant) {
  return images_of(client, meant, {});
}
Names disks(Client& client, const Meant& meant) {
  return images_of(client, meant, {v1::Image::KIND_DISK, v1::Image::KIND_ISO});
}
Names kernels(Client& client, const Meant& meant) {
  return images_of(client, meant, {v1::Image::KIND_KERNEL});
}
Names initrds(Client& client, const Meant& meant) {
  return images_of(client, meant, {v1::Image::KIND_INITRD});
}

/// HOST/ID of all, or their ids only.
Names hypervisors_of(Client& client, bool with_host) {
  return live_names(
      client, client.hosts(), &v1::HostService::Stub::ListHosts, "",
      [with_host](const v1::ListHostsResponse& page, Names& names) {
        for (const auto& host : page.hosts())
          for (const auto& hypervisor : host.hypervisors())
            names.push_back((with_host ? host.display_name() + "/" : "") + hypervisor.id());
      });
}

Names hypervisors(Client& client, const Meant&) {
  return hypervisors_of(client, true);
}
Names hypervisor_ids(Client& client, const Meant&) {
  return hypervisors_of(client, false);
}

/// By their short uids.
Names jobs_in(Client& client, const std::string& filter) {
  return live_names(client, client.jobs(), &v1::JobService::Stub::ListJobs, filter,
                    [](const v1::ListJobsResponse& page, Names& names) {
                      for (const auto& job : page.jobs()) names.push_back(short_uid(job.uid()));
                    });
}

Names jobs(Client& client, const Meant&) {
  return jobs_in(client, "");
}
Names active_jobs(Client& client, const Meant&) {
  return jobs_in(client, "active = true");
}
Names parked_jobs(Client& client, const Meant&) {
  return jobs_in(client, "state = PARKED");
}

Names choices(Client& client, const Meant& meant) {
  return live_names(client, client.jobs(), &v1::JobService::Stub::ListJobs, "state = PARKED",
                    [&meant](const v1::ListJobsResponse& page, Names& names) {
                      for (const auto& job : page.jobs())
                        if (job.uid().starts_with(meant.job) || job.name() == meant.job)
                          for (const auto& choice : job.choices()) names.push_back(choice.id());
                    });
}

Names tokens(Client& client, const Meant&) {
  grpc::ClientContext context;
  client.prepare(context, std::chrono::seconds(0));
  context.set_deadline(std::chrono::system_clock::now() + kBudget);
  v1::ListApiTokensRequest request;
  request.set_page_size(1000);
  v1::ListApiTokensResponse response;
  Names names;
  if (client.server().ListApiTokens(&context, request, &response).ok())
    for (const auto& token : response.tokens()) names.push_back(token.display_name());
  return names;
}

Names contexts() {
  Names names;
  if (const auto known = load_contexts(contexts_path()); known.ok())
    for (const auto& [name, context] : known.value().by_name) names.push_back(name);
  return names;
}

/// The one kind of place that needs no server, by a word instead of a function.
constexpr std::string_view kContexts = ":contexts";

struct Place {
  std::string_view command{};  ///< empty for all commands
  std::string_view option{};
  Names (*live)(Client&, const Meant&) = nullptr;
  std::string_view words{};  ///< separated by blanks, when not live
};

constexpr auto kPlaces = std::to_array<Place>({
    {"", "--output", nullptr, "table wide json yaml csv name"},
    {"", "--context", nullptr, kContexts},
    {"context use", "name", nullptr, kContexts},
    {"context forget", "name", nullptr, kContexts},
    {"completion", "shell", nullptr, "bash zsh fish"},
    {"login", "--token-file", nullptr, kFilesHere},
    {"", "vm", vms, ""},
    {"", "host", hosts, ""},
    {"", "--host", hosts, ""},
    {"", "image", images, ""},
    {"", "hypervisor", hypervisors, ""},
    {"job cancel", "job", active_jobs, ""},
    {"job wait", "job", active_jobs, ""},
    {"job resolve", "job", parked_jobs, ""},
    {"job resolve", "choice", choices, ""},
    {"", "job", jobs, ""},
    {"vm create", "--image", disks, ""},
    {"vm create", "--kernel", kernels, ""},
    {"vm create", "--initrd", initrds, ""},
    {"vm create", "--hypervisor", hypervisor_ids, ""},
    {"vm create", "--nic", nullptr, "user none"},
    {"vm create", "--cloud-init", nullptr, kFilesHere},
    {"vm create", "--meta-data", nullptr, kFilesHere},
    {"vm create", "--network-config", nullptr, kFilesHere},
    {"image import", "file", nullptr, kFilesHere},
    {"image import", "--kind", nullptr, "disk kernel initrd iso"},
    {"image import", "--format", nullptr, "raw qcow2"},
    {"event list", "--kind", nullptr, "hosts vms images jobs"},
    {"event watch", "--kind", nullptr, "hosts vms images jobs"},
    {"server token create", "--role", nullptr, "administrator editor operator viewer"},
    {"server token delete", "name", tokens, ""},
    {"hypervisor list", "--order-by", nullptr, "id"},
    {"job list", "--order-by", nullptr, "create_time"},
    {"event list", "--order-by", nullptr, "revision"},
    {"event audit", "--order-by", nullptr, "sequence"},
    {"", "--order-by", nullptr, "display_name create_time update_time"},
});

}  // namespace

std::vector<std::string> values_for(Session& session, const Meant& meant) {
  for (const auto& place : kPlaces) {
    if (!place.command.empty() && place.command != meant.command) continue;
    if (place.option != meant.option) continue;
    if (place.words == kContexts) return contexts();
    Names names;
    if (place.live == nullptr) {
      for (const auto word : split(place.words, ' ')) names.emplace_back(word);
    } else if (auto client = session.client(); client.ok()) {
      names = place.live(*client.value(), meant);
    }
    return names;
  }
  return {};
}

}  // namespace reeve::cli
