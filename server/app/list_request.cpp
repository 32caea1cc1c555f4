#include "server/app/list_request.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/text.h"
#include "server/app/errors.h"

namespace reeve::server {

namespace {

constexpr std::size_t kMaxFilter = 4096;
constexpr std::size_t kMaxTerms = 16;
constexpr int kMaxDepth = 8;

/// FNV-1a: a token is bound to a request by accident only, it is no secret.
std::string fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return std::to_string(hash);
}

using Groups = std::vector<FilterGroup>;

/// The opposite of groups joined by AND, where that is such groups again.
Result<Groups> opposite(Groups groups) {
  for (auto& group : groups)
    for (auto& term : group) term.negated = !term.negated;
  Groups out;
  if (groups.size() == 1) {
    for (auto& term : groups.front()) out.push_back({std::move(term)});
    return out;
  }
  out.emplace_back();
  for (auto& group : groups) {
    if (group.size() != 1)
      return bad_filter(
          "has NOT before a group with AND and OR; write NOT before its restrictions");
    out.front().push_back(std::move(group.front()));
  }
  return out;
}

bool is_operator(std::string_view word) {
  return word == "AND" || word == "OR" || word == "NOT";
}

/// A recursive descent, no deeper than kMaxDepth.
class FilterReader {
 public:
  explicit FilterReader(std::string_view text) : text_(text) {}

  Result<Groups> read() {
    skip_spaces();
    if (at_ == text_.size()) return Groups{};
    auto groups = TRY(joined_by_and());
    if (at_ == text_.size()) return groups;
    return bad_filter(text_[at_] == ')' ? "has a ')' without '('"
                                        : "expects AND or OR between two restrictions");
  }

 private:
  Result<Groups> joined_by_and() {
    Groups all = TRY(joined_by_or());
    while (take_word("AND")) {
      auto more = TRY(joined_by_or());
      std::ranges::move(more, std::back_inserter(all));
    }
    return all;
  }

  Result<Groups> joined_by_or() {
    Groups any = TRY(factor());
    while (take_word("OR")) {
      auto more = TRY(factor());
      if (any.size() != 1 || more.size() != 1)
        return bad_filter(
            "has AND inside of OR; write groups of OR joined by AND: instead of a = 1 OR (b = 2 "
            "AND c = 3), (a = 1 OR b = 2) AND (a = 1 OR c = 3)");
      std::ranges::move(more.front(), std::back_inserter(any.front()));
    }
    return any;
  }

  Result<Groups> factor() {
    const bool negated = take('-') || take_word("NOT");
    Groups groups;
    if (take('(')) {
      if (++depth_ > kMaxDepth) return bad_filter("has parentheses more than 8 deep");
      groups = TRY(joined_by_and());
      if (!take(')')) return bad_filter("expects AND, OR or ')' after a restriction");
      --depth_;
    } else {
      groups.push_back({TRY(restriction())});
    }
    if (negated) return opposite(std::move(groups));
    return groups;
  }

  Result<FilterTerm> restriction() {
    FilterTerm term;
    term.key = word_until(" =!<>:()\"'");
    if (term.key.empty() || term.key.front() == '-' || is_operator(term.key))
      return bad_filter("expects a key" + (term.key.empty() ? "" : " where it has " + term.key));
    if (++terms_ > kMaxTerms) return bad_filter("has more than 16 restrictions");
    skip_spaces();
    TRY(take_sign(term));
    skip_spaces();
    term.value = TRY(value());
    skip_spaces();
    return term;
  }

  Status take_sign(FilterTerm& term) {
    using Sign = FilterTerm::Sign;
    struct Known {
      std::string_view text{};
      Sign sign{};
      bool negated = false;
    };
    static constexpr Known kSigns[] = {
        {"!=", Sign::Equal, true}, {"=", Sign::Equal}, {"<=", Sign::AtMost}, {"<", Sign::Less},
        {">=", Sign::AtLeast},     {">", Sign::More},  {":", Sign::Has}};
    for (const auto& known : kSigns) {
      if (!text_.substr(at_).starts_with(known.text)) continue;
      at_ += known.text.size();
      term.sign = known.sign;
      term.negated = known.negated;
      return {};
    }
    return bad_filter("expects '=' or another sign after '" + term.key.substr(0, 64) + "'");
  }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  std::string word_until(std::string_view ends) {
    const std::size_t begin = at_;
    at_ = std::min(text_.find_first_of(ends, begin), text_.size());
    return std::string(text_.substr(begin, at_ - begin));
  }
  bool take(char sign) {
    if (at_ == text_.size() || text_[at_] != sign) return false;
    ++at_;
    skip_spaces();
    return true;
  }
  /// Only as a whole word.
  bool take_word(std::string_view word) {
    const auto rest = text_.substr(at_);
    if (!rest.starts_with(word)) return false;
    if (rest.size() > word.size() && rest[word.size()] != ' ' && rest[word.size()] != '(')
      return false;
    at_ += word.size();
    skip_spaces();
    return true;
  }
  Result<std::string> value() {
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '"' && quote != '\'') {
      auto word = word_until(" =\"()");
      if (word.empty()) return bad_filter("expects a value");
      return word;
    }
    std::string out;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) {
        ++at_;
        return out;
      }
      if (text_[at_] == '\\' && ++at_ == text_.size()) break;
      out.push_back(text_[at_]);
    }
    return bad_filter("has a quote that does not end");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t terms_ = 0;
  int depth_ = 0;
};

}  // namespace

Error bad_filter(std::string_view problem) {
  return Error(Code::InvalidArgument, "BAD_FILTER", "filter " + std::string(problem))
      .with("field:filter", std::string(problem));
}

Result<std::vector<FilterGroup>> parse_filter(std::string_view text) {
  if (text.size() > kMaxFilter) return bad_filter("is longer than 4096 bytes");
  if (!is_utf8(text)) return bad_filter("is not UTF-8");
  return FilterReader(text).read();
}

Result<Order> parse_order(std::string_view text, const std::vector<std::string>& known) {
  Order order;
  std::string_view key = trim(text);
  if (key.ends_with(" desc")) {
    order.descending = true;
    key = trim(key.substr(0, key.size() - 5));
  }
  order.key = key.empty() ? known.front() : std::string(key);
  if (std::ranges::find(known, order.key) != known.end()) return order;
  return Error(Code::InvalidArgument, "BAD_FILTER",
               "order_by cannot be '" + order.key.substr(0, 64) + "'")
      .remedy("use one of: " + join(known, ", ") + ", with \" desc\" to reverse")
      .with("field:order_by", "is unknown");
}

Result<int> page_size_of(int asked) {
  if (asked < 0) return bad_field("page_size", "must not be negative");
  if (asked == 0) return 50;
  return std::min(asked, 1000);
}

std::string page_token(const db::PageKey& key, std::string_view bound_to) {
  const std::string text = fingerprint(bound_to) + "\n" + key.uid + "\n" + key.value;
  return to_base64url(as_bytes(text));
}

namespace {

Error bad_page_token() {
  return Error(Code::InvalidArgument, "BAD_PAGE_TOKEN",
               "page_token is not one of this list with this filter and order")
      .remedy("begin again without page_token")
      .with("field:page_token", "is not valid here");
}

}  // namespace

Result<std::optional<db::PageKey>> parse_page_token(std::string_view token,
                                                    std::string_view bound_to) {
  if (token.empty()) return std::optional<db::PageKey>{};
  if (token.size() > 8192) return bad_page_token();
  const auto bytes = from_base64url(token);
  if (!bytes.ok()) return bad_page_token();
  const std::string text(reinterpret_cast<const char*>(bytes.value().data()), bytes.value().size());
  const auto first = text.find('\n');
  const auto second = first == text.npos ? text.npos : text.find('\n', first + 1);
  if (second == text.npos || text.substr(0, first) != fingerprint(bound_to))
    return bad_page_token();
  return std::optional(db::PageKey{.value = text.substr(second + 1),
                                   .uid = text.substr(first + 1, second - first - 1)});
}

Result<std::optional<std::int64_t>> parse_number_token(std::string_view token,
                                                       std::string_view bound_to) {
  const auto key = TRY(parse_page_token(token, bound_to));
  if (!key) return std::optional<std::int64_t>{};
  std::int64_t number = 0;
  const auto* end = key->value.data() + key->value.size();
  const auto [read_to, error] = std::from_chars(key->value.data(), end, number);
  // Far from where adding a page's rows could overflow.
  constexpr std::int64_t kHighest = INT64_MAX / 2;
  if (error != std::errc{} || read_to != end || number < 0 || number > kHighest)
    return bad_page_token();
  return std::optional(number);
}

}  // namespace reeve::server
