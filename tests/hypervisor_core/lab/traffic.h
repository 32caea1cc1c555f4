// tests/hypervisor_core/lab/traffic.h - streams with known content, between a guest and the lab
// machine, over TCP, UNIX and vsock sockets alike. The same code on both sides.
//
// The side that connects says what it wants in a line: "echo", "sink BYTES" (answered with "ok"
// when all came as expected) or "source BYTES".
#pragma once

#include <cstdint>
#include <string>

namespace reeve::lab {

/// Answers one connection until its end.
void serve_stream(int fd);

/// On a fresh connection. True when everything arrived as it was sent.
bool send_bulk(int fd, std::uint64_t bytes);
bool receive_bulk(int fd, std::uint64_t bytes);

/// Starts an echo connection; then echo() sends a text and compares what comes back.
bool begin_echo(int fd);
bool echo(int fd, const std::string& text);

bool write_text(int fd, const std::string& text);
/// Up to the next newline, which is not in it; empty at the end.
std::string read_line(int fd);

}  // namespace reeve::lab
