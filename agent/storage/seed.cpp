#include "agent/storage/seed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/undo.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMaxSeed = 1u << 20;

Status put(const std::string& path, const std::string& content) {
  const Fd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return write_all(fd.get(), as_bytes(content));
}

}  // namespace

Status make_seed(const v1::Seed& seed, const std::string& folder) {
  if (seed.user_data().size() + seed.meta_data().size() + seed.network_config().size() >
      2 * kMaxSeed)
    return Error{Code::InvalidArgument, "BAD_SEED", "the cloud-init data is too large"};
  const std::string files = folder + "/seed";
  const std::string iso = folder + "/seed.iso";
  TRY(make_dirs(files, 0700));
  Undo undo;
  undo.push([&] { (void)remove_tree(files).ok(); });
  TRY(put(files + "/user-data", seed.user_data()));
  TRY(put(files + "/meta-data", seed.meta_data()));
  if (!seed.network_config().empty()) TRY(put(files + "/network-config", seed.network_config()));
  {
    // Made by us with its mode before anyone else writes into it.
    const Fd fd = TRY(open_file(iso, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  }
  Command command;
  command.argv = {"xorriso", "-as",    "mkisofs", "-quiet", "-output", iso,
                  "-volid",  "cidata", "-joliet", "-rock",  files};
  command.timeout = std::chrono::seconds(60);
  command.cpu_limit_seconds = 30;
  auto ran = run_checked(command);
  if (!ran.ok() && ran.error().reason() == "PROGRAM_NOT_FOUND")
    return Error(Code::FailedPrecondition, "XORRISO_MISSING",
                 "xorriso is not installed on this host")
        .remedy("apt-get install xorriso");
  TRY(std::move(ran));
  const Fd made = TRY(open_file(iso, O_RDONLY | O_NOFOLLOW));
  if (::fchmod(made.get(), 0600) != 0) return errno_error("setting the mode of the seed");
  if (::fsync(made.get()) != 0) return errno_error("syncing the seed");
  return {};
}

}  // namespace reeve::agent
