// What is typed wrongly, and what may be typed next: the program itself, without a server.
#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/subprocess.h"
#include "cli/option_names.h"
#include "tests/support/temp_dir.h"

namespace reeve::cli {
namespace {

constexpr const char* kContexts =
    "current = 'lab'\n[context.lab]\nserver = '127.0.0.1:1'\ntoken = 'x'\nca = ''\n"
    "[context.live]\nserver = '127.0.0.1:1'\ntoken = 'x'\nca = ''\n";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A user with the contexts "lab" and "live", neither of which answers.
class User {
 public:
  User() { REQUIRE(write_file_durably(home_ / "contexts.toml", kContexts, 0600).ok()); }

  Finished reeve(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment = {}) const {
    std::vector<std::string> argv{"env", "-i", "PATH=/usr/bin:/bin",
                                  "HOME=" + home_.path().string(),
                                  "REEVE_CONFIG=" + (home_ / "contexts.toml").string()};
    argv.insert(argv.end(), environment.begin(), environment.end());
    argv.emplace_back(REEVE_PROGRAM);
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run({.argv = argv}).value();
  }
  std::string offered(std::vector<std::string> words) const {
    words.insert(words.begin(), {"__complete", "--"});
    return reeve(words).output;
  }
  const test::TempDir& home() const { return home_; }

 private:
  test::TempDir home_;
};

TEST_CASE("a command that is not there is named, with the one that was probably meant", "[cli]") {
  const User user;
  const auto wrong = [&](const std::vector<std::string>& arguments, const std::string& said) {
    const auto finished = user.reeve(arguments);
    CAPTURE(arguments, finished.errors);
    CHECK(finished.exit_code == 2);
    CHECK(finished.output.empty());
    CHECK(has(finished.errors, said));
  };
  wrong({"vm", "lst"}, "'reeve vm' has no command 'lst'; did you mean 'list'?");
  wrong({"vm", "-o", "wide", "strat", "web"}, "'strat'; did you mean 'start'?");
  wrong({"vn", "list"}, "'reeve' has no command 'vn'; did you mean 'vm'?");
  wrong({"foo"}, "'reeve' has no command 'foo'; there are login, context, host");
  wrong({"server", "token", "destroy"}, "there are list, create, delete");
  wrong({"vm"}, "'reeve vm' needs one of: list, show, create");
  wrong({"vm"}, "see: reeve vm --help");
  wrong({}, "'reeve' needs one of: login");
  CHECK(user.reeve({"context", "ls"}).exit_code == 0);
}

TEST_CASE("a wrong command line is one JSON object for machines", "[cli]") {
  const User user;
  const std::vector<std::vector<std::string>> wrong{
      {"-o", "json", "vm", "lst"},
      {"vm", "list", "--nonsense", "-o", "json"},
      {"vm", "list", "--output=json", "extra"},
      {"-ojson", "vm", "start"},
      {"-o", "yaml", "vm", "create", ""},
      {"-o", "json", "vm", "start", "x", "--wait", "-5"}};
  for (const auto& arguments : wrong) {
    const auto finished = user.reeve(arguments);
    CAPTURE(arguments, finished.errors);
    CHECK(finished.exit_code == 2);
    CHECK(finished.errors.starts_with("{\"code\":3,\"exit_code\":2,\"reason\":\"USAGE\","));
    CHECK(finished.errors.ends_with("}}\n"));
    CHECK(finished.errors.find('\n') == finished.errors.size() - 1);
  }
  CHECK(user.reeve({"vm", "lst"}, {"REEVE_OUTPUT=json"}).errors.starts_with("{\"code\":3,"));
}

TEST_CASE("values that mean nothing are refused before the server is asked", "[cli]") {
  const User user;
  const auto file = (user.home() / "image").string();
  REQUIRE(write_file_durably(file, "x").ok());
  const auto wrong = [&](const std::vector<std::string>& arguments, const std::string& said) {
    const auto finished = user.reeve(arguments);
    CAPTURE(arguments, finished.errors);
    CHECK(finished.exit_code == 2);
    CHECK(has(finished.errors, said));
  };
  wrong({"vm", "create", "", "--disk", "1G"}, "must not be empty");
  wrong({"vm", "create", "x", "--disk", "1G", "--nic", ""}, "must not be empty");
  wrong({"vm", "create", "x", "--disk", "1G", "--nic", ",52:54:00:00:00:01"}, "neither user, none");
  wrong({"vm", "create", "x", "--disk", "1G", "--host", ""}, "must not be empty");
  wrong({"vm", "create", "x"}, "give --image, --disk or --kernel");
  wrong({"vm", "start", "x", "--wait", "-5"}, "-5 is not between 1 and 31536000");
  wrong({"vm", "start", "x", "--wait", "0"}, "0 is not between");
  wrong({"job", "wait", "x", "--wait", "0"}, "0 is not between");
  wrong({"job", "list", "--limit", "0"}, "0 is not between 1 and 1000000");
  wrong({"image", "import", "", file, "--kind", "kernel"}, "must not be empty");
  wrong({"image", "import", "n", file, "--host-path", "/srv/x", "--kind", "kernel"}, "not both");
  wrong({"image", "import", "n", "--kind", "kernel"}, "give a FILE to upload, or --host-path");
  wrong({"image", "import", "n", file, "--kind", "disk"}, "--format raw or qcow2 is required");
  wrong({"image", "import", "n", "/tmp", "--kind", "kernel"}, "'/tmp' is a folder");
  wrong({"image", "import", "n", "/dev/null", "--kind", "kernel"}, "'/dev/null' is no plain file");
  CHECK(user.reeve({"image", "import", "n", file, "--kind", "kernel"}).exit_code == 6);
}

TEST_CASE("a context that is not there is not found, and those there are are named", "[cli]") {
  const User user;
  for (const auto& arguments : {std::vector<std::string>{"context", "use", "nosuch"},
                                {"context", "forget", "nosuch"},
                                {"--context", "nosuch", "vm", "list"}}) {
    const auto finished = user.reeve(arguments);
    CAPTURE(arguments, finished.errors);
    CHECK(finished.exit_code == 3);
    CHECK(has(finished.errors, "no context 'nosuch' (CONTEXT_NOT_FOUND)"));
    CHECK(has(finished.errors, "there are: lab, live"));
  }
  CHECK(user.reeve({"context", "forget", "lab"}).exit_code == 0);
  const auto none = user.reeve({"vm", "list"});
  CHECK(none.exit_code == 5);
  CHECK(has(none.errors, "reeve context use"));
}

TEST_CASE("what the server says of its fields is said of options", "[cli]") {
  CHECK(in_options("image.format is required for a disk") == "--format is required for a disk");
  CHECK(in_options("vm.spec.disks is required without vm.spec.boot") ==
        "--image or --disk is required without --kernel");
  CHECK(in_options("vm.spec.disks[12].size_bytes must be a multiple of 512") ==
        "--image or --disk must be a multiple of 512");
  CHECK(in_options("vm.spec.nics[0].mac appears twice") == "--nic appears twice");
  CHECK(in_options("vm.spec.limits.cpu_limit_percent is x") == "--cpu-limit is x");
  CHECK(in_options("delete it first, or repeat the call with force: it runs on") ==
        "delete it first, or repeat it with --force: it runs on");
  CHECK(in_options("grace must be so") == "--grace must be so");
  CHECK(in_options("the grace is over") == "the grace is over");
}

TEST_CASE("completion offers files where a file is meant, and nothing in the wrong place",
          "[cli]") {
  const User user;
  const std::string files = ":files\n";
  CHECK(user.offered({"image", "import", "x", "./"}) == files);
  CHECK(user.offered({"image", "import", "x", ""}) == files);
  CHECK(user.offered({"image", "import", "--kind", "disk", "x", ""}) == files);
  CHECK(user.offered({"vm", "create", "--cloud-init", ""}) == files);
  CHECK(user.offered({"vm", "create", "--meta-data=./u"}) == files);
  CHECK(user.offered({"vm", "create", "--network-config", "=", "u"}) == files);
  CHECK(user.offered({"login", "h:1", "--token-file", "/etc/"}) == files);
  CHECK(user.offered({"image", "import", ""}).empty());
  CHECK(user.offered({"image", "import", "x", "f", ""}).empty());
  CHECK(user.offered({"vm", "list", "--filter", ""}).empty());
  CHECK(user.offered({"event", "list", "--order-by", ""}) == "revision\n");
  CHECK(user.offered({"event", "audit", "--order-by", ""}) == "sequence\n");
  CHECK(user.offered({"job", "list", "--order-by", ""}) == "create_time\n");
  CHECK(user.offered({"vm", "list", ""}).empty());
  CHECK(user.offered({"vm", "lst", ""}).empty());
  CHECK(user.offered({"vm", "create", "--label", "vm"}).empty());

  CHECK(user.offered({"--context", ""}) == "lab\nlive\n");
  CHECK(user.offered({"--context=li"}) == "--context=live\n");
  CHECK(user.offered({"--context", "=", "li"}) == "live\n");
  CHECK(user.offered({"--context", "="}) == "lab\nlive\n");
  CHECK(user.offered({"context", "use", "la"}) == "lab\n");
  CHECK(user.offered({"context", "forget", ""}) == "lab\nlive\n");
  CHECK(user.offered({"context", "use", "lab", ""}).empty());
  CHECK(user.offered({"completion", ""}) == "bash\nzsh\nfish\n");
  CHECK(user.offered({"image", "import", "--kind", ""}) == "disk\nkernel\ninitrd\niso\n");
  CHECK(user.offered({"image", "import", "--format", "q"}) == "qcow2\n");
  CHECK(user.offered({"event", "list", "--kind", "v"}) == "vms\n");
  CHECK(user.offered({"server", "token", "create", "x", "--role", "v"}) == "viewer\n");
  CHECK(user.offered({"-o", ""}) == "table\nwide\njson\nyaml\ncsv\nname\n");
  CHECK(user.offered({"vm", "list", "--output=j"}) == "--output=json\n");
  CHECK(user.offered({"vm", "list", "--or"}) == "--order-by\n");
  CHECK(user.offered({"vm", "list", "-o"}) == "-o\n");
  CHECK(user.offered({"vm", "list", "--hel"}) == "--help\n");

  // Values of options are no verbs, whatever they are called.
  CHECK(user.offered({"--context", "vm", "vm", "li"}) == "list\n");
  CHECK(user.offered({"vm", "-o", "list", "sto"}) == "stop\n");
  CHECK(user.offered({"vm", "create", "--name", "list", "--clo"}) == "--cloud-init\n");
  CHECK(user.offered({"--debug", "vm", "sto"}) == "stop\n");
}

}  // namespace
}  // namespace reeve::cli
