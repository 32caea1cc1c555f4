// hypervisor_core/bus/interrupt_line.h - a wire to the interrupt controllers.
#pragma once

namespace reeve::core {

/// Level of one line. Any thread; setting the same level again changes nothing.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set_level(bool high) = 0;
};

}  // namespace reeve::core
