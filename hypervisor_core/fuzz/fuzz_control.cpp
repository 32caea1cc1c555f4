// hypervisor_core/fuzz/fuzz_control.cpp - hostile bytes on a control socket, cut where the input
// says.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "hypervisor_core/control/frame.h"
#include "reeve/core/v1/control.pb.h"

using namespace reeve::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  control::FrameReader reader;
  while (!rest.empty()) {
    const std::size_t piece =
        std::min<std::size_t>(rest.size(), 1 + static_cast<unsigned char>(rest[0]) % 64);
    reader.feed(rest.substr(0, piece));
    rest.remove_prefix(piece);
    for (;;) {
      const auto frame = reader.next();
      if (!frame.ok()) return 0;
      if (!frame.value()) break;
      REEVE_CHECK(frame.value()->size() <= control::kMaxMessage);
      v1::ControlRequest request;
      if (request.ParseFromString(*frame.value())) (void)request.SerializeAsString();
    }
  }
  return 0;
}
