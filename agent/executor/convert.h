// agent/executor/convert.h - between the agent's own types and the messages of the link.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include "agent/driver/driver.h"
#include "base/clock.h"
#include "base/status.h"
#include "reeve/agent/v1/observation.pb.h"
#include "reeve/v1/error_detail.pb.h"
#include "reeve/v1/host.pb.h"

namespace reeve::agent {

reeve::v1::ErrorInfo to_proto(const Error& error);
Error error_of(const reeve::v1::ErrorInfo& info);
google::protobuf::Timestamp to_proto(WallTime time);
v1::GuestSeen to_proto(const GuestSeen& seen, const std::string& hypervisor);
reeve::v1::Hypervisor to_proto(const DriverFacts& facts, const std::string& id);

}  // namespace reeve::agent
