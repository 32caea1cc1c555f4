#include "hypervisor_core/vmm/console_outlet.h"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "hypervisor_core/control/client.h"

namespace reeve::core::vmm {
namespace {

constexpr std::size_t kPiece = 64 << 10;
constexpr std::size_t kMaxTyped = 4096;

/// What the log holds already is counted; a failed write may leave a part.
std::uint64_t size_of(const Fd& log) {
  struct stat st {};
  return log && fstat(log.get(), &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
}

}  // namespace

Result<std::unique_ptr<ConsoleOutlet>> ConsoleOutlet::open(Vm& vm, int run_dir, Fd listener) {
  std::unique_ptr<ConsoleOutlet> outlet(new ConsoleOutlet(vm, run_dir, std::move(listener)));
  outlet->open_log();
  if (!outlet->log_) return errno_error("opening the console log");
  return outlet;
}

void ConsoleOutlet::open_log() {
  log_ = Fd(openat(run_dir_, control::kConsoleLog,
                   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  log_bytes_ = size_of(log_);
}

void ConsoleOutlet::begin_new_log() {
  const std::string set_aside = std::string(control::kConsoleLog) + ".0";
  if (renameat(run_dir_, control::kConsoleLog, run_dir_, set_aside.c_str()) == 0) return open_log();
  const auto why = errno_error("renaming it to " + set_aside);
  if (ftruncate(log_.get(), 0) != 0) return;
  const auto line = "[reeve: this log was full and was emptied: " + why.message() + "]\r\n";
  (void)write_all(log_.get(), as_bytes(line));
  log_bytes_ = size_of(log_);
}

bool ConsoleOutlet::make_room() {
  if (!log_) open_log();
  if (log_bytes_ >= kMaxLogBytes) begin_new_log();
  return log_ && log_bytes_ < kMaxLogBytes;
}

void ConsoleOutlet::write_log() {
  for (;;) {
    const auto piece = vm_.console().read(offset_, kPiece);
    if (piece.bytes.empty()) return;
    offset_ = piece.offset + piece.bytes.size();
    if (!make_room()) continue;
    if (write_all(log_.get(), as_bytes(piece.bytes)).ok())
      log_bytes_ += piece.bytes.size();
    else
      log_bytes_ = size_of(log_);
  }
}

void ConsoleOutlet::add_to(std::vector<pollfd>& wait) const {
  wait.push_back({listener_.get(), POLLIN, 0});
  for (const auto& typist : typists_)
    wait.push_back({typist.typed.empty() ? typist.socket.get() : -1, POLLIN, 0});
}

bool ConsoleOutlet::take_input(Typist& typist) {
  char bytes[kMaxTyped];
  const ssize_t got = recv(typist.socket.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (got > 0) typist.typed.assign(bytes, static_cast<std::size_t>(got));
  return true;
}

void ConsoleOutlet::serve(std::span<const pollfd> ready) {
  for (std::size_t i = 1; i < ready.size(); ++i) {
    auto& typist = typists_[i - 1];
    const bool readable = (ready[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    if (typist.typed.empty() && readable && !take_input(typist)) typist.socket.reset();
    if (!typist.typed.empty()) typist.typed.erase(0, vm_.type(as_bytes(typist.typed)));
  }
  std::erase_if(typists_, [](const Typist& typist) { return !typist.socket; });
  if ((ready[0].revents & POLLIN) == 0) return;
  Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket && typists_.size() < kMaxTypists) typists_.push_back({std::move(socket)});
}

bool ConsoleOutlet::is_waiting_for_guest() const {
  for (const auto& typist : typists_)
    if (!typist.typed.empty()) return true;
  return false;
}

}  // namespace reeve::core::vmm
