// The agent port with a real gRPC agent on it: identity, consoles between client and agent,
// uploads.
#include <array>
#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "reeve/v1/image_service.grpc.pb.h"
#include "reeve/v1/vm_service.grpc.pb.h"
#include "tests/system/api/api_server.h"
#include "tests/system/api/fake_agent.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
using ConsoleCall = grpc::ClientReaderWriter<v1::AttachConsoleRequest, v1::AttachConsoleResponse>;
constexpr const char* kGuest = "11111111-1111-4111-8111-111111111111";

struct Linked {
  ApiServer server;
  FakeAgent agent{server};

  void connect() {
    REQUIRE(agent.connect(agent.host_uid()).has_welcome());
    agent.observe_guest(kGuest);
    eventually("the guest is in the inventory", [&] {
      return server.call_json("VmService/GetVm", std::string(R"({"name":"vms/)") + kGuest + "\"}")
                 .code == 0;
    });
  }
};

/// A client on the console.
struct Console {
  std::unique_ptr<v1::VmService::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<ConsoleCall> call;
  std::string text;
  bool writable = false;

  Console(const ApiServer& server, v1::ConsoleOpen::Mode mode)
      : stub(v1::VmService::NewStub(server.channel())) {
    context.AddMetadata("authorization", "Bearer " + server.admin_token());
    context.set_deadline(std::chrono::system_clock::now() + 20s);
    call = stub->AttachConsole(&context);
    v1::AttachConsoleRequest open;
    open.mutable_open()->set_name(std::string("vms/") + kGuest);
    open.mutable_open()->set_mode(mode);
    open.mutable_open()->set_from_offset(-1);
    call->Write(open);
  }
  /// Reads one message; false at the end of the call.
  bool read() {
    v1::AttachConsoleResponse message;
    if (!call->Read(&message)) return false;
    text += message.output();
    writable = message.writable();
    return true;
  }
  void type(const std::string& bytes) {
    v1::AttachConsoleRequest input;
    input.set_input(bytes);
    call->Write(input);
  }
  std::string end() {
    const auto status = call->Finish();
    v1::ErrorDetail detail;
    static_cast<void>(detail.ParseFromString(status.error_details()));
    return detail.reason();
  }
};

void print(FakeAgent::Relay& relay, std::int64_t offset, const std::string& bytes) {
  agent::v1::RelayConsoleRequest output;
  output.mutable_output()->set_offset(offset);
  output.mutable_output()->set_data(bytes);
  relay.Write(output);
}

TEST_CASE("an agent is who its key says, and a removed host is refused", "[api][link]") {
  Linked linked;
  CHECK(linked.agent.connect(kGuest).refusal().reason() == "HOST_KEY_MISMATCH");
  linked.agent.hang_up();
  linked.connect();
  const auto name = R"({"force":true,"name":"hosts/)" + linked.agent.host_uid() + "\"}";
  const auto removed = linked.server.call_json("HostService/DeleteHost", name);
  INFO(removed.message);
  REQUIRE(removed.code == 0);
  linked.agent.hang_up();
  CHECK(linked.agent.connect(linked.agent.host_uid()).refusal().reason() == "HOST_KEY_UNKNOWN");
}

TEST_CASE("server and agent agree on the features that both have", "[api][link]") {
  const ApiServer server;
  FakeAgent agent(server);
  agent.features = {"saved-state", "of-a-later-version"};
  const auto welcome = agent.connect(agent.host_uid()).welcome();
  REQUIRE(welcome.features_size() == 1);
  CHECK(welcome.features(0) == "saved-state");
  agent.hang_up();
  agent.features.clear();
  CHECK(agent.connect(agent.host_uid()).welcome().features_size() == 0);
}

TEST_CASE("a console carries output and input, to several readers and from one writer",
          "[api][link]") {
  Linked linked;
  linked.agent.on_console = [](const agent::v1::OpenConsole&, FakeAgent::Relay& relay) {
    print(relay, 100, "login: ");
    agent::v1::RelayConsoleResponse input;
    while (relay.Read(&input)) print(relay, 107, "<" + input.input() + ">");
  };
  linked.connect();
  Console writer(linked.server, v1::ConsoleOpen::MODE_WRITE);
  while (writer.text.find("login: ") == std::string::npos) REQUIRE(writer.read());
  CHECK(writer.writable);
  Console reader(linked.server, v1::ConsoleOpen::MODE_READ);
  while (reader.text.find("login: ") == std::string::npos) REQUIRE(reader.read());
  CHECK_FALSE(reader.writable);
  writer.type("root\n");
  while (writer.text.find("<root\n>") == std::string::npos) REQUIRE(writer.read());

  Console refused(linked.server, v1::ConsoleOpen::MODE_WRITE);
  CHECK_FALSE(refused.read());
  CHECK(refused.end() == "CONSOLE_WRITER_TAKEN");
  Console thief(linked.server, v1::ConsoleOpen::MODE_TAKE_OVER);
  while (thief.text.find("login: ") == std::string::npos) REQUIRE(thief.read());
  CHECK(thief.writable);
  while (writer.writable) REQUIRE(writer.read());  // is told, and stays as a reader
  for (auto* client : {&writer, &reader, &thief}) client->context.TryCancel();
  for (auto* client : {&writer, &reader, &thief}) client->end();
}

TEST_CASE("a flood of output reaches a slow reader whole, in order and with bounded memory",
          "[api][link]") {
  constexpr std::int64_t kChunk = 32 << 10, kChunks = 512;  // 16 MiB through a pipe of 256 KiB
  Linked linked;
  linked.agent.on_console = [](const agent::v1::OpenConsole&, FakeAgent::Relay& relay) {
    for (std::int64_t i = 0; i < kChunks; ++i)
      print(relay, i * kChunk, std::string(kChunk, static_cast<char>('a' + i % 26)));
    agent::v1::RelayConsoleResponse input;
    relay.Read(&input);  // until the client goes
  };
  linked.connect();
  Console client(linked.server, v1::ConsoleOpen::MODE_READ);
  std::this_thread::sleep_for(300ms);  // everything the transport may hold is held
  std::int64_t next = 0;
  v1::AttachConsoleResponse message;
  while (next < kChunk * kChunks && client.call->Read(&message)) {
    if (message.output().empty()) continue;
    REQUIRE(message.offset() == next);
    REQUIRE(message.output()[0] == static_cast<char>('a' + next / kChunk % 26));
    next += static_cast<std::int64_t>(message.output().size());
  }
  CHECK(next == kChunk * kChunks);
  client.context.TryCancel();
  client.end();
}

TEST_CASE("a paste reaches a slow host whole and in order, and ends when its client leaves",
          "[api][link]") {
  constexpr std::size_t kChunk = 16 << 10, kChunks = 256;  // 4 MiB through a pipe of 64 KiB
  Linked linked;
  std::string typed;
  std::atomic<bool> whole{false}, stuck{false}, ended{false};
  linked.agent.on_console = [&](const agent::v1::OpenConsole&, FakeAgent::Relay& relay) {
    agent::v1::RelayConsoleResponse input;
    if (!whole) {
      print(relay, 0, "x");
      while (typed.size() < kChunk * kChunks && relay.Read(&input)) {
        typed += input.input();
        if (typed.size() % (16 * kChunk) == 0) std::this_thread::sleep_for(5ms);
      }
      whole = true;
      return;
    }
    // A host whose guest takes nothing reads nothing, and says each second that it is there.
    stuck = true;
    while (relay.Write({})) std::this_thread::sleep_for(100ms);
    ended = true;
  };
  linked.connect();
  std::string paste;
  for (std::size_t i = 0; i < kChunks; ++i)
    paste += std::string(kChunk, static_cast<char>('a' + i % 26));
  {
    Console client(linked.server, v1::ConsoleOpen::MODE_WRITE);
    REQUIRE(client.read());
    for (std::size_t at = 0; at < paste.size(); at += kChunk) client.type(paste.substr(at, kChunk));
    eventually("the host has taken all", [&] { return whole.load(); });
    client.context.TryCancel();
    client.end();
  }
  CHECK((typed == paste));
  Console client(linked.server, v1::ConsoleOpen::MODE_TAKE_OVER);
  REQUIRE(client.read());
  eventually("the host's relay is there", [&] { return stuck.load(); });
  std::thread typing([&] {
    for (std::size_t at = 0; at < paste.size(); at += kChunk) client.type(paste.substr(at, kChunk));
  });
  std::this_thread::sleep_for(500ms);
  client.context.TryCancel();
  typing.join();
  client.end();
  eventually("the relay has ended", [&] { return ended.load(); });
}

TEST_CASE("a console ends with UNAVAILABLE when its agent goes, or does not come", "[api][link]") {
  Linked linked;
  linked.agent.on_console = [](const agent::v1::OpenConsole&, FakeAgent::Relay& relay) {
    print(relay, 0, "x");
    std::this_thread::sleep_for(100ms);
  };
  linked.connect();
  Console client(linked.server, v1::ConsoleOpen::MODE_READ);
  while (client.read()) {
  }
  CHECK(client.text == "x");
  CHECK(client.end() == "HOST_UNREACHABLE");
  linked.agent.hang_up();
  eventually("the host counts as away", [&] {
    Console late(linked.server, v1::ConsoleOpen::MODE_READ);
    while (late.read()) {
    }
    return late.end() == "HOST_UNREACHABLE";
  });
}

TEST_CASE("a console that its agent cannot relay ends with the agent's reason", "[api][link]") {
  Linked linked;
  linked.agent.on_console = [](const agent::v1::OpenConsole&, FakeAgent::Relay& relay) {
    agent::v1::RelayConsoleRequest message;
    auto& refusal = *message.mutable_refusal();
    refusal.set_code(static_cast<int>(Code::NotFound));
    refusal.set_message("no files");
    refusal.mutable_detail()->set_reason("GUEST_FILES_NOT_FOUND");
    relay.Write(message);
    relay.WritesDone();
    agent::v1::RelayConsoleResponse input;
    while (relay.Read(&input)) {
    }
  };
  linked.connect();
  Console client(linked.server, v1::ConsoleOpen::MODE_READ);
  while (client.read()) {
  }
  CHECK(client.text.empty());
  CHECK(client.end() == "GUEST_FILES_NOT_FOUND");
}

/// Begins an import from an upload of `size` bytes; the job's name.
std::string begin_import(const ApiServer& server, const std::string& name, std::size_t size) {
  const auto answer = server.call_json("ImageService/ImportImage",
                                       R"({"image":{"display_name":")" + name +
                                           R"(","kind":"KIND_KERNEL"},"upload_bytes":")" +
                                           std::to_string(size) + "\"}");
  INFO(answer.message);
  REQUIRE(answer.code == 0);
  v1::Job job;
  REQUIRE(job.ParseFromString(answer.response));
  return job.name();
}

/// Sends `bytes` of an upload in chunks; the reason of its failure, or "OK".
std::string upload(const ApiServer& server, const std::string& job, const std::string& bytes,
                   std::size_t chunk = 256u << 10) {
  const auto stub = v1::ImageService::NewStub(server.channel());
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + server.admin_token());
  context.set_deadline(std::chrono::system_clock::now() + 30s);
  v1::UploadImageResponse response;
  const auto call = stub->UploadImage(&context, &response);
  v1::UploadImageRequest message;
  message.set_job(job);
  bool open = call->Write(message);
  for (std::size_t at = 0; open && at < bytes.size(); at += chunk) {
    message.set_data(bytes.substr(at, chunk));
    open = call->Write(message);
  }
  call->WritesDone();
  const auto status = call->Finish();
  if (status.ok())
    return static_cast<std::size_t>(response.stored_bytes()) == bytes.size() ? "OK" : "SHORT";
  v1::ErrorDetail detail;
  static_cast<void>(detail.ParseFromString(status.error_details()));
  return detail.reason();
}

/// Receives an upload as an agent does and reports the step's result.
void receive(const agent::v1::RunStep& step, FakeAgent& agent, std::string& received) {
  agent::v1::ConnectRequest message;
  auto& result = *message.mutable_step_result();
  result.set_key(step.key());
  if (step.action().has_import_image()) {
    const auto stub = agent::v1::LinkService::NewStub(agent.link());
    grpc::ClientContext context;
    agent::v1::ReceiveUploadRequest request;
    request.set_ticket(step.action().import_image().upload().ticket());
    const auto bytes = stub->ReceiveUpload(&context, request);
    agent::v1::ReceiveUploadResponse piece;
    while (bytes->Read(&piece)) received += piece.data();
    if (const auto status = bytes->Finish(); !status.ok()) {
      result.mutable_error()->set_code(static_cast<int>(status.error_code()));
      result.mutable_error()->set_message(status.error_message());
      result.mutable_error()->mutable_detail()->set_reason("UPLOAD_LOST");
    }
    (*result.mutable_facts())["size_bytes"] = std::to_string(received.size());
    (*result.mutable_facts())["virtual_size_bytes"] = std::to_string(received.size());
    (*result.mutable_facts())["sha256"] = std::string(64, 'a');
  }
  agent.send(message);
}

TEST_CASE("an upload reaches the agent whole, and its answer is the import's", "[api][link]") {
  Linked linked;
  std::string received;
  linked.agent.on_step = [&](const auto& step, FakeAgent& agent) {
    receive(step, agent, received);
  };
  linked.connect();
  std::string bytes(10u << 20, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 / 7);
  const auto job = begin_import(linked.server, "kernel", bytes.size());
  CHECK(upload(linked.server, job, bytes) == "OK");
  CHECK(received == bytes);
  CHECK(upload(linked.server, job, bytes) == "NO_UPLOAD_EXPECTED");
}

TEST_CASE("uploads that stop early or say too much fail the import and say so", "[api][link]") {
  Linked linked;
  std::array<std::string, 4> received;
  std::atomic<std::size_t> imports{0};
  linked.agent.on_step = [&](const auto& step, FakeAgent& agent) {
    receive(step, agent, received.at(step.action().has_import_image() ? imports++ : 3));
  };
  linked.connect();
  const auto early = begin_import(linked.server, "early", 2u << 20);
  CHECK(upload(linked.server, early, std::string(1u << 20, 'x')) == "UPLOAD_INTERRUPTED");
  const auto late = begin_import(linked.server, "late", 1u << 20);
  CHECK(upload(linked.server, late, std::string(2u << 20, 'x')) == "BAD_FIELD");
  const auto wide = begin_import(linked.server, "wide", 4u << 20);
  CHECK(upload(linked.server, wide, std::string(4u << 20, 'x'), 2u << 20) == "BAD_FIELD");
  for (const auto& job : {early, late, wide}) {
    v1::Job ended;
    eventually("the import has failed", [&] {
      const auto answer =
          linked.server.call_json("JobService/GetJob", R"({"name":")" + job + "\"}");
      REQUIRE(ended.ParseFromString(answer.response));
      if (ended.state() == v1::Job::STATE_FAILED) return true;
      // The client was quicker than the host: its upload may be tried again, and fails again.
      static_cast<void>(upload(linked.server, job, "x"));
      return false;
    });
    CHECK(ended.error().detail().reason() == "UPLOAD_LOST");
  }
}

}  // namespace
}  // namespace reeve::test
