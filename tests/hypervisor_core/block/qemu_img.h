// tests/hypervisor_core/block/qemu_img.h - runs qemu-img, always with an explicit format.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace reeve::core::test {

/// Standard output; fails the test case when qemu-img does.
std::string qemu_img(const std::vector<std::string>& arguments);
/// qemu-img check -f qcow2: fails the test case unless it finds neither errors nor leaks.
void require_clean(const std::filesystem::path& image);
/// The whole guest-visible content, through qemu-img convert.
std::string content_by_qemu(const std::filesystem::path& image);

}  // namespace reeve::core::test
