#include "hypervisor_core/cpu/cpuid_match.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace reeve::core::cpu {
namespace {

using accel::CpuidLeaf;

constexpr std::size_t kNamed = 4;  ///< of what is missing, in the message

/// A register of a leaf.
struct Place {
  std::uint32_t function = 0, index = 0;
  std::uint32_t CpuidLeaf::*reg = nullptr;
};

constexpr auto kEax = &CpuidLeaf::eax, kEbx = &CpuidLeaf::ebx, kEcx = &CpuidLeaf::ecx,
               kEdx = &CpuidLeaf::edx;

/// Registers whose bits are features. `names` are those of /proc/cpuinfo and the manuals, from bit
/// 0 up, "-" where there is none.
struct Features {
  Place place{};
  std::string_view names{};
  std::uint32_t mask = ~0u;  ///< the others are numbers, or say that something is absent
};

constexpr Features kFeatures[] = {
    {.place = {1, 0, kEcx},
     .names = "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr "
              "pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave "
              "osxsave avx f16c rdrand hypervisor"},
    {.place = {1, 0, kEdx},
     .names = "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn "
              "clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"},
    {.place = {6, 0, kEax}, .names = "dtherm ida arat"},
    {.place = {7, 0, kEbx},
     .names = "fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms invpcid rtm "
              "cqm zero_fcs_fds mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt "
              "clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl",
     .mask = ~(1u << 6 | 1u << 13)},
    {.place = {7, 0, kEcx},
     .names = "prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes "
              "vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid "
              "key_locker bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc pks",
     .mask = ~(0x1fu << 17)},
    {.place = {7, 0, kEdx},
     .names = "- sgx_keys avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect "
              "srbds_ctrl md_clear rtm_always_abort - tsx_force_abort serialize hybrid_cpu "
              "tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl "
              "intel_stibp flush_l1d arch_capabilities core_capabilities spec_ctrl_ssbd",
     .mask = ~(1u << 11)},
    {.place = {7, 1, kEax},
     .names = "sha512 sm3 sm4 rao_int avx_vnni avx512_bf16 lass cmpccxadd arch_perfmon_ext - fzrm "
              "fsrs fsrc - - - - fred lkgs wrmsrns - amx_fp16 hreset avx_ifma - - lam msrlist"},
    {.place = {7, 1, kEbx}},
    {.place = {7, 1, kEcx}},
    {.place = {7, 1, kEdx},
     .names = "- - - - avx_vnni_int8 avx_ne_convert - - amx_complex - avx_vnni_int16 - - - "
              "prefetchiti - - - - avx10"},
    {.place = {7, 2, kEdx}, .names = "psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no"},
    {.place = {0xd, 0, kEax},
     .names = "xsave-x87 xsave-sse xsave-avx xsave-bndregs xsave-bndcsr xsave-opmask "
              "xsave-zmm_hi256 xsave-hi16_zmm - xsave-pkru - - - - - - - xsave-tilecfg "
              "xsave-tiledata"},
    {.place = {0xd, 0, kEdx}},
    {.place = {0xd, 1, kEax}, .names = "xsaveopt xsavec xgetbv1 xsaves xfd"},
    {.place = {0xd, 1, kEcx}},
    {.place = {0xd, 1, kEdx}},
    {.place = {0x12, 0, kEax}, .names = "sgx1 sgx2"},
    {.place = {0x14, 0, kEbx}},
    {.place = {0x14, 0, kEcx}},
    {.place = {0x40000001, 0, kEax},
     .names = "kvmclock nop_io_delay mmu_op kvmclock2 async_pf steal_time pv_eoi pv_unhalt - "
              "pv_tlb_flush async_pf_vmexit pv_send_ipi poll_control pv_sched_yield async_pf_int "
              "msi_ext_dest_id hc_map_gpa_range migration_control - - - - - - kvmclock_stable"},
    {.place = {0x80000001, 0, kEcx},
     .names = "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw "
              "ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core "
              "perfctr_nb - bpext ptsc perfctr_llc mwaitx"},
    {.place = {0x80000001, 0, kEdx},
     .names = "fpu vme de pse tsc msr pae mce cx8 apic - syscall mtrr pge mca cmov pat pse36 - mp "
              "nx - mmxext mmx fxsr fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow"},
    {.place = {0x80000007, 0, kEdx}, .names = "- - - - - - - - invariant_tsc"},
    {.place = {0x80000008, 0, kEbx},
     .names = "clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - amd_ibpb - amd_ibrs amd_stibp "
              "- amd_stibp_always_on - - - - - amd_ppin amd_ssbd virt_ssbd amd_ssb_no cppc "
              "amd_psfd btc_no"},
    {.place = {0x80000021, 0, kEax},
     .names = "no_nested_data_bp - lfence_rdtsc - - - null_sel_clr_base - autoibrs"},
    {.place = {0xc0000001, 0, kEdx}},
};

/// Numbers that must not be higher than here.
struct Limit {
  Place place{};
  unsigned low = 0, count = 0;
  const char* what = "";
};
constexpr Limit kLimits[] = {
    {{0x80000008, 0, kEax}, 0, 8, "bits of physical addresses"},
    {{0x80000008, 0, kEax}, 8, 8, "bits of linear addresses"},
    {{0x24, 0, kEbx}, 0, 8, "version of AVX10"},
};

const CpuidLeaf& find(std::span<const CpuidLeaf> leaves, std::uint32_t function,
                      std::uint32_t index) {
  static constexpr CpuidLeaf kAbsent;  // reads as zeroes, as for the guest
  const auto found = std::find_if(leaves.begin(), leaves.end(), [&](const CpuidLeaf& leaf) {
    return leaf.function == function && (!leaf.index_matters || leaf.index == index);
  });
  return found == leaves.end() ? kAbsent : *found;
}

const char* name_of(std::uint32_t CpuidLeaf::*reg) {
  if (reg == kEax) return "eax";
  if (reg == kEbx) return "ebx";
  return reg == kEcx ? "ecx" : "edx";
}

std::string leaf_name(std::uint32_t function, std::uint32_t index) {
  char text[48];
  std::snprintf(text, sizeof text, "CPUID leaf 0x%" PRIx32 ".%" PRIu32, function, index);
  return text;
}

std::string bit_name(const Features& features, unsigned bit) {
  const auto& place = features.place;
  const std::string where = leaf_name(place.function, place.index) + " " + name_of(place.reg) +
                            " bit " + std::to_string(bit);
  const auto names = split(features.names, ' ');
  if (bit >= names.size() || names[bit].empty() || names[bit] == "-") return where;
  return std::string(names[bit]) + " (" + where + ")";
}

std::string signature(const CpuidLeaf& leaf, std::array<std::uint32_t CpuidLeaf::*, 3> order) {
  std::string text;
  for (const auto reg : order)
    for (unsigned shift = 0; shift < 32; shift += 8) {
      const char c = static_cast<char>(leaf.*reg >> shift & 0xff);
      if (c >= ' ' && c <= '~') text += c;
    }
  return text;
}

/// Who made the processor, and whose paravirtual features the guest uses.
void match_signature(const CpuidLeaf& promised, const CpuidLeaf& offered,
                     std::vector<std::string>& missing) {
  if (promised.ebx == offered.ebx && promised.ecx == offered.ecx && promised.edx == offered.edx)
    return;
  const bool maker = promised.function == 0;
  const std::array order = maker ? std::array{kEbx, kEdx, kEcx} : std::array{kEbx, kEcx, kEdx};
  missing.push_back(std::string(maker ? "the vendor '" : "the hypervisor '") +
                    signature(promised, order) + "' (" + leaf_name(promised.function, 0) +
                    "; here it is '" + signature(offered, order) + "')");
}

/// Where a component of the XSAVE area is, or how large the matrix tiles are.
void match_layout(const CpuidLeaf& promised, const CpuidLeaf& offered,
                  std::vector<std::string>& missing) {
  constexpr std::uint32_t kWhere = 3;  // ecx: supervisor, aligned
  if (promised.eax == offered.eax && promised.ebx == offered.ebx &&
      (promised.ecx & kWhere) == (offered.ecx & kWhere))
    return;
  missing.push_back("the layout in " + leaf_name(promised.function, promised.index) + " (" +
                    std::to_string(promised.eax) + " bytes at " + std::to_string(promised.ebx) +
                    "; here " + std::to_string(offered.eax) + " at " + std::to_string(offered.ebx) +
                    ")");
}

void match_leaf(const CpuidLeaf& promised, std::span<const CpuidLeaf> offered,
                std::vector<std::string>& missing) {
  const std::uint32_t index = promised.index_matters ? promised.index : 0;
  const auto is_here = [&](const Place& place) {
    return place.function == promised.function && place.index == index;
  };
  const CpuidLeaf& here = find(offered, promised.function, index);
  if (promised.function == 0 || promised.function == 0x40000000)
    match_signature(promised, here, missing);
  if (promised.function == 0xd && index >= 2 && promised.eax != 0)
    match_layout(promised, here, missing);
  for (const auto& features : kFeatures) {
    if (!is_here(features.place)) continue;
    const std::uint32_t lacking =
        promised.*features.place.reg & ~(here.*features.place.reg) & features.mask;
    for (unsigned bit = 0; bit < 32; ++bit)
      if ((lacking >> bit & 1) != 0) missing.push_back(bit_name(features, bit));
  }
  for (const auto& limit : kLimits) {
    if (!is_here(limit.place)) continue;
    const std::uint32_t mask = (1u << limit.count) - 1;
    const std::uint32_t wanted = promised.*limit.place.reg >> limit.low & mask;
    const std::uint32_t most = here.*limit.place.reg >> limit.low & mask;
    if (wanted > most)
      missing.push_back(std::to_string(wanted) + " " + limit.what + " (" +
                        leaf_name(promised.function, index) + " " + name_of(limit.place.reg) +
                        "; here " + std::to_string(most) + ")");
  }
}

}  // namespace

Status match_cpuid(std::span<const CpuidLeaf> promised, std::span<const CpuidLeaf> offered) {
  std::vector<std::string> missing;
  for (const auto& leaf : promised) match_leaf(leaf, offered, missing);
  if (missing.empty()) return {};
  const std::size_t more = missing.size() > kNamed ? missing.size() - kNamed : 0;
  missing.resize(missing.size() - more);
  return Error{
      Code::FailedPrecondition, "CPU_FEATURE",
      "the guest was promised what this host's processor does not give: " + join(missing, ", ") +
          (more != 0 ? " and " + std::to_string(more) + " more" : "")}
      .remedy(
          "Restore it on a host with these features, or start the machine anew without its saved "
          "state.");
}

}  // namespace reeve::core::cpu
