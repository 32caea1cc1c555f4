// hypervisor_core/accel/kvm/abi.h - <linux/kvm.h> with the layout it has in C.
//
// The kernel's __DECLARE_FLEX_ARRAY puts an empty struct before the array; in C++ that has a size,
// which moves the entries and changes ioctl numbers. This is the only place that includes
// <linux/kvm.h>.
#pragma once

#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) __extension__ TYPE NAME[0]

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <linux/kvm.h>
#pragma GCC diagnostic pop

static_assert(sizeof(kvm_msr_list) == 4);
static_assert(sizeof(kvm_msrs) == 8);
static_assert(sizeof(kvm_cpuid2) == 8);
static_assert(sizeof(kvm_irq_routing) == 8);
