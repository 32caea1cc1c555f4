// cli/names.h - display names of resources, for what people read: `host-1` where the API says
// `hosts/{uid}`. Machine formats have no use for it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "cli/client.h"

namespace reeve::cli {

/// Hosts, machines and images. What has no name any more, or cannot be asked for, is shown by the
/// start of its uid. One thread; the client outlives it.
class Names {
 public:
  /// One: a call for each resource that is asked for. Many: one List for each kind, for tables.
  enum class Expect { One, Many };
  Names(Client& client, Expect expect) : client_(client), expect_(expect) {}

  /// Of "hosts/{uid}" or what is below it; "" of "".
  std::string of(const std::string& resource);
  /// `text` with names in the place of all resource names in it.
  std::string in(const std::string& text);

 private:
  void read(const std::string& resource, const std::string& kind);

  Client& client_;
  const Expect expect_;
  std::map<std::string, std::string> by_resource_{};
  std::set<std::string> read_{};  ///< kinds, or resources, that were asked for
};

}  // namespace reeve::cli
