// The server when its files change under it: a damaged database, one that was put back by hand, a
// new certificate.
#include <catch2/catch.hpp>

#include "base/crypto/peer_chain.h"
#include "base/crypto/x509.h"
#include "base/file.h"
#include "db/sqlite/database.h"
#include "db/sqlite/transaction.h"
#include "reeve/v1/server_service.pb.h"
#include "server/auth/authority_files.h"
#include "tests/system/api/fake_agent.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

/// Overwrites the first page of an index, which holds none of what is read.
void damage_index(const std::filesystem::path& file, const std::string& index) {
  std::int64_t page = 0, size = 0;
  {
    auto database = db::Database::open(file).value();
    REQUIRE(database->checkpoint().ok());
    size = database->pragma("page_size").value();
    auto tx = database->begin_read().value();
    page = tx.integer("SELECT rootpage FROM sqlite_schema WHERE name = ?", index).value().value();
  }
  auto bytes = read_file(file, 256u << 20).value();
  bytes.replace(static_cast<std::size_t>((page - 1) * size), 512, 512, '\xa5');
  REQUIRE(write_file_durably(file, bytes).ok());
}

std::string served_fingerprint(int port) {
  const auto chain =
      crypto::fetch_peer_chain("127.0.0.1", static_cast<std::uint16_t>(port), 10s).value();
  return crypto::parse_certificate(chain.chain_pem).value().fingerprint;
}

TEST_CASE("a damaged database is served for reading, and says so", "[api]") {
  ApiServer server;
  FakeAgent agent(server);
  REQUIRE(agent.connect(agent.host_uid()).has_welcome());
  agent.hang_up();
  CHECK(server.stop() == 0);
  damage_index(server.data() / "reeve.db", "vm_by_create_time");
  server.start();
  v1::ServerInfo info;
  REQUIRE(info.ParseFromString(server.call_json("ServerService/GetServerInfo", "{}").response));
  CHECK_FALSE(info.read_only_reason().empty());
  const auto hosts = server.call_json("HostService/ListHosts", "{}");
  CHECK(hosts.code == 0);
  CHECK(hosts.response.find(agent.host_uid()) != std::string::npos);
  const auto refused = server.call_json("HostService/CreateEnrollToken", "{}");
  CHECK(refused.code == 9);
  CHECK(refused.detail.reason() == "DB_READ_ONLY");
  CHECK_FALSE(refused.detail.remedy().empty());
  CHECK(server.stop() == 0);
}

TEST_CASE("an agent refuses a database put back by hand, until it is told to go on", "[api]") {
  ApiServer server({"--keep-ports"});
  FakeAgent agent(server);
  REQUIRE(agent.connect(agent.host_uid()).has_welcome());
  agent.hang_up();
  CHECK(server.stop() == 0);
  const auto database = server.data() / "reeve.db";
  const auto older = read_file(database, 256u << 20).value();
  for (int i = 0; i < 3; ++i) {
    server.start();
    agent.epoch = agent.connect(agent.host_uid()).welcome().epoch();
    agent.hang_up();
    CHECK(server.stop() == 0);
  }
  for (const auto* suffix : {"-wal", "-shm"}) std::filesystem::remove(database.string() + suffix);
  REQUIRE(write_file_durably(database, older).ok());
  server.start();
  const auto refusal = agent.connect(agent.host_uid()).refusal();
  CHECK(refusal.reason() == "EPOCH_BEHIND");
  CHECK(refusal.message().find("reeve-server advance") != std::string::npos);
  agent.hang_up();
  const auto advance = [&] {
    return run({.argv = {REEVE_SERVER_PROGRAM, "advance", "--data", server.data()}}).value();
  };
  CHECK(advance().errors.find("DB_IN_USE") != std::string::npos);
  CHECK(server.stop() == 0);
  CHECK(advance().exit_code == 0);
  server.start();
  const auto welcome = agent.connect(agent.host_uid()).welcome();
  CHECK(welcome.epoch() > agent.epoch);
}

TEST_CASE("a renewed certificate is presented on both ports without a restart", "[api]") {
  ApiServer server;
  const auto before = served_fingerprint(server.api_port());
  CHECK(served_fingerprint(server.link_port()) == before);
  const auto now = RealClock::instance().wall();
  const auto authority = server::load_or_make_authority(server.data(), now).value();
  // As the daily renewal does when a third of the certificate's life is left.
  REQUIRE(
      server::ensure_server_certificate(authority, server.data(), {"localhost", "127.0.0.1"}, now)
          .value()
          .renewed);
  for (const int port : {server.api_port(), server.link_port()})
    eventually("the new certificate is presented",
               [&] { return served_fingerprint(port) != before; });
  CHECK(server.call_json("ServerService/GetSelf", "{}").code == 0);
}

TEST_CASE("when a token was used is known after a restart", "[api]") {
  ApiServer server;
  server.token_for(v1::ROLE_VIEWER);
  CHECK(server.stop() == 0);
  server.start();
  v1::ListApiTokensResponse page;
  REQUIRE(page.ParseFromString(server.call_json("ServerService/ListApiTokens", "{}").response));
  REQUIRE(page.tokens_size() == 2);
  for (const auto& token : page.tokens())
    CHECK(token.has_last_use_time() == (token.display_name() == "admin"));
}

}  // namespace
}  // namespace reeve::test
