// cli/output/vm_page.h - one machine as a page for a person.
#pragma once

#include <string>

#include "cli/output/resources.h"

namespace reeve::cli {

/// Everything in it is printable, whatever the guest says of itself.
std::string vm_page(const v1::VirtualMachine& vm, const NameOf& name_of);
/// The address of its first network card, as far as the guest told; empty when it did not.
std::string first_address(const v1::VirtualMachine& vm);

}  // namespace reeve::cli
