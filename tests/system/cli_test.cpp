// The command line against a real server and agent, whose hypervisor pretends: what people type,
// what scripts read, what shells complete. Machines that run are in life_test.cpp and
// disk_test.cpp.
#include <csignal>
#include <regex>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/text.h"
#include "hypervisor_core/accel/kvm/probe.h"
#include "tests/system/dialogue.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::string create_vm(const Estate& estate, const std::string& name) {
  return estate
      .reeve_json({"vm", "create", name, "--disk", "1M", "--memory", "64M", "--nic", "none"})
      .at("target")
      .get<std::string>()
      .substr(4);
}

TEST_CASE("machines are found by name, uid, prefix and glob, and listed in every format",
          "[system][root]") {
  const Estate estate{kSimulated};
  const std::string uid = create_vm(estate, "web-1");
  create_vm(estate, "web-2");
  create_vm(estate, "other");
  for (const auto& text : {std::string("web-1"), uid, uid.substr(0, 8), "vms/" + uid,
                           std::string("*-1"), std::string("web?1")}) {
    CAPTURE(text);
    const auto shown = estate.reeve({"-o", "name", "vm", "show", text});
    CHECK(shown.exit_code == 0);
    CHECK(shown.output == "vms/" + uid + "\n");
  }
  const auto ambiguous = estate.reeve({"vm", "show", "web-*"});
  CHECK(ambiguous.exit_code == 2);
  for (const auto* part : {"matches 2 objects", "web-1  ", "web-2  ", "AMBIGUOUS"})
    CHECK(has(ambiguous.errors, part));
  CHECK_FALSE(has(ambiguous.errors, "other"));
  for (const auto* absent : {"absent", "x*", "", "ffff", "vms/00000000-0000-4000-8000-000000000000",
                             "00000000-0000-4000-8000-000000000000", "\"", "we"})
    CHECK(estate.reeve({"vm", "show", absent}).exit_code == 3);

  const auto csv = lines_of(estate.reeve({"-o", "csv", "vm", "list"}).output);
  REQUIRE(csv.size() == 4);
  CHECK(csv[0].starts_with("NAME,STATE,CPUS,MEMORY BYTES,HOST,ADDRESSES,CREATED,"));
  CHECK(csv[1].starts_with("other,STOPPED,1,"));
  CHECK(has(csv[2], "," + uid + ","));
  const auto wide = lines_of(estate.reeve({"vm", "list", "-o", "wide"}).output);
  CHECK(has(wide.at(0), "HYPERVISOR"));
  CHECK(has(wide.at(1), " sim "));
  CHECK_FALSE(has(estate.reeve({"vm", "list"}).output, "HYPERVISOR"));
  CHECK(has(estate.reeve({"-o", "yaml", "vm", "show", "other"}).output, "display_name: other"));
  CHECK(lines_of(estate.reeve({"vm", "list", "-o", "name", "-f", "display_name = web-*"}).output)
            .size() == 2);

  // Verbs on several, one of which fails.
  const auto one_id = estate.reeve(
      {"vm", "start", "web-*", "--request-id", "0d3a9a8e-3a53-4a8e-9a61-1f4f1c1e7a10"});
  CHECK(one_id.exit_code == 2);
  CHECK(has(one_id.errors, "names one request, and 2 machines are meant"));
  const auto started = estate.reeve({"vm", "start", "web-*"});
  CHECK(started.exit_code == 0);
  CHECK(times_in(started.errors, "done") == 2);
  const auto partial = estate.reeve({"vm", "start", "web-1", "other"});
  CHECK(partial.exit_code == 8);
  CHECK(has(partial.errors, "web-1: "));
  CHECK(has(partial.errors, "1 of 2 machines failed"));
  CHECK(estate.reeve({"vm", "start", "other", "absent"}).exit_code == 3);
  CHECK(has(estate.reeve({"vm", "reboot", "other"}).errors, "RebootVm other: done"));
  CHECK(estate.reeve({"vm", "stop", "*", "--force"}).exit_code == 0);

  // What shells are offered.
  const auto offered = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"__complete", "--"});
    return estate.reeve(words).output;
  };
  CHECK(offered({"vm", "show", "we"}) == "web-1\nweb-2\n");
  CHECK(offered({"vm", "start", "web-1", "o"}) == "other\n");
  CHECK(offered({"vm", "show", "*"}).empty());
  CHECK(offered({"host", "show", ""}) == "host-1\n");
  CHECK(offered({"vm", "create", "--host", "h"}) == "host-1\n");
  const auto jobs = lines_of(offered({"job", "show", ""}));
  CHECK(jobs.size() == lines_of(estate.reeve({"job", "list", "-o", "name"}).output).size());
  CHECK(estate.reeve({"job", "show", jobs.at(0)}).exit_code == 0);
}

TEST_CASE("a watch shows what changed after the list, and events are kept", "[system][root]") {
  const Estate estate{kSimulated};
  const std::string uid = create_vm(estate, "web");
  {
    // The list waits for its reader, so that the change comes between it and the watch.
    for (const auto* name : {"filler-1", "filler-2", "filler-3"}) {
      create_vm(estate, name);
      estate.reeve_json({"vm", "update", name, "--description", std::string(4000, '.')});
    }
    Dialogue watch(estate.reeve_argv({"-o", "json", "vm", "list", "--watch"}),
                   Dialogue::On::SmallPipe);
    REQUIRE(watch.speaks());
    estate.reeve_json({"vm", "update", "web", "--description", "changed meanwhile"});
    CHECK(watch.hears("changed meanwhile"));
    estate.reeve_json({"vm", "start", "web"});
    CHECK(watch.hears("STATE_RUNNING"));
  }
  {
    // A filter holds for what comes after the list, too: what it does not mean stays away, and what
    // leaves it is shown leaving.
    Dialogue watch(estate.reeve_argv({"vm", "list", "-f", "state = RUNNING", "--watch"}),
                   Dialogue::On::Pipes);
    REQUIRE(watch.hears("web"));
    estate.reeve_json({"vm", "update", "filler-1", "--description", "not meant"});
    estate.reeve_json({"vm", "start", "filler-2"});
    CHECK(watch.hears("filler-2  RUNNING"));
    estate.reeve_json({"vm", "stop", "web", "--force"});
    CHECK(watch.hears("web  STOPPED"));
    estate.reeve_json({"vm", "update", "web", "--description", "left before"});
    estate.reeve_json({"vm", "stop", "filler-2", "--force"});
    CHECK(watch.hears("filler-2  STOPPED"));
    CHECK(watch.heard().find("filler-1") == std::string::npos);
    const auto left = watch.heard().find("web  STOPPED");
    CHECK(watch.heard().find("web  STOPPED", left + 1) == std::string::npos);
  }
  {
    Dialogue watch(estate.reeve_argv({"job", "list", "-f", "kind = StartVm", "--watch"}),
                   Dialogue::On::Pipes);
    REQUIRE(watch.hears("StartVm"));
    estate.reeve_json({"vm", "update", "web", "--cpus", "2"});
    estate.reeve_json({"vm", "start", "filler-3"});
    CHECK(watch.hears("StartVm filler-3  SUCCEEDED"));
    CHECK(watch.heard().find("UpdateVm") == std::string::npos);
  }
  {
    // OR and NOT hold in a watch, too.
    Dialogue watch(estate.reeve_argv({"vm", "list", "-w", "-f",
                                      "display_name = web OR NOT display_name = \"filler-*\""}),
                   Dialogue::On::Pipes);
    REQUIRE(watch.hears("web"));
    estate.reeve_json({"vm", "update", "filler-1", "--description", "not meant"});
    create_vm(estate, "mail");
    CHECK(watch.hears("mail  STOPPED"));
    estate.reeve_json({"vm", "start", "web"});
    CHECK(watch.hears("web  RUNNING"));
    CHECK(watch.heard().find("filler-1") == std::string::npos);
  }
  {
    // A watch asks for one object more, for which a full filter has no room.
    std::string full = "display_name = web";
    for (int i = 1; i < 16; ++i) full += " OR display_name = web";
    CHECK(estate.reeve({"vm", "list", "-f", full}).exit_code == 0);
    const auto refused = estate.reeve({"vm", "list", "-f", full, "--watch"});
    CHECK(refused.exit_code == 2);
    CHECK(refused.output.empty());
    CHECK(has(refused.errors, "a watch adds a restriction"));
  }
  for (const std::vector<std::string>& list :
       {std::vector<std::string>{"host", "list"}, {"image", "list"}, {"job", "list"}}) {
    CAPTURE(list);
    auto arguments = list;
    arguments.emplace_back("-w");
    Dialogue watch(estate.reeve_argv(arguments), Dialogue::On::Pipes);
    CHECK(watch.hears("\n"));
  }
  Dialogue events(
      estate.reeve_argv({"-o", "json", "event", "watch", "--from", "0", "--kind", "vms"}),
      Dialogue::On::Pipes);
  REQUIRE(events.hears("\n"));
  const auto first = json::parse(lines_of(events.heard()).at(0));
  CHECK(first.at("resource") == "vms/" + uid);
  const auto listed =
      lines_of(estate.reeve({"-o", "json", "event", "list", "--resource", "vms/" + uid}).output);
  CHECK(json::parse(listed.at(0)).at("revision") == first.at("revision"));
  const auto later = estate.reeve({"-o", "json", "event", "list", "--resource", "vms/" + uid,
                                   "--from", first.at("revision").get<std::string>()});
  CHECK(lines_of(later.output).size() == listed.size() - 1);
}

TEST_CASE("progress is drawn on a terminal, and Ctrl-C stops the waiting only", "[system][root]") {
  const Estate estate{kSimulated};
  create_vm(estate, "web");
  estate.reeve_json({"vm", "start", "web"});
  Dialogue stop(estate.reeve_argv({"vm", "stop", "web"}), Dialogue::On::Terminal);
  CHECK(stop.hears("\r\x1b[KStopVm web  [0/1] "));
  stop.signal(SIGINT);
  CHECK(stop.hears("goes on"));
  CHECK(stop.wait() == 130);
  estate.wait_until("the machine is stopped all the same",
                    [&] { return estate.vm("web").at("state") == "STATE_STOPPED"; });
  // One Ctrl-C is enough for all of several.
  create_vm(estate, "mail");
  estate.reeve_json({"vm", "start", "web"});
  estate.reeve_json({"vm", "start", "mail"});
  Dialogue both(estate.reeve_argv({"vm", "stop", "web", "mail"}), Dialogue::On::Terminal);
  CHECK(both.hears("[0/1] "));
  both.signal(SIGINT);
  CHECK(both.wait() == 130);
  for (const auto* name : {"web", "mail"})
    estate.wait_until("both are stopped all the same",
                      [&] { return estate.vm(name).at("state") == "STATE_STOPPED"; });
  const auto file = (estate.dir() / "disk.raw").string();
  REQUIRE(write_file_durably(file, std::string(4 << 20, 'x')).ok());
  Dialogue import(
      estate.reeve_argv({"image", "import", "disk", file, "--kind", "disk", "--format", "raw"}),
      Dialogue::On::Terminal);
  CHECK(import.hears("uploading "));
  CHECK(import.hears("of 4.0 MiB"));
  CHECK(import.hears("ImportImage disk: done"));
  CHECK(import.wait() == 0);
  // A question is asked there, and only a yes is one.
  Dialogue remove(estate.reeve_argv({"vm", "delete", "web"}), Dialogue::On::Terminal);
  CHECK(remove.hears("Delete with all disks: web? [y/N] "));
  remove.type("n\n");
  CHECK(remove.wait() == 1);
  CHECK(estate.vm("web").is_object());
}

TEST_CASE("hosts are enrolled by the printed line, changed and removed", "[system][root]") {
  const Estate estate{kSimulated};
  const auto line =
      std::string(trim(estate.reeve({"host", "enroll-token", "--name", "spare"}).output));
  CHECK(line.starts_with("reeve-agent enroll --server "));
  // As root on a host whose /var/lib is its own.
  const auto programs = std::filesystem::path(REEVE_AGENT_PROGRAM).parent_path().string();
  const Command paste{.argv = {"unshare", "--mount", "sh", "-c",
                               "mount -t tmpfs tmpfs /var/lib && PATH=" + programs + ":$PATH && " +
                                   line + " && test -s /var/lib/reeve-agent/identity/key.pem"}};
  const auto pasted = run(paste).value();
  INFO(pasted.errors);
  CHECK(pasted.exit_code == 0);
  CHECK(has(pasted.output, "enrolled as host "));
  CHECK(run(paste).value().exit_code != 0);  // it works once

  const auto host = [&](const std::string& name) {
    return estate.reeve_json({"host", "show", name});
  };
  CHECK(host("spare").at("state") == "STATE_ENROLLED");
  CHECK(has(pasted.output, host("spare").at("uid").get<std::string>()));
  const auto page = estate.reeve({"host", "show", "host-1"});
  CHECK(page.exit_code == 0);
  for (const auto* part : {"uid: ", "cpu: ", "hypervisor sim: "}) CHECK(has(page.output, part));
  // What the probe finds on this machine, whatever it is, and what to do about it.
  const auto kvm = core::accel::probe_kvm().value();
  const auto said = kvm.summary + (kvm.remedy.empty() ? "" : "; " + kvm.remedy);
  const auto facts = host("host-1").at("status").at("kvm");
  CHECK(facts.at("description") == said);
  CHECK(facts.value("usable", false) == kvm.usable);
  const auto kvm_line = page.output.substr(page.output.find("\nkvm:") + 5);
  CHECK(kvm_line.substr(kvm_line.find_first_not_of(' ')).starts_with(said + "\n"));
  const auto dry = estate.reeve_json({"host", "update", "spare", "--name", "rack-7", "--dry-run"});
  CHECK(dry.at("display_name") == "rack-7");
  CHECK(host("spare").at("display_name") == "spare");
  estate.reeve_json({"host", "update", "spare", "--name", "rack-7", "--label", "rack=7"});
  CHECK(host("rack-7").at("labels").at("rack") == "7");
  CHECK(estate.reeve({"host", "update", "rack-7"}).exit_code == 2);
  CHECK(estate.reeve({"host", "update", "rack-7", "--name", "host-1"}).exit_code == 4);

  create_vm(estate, "web");
  CHECK(estate.reeve({"host", "delete", "host-1", "--yes"}).exit_code == 4);
  CHECK(estate.reeve({"host", "delete", "rack-7"}).exit_code == 2);  // nobody there to ask
  const auto shown = estate.reeve({"host", "delete", "host-1", "--force", "--dry-run"});
  CHECK(shown.exit_code == 0);
  CHECK(has(shown.errors, "would be removed, with the records of 1 machines and 0 images"));
  CHECK(estate.reeve({"host", "delete", "rack-7", "--dry-run"}).exit_code == 0);
  CHECK(estate.reeve({"host", "show", "rack-7"}).exit_code == 0);
  CHECK(estate.reeve({"host", "delete", "rack-7", "--yes"}).exit_code == 0);
  CHECK(estate.reeve({"host", "list", "-o", "name"}).output ==
        host("host-1").at("name").get<std::string>() + "\n");
}

TEST_CASE("images are changed and removed, and jobs steered", "[system][root]") {
  const Estate estate{kSimulated};
  const auto file = (estate.dir() / "disk.raw").string();
  REQUIRE(write_file_durably(file, std::string(1 << 20, 'x')).ok());
  const std::vector<std::string> import{"image",  "import", "disk",     file,
                                        "--kind", "disk",   "--format", "raw"};
  auto dry_import = import;
  dry_import.emplace_back("--dry-run");
  CHECK(has(estate.reeve(dry_import).output, "Plan: ImportImage disk"));
  CHECK(estate.reeve({"image", "list", "-o", "name"}).output.empty());
  estate.reeve_json(import);
  CHECK(has(estate.reeve({"image", "list", "-o", "csv"}).output, "disk,DISK,RAW,READY,"));
  CHECK(has(estate.reeve({"image", "show", "disk"}).output, "SHA256"));
  const std::vector<std::string> rename{"image",         "update",  "disk",    "--name", "golden",
                                        "--description", "the one", "--label", "tier=1"};
  auto dry_rename = rename;
  dry_rename.emplace_back("--dry-run");
  CHECK(estate.reeve_json(dry_rename).at("display_name") == "golden");
  CHECK(estate.reeve_json({"image", "show", "disk"}).value("description", "").empty());
  estate.reeve_json(rename);
  const auto golden = estate.reeve_json({"image", "show", "golden"});
  CHECK(golden.at("description") == "the one");
  CHECK(golden.at("labels").at("tier") == "1");

  // A machine without a name is called after its image, and a retry means the same one.
  const std::vector<std::string> create{
      "vm",  "create", "--image", "golden,2M",    "--memory",
      "64M", "--nic",  "none",    "--request-id", "7d444840-9dc0-41d1-b245-5ffdce74fad2"};
  const auto made = estate.reeve(create);
  CHECK(made.exit_code == 0);
  CHECK(has(made.errors, "CreateVm golden-74fad2: done"));
  CHECK(estate.reeve_json(create).at("target_display_name") == "golden-74fad2");
  CHECK(estate.reeve_json({"vm", "list"}).size() == 1);
  CHECK(estate.reeve({"image", "delete", "golden", "--yes"}).exit_code == 4);

  estate.reeve_json({"vm", "start", "golden-*"});
  const auto stopping =
      lines_of(estate.reeve({"vm", "stop", "golden-*", "--async"}).output).at(0).substr(5);
  CHECK(has(estate.reeve({"job", "list", "--active", "-o", "name"}).output, stopping));
  CHECK(estate.reeve({"job", "cancel", stopping.substr(0, 8)}).exit_code == 0);
  CHECK(estate.reeve({"job", "wait", stopping}).exit_code == 9);
  CHECK(has(estate.reeve({"job", "show", stopping}).output, "CANCELLED"));
  CHECK(estate.reeve({"job", "cancel", stopping}).exit_code == 4);
  estate.reeve_json({"vm", "delete", "golden-*", "--yes", "--force"});

  // A folder of an unknown machine: the agent cannot say whether it needs the image.
  const auto stray = estate.dir() / "agent/guests/7d444840-9dc0-41d1-b245-5ffdce74fad2";
  REQUIRE(std::filesystem::create_directory(stray));
  const auto parked = estate.reeve({"image", "delete", "golden", "--yes"});
  INFO(parked.errors);
  CHECK(parked.exit_code == 10);
  std::smatch choice;
  REQUIRE(std::regex_search(parked.errors, choice, std::regex("reeve job resolve (\\S+) retry")));
  const std::string job = choice[1];
  CHECK(has(estate.reeve({"job", "show", job}).output,
            "choice: reeve job resolve " + job + " retry"));
  // What the request cannot do is not offered: this resolved it.
  CHECK(estate.reeve({"job", "resolve", job, "retry", "--dry-run"}).exit_code == 2);
  CHECK(estate.reeve({"job", "resolve", job, "nonsense"}).exit_code == 2);
  CHECK(estate.reeve_json({"job", "show", job}).at("state") == "STATE_PARKED");
  std::filesystem::remove_all(stray);
  CHECK(estate.reeve({"job", "resolve", job, "retry", "--wait", "60"}).exit_code == 0);
  CHECK(estate.reeve({"image", "list", "-o", "name"}).output.empty());
  CHECK(estate.reeve({"job", "list", "--active", "-o", "name"}).output.empty());
}

TEST_CASE("tokens, contexts and the pin decide who talks to whom", "[system][root]") {
  const Estate estate{kSimulated};
  const auto made =
      estate.reeve({"server", "token", "create", "looker", "--role", "viewer", "--days", "1"});
  CHECK(made.exit_code == 0);
  const auto token_file = (estate.dir() / "looker.token").string();
  REQUIRE(write_file_durably(token_file, made.output, 0600).ok());
  CHECK(estate.reeve({"server", "token", "create", "x", "--role", "king"}).exit_code == 2);
  CHECK(has(estate.reeve({"server", "token", "list", "-o", "csv"}).output, "looker,VIEWER,"));

  // What the server prints of itself is what is asked for, and nothing else will do.
  const auto log = read_file((estate.dir() / "server.log").string()).value();
  std::smatch printed;
  REQUIRE(std::regex_search(log, printed, std::regex("(?:^|\n)ca (\\S+)\n")));
  const auto login = [&](const std::string& fingerprint) {
    return estate.reeve({"login", estate.api(), "--token-file", token_file, "--name", "looker",
                         "--fingerprint", fingerprint});
  };
  std::string wrong = printed[1];
  wrong.front() = wrong.front() == '0' ? '1' : '0';
  const auto mismatch = login(wrong);
  CHECK(mismatch.exit_code == 5);
  CHECK(has(mismatch.errors, "FINGERPRINT_MISMATCH"));
  CHECK(has(mismatch.errors, printed[1]));
  CHECK_FALSE(has(estate.reeve({"context", "list"}).output, "looker"));
  CHECK(login(printed[1]).exit_code == 0);

  CHECK(has(estate.reeve({"context", "list"}).output, "*  looker"));
  CHECK(estate.reeve({"vm", "list"}).exit_code == 0);
  CHECK(estate.reeve({"vm", "create", "x", "--disk", "1M"}).exit_code == 5);
  CHECK(estate.reeve({"context", "use", "default"}).exit_code == 0);
  CHECK(estate.reeve({"server", "token", "list"}).exit_code == 0);
  CHECK(estate.reeve({"--context", "looker", "server", "token", "list"}).exit_code == 5);
  CHECK(estate.reeve({"server", "token", "delete", "looker"}).exit_code == 2);
  CHECK(estate.reeve({"server", "token", "delete", "looker", "--yes"}).exit_code == 0);
  CHECK(estate.reeve({"vm", "list"}, {"REEVE_CONTEXT=looker"}).exit_code == 5);
  CHECK(estate.reeve({"context", "forget", "looker"}).exit_code == 0);
  const auto forgotten = estate.reeve({"context", "use", "looker"});
  CHECK(forgotten.exit_code == 3);
  CHECK(has(forgotten.errors, "no context 'looker'"));

  // Another server at the same address is not the one that was pinned.
  const auto other = estate.dir() / "other";
  REQUIRE(make_dirs(other).ok());
  Dialogue server({REEVE_SERVER_PROGRAM, "run", "--data", other.string(), "--api", "127.0.0.1:0",
                   "--link", "127.0.0.1:0"},
                  Dialogue::On::Pipes);
  REQUIRE(server.hears("api "));
  REQUIRE(server.hears("\n"));
  const std::string heard = server.heard();
  const auto at = heard.find("api ") + 4;
  const auto refused =
      estate.reeve({"vm", "list"}, {"REEVE_SERVER=" + heard.substr(at, heard.find('\n', at) - at)});
  CHECK(refused.exit_code == 6);
  CHECK(refused.output.empty());
}

TEST_CASE("shells complete with what the server knows", "[system][root]") {
  const Estate estate{kSimulated};
  create_vm(estate, "web-1");
  create_vm(estate, "other");
  const auto programs = std::filesystem::path(REEVE_PROGRAM).parent_path().string();
  const auto said_by = [&](std::vector<std::string> shell) {
    shell.insert(shell.begin(), {"env", "PATH=" + programs + ":/usr/bin:/bin",
                                 "REEVE_CONFIG=" + (estate.dir() / "contexts.toml").string(),
                                 "HOME=" + estate.dir().path().string()});
    return run({.argv = shell}).value().output;
  };
  CHECK(said_by({"bash", "-c",
                 "source <(reeve completion bash); COMP_WORDS=(reeve vm show w); COMP_CWORD=3; "
                 "_reeve; echo ${COMPREPLY[@]}"}) == "web-1\n");
  const std::string fish = "reeve completion fish | source; complete -C ";
  CHECK(said_by({"fish", "-c", fish + "'reeve vm show w'"}) == "web-1\n");
  CHECK(said_by({"fish", "-c", fish + "'reeve vm sto'"}) == "stop\n");
  CHECK(said_by({"fish", "-c", fish + "'reeve contex'"}) == "context\n");
  // What zsh's own system would call, with compadd saying what it was given.
  CHECK(said_by({"zsh", "-f", "-c",
                 "compdef() { :; }; compadd() { shift; eval 'print -l $'$1; }; "
                 "source <(reeve completion zsh); words=(reeve vm show w); CURRENT=4; _reeve"}) ==
        "web-1\n");
}

}  // namespace
}  // namespace reeve::test
