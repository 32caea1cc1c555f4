// tests/hypervisor_core/lab/guest_probe.cpp - runs inside the guest, as /bin/probe: what a shell
// cannot do or check. Linked statically. Exit code 0 means that all of it held.
//
//   probe disk DEVICE SEED OPERATIONS [FIRST_MIB MIB]    writes, zeroes, discards and flushes, and
//                                        verifies, in all of it or a part
//   probe clock SECONDS                  no clock goes back, on any processor, until then or
//   SIGTERM;
//                                        says what the longest gap was
//   probe count HOST PORT FILE           echoes a counter over one connection; FILE holds the last
//   probe send|receive HOST PORT MIB     bulk transfer with known content
//   probe vsock-send|vsock-receive PORT KIB    the same to the host's vsock port
//   probe vsock-serve PORT               answers one connection from the host
//   probe serve PORT                     answers TCP connections for ever (lab machine)
//   probe flood MIB                      writes to the serial port as fast as it goes
//   probe hold MIB                       holds so much memory with known content, checks it all the
//   time and says "tick N" probe entropy                        the hardware source gives bytes
//   that differ
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/hypervisor_core/lab/traffic.h"

namespace {

using namespace reeve::lab;
using Arguments = std::vector<std::string>;

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMostPages = 64;

int failed(const std::string& what) {
  std::printf("probe FAILED: %s (%s)\n", what.c_str(), std::strerror(errno));
  return 1;
}

std::uint64_t number(const std::string& text) {
  return std::strtoull(text.c_str(), nullptr, 10);
}

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/// Remembers what each page of a disk must hold and compares.
class DiskModel {
 public:
  /// Of `pages` from `base` on.
  DiskModel(int fd, std::uint64_t base, std::uint64_t pages, std::uint64_t seed)
      : fd_(fd), base_(base), random_(seed), content_(pages, kUnknown) {
    buffer_ = static_cast<std::uint64_t*>(std::aligned_alloc(kPage, kPage * kMostPages));
  }

  bool step() {
    const std::uint64_t count = 1 + random_() % kMostPages;
    const std::uint64_t first = random_() % (content_.size() - count);
    switch (random_() % 16) {
      case 0: return range(BLKDISCARD, first, count, kUnknown);
      case 1: return range(BLKZEROOUT, first, count, 0);
      case 2: return ::fsync(fd_) == 0;
      case 3:
      case 4:
      case 5: return verify(first, count);
      default: return write(first, count);
    }
  }

  bool verify_all() {
    for (std::uint64_t first = 0; first < content_.size(); first += kMostPages)
      if (!verify(first, std::min<std::uint64_t>(kMostPages, content_.size() - first)))
        return false;
    return true;
  }

 private:
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

  bool range(unsigned long request, std::uint64_t first, std::uint64_t count,
             std::uint64_t becomes) {
    std::uint64_t bounds[2] = {(base_ + first) * kPage, count * kPage};
    std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(first), count, becomes);
    return ::ioctl(fd_, request, bounds) == 0;
  }

  bool write(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      content_[first + i] = ++generation_;
      for (std::size_t word = 0; word < kPage / 8; ++word)
        buffer_[i * kPage / 8 + word] = expected(first + i, word);
    }
    return ::pwrite(fd_, buffer_, count * kPage, position(first)) ==
           static_cast<ssize_t>(count * kPage);
  }

  bool verify(std::uint64_t first, std::uint64_t count) {
    if (::pread(fd_, buffer_, count * kPage, position(first)) !=
        static_cast<ssize_t>(count * kPage))
      return false;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (content_[first + i] == kUnknown) continue;
      for (std::size_t word = 0; word < kPage / 8; ++word) {
        if (buffer_[i * kPage / 8 + word] == expected(first + i, word)) continue;
        std::printf("page %" PRIu64 " differs at word %zu\n", base_ + first + i, word);
        return false;
      }
    }
    return true;
  }

  std::uint64_t expected(std::uint64_t page, std::size_t word) const {
    return content_[page] == 0 ? 0 : (content_[page] << 32) + ((base_ + page) << 12) + word;
  }
  off_t position(std::uint64_t page) const { return static_cast<off_t>((base_ + page) * kPage); }

  int fd_;
  std::uint64_t base_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> content_;
  std::uint64_t* buffer_ = nullptr;
  std::uint64_t generation_ = 0;
};

int check_disk(const Arguments& arguments) {
  const int fd = ::open(arguments.at(0).c_str(), O_RDWR | O_DIRECT);
  std::uint64_t bytes = 0;
  if (fd < 0 || ::ioctl(fd, BLKGETSIZE64, &bytes) != 0) return failed("opening the disk");
  constexpr std::uint64_t kPagesPerMib = (1 << 20) / kPage;
  const bool part = arguments.size() > 3;
  DiskModel model(fd, part ? number(arguments.at(3)) * kPagesPerMib : 0,
                  part ? number(arguments.at(4)) * kPagesPerMib : bytes / kPage,
                  number(arguments.at(1)));
  for (std::uint64_t i = 0; i < number(arguments.at(2)); ++i)
    if (!model.step()) return failed("operation " + std::to_string(i));
  if (::fsync(fd) != 0 || !model.verify_all()) return failed("verifying");
  return 0;
}

volatile sig_atomic_t told_to_stop = 0;

int check_clocks(const Arguments& arguments) {
  signal(SIGTERM, [](int) { told_to_stop = 1; });
  const double end = now(CLOCK_MONOTONIC) + static_cast<double>(number(arguments.at(0)));
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  double steady = 0, wall = 0, longest = 0;
  for (long turn = 0; steady < end && told_to_stop == 0; ++turn) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(turn % processors), &set);
    sched_setaffinity(0, sizeof set, &set);
    const double steady_now = now(CLOCK_MONOTONIC), wall_now = now(CLOCK_REALTIME);
    if (steady_now < steady) return failed("the monotonic clock went back");
    if (wall_now < wall) return failed("the wall clock went back");
    if (steady != 0) longest = std::max(longest, steady_now - steady);
    steady = steady_now;
    wall = wall_now;
    usleep(500);
  }
  std::printf("longest gap %.3f s\n", longest);
  return 0;
}

int connect_to(const std::string& host, const std::string& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(number(port)));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  return ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
}

int keep_counting(const Arguments& arguments) {
  const int fd = connect_to(arguments.at(0), arguments.at(1));
  if (fd < 0 || !begin_echo(fd)) return failed("connecting");
  for (std::uint64_t i = 1;; ++i) {
    if (!echo(fd, "count " + std::to_string(i))) return failed("echo " + std::to_string(i));
    std::ofstream(arguments.at(2)) << i << "\n";
    usleep(100'000);
  }
}

int transfer(int fd, bool to_host, std::uint64_t bytes) {
  if (fd < 0) return failed("connecting");
  const double begin = now(CLOCK_MONOTONIC);
  if (!(to_host ? send_bulk(fd, bytes) : receive_bulk(fd, bytes))) return failed("transfer");
  std::printf("%.2f MiB/s\n",
              static_cast<double>(bytes) / 1048576 / (now(CLOCK_MONOTONIC) - begin));
  return 0;
}

int send_to_host(const Arguments& a) {
  return transfer(connect_to(a.at(0), a.at(1)), true, number(a.at(2)) << 20);
}
int receive_from_host(const Arguments& a) {
  return transfer(connect_to(a.at(0), a.at(1)), false, number(a.at(2)) << 20);
}

sockaddr_vm vsock_address(unsigned cid, const std::string& port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = static_cast<unsigned>(number(port));
  return address;
}

int vsock_connect(const std::string& port) {
  const int fd = ::socket(AF_VSOCK, SOCK_STREAM, 0);
  const auto address = vsock_address(VMADDR_CID_HOST, port);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
}

int vsock_send(const Arguments& a) {
  return transfer(vsock_connect(a.at(0)), true, number(a.at(1)) << 10);
}
int vsock_receive(const Arguments& a) {
  return transfer(vsock_connect(a.at(0)), false, number(a.at(1)) << 10);
}

int vsock_serve(const Arguments& arguments) {
  const int fd = ::socket(AF_VSOCK, SOCK_STREAM, 0);
  const auto address = vsock_address(VMADDR_CID_ANY, arguments.at(0));
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 1) != 0)
    return failed("listening");
  std::puts("listening");
  std::fflush(stdout);
  serve_stream(::accept(fd, nullptr, nullptr));
  return 0;
}

int serve_connections(const Arguments& arguments) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(number(arguments.at(0))));
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 8) != 0)
    return failed("listening");
  for (;;) {
    const int fd = ::accept(listener, nullptr, nullptr);
    serve_stream(fd);
    ::close(fd);
  }
}

int flood_console(const Arguments& arguments) {
  if (::ioperm(0x3f8, 8, 1) != 0) return failed("ioperm");
  for (std::uint64_t left = number(arguments.at(0)) << 20; left > 0; --left) ::outb('x', 0x3f8);
  return 0;
}

int hold_memory(const Arguments& arguments) {
  constexpr std::size_t kWords = kPage / 8;
  std::vector<std::uint64_t> held((number(arguments.at(0)) << 20) / 8);
  std::mt19937_64 random(7);
  for (std::size_t i = 0; i < held.size(); ++i) held[i] = i % kWords < 32 ? random() : i;
  for (std::uint64_t tick = 1;; ++tick, usleep(10'000)) {
    const std::size_t page = random() % (held.size() / kWords) * kWords;
    for (std::size_t i = page + 32; i < page + kWords; ++i)
      if (held[i] != i) return failed("word " + std::to_string(i));
    std::printf("tick %" PRIu64 "\n", tick);
    std::fflush(stdout);
  }
}

int check_entropy(const Arguments&) {
  const int fd = ::open("/dev/hwrng", O_RDONLY);
  std::vector<unsigned char> first(512), second(512);
  if (::read(fd, first.data(), 512) <= 0 || ::read(fd, second.data(), 512) <= 0)
    return failed("reading /dev/hwrng");
  return first == second ? failed("the same bytes twice") : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<int(const Arguments&)>> verbs{
      {"disk", check_disk},
      {"clock", check_clocks},
      {"count", keep_counting},
      {"send", send_to_host},
      {"receive", receive_from_host},
      {"vsock-send", vsock_send},
      {"vsock-receive", vsock_receive},
      {"vsock-serve", vsock_serve},
      {"serve", serve_connections},
      {"flood", flood_console},
      {"hold", hold_memory},
      {"entropy", check_entropy}};
  const auto verb = verbs.find(argc > 1 ? argv[1] : "");
  if (verb == verbs.end()) return failed("unknown verb");
  return verb->second(Arguments(argv + 2, argv + argc));
}
