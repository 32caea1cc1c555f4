#include "hypervisor_core/virtio/devices/vsock.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "reeve/core/v1/devices.pb.h"

namespace reeve::core::virtio {
namespace {

constexpr std::uint16_t kToGuest = 0, kFromGuest = 1, kEvents = 2;
constexpr std::size_t kMaxResets = 64;  // a guest that floods gets no more answers than these
constexpr std::size_t kMaxGreetings = 64;
constexpr std::size_t kMaxLine = 32;  // "CONNECT 4294967295\n"

/// The port of "CONNECT port".
std::optional<std::uint32_t> port_of(std::string_view line) {
  constexpr std::string_view kWord = "CONNECT ";
  if (!line.starts_with(kWord)) return std::nullopt;
  line.remove_prefix(kWord.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::uint32_t port = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (error != std::errc{} || end != line.data() + line.size()) return std::nullopt;
  return port;
}

}  // namespace

Result<std::unique_ptr<Vsock>> Vsock::create(VsockHost& host, std::uint64_t guest_cid) {
  if (guest_cid < 3 || guest_cid > 0xffff'fffe)
    return Error{Code::InvalidArgument, "VSOCK_CID", "a guest's socket address is 3 or more"};
  Fd poll(::epoll_create1(EPOLL_CLOEXEC));
  if (!poll) return errno_error("making a vsock device");
  auto wake = TRY(WakeFd::create());
  std::unique_ptr<Vsock> device(new Vsock(host, guest_cid, std::move(poll), std::move(wake)));
  if (host.listener() >= 0) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = host.listener();
    if (::epoll_ctl(device->poll_.get(), EPOLL_CTL_ADD, host.listener(), &event) != 0)
      return errno_error("watching a listener");
  }
  return device;
}

Traits Vsock::traits() const {
  return {.device_id = kVsockDevice, .queue_sizes = kQueues, .config_size = 8};
}

VsockHeader Vsock::header_for(Ports ports) const {
  VsockHeader header;
  header.from_cid = kVsockHostCid;
  header.to_cid = guest_cid_;
  header.from_port = ports.host;
  header.to_port = ports.guest;
  return header;
}

void Vsock::refuse(const VsockHeader& header) {
  if (header.operation == kVsockReset || resets_.size() >= kMaxResets) return;
  auto answer = header_for({header.from_port, header.to_port});
  answer.operation = kVsockReset;
  answer.type = header.type;
  resets_.push_back(answer);
}

void Vsock::watch(VsockConnection& connection) {
  if (connection.fd() < 0) return;
  epoll_event event{};
  if (connection.wants_input()) event.events |= EPOLLIN;
  if (connection.wants_room()) event.events |= EPOLLOUT;
  event.data.fd = connection.fd();
  (void)::epoll_ctl(poll_.get(), EPOLL_CTL_MOD, connection.fd(), &event);
}

void Vsock::add(Ports ports, VsockConnection::Origin origin, Fd socket) {
  const int fd = socket.get();
  epoll_event event{};
  event.data.fd = fd;
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return;
  auto& entry = connections_[ports];
  entry = std::make_unique<VsockConnection>(ports, origin, std::move(socket));
  by_fd_[fd] = ports;
  watch(*entry);
  count_ = connections_.size();
  ++counters_.connections;
}

void Vsock::drop(std::map<Ports, std::unique_ptr<VsockConnection>>::iterator entry) {
  std::erase_if(by_fd_, [&](const auto& known) { return known.second == entry->first; });
  answered_.erase(entry->first);
  connections_.erase(entry);
  count_ = connections_.size();
}

void Vsock::open_for_guest(const VsockHeader& header) {
  auto socket = connections_.size() < kMaxConnections
                    ? host_.connect(header.to_port)
                    : Error{Code::ResourceExhausted, "VSOCK_FULL", "too many connections"};
  if (!socket.ok()) {
    ++counters_.refused;
    return refuse(header);
  }
  const Ports ports{header.from_port, header.to_port};
  add(ports, VsockConnection::Origin::Guest, std::move(socket).value());
  const auto made = connections_.find(ports);
  if (made == connections_.end()) return refuse(header);
  auto credit = header;
  credit.operation = kVsockCreditUpdate;
  made->second->receive(credit, {});
}

void Vsock::packet(const VsockHeader& header, std::span<const std::byte> data) {
  if (header.from_cid != guest_cid_ || header.to_cid != kVsockHostCid || header.type != 1) {
    ++counters_.bad_packets;
    return refuse(header);
  }
  const auto found = connections_.find({header.from_port, header.to_port});
  if (found == connections_.end())
    return header.operation == kVsockRequest ? open_for_guest(header) : refuse(header);
  auto& connection = *found->second;
  connection.receive(header, data);
  counters_.from_guest_bytes += data.size();
  const auto owed = answered_.find(found->first);
  if (owed != answered_.end() && header.operation == kVsockResponse && connection.fd() >= 0) {
    const std::string line = "OK " + std::to_string(found->first.host) + "\n";
    (void)!::send(connection.fd(), line.data(), line.size(), MSG_NOSIGNAL);
    answered_.erase(owed);
  }
  watch(connection);
  if (connection.finished()) drop(found);
}

void Vsock::from_guest(Queue& queue) {
  while (auto chain = queue.pop()) {
    const auto header = chain->read_object<VsockHeader>();
    // The header's length must be what is there: lengths never come from one place and bytes from
    // another.
    if (!header.ok() || header.value().length != chain->readable_bytes() ||
        header.value().length > kMaxPacket) {
      ++counters_.bad_packets;
      continue;
    }
    const auto data = std::span(buffer_).first(header.value().length);
    chain->read_some(data);
    packet(header.value(), data);
  }
  queue.signal_used();
}

/// Puts the next packet due into `chain`: resets first, then the connections by turns.
bool Vsock::fill(Chain& chain) {
  if (chain.writable_bytes() < sizeof(VsockHeader)) {
    ++counters_.bad_packets;
    return true;
  }
  if (!resets_.empty()) {
    const auto header = resets_.front();
    resets_.pop_front();
    return chain.write_object(header).ok();
  }
  const auto room =
      std::span(buffer_).first(std::min(chain.writable_bytes() - sizeof(VsockHeader), kMaxPacket));
  for (std::size_t tried = connections_.size(); tried > 0; --tried) {
    auto entry = connections_.upper_bound(last_served_);
    if (entry == connections_.end()) entry = connections_.begin();
    last_served_ = entry->first;
    auto& connection = *entry->second;
    auto header = header_for(entry->first);
    const bool sent = connection.next_packet(header, room);
    watch(connection);
    if (connection.finished()) drop(entry);
    if (!sent) continue;
    counters_.to_guest_bytes += header.length;
    return chain.write_object(header).ok() && chain.write(room.first(header.length)).ok();
  }
  return false;
}

void Vsock::to_guest(Queue& queue) {
  while (auto chain = queue.pop()) {
    if (fill(*chain)) continue;
    queue.put_back(std::move(*chain));
    break;
  }
  queue.signal_used();
}

/// After a restore the guest learns that its connections are gone
/// (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET).
void Vsock::events(Queue& queue) {
  if (!reset_event_due_) return;
  if (auto chain = queue.pop()) {
    reset_event_due_ = !chain->write_object(std::uint32_t{0}).ok();
    chain->finish();
  }
  queue.signal_used();
}

void Vsock::serve(std::uint16_t index, Queue& queue) {
  switch (index) {
    case kToGuest: return to_guest(queue);
    case kFromGuest: from_guest(queue); return wake_.wake();
    case kEvents: return events(queue);
    default: return;
  }
}

void Vsock::accept_programs() {
  while (greetings_.size() < kMaxGreetings) {
    Fd socket(::accept4(host_.listener(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket.get();
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) return;
    const int fd = socket.get();
    greetings_[fd] = {.socket = std::move(socket), .number = ++greeted_};
  }
  // The listener would keep us awake: take the oldest that has said nothing yet out of the way.
  greetings_.erase(std::min_element(
      greetings_.begin(), greetings_.end(),
      [](const auto& a, const auto& b) { return a.second.number < b.second.number; }));
}

/// Reads byte by byte, so that what follows the line stays in the socket for the guest.
void Vsock::hear_program(int fd) {
  auto& greeting = greetings_[fd];
  for (;;) {
    char c = 0;
    const ssize_t n = ::recv(fd, &c, 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0 || greeting.line.size() >= kMaxLine) break;
    if (c != '\n') {
      greeting.line += c;
      continue;
    }
    if (const auto port = port_of(greeting.line)) {
      auto known = std::move(greeting);
      greetings_.erase(fd);
      (void)::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, fd, nullptr);
      return connect_to_guest(std::move(known), *port);
    }
    break;
  }
  greetings_.erase(fd);
}

void Vsock::connect_to_guest(Greeting greeting, std::uint32_t port) {
  if (connections_.size() >= kMaxConnections) {
    ++counters_.refused;
    return;
  }
  Ports ports{port, next_host_port_};
  while (connections_.contains(ports)) ++ports.host;
  next_host_port_ = std::max(ports.host + 1, 1u << 30);
  answered_[ports] = true;
  add(ports, VsockConnection::Origin::Host, std::move(greeting.socket));
}

void Vsock::on_event(std::uint32_t /*token*/, QueueSet& queues) {
  wake_.drain();
  std::array<epoll_event, 32> ready{};
  for (int rounds = 0; rounds < 8; ++rounds) {
    const int count = ::epoll_wait(poll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[static_cast<std::size_t>(i)].data.fd;
      if (fd == host_.listener()) {
        accept_programs();
      } else if (greetings_.contains(fd)) {
        hear_program(fd);
      } else if (const auto known = by_fd_.find(fd); known != by_fd_.end()) {
        auto& connection = *connections_.at(known->second);
        connection.host_ready();
        watch(connection);
      }
    }
    if (count <= 0) break;
  }
  if (Queue* queue = queues.find(kToGuest)) to_guest(*queue);
  if (Queue* queue = queues.find(kFromGuest)) from_guest(*queue);
}

void Vsock::read_config(std::uint32_t offset, std::span<std::byte> out) {
  std::array<std::byte, 8> config{};
  store_le(config, guest_cid_);
  copy_config(config, offset, out);
}

void Vsock::reset() {
  connections_.clear();
  by_fd_.clear();
  answered_.clear();
  resets_.clear();
  reset_event_due_ = false;
  count_ = 0;
}

std::string Vsock::save_state() const {
  v1::VsockState state;
  state.set_version(1);
  state.set_guest_cid(guest_cid_);
  return state.SerializeAsString();
}

Status Vsock::load_state(std::string_view bytes) {
  v1::VsockState state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || state.version() != 1)
    return bad_state("not the state of a socket device that we know");
  if (state.guest_cid() != guest_cid_) return bad_state("the guest has another address here");
  reset_event_due_ = true;
  return {};
}

}  // namespace reeve::core::virtio
