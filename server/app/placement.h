// server/app/placement.h - chooses the host and hypervisor of a new machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "reeve/v1/job.pb.h"
#include "server/app/inventory.h"

namespace reeve::server {

struct PlacementRequest {
  std::string host_uid{};       ///< empty: any
  std::string hypervisor_id{};  ///< empty: any
  std::int32_t cpus = 0;
  std::int64_t memory_mib = 0;
  std::vector<std::string> bridges{};
  std::string image_host_uid{};  ///< where its images are; empty when it has none
  std::string image_display_name{};
  bool has_kernel = false;    ///< is given a kernel; without one it needs firmware
  bool user_network = false;  ///< has a card on the user network
  bool limits = false;        ///< has limits of its own
};

struct Placed {
  std::shared_ptr<const KnownHost> host{};
  const KnownHypervisor* hypervisor = nullptr;  ///< of `host`
  v1::Placement shown{};
};

/// A hypervisor that was not named is the own core where it is available and can run the machine
/// (it has no firmware yet, and a user network only with passt), else one through libvirt.
/// The connected host that has the images, the hypervisor and the most free memory: its memory
/// minus what all its machines are made with. NotFound/HOST_NOT_FOUND or HYPERVISOR_NOT_FOUND for
/// what was named, Unavailable/HOST_UNREACHABLE when the named host is not connected,
/// ResourceExhausted/NO_HOST_FITS naming every host and what it lacks.
Result<Placed> place(Inventory& inventory, const PlacementRequest& request);

/// ResourceExhausted/NO_HOST_FITS when the host could not carry such a machine even if it were
/// alone there, or its hypervisor has no machines with so many processors. `hypervisor` may be
/// null.
Status require_possible(const KnownHost& host, const KnownHypervisor* hypervisor, std::int32_t cpus,
                        std::int64_t memory_mib);

/// FailedPrecondition/NOT_SUPPORTED when the hypervisor does not limit what machines take.
Status require_limits(const KnownHost& host, const KnownHypervisor* hypervisor);

/// ResourceExhausted/NO_HOST_FITS when the machines that run on the host leave too little for
/// `row`.
Status require_room_to_start(Inventory& inventory, const db::Vm& row);

}  // namespace reeve::server
