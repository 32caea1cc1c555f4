// agent/driver/libvirt/domain_edit.h - an existing domain's definition changed without losing what
// others put into it.
//
// libvirt silently drops what it does not know (libvirt.md 5.6). So: read INACTIVE, patch_domain()
// the parsed tree, write with VALIDATE, read again, and compare: lost_parts() names what was there,
// was meant to stay, and is gone.
#pragma once

#include <string>
#include <vector>

#include <pugixml.hpp>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/domain_xml.h"

namespace reeve::agent::libvirt {

/// Makes the tree say `guest`. Touches only what is ours: title, mark, CPUs, memory, kernel, and
/// the limits, disks, NICs, serial port and agent channel that our mark claims. A domain without
/// our mark is adopted: its devices stay unless `guest` has one of the same identity.
void patch_domain(pugi::xml_document& document, const GuestDefinition& guest,
                  const XmlChoices& choices);

/// Every element text and attribute as one line each, e.g. "devices/disk[vda]/driver@type=qcow2",
/// sorted. The order of siblings does not count. At most 100,000 lines.
std::vector<std::string> canonical_parts(const pugi::xml_document& document);

/// What is in both `before` and `wanted` but not in `stored`.
std::vector<std::string> lost_parts(const pugi::xml_document& before,
                                    const pugi::xml_document& wanted,
                                    const pugi::xml_document& stored);

}  // namespace reeve::agent::libvirt
