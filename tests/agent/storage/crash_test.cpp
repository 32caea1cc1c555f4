// The agent dies at every point of every change: a child process is the agent, and ends itself
// there.
#include <csignal>
#include <filesystem>

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/link/dir_outbox.h"
#include "base/file.h"
#include "tests/agent/storage/store_samples.h"

using namespace reeve;
using namespace reeve::test;
using reeve::v1::DISK_FORMAT_QCOW2;

namespace {

using Change = std::function<bool(agent::DirStore&)>;

/// Runs `change` in a child that kills itself at the point number `at`. True when it got that far.
bool dies_at(const StoreScene& scene, int at, const Change& change) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int passed = 0;
    auto store = agent::DirStore::open(
        {.data = scene.data(), .import_dirs = {scene.imports()}, .at = [&](std::string_view) {
           if (passed++ == at) ::kill(::getpid(), SIGKILL);
         }});
    const bool done = store.ok() && change(*store.value());
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) return true;
  REQUIRE(WEXITSTATUS(status) == 0);
  return false;
}

/// After a death at each point: `holds` is true of the store that opens next, nothing half-made is
/// left, and the change can be done again.
void check_every_point(const StoreScene& scene, const Change& change,
                       const std::function<void(agent::DirStore&)>& holds) {
  for (int at = 0;; ++at) {
    REQUIRE(at < 50);
    const bool died = dies_at(scene, at, change);
    auto store = scene.open();
    CHECK(scene.is_swept());
    holds(*store);
    CHECK(change(*store));
    holds(*store);
    if (!died) {
      CHECK(at > 0);
      return;
    }
  }
}

}  // namespace

TEST_CASE("an agent killed during an import leaves the whole image or none", "[agent]") {
  StoreScene scene;
  const auto action = import_of(scene.put_qcow2("q", 1 << 20), DISK_FORMAT_QCOW2);
  for (int at = 0;; ++at) {
    REQUIRE(at < 50);
    const bool died = dies_at(
        scene, at, [&](agent::DirStore& store) { return store.import_file(action, go_on).ok(); });
    auto store = scene.open();
    CHECK(scene.is_swept());
    const auto there = store->image(action.uid());
    CHECK((there.ok() || there.error().reason() == "IMAGE_NOT_FOUND"));
    CHECK(store->import_file(action, go_on).ok());
    CHECK(store->remove_image(action.uid()).ok());
    if (!died) break;
  }
}

TEST_CASE("an agent killed while preparing a guest leaves all of it or nothing", "[agent]") {
  StoreScene scene;
  auto spec = guest_on(nullptr);
  spec.mutable_seed()->set_user_data("#cloud-config\n");
  for (int at = 0;; ++at) {
    REQUIRE(at < 50);
    const bool died =
        dies_at(scene, at, [&](agent::DirStore& store) { return store.prepare_guest(spec).ok(); });
    auto store = scene.open();
    CHECK(scene.is_swept());
    CHECK(store->has_guest(spec.uid()).value() == store->is_prepared(spec).value());
    CHECK(store->prepare_guest(spec).ok());
    CHECK(store->is_prepared(spec).value());
    CHECK(store->remove_guest(spec.uid()).ok());
    if (!died) break;
  }
}

TEST_CASE("an agent killed while removing leaves nothing that looks whole", "[agent]") {
  StoreScene scene;
  const auto spec = guest_on(nullptr);
  const auto action = import_of(scene.put_qcow2("q", 1 << 20), DISK_FORMAT_QCOW2);
  const Change change = [&](agent::DirStore& store) {
    return store.prepare_guest(spec).ok() && store.import_file(action, go_on).ok() &&
           store.remove_guest(spec.uid()).ok() && store.remove_image(action.uid()).ok();
  };
  check_every_point(scene, change, [&](agent::DirStore& store) {
    CHECK(store.has_guest(spec.uid()).value() == store.is_prepared(spec).value());
    const auto image = store.image(action.uid());
    CHECK((image.ok() || image.error().reason() == "IMAGE_NOT_FOUND"));
  });
}

TEST_CASE("an agent killed around a saved state never leaves one that was used and is offered",
          "[agent]") {
  StoreScene scene;
  const auto spec = guest_on(nullptr);
  const auto uid = spec.uid();
  REQUIRE(scene.open()->prepare_guest(spec).ok());
  for (int at = 0;; ++at) {
    REQUIRE(at < 50);
    {
      auto store = scene.open();
      REQUIRE(write_file_durably(store->new_saved_state(uid).value(), "memory").ok());
    }
    const std::string ran = scene.data() + "/ran";
    const bool died = dies_at(scene, at, [&](agent::DirStore& store) {
      return store.keep_saved_state(uid).ok() && store.use_saved_state(uid).ok() &&
             write_file_durably(ran, "").ok() && store.free_used_state(uid).ok();
    });
    auto store = scene.open();
    const bool offered = store->saved_state(uid).ok();
    const bool begun = store->begun_saved_state(uid).ok();
    const bool used = store->was_state_used(uid).value();
    CHECK(int(offered) + int(begun) + int(used) == 1);
    if (offered) CHECK(store->check_saved_state(uid).ok());
    if (std::filesystem::exists(ran)) CHECK(used);
    REQUIRE(remove_file(ran).ok());
    if (!died) break;
  }
}

TEST_CASE("the outbox brings back every result and the epoch, and sets damage aside", "[agent]") {
  StoreScene scene;
  agent::v1::StepResult result;
  std::uint64_t first = 0;
  {
    auto outbox = agent::DirOutbox::open(scene.data()).value();
    REQUIRE(outbox->load().value().empty());
    CHECK(outbox->epoch().value() == 0);
    REQUIRE(outbox->set_epoch(7).ok());
    result.set_key("a");
    first = outbox->put(result).value();
    result.set_key("b");
    REQUIRE(outbox->put(result).ok());
  }
  REQUIRE(write_file_durably(scene.data() + "/outbox/00000000000000000090.pb", "\xff\xff").ok());
  REQUIRE(write_file_durably(scene.data() + "/outbox/00000000000000000091.pb.new", "half").ok());
  auto outbox = agent::DirOutbox::open(scene.data()).value();
  const auto kept = outbox->load().value();
  REQUIRE(kept.size() == 2);
  CHECK(kept[0].second.key() == "a");
  CHECK(kept[1].second.key() == "b");
  CHECK(outbox->epoch().value() == 7);
  REQUIRE(outbox->remove(first).ok());
  result.set_key("c");
  CHECK(outbox->put(result).value() > 90);
  CHECK(outbox->load().value().size() == 2);
}
