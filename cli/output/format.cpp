#include "cli/output/format.h"

#include <algorithm>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include "base/text.h"

namespace reeve::cli {
namespace {

/// Terminal columns of a UTF-8 text; every code point counts as one.
std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

Result<Format> parse_format(std::string_view text) {
  if (text == "table") return Format::Table;
  if (text == "wide") return Format::Wide;
  if (text == "json") return Format::Json;
  if (text == "yaml") return Format::Yaml;
  if (text == "csv") return Format::Csv;
  if (text == "name") return Format::Name;
  return Error{Code::InvalidArgument, "USAGE",
               "no output format '" + std::string(text) +
                   "'; there are table, wide, json, yaml, csv and name"};
}

std::string render_table(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& title : table.titles) widths.push_back(display_width(title));
  std::vector<std::vector<std::string>> rows{table.titles};
  for (const auto& row : table.rows) {
    auto& safe = rows.emplace_back();
    for (const auto& cell : row) safe.push_back(printable(cell));
    for (std::size_t i = 0; i < safe.size(); ++i)
      widths[i] = std::max(widths[i], display_width(safe[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - display_width(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string render_csv(const Table& table) {
  std::string out;
  const auto append = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) out += (i ? "," : "") + csv_field(row[i]);
    out += "\n";
  };
  append(table.titles);
  for (const auto& row : table.rows) append(row);
  return out;
}

std::string to_json(const google::protobuf::Message& message, bool pretty) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = pretty;
  options.preserve_proto_field_names = true;
  std::string out;
  if (!google::protobuf::util::MessageToJsonString(message, &out, options).ok()) return "{}\n";
  return out;
}

std::string json_to_yaml(const std::string& json) {
  // JSON is YAML: read it as such and write it back in block style.
  const std::function<void(YAML::Node)> to_block = [&](YAML::Node node) {
    if (!node.IsMap() && !node.IsSequence()) return;
    node.SetStyle(YAML::EmitterStyle::Block);
    for (auto child : node) to_block(node.IsMap() ? child.second : YAML::Node(child));
  };
  YAML::Node node = YAML::Load(json);
  to_block(node);
  YAML::Emitter emitter;
  emitter << node;
  return std::string(emitter.c_str()) + "\n";
}

std::string human_bytes(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_age(std::int64_t then_seconds, std::int64_t now_seconds) {
  const auto age = std::max<std::int64_t>(0, now_seconds - then_seconds);
  if (age < 120) return fmt::format("{}s", age);
  if (age < 120 * 60) return fmt::format("{}m", age / 60);
  if (age < 48 * 3600) return fmt::format("{}h", age / 3600);
  return fmt::format("{}d", age / 86400);
}

std::string short_enum(std::string_view name, std::string_view prefix) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return std::string(name);
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls (U+0080 to U+009F) are 0xc2 followed by 0x80 to 0x9f.
    const bool c1 =
        c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) ++i;
    out += c < 0x20 || c == 0x7f || c1 ? '?' : text[i];
  }
  return is_utf8(out) ? out : std::string(out.size(), '?');
}

}  // namespace reeve::cli
