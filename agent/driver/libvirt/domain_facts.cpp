#include "agent/driver/libvirt/domain_facts.h"

#include <algorithm>
#include <charconv>

#include "agent/driver/libvirt/domain_xml.h"
#include "base/text.h"

namespace reeve::agent::libvirt {

namespace {

constexpr std::size_t kLargest = 4u << 20;
constexpr int kDeepest = 64;

Error unreadable(std::string_view why) {
  return Error(Code::Internal, "HYPERVISOR_ERROR",
               "unreadable domain definition: " + std::string(why));
}

/// Checked before any recursion over the tree.
bool is_shallow(const pugi::xml_document& document) {
  int depth = 0;
  for (pugi::xml_node node = document.first_child(); node;) {
    if (const auto child = node.first_child()) {
      if (++depth > kDeepest) return false;
      node = child;
      continue;
    }
    while (node && !node.next_sibling()) {
      node = node.parent();
      if (--depth < 0 || node == document) return true;
    }
    node = node.next_sibling();
  }
  return true;
}

std::uint64_t number(std::string_view text, std::uint64_t most) {
  text = trim(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return most;
  if (error != std::errc() || end != text.data() + text.size()) return 0;
  return std::min(value, most);
}

/// libvirt writes KiB, but takes and may give others.
std::int64_t memory_mib_of(pugi::xml_node memory) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 53;
  const std::uint64_t count = number(memory.text().get(), kMost);
  const std::string_view unit = memory.attribute("unit").as_string("KiB");
  std::uint64_t bytes = 0;
  const auto scaled = [&](std::uint64_t scale) {
    return count > kMost * 1024 / scale ? kMost * 1024 : count * scale;
  };
  if (unit == "b" || unit == "bytes")
    bytes = count;
  else if (unit == "KB")
    bytes = scaled(1000);
  else if (unit == "MB")
    bytes = scaled(1000 * 1000);
  else if (unit == "GB")
    bytes = scaled(1000 * 1000 * 1000);
  else if (unit == "M" || unit == "MiB")
    bytes = scaled(1u << 20);
  else if (unit == "G" || unit == "GiB")
    bytes = scaled(1u << 30);
  else if (unit == "T" || unit == "TiB")
    bytes = scaled(std::uint64_t{1} << 40);
  else
    bytes = scaled(1024);
  return static_cast<std::int64_t>(bytes >> 20);
}

/// True when `prefix` means our namespace at `node`.
bool is_ours(pugi::xml_node node) {
  const std::string_view name = node.name();
  const auto colon = name.find(':');
  const std::string declaration =
      colon == std::string_view::npos ? "xmlns" : "xmlns:" + std::string(name.substr(0, colon));
  if (name.substr(colon == std::string_view::npos ? 0 : colon + 1) != "guest") return false;
  for (auto at = node; at; at = at.parent())
    if (const auto found = at.attribute(declaration.c_str()))
      return std::string_view(found.value()) == kNamespace;
  return false;
}

void read_serial(pugi::xml_node devices, DomainFacts& facts) {
  const auto serial = devices.child("serial");
  const std::string_view type = serial.attribute("type").value();
  if (type == "unix" || type == "pty" || type == "dev")
    facts.serial_path = serial.child("source").attribute("path").value();
  facts.serial_log = serial.child("log").attribute("file").value();
}

void read_agent(pugi::xml_node devices, DomainFacts& facts) {
  for (const auto channel : devices.children("channel")) {
    const auto target = channel.child("target");
    if (std::string_view(target.attribute("name").value()) != kAgentChannel) continue;
    facts.has_agent_channel = true;
    facts.agent_connected = std::string_view(target.attribute("state").value()) == "connected";
  }
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 255;
  std::string out(text.substr(0, std::min(text.size(), kLongest)));
  if (text.size() > kLongest)
    for (int i = 0; i < 4 && !is_utf8(out); ++i) out.pop_back();
  const bool plain = is_utf8(out);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
    if (byte >= 0x80 && !plain) c = '?';
  }
  return out;
}

std::string title_for(std::string_view display_name) {
  return printable(display_name);
}

pugi::xml_node find_mark(pugi::xml_node domain) {
  for (const auto node : domain.child("metadata").children())
    if (is_ours(node)) return node;
  return {};
}

std::vector<std::pair<std::string, std::string>> owned_parts(pugi::xml_node domain) {
  std::vector<std::pair<std::string, std::string>> parts;
  for (const auto node : find_mark(domain).children("owns"))
    parts.emplace_back(node.attribute("kind").value(), node.attribute("id").value());
  return parts;
}

Result<pugi::xml_document> parse_domain(std::string_view xml) {
  if (xml.size() > kLargest) return unreadable("too large");
  pugi::xml_document document;
  // Comments and processing instructions cannot survive libvirt; entities are not expanded from a
  // DTD.
  const auto outcome =
      document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
  if (!outcome) return unreadable(outcome.description());
  if (!is_shallow(document)) return unreadable("nested too deeply");
  if (!document.child("domain")) return unreadable("no domain element");
  return document;
}

Result<DomainFacts> read_domain_facts(std::string_view xml) {
  const auto document = TRY(parse_domain(xml));
  const auto domain = document.child("domain");
  DomainFacts facts;
  facts.name = printable(domain.child("name").text().get());
  facts.title = printable(domain.child("title").text().get());
  facts.domain_type = printable(domain.attribute("type").value());
  if (const auto mark = find_mark(domain)) {
    facts.managed = true;
    facts.digest = printable(mark.attribute("digest").value());
    constexpr std::uint64_t kLatest = std::uint64_t{1} << 60;
    const auto started = number(mark.attribute("started").value(), kLatest);
    if (started > 0) facts.start_time = from_micros(static_cast<std::int64_t>(started));
  }
  const auto vcpu = domain.child("vcpu");
  constexpr std::uint64_t kMostCpus = 1u << 20;
  facts.cpus = static_cast<std::int32_t>(
      number(vcpu.attribute("current") ? vcpu.attribute("current").value() : vcpu.text().get(),
             kMostCpus));
  facts.memory_mib = memory_mib_of(domain.child("memory"));
  const auto devices = domain.child("devices");
  read_serial(devices, facts);
  read_agent(devices, facts);
  facts.has_nvram = static_cast<bool>(domain.child("os").child("nvram"));
  facts.has_tpm = static_cast<bool>(devices.child("tpm"));
  return facts;
}

}  // namespace reeve::agent::libvirt
