// Lists of the server's core over a real database: what filters and orders promise.
#include <algorithm>
#include <map>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/uuid.h"
#include "tests/sim/scenario.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;

namespace {

/// Machines a, b (running) and c, labelled env=prod, env=test and nothing, made a minute apart.
struct Estate {
  Estate() : cluster(1, 2) {
    log::set_sink([](std::string_view) {});
    cluster.boot();
    image =
        succeed(cluster, import_image(cluster, "base", fresh(), "hosts/" + cluster.hosts[0]->uid));
    for (const std::string name : {"a", "b", "c"}) {
      cluster.world.run_for(1min);
      make(name);
    }
  }
  std::string fresh() { return new_uuid(cluster.world.random()); }

  void make(const std::string& name) {
    std::map<std::string, std::string> labels;
    if (name == "a") labels["env"] = "prod";
    if (name == "b") labels["env"] = "test";
    succeed(cluster, create_vm(cluster, name, image, name == "b", fresh(), labels));
  }

  /// The names, page by page; or the reason of a refusal.
  std::string machines(const std::string& filter, const std::string& order_by = "") {
    v1::ListVmsRequest request;
    request.set_filter(filter);
    request.set_order_by(order_by);
    request.set_page_size(1);
    std::string names;
    do {
      v1::ListVmsResponse page;
      const auto outcome = cluster.core().vms().list(cluster.caller, request, page);
      if (!outcome.ok()) return std::string(outcome.error().reason());
      for (const auto& vm : page.vms()) names += vm.display_name();
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
  std::string refusal(const std::string& filter) {
    v1::ListVmsRequest request;
    request.set_filter(filter);
    v1::ListVmsResponse page;
    const auto outcome = cluster.core().vms().list(cluster.caller, request, page);
    return outcome.ok() ? std::string() : outcome.error().message();
  }
  /// How many jobs.
  int jobs(const std::string& filter) {
    v1::ListJobsRequest request;
    request.set_filter(filter);
    const auto page = cluster.core().jobs().list(cluster.caller, request);
    INFO(filter);
    REQUIRE(page.ok());
    return page.value().jobs_size();
  }
  /// All events of a request, `size` a page.
  std::vector<v1::Event> events(v1::ListEventsRequest request, int size = 3) {
    request.set_page_size(size);
    std::vector<v1::Event> all;
    do {
      const auto page = cluster.core().events().list(cluster.caller, request);
      if (!page.ok()) FAIL(page.error().message());
      all.insert(all.end(), page.value().events().begin(), page.value().events().end());
      request.set_page_token(page.value().next_page_token());
    } while (!request.page_token().empty());
    return all;
  }
  std::vector<v1::Event> events(const std::string& filter, const std::string& order_by = "") {
    v1::ListEventsRequest request;
    request.set_filter(filter);
    request.set_order_by(order_by);
    return events(request);
  }
  v1::VirtualMachine vm(const std::string& name) {
    for (const auto& one : cluster.vms())
      if (one.display_name() == name) return one;
    FAIL("no machine " << name);
    return {};
  }

  Cluster cluster;
  std::string image{};
};

std::string time_of(const google::protobuf::Timestamp& time) {
  return to_rfc3339(WallTime(std::chrono::seconds(time.seconds())));
}

std::vector<std::int64_t> revisions(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> out;
  for (const auto& event : events) out.push_back(event.revision());
  return out;
}

}  // namespace

TEST_CASE("machines are listed by every key, alone, negated and together", "[core]") {
  Estate s;
  CHECK(s.machines("") == "abc");
  CHECK(s.machines("state = RUNNING") == "b");
  CHECK(s.machines("state != running") == "ac");
  CHECK(s.machines("NOT state = RUNNING AND display_name != \"c*\"") == "a");
  CHECK(s.machines("state = RUNNING OR display_name = a") == "ab");
  CHECK(s.machines("display_name = a OR display_name = b AND state = STOPPED") == "a");
  CHECK(s.machines("state = STOPPED AND (display_name = a OR display_name = b)") == "a");
  CHECK(s.machines("-(display_name = a OR state = RUNNING)") == "c");
  const auto b = s.vm("b");
  CHECK(s.machines("uid = " + b.uid()) == "b");
  CHECK(s.machines("uid = \"" + b.uid().substr(0, 8) + "*\"") == "b");
  CHECK(s.machines("uid != " + b.uid()) == "ac");
  CHECK(s.machines("host = host0") == "abc");
  CHECK(s.machines("host != host1 AND NOT state = RUNNING") == "ac");
  CHECK(s.machines("host = host1 OR host = hosts/" + s.cluster.hosts[0]->uid) == "abc");
  const auto since_b = "\"" + time_of(b.create_time()) + "\"";
  CHECK(s.machines("create_time >= " + since_b) == "bc");
  CHECK(s.machines("create_time < " + since_b, "create_time desc") == "a");
  CHECK(s.machines("NOT create_time >= " + since_b) == "a");
  CHECK(s.machines("create_time > 2000-01-01T00:00:00+02:00", "update_time") == "abc");
}

TEST_CASE("labels are asked for like anything else", "[core]") {
  Estate s;
  CHECK(s.machines("label.env = prod") == "a");
  CHECK(s.machines("label.env != prod") == "bc");
  CHECK(s.machines("label.env:*") == "ab");
  CHECK(s.machines("NOT label.env:*") == "c");
  CHECK(s.machines("label.env:* AND label.env != prod") == "b");
  CHECK(s.machines("label.env = prod OR label.env = test") == "ab");
  CHECK(s.machines("label.env = prod OR state = RUNNING") == "ab");
  CHECK(s.machines("label.env = prod OR display_name = \"c*\" AND state = STOPPED") == "ac");
  CHECK(s.machines("NOT (label.env:* AND state = RUNNING)") == "ac");
  CHECK(s.machines("label.none:*").empty());
  CHECK(s.machines("label.none = ''").empty());
}

TEST_CASE("a filter that cannot be meant is refused with what could be", "[core]") {
  Estate s;
  for (const auto* bad :
       {"nosuch = 1", "state = NONSENSE", "state = running OR state = nonsense", "state > RUNNING",
        "state:*", "display_name < b", "label.env > a", "label.env:prod", "create_time = yesterday",
        "create_time > 2026-11-01", "create_time > 2026-13-01T00:00:00Z", "create_time > ''",
        "create_time > 2026-11-01T00:00:00.0000001Z", "create_time:*", "host = nobody",
        "state = RUNNING OR (label.env = prod AND host = host0)", "revision > 3"})
    CHECK(s.machines(bad) == "BAD_FILTER");
  CHECK(s.machines("host = vms/" + s.fresh()) == "BAD_FIELD");
  CHECK(s.refusal("nosuch = 1").find("known are uid, state, host, display_name") !=
        std::string::npos);
  CHECK(s.refusal("create_time = yesterday").find("2026-11-01T00:00:00Z") != std::string::npos);
  CHECK(s.refusal("state > RUNNING").find("only by = and !=") != std::string::npos);
  CHECK(s.refusal("label.env:prod").find(":*") != std::string::npos);
}

TEST_CASE("a page token belongs to the filter it was given for", "[core]") {
  Estate s;
  v1::ListVmsRequest request;
  request.set_page_size(1);
  request.set_filter("state = STOPPED OR state = RUNNING");
  v1::ListVmsResponse page;
  REQUIRE(s.cluster.core().vms().list(s.cluster.caller, request, page).ok());
  request.set_page_token(page.next_page_token());
  request.set_filter("state = STOPPED AND NOT state = RUNNING");
  CHECK(s.cluster.core().vms().list(s.cluster.caller, request, page).error().reason() ==
        "BAD_PAGE_TOKEN");
  v1::ListEventsRequest events;
  events.set_page_size(1);
  events.set_filter("kind = vms");
  const auto first = s.cluster.core().events().list(s.cluster.caller, events).value();
  events.set_page_token(first.next_page_token());
  for (const auto& [filter, order_by] :
       {std::pair("kind = jobs", ""), std::pair("kind = vms", "revision desc")}) {
    events.set_filter(filter);
    events.set_order_by(order_by);
    CHECK(s.cluster.core().events().list(s.cluster.caller, events).error().reason() ==
          "BAD_PAGE_TOKEN");
  }
}

TEST_CASE("jobs are listed by kind, target, actor and time", "[core]") {
  Estate s;
  const int all = s.jobs("");
  REQUIRE(all == 4);
  CHECK(s.jobs("kind = CreateVm") == 3);
  CHECK(s.jobs("kind != CreateVm") == 1);
  CHECK(s.jobs("kind = \"Create*\" OR kind = ImportImage") == 4);
  CHECK(s.jobs("target = a OR target = b") == 2);
  CHECK(s.jobs("NOT (target = a OR target = b)") == 2);
  CHECK(s.jobs("actor = tokens/sim") == 4);
  CHECK(s.jobs("actor != \"tokens/*\"") == 0);
  CHECK(s.jobs("active = true OR state = FAILED") == 0);
  CHECK(s.jobs("active != true AND state != FAILED") == 4);
  const auto since_b = time_of(s.vm("b").create_time());
  CHECK(s.jobs("create_time >= " + since_b) == 2);
  CHECK(s.jobs("end_time < " + since_b) == 2);
  CHECK(s.jobs("end_time >= " + since_b + " AND target = b") == 1);
}

TEST_CASE("hosts, images and hypervisors take the same filters", "[core]") {
  Estate s;
  const auto hosts = [&](const std::string& filter) {
    v1::ListHostsRequest request;
    request.set_filter(filter);
    return s.cluster.core().hosts().list(s.cluster.caller, request).value().hosts_size();
  };
  CHECK(hosts("state = CONNECTED OR state = ENROLLED") == 2);
  CHECK(hosts("display_name != host0 AND create_time > 2000-01-01T00:00:00Z") == 1);
  CHECK(hosts("uid = " + s.cluster.hosts[0]->uid + " OR label.rack:*") == 1);
  const auto images = [&](const std::string& filter) {
    v1::ListImagesRequest request;
    request.set_filter(filter);
    return s.cluster.core().images().list(s.cluster.caller, request).value().images_size();
  };
  CHECK(images("kind = DISK OR kind = ISO AND state != INCOMPLETE") == 1);
  CHECK(images("NOT kind = DISK") == 0);
  CHECK(images("update_time < 2000-01-01T00:00:00Z OR label.a = b") == 0);
  const auto hypervisors = [&](const std::string& filter) {
    v1::ListHypervisorsRequest request;
    request.set_filter(filter);
    return s.cluster.core()
        .hypervisors()
        .list(s.cluster.caller, request)
        .value()
        .hypervisors_size();
  };
  CHECK(hypervisors("kind = SIM OR kind = CORE") == 2);
  CHECK(hypervisors("kind != SIM") == 0);
  CHECK(hypervisors("host = host1") == 1);
  CHECK(hypervisors("host != host1 AND available = true") == 1);
  CHECK(hypervisors("available != true") == 0);
}

TEST_CASE("events are listed by what they show, in both directions", "[core]") {
  Estate s;
  const auto all = s.events("");
  REQUIRE(all.size() > 20);
  auto backwards = revisions(s.events("", "revision desc"));
  std::ranges::reverse(backwards);
  CHECK(backwards == revisions(all));
  /// What the filter gives is what of all events passes `wanted`.
  const auto agrees = [&](const std::string& filter, const auto& wanted) {
    std::vector<v1::Event> expected;
    std::ranges::copy_if(all, std::back_inserter(expected), wanted);
    CAPTURE(filter);
    CHECK(!expected.empty());
    CHECK(expected.size() < all.size());
    CHECK(revisions(s.events(filter)) == revisions(expected));
  };
  const auto b = s.vm("b");
  const auto host = "hosts/" + s.cluster.hosts[0]->uid;
  const auto is_of = [](const v1::Event& event, std::string_view collection) {
    return event.resource().starts_with(collection);
  };
  agrees("kind = vms", [&](const auto& event) { return is_of(event, "vms/"); });
  agrees("kind = HOSTS", [&](const auto& event) { return is_of(event, "hosts/"); });
  agrees("kind != hosts", [&](const auto& event) { return !is_of(event, "hosts/"); });
  agrees("kind = vms OR kind = images",
         [&](const auto& event) { return is_of(event, "vms/") || is_of(event, "images/"); });
  agrees("resource = " + b.name(), [&](const auto& event) { return event.resource() == b.name(); });
  agrees("resource = " + host, [&](const auto& event) { return event.resource() == host; });
  agrees("NOT resource = " + host, [&](const auto& event) { return event.resource() != host; });
  agrees("actor = tokens/sim", [](const auto& event) { return event.actor() == "tokens/sim"; });
  const auto job = std::ranges::find_if(all, [](const auto& event) {
                     return event.resource().starts_with("vms/") && !event.job().empty();
                   })->job();
  agrees("job = " + job, [&](const auto& event) { return event.job() == job; });
  agrees("job != " + job, [&](const auto& event) { return event.job() != job; });
  agrees("revision > 5 AND revision <= 9",
         [](const auto& event) { return event.revision() > 5 && event.revision() <= 9; });
  const auto since_b = b.create_time().seconds();
  agrees("time >= " + time_of(b.create_time()),
         [&](const auto& event) { return event.time().seconds() >= since_b; });

  v1::ListEventsRequest request;
  request.set_from_revision(7);
  request.add_kinds("vms");
  request.add_kinds("jobs");
  request.set_filter("kind != jobs");
  request.set_order_by("revision desc");
  std::vector<std::int64_t> expected;
  for (const auto& event : all)
    if (event.revision() > 7 && is_of(event, "vms/"))
      expected.insert(expected.begin(), event.revision());
  CHECK(revisions(s.events(request, 2)) == expected);
}

TEST_CASE("what is left out of a page of events does not end the list", "[core]") {
  Estate s;
  v1::DeleteHostRequest request;
  request.set_name("hosts/" + s.cluster.hosts[1]->uid);
  request.set_force(true);
  bool removed = false;
  s.cluster.core().hosts().remove(s.cluster.caller, request,
                                  [&](const auto& answer) { removed = answer.ok(); });
  REQUIRE(s.cluster.run_until([&] { return removed; }));
  // The hypervisors of a host that is gone show nothing, and are among the first versions.
  const auto whole = revisions(s.events(v1::ListEventsRequest(), 1000));
  CHECK(whole.size() < static_cast<std::size_t>(s.cluster.revision()));
  CHECK(revisions(s.events(v1::ListEventsRequest(), 1)) == whole);
}

TEST_CASE("what is gone is listed as deleted", "[core]") {
  Estate s;
  const auto a = s.vm("a").name();
  v1::DeleteVmRequest request;
  request.set_name(a);
  request.set_request_id(s.fresh());
  succeed(s.cluster, [&](server::Reply<v1::Job> reply) {
    s.cluster.core().vms().remove(s.cluster.caller, request, std::move(reply));
  });
  const auto gone = s.events("type = DELETED");
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].resource() == a);
  for (const auto& event : s.events("type = CHANGED"))
    CHECK(event.type() == v1::Event::TYPE_CHANGED);
  CHECK(s.events("type = CHANGED").size() + 1 == s.events("").size());
  v1::ListEventsRequest bad;
  for (const auto* filter : {"type = BOOKMARK", "kind = vm", "resource = dragons/1", "job = x",
                             "revision = one", "display_name = a", "label.a = b", "kind > vms"}) {
    bad.set_filter(filter);
    const auto answer = s.cluster.core().events().list(s.cluster.caller, bad);
    CAPTURE(filter);
    REQUIRE_FALSE(answer.ok());
    CHECK((answer.error().reason() == "BAD_FILTER" || answer.error().reason() == "BAD_FIELD"));
  }
  bad.clear_filter();
  bad.set_order_by("time");
  CHECK(s.cluster.core().events().list(s.cluster.caller, bad).error().reason() == "BAD_FILTER");
}
