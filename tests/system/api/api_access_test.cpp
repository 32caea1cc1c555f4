// Who may call what: every method of every service, by every role and by nobody, from the
// descriptors.
#include <algorithm>
#include <future>
#include <map>
#include <thread>

#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>

#include "reeve/v1/event_service.pb.h"
#include "reeve/v1/vm_service.pb.h"
#include "server/auth/roles.h"
#include "tests/system/api/api_server.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
constexpr int kPermissionDenied = 7;
constexpr int kUnauthenticated = 16;

v1::Authorization policy_of(const google::protobuf::MethodDescriptor& method) {
  return method.options().GetExtension(v1::authorization);
}

std::int64_t revision(const ApiServer& server) {
  v1::ListVmsResponse page;
  const auto answer = server.call_json("VmService/ListVms", "{}");
  INFO(answer.message);
  REQUIRE(answer.code == 0);
  REQUIRE(page.ParseFromString(answer.response));
  return page.revision();
}

TEST_CASE("nobody without a token gets past the public methods", "[api]") {
  const ApiServer server;
  const std::vector<std::string> bad_tokens{
      "",
      "x",
      "reeve_",
      "reeve_000000000000_AAAA",
      server.admin_token() + "A",
      server.admin_token().substr(0, server.admin_token().size() - 1),
      std::string(4000, 'a')};
  for (const auto* method : methods()) {
    for (const auto& token : bad_tokens) {
      if (token.empty() && policy_of(*method).permission() == v1::PERMISSION_PUBLIC) continue;
      CAPTURE(method->full_name(), token.size());
      const auto answer = server.call(*method, "", token);
      CHECK(answer.code == kUnauthenticated);
      CHECK_FALSE(answer.detail.reason().empty());
    }
  }
  const auto info = server.call(*methods().front(), "", "");
  CHECK(info.detail.reason() == "NO_CREDENTIALS");
}

TEST_CASE("each role gets exactly what the .proto permits it, and refusals are audited", "[api]") {
  const ApiServer server;
  const std::map<v1::Role, std::string> tokens{
      {v1::ROLE_ADMINISTRATOR, server.admin_token()},
      {v1::ROLE_EDITOR, server.token_for(v1::ROLE_EDITOR)},
      {v1::ROLE_OPERATOR, server.token_for(v1::ROLE_OPERATOR)},
      {v1::ROLE_VIEWER, server.token_for(v1::ROLE_VIEWER)}};
  const auto before = revision(server);
  int refused_changes = 0;
  for (const auto* method : methods()) {
    for (const auto& [role, token] : tokens) {
      CAPTURE(method->full_name(), v1::Role_Name(role));
      const auto policy = policy_of(*method);
      const bool permitted = server::permissions_of(role).has(policy.permission());
      // Streams that are let in stay open: a short wait is enough to know.
      const auto answer = server.call(*method, "", token, method->server_streaming() ? 500ms : 20s);
      if (permitted) {
        CHECK(answer.code != kPermissionDenied);
        // Enrolment has credentials of its own, and an empty one is refused by name.
        if (policy.permission() != v1::PERMISSION_PUBLIC) CHECK(answer.code != kUnauthenticated);
      } else {
        CHECK(answer.code == kPermissionDenied);
        CHECK(answer.detail.reason() == "NOT_PERMITTED");
        if (policy.mutates()) ++refused_changes;
      }
    }
  }
  CHECK(revision(server) == before);  // nothing changed, by refused or by empty requests

  int audited = 0;
  std::string page_token;
  do {
    const auto answer =
        server.call_json("EventService/ListAuditEntries",
                         R"({"page_size":1000,"page_token":")" + page_token + "\"}");
    v1::ListAuditEntriesResponse page;
    REQUIRE(page.ParseFromString(answer.response));
    for (const auto& entry : page.entries())
      if (entry.code() == kPermissionDenied) ++audited;
    page_token = page.next_page_token();
  } while (!page_token.empty());
  CHECK(audited == refused_changes);
  CHECK(refused_changes > 10);
}

TEST_CASE("the health service answers without credentials", "[api]") {
  const ApiServer server;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(server.channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 10s);
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const auto status = done.get_future().get();
  INFO(status.error_message());
  REQUIRE(status.ok());
  CHECK(response.Length() == 2);  // status: SERVING
}

TEST_CASE("a revoked token ends its open watches and opens nothing more", "[api]") {
  const ApiServer server;
  const auto made = server.call_json("ServerService/CreateApiToken",
                                     R"({"token":{"display_name":"w","role":"ROLE_VIEWER"}})");
  v1::ApiToken token;
  REQUIRE(token.ParseFromString(made.response));
  const auto* watch = v1::WatchRequest::descriptor()->file()->service(0)->FindMethodByName("Watch");
  Answer ended;
  std::thread watcher([&] {
    v1::WatchRequest request;
    request.set_from_revision(-1);
    ended = server.call(*watch, request.SerializeAsString(), token.secret(), 10s);
  });
  std::this_thread::sleep_for(300ms);
  CHECK(server.call_json("ServerService/DeleteApiToken", R"({"name":")" + token.name() + "\"}")
            .code == 0);
  watcher.join();
  CHECK(ended.code == kUnauthenticated);
  CHECK(ended.detail.reason() == "TOKEN_REVOKED");
  CHECK(server.call(*watch, "", token.secret()).code == kUnauthenticated);
  v1::ListAuditEntriesResponse audit;
  REQUIRE(audit.ParseFromString(server.call_json("EventService/ListAuditEntries", "{}").response));
  const auto rows_of = [&](const std::string& method) {
    return std::ranges::count_if(audit.entries(), [&](const auto& entry) {
      return entry.method() == method && entry.resource() == token.name() && entry.code() == 0;
    });
  };
  CHECK(rows_of("ServerService/CreateApiToken") == 1);
  CHECK(rows_of("ServerService/DeleteApiToken") == 1);
}

}  // namespace
}  // namespace reeve::test
