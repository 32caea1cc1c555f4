// cli/upload.h - sends a file's bytes to an import job, and gives the job up when that cannot be
// done.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "cli/client.h"

namespace reeve::cli {

struct UploadFile {
  std::string path{};
  Fd fd{};
  std::int64_t size_bytes = 0;
};

/// Opens a file to upload. InvalidArgument/USAGE when it is no plain file or empty.
Result<UploadFile> open_upload(const std::string& path);

/// Sends the file; a bar on stderr, where that is a terminal, follows what was handed to the
/// server.
///
/// When the file cannot be read, or SIGINT or SIGTERM comes, the job is cancelled and its end
/// waited for, so that the image's name is free again; the error names the job.
/// Cancelled/INTERRUPTED for a signal, Unavailable/SERVER_UNREACHABLE, errors of reading. What else
/// the server says is noted and no error: the job knows better why it failed.
Status upload(Client& client, const v1::Job& job, const UploadFile& file);

}  // namespace reeve::cli
