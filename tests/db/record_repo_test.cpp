#include <functional>

#include "db/repo/audit_repo.h"
#include "db/repo/request_repo.h"
#include "db/repo/token_repo.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;
using namespace std::chrono_literals;

/// Stands in for SHA-256: the chain's logic is tested here, not the function.
std::string toy_hash(std::string_view bytes) {
  return std::to_string(std::hash<std::string_view>{}(bytes));
}

StoredRequest request(const std::string& id, WallTime created) {
  return {.caller = "users/a",
          .request_id = id,
          .method = "StartVm",
          .body_sha256 = "b1",
          .job_uid = "j1",
          .response = "answer",
          .create_time = created};
}

TEST_CASE("a repeated request finds its first answer for a day", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  RequestRepo requests(tx);
  must(requests.insert(request("r1", at(0))));
  const auto find = [&](std::string_view caller, std::string_view body, WallTime now) {
    return requests.find(caller, "r1", "StartVm", body, now);
  };
  const auto found = must(find("users/a", "b1", at(3600)));
  REQUIRE(found);
  CHECK(found->job_uid == "j1");
  CHECK(found->response == "answer");
  CHECK(found->expire_time == at(24 * 3600));
  CHECK_FALSE(must(find("users/b", "b1", at(3600))));
  CHECK_FALSE(must(find("users/a", "b1", at(24 * 3600))));
  CHECK(reason_of(find("users/a", "b2", at(1))) == "REQUEST_ID_REUSED");
  CHECK(reason_of(requests.find("users/a", "r1", "StopVm", "b1", at(1))) == "REQUEST_ID_REUSED");
  CHECK(reason_of(requests.insert(request("r1", at(5)))) == "DB_UNIQUE");
  must(requests.insert(request("r1", at(25 * 3600))));
}

TEST_CASE("expired requests are forgotten in batches", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  RequestRepo requests(tx);
  for (int i = 0; i < 5; ++i) must(requests.insert(request("r" + std::to_string(i), at(i))));
  CHECK(must(requests.remove_expired(at(24 * 3600 + 3), 3)) == 3);
  CHECK(must(requests.remove_expired(at(24 * 3600 + 3), 3)) == 1);
  CHECK(must(requests.remove_expired(at(24 * 3600 + 3), 3)) == 0);
}

TEST_CASE("an API token admits until it expires or is revoked", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  TokenRepo tokens(tx);
  must(tokens.insert_api_token(
      {.uid = "t1", .name = "ci", .hash = "h1", .role = "operator", .expire_time = at(100)}));
  must(tokens.insert_api_token({.uid = "t2", .name = "admin", .hash = "h2", .role = "admin"}));
  CHECK(must(tokens.find_api_token("h1", at(99))).role == "operator");
  CHECK(reason_of(tokens.find_api_token("h1", at(100))) == "TOKEN_EXPIRED");
  CHECK(reason_of(tokens.find_api_token("h3", at(0))) == "TOKEN_UNKNOWN");
  must(tokens.touch_api_token("t2", at(5)));
  CHECK(must(tokens.find_api_token("h2", at(6))).last_use_time == at(5));
  must(tokens.revoke_api_token("t2", at(7)));
  must(tokens.revoke_api_token("t2", at(8)));
  CHECK(reason_of(tokens.find_api_token("h2", at(9))) == "TOKEN_REVOKED");
  CHECK(reason_of(tokens.revoke_api_token("t9", at(9))) == "TOKEN_NOT_FOUND");
  CHECK(must(tokens.api_tokens()).size() == 2);
  CHECK(reason_of(tokens.insert_api_token({.uid = "t3", .name = "ci", .hash = "h3"})) ==
        "DB_UNIQUE");
}

TEST_CASE("an enrolment token admits one host, once, in time", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  TokenRepo tokens(tx);
  must(tokens.insert_enroll_token({.hash = "e1", .actor = "a", .expire_time = at(100)}));
  must(tokens.insert_enroll_token(
      {.hash = "e2", .actor = "a", .host_name = "alpha", .expire_time = at(100)}));
  CHECK(reason_of(tokens.use_enroll_token("e9", "h1", at(1))) == "TOKEN_UNKNOWN");
  CHECK(must(tokens.use_enroll_token("e1", "h1", at(1))).used_by_host_uid == "h1");
  CHECK(must(tokens.use_enroll_token("e1", "h1", at(500))).use_time == at(1));  // a retry
  CHECK(reason_of(tokens.use_enroll_token("e1", "h2", at(2))) == "TOKEN_USED");
  CHECK(reason_of(tokens.use_enroll_token("e2", "h2", at(100))) == "TOKEN_EXPIRED");
  CHECK(must(tokens.enroll_tokens()).size() == 2);
  CHECK(must(tokens.remove_enroll_tokens_before(at(101), 10)) == 2);
}

AuditEntry entry(const std::string& actor, const std::string& resource, std::int64_t seconds) {
  return {.time = at(seconds),
          .actor = actor,
          .peer = "192.0.2.9",
          .method = "StartVm",
          .resource = resource,
          .summary = "cpus 1 -> 2",
          .code = 0};
}

TEST_CASE("audit entries form a chain that shows any change", "[db]") {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    AuditRepo audit(tx);
    for (int i = 1; i <= 5; ++i)
      CHECK(must(audit.append(entry(i % 2 == 0 ? "eve" : "bob", "vms/v1", i), toy_hash)).seq == i);
    CHECK(must(audit.verify_chain(toy_hash)) == 5);
    CHECK(must(audit.verify_chain(toy_hash, 4)) == 2);
    CHECK(must(audit.list({Column::Actor, "bob"}, {})).size() == 3);
    CHECK(must(audit.list({Column::Resource, "vms/v1"},
                          {.after = PageKey{"3"}, .descending = true}))[0]
              .seq == 2);
    Filter between;
    between.also({{Column::Time, Compare::AtLeast, time_value(at(2))}});
    between.also({{Column::Time, Compare::Less, time_value(at(4))}});
    CHECK(must(audit.list(between, {})).size() == 2);
    CHECK(reason_of(audit.list({}, {.after = PageKey{"3x"}})) == "BAD_PAGE");
    // The program itself cannot rewrite the log.
    CHECK(reason_of(tx.execute("UPDATE audit SET actor = 'mallory' WHERE seq = 2")) ==
          "DB_CONSTRAINT");
    CHECK(reason_of(tx.execute("DELETE FROM audit WHERE seq = 2")) == "DB_CONSTRAINT");
    must(tx.commit());
  }
  const std::string forgery =
      GENERATE(as<std::string>{}, "UPDATE audit SET actor = 'mallory' WHERE seq = 3",
               "UPDATE audit SET code = 7 WHERE seq = 3",
               "UPDATE audit SET time = time + 1 WHERE seq = 3", "DELETE FROM audit WHERE seq = 3",
               "UPDATE audit SET actor = 'eves', peer = substr(peer, 2) WHERE seq = 3");
  must(memory.database->run_script("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; " +
                                   forgery));
  auto tx = must(memory.database->begin_read());
  const auto broken = AuditReader(tx).verify_chain(toy_hash);
  REQUIRE(reason_of(broken) == "AUDIT_BROKEN");
  CHECK(broken.error().metadata().at("seq") == "3");
}

TEST_CASE("no two audit entries have the same canonical bytes", "[db]") {
  auto one = entry("ab", "c", 1);
  auto two = entry("a", "bc", 1);
  CHECK(canonical_bytes(one) != canonical_bytes(two));
  two = one;
  two.reason = one.summary;
  two.summary.clear();
  CHECK(canonical_bytes(one) != canonical_bytes(two));
}

}  // namespace
}  // namespace reeve::db
