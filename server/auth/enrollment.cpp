#include "server/auth/enrollment.h"

#include <algorithm>

#include "base/crypto/enroll_token.h"
#include "base/crypto/sha256.h"
#include "base/crypto/x509.h"
#include "base/uuid.h"
#include "db/repo/host_repo.h"
#include "db/repo/token_repo.h"
#include "server/app/host_service.h"
#include "server/app/validate.h"
#include "server/auth/audit_log.h"

namespace reeve::server {
namespace {

using Enrolled = agent::v1::EnrollResponse;

Error bad(std::string_view field, std::string_view problem) {
  return Error{Code::InvalidArgument, "BAD_FIELD", std::string(field) + " " + std::string(problem)}
      .with("field:" + std::string(field), std::string(problem));
}

Error invalid_token() {
  return Error{Code::Unauthenticated, "ENROLL_TOKEN_INVALID",
               "the enrol token is unknown, used or expired"}
      .remedy("Make a new one: reeve host enroll-token");
}

void set_time(google::protobuf::Timestamp* out, WallTime time) {
  const auto micros = to_micros(time);
  out->set_seconds(micros / 1'000'000);
  out->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
}

/// `wanted`, or with a number behind it when there is a host of that name.
Result<std::string> free_name(db::HostRepo& hosts, const std::string& wanted) {
  constexpr int kTries = 1000;
  auto name = wanted;
  for (int n = 2; n < kTries; ++n) {
    const auto taken = hosts.get_by_name(name);
    if (!taken.ok() && taken.error().code() == Code::NotFound) return name;
    if (!taken.ok()) return taken.error();
    name = wanted.substr(0, 58) + "-" + std::to_string(n);
  }
  return Error{Code::AlreadyExists, "NAME_TAKEN", "too many hosts are called '" + wanted + "'"};
}

/// Whoever asks for a name is told that there is a host of that name, instead of its getting
/// another.
Status require_free(db::HostReader hosts, const std::string& name) {
  const auto other = hosts.get_by_name(name);
  if (!other.ok()) return other.error().code() == Code::NotFound ? Status{} : other.error();
  return Error(Code::AlreadyExists, "NAME_TAKEN", "a host is called '" + name + "' already")
      .resource("hosts/" + other.value().uid)
      .remedy("choose another name, or delete that host first");
}

/// Whether the token was spent by this very host: its first reply may have been lost.
Result<bool> was_spent_by(db::TokenRepo& tokens, std::string_view hash, std::string_view host_uid) {
  const auto all = TRY(tokens.enroll_tokens());
  return std::ranges::any_of(
      all, [&](const auto& row) { return row.hash == hash && row.used_by_host_uid == host_uid; });
}

struct Joining {
  std::string token_hash{};
  std::string key_sha256{};
  std::string hostname{};
  std::string fresh_uid{};
  WallTime now{};
};

/// Spends the token and makes the host in one transaction. Returns the host's uid.
Result<std::string> join(db::Transaction& tx, const Joining& joining) {
  db::HostRepo hosts(tx);
  db::TokenRepo tokens(tx);
  const auto known = hosts.get_by_key(joining.key_sha256);
  if (known.ok()) {
    if (TRY(was_spent_by(tokens, joining.token_hash, known.value().uid))) return known.value().uid;
    return Error{Code::AlreadyExists, "HOST_KEY_KNOWN", "a host with this key is enrolled already"}
        .resource("hosts/" + known.value().uid);
  }
  if (known.error().code() != Code::NotFound) return known.error();
  auto token = tokens.use_enroll_token(joining.token_hash, joining.fresh_uid, joining.now);
  if (!token.ok()) {
    if (token.error().code() == Code::Unauthenticated) return invalid_token();
    return std::move(token).error();
  }
  const auto& named = token.value().host_name;
  auto host = enrolled_host(joining.fresh_uid, named.empty() ? joining.hostname : named,
                            joining.key_sha256);
  host.name = TRY(free_name(hosts, host.name));
  TRY(hosts.insert(std::move(host), {.actor = token.value().actor, .time = joining.now}));
  return joining.fresh_uid;
}

}  // namespace

void Enrollment::announce(std::string api_address, std::string link_address) {
  Lock lock(mutex_);
  api_address_ = std::move(api_address);
  link_address_ = std::move(link_address);
}

std::string Enrollment::api_address() const {
  Lock lock(mutex_);
  return api_address_;
}

std::string Enrollment::link_address() const {
  Lock lock(mutex_);
  return link_address_;
}

void Enrollment::create_token(const Caller& caller, const v1::CreateEnrollTokenRequest& request,
                              Reply<v1::EnrollToken> reply) {
  std::chrono::seconds lifetime = std::chrono::hours(1);
  if (request.has_lifetime()) lifetime = std::chrono::seconds(request.lifetime().seconds());
  if (lifetime.count() <= 0 || lifetime > std::chrono::days(7))
    return reply(bad("lifetime", "is not between a second and seven days"));
  FieldCheck check;
  if (!request.host_display_name().empty())
    check_display_name(check, "host_display_name", request.host_display_name());
  if (auto named = check.outcome(); !named.ok()) return reply(std::move(named).error());
  const auto token = crypto::make_enroll_token(parts_.authority->fingerprint(), *parts_.random);
  db::EnrollToken row;
  row.hash = crypto::sha256_hex(token);
  row.actor = caller.actor;
  row.host_name = request.host_display_name();
  row.create_time = parts_.clock->wall();
  row.expire_time = row.create_time + lifetime;
  v1::EnrollToken made;
  made.set_token(token);
  set_time(made.mutable_expire_time(), row.expire_time);
  made.set_command("reeve-agent enroll --server " + api_address() + " --token " + token);
  parts_.writer->submit(
      [row, caller, lifetime](db::Transaction& tx) -> Status {
        if (!row.host_name.empty()) TRY(require_free(db::HostReader(tx), row.host_name));
        TRY(db::TokenRepo(tx).insert_enroll_token(row));
        return audit_change(tx, caller,
                            {.time = row.create_time,
                             .method = "HostService/CreateEnrollToken",
                             .summary = "for " + std::to_string(lifetime.count()) + " s" +
                                        (row.host_name.empty() ? "" : ", host " + row.host_name)});
      },
      [made = std::move(made), reply = std::move(reply)](Status status, std::int64_t) {
        if (!status.ok()) return reply(std::move(status).error());
        reply(made);
      });
}

void Enrollment::enroll(const Caller& caller, const agent::v1::EnrollRequest& request,
                        Reply<Enrolled> reply) {
  if (auto allowed = attempts_.check(caller.peer); !allowed.ok())
    return reply(std::move(allowed).error());
  if (request.hostname().empty() || request.hostname().size() > 253)
    return reply(bad("hostname", "has not 1 to 253 characters"));
  auto facts = crypto::parse_csr(request.csr_pem());
  if (!facts.ok()) return reply(std::move(facts).error());
  if (!crypto::parse_enroll_token(request.token()).ok()) {
    attempts_.failed(caller.peer);
    return reply(invalid_token());
  }
  const Joining joining{.token_hash = crypto::sha256_hex(request.token()),
                        .key_sha256 = facts.value().key_sha256,
                        .hostname = request.hostname(),
                        .fresh_uid = new_uuid(*parts_.random),
                        .now = parts_.clock->wall()};
  auto uid = std::make_shared<std::string>();
  parts_.writer->submit(
      [joining, uid, caller](db::Transaction& tx) -> Status {
        *uid = TRY(join(tx, joining));
        return audit_change(tx, caller,
                            {.time = joining.now,
                             .method = "EnrollmentService/Enroll",
                             .resource = "hosts/" + *uid,
                             .summary = "host " + joining.hostname});
      },
      [this, uid, now = joining.now, csr = request.csr_pem(), peer = caller.peer,
       reply = std::move(reply)](Status status, std::int64_t) {
        if (!status.ok()) {
          if (status.error().code() == Code::Unauthenticated) attempts_.failed(peer);
          return reply(std::move(status).error());
        }
        auto certificate = parts_.authority->issue_client(csr, *uid, now);
        if (!certificate.ok()) return reply(std::move(certificate).error());
        Enrolled out;
        out.set_host_uid(*uid);
        out.set_certificate_pem(std::move(certificate).value());
        out.set_ca_pem(parts_.authority->certificate_pem());
        out.set_link_address(link_address());
        set_time(out.mutable_expire_time(), now + crypto::kClientLifetime);
        reply(std::move(out));
      });
}

void Enrollment::renew(const Caller& caller, const agent::v1::RenewRequest& request,
                       Reply<agent::v1::RenewResponse> reply) {
  if (auto allowed = attempts_.check(caller.peer); !allowed.ok())
    return reply(std::move(allowed).error());
  const auto facts = crypto::parse_csr(request.csr_pem());
  if (!facts.ok()) return reply(facts.error());
  auto host = parts_.readers->read([&](db::ReadTransaction& tx) {
    return db::HostReader(tx).get_by_key(facts.value().key_sha256);
  });
  if (!host.ok()) {
    if (host.error().code() != Code::NotFound) return reply(std::move(host).error());
    attempts_.failed(caller.peer);
    return reply(
        Error{Code::PermissionDenied, "HOST_KEY_UNKNOWN", "no enrolled host has this key"}.remedy(
            "If the host was removed, enrol it again."));
  }
  const auto now = parts_.clock->wall();
  auto certificate = parts_.authority->issue_client(request.csr_pem(), host.value().uid, now);
  if (!certificate.ok()) return reply(std::move(certificate).error());
  agent::v1::RenewResponse out;
  out.set_certificate_pem(std::move(certificate).value());
  out.set_ca_pem(parts_.authority->certificate_pem());
  set_time(out.mutable_expire_time(), now + crypto::kClientLifetime);
  reply(std::move(out));
}

}  // namespace reeve::server
