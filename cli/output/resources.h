// cli/output/resources.h - the table columns of each kind of resource.
#pragma once

#include "cli/output/format.h"
#include "reeve/v1/event.pb.h"
#include "reeve/v1/server_service.pb.h"

namespace reeve::cli {

/// "vms/3f0c..." without the kind.
std::string uid_of(std::string_view resource_name);
/// The start of a uid: enough for people to type.
std::string short_uid(std::string_view resource_name_or_uid);

/// What people call the resource of a name. Not called for csv.
using NameOf = std::function<std::string(const std::string& resource_name)>;

std::vector<Column<v1::VirtualMachine>> vm_columns(const NameOf& name_of = short_uid);
const std::vector<Column<v1::Host>>& host_columns();
std::vector<Column<v1::Hypervisor>> hypervisor_columns(const NameOf& name_of = short_uid);
const std::vector<Column<v1::Image>>& image_columns();
const std::vector<Column<v1::Job>>& job_columns();
const std::vector<Column<v1::AuditEntry>>& audit_columns();
const std::vector<Column<v1::ApiToken>>& token_columns();

/// "env=prod,tier=1", sorted.
std::string join_map(const google::protobuf::Map<std::string, std::string>& labels);
/// The end of a page: which verbs are possible, and why not.
std::string actions_text(const google::protobuf::RepeatedPtrField<v1::AllowedAction>& actions);

}  // namespace reeve::cli
