#include "agent/driver/libvirt/calls.h"

#include <pthread.h>

#include "base/check.h"

namespace reeve::agent::libvirt {

using std::chrono::steady_clock;

namespace {

Error busy(std::string_view attempt, std::string_view why) {
  return Error(Code::DeadlineExceeded, "HYPERVISOR_BUSY",
               std::string(attempt) + ": " + std::string(why))
      .remedy("See whether libvirtd and the guest's storage respond; the call may be repeated.");
}

}  // namespace

Calls::Calls(const std::string& name, std::size_t threads) {
  REEVE_CHECK(threads > 0 && name.size() <= 13);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([state = state_] { serve(state); });
    pthread_setname_np(threads_.back().native_handle(), (name + "-" + std::to_string(i)).c_str());
  }
}

Calls::~Calls() {
  bool stuck = false;
  {
    Lock lock(state_->mutex);
    state_->stopping = true;
    state_->waiting.clear();
    state_->wake.notify_all();
    stuck = state_->overdue > 0;
  }
  for (auto& thread : threads_) {
    if (stuck) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

std::size_t Calls::overdue() const {
  Lock lock(state_->mutex);
  return state_->overdue;
}

void Calls::serve(const std::shared_ptr<State>& state) {
  for (;;) {
    std::shared_ptr<Call> call;
    {
      Lock lock(state->mutex);
      while (state->waiting.empty() && !state->stopping) state->wake.wait(lock);
      if (state->stopping) return;
      call = std::move(state->waiting.front());
      state->waiting.pop_front();
      call->stage = Stage::Running;
    }
    call->work();
    call->work = nullptr;  // what it owned goes here, not on the caller's thread
    Lock lock(state->mutex);
    if (call->stage == Stage::Overdue) --state->overdue;
    call->stage = Stage::Done;
    state->finished.notify_all();
  }
}

Status Calls::wait_for(std::string_view attempt, std::chrono::milliseconds deadline,
                       std::function<void()> work) {
  auto call = std::make_shared<Call>();
  call->work = std::move(work);
  const auto end = steady_clock::now() + deadline;
  Lock lock(state_->mutex);
  if (state_->overdue >= threads_.size())
    return busy(attempt, "earlier calls are still unanswered");
  state_->waiting.push_back(call);
  state_->wake.notify_one();
  while (call->stage != Stage::Done) {
    const auto left = end - steady_clock::now();
    if (left <= steady_clock::duration::zero()) break;
    state_->finished.wait_for(lock, left);
  }
  if (call->stage == Stage::Done) return {};
  if (call->stage == Stage::Waiting) {
    std::erase(state_->waiting, call);
    return busy(attempt, "no answer in time; not begun");
  }
  call->stage = Stage::Overdue;
  ++state_->overdue;
  return busy(attempt, "no answer in time; its effect is unknown");
}

}  // namespace reeve::agent::libvirt
