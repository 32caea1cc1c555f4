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
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

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
  Error(Code code, Reason reason, std::string message);
  Error(const Error& other);
  Error(Error&&) noexcept = default;
  Error& operator=(const Error& other) { return *this = Error(other); }
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  /// Rebuilds an error that crossed a process boundary (journal, link). Not for new errors: their
  /// reason is a literal.
  static Error from_wire(Code code, std::string reason, std::string message);

  Code code() const { return code_; }
  std::string_view reason() const;
  const std::string& message() const;
  /// What would fix it, as a sentence for a person; may be empty.
  const std::string& remedy() const;
  /// Resource the error is about ("vms/3f..."); may be empty.
  const std::string& resource() const;
  /// The numbers of the message as data ("needed_mib" -> "512").
  const std::map<std::string, std::string, std::less<>>& metadata() const;

  /// Says what was being attempted; keeps code and reason. Reads "attempt: cause".
  Error during(std::string_view attempt) &&;
  Error remedy(std::string text) &&;
  Error resource(std::string name) &&;
  Error with(std::string key, std::string value) &&;

 private:
  /// On the heap and compiled once: what a call returns when all is well stays small, and hundreds
  /// of files do not each compile five strings and a map.
  struct Details;
  struct Drop {
    void operator()(Details* details) const;
  };
  const Details& details() const;

  std::unique_ptr<Details, Drop> details_;  // empty when moved from
  Code code_;
};

/// A value, or why there is none. Not a std::variant: with one, and the whole Error in it, every
/// file took a fifth longer to compile.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)), ok_(true) {}
  Result(Error error) : error_(std::move(error)), ok_(false) {}
  Result(const Result& other) requires std::is_copy_constructible_v<T> : ok_(other.ok_) {
    if (ok_)
      ::new (&value_) T(other.value_);
    else
      ::new (&error_) Error(other.error_);
  }
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(other.ok_) {
    take(std::move(other));
  }
  Result& operator=(Result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    drop();
    ok_ = other.ok_;
    take(std::move(other));
    return *this;
  }
  ~Result() { drop(); }

  bool ok() const { return ok_; }
  const T& value() const& { return require(ok_), value_; }
  T& value() & { return require(ok_), value_; }
  T&& value() && { return require(ok_), std::move(value_); }
  const Error& error() const& { return require(!ok_), error_; }
  Error&& error() && { return require(!ok_), std::move(error_); }

 private:
  static void require(bool right_side) {
    if (!right_side) std::abort();  // asking for the absent side is a bug, never a condition
  }
  void take(Result&& other) {
    if (ok_)
      ::new (&value_) T(std::move(other.value_));
    else
      ::new (&error_) Error(std::move(other.error_));
  }
  void drop() {
    if (ok_)
      value_.~T();
    else
      error_.~Error();
  }

  union {
    T value_;
    Error error_;
  };
  bool ok_;
};

/// Success is the unit value: `return {};`.
struct Done {};
template <>
class [[nodiscard]] Result<void> : public Result<Done> {
 public:
  Result() : Result<Done>(Done{}) {}
  Result(Error error) : Result<Done>(std::move(error)) {}
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
