#include "tests/system/api/api_server.h"

#include <csignal>
#include <future>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "server/api/method_policy.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

grpc::ByteBuffer to_buffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string to_text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok()) return {};
  std::string out;
  for (const auto& slice : slices)
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

}  // namespace

std::vector<const google::protobuf::ServiceDescriptor*> services() {
  return server::api_services();
}

std::vector<const google::protobuf::MethodDescriptor*> methods() {
  std::vector<const google::protobuf::MethodDescriptor*> out;
  for (const auto* service : services())
    for (int i = 0; i < service->method_count(); ++i) out.push_back(service->method(i));
  return out;
}

void eventually(const std::string& what, const std::function<bool()>& condition,
                std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) FAIL("not in time: " << what);
    std::this_thread::sleep_for(20ms);
  }
}

ApiServer::ApiServer(std::vector<std::string> extra) : extra_(std::move(extra)) {
  REQUIRE(make_dirs(data()).ok());
  start();
  admin_token_ = read_file(data() / "admin.token").value();
  admin_token_.pop_back();
}

ApiServer::~ApiServer() {
  if (process_) stop();
}

void ApiServer::start() {
  const auto ports = data() / "ports.json";
  std::vector<std::string> argv{
      REEVE_SERVER_PROGRAM, "run",    "--data",     data().string(), "--api",
      "127.0.0.1:0",        "--link", "127.0.0.1:0"};
  argv.insert(argv.end(), extra_.begin(), extra_.end());
  const Fd out = open_file(dir_ / "out", O_WRONLY | O_CREAT | O_TRUNC).value();
  const Fd log_file = open_file(dir_ / "log", O_WRONLY | O_CREAT | O_APPEND).value();
  process_.emplace(
      Process::spawn(argv, {.output = out.get(), .errors = log_file.get()}, Process::Session::Own)
          .value());
  eventually("the server is ready", [&] {
    if (!is_running()) FAIL("the server ended:\n" << log());
    return read_file(dir_ / "out").value().find("ready\n") != std::string::npos;
  });
  const auto json = nlohmann::json::parse(read_file(ports).value());
  api_port_ = json.at("api").get<int>();
  link_port_ = json.at("link").get<int>();
  channel_.reset();
}

int ApiServer::stop() {
  process_->signal(SIGTERM);
  auto code = process_->wait(20s);
  if (!code.ok()) {
    kill();
    return -1;
  }
  process_.reset();
  return code.value();
}

void ApiServer::kill() {
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait(10s));
  process_.reset();
}

void ApiServer::restart() {
  stop();
  start();
}

bool ApiServer::is_running() {
  return process_ && !process_->wait(0ms).ok();
}

std::string ApiServer::log() const {
  return read_file(dir_ / "log", 256u << 20).value();
}

std::string ApiServer::ca_pem() const {
  return read_file(data() / "ca/ca.pem").value();
}

std::shared_ptr<grpc::Channel> ApiServer::channel() const {
  if (channel_) return channel_;
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca_pem();
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("reeve-server");
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(api_port_),
                                       grpc::SslCredentials(options), arguments);
  return channel_;
}

Answer ApiServer::call(const google::protobuf::MethodDescriptor& method, const std::string& request,
                       const std::string& token, std::chrono::milliseconds patience) const {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  const auto bytes = to_buffer(request);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/" + method.service()->full_name() + "/" + method.name(), {}, &bytes,
                 &response, [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const auto status = done.get_future().get();
  Answer answer{.code = static_cast<int>(status.error_code()),
                .message = status.error_message(),
                .response = status.ok() ? to_text(response) : std::string(),
                .detail = {}};
  static_cast<void>(answer.detail.ParseFromString(status.error_details()));
  return answer;
}

Answer ApiServer::call_json(const std::string& name, const std::string& json) const {
  for (const auto* method : methods()) {
    if (method->service()->name() + "/" + method->name() != name) continue;
    google::protobuf::DynamicMessageFactory factory;
    const std::unique_ptr<google::protobuf::Message> request(
        factory.GetPrototype(method->input_type())->New());
    const auto parsed = google::protobuf::util::JsonStringToMessage(json, request.get());
    if (!parsed.ok()) FAIL("bad JSON in test: " << json << ": " << parsed.ToString());
    return call(*method, request->SerializeAsString(), admin_token_);
  }
  FAIL("no method " << name);
  return {};
}

std::string ApiServer::token_for(v1::Role role) const {
  const auto name = v1::Role_Name(role);
  const auto answer =
      call_json("ServerService/CreateApiToken",
                R"({"token":{"display_name":")" + name + R"(","role":")" + name + "\"}}");
  REQUIRE(answer.code == 0);
  v1::ApiToken made;
  REQUIRE(made.ParseFromString(answer.response));
  return made.secret();
}

}  // namespace reeve::test
