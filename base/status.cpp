#include "base/status.h"

namespace reeve {

struct Error::Details {
  std::string reason{};
  std::string message{};
  std::string remedy{};
  std::string resource{};
  std::map<std::string, std::string, std::less<>> metadata{};
};

void Error::Drop::operator()(Details* details) const {
  delete details;
}

Error::Error(Code code, Reason reason, std::string message)
    : details_(new Details{.reason = std::string(reason.text()), .message = std::move(message)}),
      code_(code) {}

Error::Error(const Error& other) : details_(new Details(other.details())), code_(other.code_) {}

Error Error::from_wire(Code code, std::string reason, std::string message) {
  Error error(code, "UNKNOWN", std::move(message));
  error.details_->reason = std::move(reason);
  return error;
}

const Error::Details& Error::details() const {
  static const Details moved_from;
  return details_ ? *details_ : moved_from;
}

std::string_view Error::reason() const {
  return details().reason;
}

const std::string& Error::message() const {
  return details().message;
}

const std::string& Error::remedy() const {
  return details().remedy;
}

const std::string& Error::resource() const {
  return details().resource;
}

const std::map<std::string, std::string, std::less<>>& Error::metadata() const {
  return details().metadata;
}

Error Error::during(std::string_view attempt) && {
  details_->message.insert(0, ": ").insert(0, attempt);
  return std::move(*this);
}

Error Error::remedy(std::string text) && {
  details_->remedy = std::move(text);
  return std::move(*this);
}

Error Error::resource(std::string name) && {
  details_->resource = std::move(name);
  return std::move(*this);
}

Error Error::with(std::string key, std::string value) && {
  details_->metadata.insert_or_assign(std::move(key), std::move(value));
  return std::move(*this);
}

}  // namespace reeve
