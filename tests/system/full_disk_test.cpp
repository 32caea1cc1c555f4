// Full disks under real processes: each data folder is a small file system of its own.
#include <csignal>

#include <catch2/catch.hpp>
#include <fcntl.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
/// Writes zeros until the file system has no byte left, or `limit` bytes.
void fill(const std::filesystem::path& file, std::uint64_t limit = UINT64_MAX) {
  const Fd fd = open_file(file, O_WRONLY | O_CREAT | O_APPEND).value();
  const std::string block(4096, '\0');
  for (std::uint64_t at = 0; at < limit && write_all(fd.get(), as_bytes(block)).ok();)
    at += block.size();
}

std::size_t files_below(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    count += entry.is_regular_file();
  return count;
}

/// What a failed command said with `-o json`.
json error_of(const Finished& finished) {
  INFO(finished.errors);
  const auto last = finished.errors.rfind("{\"code\"");
  REQUIRE(last != std::string::npos);
  return json::parse(finished.errors.substr(last));
}

TEST_CASE("a full image store fails the import by name and leaves nothing behind",
          "[system][root]") {
  constexpr int kDiskMib = 48;
  Estate estate(EstateOptions{.agent_config = kSimulated, .agent_disk_mib = kDiskMib});
  const auto small = estate.dir() / "small", large = estate.dir() / "large";
  fill(small, 8u << 20);
  fill(large, 64u << 20);
  const std::vector<std::string> raw{"--kind", "disk", "--format", "raw"};
  const auto import = [&](const std::string& name, const std::filesystem::path& file) {
    std::vector<std::string> arguments{"-o", "json", "image", "import", name, file.string()};
    arguments.insert(arguments.end(), raw.begin(), raw.end());
    return estate.reeve(arguments);
  };
  REQUIRE(import("kept", small).exit_code == 0);
  const auto before = files_below(estate.dir() / "agent");

  const auto check_refused = [&](const Finished& refused) {
    CHECK(refused.exit_code == 9);
    const auto job = estate.reeve_json({"job", "list"}).at(0);
    const auto error = job.at("error");
    INFO(error.dump());
    CHECK(job.at("state") == "STATE_FAILED");
    CHECK(error.at("detail").at("reason") == "DISK_FULL");
    const auto message = error.at("message").get<std::string>();
    CHECK(message.find("host-1") != std::string::npos);
    CHECK(message.find((estate.dir() / "agent").string()) != std::string::npos);
    CHECK(error.at("detail").at("metadata").contains("needed_bytes"));
    CHECK(error.at("detail").at("metadata").contains("free_bytes"));
    CHECK_FALSE(error.at("detail").at("remedy").get<std::string>().empty());
    CHECK(estate.reeve_json({"image", "list"}).size() == 1);
    CHECK(estate.query("select count(*) from job_lock") == "0");
  };
  check_refused(import("too-large", large));
  CHECK(files_below(estate.dir() / "agent") == before);

  // Not seen coming: it fills up while the bytes arrive.
  const auto ballast = estate.dir() / "agent/ballast";
  fill(ballast);
  check_refused(import("crowded-out", small));
  CHECK(files_below(estate.dir() / "agent") == before + 1);  // the ballast
  CHECK(estate.reeve_json({"host", "list"})[0].at("state") == "STATE_CONNECTED");

  REQUIRE(remove_file(ballast).ok());
  CHECK(import("crowded-out", small).exit_code == 0);
  CHECK(estate.reeve_json({"image", "list"}).size() == 2);
}

TEST_CASE("a full disk under the database refuses changes, loses none, and reads go on",
          "[system][root]") {
  constexpr int kDiskMib = 24;
  Estate estate(EstateOptions{.agent_config = kSimulated, .server_disk_mib = kDiskMib});
  const auto label = [&](const std::string& value) {
    std::vector<std::string> arguments{"-o", "json", "host", "update", "host-1"};
    arguments.insert(arguments.end(), {"--label", "n=" + value});
    for (int i = 0; i < 60; ++i)  // pages of it, so that the disk is needed soon
      arguments.insert(arguments.end(),
                       {"--label", "l" + std::to_string(i) + "=" + std::string(200, 'x')});
    return estate.reeve(arguments);
  };
  const auto host = [&] { return estate.reeve_json({"host", "list"}).at(0); };
  REQUIRE(label("0").exit_code == 0);
  const Fd watched = open_file(estate.dir() / "watch", O_WRONLY | O_CREAT).value();
  auto watch =
      Process::spawn({"env", "REEVE_CONFIG=" + (estate.dir() / "contexts.toml").string(),
                      REEVE_PROGRAM, "-o", "json", "event", "watch", "--kind", "hosts"},
                     {.output = watched.get(), .errors = watched.get()}, Process::Session::Own)
          .value();
  const auto seen = [&](const std::string& what) {
    return read_file(estate.dir() / "watch", 64u << 20).value().find(what) != std::string::npos;
  };
  // It hears what comes after it has begun, and says nothing when it has.
  std::string last;
  for (int i = 0; !seen("\"before"); ++i) {
    REQUIRE(i < 100);
    last = "before-" + std::to_string(i);
    REQUIRE(label(last).exit_code == 0);
  }

  const auto ballast = estate.dir() / "server/ballast";
  fill(ballast);
  Finished refused;
  for (int i = 1; i < 500 && refused.exit_code == 0; ++i) {
    refused = label(std::to_string(i));
    if (refused.exit_code == 0) last = std::to_string(i);
    fill(ballast);
  }
  const auto error = error_of(refused);
  INFO(error.dump());
  CHECK(error.at("reason") == "DISK_FULL");
  CHECK(error.at("message").get<std::string>().find((estate.dir() / "server/reeve.db").string()) !=
        std::string::npos);
  CHECK(error.at("metadata").contains("free_bytes"));
  CHECK_FALSE(error.at("remedy").get<std::string>().empty());
  // Reads go on, show what was acknowledged, and the host stays connected.
  CHECK(host().at("labels").at("n") == last);
  CHECK(error_of(label("refused")).at("reason") == "DISK_FULL");
  CHECK(host().at("state") == "STATE_CONNECTED");
  CHECK(watch.wait(0ms).ok() == false);

  REQUIRE(remove_file(ballast).ok());
  REQUIRE(label("after").exit_code == 0);
  estate.wait_until("the same watch goes on", [&] { return seen("\"after\""); });
  watch.signal(SIGKILL);
  static_cast<void>(watch.wait(5s));
  estate.kill_server();
  estate.start_server();
  estate.wait_until("server and host are back",
                    [&] { return host().at("state") == "STATE_CONNECTED"; });
  CHECK(host().at("labels").at("n") == "after");
  const auto job = estate.reeve_json({"vm", "create", "web", "--disk", "1M", "--nic", "none"});
  CHECK(job.at("state") == "STATE_SUCCEEDED");
}

}  // namespace
}  // namespace reeve::test
