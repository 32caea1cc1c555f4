// hypervisor_core/accel/kvm/ioctl.h - ioctl that retries when interrupted.
#pragma once

#include <cerrno>
#include <cstddef>
#include <vector>

#include <sys/ioctl.h>

namespace reeve::core::accel::kvm {

inline int kvm_ioctl(int fd, unsigned long request, unsigned long argument = 0) {
  int result;
  do result = ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  return result;
}
inline int kvm_ioctl(int fd, unsigned long request, const void* argument) {
  return kvm_ioctl(fd, request, reinterpret_cast<unsigned long>(argument));
}

/// A KVM structure that ends in a variable number of entries.
template <class Header, class Entry>
class VariableStruct {
 public:
  explicit VariableStruct(std::size_t entries)
      : storage_((sizeof(Header) + entries * sizeof(Entry) + 7) / 8) {}
  Header* get() { return reinterpret_cast<Header*>(storage_.data()); }
  Header* operator->() { return get(); }
  Entry* entries() {
    return reinterpret_cast<Entry*>(reinterpret_cast<char*>(storage_.data()) + sizeof(Header));
  }

 private:
  std::vector<unsigned long long> storage_;
};

}  // namespace reeve::core::accel::kvm
