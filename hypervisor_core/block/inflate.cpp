#include "hypervisor_core/block/inflate.h"

#include <zlib.h>

namespace reeve::core {

bool inflate_raw(std::span<const std::byte> packed, std::span<std::byte> out) {
  constexpr int kRawWindowBits = -12;
  z_stream stream{};
  if (::inflateInit2(&stream, kRawWindowBits) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = ::inflate(&stream, Z_FINISH);
  const bool full = stream.avail_out == 0;
  ::inflateEnd(&stream);
  // Z_BUF_ERROR: the output is full before the stream's end mark, which QEMU accepts too.
  return full && (result == Z_STREAM_END || result == Z_BUF_ERROR);
}

}  // namespace reeve::core
