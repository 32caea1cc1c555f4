// base/file.h - whole-file reads and durable writes. Errors are errno_error()'s (base/fd.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/fd.h"
#include "base/status.h"

namespace reeve {

/// open(2) with O_CLOEXEC.
Result<Fd> open_file(const std::filesystem::path& path, int flags, mode_t mode = 0600);
/// Reads a whole file; ResourceExhausted/FILE_TOO_LARGE beyond `limit` bytes.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 16u << 20);
/// Replaces `path` so that a crash leaves the old or the new content: temporary file, fsync,
/// rename, fsync of the folder.
Status write_file_durably(const std::filesystem::path& path, std::string_view content,
                          mode_t mode = 0600);
/// Makes a folder and its parents; fine when it exists.
Status make_dirs(const std::filesystem::path& path, mode_t mode = 0700);
/// Removes a file; fine when absent.
Status remove_file(const std::filesystem::path& path);
/// Removes a tree; fine when absent. Does not follow links.
Status remove_tree(const std::filesystem::path& path);
Status write_all(int fd, std::span<const std::byte> bytes);
/// Reads exactly `out.size()` bytes at `offset`; DataLoss/FILE_TRUNCATED when the file ends before.
Status read_at(int fd, std::uint64_t offset, std::span<std::byte> out);
Status write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes);
/// fsync of a folder, so that names created or removed in it survive a crash.
Status sync_dir(const std::filesystem::path& path);
Result<std::uint64_t> file_size(const std::filesystem::path& path);

}  // namespace reeve
