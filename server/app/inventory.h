// server/app/inventory.h - the inventory as one snapshot shows it: rows joined to what the API
// shows and what plans decide on. Reads only; remembers hosts and hypervisors it has looked up.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "db/model/host.h"
#include "db/model/hypervisor.h"
#include "db/model/image.h"
#include "db/model/vm.h"
#include "db/sqlite/transaction.h"
#include "reeve/v1/host.pb.h"
#include "reeve/v1/image.pb.h"
#include "reeve/v1/vm.pb.h"
#include "server/app/caller.h"
#include "server/app/vm_state.h"

namespace reeve::server {

/// A hypervisor with its document.
struct KnownHypervisor {
  db::Hypervisor row{};
  v1::Hypervisor shown{};
};

/// A host with its documents and hypervisors.
struct KnownHost {
  db::Host row{};
  v1::HostStatus status{};
  std::vector<KnownHypervisor> hypervisors{};
  bool connected = false;
  std::vector<std::string> features{};  ///< agreed on with its agent

  /// FailedPrecondition/AGENT_TOO_OLD.
  Status require_feature(std::string_view feature) const;
  const KnownHypervisor* hypervisor(std::string_view id) const;
  const KnownHypervisor* hypervisor_by_uid(std::string_view uid) const;
};

/// Lives as long as its transaction.
class Inventory {
 public:
  Inventory(db::ReadTransaction& tx, WallTime now) : tx_(tx), now_(now) {}

  db::ReadTransaction& tx() { return tx_; }
  WallTime now() const { return now_; }

  /// NotFound/HOST_NOT_FOUND.
  Result<std::shared_ptr<const KnownHost>> host(const std::string& uid);
  /// Every host, by name.
  Result<std::vector<std::shared_ptr<const KnownHost>>> hosts();
  /// Every machine on a host.
  Result<std::vector<db::Vm>> vms_on(const std::string& host_uid);

  /// What decides which verbs are possible on a machine.
  Result<VmFacts> facts(const db::Vm& row);
  /// Aborted/RESOURCE_BUSY when a job holds `resource`.
  Status require_free(const std::string& resource);
  /// What people call it: "machine 'web-1'"; the resource itself when it has no name.
  std::string subject_of(const std::string& resource);

  /// The resource as a caller sees it, with active_job and allowed_actions.
  Status show(const db::Vm& row, PermissionSet permissions, v1::VirtualMachine& vm);
  Result<v1::Image> show(const db::Image& row, PermissionSet permissions);
  Result<v1::Host> show(const db::Host& row, PermissionSet permissions);

  /// Why DeleteImage is refused now; nothing when it is possible: Aborted/RESOURCE_BUSY,
  /// Unavailable/HOST_UNREACHABLE, FailedPrecondition/IMAGE_IN_USE.
  Result<std::optional<Error>> deletion_refusal(const db::Image& row);
  /// Why DeleteHost without force is refused now: FailedPrecondition/HOST_NOT_EMPTY,
  /// Aborted/RESOURCE_BUSY.
  Result<std::optional<Error>> deletion_refusal(const db::Host& row);

 private:
  /// Decides allowed_actions of a machine that no job holds; machines alike in it share them.
  using Circumstances =
      std::tuple<std::string, std::string, std::string, std::string, std::uint32_t>;
  using Actions = google::protobuf::RepeatedPtrField<v1::AllowedAction>;
  Result<HoldingJob> holder_of(const std::string& resource);
  Status require_free(const std::string& resource, const HoldingJob& holder);
  Result<VmFacts> facts_of(const db::Vm& row, HoldingJob holder);
  Result<std::optional<Error>> deletion_refusal(const db::Image& row, const HoldingJob& holder);
  Result<std::shared_ptr<const KnownHost>> load(db::Host row);

  db::ReadTransaction& tx_;
  const WallTime now_;
  std::map<std::string, std::shared_ptr<const KnownHost>> hosts_{};
  std::map<Circumstances, Actions> actions_{};
};

}  // namespace reeve::server
