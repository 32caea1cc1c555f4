// server/app/views.h - rows of the database as the resources of the API, and back.
//
// What the documents hold:
//   host.spec          v1::Host with labels               host.status        v1::HostStatus
//   hypervisor.spec    empty                              hypervisor.status  v1::Hypervisor
//   vm.spec            v1::VirtualMachine with labels,    vm.status          v1::VirtualMachine
//   with
//                      description, spec                                     status, state_reason
//   image.spec         v1::Image with labels, description image.status       v1::Image with
//                                                                            virtual_size_bytes
//   job.plan           PlanRecord                         job.doc            JobRecord
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/timestamp.pb.h>

#include "base/clock.h"
#include "base/status.h"
#include "db/model/host.h"
#include "db/model/hypervisor.h"
#include "db/model/image.h"
#include "db/model/job.h"
#include "db/model/vm.h"
#include "reeve/journal/v1/job_record.pb.h"
#include "reeve/v1/host.pb.h"
#include "reeve/v1/image.pb.h"
#include "reeve/v1/job.pb.h"
#include "reeve/v1/vm.pb.h"

namespace reeve::server {

google::protobuf::Timestamp to_proto(WallTime time);
/// Out-of-range times read as the nearest WallTime.
WallTime time_of(const google::protobuf::Timestamp& time);

/// Adds a column's message to `into`. DataLoss/BAD_DOCUMENT.
Status merge_document(const std::string& bytes, std::string_view what,
                      google::protobuf::MessageLite& into);

/// A message from a column. DataLoss/BAD_DOCUMENT when the bytes are not one.
template <class Message>
Result<Message> document(const std::string& bytes, std::string_view what) {
  Message message;
  TRY(merge_document(bytes, what, message));
  return message;
}

/// The resources without allowed_actions and active_job, which need more than the row.
Result<v1::VirtualMachine> to_proto(const db::Vm& row);
Status fill(const db::Vm& row, v1::VirtualMachine& vm);  ///< in place; `vm` is empty
Result<v1::Image> to_proto(const db::Image& row);
Result<v1::Host> to_proto(const db::Host& row);
Result<v1::Hypervisor> to_proto(const db::Hypervisor& row);
/// Without live progress.
Result<v1::Job> to_proto(const db::Job& row);

/// The intent document of a machine: what people set, nothing observed.
std::string vm_spec_document(const v1::VirtualMachine& vm);
std::string vm_status_document(const v1::VirtualMachine& vm);
/// What a machine with this spec is made with.
db::VmDevices devices_of(const v1::VmSpec& spec);
std::string image_spec_document(const v1::Image& image);
std::string image_status_document(const v1::Image& image);

/// Replaces first-boot data by nothing, for callers who may not edit the machine: it often holds
/// secrets.
void redact(v1::VirtualMachine& vm);

}  // namespace reeve::server
