#include "server/api/console_stream.h"

#include "server/api/request_summary.h"
#include "server/rpc/status_to_grpc.h"

namespace reeve::server {
namespace {

ConsoleMode mode_of(v1::ConsoleOpen::Mode mode) {
  switch (mode) {
    case v1::ConsoleOpen::MODE_WRITE: return ConsoleMode::Write;
    case v1::ConsoleOpen::MODE_TAKE_OVER: return ConsoleMode::TakeOver;
    default: return ConsoleMode::Read;
  }
}

Error bad(std::string_view field, std::string_view problem) {
  return Error{Code::InvalidArgument, "BAD_FIELD", std::string(field) + " " + std::string(problem)}
      .with("field:" + std::string(field), std::string(problem));
}

}  // namespace

std::shared_ptr<ConsoleStream> ConsoleStream::create(std::unique_ptr<Admission> admission,
                                                     VmService& vms, ConsoleHub& hub) {
  std::shared_ptr<ConsoleStream> stream(new ConsoleStream(std::move(admission), vms, hub));
  stream->self_ = stream;
  stream->read_turn_.take();
  stream->StartRead(&stream->reading_);
  return stream;
}

Result<std::shared_ptr<ConsoleSession>> ConsoleStream::attach(const v1::ConsoleOpen& request) {
  TRY(check_size(reading_));
  if (!v1::ConsoleOpen::Mode_IsValid(request.mode())) return bad("open.mode", "is not a mode");
  if (request.from_offset() < -1) return bad("open.from_offset", "is below -1");
  auto place = TRY(vms_.console_place(request.name()));
  return hub_.attach({.vm_uid = std::move(place.vm_uid),
                      .host_uid = std::move(place.host_uid),
                      .from_offset = request.from_offset()},
                     mode_of(request.mode()));
}

void ConsoleStream::open() {
  Result<std::shared_ptr<ConsoleSession>> session = bad("open", "is not the first message");
  if (reading_.has_open()) session = attach(reading_.open());
  admission_->record(
      {.status = session.ok() ? Status() : session.error(), .resource = reading_.open().name()},
      summary_of(reading_), [] {});
  if (!session.ok()) return finish(std::move(session).error());
  session_ = std::move(session).value();
  const std::weak_ptr<ConsoleStream> weak = weak_from_this();
  session_->output.on_readable([weak] {
    if (const auto self = weak.lock()) self->write_on();
  });
  session_->input.on_writable([weak] {
    if (const auto self = weak.lock()) self->read_on();
  });
  write_on();
  pump_reads();
}

Status ConsoleStream::take_input() {
  if (!reading_.has_input()) return bad("open", "is given twice");
  if (reading_.input().size() > kMaxInput) return bad("input", "has more than 64 KiB");
  if (session_->writable && !reading_.input().empty())
    session_->input.push({.bytes = std::move(*reading_.mutable_input())});
  return {};
}

void ConsoleStream::OnReadDone(bool ok) {
  if (!ok) {
    // The client sends no more, but may go on reading; when it is gone, OnCancel comes too.
    if (session_ == nullptr) finish(bad("open", "is missing"));
    return;
  }
  if (session_ == nullptr) return open();
  if (auto status = take_input(); !status.ok()) return finish(status);
  pump_reads();
}

void ConsoleStream::pump_reads() {
  do {
    if (!session_->input.is_writable()) continue;
    Lock lock(mutex_);
    if (!finished_) StartRead(&reading_);
    return;
  } while (!read_turn_.give_back());
}

void ConsoleStream::pump_writes() {
  do {
    if (auto chunk = session_->output.pop()) {
      writing_.set_offset(chunk->offset);
      writing_.set_lost_bytes(chunk->lost_bytes);
      writing_.set_output(std::move(chunk->bytes));
      writing_.set_writable(session_->writable);
      Lock lock(mutex_);
      if (!finished_) StartWrite(&writing_);
      return;
    }
    if (const auto end = session_->output.end()) return finish(*end);
  } while (!write_turn_.give_back());
}

void ConsoleStream::OnWriteDone(bool ok) {
  if (ok) pump_writes();  // else the call is over, and OnCancel says so
}

void ConsoleStream::OnCancel() {
  finish(Error{Code::Cancelled, "CALL_CANCELLED", "the client hung up"});
}

void ConsoleStream::finish(const Status& status) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  Finish(to_grpc(status));
}

void ConsoleStream::OnDone() {
  if (session_ != nullptr) hub_.detach(session_);
  self_.reset();
}

}  // namespace reeve::server
