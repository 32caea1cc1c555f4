#include "server/composition.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto/sha256.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/thread.h"
#include "db/group_writer.h"
#include "db/repo/host_repo.h"
#include "db/repo/meta_repo.h"
#include "db/store.h"
#include "server/api/enrollment_handler.h"
#include "server/api/event_handler.h"
#include "server/api/front_door.h"
#include "server/api/host_handler.h"
#include "server/api/hypervisor_handler.h"
#include "server/api/image_handler.h"
#include "server/api/job_handler.h"
#include "server/api/server_handler.h"
#include "server/api/vm_handler.h"
#include "server/auth/authority_files.h"
#include "server/auth/enrollment.h"
#include "server/core/server_core.h"
#include "server/link/link_handler.h"
#include "server/rpc/listener.h"
#include "server/version.h"

namespace reeve::server {
namespace {

constexpr auto kDaily = std::chrono::hours(24);
// Of a request: more than the front door lets in, so that it can say so. gRPC says nothing but
// RESOURCE_EXHAUSTED.
constexpr int kMostReceived = 16 << 20;
static_assert(kMostReceived > kMaxMessageBytes);

std::string own_hostname() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data()
                                                                           : "localhost";
}

bool is_wildcard(const std::string& host) {
  return host == "0.0.0.0" || host == "::";
}

std::string advertised_host(const Config& config, const Address& api) {
  if (!config.advertise.empty()) return config.advertise;
  return is_wildcard(api.host) ? own_hostname() : api.host;
}

std::vector<std::string> certificate_names(const Config& config, const std::string& advertised) {
  std::vector<std::string> out;
  const auto add = [&out](const std::string& name) {
    if (std::ranges::find(out, name) == out.end()) out.push_back(name);
  };
  add(advertised);
  for (const auto* name : {"localhost", "127.0.0.1", "::1"}) add(name);
  for (const auto& name : config.names) add(name);
  return out;
}

/// The ports of the last run, for addresses that ask for any port.
void reuse_ports(const std::filesystem::path& file, Address& api, Address& link) {
  const auto text = read_file(file, 4096);
  if (!text.ok()) return;
  const auto json = nlohmann::json::parse(text.value(), nullptr, false);
  const auto port = [&json](const char* name) {
    const bool known = json.is_object() && json.contains(name) && json[name].is_number_integer();
    const auto value = known ? json[name].get<int>() : 0;
    return value > 0 && value < 65536 ? value : 0;
  };
  if (api.port == 0) api.port = port("api");
  if (link.port == 0) link.port = port("link");
}

class RealComposition final : public Composition {
 public:
  explicit RealComposition(const Config& config) : config_(config) {}
  ~RealComposition() override { stop(); }

  const Started& started() const override { return started_; }
  void stop() override;

  Status open_data();
  Status open_core();
  Status open_doors();

 private:
  Result<Beginning> last_beginning() const;
  Status warn_of_hosts_of_another_authority();
  Status listen(Address api, Address link);
  v1::ServerInfo server_info() const;
  void daily();
  void every_minute();

  const Config config_;
  Started started_;
  const Clock& clock_ = RealClock::instance();
  SystemRandom& random_ = SystemRandom::instance();
  Beginning beginning_;
  std::string advertised_;

  // Declared in the order they are needed; stop() ends them in reverse.
  std::unique_ptr<db::Store> store_;
  std::optional<crypto::Authority> authority_;
  ServerCertificate certificate_;
  std::atomic<ServerCore*> core_for_commits_{nullptr};
  std::unique_ptr<db::GroupWriter> writer_;
  std::unique_ptr<ThreadLoop> core_loop_, feed_loop_, reply_loop_;
  std::unique_ptr<WorkerPool> chores_;
  std::shared_ptr<ApiTokens> tokens_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<Enrollment> enrollment_;
  std::unique_ptr<FrontDoor> door_;
  std::unique_ptr<ServerCore> core_;
  std::unique_ptr<ConsoleHub> consoles_;
  std::unique_ptr<UploadHub> uploads_;
  std::vector<std::unique_ptr<grpc::Service>> handlers_;
  std::unique_ptr<LinkHandler> link_handler_;
  std::unique_ptr<Listener> api_listener_, link_listener_;
};

Status RealComposition::open_data() {
  TRY(make_dirs(config_.data, 0700));
  TRY(check_private(config_.data));
  store_ = TRY(db::Store::open({.path = config_.data / "reeve.db"}));
  auto connection = store_->take_writer_connection();
  beginning_ =
      TRY(store_->damage() ? last_beginning() : begin_server(*connection, clock_, random_));
  writer_ = std::make_unique<db::GroupWriter>(std::move(connection),
                                              [this](std::int64_t first, std::int64_t last) {
                                                if (auto* core = core_for_commits_.load())
                                                  core->on_commit(first, last);
                                              });
  if (store_->damage()) {
    log::error("database is damaged: only reading", *store_->damage());
    writer_->set_read_only(store_->damage()->message());
  }
  const auto& name = advertised_ = advertised_host(config_, TRY(parse_address(config_.api)));
  const bool had_authority = has_authority(config_.data);
  authority_ = TRY(load_or_make_authority(config_.data, clock_.wall()));
  if (!had_authority) TRY(warn_of_hosts_of_another_authority());
  started_.ca_fingerprint = authority_->fingerprint();
  certificate_ = TRY(ensure_server_certificate(*authority_, config_.data,
                                               certificate_names(config_, name), clock_.wall()));
  return {};
}

/// A database that was restored without the CA beside it.
Status RealComposition::warn_of_hosts_of_another_authority() {
  const auto hosts = TRY(store_->readers().read([](db::ReadTransaction& tx) {
    return db::HostReader(tx).list({}, db::ObjectOrder{}, db::Page{.limit = 1});
  }));
  if (hosts.empty()) return {};
  started_.warning =
      "the database knows hosts, but there was no CA in '" + (config_.data / "ca").string() +
      "': a new one was made, and they cannot connect. Stop the server and put the folder 'ca' of "
      "the server that enrolled them there, or enrol each host again";
  log::warning(started_.warning);
  return {};
}

/// What a database that can only be read says of the last start.
Result<Beginning> RealComposition::last_beginning() const {
  return store_->readers().read([](db::ReadTransaction& tx) -> Result<Beginning> {
    db::MetaReader meta(tx);
    const auto epoch = TRY(meta.epoch());
    const auto uid = TRY(meta.text("server_uid"));
    return Beginning{.epoch = static_cast<std::uint64_t>(epoch), .server_uid = uid.value_or("")};
  });
}

Status RealComposition::open_core() {
  core_loop_ = std::make_unique<ThreadLoop>("core");
  feed_loop_ = std::make_unique<ThreadLoop>("feed");
  reply_loop_ = std::make_unique<ThreadLoop>("api-reply");
  chores_ = std::make_unique<WorkerPool>("chores", 1);
  using std::chrono::milliseconds;
  std::optional<MacPool> macs;
  if (!config_.mac_prefix.empty()) macs = TRY(MacPool::create(config_.mac_prefix));
  core_ = TRY(ServerCore::create(
      {.loop = core_loop_.get(),
       .feed_loop = feed_loop_.get(),
       .writer = writer_.get(),
       .readers = &store_->readers(),
       .random = &random_,
       .sha256 = crypto::sha256_hex,
       .settings = {.version = kVersion,
                    .heartbeat = milliseconds(config_.heartbeat_ms),
                    .metrics = milliseconds(config_.metrics_ms),
                    .host_timeout = milliseconds(config_.host_timeout_ms),
                    .unreachable_grace = milliseconds(config_.unreachable_grace_ms),
                    .macs = macs}},
      beginning_));
  core_for_commits_.store(core_.get());
  consoles_ = std::make_unique<ConsoleHub>(core_->agents(), random_, *core_loop_);
  uploads_ = std::make_unique<UploadHub>(*core_loop_);
  return {};
}

v1::ServerInfo RealComposition::server_info() const {
  v1::ServerInfo info;
  // Sorted; listed in docs/guide/api.md. A client asks here, never by version.
  for (const char* capability :
       {"console.take-over", "events.audit", "events.watch-progress", "hosts.enroll-token",
        "hypervisors.list", "images.upload", "jobs.resolve", "vms.cloud-init", "vms.direct-kernel",
        "vms.guest-facts", "vms.limits", "vms.pause", "vms.plan", "vms.save"})
    info.add_capabilities(capability);
  info.set_version(kVersion);
  info.set_uid(beginning_.server_uid);
  info.set_ca_fingerprint(authority_->fingerprint());
  return info;
}

Status RealComposition::open_doors() {
  tokens_ = TRY(ApiTokens::create({.readers = &store_->readers(),
                                   .writer = writer_.get(),
                                   .clock = &clock_,
                                   .random = &random_}));
  const auto token_file = config_.data / "admin.token";
  if (!writer_->is_read_only() && TRY(tokens_->ensure_first_token(token_file)))
    started_.first_token = token_file;
  audit_ = std::make_unique<AuditLog>(*writer_, store_->readers(), clock_);
  enrollment_ = std::make_unique<Enrollment>(Enrollment::Parts{.authority = &*authority_,
                                                               .readers = &store_->readers(),
                                                               .writer = writer_.get(),
                                                               .clock = &clock_,
                                                               .random = &random_});
  door_ = std::make_unique<FrontDoor>(
      FrontDoor::Parts{.policies = TRY(MethodPolicies::read(api_services())),
                       .tokens = tokens_.get(),
                       .audit = audit_.get(),
                       .clock = &clock_,
                       .random = &random_,
                       .reply_loop = reply_loop_.get()});
  tokens_->on_revoked([this](const std::string& actor) { door_->end_calls_of(actor); });
  const auto read_only = [this] {
    return writer_->is_read_only() ? std::string("the database is damaged or its disk failed")
                                   : std::string();
  };
  handlers_.push_back(std::make_unique<ServerHandler>(*door_, *tokens_, server_info(), read_only));
  handlers_.push_back(std::make_unique<VmHandler>(*door_, core_->vms(), *consoles_));
  handlers_.push_back(std::make_unique<HostHandler>(*door_, core_->hosts(), *enrollment_));
  handlers_.push_back(std::make_unique<HypervisorHandler>(*door_, core_->hypervisors()));
  handlers_.push_back(
      std::make_unique<ImageHandler>(*door_, UploadStream::Parts{.images = &core_->images(),
                                                                 .jobs = &core_->jobs(),
                                                                 .uploads = uploads_.get(),
                                                                 .reply_loop = reply_loop_.get()}));
  handlers_.push_back(std::make_unique<JobHandler>(*door_, core_->jobs()));
  handlers_.push_back(std::make_unique<EventHandler>(*door_, core_->events(), *audit_));
  handlers_.push_back(std::make_unique<EnrollmentHandler>(*door_, *enrollment_));
  link_handler_ = std::make_unique<LinkHandler>(LinkHandler::Parts{.agents = &core_->agents(),
                                                                   .consoles = consoles_.get(),
                                                                   .uploads = uploads_.get(),
                                                                   .readers = &store_->readers(),
                                                                   .core_loop = core_loop_.get()});
  return listen(TRY(parse_address(config_.api)), TRY(parse_address(config_.link)));
}

Status RealComposition::listen(Address api, Address link) {
  const auto ports_file = config_.data / "ports.json";
  if (config_.keep_ports) reuse_ports(ports_file, api, link);
  // The link first: an agent that enrols is told a port that answers.
  link_listener_ = TRY(Listener::create({.address = to_text(link),
                                         .key = certificate_.key,
                                         .chain = certificate_.chain,
                                         .ca = certificate_.ca,
                                         .clients = ClientCertificate::Required},
                                        {link_handler_.get()}));
  link.port = link_listener_->port();
  enrollment_->announce(to_text({advertised_, api.port}), is_wildcard(link.host)
                                                              ? ":" + std::to_string(link.port)
                                                              : to_text({advertised_, link.port}));
  std::vector<grpc::Service*> services;
  for (const auto& handler : handlers_) services.push_back(handler.get());
  api_listener_ = TRY(Listener::create({.address = to_text(api),
                                        .key = certificate_.key,
                                        .chain = certificate_.chain,
                                        .message_bytes = kMostReceived},
                                       services));
  api.port = api_listener_->port();
  enrollment_->announce(to_text({advertised_, api.port}), is_wildcard(link.host)
                                                              ? ":" + std::to_string(link.port)
                                                              : to_text({advertised_, link.port}));
  started_.api_address = to_text(api);
  started_.link_address = to_text(link);
  const nlohmann::json ports{{"api", api.port},
                             {"link", link.port},
                             {"api_address", started_.api_address},
                             {"link_address", started_.link_address},
                             {"pid", getpid()}};
  TRY(write_file_durably(ports_file, ports.dump() + "\n", 0600));
  reply_loop_->post_after(kDaily, [this] { daily(); });
  every_minute();
  return {};
}

void RealComposition::every_minute() {
  tokens_->save_uses();
  reply_loop_->post_after(std::chrono::minutes(1), [this] { every_minute(); });
}

/// Renews the certificate (the listeners read it again) and looks through the database.
void RealComposition::daily() {
  chores_->run([this] {
    const auto renewed = ensure_server_certificate(
        *authority_, config_.data, certificate_names(config_, advertised_), clock_.wall());
    if (!renewed.ok()) log::error("server certificate not renewed", renewed.error());
    if (const auto checked = store_->check(); !checked.ok()) {
      log::error("database is damaged: only reading", checked.error());
      writer_->set_read_only(checked.error().message());
    }
  });
  reply_loop_->post_after(kDaily, [this] { daily(); });
}

void RealComposition::stop() {
  // Nobody waits for ever: calls first, then what they wait for.
  if (door_) door_->close();
  if (link_handler_) link_handler_->close();
  api_listener_.reset();
  link_listener_.reset();
  chores_.reset();
  if (core_) core_->stop();
  if (core_loop_) core_loop_->stop();
  if (feed_loop_) feed_loop_->stop();
  if (tokens_ && writer_) tokens_->save_uses();
  if (writer_) writer_->stop();
  if (reply_loop_) reply_loop_->stop();
  core_for_commits_.store(nullptr);
  link_handler_.reset();
  handlers_.clear();
  uploads_.reset();
  consoles_.reset();
  core_.reset();  // before the door: replies that were never sent hold its calls
  door_.reset();
}

}  // namespace

Result<std::unique_ptr<Composition>> Composition::start(const Config& config) {
  auto composition = std::make_unique<RealComposition>(config);
  TRY(composition->open_data());
  TRY(composition->open_core());
  TRY(composition->open_doors());
  return std::unique_ptr<Composition>(std::move(composition));
}

}  // namespace reeve::server
