#include "cli/output/format.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
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

/// Whether every YAML reader takes the bare text for a string: YAML 1.1 has more words, numbers and
/// dates than YAML 1.2.
bool is_string_without_quotes(const std::string& text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto is_inside = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '/';
  };
  if (text.empty() || !is_letter(text.front()) || !std::all_of(text.begin(), text.end(), is_inside))
    return false;
  std::string word = text;
  for (char& c : word) c = static_cast<char>(c | 0x20);  // letters to lower case
  constexpr const char* kOthers[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
  return std::find(std::begin(kOthers), std::end(kOthers), word) == std::end(kOthers);
}

void emit_string(YAML::Emitter& out, const std::string& text) {
  if (!is_string_without_quotes(text)) out << YAML::DoubleQuoted;
  out << text;
}

void emit(YAML::Emitter& out, const YAML::Node& node) {
  if (node.IsMap()) {
    out << (node.size() == 0 ? YAML::Flow : YAML::Block) << YAML::BeginMap;
    for (const auto& entry : node) {
      out << YAML::Key;
      emit_string(out, entry.first.Scalar());
      out << YAML::Value;
      emit(out, entry.second);
    }
    out << YAML::EndMap;
  } else if (node.IsSequence()) {
    out << (node.size() == 0 ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const auto& entry : node) emit(out, entry);
    out << YAML::EndSeq;
  } else if (node.Tag() == "!") {  // it was quoted
    emit_string(out, node.Scalar());
  } else {
    out << (node.IsNull() ? "null" : node.Scalar());
  }
}

/// JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
std::string join_surrogates(const std::string& json) {
  const auto half_at = [&](std::size_t at, unsigned base) {
    unsigned code = 0;
    const bool escape =
        at + 6 <= json.size() && json[at] == '\\' && json[at + 1] == 'u' &&
        std::from_chars(&json[at + 2], &json[at] + 6, code, 16).ptr == &json[at] + 6;
    return escape && code >= base && code < base + 0x400 ? std::optional(code - base)
                                                         : std::nullopt;
  };
  std::string out;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const auto high = half_at(at, 0xd800);
    const auto low = high ? half_at(at + 6, 0xdc00) : std::nullopt;
    if (low) {
      out += fmt::format("\\U{:08x}", 0x10000 + (*high << 10) + *low);
      at += 11;
      continue;
    }
    out += json[at];
    if (json[at] == '\\' && at + 1 < json.size()) out += json[++at];
  }
  return out;
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

bool is_for_people(Format format) {
  return format == Format::Table || format == Format::Wide;
}

Status require_no_list_format(Format format, const std::string& what) {
  if (format != Format::Csv && format != Format::Name) return {};
  return Error(Code::InvalidArgument, "USAGE",
               what + " has no -o " + (format == Format::Csv ? "csv" : "name"))
      .remedy("choose table, json or yaml");
}

std::string render_document(const google::protobuf::Message& message, Format format) {
  const std::string json = to_json(message, true);
  return format == Format::Yaml ? json_to_yaml(json) : json;
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
  YAML::Emitter emitter;
  emit(emitter, YAML::Load(join_surrogates(json)));
  std::string out;
  for (const char* c = emitter.c_str(); *c != '\0'; ++c)  // DEL is the one that it leaves
    out += *c == '\x7f' ? std::string("\\x7f") : std::string(1, *c);
  return out + "\n";
}

std::string time_text(const google::protobuf::Timestamp& time) {
  return google::protobuf::util::TimeUtil::ToString(time);
}

std::string page_line(const std::string& title, const std::string& text) {
  return text.empty() ? "" : fmt::format("{:<13} {}\n", title, printable(text));
}

std::string transfer_text(std::int64_t done, std::int64_t total, double seconds) {
  std::string text = human_bytes(done) + " of " + human_bytes(total);
  if (total > 0) text += fmt::format("  {}%", done * 100 / total);
  if (seconds <= 0 || done <= 0) return text;
  const double rate = static_cast<double>(done) / seconds;
  return text + fmt::format("  {}/s  {:.0f}s left", human_bytes(static_cast<std::int64_t>(rate)),
                            static_cast<double>(total - done) / rate);
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
