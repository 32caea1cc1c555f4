// cli/output/format.h - the ways to print what the server answered.
//
// Machine formats (json, yaml) are the API's own JSON; csv holds the wide table with bytes and
// times. Data goes to stdout, everything else to stderr.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include "base/status.h"

namespace reeve::cli {

enum class Format : std::uint8_t { Table, Wide, Json, Yaml, Csv, Name };

/// InvalidArgument/USAGE naming the formats.
Result<Format> parse_format(std::string_view text);
/// Table and wide: what they have may be said in another way.
bool is_for_people(Format format);
/// InvalidArgument/USAGE for csv and name, which only lists have; `what` begins a sentence.
Status require_no_list_format(Format format, const std::string& what);

/// A column of the table of one kind of resource.
template <class T>
struct Column {
  std::string title{};
  std::function<std::string(const T&)> text{};
  bool wide = false;  ///< only with -o wide and csv
  /// What csv has instead, where the text is rounded for people.
  std::string csv_title{};
  std::function<std::string(const T&)> csv_text{};
};

enum class Columns : std::uint8_t { Usual, Wide, Csv };

struct Table {
  std::vector<std::string> titles{};
  std::vector<std::vector<std::string>> rows{};
};

/// Aligned columns, cut to nothing: a terminal wraps, a pipe gets everything.
std::string render_table(const Table& table);
std::string render_csv(const Table& table);
/// The API's JSON with field names as in the .proto.
std::string to_json(const google::protobuf::Message& message, bool pretty);
/// YAML with the same content as to_json; what is a string there is one for readers of YAML 1.1 and
/// 1.2.
std::string json_to_yaml(const std::string& json);

template <class T>
Table make_table(const std::vector<T>& items, const std::vector<Column<T>>& columns,
                 Columns which) {
  Table table;
  const auto shown = [&](const Column<T>& column) {
    return which != Columns::Usual || !column.wide;
  };
  const auto raw = [&](const Column<T>& column) {
    return which == Columns::Csv && column.csv_text != nullptr;
  };
  for (const auto& column : columns)
    if (shown(column)) table.titles.push_back(raw(column) ? column.csv_title : column.title);
  for (const auto& item : items) {
    auto& row = table.rows.emplace_back();
    for (const auto& column : columns)
      if (shown(column)) row.push_back(raw(column) ? column.csv_text(item) : column.text(item));
  }
  return table;
}

/// A moment as the API's JSON has it: RFC 3339 in UTC, nothing cut off or added.
std::string time_text(const google::protobuf::Timestamp& time);
/// "title:       text\n" of a page; nothing when there is no text.
std::string page_line(const std::string& title, const std::string& text);
/// "40.0 MiB of 80.0 MiB  50%  20.0 MiB/s  2s left".
std::string transfer_text(std::int64_t done, std::int64_t total, double seconds);
/// "2.0 GiB".
std::string human_bytes(std::int64_t bytes);
/// "3m", "2h", "5d" since `rfc_seconds` (unix seconds) until `now_seconds`.
std::string human_age(std::int64_t then_seconds, std::int64_t now_seconds);
/// "RUNNING" from "STATE_RUNNING": an enum value without its prefix.
std::string short_enum(std::string_view name, std::string_view prefix);
/// Text that is safe on a terminal: control characters shown as '?'. Names come from guests and
/// other people.
std::string printable(std::string_view text);

/// Prints items in `format`; `name` columns come from a getter.
template <class T>
std::string render_list(const std::vector<T>& items, const std::vector<Column<T>>& columns,
                        Format format) {
  switch (format) {
    case Format::Table: return render_table(make_table(items, columns, Columns::Usual));
    case Format::Wide: return render_table(make_table(items, columns, Columns::Wide));
    case Format::Csv: return render_csv(make_table(items, columns, Columns::Csv));
    case Format::Name: {
      std::string out;
      for (const auto& item : items) out += item.name() + "\n";
      return out;
    }
    case Format::Json:
    case Format::Yaml: {
      std::string json = "[";
      for (const auto& item : items) {
        if (json.size() > 1) json += ",";
        json += "\n" + to_json(item, false);
      }
      json += items.empty() ? "]\n" : "\n]\n";
      return format == Format::Json ? json : json_to_yaml(json);
    }
  }
  return {};
}

/// JSON, or YAML.
std::string render_document(const google::protobuf::Message& message, Format format);

template <class T>
std::string render_one(const T& item, const std::vector<Column<T>>& columns, Format format) {
  if (is_for_people(format) || format == Format::Csv || format == Format::Name)
    return render_list(std::vector<T>{item}, columns, format);
  return render_document(item, format);
}

}  // namespace reeve::cli
