// The server as a process: its folder, its lock, its ports, its backups, its end.
#include <thread>

#include <catch2/catch.hpp>
#include <google/protobuf/descriptor.h>
#include <sys/stat.h>

#include "base/file.h"
#include "reeve/v1/event_service.pb.h"
#include "tests/system/api/api_server.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

Finished server_program(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), REEVE_SERVER_PROGRAM);
  return run({.argv = arguments}).value();
}

TEST_CASE("a second server on the same folder is refused", "[api]") {
  const ApiServer server;
  const auto second = server_program(
      {"run", "--data", server.data(), "--api", "127.0.0.1:0", "--link", "127.0.0.1:0"});
  CHECK(second.exit_code != 0);
  CHECK(second.errors.find("DB_IN_USE") != std::string::npos);
}

TEST_CASE("a folder that others may enter is refused", "[api]") {
  const TempDir dir;
  REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
  const auto refused = server_program({"run", "--data", dir.path(), "--api", "127.0.0.1:0"});
  CHECK(refused.exit_code != 0);
  CHECK(refused.errors.find("chmod 700") != std::string::npos);
}

TEST_CASE("a restart keeps identity, tokens and, when asked, ports", "[api]") {
  ApiServer server({"--keep-ports"});
  const auto before = server.call_json("ServerService/GetServerInfo", "{}");
  const int api = server.api_port(), link = server.link_port();
  CHECK(server.stop() == 0);
  server.start();
  CHECK(server.api_port() == api);
  CHECK(server.link_port() == link);
  CHECK(server.call_json("ServerService/GetServerInfo", "{}").response == before.response);
  CHECK(server.call_json("ServerService/GetSelf", "{}").code == 0);
}

TEST_CASE("SIGTERM ends the server at once, with streams and waits open", "[api]") {
  ApiServer server;
  const auto* service = v1::WatchRequest::descriptor()->file()->service(0);
  Answer ended;
  std::thread watcher([&] {
    v1::WatchRequest request;
    request.set_from_revision(-1);
    ended = server.call(*service->FindMethodByName("Watch"), request.SerializeAsString(),
                        server.admin_token(), 30s);
  });
  std::this_thread::sleep_for(300ms);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(server.stop() == 0);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  watcher.join();
  CHECK(ended.code == 14);
  server.start();
}

TEST_CASE("a backup taken while serving is restored with what it had", "[api]") {
  ApiServer server;
  const auto token = server.token_for(v1::ROLE_VIEWER);
  const auto file = server.data() / "backup.db";
  const auto taken = server_program({"backup", file, "--data", server.data()});
  INFO(taken.errors);
  REQUIRE(taken.exit_code == 0);
  CHECK(server_program({"backup", file, "--data", server.data()}).exit_code != 0);   // exists
  CHECK(server_program({"restore", file, "--data", server.data()}).exit_code != 0);  // in use
  const auto later = server.token_for(v1::ROLE_OPERATOR);
  CHECK(server.stop() == 0);
  const auto restored = server_program({"restore", file, "--data", server.data()});
  INFO(restored.errors);
  REQUIRE(restored.exit_code == 0);
  server.start();
  const auto* self =
      v1::GetSelfRequest::descriptor()->file()->service(0)->FindMethodByName("GetSelf");
  CHECK(server.call(*self, "", token).code == 0);
  CHECK(server.call(*self, "", later).code == 16);  // made after the backup
}

TEST_CASE("the configuration is printed, and a bad one is refused", "[api]") {
  const TempDir dir;
  const auto printed = server_program({"--print-config"});
  CHECK(printed.exit_code == 0);
  REQUIRE(write_file_durably(dir / "good.toml", printed.output).ok());
  CHECK(server_program({"--print-config", "--config", dir / "good.toml"}).output == printed.output);
  REQUIRE(write_file_durably(dir / "bad.toml", "dta = \"/x\"\n").ok());
  const auto refused = server_program({"run", "--config", dir / "bad.toml"});
  CHECK(refused.exit_code != 0);
  CHECK(refused.errors.find("Did you mean 'data'?") != std::string::npos);
}

TEST_CASE("no secret reaches the log, and every file is its owner's alone", "[api]") {
  ApiServer server({"--log-level", "debug"});
  const auto viewer = server.token_for(v1::ROLE_VIEWER);
  const auto enroll = server.call_json("HostService/CreateEnrollToken", "{}").response;
  server.call_json("VmService/CreateVm",
                   R"({"vm":{"display_name":"x","spec":{"cpus":1,"memory_mib":64,)"
                   R"("cloud_init":{"user_data":"CANARY-USER-DATA"}}}})");
  server.call_json("EnrollmentService/Enroll",
                   R"({"hostname":"x","token":"CANARY-ENROLL-TOKEN","csr_pem":"x"})");
  server.call(*methods().front(), "", "CANARY-API-TOKEN");
  const auto audit = server.call_json("EventService/ListAuditEntries", "{}").response;
  CHECK(server.stop() == 0);
  const auto log = server.log();
  for (const std::string& secret :
       {server.admin_token(), viewer, viewer.substr(19), std::string("CANARY"),
        enroll.substr(enroll.find("reeve-enroll.") + 60, 40)}) {
    CHECK(log.find(secret) == std::string::npos);
    CHECK(audit.find(secret) == std::string::npos);
  }
  CHECK(log.find("call ended") != std::string::npos);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(server.data())) {
    struct stat facts {};
    REQUIRE(stat(entry.path().c_str(), &facts) == 0);
    CAPTURE(entry.path());
    CHECK((facts.st_mode & 077) == 0);
  }
  server.start();
}

}  // namespace
}  // namespace reeve::test
