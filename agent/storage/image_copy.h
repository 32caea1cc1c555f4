// agent/storage/image_copy.h - brings the bytes of an image into a file of the store in one pass:
// copied, hashed, holes kept; then checked against what they are said to be.
#pragma once

#include <cstdint>
#include <string>

#include "agent/storage/store.h"
#include "base/status.h"

namespace reeve::agent {

struct Copied {
  std::int64_t size_bytes = 0;
  std::string sha256{};  ///< lower-case hexadecimal
};

/// Fills the empty file `to` from `source` until it ends. Runs of zeroes become holes. At most
/// `total_bytes`: InvalidArgument/UPLOAD_SIZE beyond it. Cancelled/STEP_CANCELLED.
Result<Copied> copy_stream(ByteSource& source, int to, std::int64_t total_bytes,
                           const CopyProgress& progress);
/// Fills the empty file `to` from the regular file `from`, sharing blocks where the file system
/// can.
Result<Copied> copy_file(int from, int to, const CopyProgress& progress);

/// Checks the bytes in `fd` against `action` and completes the record. Says nothing about the
/// source: what was copied is what counts. InvalidArgument/IMAGE_INVALID, QCOW2_... reasons,
/// DataLoss/IMAGE_DIGEST.
Result<v1::StoredImage> check_image(const v1::ImportImage& action, int fd, const Copied& copied);

}  // namespace reeve::agent
