#include "hypervisor_core/virtio/devices/console.h"

#include <algorithm>

#include "base/bytes.h"
#include "reeve/core/v1/devices.pb.h"

namespace reeve::core::virtio {
namespace {

constexpr std::uint64_t kSize = 1u << 0;
constexpr std::uint64_t kMultiport = 1u << 1;
constexpr std::uint16_t kControlToGuest = 2, kControlFromGuest = 3;
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxMessages = 64;  // a guest that never takes them gets no more
constexpr std::size_t kConfigBytes = 12;

enum Event : std::uint16_t {
  kDeviceReady = 0,
  kPortAdd = 1,
  kPortReady = 3,
  kConsolePort = 4,
  kResize = 5,
  kPortOpen = 6,
  kPortName = 7,
};

}  // namespace

Result<std::unique_ptr<Console>> Console::create(std::vector<PortOptions> ports) {
  const bool good = std::all_of(ports.begin(), ports.end(), [](const PortOptions& port) {
    return port.sink != nullptr && port.name.size() <= kMaxName;
  });
  if (!good || ports.empty() || ports.size() > kMaxPorts)
    return Error{Code::InvalidArgument, "CONSOLE_PORTS", "a console has 1 to 8 connected ports"};
  auto wake = TRY(WakeFd::create());
  return std::unique_ptr<Console>(new Console(std::move(ports), std::move(wake)));
}

Console::Console(std::vector<PortOptions> ports, WakeFd wake)
    : queue_sizes_(2 * (ports.size() + 1), 64), wake_(std::move(wake)) {
  for (auto& options : ports) ports_.push_back({.options = std::move(options)});
}

Traits Console::traits() const {
  return {.device_id = kConsoleDevice,
          .features = kSize | kMultiport,
          .queue_sizes = queue_sizes_,
          .config_size = kConfigBytes};
}

void Console::activate(const Activation& activation) {
  features_ = activation.features;
}

void Console::reset() {
  features_ = 0;
  Lock lock(mutex_);
  ready_ = false;
  messages_.clear();
  for (auto& port : ports_) {
    port.ready = port.guest_open = false;
    port.to_guest.clear();
    port.to_host.clear();
  }
}

void Console::tell(const ControlMessage& message, std::string_view name) {
  if (messages_.size() >= kMaxMessages) return;
  std::string bytes(sizeof message, '\0');
  const auto out = std::as_writable_bytes(std::span(bytes));
  store_le(out, message.port);
  store_le(out.subspan(4), message.event);
  store_le(out.subspan(6), message.value);
  messages_.push_back(bytes.append(name));
}

/// What a guest learns about a port once it is ready for it.
void Console::greet(std::uint32_t index, const Port& port) {
  if (port.options.is_console) {
    tell({index, kConsolePort, 1});
    std::string size(4, '\0');
    const auto out = std::as_writable_bytes(std::span(size));
    store_le(out, rows_);
    store_le(out.subspan(2), columns_);
    tell({index, kResize, 0}, size);
  }
  if (!port.options.name.empty()) tell({index, kPortName, 1}, port.options.name);
  if (port.host_open || port.options.is_console) tell({index, kPortOpen, 1});
}

void Console::hear(const ControlMessage& message) {
  if (message.event == kDeviceReady) {
    if (message.value != 1 || ready_) return;
    ready_ = true;
    for (std::uint32_t i = 0; i < ports_.size(); ++i) tell({i, kPortAdd, 1});
    return;
  }
  if (message.port >= ports_.size()) return;
  auto& port = ports_[message.port];
  if (message.event == kPortReady && message.value == 1 && !port.ready) {
    port.ready = true;
    greet(message.port, port);
  }
  if (message.event == kPortOpen) {
    port.guest_open = message.value != 0;
    port.options.sink->guest_opened(port.guest_open);
  }
}

void Console::control_from_guest(Queue& queue) {
  while (auto chain = queue.pop()) {
    const auto message = chain->read_object<ControlMessage>();
    if (!message.ok()) {
      ++counters_.bad_chains;
      continue;
    }
    Lock lock(mutex_);
    hear(message.value());
  }
  queue.signal_used();
}

void Console::control_to_guest(Queue& queue) {
  {
    Lock lock(mutex_);
    while (!messages_.empty()) {
      auto chain = queue.pop();
      if (!chain) break;
      if (chain->write(std::as_bytes(std::span(messages_.front()))).ok())
        messages_.pop_front();
      else
        ++counters_.bad_chains;
    }
  }
  queue.signal_used();
}

/// True when the host took all that waited.
bool Console::pass_on(Port& port) {
  const std::size_t taken = port.options.sink->guest_wrote(port.to_host);
  port.to_host.erase(
      port.to_host.begin(),
      port.to_host.begin() + static_cast<std::ptrdiff_t>(std::min(taken, port.to_host.size())));
  return port.to_host.empty();
}

void Console::from_guest(Port& port, Queue& queue) {
  while (port.to_host.empty() || pass_on(port)) {
    auto chain = queue.pop();
    if (!chain) break;
    port.to_host.resize(std::min(chain->readable_bytes(), kMaxWrite));
    chain->read_some(port.to_host);
    if (chain->readable_bytes() != 0 || port.to_host.empty()) ++counters_.bad_chains;
    counters_.from_guest_bytes += port.to_host.size();
  }
  queue.signal_used();
}

void Console::to_guest(Port& port, Queue& queue) {
  {
    Lock lock(mutex_);
    while (!port.to_guest.empty()) {
      auto chain = queue.pop();
      if (!chain) break;
      const std::size_t count = std::min(chain->writable_bytes(), port.to_guest.size());
      const auto end = port.to_guest.begin() + static_cast<std::ptrdiff_t>(count);
      const std::vector<std::byte> bytes(port.to_guest.begin(), end);
      if (count == 0) {
        ++counters_.bad_chains;
        continue;
      }
      (void)chain->write(bytes);
      port.to_guest.erase(port.to_guest.begin(), end);
      counters_.to_guest_bytes += count;
    }
  }
  queue.signal_used();
}

void Console::serve(std::uint16_t index, Queue& queue) {
  if (index == kControlFromGuest) {
    control_from_guest(queue);
    resume();  // answers may wait; they go out through on_event()
    return;
  }
  if (index == kControlToGuest) return control_to_guest(queue);
  auto& port = ports_[index < 2 ? 0u : index / 2u - 1];
  if (index % 2 == 0)
    to_guest(port, queue);
  else
    from_guest(port, queue);
}

void Console::on_event(std::uint32_t /*token*/, QueueSet& queues) {
  wake_.drain();
  if (Queue* control = queues.find(kControlToGuest)) control_to_guest(*control);
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const std::uint16_t receive = receive_queue(i);
    if (Queue* queue = queues.find(receive)) to_guest(ports_[i], *queue);
    if (Queue* queue = queues.find(static_cast<std::uint16_t>(receive + 1)))
      from_guest(ports_[i], *queue);
  }
}

std::size_t Console::send(std::size_t port, std::span<const std::byte> bytes) {
  std::size_t taken = 0;
  {
    Lock lock(mutex_);
    auto& waiting = ports_[port].to_guest;
    taken = std::min(bytes.size(), kMaxToGuest - waiting.size());
    waiting.insert(waiting.end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  if (taken > 0) wake_.wake();
  return taken;
}

std::size_t Console::room(std::size_t port) const {
  Lock lock(mutex_);
  return kMaxToGuest - ports_[port].to_guest.size();
}

void Console::set_host_open(std::size_t port, bool open) {
  {
    Lock lock(mutex_);
    if (std::exchange(ports_[port].host_open, open) == open) return;
    if (ports_[port].ready)
      tell({static_cast<std::uint32_t>(port), kPortOpen, static_cast<std::uint16_t>(open ? 1 : 0)});
  }
  wake_.wake();
}

bool Console::guest_has_open(std::size_t port) const {
  Lock lock(mutex_);
  return ports_[port].guest_open;
}

void Console::set_window(std::uint16_t columns, std::uint16_t rows) {
  {
    Lock lock(mutex_);
    columns_ = columns;
    rows_ = rows;
    for (std::uint32_t i = 0; i < ports_.size(); ++i)
      if (ports_[i].ready && ports_[i].options.is_console) greet(i, ports_[i]);
  }
  wake_.wake();
}

void Console::read_config(std::uint32_t offset, std::span<std::byte> out) {
  std::array<std::byte, kConfigBytes> config{};
  {
    Lock lock(mutex_);
    store_le(config, columns_);
    store_le(std::span(config).subspan(2), rows_);
  }
  store_le(std::span(config).subspan(4), static_cast<std::uint32_t>(ports_.size()));
  copy_config(config, offset, out);
}

std::string Console::save_state() const {
  v1::ConsoleState state;
  state.set_version(1);
  Lock lock(mutex_);
  state.set_ready(ready_);
  for (const auto& port : ports_) {
    auto* saved = state.add_ports();
    saved->set_ready(port.ready);
    saved->set_guest_open(port.guest_open);
    for (const std::byte b : port.to_guest)
      saved->mutable_to_guest()->push_back(static_cast<char>(b));
    for (const std::byte b : port.to_host)
      saved->mutable_to_host()->push_back(static_cast<char>(b));
  }
  return state.SerializeAsString();
}

Status Console::load_state(std::string_view bytes) {
  v1::ConsoleState state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || state.version() != 1)
    return bad_state("not the state of a console that we know");
  if (static_cast<std::size_t>(state.ports_size()) != ports_.size())
    return bad_state("the console has another number of ports here");
  for (const auto& saved : state.ports())
    if (saved.to_guest().size() > kMaxToGuest || saved.to_host().size() > kMaxWrite)
      return bad_state("a port of the console holds too much");
  Lock lock(mutex_);
  ready_ = state.ready();
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const auto& saved = state.ports(static_cast<int>(i));
    const auto to_guest = std::as_bytes(std::span(saved.to_guest()));
    const auto to_host = std::as_bytes(std::span(saved.to_host()));
    ports_[i].ready = saved.ready();
    ports_[i].guest_open = saved.guest_open();
    ports_[i].to_guest.assign(to_guest.begin(), to_guest.end());
    ports_[i].to_host.assign(to_host.begin(), to_host.end());
    ports_[i].options.sink->guest_opened(saved.guest_open());
  }
  return {};
}

}  // namespace reeve::core::virtio
