#include "hypervisor_core/boot/acpi/aml.h"

#include "base/check.h"

namespace reeve::core::boot::aml {
namespace {

template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

/// PkgLength (20.2.4) counts its own bytes.
Term with_length(const Term& body) {
  const std::size_t size = body.size();
  Term out;
  if (size + 1 < 64) {
    out.push_back(static_cast<char>(size + 1));
  } else {
    const std::size_t extra = size + 2 < (1u << 12) ? 1 : size + 3 < (1u << 20) ? 2 : 3;
    const std::size_t total = size + 1 + extra;
    out.push_back(static_cast<char>(extra << 6 | (total & 0xf)));
    for (std::size_t i = 0; i < extra; ++i)
      out.push_back(static_cast<char>(total >> (4 + 8 * i) & 0xff));
  }
  return out + body;
}

/// Large resource descriptor (6.4.3).
Term large(std::uint8_t type, const Term& body) {
  Term out(1, static_cast<char>(type));
  put(out, static_cast<std::uint16_t>(body.size()));
  return out + body;
}

/// Address space descriptor of any width (6.4.3.5).
template <class T>
Term window(std::uint8_t descriptor, std::uint8_t resource, std::uint8_t type_flags, T first,
            T last) {
  Term body;
  put(body, resource);
  put<std::uint8_t>(body, 0x0c);  // fixed minimum and maximum
  put(body, type_flags);
  put<T>(body, 0);  // granularity
  put<T>(body, first);
  put<T>(body, last);
  put<T>(body, 0);  // translation
  put<T>(body, static_cast<T>(last - first + 1));
  return large(descriptor, body);
}

}  // namespace

Term path(std::string_view path) {
  Term out;
  if (!path.empty() && path[0] == '\\') {
    out.push_back('\\');
    path.remove_prefix(1);
  }
  const std::size_t segments = (path.size() + 1) / 5;
  REEVE_CHECK(path.size() == segments * 5 - 1);
  if (segments == 2) out.push_back(0x2e);
  if (segments > 2) {
    out.push_back(0x2f);
    out.push_back(static_cast<char>(segments));
  }
  for (std::size_t i = 0; i < segments; ++i) out += path.substr(i * 5, 4);
  return out;
}

Term integer(std::uint64_t value) {
  if (value <= 1) return Term(1, static_cast<char>(value));
  Term out;
  if (value <= 0xff) {
    out.push_back(0x0a);
    put(out, static_cast<std::uint8_t>(value));
  } else if (value <= 0xffff) {
    out.push_back(0x0b);
    put(out, static_cast<std::uint16_t>(value));
  } else if (value <= 0xffffffff) {
    out.push_back(0x0c);
    put(out, static_cast<std::uint32_t>(value));
  } else {
    out.push_back(0x0e);
    put(out, value);
  }
  return out;
}

Term text(std::string_view value) {
  Term out(1, 0x0d);
  out += value;
  out.push_back('\0');
  return out;
}

Term eisa_id(std::string_view id) {
  REEVE_CHECK(id.size() == 7);
  const auto digit = [&](std::size_t i) -> std::uint32_t {
    const char c = id[i];
    return static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10);
  };
  const auto letter = [&](std::size_t i) { return static_cast<std::uint32_t>(id[i] - 0x40); };
  const std::uint32_t value = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 |
                              digit(4) << 8 | digit(5) << 4 | digit(6);
  Term out(1, 0x0c);
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
  return out;
}

Term package(const std::vector<Term>& elements) {
  Term body(1, static_cast<char>(elements.size()));
  for (const auto& element : elements) body += element;
  return Term(1, 0x12) + with_length(body);
}

Term name(std::string_view at, const Term& value) {
  return Term(1, 0x08) + path(at) + value;
}

Term scope(std::string_view at, const Term& body) {
  return Term(1, 0x10) + with_length(path(at) + body);
}

Term device(std::string_view at, const Term& body) {
  return Term("\x5b\x82", 2) + with_length(path(at) + body);
}

Term method(std::string_view at, unsigned arguments, const Term& body) {
  return Term(1, 0x14) + with_length(path(at) + Term(1, static_cast<char>(arguments)) + body);
}

Term give_back(const Term& value) {
  return Term(1, static_cast<char>(0xa4)) + value;
}
Term argument(unsigned index) {
  return Term(1, static_cast<char>(0x68 + index));
}

Term notify(std::string_view at, std::uint8_t value) {
  return Term(1, static_cast<char>(0x86)) + path(at) + integer(value);
}

Term resources(const std::vector<Term>& descriptors) {
  Term bytes;
  for (const auto& descriptor : descriptors) bytes += descriptor;
  bytes += Term("\x79\x00", 2);  // end tag, no checksum
  return Term(1, 0x11) + with_length(integer(bytes.size()) + bytes);
}

Term io_ports(std::uint16_t first, std::uint8_t count) {
  Term out("\x47\x01", 2);  // 16-bit decode
  put(out, first);
  put(out, first);
  put<std::uint8_t>(out, 1);
  put(out, count);
  return out;
}

Term interrupt(unsigned line) {
  Term out(1, 0x22);
  put(out, static_cast<std::uint16_t>(1u << line));
  return out;
}

Term fixed_memory(std::uint32_t base, std::uint32_t size) {
  Term body;
  put<std::uint8_t>(body, 1);  // writable
  put(body, base);
  put(body, size);
  return large(0x86, body);
}

Term bus_range(std::uint16_t first, std::uint16_t last) {
  return window(0x88, 2, 0, first, last);
}
Term io_window(std::uint16_t first, std::uint16_t last) {
  return window(0x88, 1, 3, first, last);
}
Term memory_window32(std::uint32_t base, std::uint32_t size) {
  return window(0x87, 0, 1, base, base + size - 1);
}
Term memory_window64(std::uint64_t base, std::uint64_t size) {
  return window(0x8a, 0, 1, base, base + size - 1);
}

}  // namespace reeve::core::boot::aml
