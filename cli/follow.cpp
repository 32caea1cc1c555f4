#include "cli/follow.h"

#include <atomic>
#include <chrono>
#include <csignal>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

std::atomic<bool> interrupted{false};

bool ended(const v1::Job& job) {
  return job.state() >= v1::Job::STATE_SUCCEEDED || job.state() == v1::Job::STATE_PARKED;
}

/// One line on stderr that is rewritten while stderr is a terminal; silent otherwise.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }

  void show(const v1::Job& job) {
    if (!tty_) return;
    std::string line = job.kind() + " " + printable(job.target_display_name());
    int done = 0;
    std::string current;
    for (const auto& step : job.steps()) {
      if (step.state() == v1::JobStep::STATE_DONE) ++done;
      if (step.state() == v1::JobStep::STATE_RUNNING || step.state() == v1::JobStep::STATE_UNDOING)
        current = step.title();
    }
    if (job.state() == v1::Job::STATE_ROLLING_BACK) current = "undoing: " + current;
    line += fmt::format("  [{}/{}] {}", done, job.steps_size(), current);
    if (job.has_progress()) line += progress_text(job.progress());
    constexpr std::size_t kWidth = 110;
    if (line.size() > kWidth) line.resize(kWidth);
    std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
    shown_ = true;
  }

  void clear() {
    if (std::exchange(shown_, false)) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  static std::string progress_text(const v1::Progress& progress) {
    std::string text = " " + printable(progress.phase());
    if (progress.percent() >= 0 && progress.total() > 0) {
      constexpr int kCells = 20;
      const int filled = std::clamp(progress.percent(), 0, 100) * kCells / 100;
      text += " " + std::string(static_cast<std::size_t>(filled), '#') +
              std::string(static_cast<std::size_t>(kCells - filled), '.') +
              fmt::format(" {:3d}%", progress.percent());
    }
    if (progress.rate() > 0) text += " " + human_bytes(progress.rate()) + "/s";
    if (progress.eta_seconds() >= 0 && progress.rate() > 0)
      text += fmt::format(" {}s left", progress.eta_seconds());
    return text;
  }

  const bool tty_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
};

/// Waits in slices so that Ctrl-C and progress are seen; the server answers at once when the job
/// ends.
Result<v1::Job> wait_slice(Client& client, const v1::Job& job, bool live) {
  v1::WaitJobRequest request;
  request.set_name(job.name());
  if (live) {
    request.mutable_timeout()->set_nanos(300'000'000);
  } else {
    request.mutable_timeout()->set_seconds(5);
  }
  return client.call(&v1::JobService::Stub::WaitJob, client.jobs(), request);
}

std::string choices_text(const v1::Job& job) {
  std::string text;
  for (const auto& choice : job.choices())
    text += fmt::format("\n  reeve job resolve {} {}   # {}", job.uid().substr(0, 8), choice.id(),
                        printable(choice.description()));
  return text;
}

Error error_of_job(const v1::Job& job, Reason reason, const std::string& what) {
  Error error(Code::FailedPrecondition, reason,
              fmt::format("{} {} {}: {}", job.kind(), job.target_display_name(), what,
                          job.error().message()));
  std::string remedy = job.error().detail().remedy();
  if (job.state() == v1::Job::STATE_PARKED)
    remedy += (remedy.empty() ? "choose:" : "; choose:") + choices_text(job);
  return std::move(error)
      .remedy(remedy)
      .resource(job.target())
      .with("job", job.name())
      .with("reason", job.error().detail().reason());
}

/// "machine web-1" for "vms/{uid}".
std::string lock_text(const std::string& lock, Names& names) {
  if (lock.starts_with("vms/")) return "machine " + printable(names.of(lock));
  if (lock.starts_with("images/")) return "image " + printable(names.of(lock));
  if (lock.starts_with("vm-names/")) return "the name " + printable(lock.substr(9));
  return printable(lock);
}

}  // namespace

std::string change_line(const std::string& field, const std::string& before,
                        const std::string& after) {
  if (before == after) return {};
  return fmt::format("  {}: {} -> {}\n", field, before.empty() ? "(none)" : printable(before),
                     after.empty() ? "(none)" : printable(after));
}

std::string label_changes(const google::protobuf::Map<std::string, std::string>& before,
                          const google::protobuf::Map<std::string, std::string>& after) {
  std::map<std::string, std::pair<std::string, std::string>> changes;
  for (const auto& [key, value] : before) changes[key].first = value;
  for (const auto& [key, value] : after) changes[key].second = value;
  std::string out;
  for (const auto& [key, change] : changes)
    out += change_line("labels." + key, change.first, change.second);
  return out;
}

std::string describe_plan(const v1::Job& job, Names& names) {
  const auto shown = [&names](const std::string& text) { return printable(names.in(text)); };
  std::string out = "Plan: " + job.kind() + " " + printable(job.target_display_name()) + "\n";
  for (int i = 0; i < job.steps_size(); ++i)
    out +=
        fmt::format("  {}. {}{}\n", i + 1, job.steps(i).title(),
                    job.steps(i).host().empty() ? "" : "  (on " + shown(job.steps(i).host()) + ")");
  if (job.diff_size() > 0) out += "Changes:\n";
  for (const auto& diff : job.diff())
    out += change_line(diff.field(), names.in(diff.before()), names.in(diff.after()));
  if (job.has_placement()) {
    out += fmt::format("Placement: {} / {}\n", shown(job.placement().host()),
                       job.placement().hypervisor());
    for (const auto& reason : job.placement().reasons()) out += "  " + printable(reason) + "\n";
  }
  out +=
      "Expected outage: " + (job.expected_outage().empty() ? "none" : job.expected_outage()) + "\n";
  for (const auto& lock : job.locks()) out += "Locks: " + lock_text(lock, names) + "\n";
  return out;
}

Result<v1::Job> follow(Session& session, v1::Job job, int wait_seconds) {
  Client& client = *TRY(session.client());
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { interrupted = true; };
  ::sigaction(SIGINT, &action, &before);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(wait_seconds);
  ProgressLine line;
  int failures = 0;
  const bool live = ::isatty(STDERR_FILENO) == 1;
  while (!ended(job)) {
    line.show(job);
    const bool late = wait_seconds > 0 && std::chrono::steady_clock::now() >= deadline;
    if (late || interrupted) {
      ::sigaction(SIGINT, &before, nullptr);
      line.clear();
      const Reason reason = late ? Reason("WAIT_TIMEOUT") : Reason("INTERRUPTED");
      return Error(Code::DeadlineExceeded, reason, "stopped waiting; " + job.name() + " goes on")
          .remedy("reeve job wait " + job.uid().substr(0, 8));
    }
    auto next = wait_slice(client, job, live || wait_seconds > 0);
    if (next.ok()) {
      job = std::move(next).value();
      failures = 0;
    } else if (next.error().code() != Code::Unavailable || ++failures > 30) {
      return std::move(next).error();
    } else {
      ::usleep(1'000'000);  // the server restarts; the job survives that
    }
  }
  ::sigaction(SIGINT, &before, nullptr);
  return job;
}

namespace {

std::string outcomes_of(const v1::Job& job) {
  std::string out;
  for (const auto& step : job.steps())
    if (!step.outcome().empty()) out += (out.empty() ? " (" : "; ") + printable(step.outcome());
  return out.empty() ? out : out + ")";
}

/// One line of JSON, a document of YAML or a row of CSV: what may be one of several.
std::string render_job(Session& session, const v1::Job& job, Format format) {
  if (format == Format::Json) return to_json(job, false) + "\n";
  const bool first = !std::exchange(session.printed_a_job, true);
  if (format == Format::Yaml) return (first ? "" : "---\n") + render_document(job, format);
  const std::string rows = render_one(job, job_columns(), format);
  return first ? rows : rows.substr(rows.find('\n') + 1);
}

}  // namespace

Status check_change(const Session& session) {
  const Format format = TRY(session.format());
  return session.change.dry_run ? require_no_list_format(format, "a plan") : Status();
}

Status finish(Session& session, v1::Job job) {
  const Format format = TRY(session.format());
  if (session.change.dry_run) {
    TRY(check_change(session));
    Names names(*TRY(session.client()), Names::Expect::One);
    print(is_for_people(format) ? describe_plan(job, names) : render_job(session, job, format));
    return {};
  }
  if (session.change.async) {
    const bool named = is_for_people(format) || format == Format::Name;
    print(named ? job.name() + "\n" : render_job(session, job, format));
    return {};
  }
  job = TRY(follow(session, std::move(job), session.change.wait_seconds));
  if (format == Format::Name)
    print(job.target() + "\n");
  else if (!is_for_people(format))
    print(render_job(session, job, format));
  switch (job.state()) {
    case v1::Job::STATE_SUCCEEDED:
      if (is_for_people(format))
        note(fmt::format("{} {}: done{}", job.kind(), printable(job.target_display_name()),
                         outcomes_of(job)));
      return {};
    case v1::Job::STATE_PARKED: return error_of_job(job, "JOB_PARKED", "waits for a choice");
    case v1::Job::STATE_CANCELLED: return error_of_job(job, "JOB_FAILED", "was cancelled");
    default: return error_of_job(job, "JOB_FAILED", "failed");
  }
}

}  // namespace reeve::cli
