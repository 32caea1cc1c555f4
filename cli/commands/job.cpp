// cli/commands/job.cpp - reeve job: list, show, wait, cancel, resolve.
#include <algorithm>

#include <fmt/format.h>

#include "cli/commands/commands.h"
#include "cli/follow.h"
#include "cli/names.h"
#include "cli/output/resources.h"
#include "cli/select.h"
#include "cli/watch.h"

namespace reeve::cli {
namespace {

constexpr int kLongestWait = 31'536'000;  // seconds: a year

struct JobArguments {
  std::string job{};
  std::string choice{};
  std::string filter{};
  std::string order_by{};
  std::size_t limit = 50;
  bool active = false;
  bool watch = false;
};

Status list(Session& session, const JobArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  const auto filter =
      arguments.active ? narrowed(arguments.filter, "active = true") : arguments.filter;
  const auto listed = TRY(newest_jobs(client, filter, arguments.limit, arguments.order_by));
  if (!arguments.watch) return print(render_list(listed.items, job_columns(), format)), Status();
  auto options = TRY(watch_from(client, "jobs", listed, filter));
  print(render_before_watch(listed, job_columns(), format));
  options.progress = true;
  return watch(session, std::move(options));
}

/// "3s", "2.4s"; empty before the end.
std::string time_taken(const google::protobuf::Timestamp& begin,
                       const google::protobuf::Timestamp& end) {
  if (begin.seconds() == 0 || end.seconds() == 0) return {};
  const double seconds = static_cast<double>(end.seconds() - begin.seconds()) +
                         static_cast<double>(end.nanos() - begin.nanos()) / 1e9;
  return fmt::format("{:.1f}s", std::max(0.0, seconds));
}

std::string facts_of(const v1::Job& job, Names& names) {
  std::string out = page_line("job:", job.name()) + page_line("target:", job.target());
  out += page_line("actor:", job.actor()) + page_line("request id:", job.request_id());
  out += page_line("created:", time_text(job.create_time()));
  if (job.has_end_time())
    out += page_line("ended:", time_text(job.end_time()) + ", after " +
                                   time_taken(job.create_time(), job.end_time()));
  if (job.has_placement()) {
    out += page_line("placement:",
                     names.of(job.placement().host()) + " / " + job.placement().hypervisor());
    for (const auto& reason : job.placement().reasons()) out += page_line("", reason);
  }
  return out + page_line("outage:", job.expected_outage());
}

std::string describe(const v1::Job& job, Names& names) {
  std::string out =
      render_table(make_table(std::vector{job}, job_columns(), Columns::Usual)) + "\n";
  out += facts_of(job, names) + "steps:\n";
  int number = 0;
  for (const auto& step : job.steps()) {
    out += fmt::format("{:2}. {:<28} {:<8}", ++number, step.title(),
                       short_enum(v1::JobStep::State_Name(step.state()), "STATE_"));
    if (const auto taken = time_taken(step.start_time(), step.end_time()); !taken.empty())
      out += "  " + taken;
    if (!step.host().empty()) out += "  on " + printable(names.of(step.host()));
    if (step.attempts() > 1) out += fmt::format(" attempts {}", step.attempts());
    if (!step.outcome().empty()) out += "  " + printable(step.outcome());
    if (step.has_error()) out += "  " + printable(step.error().message());
    out += "\n";
  }
  if (job.diff_size() > 0) out += "changes:\n";
  for (const auto& diff : job.diff())
    out += change_line(diff.field(), names.in(diff.before()), names.in(diff.after()));
  if (job.has_error()) {
    out += fmt::format("error: {} ({})\n", printable(job.error().message()),
                       job.error().detail().reason());
    if (!job.error().detail().remedy().empty())
      out += "remedy: " + printable(job.error().detail().remedy()) + "\n";
  }
  for (const auto& choice : job.choices())
    out += fmt::format("choice: reeve job resolve {} {}   # {}\n", job.uid().substr(0, 8),
                       choice.id(), printable(choice.description()));
  if (!job.cancel_consequence().empty())
    out += "cancel: " + printable(job.cancel_consequence()) + "\n";
  return out;
}

Status show(Session& session, const JobArguments& arguments) {
  const Format format = TRY(session.format());
  const auto client = TRY(session.client());
  const auto job = TRY(select_job(*client, arguments.job));
  Names names(*client, Names::Expect::One);
  print(format == Format::Table ? describe(job, names) : render_one(job, job_columns(), format));
  return {};
}

Status wait(Session& session, const JobArguments& arguments) {
  const auto client = TRY(session.client());
  return finish(session, TRY(select_job(*client, arguments.job)));
}

Status cancel(Session& session, const JobArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::CancelJobRequest request;
  request.set_name(TRY(select_job(client, arguments.job)).name());
  const auto job = TRY(client.call(&v1::JobService::Stub::CancelJob, client.jobs(), request));
  print(render_one(job, job_columns(), TRY(session.format())));
  return {};
}

Status resolve(Session& session, const JobArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::ResolveJobRequest request;
  request.set_name(TRY(select_job(client, arguments.job)).name());
  request.set_choice(arguments.choice);
  return finish(session,
                TRY(client.call(&v1::JobService::Stub::ResolveJob, client.jobs(), request)));
}

}  // namespace

void add_wait_options(const Verb& verb, ChangeOptions& change) {
  verb.flag("--async", change.async, "Print the job's name and leave; do not wait");
  verb.option("--wait", change.wait_seconds,
              "Seconds to wait for the job; it goes on afterwards (default: until it ends)")
      .between(1, kLongestWait);
}

void add_dry_run(const Verb& verb, ChangeOptions& change) {
  verb.flag("--dry-run", change.dry_run, "Show what would be done and change nothing");
}

void add_change_options(const Verb& verb, ChangeOptions& change) {
  add_wait_options(verb, change);
  add_dry_run(verb, change);
  verb.option("--request-id", change.request_id,
              "UUID that makes a retry safe: the same id gives the same job");
}

void add_job(const Verb& app, Session& session) {
  const auto job = app.add_noun("job", "Changes under way and done");
  auto arguments = std::make_shared<JobArguments>();
  const auto list_verb = job.add("list", "List jobs, newest first").alias("ls");
  list_verb.option("-f,--filter", arguments->filter,
                   "e.g. 'target = web AND (kind = StartVm OR kind = StopVm)'");
  list_verb.option("--order-by", arguments->order_by,
                   "'create_time desc' (default), or create_time for the oldest first");
  list_verb.option("--limit", arguments->limit, "At most this many (default 50)")
      .between(1, 1'000'000);
  list_verb.flag("--active", arguments->active, "Only unfinished ones");
  list_verb.flag("-w,--watch", arguments->watch, "Then print every change until Ctrl-C");
  list_verb.does(session, list, arguments);
  const auto named = [&](const char* name, const char* help) {
    const auto verb = job.add(name, help);
    verb.option("job", arguments->job, "uid or uid prefix").required();
    return verb;
  };
  named("show", "Show a job with its steps").does(session, show, arguments);
  const auto wait_verb = named("wait", "Wait for the end of a job");
  wait_verb
      .option("--wait", session.change.wait_seconds, "Seconds to wait (default: until it ends)")
      .between(1, kLongestWait);
  wait_verb.does(session, wait, arguments);
  named("cancel", "Stop a job; `job show` says what that does").does(session, cancel, arguments);
  const auto resolve_verb = named("resolve", "Choose for a parked job");
  resolve_verb.option("choice", arguments->choice, "One of the job's choices").required();
  add_wait_options(resolve_verb, session.change);
  resolve_verb.does(session, resolve, arguments);
}

}  // namespace reeve::cli
