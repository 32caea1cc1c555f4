#include <filesystem>
#include <fstream>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/vmm/console_outlet.h"
#include "hypervisor_core/vmm/error_log.h"
#include "hypervisor_core/vmm/server.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::vmm {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t kStep = 64 << 10;
constexpr std::uint64_t kBound = ConsoleOutlet::kMaxLogBytes + kStep;

/// A machine whose guest halts, served as reeve-vmm does it, without its process and jail. Its
/// console says what the test says.
class Served {
 public:
  explicit Served(accel::Accelerator& kvm, const fs::path& run_dir) : run_dir_(run_dir) {
    const core::test::PayloadKernel kernel{0xf4};
    auto vm = Vm::create(kernel.config(), kvm, {.on_change = [this] { ring(); }});
    REQUIRE(vm.ok());
    vm_ = std::move(vm).value();
    vm_->console().set_listener([this] { ring(); });
    folder_ = open_file(run_dir, O_RDONLY | O_DIRECTORY).value();
    console_ = ConsoleOutlet::open(*vm_, folder_.get(), listen_unix(run_dir / "typists", 1).value())
                   .value();
    server_ = std::make_unique<Server>(*vm_, *console_, listen_unix(run_dir / "control", 8).value(),
                                       wake_.get(), folder_.get(), report_);
    thread_ = std::thread([this] { server_->serve(); });
    caller_ = connect();
  }
  ~Served() {
    vm_->stop();
    thread_.join();
    vm_->console().set_listener({});
  }

  control::ControlClient connect() const {
    return control::ControlClient::connect(run_dir_ / "control").value();
  }
  /// Returns when the log and the watchers have had their chance at it.
  void say(std::string_view text) {
    vm_->console().write(as_bytes(text));
    v1::ControlRequest request;
    request.mutable_get_status();
    REQUIRE(caller_->call(std::move(request), 10s).ok());
  }
  std::uint64_t said() const { return vm_->console().end_offset(); }

 private:
  void ring() { (void)eventfd_write(wake_.get(), 1); }

  const fs::path run_dir_;
  Fd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Fd folder_;
  sandbox::Report report_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<ConsoleOutlet> console_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
  std::optional<control::ControlClient> caller_;
};

/// Lines of 16 characters, each with its number.
std::string numbered(std::uint64_t first, std::size_t bytes) {
  std::string text;
  char line[24];
  for (; text.size() < bytes; ++first) {
    (void)std::snprintf(line, sizeof line, "line %010ju\n", static_cast<std::uintmax_t>(first));
    text += line;
  }
  return text;
}

/// Empty when there is no such file.
std::string content(const fs::path& path) {
  auto text = read_file(path);
  return text.ok() ? std::move(text).value() : "";
}

std::string flood(Served& served, std::uint64_t bytes) {
  std::string last;
  for (std::uint64_t done = 0; done < bytes; done += kStep)
    served.say(last = numbered(done / 16, kStep));
  return last;
}

}  // namespace

TEST_CASE("a console that is flooded fills neither the disk nor a watcher's backlog",
          "[vmm][kvm]") {
  auto kvm = core::test::kvm_or_skip();
  if (!kvm) return;
  constexpr std::uint64_t kFlood = 32 << 20;
  const reeve::test::TempDir dir;
  std::ofstream(dir / "console.log") << std::string(ConsoleOutlet::kMaxLogBytes - 100, 'b');
  Served served(*kvm, dir.path());
  auto lazy = served.connect();
  v1::ControlRequest watch;
  watch.mutable_watch_console();
  REQUIRE(lazy.call(watch, 10s).ok());

  served.say(numbered(0, kStep));
  CHECK(fs::file_size(dir / "console.log") > ConsoleOutlet::kMaxLogBytes);
  served.say("after the turn\n");
  CHECK(content(dir / "console.log").substr(0, 100) == "after the turn\n");
  const auto aside = content(dir / "console.log.0");
  CHECK((aside.starts_with("bbb")));
  CHECK((aside.ends_with(numbered(kStep / 16 - 1, 16))));

  const auto last = flood(served, kFlood);
  const auto log = content(dir / "console.log");
  CHECK((log.ends_with(last)));
  CHECK(log.size() <= kBound);
  CHECK(content(dir / "console.log.0").size() <= kBound);
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 4);

  // What had waited for the watcher comes first, then the newest: what is between was never kept.
  std::uint64_t got = 0, end = 0;
  std::string tail;
  while (end < served.said()) {
    const auto event = lazy.next_event(5s);
    REQUIRE(event.ok());
    REQUIRE(event.value());
    const auto& output = event.value()->console_output();
    CHECK(output.offset() >= end);
    got += output.output().size();
    end = output.offset() + output.output().size();
    tail = (tail + output.output());
    if (tail.size() > kStep) tail.erase(0, tail.size() - kStep);
  }
  CHECK((tail == last));
  CHECK(got < 4 << 20);
  CHECK(got >= Server::kMaxBacklog);
}

TEST_CASE("a console log that cannot be renamed is bounded all the same, and says so",
          "[vmm][kvm]") {
  auto kvm = core::test::kvm_or_skip();
  if (!kvm) return;
  const reeve::test::TempDir dir;
  fs::create_directories(dir / "console.log.0" / "in the way");
  Served served(*kvm, dir.path());
  const auto last = flood(served, 8 << 20);
  const auto log = content(dir / "console.log");
  CHECK(log.size() <= kBound);
  CHECK((log.ends_with(last)));
  const auto first = log.substr(0, log.find('\n'));
  INFO(first);
  CHECK(first.starts_with("[reeve: this log was full and was emptied: "));
  CHECK(first.find("console.log.0") != std::string::npos);
}

TEST_CASE("what a process says on stderr is bounded, and it says that it says no more", "[vmm]") {
  const reeve::test::TempDir dir;
  const Fd file = open_file(dir / "errors", O_WRONLY | O_CREAT | O_EXCL).value();
  ErrorLog errors(file.get());
  const std::string line(100, 'e');
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) errors.write(line + "\n");
    });
  for (auto& thread : threads) thread.join();
  const auto written = content(dir / "errors");
  CHECK(written.size() <= ErrorLog::kMaxBytes);
  CHECK(written.size() > ErrorLog::kMaxBytes - 300);
  CHECK((written.starts_with(line)));
  CHECK((written.ends_with("reeve-vmm: no more is written here\n")));
}

TEST_CASE("a machine in the foreground shows all that its guest says, to the last byte",
          "[vmm][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  constexpr unsigned kBytes = 20'000;
  const core::test::PayloadKernel kernel{
      0xb9, 0x20, 0x4e, 0,    0,     // mov $20000, %ecx
      0x66, 0xba, 0xf8, 0x03,        // mov $0x3f8, %dx
      0x88, 0xc8, 0x24, 0x3f,        // mov %cl, %al; and $0x3f, %al
      0x0c, 0x40, 0xee, 0xe2, 0xf7,  // or $0x40, %al; out %al, (%dx); loop
      0x66, 0xba, 0xf4, 0,           // mov $0xf4, %dx
      0xb0, 0x15, 0xee,              // mov $0x15, %al; out %al, (%dx)
      0xeb, 0xfe};
  std::string expected;
  for (unsigned left = kBytes; left > 0; --left)
    expected += static_cast<char>((left & 0x3f) | 0x40);
  const auto program = fs::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
  const auto done =
      run({.argv = {program.string(), "--kernel", kernel.path(), "--memory", "4", "--debug-exit"},
           .timeout = 60s});
  REQUIRE(done.ok());
  INFO(done.value().errors);
  CHECK(done.value().exit_code == 0x15 * 2 + 1);
  CHECK(done.value().output == expected);
}

}  // namespace reeve::core::vmm
