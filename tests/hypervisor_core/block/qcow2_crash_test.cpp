// Power loss at every write of a qcow2 image: the image stays sound, what was flushed stays.
//
// This binary defines the system calls that change a file, records them, and replays what a disk
// might hold after a crash: everything before the last sync, and any part of what came after,
// sector by sector.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "base/subprocess.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/qcow2_disk.h"
#include "tests/hypervisor_core/block/qemu_img.h"
#include "tests/support/temp_dir.h"

namespace {

struct Event {
  bool sync = false;
  std::uint64_t offset = 0;
  std::string bytes{};  // a hole punched is zeroes
};
std::vector<Event>* recorder = nullptr;

void record(off_t offset, std::string bytes) {
  if (recorder != nullptr)
    recorder->push_back({false, static_cast<std::uint64_t>(offset), std::move(bytes)});
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const ssize_t n = ::syscall(SYS_pwrite64, fd, data, size, offset);
  if (n > 0) record(offset, std::string(static_cast<const char*>(data), static_cast<size_t>(n)));
  return n;
}

ssize_t pwritev(int fd, const iovec* ranges, int count, off_t offset) {
  const ssize_t n = ::syscall(SYS_pwritev, fd, ranges, count, offset, 0);
  std::string bytes;
  for (int i = 0; i < count && n > 0; ++i)
    bytes.append(static_cast<const char*>(ranges[i].iov_base), ranges[i].iov_len);
  if (n > 0) record(offset, bytes.substr(0, static_cast<size_t>(n)));
  return n;
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  const int result = static_cast<int>(::syscall(SYS_fallocate, fd, mode, offset, length));
  if (result == 0) record(offset, std::string(static_cast<size_t>(length), '\0'));
  return result;
}

int fdatasync(int fd) {
  if (recorder != nullptr) recorder->push_back({.sync = true});
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

}  // extern "C"

using namespace reeve;
using namespace reeve::core;
using reeve::test::TempDir;

namespace {

constexpr std::uint64_t kSize = 256 * 1024;

void apply(std::string& image, std::uint64_t offset, std::string_view bytes) {
  if (image.size() < offset + bytes.size()) image.resize(offset + bytes.size());
  image.replace(offset, bytes.size(), bytes);
}

/// The file after a crash before event `end`.
std::string crashed(std::string image, const std::vector<Event>& events, std::size_t end,
                    SeededRandom& random) {
  std::size_t synced = 0;
  for (std::size_t i = 0; i < end; ++i)
    if (events[i].sync) synced = i;
  for (std::size_t i = 0; i < end; ++i) {
    const auto& event = events[i];
    if (i < synced) {
      apply(image, event.offset, event.bytes);
      continue;
    }
    if (event.offset + event.bytes.size() > image.size())
      image.resize(event.offset + event.bytes.size());  // lengths tend to reach the disk first
    for (std::uint64_t at = 0; at < event.bytes.size(); at += 512)
      if (random.below(2) == 0)
        apply(image, event.offset + at, std::string_view(event.bytes).substr(at, 512));
  }
  return image;
}

/// What the guest was promised: content at each flush, and which events had happened by then.
struct Promise {
  std::size_t events = 0;
  std::string content{};
  std::vector<bool> touched{};  ///< sectors changed since, which may hold anything old or new
};

}  // namespace

TEST_CASE("a crash at any point leaves a sound image with everything that was flushed", "[block]") {
  const TempDir dir;
  const std::uint64_t seed = GENERATE(1u, 2u, 3u);
  SeededRandom random(seed);
  REQUIRE(create_qcow2(dir / "disk", kSize, 9).ok());
  const std::string start = read_file(dir / "disk").value();
  std::vector<Event> events;
  std::vector<Promise> promises{{0, std::string(kSize, '\0'), std::vector<bool>(kSize / 512)}};
  {
    auto disk = Qcow2Disk::open(open_file(dir / "disk", O_RDWR).value(), Access::ReadWrite);
    REQUIRE(disk.ok());
    recorder = &events;
    std::string content(kSize, '\0');
    for (int i = 0; i < 60; ++i) {
      const std::uint64_t first = random.below(kSize / 512 - 40);
      const std::uint64_t count = 1 + random.below(40);
      const std::uint64_t offset = first * 512, length = count * 512;
      const auto kind = random.below(8);
      if (kind < 4) {
        const std::string text(length, static_cast<char>('a' + i % 26));
        REQUIRE(disk.value()->write_bytes(offset, std::as_bytes(std::span(text))).ok());
        content.replace(offset, length, text);
      } else if (kind < 6) {
        REQUIRE(disk.value()->write_zeroes(offset, length, Disk::Unmap::Yes).ok());
        content.replace(offset, length, std::string(length, '\0'));
      } else {
        REQUIRE(disk.value()->flush().ok());
        promises.push_back({events.size(), content, std::vector<bool>(kSize / 512)});
        continue;
      }
      for (std::uint64_t s = first; s < first + count; ++s) promises.back().touched[s] = true;
    }
    disk.value().reset();
    recorder = nullptr;
  }
  REQUIRE(events.size() > 50);
  std::size_t promise = 0;
  for (std::size_t end = 0; end <= events.size(); end += 1 + random.below(6)) {
    while (promise + 1 < promises.size() && promises[promise + 1].events <= end) ++promise;
    REQUIRE(write_file_durably(dir / "crashed", crashed(start, events, end, random)).ok());
    const auto check =
        run({.argv = {"qemu-img", "check", "-f", "qcow2", (dir / "crashed").string()}});
    INFO("seed " << seed << ", crash before event " << end << " of " << events.size() << "\n"
                 << check.value().output << check.value().errors);
    REQUIRE((check.value().exit_code == 0 || check.value().exit_code == 3));  // 3: leaks only

    auto disk = Qcow2Disk::open(open_file(dir / "crashed", O_RDWR).value(), Access::ReadOnly);
    REQUIRE(disk.ok());
    std::string now(kSize, '?');
    REQUIRE(disk.value()->read_bytes(0, std::as_writable_bytes(std::span(now))).ok());
    const auto& [events_then, content, touched] = promises[promise];
    for (std::uint64_t s = 0; s < kSize / 512; ++s)
      if (!touched[s]) REQUIRE((now.compare(s * 512, 512, content, s * 512, 512) == 0));
  }
}
