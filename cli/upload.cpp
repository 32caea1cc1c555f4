#include "cli/upload.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/exit_code.h"
#include "cli/output/format.h"
#include "cli/session.h"

namespace reeve::cli {
namespace {

using namespace std::chrono_literals;

std::atomic<bool> interrupted{false};

/// It may have ended by itself; what has become of it is asked for later.
void cancel(Client& client, const v1::Job& job) {
  grpc::ClientContext context;
  client.prepare(context, 5s);
  v1::CancelJobRequest request;
  request.set_name(job.name());
  v1::Job answer;
  static_cast<void>(client.jobs().CancelJob(&context, request, &answer));
}

/// Cancels the job before the call, so that its host does not wait for bytes that nobody sends: at
/// a signal that asks the program to end, while this lives, or when told to.
class Canceller {
 public:
  Canceller(Client& client, const v1::Job& job, grpc::ClientContext& call)
      : client_(client), job_(job), call_(call), watcher_([this](const std::stop_token& stop) {
          while (!stop.stop_requested() && !interrupted) std::this_thread::sleep_for(20ms);
          if (interrupted) now();  // not for a signal's handler itself
        }) {
    struct sigaction action {};
    action.sa_handler = [](int) {
      if (interrupted.exchange(true)) ::_exit(static_cast<int>(ExitCode::Interrupted));
    };
    ::sigaction(SIGINT, &action, &before_interrupt_);
    ::sigaction(SIGTERM, &action, &before_terminate_);
  }
  ~Canceller() {
    ::sigaction(SIGINT, &before_interrupt_, nullptr);
    ::sigaction(SIGTERM, &before_terminate_, nullptr);
  }
  Canceller(const Canceller&) = delete;
  Canceller& operator=(const Canceller&) = delete;

  void now() {
    std::call_once(once_, [this] {
      cancel(client_, job_);
      call_.TryCancel();
    });
  }

 private:
  Client& client_;
  const v1::Job& job_;
  grpc::ClientContext& call_;
  std::once_flag once_{};
  struct sigaction before_interrupt_ {};
  struct sigaction before_terminate_ {};
  std::jthread watcher_;
};

class Bar {
 public:
  ~Bar() {
    if (tty_) std::fprintf(stderr, "\r\x1b[K");
  }
  void show(std::int64_t sent, std::int64_t size) const {
    using Seconds = std::chrono::duration<double>;
    const Seconds time = std::chrono::steady_clock::now() - began_;
    if (tty_)
      std::fprintf(stderr, "\r\x1b[Kuploading %s", transfer_text(sent, size, time.count()).c_str());
  }

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  const bool tty_ = ::isatty(STDERR_FILENO) == 1;
};

/// Sends all there is as long as the server takes it; returns how much it took. Errors of reading.
Result<std::int64_t> send(grpc::ClientWriter<v1::UploadImageRequest>& stream, const v1::Job& job,
                          const UploadFile& file) {
  v1::UploadImageRequest message;
  message.set_job(job.name());
  bool alive = stream.Write(message);
  const Bar bar;
  constexpr std::int64_t kChunk = 512 << 10;
  std::string buffer(kChunk, '\0');
  std::int64_t sent = 0;
  while (alive && sent < file.size_bytes) {
    const auto want = static_cast<std::size_t>(std::min(kChunk, file.size_bytes - sent));
    TRY(read_at(file.fd.get(), static_cast<std::uint64_t>(sent),
                std::as_writable_bytes(std::span(buffer.data(), want))));
    message.set_data(buffer.data(), want);
    alive = stream.Write(message);
    if (alive) sent += static_cast<std::int64_t>(want);
    bar.show(sent, file.size_bytes);
  }
  return sent;
}

/// Waits a while for the end of a job that was cancelled. Returns what became of it, as words.
std::string end_of(Client& client, const v1::Job& job) {
  v1::WaitJobRequest wait;
  wait.set_name(job.name());
  wait.mutable_timeout()->set_seconds(40);
  const auto ended = client.call(&v1::JobService::Stub::WaitJob, client.jobs(), wait);
  if (!ended.ok()) return job.name() + " may go on: " + ended.error().message();
  switch (ended.value().state()) {
    case v1::Job::STATE_CANCELLED: return job.name() + " was cancelled";
    case v1::Job::STATE_FAILED: return job.name() + " has failed with it";
    case v1::Job::STATE_SUCCEEDED: return job.name() + " had succeeded already";
    case v1::Job::STATE_PARKED: return job.name() + " waits for a choice";
    default: return job.name() + " is being cancelled";
  }
}

}  // namespace

Result<UploadFile> open_upload(const std::string& path) {
  // Without waiting for the other end of a pipe.
  UploadFile file{.path = path, .fd = TRY(open_file(path, O_RDONLY | O_NONBLOCK))};
  struct stat st {};
  if (::fstat(file.fd.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return Error(Code::InvalidArgument, "USAGE",
                 "'" + path + "' is " + (S_ISDIR(st.st_mode) ? "a folder" : "no plain file"))
        .remedy("give the image's file");
  if (st.st_size == 0) return Error{Code::InvalidArgument, "USAGE", "'" + path + "' is empty"};
  file.size_bytes = st.st_size;
  return file;
}

Status upload(Client& client, const v1::Job& job, const UploadFile& file) {
  grpc::ClientContext context;
  client.prepare(context, std::chrono::seconds(0));
  v1::UploadImageResponse response;
  Result<std::int64_t> sent = std::int64_t{0};
  grpc::Status status;
  {
    Canceller canceller(client, job, context);
    auto stream = client.images().UploadImage(&context, &response);
    sent = send(*stream, job, file);
    if (sent.ok())
      stream->WritesDone();
    else
      canceller.now();
    status = stream->Finish();
  }
  if (interrupted && !status.ok())
    return Error(Code::Cancelled, "INTERRUPTED",
                 "interrupted: the upload was stopped; " + end_of(client, job))
        .resource(job.name());
  if (!sent.ok())
    return Error::from_wire(sent.error().code(), std::string(sent.error().reason()),
                            "reading '" + file.path + "': " + sent.error().message() + "; " +
                                end_of(client, job))
        .resource(job.name());
  if (status.ok()) return {};
  Error why = error_of(status).during("uploading");
  if (why.code() == Code::Unavailable) return why;
  note(why.message());
  if (sent.value() < file.size_bytes) cancel(client, job);  // nobody comes again with the rest
  return {};
}

}  // namespace reeve::cli
