// base/status.h - the one error type: a canonical code, a stable reason, a message, and what would
// help.
//
// Functions that can fail return Result<T>, or Status when there is nothing to return.
//
//   Result<Fd> open_log(const std::string& path);
//   auto fd = TRY(open_log(path));            // returns the error from the enclosing function
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace reeve {

/// Canonical codes. The numbers are those of grpc::StatusCode, so mapping is a cast.
/// What a caller should do with each: docs/guide/errors.md.
enum class Code : std::uint8_t {
  Cancelled = 1,
  Unknown = 2,
  InvalidArgument = 3,
  DeadlineExceeded = 4,
  NotFound = 5,
  AlreadyExists = 6,
  PermissionDenied = 7,
  ResourceExhausted = 8,
  FailedPrecondition = 9,
  Aborted = 10,
  OutOfRange = 11,
  Unimplemented = 12,
  Internal = 13,
  Unavailable = 14,
  DataLoss = 15,
  Unauthenticated = 16,
};

/// A stable cause that clients may switch on, e.g. "VM_NOT_STOPPED".
/// Only an UPPER_SNAKE literal can make one; anything else does not compile.
class Reason {
 public:
  consteval Reason(const char* literal) : text_(literal) {
    for (char c : text_)
      if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) throw "not UPPER_SNAKE";
  }
  constexpr std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

class [[nodiscard]] Error {
 public:
  Error(Code code, Reason reason, std::string message)
      : code_(code), reason_(reason.text()), message_(std::move(message)) {}

  /// Rebuilds an error that crossed a process boundary (journal, link). Not for new errors: their
  /// reason is a literal.
  static Error from_wire(Code code, std::string reason, std::string message) {
    Error error(code, "UNKNOWN", std::move(message));
    error.reason_ = std::move(reason);
    return error;
  }

  Code code() const { return code_; }
  std::string_view reason() const { return reason_; }
  const std::string& message() const { return message_; }
  /// What would fix it, as a sentence for a person; may be empty.
  const std::string& remedy() const { return remedy_; }
  /// Resource the error is about ("vms/3f..."); may be empty.
  const std::string& resource() const { return resource_; }
  /// The numbers of the message as data ("needed_mib" -> "512").
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }

  /// Says what was being attempted; keeps code and reason. Reads "attempt: cause".
  Error during(std::string_view attempt) && {
    message_.insert(0, ": ").insert(0, attempt);
    return std::move(*this);
  }
  Error remedy(std::string text) && {
    remedy_ = std::move(text);
    return std::move(*this);
  }
  Error resource(std::string name) && {
    resource_ = std::move(name);
    return std::move(*this);
  }
  Error with(std::string key, std::string value) && {
    metadata_.insert_or_assign(std::move(key), std::move(value));
    return std::move(*this);
  }

 private:
  Code code_;
  std::string reason_;
  std::string message_;
  std::string remedy_;
  std::string resource_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  const T& value() const& { return require(ok()), *std::get_if<0>(&state_); }
  T& value() & { return require(ok()), *std::get_if<0>(&state_); }
  T&& value() && { return require(ok()), std::move(*std::get_if<0>(&state_)); }
  const Error& error() const& { return require(!ok()), *std::get_if<1>(&state_); }
  Error&& error() && { return require(!ok()), std::move(*std::get_if<1>(&state_)); }

 private:
  static void require(bool right_side) {
    if (!right_side) std::abort();  // asking for the absent side is a bug, never a condition
  }

  std::variant<T, Error> state_;
};

/// Success is the unit value: `return {};`.
template <>
class [[nodiscard]] Result<void> : public Result<std::monostate> {
 public:
  Result() : Result<std::monostate>(std::monostate{}) {}
  Result(Error error) : Result<std::monostate>(std::move(error)) {}
};
using Status = Result<void>;

/// Unwraps a Result, or returns its error from the enclosing function. Not nested.
#define TRY(expression)                                         \
  __extension__({                                               \
    auto try_result = (expression);                             \
    if (!try_result.ok()) return std::move(try_result).error(); \
    std::move(try_result).value();                              \
  })

}  // namespace reeve
