// tests/system/api/api_server.h - a real reeve-server in a scratch folder, and calls to any method
// of its API.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "base/subprocess.h"
#include "reeve/v1/error_detail.pb.h"
#include "reeve/v1/server_service.pb.h"
#include "tests/support/temp_dir.h"

namespace google::protobuf {
class MethodDescriptor;
class ServiceDescriptor;
}  // namespace google::protobuf

namespace reeve::test {

/// What a call came to.
struct Answer {
  int code = 0;
  std::string message{};
  std::string response{};  ///< serialized
  v1::ErrorDetail detail{};
};

class ApiServer {
 public:
  /// Starts and waits until it is ready. `extra` are further arguments of `run`.
  explicit ApiServer(std::vector<std::string> extra = {});
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  void start();
  int stop();   ///< SIGTERM; the exit code
  void kill();  ///< SIGKILL
  void restart();
  bool is_running();
  std::string log() const;
  std::filesystem::path data() const { return dir_ / "data"; }
  int api_port() const { return api_port_; }
  int link_port() const { return link_port_; }
  pid_t pid() const { return process_->pid(); }
  const std::string& admin_token() const { return admin_token_; }
  std::string ca_pem() const;

  std::shared_ptr<grpc::Channel> channel() const;
  /// A token of that role, made through the API.
  std::string token_for(v1::Role role) const;
  /// Calls any method by descriptor with serialized request bytes; no credentials when `token` is
  /// empty.
  Answer call(const google::protobuf::MethodDescriptor& method, const std::string& request,
              const std::string& token,
              std::chrono::milliseconds patience = std::chrono::seconds(20)) const;
  /// "VmService/GetVm" with a request in JSON, as administrator.
  Answer call_json(const std::string& method, const std::string& json) const;

 private:
  TempDir dir_;
  std::vector<std::string> extra_;
  std::optional<Process> process_{};
  int api_port_ = 0;
  int link_port_ = 0;
  std::string admin_token_{};
  mutable std::shared_ptr<grpc::Channel> channel_{};
};

/// All services of the API port.
std::vector<const google::protobuf::ServiceDescriptor*> services();
/// All their methods.
std::vector<const google::protobuf::MethodDescriptor*> methods();
/// Polls until `condition` holds; FAILs with `what` after `limit`.
void eventually(const std::string& what, const std::function<bool()>& condition,
                std::chrono::seconds limit = std::chrono::seconds(30));

}  // namespace reeve::test
