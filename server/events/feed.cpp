#include "server/events/feed.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/text.h"
#include "db/repo/feed_repo.h"
#include "server/app/errors.h"
#include "server/app/list_filter.h"
#include "server/app/log_page.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {
constexpr int kBatch = 256;

/// The collection and uid in the name of a resource that has events.
Result<std::pair<std::string_view, std::string>> place_of(std::string_view resource,
                                                          std::string_view field) {
  for (const std::string_view collection : {"hosts", "vms", "images", "jobs"})
    if (resource.substr(0, resource.find('/')) == collection)
      return std::pair(collection, TRY(uid_of(resource, collection, field)));
  return bad_field(field, "must be hosts/{uid}, vms/{uid}, images/{uid} or jobs/{uid}");
}

Result<db::Restriction> of_kind(const std::string& value, db::ReadTransaction&) {
  const auto kind = TRY(filter_word(value, "hosts vms images jobs"));
  return db::Restriction{.column = kind == "hosts" ? db::Column::ShownKind : db::Column::Kind,
                         .value = kind.substr(0, kind.size() - 1)};
}

Result<db::Restriction> of_resource(const std::string& value, db::ReadTransaction&) {
  auto [collection, uid] = TRY(place_of(value, "filter"));
  return db::Restriction{.column = collection == "hosts" ? db::Column::ShownUid : db::Column::Uid,
                         .value = std::move(uid)};
}

Result<db::Restriction> of_type(const std::string& value, db::ReadTransaction&) {
  const bool gone = TRY(filter_word(value, "changed deleted")) == "deleted";
  return db::Restriction{.column = db::Column::ShownGone, .value = std::int64_t{gone}};
}

Result<db::Restriction> of_job(const std::string& value, db::ReadTransaction&) {
  return db::Restriction{.column = db::Column::JobUid,
                         .value = TRY(uid_of(value, "jobs", "filter"))};
}

constexpr LogPage::Log kLog{.number = db::Column::Revision,
                            .order_key = "revision",
                            .usual_order = "revision",
                            .indexed = {db::Column::Uid, db::Column::Kind}};

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    {.name = "kind", .type = FilterKey::Type::Other, .read = of_kind},
    {.name = "resource", .type = FilterKey::Type::Other, .read = of_resource},
    {.name = "type", .type = FilterKey::Type::Other, .read = of_type},
    {"actor", db::Column::Actor},
    {.name = "job", .type = FilterKey::Type::Other, .read = of_job},
    {"revision", db::Column::Revision, FilterKey::Type::Number},
    {"time", db::Column::Time, FilterKey::Type::Time},
});

}  // namespace

class Feed::Handle final : public Watch {
 public:
  Handle(Feed& feed, std::uint64_t id, std::shared_ptr<WatchQueue> queue)
      : feed_(&feed),
        alive_(feed.alive_),
        loop_(&feed.parts_.loop),
        id_(id),
        queue_(std::move(queue)) {}
  ~Handle() override { queue_->close(); }

  std::shared_ptr<const v1::Event> take() override {
    auto item = queue_->take();
    // Room again: whoever is behind may be fed on.
    if (item == nullptr || queue_->size() == kBatch / 2) wake();
    return item;
  }
  std::optional<Error> end() const override { return queue_->ended(); }

 private:
  void wake() {
    loop_->post([feed = feed_, alive = alive_, id = id_] {
      if (!alive.expired()) feed->wake(id);
    });
  }
  Feed* const feed_;
  const std::weak_ptr<bool> alive_;
  Loop* const loop_;
  const std::uint64_t id_;
  const std::shared_ptr<WatchQueue> queue_;
};

Feed::Feed(FeedParts parts) : parts_(parts) {
  post([this] { bookmarks(); });
}

Feed::~Feed() {
  if (timer_ != 0) parts_.loop.cancel(timer_);
}

void Feed::post(Task task) {
  parts_.loop.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

Result<std::unique_ptr<Watch>> Feed::watch(const Caller& caller, const v1::WatchRequest& request,
                                           std::function<void()> ready) {
  Watcher watcher{.kinds = TRY(kinds_of(request.kinds())),
                  .permissions = caller.permissions,
                  .progress = request.progress()};
  struct Range {
    std::int64_t floor = 0;
    std::int64_t head = 0;
  };
  const auto read_range = [](db::ReadTransaction& tx) -> Result<Range> {
    db::FeedReader reader(tx);
    const auto floor = TRY(reader.floor());
    return Range{floor, TRY(reader.revision())};
  };
  const auto range = TRY(parts_.readers.read(read_range));
  if (request.from_revision() < -1 || request.from_revision() > range.head)
    return bad_field("from_revision",
                     "was never given out; the newest is " + std::to_string(range.head));
  watcher.position = request.from_revision();
  if (request.from_revision() == -1) watcher.position = range.head;
  if (request.from_revision() == 0) watcher.position = range.floor;
  watcher.queue = std::make_shared<WatchQueue>(parts_.queue_capacity, std::move(ready));
  const std::uint64_t id = next_id_++;
  auto handle = std::make_unique<Handle>(*this, id, watcher.queue);
  post([this, id, watcher = std::move(watcher)]() mutable {
    if (stopped_) {
      watcher.queue->end(Error(Code::Unavailable, "SERVER_STOPPING", "the server is stopping"));
      return;
    }
    const auto it = watchers_.emplace(id, std::move(watcher)).first;
    catch_up(it->second);
  });
  return std::unique_ptr<Watch>(std::move(handle));
}

void Feed::on_commit() {
  if (pump_posted_.exchange(true)) return;
  post([this] { pump(); });
}

void Feed::on_progress(const v1::Job& job) {
  auto event = std::make_shared<v1::Event>();
  event->set_type(v1::Event::TYPE_PROGRESS);
  event->set_revision(job.revision());
  event->set_resource(job.name());
  event->set_job(job.name());
  *event->mutable_time() = to_proto(parts_.loop.clock().wall());
  *event->mutable_job_object() = job;
  post([this, event = WatchQueue::Item(std::move(event))] {
    for (auto& [id, watcher] : watchers_) {
      const bool behind = !watcher.live || watcher.queue->size() > parts_.queue_capacity / 2;
      if (watcher.progress && !behind && wants(watcher, db::ObjectKind::Job))
        watcher.queue->push(event);
    }
  });
}

void Feed::wake(std::uint64_t id) {
  const auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  if (!it->second.live) catch_up(it->second);
}

void Feed::pump() {
  pump_posted_ = false;
  sweep();
  while (fan_out()) {
  }
  for (auto& [id, watcher] : watchers_)
    if (!watcher.live) catch_up(watcher);
}

/// One batch of what is new; true when there may be more.
bool Feed::fan_out() {
  const bool anybody = std::ranges::any_of(watchers_, [](const auto& w) { return w.second.live; });
  const auto more = parts_.readers.read([&](db::ReadTransaction& tx) -> Result<bool> {
    db::FeedReader reader(tx);
    if (!anybody || !head_known_) {
      head_ = TRY(reader.revision());
      head_known_ = true;
      for (auto& [id, watcher] : watchers_)
        watcher.live = false;  // they catch up from where they are
      return false;
    }
    const auto versions = TRY(reader.versions(head_, {}, kBatch));
    Inventory inventory(tx, parts_.loop.clock().wall());
    for (const auto& version : versions) {
      std::map<std::uint32_t, WatchQueue::Item> rendered;  // what one may do differs by permission
      for (auto& [id, watcher] : watchers_) {
        if (!watcher.live || version.revision <= watcher.position || !wants(watcher, version.kind))
          continue;
        auto& item = rendered[watcher.permissions.bits()];
        if (!item) {
          auto event = TRY(render(inventory, version, watcher.permissions, Detail::Now));
          if (!event) break;
          item = std::make_shared<const v1::Event>(std::move(*event));
        }
        push(watcher, item);
      }
    }
    if (!versions.empty()) head_ = versions.back().revision;
    for (auto& [id, watcher] : watchers_)
      if (watcher.live) watcher.position = std::max(watcher.position, head_);
    return versions.size() == kBatch;
  });
  if (more.ok()) return more.value();
  log::error("change feed cannot be read", more.error());
  for (auto& [id, watcher] : watchers_) watcher.live = false;
  return false;
}

void Feed::catch_up(Watcher& watcher) {
  const auto done = parts_.readers.read([&](db::ReadTransaction& tx) -> Status {
    db::FeedReader reader(tx);
    Inventory inventory(tx, parts_.loop.clock().wall());
    const auto revision = TRY(reader.revision());
    while (watcher.queue->size() + kBatch <= parts_.queue_capacity) {
      auto versions = reader.versions(watcher.position, watcher.kinds, kBatch);
      if (!versions.ok() && versions.error().reason() == "REVISION_COMPACTED") {
        auto item = std::make_shared<const v1::Event>(gap(revision, inventory.now()));
        push(watcher, std::move(item));
        watcher.position = revision;
        continue;
      }
      if (!versions.ok()) return versions.error();
      for (const auto& version : versions.value()) {
        auto event = TRY(render(inventory, version, watcher.permissions, Detail::Now));
        watcher.position = version.revision;
        if (event) push(watcher, std::make_shared<const v1::Event>(std::move(*event)));
      }
      if (versions.value().size() == kBatch) continue;
      watcher.position = std::max(watcher.position, revision);
      push(watcher, std::make_shared<const v1::Event>(bookmark(watcher.position, inventory.now())));
      watcher.live = true;
      if (!head_known_) {
        head_ = revision;
        head_known_ = true;
      }
      break;
    }
    return {};
  });
  if (!done.ok()) log::error("backlog of a watch cannot be read", done.error());
}

bool Feed::push(Watcher& watcher, WatchQueue::Item item) {
  watcher.told_anything = true;
  if (watcher.queue->push(std::move(item))) return true;
  watcher.live = false;
  watcher.queue->end(
      Error(Code::ResourceExhausted, "WATCH_TOO_SLOW", "events were not read fast enough")
          .remedy("watch again from the last revision read"));
  return false;
}

void Feed::bookmarks() {
  sweep();
  for (auto& [id, watcher] : watchers_) {
    if (watcher.live && !watcher.told_anything)
      push(watcher, std::make_shared<const v1::Event>(
                        bookmark(watcher.position, parts_.loop.clock().wall())));
    watcher.told_anything = false;
  }
  timer_ =
      parts_.loop.post_after(parts_.bookmark_every, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) bookmarks();
      });
}

void Feed::sweep() {
  std::erase_if(watchers_, [](const auto& entry) {
    return entry.second.queue->is_closed() || entry.second.queue->ended();
  });
}

void Feed::stop() {
  stopped_ = true;
  for (auto& [id, watcher] : watchers_)
    watcher.queue->end(Error(Code::Unavailable, "SERVER_STOPPING", "the server is stopping"));
  watchers_.clear();
  if (timer_ != 0) parts_.loop.cancel(timer_);
  timer_ = 0;
}

bool Feed::wants(const Watcher& watcher, db::ObjectKind kind) const {
  return watcher.kinds.empty() || std::ranges::find(watcher.kinds, kind) != watcher.kinds.end();
}

Result<v1::ListEventsResponse> Feed::list(const Caller& caller,
                                          const v1::ListEventsRequest& request) {
  auto rows = TRY(ListFilter::read(request.filter(), kFilterKeys, Labels::No, parts_.readers)).rows;
  const auto kinds = TRY(kinds_of(request.kinds()));
  if (!kinds.empty()) rows.also(db::any_of_kinds(kinds));
  if (!request.resource().empty())
    rows.also(db::Column::Uid, TRY(place_of(request.resource(), "resource")).second);
  const auto page =
      TRY(LogPage::of(request, kLog,
                      "events\n" + request.resource() + "\n" +
                          join({request.kinds().begin(), request.kinds().end()}, ",")));
  std::int64_t from = request.from_revision();
  if (from < 0) return bad_field("from_revision", "must not be negative");
  // Going up, what was given out is not asked for again: it may be compacted away by now.
  if (!page.descending()) from = page.after().value_or(from);
  return parts_.readers.read([&](db::ReadTransaction& tx) -> Result<v1::ListEventsResponse> {
    db::FeedReader reader(tx);
    Inventory inventory(tx, parts_.loop.clock().wall());
    if (from == 0) from = TRY(reader.floor());
    const auto piece = page.piece(rows, from, TRY(reader.revision()));
    auto versions = TRY(reader.list(from, piece.filter, piece.page));
    v1::ListEventsResponse response;
    response.set_next_page_token(page.next_token(piece, versions, &db::Version::revision));
    for (const auto& version : versions) {
      auto event = TRY(render(inventory, version, caller.permissions, Detail::Then));
      if (event) *response.add_events() = std::move(*event);
    }
    return response;
  });
}

}  // namespace reeve::server
