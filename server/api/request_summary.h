// server/api/request_summary.h - what the audit log says about a request: its resource, and its
// content without secrets.
#pragma once

#include <string>

#include <google/protobuf/message.h>

namespace reeve::server {

/// The resource a request is about: its field `name` or `job`, or `name` or `display_name` of the
/// resource inside it. Empty when it names none.
std::string resource_of(const google::protobuf::Message& request);
/// The request as JSON without fields marked (sensitive), at most 2 KiB.
std::string summary_of(const google::protobuf::Message& request);
/// Empties every field marked (sensitive), at any depth.
void remove_secrets(google::protobuf::Message& message);

}  // namespace reeve::server
