// What people type at the command line, right and wrong, against a real server and agent whose
// hypervisor pretends.
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/system/dialogue.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

void create_vm(const Estate& estate, const std::string& name) {
  estate.reeve_json({"vm", "create", name, "--disk", "1M", "--memory", "64M", "--nic", "none"});
}

/// A file of zeroes that takes long to send and no room.
std::string large_file(const Estate& estate, const std::string& name) {
  const auto path = (estate.dir() / name).string();
  REQUIRE(write_file_durably(path, "").ok());
  REQUIRE(::truncate(path.c_str(), off_t{2} << 30) == 0);
  return path;
}

void import_small(const Estate& estate, const std::string& name, const std::string& kind) {
  const auto path = (estate.dir() / "small").string();
  REQUIRE(write_file_durably(path, std::string(4096, 'x')).ok());
  std::vector<std::string> arguments{"image", "import", name, path, "--kind", kind};
  if (kind == "disk") arguments.insert(arguments.end(), {"--format", "raw"});
  estate.reeve_json(arguments);
}

TEST_CASE("an upload that is stopped leaves neither a job nor a name taken", "[system][root]") {
  const Estate estate{kSimulated};
  const auto no_file = estate.reeve({"image", "import", "d", "/tmp", "--kind", "kernel"});
  CHECK(no_file.exit_code == 2);
  CHECK(has(no_file.errors, "'/tmp' is a folder"));
  CHECK(estate.reeve_json({"job", "list"}).empty());

  const auto active = [&] {
    return estate.reeve({"job", "list", "--active", "-o", "name"}).output;
  };
  for (const int number : {SIGINT, SIGTERM}) {
    CAPTURE(number);
    const auto file = large_file(estate, "large");
    Dialogue import(estate.reeve_argv({"image", "import", "d", file, "--kind", "kernel"}),
                    Dialogue::On::Terminal);
    REQUIRE(import.hears("uploading "));
    import.signal(number);
    CHECK(import.hears("interrupted: the upload was stopped; jobs/"));
    CHECK(import.wait() == 130);
    CHECK(active().empty());
    import_small(estate, "d", "kernel");
    estate.reeve_json({"image", "delete", "d", "--yes"});
  }
  {
    const auto file = large_file(estate, "shrinks");
    Dialogue import(estate.reeve_argv({"image", "import", "d", file, "--kind", "kernel"}),
                    Dialogue::On::Terminal);
    REQUIRE(import.hears("uploading "));
    REQUIRE(::truncate(file.c_str(), 0) == 0);
    CHECK(import.hears("reading '" + file + "'"));
    CHECK(import.hears("jobs/"));
    CHECK(import.wait() == 1);
    CHECK(active().empty());
    import_small(estate, "d", "kernel");
    estate.reeve_json({"image", "delete", "d", "--yes"});
  }
  // A client that is gone says nothing; the job does not wait for another.
  {
    const auto file = large_file(estate, "large");
    Dialogue import(estate.reeve_argv({"image", "import", "d", file, "--kind", "kernel"}),
                    Dialogue::On::Terminal);
    REQUIRE(import.hears("uploading "));
    import.signal(SIGKILL);
    estate.wait_until(
        "the import has failed", [&] { return active().empty(); }, 45s);
    const auto jobs = estate.reeve_json({"job", "list", "--limit", "1"});
    CHECK(jobs.at(0).at("state") == "STATE_FAILED");
    CHECK(jobs.at(0).at("error").at("detail").at("reason") == "UPLOAD_INTERRUPTED");
  }
}

TEST_CASE("wrong input is told in the words of the command line", "[system][root]") {
  const Estate estate{kSimulated};
  const auto cpus = estate.reeve({"vm", "create", "x", "--disk", "1M", "--cpus", "9999"});
  CHECK(cpus.exit_code == 2);
  CHECK(has(cpus.errors, "error: --cpus must be between 1 and 256"));
  CHECK(times_in(cpus.errors, "must be between") == 1);
  CHECK_FALSE(has(cpus.errors, "vm.spec"));
  CHECK(estate.reeve({"vm", "list", "-f", "nonsense = 1"}).exit_code == 2);
  for (const auto* bad : {"bad name", "-x"}) {
    const auto refused = estate.reeve({"host", "enroll-token", "--name=" + std::string(bad)});
    CHECK(refused.exit_code == 2);
    CHECK(has(refused.errors, "--name must be 1 to 63 letters"));
  }
  const auto taken = estate.reeve({"host", "enroll-token", "--name", "host-1"});
  CHECK(taken.exit_code == 4);
  CHECK(has(taken.errors, "a host is called 'host-1' already"));

  // All that fail for one reason are that failure, and a remedy is one of this command.
  create_vm(estate, "web-1");
  create_vm(estate, "web-2");
  const auto all = estate.reeve({"vm", "stop", "*"});
  CHECK(all.exit_code == 4);
  CHECK(has(all.errors, "all 2 machines failed (VM_NOT_RUNNING)"));
  estate.reeve_json({"vm", "start", "web-1"});
  CHECK(estate.reeve({"vm", "stop", "web-1", "web-2"}).exit_code == 8);
  const auto full = estate.reeve({"host", "delete", "host-1", "--yes"});
  CHECK(full.exit_code == 4);
  CHECK(has(full.errors, "repeat it with --force"));

  const auto token = (estate.dir() / "server/admin.token").string();
  const auto asked = estate.reeve({"login", estate.api(), "--token-file", token});
  CHECK(asked.exit_code == 2);
  const auto at = asked.errors.find("fingerprint is ");
  REQUIRE(at != std::string::npos);
  const auto fingerprint = asked.errors.substr(at + 15, asked.errors.find(" (USAGE)") - at - 15);
  CHECK(has(asked.errors, "--fingerprint " + fingerprint));
  CHECK(estate.reeve({"login", estate.api(), "--token-file", token, "--fingerprint", fingerprint})
            .exit_code == 0);
}

TEST_CASE("completion knows kinds, states and places", "[system][root]") {
  const Estate estate{kSimulated};
  import_small(estate, "base", "disk");
  import_small(estate, "bzimage", "kernel");
  import_small(estate, "birds", "initrd");
  create_vm(estate, "web-1");
  const auto offered = [&](std::vector<std::string> words,
                           const std::vector<std::string>& environment = {}) {
    words.insert(words.begin(), {"__complete", "--"});
    return estate.reeve(words, environment).output;
  };
  CHECK(offered({"vm", "create", "--image", "b"}) == "base\n");
  CHECK(offered({"vm", "create", "--kernel", "b"}) == "bzimage\n");
  CHECK(offered({"vm", "create", "--initrd", "b"}) == "birds\n");
  CHECK(offered({"vm", "create", "--image=b"}) == "--image=base\n");
  CHECK(offered({"image", "show", "b"}) == "base\nbirds\nbzimage\n");
  CHECK(offered({"hypervisor", "show", ""}) == "host-1/sim\n");
  CHECK(offered({"vm", "create", "--hypervisor", ""}) == "sim\n");
  CHECK(offered({"server", "token", "delete", ""}) == "admin\n");
  CHECK(offered({"vm", "list", "--filter", ""}).empty());
  CHECK(offered({"vm", "start", "we"}, {"REEVE_CONTEXT=absent"}).empty());
  CHECK(offered({"--context", "default", "vm", "start", "we"}, {"REEVE_CONTEXT=absent"}) ==
        "web-1\n");
  // Jobs that have ended are shown, and neither cancelled nor resolved.
  CHECK_FALSE(offered({"job", "show", ""}).empty());
  CHECK(offered({"job", "cancel", ""}).empty());
  CHECK(offered({"job", "resolve", ""}).empty());
  estate.reeve_json({"vm", "start", "web-1"});
  const auto stopping =
      std::string(trim(estate.reeve({"vm", "stop", "web-1", "--async"}).output)).substr(5, 8);
  CHECK(offered({"job", "cancel", ""}) == stopping + "\n");
  CHECK(offered({"job", "resolve", ""}).empty());
}

TEST_CASE("a shell completes files where reeve means one", "[system][root]") {
  const Estate estate{kSimulated};
  import_small(estate, "base", "disk");
  const auto folder = estate.dir() / "here";
  REQUIRE(make_dirs(folder / "pictures").ok());
  REQUIRE(write_file_durably(folder / "user data.yaml", "x").ok());
  const auto programs = std::filesystem::path(REEVE_PROGRAM).parent_path().string();
  const std::vector<std::string> environment{
      "env",
      "PATH=" + programs + ":/usr/bin:/bin",
      "TERM=dumb",
      "PS1=$ ",
      "REEVE_CONFIG=" + (estate.dir() / "contexts.toml").string(),
      "HOME=" + estate.dir().path().string()};
  const auto said_by = [&](const std::vector<std::string>& shell) {
    auto argv = environment;
    argv.insert(argv.end(), shell.begin(), shell.end());
    return run({.argv = argv}).value().output;
  };
  // bash as it is typed at.
  auto argv = environment;
  argv.insert(argv.end(), {"bash", "--norc", "--noprofile", "-i"});
  Dialogue bash(argv, Dialogue::On::Terminal);
  bash.type("cd " + folder.string() + "; source <(reeve completion bash); echo rea''dy\n");
  REQUIRE(bash.hears("ready"));
  bash.type("reeve image import x ./pic\t");
  CHECK(bash.hears("import x ./pictures/", 20s));
  bash.type("\x15reeve vm create --cloud-init us\t");
  CHECK(bash.hears("--cloud-init user\\ data.yaml", 20s));
  bash.type("\x15reeve vm create --meta-data=us\t");
  CHECK(bash.hears("--meta-data=user\\ data.yaml", 20s));
  bash.type("\x15reeve vm create --image=b\t");
  CHECK(bash.hears("--image=base ", 20s));
  bash.type("\x15reeve vm crea\t--image b\t");
  CHECK(bash.hears("vm create --image base ", 20s));
  bash.type("\x15 exit\n");
  CHECK(bash.wait() == 0);

  const std::string fish = "cd " + folder.string() + "; reeve completion fish | source; ";
  CHECK(said_by({"fish", "-c", fish + "complete -C 'reeve image import x ./pic'"}) ==
        "./pictures/\n");
  CHECK(said_by({"fish", "-c", fish + "complete -C 'reeve image import x '"}) ==
        "pictures/\nuser data.yaml\n");
  CHECK(said_by({"fish", "-c", fish + "complete -C 'reeve vm create --cloud-init=us'"}) ==
        "--cloud-init=user data.yaml\n");
  CHECK(said_by({"fish", "-c", fish + "complete -C 'reeve vm create --image=b'"}) ==
        "--image=base\n");
  CHECK(said_by({"fish", "-c", fish + "complete -C 'reeve vm list --filter '"}).empty());

  // What zsh's own system would call.
  const auto zsh = [&](const std::string& words, const std::string& current) {
    return said_by({"zsh", "-f", "-c",
                    "compdef() { :; }; compadd() { shift; eval 'print -l -- $'$1; }; "
                    "compset() { print \"compset $*\"; }; _files() { print files; }; "
                    "source <(reeve completion zsh); words=(" +
                        words + "); CURRENT=" + current + "; _reeve"});
  };
  CHECK(zsh("reeve image import x ./", "5") == "compset -P 1 --*=\nfiles\n");
  CHECK(zsh("reeve vm create --image=b", "4") == "--image=base\n");
  CHECK(zsh("reeve vm list --filter ''", "5").empty());
}

}  // namespace
}  // namespace reeve::test
