// agent/storage/seed.h - makes the NoCloud seed of a guest: an ISO called "cidata" with its three
// files.
#pragma once

#include <string>

#include "base/status.h"
#include "reeve/agent/v1/guest.pb.h"

namespace reeve::agent {

/// Writes `<folder>/seed.iso` (0600, synced). `folder` is an absolute path only we can write to;
/// the files lie in it for a moment, never on a command line. Blocks for the time of one xorriso
/// run. InvalidArgument/BAD_SEED when over 1 MiB, FailedPrecondition/XORRISO_MISSING,
/// Internal/PROGRAM_FAILED.
Status make_seed(const v1::Seed& seed, const std::string& folder);

}  // namespace reeve::agent
