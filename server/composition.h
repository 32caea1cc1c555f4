// server/composition.h - the running server, put together: the only place that names concrete
// classes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "server/config.h"

namespace reeve::server {

struct Started {
  std::string api_address{};   ///< with the real port
  std::string link_address{};  ///< with the real port
  std::string ca_fingerprint{};
  std::filesystem::path first_token{};  ///< empty unless it was made by this start
  std::string warning{};                ///< what needs a person, or empty
};

class Composition {
 public:
  /// Opens everything below config.data, starts threads and listeners. Blocks.
  /// FailedPrecondition/DB_IN_USE, DATA_DIR_OPEN, CA_INCOMPLETE, Unavailable/LISTEN_FAILED, ...
  static Result<std::unique_ptr<Composition>> start(const Config& config);
  virtual ~Composition() = default;  ///< stop()

  virtual const Started& started() const = 0;
  /// Ends calls, listeners, core, loops and writer, in this order. What was acknowledged is
  /// durable.
  virtual void stop() = 0;
};

}  // namespace reeve::server
