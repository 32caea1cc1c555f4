// tests/contract/driver_world.cpp - what all worlds share.
#include <algorithm>
#include <thread>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/unix_socket.h"
#include "base/uuid.h"
#include "tests/contract/driver_worlds.h"

namespace reeve::test {

using namespace reeve::agent;
using namespace std::chrono_literals;

bool poll_until(const std::function<bool()>& holds, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

Fd connect_to(const std::string& socket_path) {
  auto socket = connect_unix(socket_path, SocketWaits::Yes);
  REQUIRE(socket.ok());
  return std::move(socket).value();
}

bool contains(const std::string& file, std::string_view text, int times) {
  const auto content = read_file(file);
  if (!content.ok()) return false;
  int found = 0;
  for (auto at = content.value().find(text); at != std::string::npos;
       at = content.value().find(text, at + 1))
    ++found;
  return found >= times;
}

GuestDefinition DriverWorld::guest(const std::string& name) {
  GuestDefinition guest{
      .uid = new_uuid(random_), .display_name = name, .cpus = 1, .memory_mib = 128};
  guest.run_dir = dir_ / guest.uid.substr(0, 8);
  REQUIRE(make_dirs(guest.run_dir).ok());
  furnish(guest);
  return guest;
}

bool DriverWorld::can(const std::string& capability) {
  const auto facts = driver().facts();
  return std::find(facts.capabilities.begin(), facts.capabilities.end(), capability) !=
         facts.capabilities.end();
}

GuestState DriverWorld::state(const std::string& uid) {
  const auto seen = driver().get(uid);
  INFO((seen.ok() ? "" : seen.error().message()));
  REQUIRE(seen.ok());
  return seen.value().state;
}

bool DriverWorld::becomes(const std::string& uid, GuestState wanted) {
  return eventually([&] { return state(uid) == wanted; });
}

std::function<void(std::string)> Heard::listener() {
  return [this](std::string uid) {
    std::scoped_lock lock(mutex_);
    uids_.push_back(std::move(uid));
  };
}
bool Heard::has(const std::string& uid) const {
  std::scoped_lock lock(mutex_);
  return std::find(uids_.begin(), uids_.end(), uid) != uids_.end();
}
std::vector<std::string> Heard::all() const {
  std::scoped_lock lock(mutex_);
  return uids_;
}
void Heard::clear() {
  std::scoped_lock lock(mutex_);
  uids_.clear();
}

}  // namespace reeve::test
