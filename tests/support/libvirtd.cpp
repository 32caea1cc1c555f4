// tests/support/libvirtd.cpp - calls the script.
#include "tests/support/libvirtd.h"

#include <stdexcept>

#include <unistd.h>

#include "tests/support/paths.h"

namespace reeve::test {

Libvirtd::Libvirtd(Network network, Kvm kvm, Groups groups) {
  std::vector<std::string> options{"--owner", std::to_string(::getpid())};
  if (network == Network::Own) options.emplace_back("--net");
  if (kvm == Kvm::Broken) options.emplace_back("--broken-kvm");
  if (groups == Groups::Version1) options.emplace_back("--cgroups");
  uri_ = script("start", options);
  while (!uri_.empty() && uri_.back() == '\n') uri_.pop_back();
}

Libvirtd::~Libvirtd() {
  const Command stop{.argv = {source_dir() / "tools/testbed/libvirtd.sh", "stop", dir_ / "d"}};
  static_cast<void>(run(stop));
}

std::string Libvirtd::script(const std::string& verb,
                             const std::vector<std::string>& options) const {
  Command command{.argv = {source_dir() / "tools/testbed/libvirtd.sh", verb, dir_ / "d"}};
  command.argv.insert(command.argv.end(), options.begin(), options.end());
  auto outcome = run_checked(command);
  if (!outcome.ok()) throw std::runtime_error(outcome.error().message());  // Catch2 reports it
  return std::move(outcome).value();
}

Finished Libvirtd::virsh(const std::vector<std::string>& arguments) const {
  Command command{.argv = {"virsh", "-c", uri_}};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  auto outcome = run(command);
  if (!outcome.ok()) throw std::runtime_error(outcome.error().message());
  return std::move(outcome).value();
}

}  // namespace reeve::test
