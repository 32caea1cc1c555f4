// tests/support/libvirtd.h - a private libvirtd for one test, by tools/testbed/libvirtd.sh.
#pragma once

#include <string>
#include <vector>

#include "base/subprocess.h"
#include "tests/support/temp_dir.h"

namespace reeve::test {

/// Comes up in about half a second; everything in it, guests too, ends with the object (or with the
/// test process, should that die). Needs root. Failures abort the test with the script's words.
class Libvirtd {
 public:
  enum class Network { Shared, Own };
  enum class Kvm { Hidden, Broken };  ///< Broken: the device is there and runs no guest

  enum class Groups { None, Version1 };  ///< control groups that guests are put in

  explicit Libvirtd(Network network = Network::Shared, Kvm kvm = Kvm::Hidden,
                    Groups groups = Groups::None);
  ~Libvirtd();
  Libvirtd(const Libvirtd&) = delete;
  Libvirtd& operator=(const Libvirtd&) = delete;

  /// qemu+unix:///system?socket=..., to be used from outside its namespaces.
  const std::string& uri() const { return uri_; }
  /// An orderly restart, and the two halves of a crash. Guests go on through all of them.
  void restart() const { script("restart"); }
  void kill() const { script("kill"); }
  void bring_up() const { script("up"); }
  /// The daemon stops answering, sockets open; and goes on. Must not end frozen: thaw it.
  void freeze() const { script("freeze"); }
  void thaw() const { script("thaw"); }
  /// `virsh -c uri() arguments...`; any exit code.
  Finished virsh(const std::vector<std::string>& arguments) const;

 private:
  std::string script(const std::string& verb, const std::vector<std::string>& options = {}) const;

  TempDir dir_;
  std::string uri_;
};

}  // namespace reeve::test
