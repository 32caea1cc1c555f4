#include "agent/driver/core/guest_network.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/subprocess.h"

namespace reeve::agent::core_driver {
namespace {

using namespace std::chrono_literals;

constexpr int kFirstNumber = 10;  ///< in the vmm process; below are its own

Error unavailable(const std::string& what, const std::string& remedy) {
  return Error{Code::FailedPrecondition, "NETWORK_UNAVAILABLE", what}.remedy(remedy);
}

/// At most 15 characters, the same for a card every time.
std::string tap_name(const core::v1::GuestRecord& record, int card) {
  return "rv" + record.uid().substr(0, 8) + "n" + std::to_string(card);
}

Status ip(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  const auto done = run_checked({.argv = std::move(arguments)});
  if (done.ok()) return {};
  return unavailable(done.error().message(), "install iproute2; the agent must run as root");
}

void remove_tap(const std::string& name) {
  (void)run({.argv = {"ip", "link", "delete", "dev", name}});
}

/// With as many pairs of queues as the card is to have, or one where this kernel gives no more. One
/// that is there was left behind, perhaps for another number.
Status make_tap(core::v1::NicConfig& nic, const std::string& bridge) {
  const std::string& name = nic.tap_name();
  remove_tap(name);
  std::vector<std::string> add{"tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr"};
  if (nic.queue_pairs() > 1) {
    add.emplace_back("multi_queue");
    if (const auto made = ip(add); !made.ok()) {
      log::warning("a network card has one pair of queues",
                   {{"tap", name}, {"why", made.error().message()}});
      nic.set_queue_pairs(1);
      add.pop_back();
    }
  }
  if (nic.queue_pairs() <= 1) TRY(ip(std::move(add)));
  if (auto joined = ip({"link", "set", "dev", name, "master", bridge, "up"}); !joined.ok())
    return unavailable(
        "cannot put '" + name + "' on bridge '" + bridge + "': " + joined.error().message(),
        "make the bridge on the host: ip link add " + bridge + " type bridge");
  return {};
}

/// Our end of the socket whose other end a new passt holds.
Result<Fd> start_passt() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return errno_error("making a socket for passt");
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  const std::string number = std::to_string(kFirstNumber);
  auto passt = Process::spawn({"passt", "--quiet", "--fd", number}, {}, Process::Session::Own,
                              {{theirs.get(), kFirstNumber}});
  if (!passt.ok())
    return unavailable("passt cannot be started: " + passt.error().message(), "install passt");
  // It goes to the background once it is ready.
  const auto code = passt.value().wait(10s);
  if (!code.ok() || code.value() != 0)
    return unavailable("passt does not run (exit code " +
                           (code.ok() ? std::to_string(code.value()) : std::string("none")) + ")",
                       "the host needs a network with a default route; see the system log");
  return ours;
}

}  // namespace

Result<Plugs> plug_network(core::v1::GuestRecord& record) {
  Plugs plugs;
  for (int i = 0; i < record.running().nics_size(); ++i) {
    auto& nic = *record.mutable_running()->mutable_nics(i);
    nic.clear_tap_name();
    nic.clear_passt_fd();
    const std::string& bridge = record.bridges(i);
    if (!bridge.empty()) {
      nic.set_tap_name(tap_name(record, i));
      TRY(make_tap(nic, bridge));
      continue;
    }
    const int number = kFirstNumber + i;
    plugs.fds.push_back(TRY(start_passt()));
    plugs.keep.emplace_back(plugs.fds.back().get(), number);
    nic.set_passt_fd(static_cast<std::uint32_t>(number));
  }
  return plugs;
}

void unplug_network(const core::v1::GuestRecord& record) {
  for (const auto& nic : record.running().nics())
    if (!nic.tap_name().empty()) remove_tap(nic.tap_name());
}

bool has_passt() {
  const auto version = run({.argv = {"passt", "--version"}});
  return version.ok() && version.value().exit_code == 0;
}

}  // namespace reeve::agent::core_driver
