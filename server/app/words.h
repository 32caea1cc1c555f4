// server/app/words.h - the words that states and kinds are stored as, and the names of resources.
//
// An enumerator STATE_RUNNING is stored as "running", so that SQL reads well and an enum may be
// renumbered.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "reeve/v1/host.pb.h"
#include "reeve/v1/image.pb.h"
#include "reeve/v1/job.pb.h"
#include "reeve/v1/vm.pb.h"

namespace reeve::server {

std::string to_word(v1::VirtualMachine::State state);
std::string to_word(v1::VirtualMachine::Origin origin);
std::string to_word(v1::Host::State state);
std::string to_word(v1::Image::State state);
std::string to_word(v1::Image::Kind kind);
std::string to_word(v1::DiskFormat format);
std::string to_word(v1::HypervisorKind kind);
std::string to_word(v1::Job::State state);
std::string to_word(v1::JobStep::State state);

/// Words we never wrote read as UNSPECIFIED.
v1::VirtualMachine::State vm_state_of(std::string_view word);
v1::VirtualMachine::Origin vm_origin_of(std::string_view word);
v1::Host::State host_state_of(std::string_view word);
v1::Image::State image_state_of(std::string_view word);
v1::Image::Kind image_kind_of(std::string_view word);
v1::DiskFormat disk_format_of(std::string_view word);
v1::HypervisorKind hypervisor_kind_of(std::string_view word);
v1::Job::State job_state_of(std::string_view word);
v1::JobStep::State step_state_of(std::string_view word);

/// "vms/{uid}" -> uid. InvalidArgument/BAD_FIELD naming `field` when it is not `collection`/{uuid}.
Result<std::string> uid_of(std::string_view name, std::string_view collection,
                           std::string_view field);
inline std::string vm_name(std::string_view uid) {
  return "vms/" + std::string(uid);
}
inline std::string host_name(std::string_view uid) {
  return "hosts/" + std::string(uid);
}
inline std::string image_name(std::string_view uid) {
  return "images/" + std::string(uid);
}
inline std::string job_name(std::string_view uid) {
  return "jobs/" + std::string(uid);
}

}  // namespace reeve::server
