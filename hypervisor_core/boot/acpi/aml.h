// hypervisor_core/boot/acpi/aml.h - builds ACPI machine language, as much as our DSDT needs.
// Source: ACPI 6.4, chapter 20. Terms are byte strings that are put into one another:
//
//   aml::scope("\\_SB_", aml::device("COM1", aml::name("_UID", aml::integer(1))))
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace reeve::core::boot::aml {

using Term = std::string;

/// `path`: segments of exactly four characters, separated by dots, with an optional leading
/// backslash.
Term path(std::string_view path);
Term integer(std::uint64_t value);
Term text(std::string_view value);
Term eisa_id(std::string_view id);  ///< "PNP0A08"
Term package(const std::vector<Term>& elements);
Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, const Term& body);
Term device(std::string_view name, const Term& body);
Term method(std::string_view name, unsigned arguments, const Term& body);
Term give_back(const Term& value);  ///< Return
Term argument(unsigned index);      ///< Arg0..Arg6
Term notify(std::string_view path, std::uint8_t value);

/// A resource template: the descriptors below, one after another.
Term resources(const std::vector<Term>& descriptors);
Term io_ports(std::uint16_t first, std::uint8_t count);
Term interrupt(unsigned line);
Term fixed_memory(std::uint32_t base, std::uint32_t size);
Term bus_range(std::uint16_t first, std::uint16_t last);
Term io_window(std::uint16_t first, std::uint16_t last);
Term memory_window32(std::uint32_t base, std::uint32_t size);
Term memory_window64(std::uint64_t base, std::uint64_t size);

}  // namespace reeve::core::boot::aml
