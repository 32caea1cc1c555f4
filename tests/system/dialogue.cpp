#include "tests/system/dialogue.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace reeve::test {
namespace {

[[noreturn]] void give_up(const std::string& what) {
  throw std::runtime_error(what + " failed with errno " + std::to_string(errno));
}

}  // namespace

Dialogue::Dialogue(const std::vector<std::string>& argv, On on) {
  Fd theirs_in, theirs_out;
  if (on == On::Terminal) {
    output_ = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!output_ || ::grantpt(output_.get()) != 0 || ::unlockpt(output_.get()) != 0)
      give_up("opening a terminal");
    theirs_in = Fd(::open(::ptsname(output_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!theirs_in) give_up("opening the terminal's other end");
  } else {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) give_up("making pipes");
    theirs_in = Fd(in[0]);
    input_ = Fd(in[1]);
    output_ = Fd(out[0]);
    theirs_out = Fd(out[1]);
    if (on == On::SmallPipe && ::fcntl(out[1], F_SETPIPE_SZ, 4096) < 0) give_up("making it small");
  }
  const bool terminal = on == On::Terminal;
  auto spawned = Process::spawn(argv,
                                {.input = theirs_in.get(),
                                 .output = terminal ? theirs_in.get() : theirs_out.get(),
                                 .errors = terminal ? theirs_in.get() : -1},
                                Process::Session::Own);
  if (!spawned.ok()) throw std::runtime_error(spawned.error().message());
  process_.emplace(std::move(spawned).value());
}

Dialogue::~Dialogue() {
  if (ended_) return;
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait(std::chrono::seconds(5)));
}

void Dialogue::type(std::string_view text) {
  const int fd = input_ ? input_.get() : output_.get();
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) give_up("typing");
}

bool Dialogue::hears(std::string_view text, std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    if (const auto at = heard_.find(text, found_); at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    if (std::chrono::steady_clock::now() > deadline) return false;
    pollfd fd{output_.get(), POLLIN, 0};
    if (::poll(&fd, 1, 100) <= 0) continue;
    char buffer[4096];
    const ssize_t n = ::read(output_.get(), buffer, sizeof buffer);
    if (n <= 0) return false;  // a terminal nobody has open any more says EIO
    heard_.append(buffer, static_cast<std::size_t>(n));
  }
}

bool Dialogue::speaks(std::chrono::seconds limit) const {
  pollfd fd{output_.get(), POLLIN, 0};
  return ::poll(&fd, 1, static_cast<int>(limit.count()) * 1000) == 1 && (fd.revents & POLLIN) != 0;
}

bool Dialogue::is_line_mode() const {
  termios mode{};
  if (::tcgetattr(output_.get(), &mode) != 0) give_up("asking for the terminal's mode");
  return (mode.c_lflag & ICANON) != 0;
}

int Dialogue::wait(std::chrono::seconds limit) {
  const auto code = process_->wait(limit);
  ended_ = code.ok();
  return code.ok() ? code.value() : -1;
}

}  // namespace reeve::test
