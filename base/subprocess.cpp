#include "base/subprocess.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

namespace reeve {
namespace {

struct Pipe {
  Fd read_end{};
  Fd write_end{};
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("making a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

struct ChildSetup {
  Streams streams{};
  Process::Session session = Process::Session::Ours;
  const std::vector<std::pair<int, int>>* keep = nullptr;
  std::uint64_t memory_limit_bytes = 0;
  std::uint64_t cpu_limit_seconds = 0;
};

void limit(__rlimit_resource what, std::uint64_t value) {
  if (value == 0) return;
  const rlimit both{value, value};
  ::setrlimit(what, &both);
}

/// Runs between fork and exec: only async-signal-safe calls. Writes errno to `report` on failure.
[[noreturn]] void become(const ChildSetup& setup, char* const* argv, int report) {
  const auto fail = [&] {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t n = ::write(report, &error_number, sizeof error_number);
    ::_exit(127);
  };
  if (setup.session == Process::Session::Own) ::setsid();
  // Sources first move above every target number, so that no dup2 overwrites one still needed.
  constexpr int kAboveTargets = 1000;
  const int null = ::open("/dev/null", O_RDWR);
  const int wanted[3] = {setup.streams.input, setup.streams.output, setup.streams.errors};
  int moved[3];
  for (int i = 0; i < 3; ++i) {
    moved[i] = ::fcntl(wanted[i] < 0 ? null : wanted[i], F_DUPFD_CLOEXEC, kAboveTargets);
    if (moved[i] < 0) fail();
  }
  constexpr std::size_t kMaxKept = 64;
  int kept[kMaxKept];
  std::size_t count = 0;
  if (setup.keep)
    for (const auto& [ours, number] : *setup.keep) {
      if (count == kMaxKept) break;
      kept[count] = ::fcntl(ours, F_DUPFD_CLOEXEC, kAboveTargets);
      if (kept[count++] < 0) fail();
    }
  const int high_report = ::fcntl(report, F_DUPFD_CLOEXEC, kAboveTargets);
  if (high_report >= 0) report = high_report;
  for (int i = 0; i < 3; ++i)
    if (::dup2(moved[i], i) < 0) fail();
  for (std::size_t i = 0; i < count; ++i)
    if (::dup2(kept[i], (*setup.keep)[i].second) < 0) fail();
  limit(RLIMIT_AS, setup.memory_limit_bytes);
  limit(RLIMIT_CPU, setup.cpu_limit_seconds);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  ::execvp(argv[0], argv);
  fail();
  ::_exit(127);
}

Result<pid_t> start(const std::vector<std::string>& argv, const ChildSetup& setup) {
  std::vector<char*> raw;
  for (const auto& argument : argv) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  Pipe report = TRY(make_pipe());
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error("forking for '" + argv[0] + "'");
  if (pid == 0) become(setup, raw.data(), report.write_end.get());
  report.write_end.reset();
  int error_number = 0;
  ssize_t n = 0;
  do n = ::read(report.read_end.get(), &error_number, sizeof error_number);
  while (n < 0 && errno == EINTR);
  if (n == 0) return pid;
  ::waitpid(pid, nullptr, 0);
  if (error_number == ENOENT)
    return Error(Code::NotFound, "PROGRAM_NOT_FOUND", "no program '" + argv[0] + "' in PATH")
        .remedy("install it");
  return errno_error("starting '" + argv[0] + "'", error_number);
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void drain(Fd& from, std::string& into, std::size_t limit_bytes) {
  char buffer[16384];
  const ssize_t n = ::read(from.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) return from.reset();
  const std::size_t room = limit_bytes - std::min(limit_bytes, into.size());
  into.append(buffer, std::min(room, static_cast<std::size_t>(n)));
}

void feed(Fd& to, std::string_view& rest) {
  const ssize_t n = ::write(to.get(), rest.data(), rest.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n < 0) return to.reset();
  rest.remove_prefix(static_cast<std::size_t>(n));
  if (rest.empty()) to.reset();
}

/// True when all three pipes are done before `deadline`.
bool converse(Fd& in, Fd& out, Fd& err, const Command& command, Finished& finished,
              Monotonic deadline) {
  std::string_view rest = command.input;
  if (rest.empty()) in.reset();
  while (out || err) {
    pollfd fds[3] = {{in.get(), POLLOUT, 0}, {out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - RealClock::instance().monotonic());
    if (left.count() <= 0) return false;
    if (::poll(fds, 3, static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
    if (fds[0].revents != 0) feed(in, rest);
    if (fds[1].revents != 0) drain(out, finished.output, command.output_limit);
    if (fds[2].revents != 0) drain(err, finished.errors, command.output_limit);
  }
  return true;
}

/// A number in /proc/PID/stat, counted as in proc(5), of a process that lives.
Result<std::uint64_t> stat_field(pid_t pid, int number) {
  const Error gone{Code::NotFound, "NO_PROCESS", "no process " + std::to_string(pid)};
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat.ok()) return gone;
  // The command name is in parentheses and may hold anything; fields are counted after the last
  // one.
  const std::string& text = stat.value();
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 > text.size()) return gone;
  const auto fields = split(std::string_view(text).substr(name_end + 2), ' ');
  constexpr int kFirst = 3;
  const auto at = static_cast<std::size_t>(number - kFirst);
  if (fields.size() <= at) return gone;
  if (fields[0] == "Z" || fields[0] == "X") return gone;
  return std::strtoull(std::string(fields[at]).c_str(), nullptr, 10);
}

}  // namespace

Result<Finished> run(const Command& command) {
  Pipe in = TRY(make_pipe());
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  ChildSetup setup;
  setup.streams = {in.read_end.get(), out.write_end.get(), err.write_end.get()};
  setup.memory_limit_bytes = command.memory_limit_bytes;
  setup.cpu_limit_seconds = command.cpu_limit_seconds;
  const pid_t pid = TRY(start(command.argv, setup));
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);
  const auto deadline = RealClock::instance().monotonic() + command.timeout;
  Finished finished;
  const bool in_time =
      converse(in.write_end, out.read_end, err.read_end, command, finished, deadline);
  if (!in_time) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time)
    return Error{Code::DeadlineExceeded, "PROGRAM_TIMEOUT",
                 "'" + command.argv[0] + "' did not finish within " +
                     std::to_string(command.timeout.count()) + " ms"};
  finished.exit_code = exit_code_of(status);
  return finished;
}

Result<std::string> run_checked(const Command& command) {
  Finished finished = TRY(run(command));
  if (finished.exit_code == 0) return std::move(finished.output);
  constexpr std::size_t kTail = 500;
  std::string_view tail = trim(finished.errors);
  if (tail.size() > kTail) tail.remove_prefix(tail.size() - kTail);
  return Error{Code::Internal, "PROGRAM_FAILED",
               "'" + command.argv[0] + "' ended with " + std::to_string(finished.exit_code) + ": " +
                   std::string(tail)};
}

Result<Process> Process::spawn(const std::vector<std::string>& argv, Streams streams,
                               Session session, const std::vector<std::pair<int, int>>& keep) {
  ChildSetup setup;
  setup.streams = streams;
  setup.session = session;
  setup.keep = &keep;
  return Process(TRY(start(argv, setup)));
}

void Process::signal(int number) const {
  if (!reaped_) ::kill(pid_, number);
}

Result<int> Process::wait(std::chrono::milliseconds timeout) {
  const auto deadline = RealClock::instance().monotonic() + timeout;
  while (!reaped_) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      reaped_ = true;
      exit_code_ = exit_code_of(status);
    } else if (ended < 0 && errno != EINTR) {
      return errno_error("waiting for process " + std::to_string(pid_));
    } else if (RealClock::instance().monotonic() >= deadline) {
      return Error{Code::DeadlineExceeded, "PROGRAM_RUNNING",
                   "process " + std::to_string(pid_) + " still runs"};
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  return exit_code_;
}

Result<std::uint64_t> process_start_ticks(pid_t pid) {
  constexpr int kStartTime = 22;
  return stat_field(pid, kStartTime);
}

Result<pid_t> process_parent(pid_t pid) {
  constexpr int kParent = 4;
  return static_cast<pid_t>(TRY(stat_field(pid, kParent)));
}

}  // namespace reeve
