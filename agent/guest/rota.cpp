#include "agent/guest/rota.h"

#include <algorithm>
#include <set>

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kFirst{10};  // a guest that has just started may be up soon
constexpr std::chrono::seconds kUsual{60};
constexpr std::chrono::seconds kLongest{600};

}  // namespace

std::optional<std::string> Rota::next(const std::vector<std::string>& running) {
  const std::set<std::string> present(running.begin(), running.end());
  Lock lock(mutex_);
  std::erase_if(known_, [&](const auto& entry) { return !present.contains(entry.first); });
  for (const auto& uid : running) known_[uid];
  const auto first =
      std::min_element(known_.begin(), known_.end(),
                       [](const auto& a, const auto& b) { return a.second.due < b.second.due; });
  if (first == known_.end() || clock_.monotonic() < first->second.due) return {};
  auto& known = first->second;
  known.silence = std::clamp(known.heard ? kUsual : known.silence * 2, kFirst, kUsual);
  known.due = clock_.monotonic() + known.silence;
  return first->first;
}

bool Rota::answered(const std::string& uid, GuestFacts facts) {
  Lock lock(mutex_);
  const auto it = known_.find(uid);
  if (it == known_.end()) return false;  // it has ended meanwhile
  auto& known = it->second;
  facts = bounded(std::move(facts));
  const bool changed = !known.heard || known.heard->facts != facts;
  const bool again = changed && known.heard && known.changes;
  known.changes = changed && known.heard;
  known.pause = again ? std::min(known.pause * 2, kLongest) : kUsual;
  known.due = clock_.monotonic() + known.pause;
  known.heard = Heard{.facts = std::move(facts), .at = clock_.wall()};
  return changed;
}

std::vector<std::string> Rota::ask(
    const std::vector<std::string>& running,
    const std::function<Result<GuestFacts>(const std::string& uid)>& question) {
  constexpr int kAtOnce = 8;
  std::vector<std::string> changed;
  const auto begin = clock_.monotonic();
  for (int i = 0; i < kAtOnce && clock_.monotonic() - begin < kInOneGo; ++i) {
    const auto uid = next(running);
    if (!uid) break;
    auto facts = question(*uid);
    if (!facts.ok()) break;
    if (answered(*uid, std::move(facts).value())) changed.push_back(*uid);
  }
  return changed;
}

std::optional<Rota::Heard> Rota::heard(const std::string& uid) const {
  Lock lock(mutex_);
  const auto it = known_.find(uid);
  return it == known_.end() ? std::nullopt : it->second.heard;
}

void Rota::forget(const std::string& uid) {
  Lock lock(mutex_);
  known_.erase(uid);
}

}  // namespace reeve::agent
