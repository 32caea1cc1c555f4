// proto/picture.h - what an agent sees, kept alike by the agent and by its server, and the text
// both hash.
//
// The agent changes its picture, sends the change as an Observation and puts the SHA-256
// (lower-case hexadecimal) of canonical() into it. The server applies the Observation to its own
// picture and compares. A difference, or a hole in the sequence, means Resync.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "reeve/agent/v1/observation.pb.h"

namespace reeve {

/// Plain value. Images are not part of it: they are sent with full observations only.
struct Picture {
  reeve::v1::HostStatus host{};
  std::map<std::string, reeve::v1::Hypervisor> hypervisors{};   ///< by Hypervisor.id
  std::map<std::string, reeve::agent::v1::GuestSeen> guests{};  ///< by uid

  void apply(const reeve::agent::v1::Observation& delta) {
    if (delta.full()) *this = Picture{};
    if (delta.has_host()) host = delta.host();
    for (const auto& hypervisor : delta.hypervisors()) hypervisors[hypervisor.id()] = hypervisor;
    for (const auto& guest : delta.guests()) guests[guest.uid()] = guest;
    for (const auto& uid : delta.gone_guests()) guests.erase(uid);
  }

  /// 'H' host, then 'Y' and each hypervisor by id, then 'G' and each guest by uid; each message as
  /// it came over the wire (fields in order of number, no maps inside), after its length as 8
  /// bytes, high first.
  std::string canonical() const {
    std::string out;
    append(out, 'H', host.SerializeAsString());
    for (const auto& [id, hypervisor] : hypervisors)
      append(out, 'Y', hypervisor.SerializeAsString());
    for (const auto& [uid, guest] : guests) append(out, 'G', guest.SerializeAsString());
    return out;
  }

 private:
  static void append(std::string& out, char kind, const std::string& bytes) {
    out.push_back(kind);
    for (int shift = 56; shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(static_cast<std::uint64_t>(bytes.size()) >> shift & 0xff));
    out += bytes;
  }
};

}  // namespace reeve
