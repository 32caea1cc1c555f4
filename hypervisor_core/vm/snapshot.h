// hypervisor_core/vm/snapshot.h - writes a halted board's state and memory as a stream, and reads
// it back. docs/guide/saved-state.md describes the stream for a reader without this code.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "hypervisor_core/vm/board.h"
#include "hypervisor_core/vm/saved_index.h"
#include "hypervisor_core/vm/saved_stream.h"
#include "hypervisor_core/vm/vcpu_thread.h"
#include "reeve/core/v1/saved_state.pb.h"

namespace reeve::core {

using Vcpus = std::span<const std::unique_ptr<VcpuThread>>;

/// Header, memory without zero pages, machine, index. Nothing of the board runs meanwhile. Errors
/// of the sink and the accelerator.
Status save_machine(StateSink& sink, Board& board, Vcpus vcpus, const v1::MachineConfig& config,
                    std::string_view accelerator);

/// Reads the header: which machine to build. FailedPrecondition/STATE_VERSION, STATE_FEATURE (names
/// it), InvalidArgument/STATE_FORMAT, DataLoss/STATE_TRUNCATED, STATE_CHECKSUM.
Result<v1::SavedHeader> read_saved_header(RecordReader& reader);
/// What CPUID said to each vCPU; empty in a state of a version that did not keep it.
/// InvalidArgument/STATE_FORMAT.
Result<Cpuid> saved_cpuid(const v1::SavedHeader& header);

/// Fills a fresh board of the header's configuration with what follows the header. Errors as above,
/// and DEVICE_STATE, STATE_REFUSED, MSR_REFUSED from the parts. After an error the board is of no
/// use.
Status load_machine(RecordReader& reader, Board& board, Vcpus vcpus);
/// The same without memory: `record` is the machine record, `pages` what the memory records hold.
Status apply_machine(const std::string& record, std::uint64_t pages, Board& board, Vcpus vcpus);
std::uint64_t pages_of(const SavedIndex& index);

}  // namespace reeve::core
