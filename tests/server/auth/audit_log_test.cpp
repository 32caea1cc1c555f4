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
