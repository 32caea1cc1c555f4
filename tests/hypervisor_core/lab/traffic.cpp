#include "tests/hypervisor_core/lab/traffic.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include <unistd.h>

namespace reeve::lab {
namespace {

constexpr std::size_t kPieceWords = 8192;
constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;

using Piece = std::vector<std::uint64_t>;

bool write_bytes(int fd, const void* from, std::size_t size) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t n = ::write(fd, at, size);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool read_bytes(int fd, void* into, std::size_t size) {
  auto* at = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t n = ::read(fd, at, size);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

/// Every word of a transfer is different.
void fill(Piece& piece, std::uint64_t first_word) {
  for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = (first_word + i + 1) * kFactor;
}

bool send_pattern(int fd, std::uint64_t bytes) {
  Piece piece(kPieceWords);
  for (std::uint64_t done = 0; done < bytes; done += kPieceWords * 8) {
    fill(piece, done / 8);
    if (!write_bytes(fd, piece.data(), std::min<std::uint64_t>(kPieceWords * 8, bytes - done)))
      return false;
  }
  return true;
}

bool receive_pattern(int fd, std::uint64_t bytes) {
  Piece piece(kPieceWords), expected(kPieceWords);
  for (std::uint64_t done = 0; done < bytes; done += kPieceWords * 8) {
    const auto size = std::min<std::uint64_t>(kPieceWords * 8, bytes - done);
    if (!read_bytes(fd, piece.data(), size)) return false;
    fill(expected, done / 8);
    if (!std::equal(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(size / 8),
                    expected.begin()))
      return false;
  }
  return true;
}

void serve_echo(int fd) {
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(fd, bytes, sizeof bytes);
    if (n <= 0 || !write_bytes(fd, bytes, static_cast<std::size_t>(n))) return;
  }
}

}  // namespace

bool write_text(int fd, const std::string& text) {
  return write_bytes(fd, text.data(), text.size());
}

std::string read_line(int fd) {
  std::string line;
  char c = 0;
  while (line.size() < 4096 && ::read(fd, &c, 1) == 1 && c != '\n') line.push_back(c);
  return line;
}

void serve_stream(int fd) {
  const std::string wish = read_line(fd);
  const auto number = [&](const char* verb) {
    return std::strtoull(wish.c_str() + std::string(verb).size(), nullptr, 10);
  };
  if (wish == "echo") return serve_echo(fd);
  if (wish.starts_with("sink ")) {
    (void)write_text(fd, receive_pattern(fd, number("sink ")) ? "ok\n" : "wrong\n");
  } else if (wish.starts_with("source ")) {
    (void)send_pattern(fd, number("source "));
  }
}

bool send_bulk(int fd, std::uint64_t bytes) {
  return write_text(fd, "sink " + std::to_string(bytes) + "\n") && send_pattern(fd, bytes) &&
         read_line(fd) == "ok";
}

bool receive_bulk(int fd, std::uint64_t bytes) {
  return write_text(fd, "source " + std::to_string(bytes) + "\n") && receive_pattern(fd, bytes);
}

bool begin_echo(int fd) {
  return write_text(fd, "echo\n");
}

bool echo(int fd, const std::string& text) {
  std::string back(text.size(), '\0');
  return write_text(fd, text) && read_bytes(fd, back.data(), back.size()) && back == text;
}

}  // namespace reeve::lab
