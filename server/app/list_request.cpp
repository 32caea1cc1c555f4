#include "server/app/list_request.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "server/app/errors.h"

namespace reeve::server {

namespace {

constexpr std::size_t kMaxFilter = 4096;
constexpr std::size_t kMaxTerms = 16;

/// FNV-1a: a token is bound to a request by accident only, it is no secret.
std::string fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return std::to_string(hash);
}

class FilterReader {
 public:
  explicit FilterReader(std::string_view text) : text_(text) {}

  Result<std::vector<FilterTerm>> read() {
    std::vector<FilterTerm> terms;
    skip_spaces();
    while (at_ < text_.size()) {
      if (!terms.empty() && !take_word("AND")) return bad_filter("expects AND between two terms");
      FilterTerm term;
      term.key = bare_word();
      if (term.key.empty()) return bad_filter("expects a key");
      skip_spaces();
      if (at_ >= text_.size() || text_[at_] != '=')
        return bad_filter("expects '=' after '" + term.key.substr(0, 64) + "'");
      ++at_;
      skip_spaces();
      term.value = TRY(value());
      terms.push_back(std::move(term));
      if (terms.size() > kMaxTerms) return bad_filter("has more than 16 terms");
      skip_spaces();
    }
    return terms;
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  std::string bare_word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ' ' && text_[at_] != '=' && text_[at_] != '"') ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    const bool ends = at_ < text_.size() && text_[at_] == ' ';
    skip_spaces();
    return ends;
  }
  Result<std::string> value() {
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '"' && quote != '\'') {
      auto word = bare_word();
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
};

}  // namespace

Error bad_filter(std::string_view problem) {
  return Error(Code::InvalidArgument, "BAD_FILTER", "filter " + std::string(problem))
      .with("field:filter", std::string(problem));
}

Result<std::vector<FilterTerm>> parse_filter(std::string_view text) {
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

Result<std::optional<db::PageKey>> parse_page_token(std::string_view token,
                                                    std::string_view bound_to) {
  if (token.empty()) return std::optional<db::PageKey>{};
  const auto refuse = [] {
    return Error(Code::InvalidArgument, "BAD_PAGE_TOKEN",
                 "page_token is not one of this list with this filter and order")
        .remedy("begin again without page_token")
        .with("field:page_token", "is not valid here");
  };
  if (token.size() > 8192) return refuse();
  const auto bytes = from_base64url(token);
  if (!bytes.ok()) return refuse();
  const std::string text(reinterpret_cast<const char*>(bytes.value().data()), bytes.value().size());
  const auto first = text.find('\n');
  const auto second = first == text.npos ? text.npos : text.find('\n', first + 1);
  if (second == text.npos || text.substr(0, first) != fingerprint(bound_to)) return refuse();
  return std::optional(db::PageKey{.value = text.substr(second + 1),
                                   .uid = text.substr(first + 1, second - first - 1)});
}

namespace {

std::string in_lower_case(std::string_view value) {
  std::string word(value);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

Error unknown_value(std::string_view value, const std::string& known) {
  return bad_filter("has an unknown value '" + std::string(value.substr(0, 64)) + "'; known are " +
                    known);
}

}  // namespace

Result<std::string> filter_word(std::string_view value, const std::vector<std::string>& known) {
  auto word = in_lower_case(value);
  if (std::ranges::find(known, word) != known.end()) return word;
  return unknown_value(value, join(known, ", "));
}

Result<bool> filter_flag(std::string_view value) {
  const auto word = in_lower_case(value);
  if (word == "true") return true;
  if (word == "false") return false;
  return unknown_value(value, "true, false");
}

}  // namespace reeve::server
