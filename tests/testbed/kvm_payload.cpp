// tests/testbed/kvm_payload.cpp - runs twelve bytes of guest code on /dev/kvm; prints what the
// guest wrote.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace {

// mov dx, 0x3f8; mov al, 'o'; out dx, al; mov al, 'k'; out dx, al; hlt
constexpr std::array<std::uint8_t, 10> kCode{0xba, 0xf8, 0x03, 0xb0, 'o',
                                             0xee, 0xb0, 'k',  0xee, 0xf4};
constexpr std::size_t kMemory = 0x1000;

int failed(const char* what) {
  std::perror(what);
  return 1;
}

int run(int vcpu, kvm_run* shared) {
  while (::ioctl(vcpu, KVM_RUN, 0) == 0) {
    if (shared->exit_reason == KVM_EXIT_HLT) return 0;
    if (shared->exit_reason != KVM_EXIT_IO) return failed("unexpected exit");
    std::putchar(*(reinterpret_cast<char*>(shared) + shared->io.data_offset));
  }
  return failed("KVM_RUN");
}

}  // namespace

int main() {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return failed("/dev/kvm");
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) return failed("KVM_CREATE_VM");

  void* memory =
      ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  std::memcpy(memory, kCode.data(), kCode.size());
  kvm_userspace_memory_region region{.slot = 0,
                                     .flags = 0,
                                     .guest_phys_addr = 0x1000,
                                     .memory_size = kMemory,
                                     .userspace_addr = reinterpret_cast<std::uint64_t>(memory)};
  if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) return failed("memory");

  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return failed("KVM_CREATE_VCPU");
  const auto size = static_cast<std::size_t>(::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
  auto* shared =
      static_cast<kvm_run*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0));

  kvm_sregs system{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &system) < 0) return failed("KVM_GET_SREGS");
  system.cs.base = 0;
  system.cs.selector = 0;
  kvm_regs registers{};
  registers.rip = 0x1000;
  registers.rflags = 2;
  if (::ioctl(vcpu, KVM_SET_SREGS, &system) < 0) return failed("KVM_SET_SREGS");
  if (::ioctl(vcpu, KVM_SET_REGS, &registers) < 0) return failed("KVM_SET_REGS");
  return run(vcpu, shared);
}
