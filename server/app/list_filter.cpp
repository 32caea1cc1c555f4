#include "server/app/list_filter.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <google/protobuf/util/time_util.h>

#include "base/text.h"
#include "db/repo/list_query.h"

namespace reeve::server {

namespace {

constexpr std::string_view kLabel = "label.";
using Sign = FilterTerm::Sign;

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text.substr(0, 64)) + "'";
}

db::Compare compare_of(Sign sign) {
  switch (sign) {
    case Sign::Less: return db::Compare::Less;
    case Sign::AtMost: return db::Compare::AtMost;
    case Sign::More: return db::Compare::More;
    case Sign::AtLeast: return db::Compare::AtLeast;
    case Sign::Equal:
    case Sign::Has: break;
  }
  return db::Compare::Equal;
}

Result<std::int64_t> number_of(const FilterTerm& term) {
  std::int64_t number = 0;
  const auto* end = term.value.data() + term.value.size();
  const auto [read_to, error] = std::from_chars(term.value.data(), end, number);
  if (error == std::errc{} && read_to == end) return number;
  return bad_filter("expects a number after '" + term.key + "', not " + in_quotes(term.value));
}

Result<std::int64_t> time_of(const FilterTerm& term) {
  google::protobuf::Timestamp time;
  const bool is_time = google::protobuf::util::TimeUtil::FromString(term.value, &time);
  if (!is_time || time.nanos() % 1000 != 0)
    return bad_filter("expects a time such as \"2026-11-01T00:00:00Z\" after '" + term.key +
                      "', to the microsecond, not " + in_quotes(term.value));
  return time.seconds() * 1'000'000 + time.nanos() / 1000;
}

Result<db::Restriction> test_of(const FilterKey& key, const FilterTerm& term,
                                db::ReadTransaction& tx) {
  using Type = FilterKey::Type;
  const bool comparable = key.type == Type::Number || key.type == Type::Time;
  if (term.sign == Sign::Has || (term.sign != Sign::Equal && !comparable))
    return bad_filter("can compare '" + term.key +
                      "' only by = and !=" + (comparable ? ", <, <=, > and >=" : ""));
  db::Restriction test{.column = key.column, .compare = compare_of(term.sign)};
  switch (key.type) {
    case Type::Text:
      test.compare = db::Compare::Glob;
      test.value = term.value;
      break;
    case Type::Word: test.value = TRY(filter_word(term.value, key.words)); break;
    case Type::Number: test.value = TRY(number_of(term)); break;
    case Type::Time: test.value = TRY(time_of(term)); break;
    case Type::Other: test = TRY(key.read(term.value, tx)); break;
  }
  test.negated = test.negated != term.negated;
  return test;
}

Error unknown_key(const FilterTerm& term, std::span<const FilterKey> keys, Labels labels) {
  std::vector<std::string> known;
  for (const auto& key : keys) known.emplace_back(key.name);
  if (labels == Labels::Yes) known.emplace_back("label.KEY");
  return bad_filter("has an unknown key " + in_quotes(term.key) + "; known are " +
                    join(known, ", "));
}

std::string in_lower_case(std::string_view value) {
  std::string word(value);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

}  // namespace

bool ListFilter::LabelTest::passes(const LabelMap& labels) const {
  const auto it = labels.find(key);
  const bool has = it != labels.end() && (!value || it->second == *value);
  return has != negated;
}

Result<ListFilter::LabelTest> ListFilter::label_test_of(const FilterTerm& term) {
  const bool has = term.sign == Sign::Has;
  if ((!has && term.sign != Sign::Equal) || (has && term.value != "*"))
    return bad_filter("can test " + in_quotes(term.key) + " only by =, != and :*");
  LabelTest test{.key = term.key.substr(kLabel.size()), .negated = term.negated};
  if (!has) test.value = term.value;
  return test;
}

Status ListFilter::add(const std::vector<FilterTerm>& terms, std::span<const FilterKey> keys,
                       Labels labels, db::ReadTransaction& tx) {
  LabelGroup group;
  for (const auto& term : terms) {
    const auto key = std::ranges::find(keys, term.key, &FilterKey::name);
    if (key != keys.end()) {
      group.others.push_back(TRY(test_of(*key, term, tx)));
    } else if (labels == Labels::Yes && term.key.starts_with(kLabel)) {
      group.tests.push_back(TRY(label_test_of(term)));
    } else {
      return unknown_key(term, keys, labels);
    }
  }
  if (group.tests.empty()) {
    rows.also(std::move(group.others));
  } else {
    label_groups_.push_back(std::move(group));
  }
  return {};
}

Result<ListFilter> ListFilter::read(std::string_view text, std::span<const FilterKey> keys,
                                    Labels labels, db::Readers& readers) {
  const auto groups = TRY(parse_filter(text));
  ListFilter filter;
  if (groups.empty()) return filter;
  Status outcome = readers.read([&](db::ReadTransaction& tx) -> Status {
    for (const auto& terms : groups) TRY(filter.add(terms, keys, labels, tx));
    return {};
  });
  if (!outcome.ok()) return std::move(outcome).error();
  return filter;
}

Result<bool> ListFilter::labels_match(db::ReadTransaction& tx, db::ObjectKind kind,
                                      std::string_view uid, const LabelMap& labels) const {
  for (const auto& group : label_groups_) {
    const bool by_label = std::ranges::any_of(
        group.tests, [&labels](const LabelTest& test) { return test.passes(labels); });
    if (by_label) continue;
    if (group.others.empty()) return false;
    if (!TRY(db::row_passes(tx, kind, uid, group.others))) return false;
  }
  return true;
}

Result<std::string> filter_word(std::string_view value, std::string_view known) {
  const auto words = split(known, ' ');
  auto word = in_lower_case(value);
  if (std::ranges::find(words, word) != words.end()) return word;
  return bad_filter("has an unknown value " + in_quotes(value) + "; known are " +
                    join({words.begin(), words.end()}, ", "));
}

Result<bool> filter_flag(std::string_view value) {
  const auto word = filter_word(value, "true false");
  if (!word.ok()) return word.error();
  return word.value() == "true";
}

}  // namespace reeve::server
