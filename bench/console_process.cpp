#include "bench/console_process.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

namespace reeve::bench {
namespace {

std::vector<pid_t> family(pid_t pid) {
  std::vector<pid_t> all{pid};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto base = std::filesystem::path("/proc") / std::to_string(all[i]) / "task";
    std::error_code gone;
    for (const auto& task : std::filesystem::directory_iterator(base, gone)) {
      std::ifstream children(task.path() / "children");
      for (pid_t child = 0; children >> child;) all.push_back(child);
    }
  }
  return all;
}

}  // namespace

void give_up(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}

ConsoleProcess::ConsoleProcess(const std::vector<std::string>& argv) {
  int to[2], from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) give_up("no pipes");
  input_ = Fd(to[1]);
  output_ = Fd(from[0]);
  const Fd theirs_in(to[0]), theirs_out(from[1]);
  errors_ = Fd(memfd_create("errors", MFD_CLOEXEC));
  begin_ = std::chrono::steady_clock::now();
  auto process = Process::spawn(
      argv, {.input = theirs_in.get(), .output = theirs_out.get(), .errors = errors_.get()});
  if (!process.ok()) give_up(process.error().message());
  process_ = std::move(process).value();
}

ConsoleProcess::~ConsoleProcess() {
  kill();
}

void ConsoleProcess::kill() {
  const auto all = family(process_->pid());
  for (const pid_t pid : all) ::kill(pid, SIGKILL);
  (void)process_->wait(std::chrono::seconds(20));
  // Whoever comes next may need the same network card.
  for (const pid_t pid : all)
    for (int i = 0; i < 1000 && ::kill(pid, 0) == 0; ++i) ::usleep(10'000);
}

double ConsoleProcess::wait_for(const std::string& text, std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    if (const auto at = unread_.find(text); at != std::string::npos) {
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - begin_;
      unread_.erase(0, at + text.size());
      return took.count();
    }
    pollfd wait{output_.get(), POLLIN, 0};
    char bytes[4096];
    if (std::chrono::steady_clock::now() > deadline || poll(&wait, 1, 1000) < 0)
      give_up("no '" + text + "' in: " + unread_);
    if (wait.revents == 0) continue;
    const ssize_t got = ::read(output_.get(), bytes, sizeof bytes);
    if (got <= 0) {
      const auto errors = read_file("/proc/self/fd/" + std::to_string(errors_.get()));
      give_up("it ended before '" + text + "': " + unread_ + (errors.ok() ? errors.value() : ""));
    }
    unread_.append(bytes, static_cast<std::size_t>(got));
  }
}

void ConsoleProcess::type(const std::string& text) {
  (void)write_all(input_.get(), as_bytes(text));
}

std::string ConsoleProcess::run(const std::string& command) {
  type(command + "; echo \"<$?>\"\n");
  for (;;) {
    if (const auto end = unread_.find("REEVE-DONE"); end != std::string::npos) {
      std::string said = unread_.substr(0, end);
      unread_.erase(0, end + 10);
      if (said.find("<0>") == std::string::npos) give_up(command + ": " + said);
      return said;
    }
    char bytes[4096];
    const ssize_t got = ::read(output_.get(), bytes, sizeof bytes);
    if (got <= 0) give_up("it ended during " + command);
    unread_.append(bytes, static_cast<std::size_t>(got));
  }
}

std::uint64_t overhead_kib(pid_t pid) {
  std::uint64_t sum = 0;
  for (const pid_t one : family(pid)) {
    std::ifstream maps("/proc/" + std::to_string(one) + "/smaps");
    bool guest = false;
    for (std::string line; std::getline(maps, line);) {
      if (line.find("memfd:") != std::string::npos)
        guest = true;
      else if (!line.empty() && line.find('-') < 17 && line.find(':') > 17)
        guest = false;
      if (line.starts_with("Pss:") && !guest) sum += std::strtoull(&line[4], nullptr, 10);
    }
  }
  return sum;
}

double cpu_seconds(pid_t pid) {
  double sum = 0;
  for (const pid_t one : family(pid)) {
    std::ifstream stat("/proc/" + std::to_string(one) + "/stat");
    std::string text;
    std::getline(stat, text);
    std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    std::string field;
    for (int i = 3; i <= 15 && rest >> field; ++i)
      if (i >= 14) sum += std::strtod(field.c_str(), nullptr);
  }
  return sum / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace reeve::bench
