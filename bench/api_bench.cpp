// bench/api_bench.cpp - the API of a real server with 50,000 machines: rates, latency, watch
// fan-out, footprint.
//
//   api_bench [--vms N] [--seconds N] [--server PATH]
//
// Seeds a scratch database, starts reeve-server on it, and measures over TLS on loopback: Get and
// List with 1 and 16 callers, the time until one change has reached 100 watchers, resident memory,
// idle CPU.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "base/subprocess.h"
#include "base/uuid.h"
#include "db/repo/host_repo.h"
#include "db/repo/vm_repo.h"
#include "db/store.h"
#include "reeve/v1/event_service.grpc.pb.h"
#include "reeve/v1/host_service.grpc.pb.h"
#include "reeve/v1/server_service.grpc.pb.h"
#include "reeve/v1/vm_service.grpc.pb.h"

namespace reeve::bench {
namespace {

using Steady = std::chrono::steady_clock;
constexpr int kVmsPerHost = 50;
constexpr int kWatchers = 100;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "api_bench: %s\n", why.c_str());
  std::exit(2);
}
template <class T>
T must(Result<T> result) {
  if (!result.ok()) give_up(result.error().message());
  return std::move(result).value();
}
void must(const Status& status) {
  if (!status.ok()) give_up(status.error().message());
}
void must(const grpc::Status& status) {
  if (!status.ok()) give_up(status.error_message());
}

double millis_since(Steady::time_point begin) {
  return std::chrono::duration<double, std::milli>(Steady::now() - begin).count();
}

Result<std::vector<std::string>> seed(db::Database& database, int vms) {
  SeededRandom random(1);
  std::vector<std::string> uids;
  std::string host_uid;
  const db::Change change{.actor = "bench", .job_uid = {}, .time = RealClock::instance().wall()};
  auto tx = TRY(database.begin());
  for (int i = 0; i < vms; ++i) {
    if (i % kVmsPerHost == 0) {
      db::Host host;
      host.uid = host_uid = new_uuid(random);
      host.name = "host-" + std::to_string(i / kVmsPerHost);
      host.state = "disconnected";
      host.cert_key_sha256 = host.uid;
      TRY(db::HostRepo(tx).insert(host, change));
    }
    v1::VirtualMachine document;
    document.mutable_spec()->set_cpus(2);
    document.mutable_spec()->set_memory_mib(2048);
    document.mutable_spec()->add_disks()->set_id("disk0");
    document.mutable_spec()->add_nics()->set_mac("52:54:00:00:00:01");
    (*document.mutable_labels())["team"] = "bench";
    db::Vm vm;
    vm.uid = new_uuid(random);
    vm.name = "vm-" + std::to_string(i);
    vm.host_uid = host_uid;
    vm.state = i % 10 == 0 ? "stopped" : "running";
    vm.cpus = 2;
    vm.memory_mib = 2048;
    vm.origin = "managed";
    vm.spec = document.SerializeAsString();
    uids.push_back(vm.uid);
    TRY(db::VmRepo(tx).insert(vm, change));
  }
  TRY(tx.commit());
  return uids;
}

struct Client {
  std::shared_ptr<grpc::Channel> channel{};
  std::string token{};

  void prepare(grpc::ClientContext& context) const {
    context.AddMetadata("authorization", "Bearer " + token);
  }
};

struct Figures {
  double per_second = 0;
  double p50_ms = 0;
  double p99_ms = 0;
};

/// `callers` threads call as fast as they are answered.
Figures measure(int callers, double seconds, const std::function<void(int number)>& call) {
  std::vector<std::vector<double>> taken(static_cast<std::size_t>(callers));
  std::vector<std::thread> threads;
  const auto begin = Steady::now();
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      auto& mine = taken[static_cast<std::size_t>(caller)];
      for (int n = caller; millis_since(begin) < seconds * 1000; n += callers) {
        const auto start = Steady::now();
        call(n);
        mine.push_back(millis_since(start));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const double elapsed = millis_since(begin) / 1000;
  std::vector<double> all;
  for (const auto& mine : taken) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  return {.per_second = static_cast<double>(all.size()) / elapsed,
          .p50_ms = all[all.size() / 2],
          .p99_ms = all[all.size() * 99 / 100]};
}

void print(const char* what, int callers, const Figures& figures) {
  std::printf("%-28s %3d callers  %9.0f /s   p50 %7.2f ms   p99 %7.2f ms\n", what, callers,
              figures.per_second, figures.p50_ms, figures.p99_ms);
  std::fflush(stdout);
}

void measure_reads(const Client& client, const std::vector<std::string>& uids, double seconds) {
  const auto stub = v1::VmService::NewStub(client.channel);
  const auto get = [&](int n) {
    grpc::ClientContext context;
    client.prepare(context);
    v1::GetVmRequest request;
    request.set_name("vms/" + uids[static_cast<std::size_t>(n) * 7919 % uids.size()]);
    v1::VirtualMachine vm;
    must(stub->GetVm(&context, request, &vm));
  };
  const auto list = [&](int size, const char* filter) {
    return [&stub, &client, size, filter](int) {
      grpc::ClientContext context;
      client.prepare(context);
      v1::ListVmsRequest request;
      request.set_page_size(size);
      request.set_filter(filter);
      v1::ListVmsResponse page;
      must(stub->ListVms(&context, request, &page));
    };
  };
  for (const int callers : {1, 16}) {
    print("GetVm", callers, measure(callers, seconds, get));
    print("ListVms page of 50", callers, measure(callers, seconds, list(50, "")));
    print("ListVms page of 500", callers, measure(callers, seconds, list(500, "")));
    print("ListVms 500, state = STOPPED", callers,
          measure(callers, seconds, list(500, "state = STOPPED")));
  }
}

/// Changes one host and takes the time until every watcher has heard of it.
void measure_watch(const Client& client, const std::string& host_name) {
  const auto events = v1::EventService::NewStub(client.channel);
  const auto hosts = v1::HostService::NewStub(client.channel);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::thread> threads;
  std::atomic<int> ready{0}, seen{0};
  for (int i = 0; i < kWatchers; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    client.prepare(*contexts.back());
    threads.emplace_back([&, context = contexts.back().get()] {
      v1::WatchRequest request;
      request.set_from_revision(-1);
      const auto stream = events->Watch(context, request);
      v1::WatchResponse response;
      while (stream->Read(&response)) {
        if (response.event().type() == v1::Event::TYPE_BOOKMARK) ++ready;
        if (response.event().type() == v1::Event::TYPE_CHANGED) ++seen;
      }
      static_cast<void>(stream->Finish());
    });
  }
  while (ready < kWatchers) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::vector<double> taken;
  for (int round = 0; round < 20; ++round) {
    seen = 0;
    grpc::ClientContext context;
    client.prepare(context);
    v1::UpdateHostRequest request;
    request.mutable_host()->set_name(host_name);
    (*request.mutable_host()->mutable_labels())["round"] = std::to_string(round);
    request.mutable_update_mask()->add_paths("labels");
    v1::Host host;
    const auto begin = Steady::now();
    must(hosts->UpdateHost(&context, request, &host));
    while (seen < kWatchers && millis_since(begin) < 5000)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (seen < kWatchers) give_up("a watcher missed a change");
    taken.push_back(millis_since(begin));
  }
  std::sort(taken.begin(), taken.end());
  std::printf(
      "one change to %d watchers     median %.1f ms   worst %.1f ms (call and commit included)\n",
      kWatchers, taken[taken.size() / 2], taken.back());
  for (const auto& context : contexts) context->TryCancel();
  for (auto& thread : threads) thread.join();
}

double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skip;
  for (int i = 0; i < 11; ++i) fields >> skip;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

long resident_kib(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmRSS:")) return std::strtol(line.c_str() + 6, nullptr, 10);
  return 0;
}

void measure_footprint(pid_t pid, const char* when) {
  constexpr int kSeconds = 5;
  const double before = cpu_seconds(pid);
  std::this_thread::sleep_for(std::chrono::seconds(kSeconds));
  std::printf("%-28s resident %.1f MiB   idle CPU %.2f %% of a core\n", when,
              static_cast<double>(resident_kib(pid)) / 1024,
              (cpu_seconds(pid) - before) / kSeconds * 100);
}

struct Arguments {
  int vms = 50'000;
  double seconds = 3;
  std::string server{};
};

Process start_server(const Arguments& arguments, const std::filesystem::path& data,
                     const char* which) {
  const auto ports = data / "ports.json";
  std::filesystem::remove(ports);
  const Fd null = must(open_file("/dev/null", O_WRONLY));
  const auto start = Steady::now();
  auto server =
      must(Process::spawn({arguments.server, "run", "--data", data.string(), "--api", "127.0.0.1:0",
                           "--link", "127.0.0.1:0", "--log-level", "warning"},
                          {.output = null.get(), .errors = 2}, Process::Session::Own));
  while (!std::filesystem::exists(ports)) {
    if (server.wait(std::chrono::milliseconds(5)).ok()) give_up("the server ended");
  }
  std::printf("server ready after %.0f ms (%s)\n", millis_since(start), which);
  return server;
}

int run_bench(const Arguments& arguments) {
  char scratch[] = "/tmp/reeve-api-bench-XXXXXX";
  if (mkdtemp(scratch) == nullptr) give_up("no scratch folder");
  const std::filesystem::path data = scratch;
  const auto seed_begin = Steady::now();
  const auto uids = [&] {
    auto store = must(db::Store::open({.path = data / "reeve.db"}));
    const auto database = store->take_writer_connection();
    return must(seed(*database, arguments.vms));
  }();
  std::printf("%d machines seeded in %.0f ms\n", arguments.vms, millis_since(seed_begin));
  // The first start makes the CA and fills in what migrations left: once for a database.
  auto server = start_server(arguments, data, "first, with what is made once");
  server.signal(SIGTERM);
  must(server.wait(std::chrono::seconds(30)));
  server = start_server(arguments, data, "again");
  measure_footprint(server.pid(), "after the start");
  Client client;
  client.token = must(read_file(data / "admin.token"));
  client.token.pop_back();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = must(read_file(data / "ca/ca.pem"));
  grpc::ChannelArguments options;
  options.SetSslTargetNameOverride("reeve-server");
  options.SetMaxReceiveMessageSize(64 << 20);
  const auto port =
      nlohmann::json::parse(must(read_file(data / "ports.json"))).at("api").get<int>();
  client.channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                             grpc::SslCredentials(tls), options);
  measure_reads(client, uids, arguments.seconds);
  {
    const auto hosts = v1::HostService::NewStub(client.channel);
    grpc::ClientContext context;
    client.prepare(context);
    v1::ListHostsRequest request;
    request.set_page_size(1);
    v1::ListHostsResponse page;
    must(hosts->ListHosts(&context, request, &page));
    measure_watch(client, page.hosts(0).name());
  }
  measure_footprint(server.pid(), "after the load");
  server.signal(SIGTERM);
  static_cast<void>(server.wait(std::chrono::seconds(10)));
  must(remove_tree(data));
  return 0;
}

}  // namespace
}  // namespace reeve::bench

int main(int argc, char** argv) {
  reeve::bench::Arguments arguments;
  arguments.server =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-server").string();
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--vms") == 0) arguments.vms = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--seconds") == 0) arguments.seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--server") == 0) arguments.server = argv[i + 1];
  }
  return reeve::bench::run_bench(arguments);
}
