// tests/system/api/api_matrix.h - one good request for every method of the API, from which tests
// make bad ones by descriptor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "tests/system/api/api_server.h"

namespace reeve::test {

/// What good requests name, and what does not exist.
inline constexpr const char* kAbsent = "00000000-0000-4000-8000-000000000000";

/// A request with which nothing is wrong but that what it names does not exist, with every field
/// that somebody may set, nested ones too.
struct GoodRequest {
  std::string method{};                 ///< "VmService/GetVm"
  std::string json{};                   ///< NAME is kAbsent, CSR a certificate request
  std::vector<std::string> optional{};  ///< paths of fields that may be left out
  int code = 0;                         ///< of its answer
  std::string reason{};
};

/// FAILs when a method has none, or one that is no method's: whoever adds an RPC adds its row.
const GoodRequest& good_request(const google::protobuf::MethodDescriptor& method);

using MessagePtr = std::unique_ptr<google::protobuf::Message>;
MessagePtr parse_request(const google::protobuf::MethodDescriptor& method, const std::string& json);

/// A field of a request: at its top, or set in the message.
struct FieldPlace {
  std::string path{};  ///< "vm.spec.cpus"
  google::protobuf::Message* message = nullptr;
  const google::protobuf::FieldDescriptor* field = nullptr;
  bool is_set() const;
  void clear() const { message->GetReflection()->ClearField(message, field); }
};
/// All fields at the top, and those of nested messages that are set. Durations, times and masks are
/// leaves.
std::vector<FieldPlace> fields_of(google::protobuf::Message& request);

/// Sets the field to something wrong of its kind, one after the other, and calls `then(what)` for
/// each. False when no value of this field is wrong by itself: a flag, an etag.
bool spoil(const FieldPlace& place, const std::function<void(const std::string& what)>& then);

std::string full_name(const google::protobuf::MethodDescriptor& method);  ///< "VmService/GetVm"

}  // namespace reeve::test
