#include "server/auth/audit_log.h"

#include <catch2/catch.hpp>

#include "base/crypto/sha256.h"
#include "db/repo/audit_repo.h"
#include "tests/server/auth/auth_fixture.h"

namespace reeve::server::test {
namespace {

struct AuditFixture : AuthFixture {
  AuditLog log{writer, store->readers(), clock};

  void append(const std::string& actor, int code = 0) {
    db::AuditEntry entry;
    entry.actor = actor;
    entry.method = "VmService/StartVm";
    entry.code = code;
    REQUIRE(await<int>([&](auto reply) { log.append(entry, [reply] { reply(1); }); }).ok());
  }
};

TEST_CASE_METHOD(AuditFixture, "audit entries are listed newest first, and their chain holds",
                 "[auth]") {
  for (int i = 0; i < 5; ++i) append("tokens/" + std::to_string(i));
  v1::ListAuditEntriesRequest request;
  request.set_page_size(2);
  std::vector<std::string> actors;
  do {
    const auto page = log.list(request).value();
    for (const auto& entry : page.entries()) actors.push_back(entry.actor());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  CHECK(actors ==
        std::vector<std::string>{"tokens/4", "tokens/3", "tokens/2", "tokens/1", "tokens/0"});
  const auto checked = store->readers().read(
      [](db::ReadTransaction& tx) { return db::AuditReader(tx).verify_chain(crypto::sha256_hex); });
  CHECK(checked.value() == 5);
  for (const auto* bad : {"x", "YXVkaXQ6LTE", "YXVkaXQ6eA"}) {
    request.set_page_token(bad);
    CHECK(reason_of(log.list(request)) == "BAD_PAGE_TOKEN");
  }
}

TEST_CASE_METHOD(AuditFixture, "audit entries are listed by every key, in both orders", "[auth]") {
  const std::string job = "3f0c9c2e-0000-4000-8000-000000000001";
  const auto write = [&](const db::AuditEntry& entry) {
    clock.now += std::chrono::seconds(10);
    REQUIRE(await<int>([&](auto reply) { log.append(entry, [reply] { reply(1); }); }).ok());
  };
  write({.actor = "tokens/a",
         .peer = "192.0.2.1",
         .method = "VmService/StartVm",
         .resource = "vms/1",
         .job_uid = job});
  write({.actor = "tokens/b",
         .peer = "192.0.2.2",
         .method = "VmService/StopVm",
         .resource = "vms/1",
         .code = 10,
         .reason = "STALE_ETAG"});
  write({.actor = "tokens/a",
         .peer = "192.0.2.2",
         .method = "HostService/DeleteHost",
         .resource = "hosts/1",
         .code = 7,
         .reason = "PERMISSION_DENIED"});
  const auto listed = [&](const std::string& filter, const std::string& order_by = "sequence") {
    v1::ListAuditEntriesRequest request;
    request.set_filter(filter);
    request.set_order_by(order_by);
    request.set_page_size(1);
    std::string sequences;
    do {
      const auto page = log.list(request);
      if (!page.ok()) return std::string(page.error().reason());
      for (const auto& entry : page.value().entries())
        sequences += std::to_string(entry.sequence());
      request.set_page_token(page.value().next_page_token());
    } while (!request.page_token().empty());
    return sequences;
  };
  CHECK(listed("") == "123");
  CHECK(listed("", "") == "321");
  CHECK(listed("", "sequence desc") == "321");
  CHECK(listed("actor = tokens/a") == "13");
  CHECK(listed("actor != \"tokens/?\"").empty());
  CHECK(listed("method = \"VmService/*\"", "") == "21");
  CHECK(listed("method = VmService/StartVm OR resource = \"hosts/*\"") == "13");
  CHECK(listed("peer = 192.0.2.2 AND NOT reason = STALE_ETAG") == "3");
  CHECK(listed("code = OK") == "1");
  CHECK(listed("code != ok") == "23");
  CHECK(listed("code = ABORTED OR code = permission_denied") == "23");
  CHECK(listed("job = jobs/" + job) == "1");
  CHECK(listed("sequence >= 2") == "23");
  const auto second = to_rfc3339(clock.wall() - std::chrono::seconds(10));
  CHECK(listed("time < \"" + second + "\"") == "1");
  CHECK(listed("NOT time < \"" + second + "\" AND actor = tokens/b") == "2");
  for (const auto* bad : {"code = FINE", "code = 7", "code > OK", "sequence = first", "time = now",
                          "summary = x", "label.a = b", "actor = a actor = b"})
    CHECK(listed(bad) == "BAD_FILTER");
  CHECK(listed("job = 1") == "BAD_FIELD");
  CHECK(listed("", "time") == "BAD_FILTER");
  v1::ListAuditEntriesRequest request;
  request.set_page_size(1);
  request.set_filter("actor = tokens/a");
  request.set_page_token(log.list(request).value().next_page_token());
  request.set_filter("actor != tokens/a");
  CHECK(reason_of(log.list(request)) == "BAD_PAGE_TOKEN");
}

TEST_CASE_METHOD(AuditFixture, "refused anonymous calls cannot fill the audit log", "[auth]") {
  for (int i = 0; i < 100; ++i) append(kAnonymous, 16);
  CHECK(log.list({}).value().entries_size() == 10);
  clock.now += std::chrono::seconds(1);
  append(kAnonymous, 16);
  const auto entries = log.list({}).value();
  REQUIRE(entries.entries_size() == 11);
  CHECK(entries.entries(0).summary().find("90 more") != std::string::npos);
  for (int i = 0; i < 20; ++i) append("tokens/x", 7);  // callers with a token are all kept
  CHECK(log.list({}).value().entries_size() == 31);
}

}  // namespace
}  // namespace reeve::server::test
