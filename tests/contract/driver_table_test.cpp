// tests/contract/driver_table_test.cpp - the table of drivers in the guide.
#include <algorithm>
#include <cstdio>
#include <set>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/text.h"
#include "tests/contract/driver_worlds.h"
#include "tests/support/paths.h"

using namespace reeve;

namespace {

/// One column per world, one row per capability that any of them has.
template <class... Worlds>
std::string table_of_capabilities() {
  const std::vector<std::string> names{Worlds::kName...};
  std::vector<std::vector<std::string>> columns;
  (columns.push_back(Worlds::make()->driver().facts().capabilities), ...);
  std::set<std::string> rows;
  for (const auto& column : columns) rows.insert(column.begin(), column.end());
  std::string table = "| | " + join(names, " | ") + " |\n| --- |";
  for (std::size_t i = 0; i < names.size(); ++i) table += " --- |";
  for (const auto& row : rows) {
    table += "\n| " + row + " |";
    for (const auto& column : columns)
      table += std::find(column.begin(), column.end(), row) != column.end() ? " yes |" : " |";
  }
  return table + "\n";
}

}  // namespace

TEST_CASE("the published table of drivers is what they say", "[driver]") {
  const auto table = table_of_capabilities<REEVE_DRIVER_WORLDS>();
  std::fputs(table.c_str(), stdout);
  const auto guide = read_file(test::source_dir() / "docs/guide/drivers.md").value();
  INFO("put the table above between the marks in docs/guide/drivers.md");
  CHECK(guide.find("<!-- table -->\n" + table + "<!-- end -->") != std::string::npos);
}
