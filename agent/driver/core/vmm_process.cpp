#include "agent/driver/core/vmm_process.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "hypervisor_core/control/run_dir.h"

namespace reeve::agent::core_driver {
namespace {

using namespace std::chrono_literals;
using core::control::ControlClient;

constexpr auto kStartDeadline = 60s;
constexpr auto kStopDeadline = 5s;
constexpr auto kWardenDeadline = 2s;
constexpr auto kWatchDeadline = 1s;  ///< less: who asks may hold what others need
constexpr const char* kErrors = "vmm.err";

std::string last_words(const std::string& folder) {
  const auto text = read_file(folder + "/" + kErrors);
  if (!text.ok()) return "it said nothing";
  std::string words(trim(text.value()));
  constexpr std::size_t kMost = 500;
  if (words.size() > kMost) words.erase(0, words.size() - kMost);
  const std::string name = "reeve-vmm: ";
  if (words.starts_with(name)) words.erase(0, name.size());
  return words.empty() ? "it said nothing" : words;
}

Result<Fd> open_pid(pid_t pid) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return errno_error("pidfd_open");
  return pidfd;
}

bool has_ended(int pidfd, std::chrono::milliseconds timeout) {
  pollfd one{pidfd, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(timeout.count())) == 1;
}

std::chrono::milliseconds time_until(std::chrono::steady_clock::time_point when) {
  return std::max(
      std::chrono::ceil<std::chrono::milliseconds>(when - std::chrono::steady_clock::now()), 0ms);
}

Error start_failed(const std::string& why) {
  return {Code::FailedPrecondition, "GUEST_START_FAILED", "reeve-vmm did not start: " + why};
}

}  // namespace

void VmmProcess::reap() const {
  if (!warden_ || !has_ended(warden_.get(), kWardenDeadline)) return;
  siginfo_t ignored{};
  (void)waitid(P_PIDFD, static_cast<id_t>(warden_.get()), &ignored, WEXITED | WNOHANG);
}

Result<VmmProcess> VmmProcess::start(const VmmLaunch& launch) {
  const Fd errors = TRY(
      open_file(launch.folder + "/" + kErrors, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  const auto user = std::to_string(launch.user);
  std::vector<std::string> argv{launch.program, "--run-dir",  launch.folder, "--jail-uid",
                                user,           "--jail-gid", user};
  if (launch.paused) argv.emplace_back("--paused");
  for (const auto& group : launch.cgroups) {
    argv.emplace_back("--cgroup");
    argv.push_back(group);
  }
  const auto spawned =
      Process::spawn(argv, {.errors = errors.get()}, Process::Session::Own, launch.keep_fds);
  if (!spawned.ok()) return start_failed(spawned.error().message());
  Fd child = TRY(open_pid(spawned.value().pid()));
  const auto end = std::chrono::steady_clock::now() + kStartDeadline;
  // It answers when the machine is ready and in its jail. Any caller of ours waits on a worker.
  while (std::chrono::steady_clock::now() < end) {
    if (has_ended(child.get(), 2ms)) {
      siginfo_t ignored{};
      (void)waitid(P_PIDFD, static_cast<id_t>(child.get()), &ignored, WEXITED | WNOHANG);
      return start_failed(last_words(launch.folder));
    }
    auto client = ControlClient::connect(launch.folder + "/" + core::control::kControlSocket, 0ms);
    if (!client.ok()) continue;
    core::v1::ControlRequest request;
    request.mutable_get_status();
    if (!client.value().call(std::move(request), time_until(end)).ok()) continue;
    auto process = find(launch.folder);
    if (!process) continue;
    process->warden_ = std::move(child);
    return std::move(*process);
  }
  return Error{Code::DeadlineExceeded, "HYPERVISOR_BUSY", "reeve-vmm is not ready after a minute"};
}

std::optional<VmmProcess> VmmProcess::find(const std::string& folder) {
  const auto claim = core::control::read_claim(folder);
  if (!claim.ok()) return std::nullopt;
  const auto [pid, ticks] = claim.value();
  auto pidfd = open_pid(pid);
  if (!pidfd.ok()) return std::nullopt;
  VmmProcess process(pid, std::move(pidfd).value(), folder);
  // Compared after the pidfd was taken: from here on the number cannot go to another process.
  const auto now = process_start_ticks(pid);
  if (!now.ok() || now.value() != ticks || !process.is_alive()) return std::nullopt;
  // One without a jail has no warden: its parent is who started it.
  const auto parent = process_parent(pid);
  if (parent.ok() && parent.value() > 1 && parent.value() != getpid())
    if (auto warden = open_pid(parent.value()); warden.ok())
      process.warden_ = std::move(warden).value();
  return process;
}

Status VmmProcess::wait_until_free(const std::string& folder) {
  const auto lock = open_file(folder + "/" + core::control::kPidFile, O_RDWR | O_NOFOLLOW);
  if (!lock.ok()) return {};
  const auto end = std::chrono::steady_clock::now() + kWardenDeadline;
  while (::flock(lock.value().get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() > end)
      return Error{Code::DeadlineExceeded, "HYPERVISOR_BUSY",
                   "another vmm process of the machine is starting or ending"};
    std::this_thread::sleep_for(2ms);
  }
  return {};
}

bool VmmProcess::wait(std::chrono::milliseconds timeout) const {
  return has_ended(pidfd_.get(), timeout) &&
         (!warden_ || has_ended(warden_.get(), kWardenDeadline));
}

bool VmmProcess::is_alive() const {
  return !has_ended(pidfd_.get(), 0ms);
}

Result<core::v1::ControlReply> VmmProcess::call(core::v1::ControlRequest request,
                                                std::chrono::milliseconds timeout) const {
  const auto translate = [](Error error) -> Error {
    if (error.reason() == "VMM_SILENT")
      return {Code::DeadlineExceeded, "HYPERVISOR_BUSY", error.message()};
    if (error.reason() == "VMM_GONE" || error.reason() == "VMM_NOT_THERE" ||
        error.reason() == "VM_ENDED")
      return {Code::FailedPrecondition, "GUEST_STATE", "the guest is off"};
    return error;
  };
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  auto client = ControlClient::connect(folder_ + "/" + core::control::kControlSocket, timeout);
  if (!client.ok()) return translate(std::move(client).error());
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  auto reply = client.value().call(std::move(request), std::max(left, 0ms));
  if (!reply.ok()) return translate(std::move(reply).error());
  return reply;
}

Status VmmProcess::end() const {
  core::v1::ControlRequest request;
  request.mutable_stop();
  const auto asked = call(std::move(request), kStopDeadline);
  if (asked.ok() && wait(kStopDeadline)) return {};
  (void)syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  if (wait(kStopDeadline)) return {};
  return Error{Code::DeadlineExceeded, "HYPERVISOR_BUSY",
               "process " + std::to_string(pid_) + " does not end, not even when it is killed"}
      .remedy("see what storage it waits for: /proc/" + std::to_string(pid_) + "/stack");
}

Result<ControlClient> VmmProcess::watch() const {
  auto client =
      TRY(ControlClient::connect(folder_ + "/" + core::control::kControlSocket, kWatchDeadline));
  core::v1::ControlRequest request;
  request.mutable_watch_state();
  TRY(client.send(std::move(request), kWatchDeadline));
  return client;
}

}  // namespace reeve::agent::core_driver
