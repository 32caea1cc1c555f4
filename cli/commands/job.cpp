// cli/commands/job.cpp - reeve job: list, show, wait, cancel, resolve.
#include <fmt/format.h>

#include "cli/commands/commands.h"
#include "cli/follow.h"
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
  std::size_t limit = 50;
  bool active = false;
  bool watch = false;
};

Status list(Session& session, const JobArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  std::string filter = arguments.filter;
  if (arguments.active) filter += filter.empty() ? "active = true" : " AND active = true";
  const auto listed = TRY(newest_jobs(client, filter, arguments.limit));
  print(render_list(listed.items, job_columns(), format));
  if (!arguments.watch) return {};
  auto options = watch_from("jobs", listed, filter);
  options.progress = true;
  return watch(session, std::move(options));
}

std::string describe(const v1::Job& job) {
  std::string out =
      render_table(make_table(std::vector{job}, job_columns(), Columns::Usual)) + "\n";
  int number = 0;
  for (const auto& step : job.steps()) {
    out += fmt::format("{:2}. {:<28} {:<8}", ++number, step.title(),
                       short_enum(v1::JobStep::State_Name(step.state()), "STATE_"));
    if (step.attempts() > 1) out += fmt::format(" attempts {}", step.attempts());
    if (!step.outcome().empty()) out += "  " + printable(step.outcome());
    if (step.has_error()) out += "  " + printable(step.error().message());
    out += "\n";
  }
  for (const auto& diff : job.diff())
    out += fmt::format("changes {}: {} -> {}\n", diff.field(), printable(diff.before()),
                       printable(diff.after()));
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
  print(format == Format::Table ? describe(job) : render_one(job, job_columns(), format));
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
  list_verb.option("-f,--filter", arguments->filter, "e.g. 'kind = StartVm'");
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
