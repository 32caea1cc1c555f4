// Saving and restoring a virtio device behind PCI.
#include <algorithm>
#include <utility>

#include "hypervisor_core/virtio/pci_layout.h"
#include "hypervisor_core/virtio/transport_pci.h"
#include "reeve/core/v1/pci_state.pb.h"

namespace reeve::core::virtio {

using namespace pci_layout;

namespace {

Error refused_state(const std::string& what) {
  return Error{Code::InvalidArgument, "DEVICE_STATE", what};
}

}  // namespace

void TransportPci::save(v1::VirtioPciState& state) const {
  {
    Lock lock(mutex_);
    state.set_version(1);
    state.set_device(std::string(device_.name()));
    state.set_status(common_.status);
    state.set_driver_features(common_.driver_features);
    state.set_device_feature_select(common_.device_feature_select);
    state.set_driver_feature_select(common_.driver_feature_select);
    state.set_queue_select(common_.queue_select);
    state.set_config_vector(vectors_[queue_count_]);
    state.set_config_generation(common_.generation);
    state.set_interrupt_status(interrupt_status_);
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      auto& queue = *state.add_queues();
      queue.set_size(queues_[i].size);
      queue.set_descriptors(queues_[i].descriptors);
      queue.set_available(queues_[i].available);
      queue.set_used(queues_[i].used);
      queue.set_enabled(queues_[i].enabled);
      queue.set_vector(vectors_[i]);
    }
  }
  for (const auto& slot : slots_) {
    auto& queue = *state.mutable_queues(slot.queue->index());
    queue.set_next_available(slot.queue->position().next_available);
    queue.set_next_used(slot.queue->position().next_used);
  }
  msix_.save(*state.mutable_msix());
  state.set_device_state(device_.save_state());
}

Status TransportPci::load(const v1::VirtioPciState& state) {
  const std::string name(device_.name());
  if (state.version() != 1 || state.device() != name)
    return refused_state("the state is not one of " + name);
  if (state.queues_size() != static_cast<int>(queue_count_))
    return refused_state(name + " had another number of queues");
  // Before FEATURES_OK the register holds whatever the driver wrote.
  const bool agreed = (state.status() & kStatusFeaturesOk) != 0;
  if (agreed && (state.driver_features() & ~offered_) != 0)
    return refused_state(name + " used features that this version does not have");
  std::vector<QueuePosition> positions;
  {
    Lock lock(mutex_);
    clear_registers();
    const auto vector_of = [&](std::uint32_t saved) {
      return saved < msix_.vectors() ? static_cast<std::uint16_t>(saved) : kNoVector;
    };
    common_ = {.device_feature_select = state.device_feature_select(),
               .driver_feature_select = state.driver_feature_select(),
               .driver_features = state.driver_features(),
               .queue_select = static_cast<std::uint16_t>(state.queue_select()),
               .status = static_cast<std::uint8_t>(state.status()),
               .generation = static_cast<std::uint8_t>(state.config_generation())};
    vectors_[queue_count_] = vector_of(state.config_vector());
    interrupt_status_ = static_cast<std::uint8_t>(state.interrupt_status());
    for (std::size_t i = 0; i < queue_count_; ++i) {
      const auto& queue = state.queues(static_cast<int>(i));
      queues_[i] = {.size = static_cast<std::uint16_t>(queue.size()),
                    .enabled = queue.enabled(),
                    .descriptors = queue.descriptors(),
                    .available = queue.available(),
                    .used = queue.used()};
      vectors_[i] = vector_of(queue.vector());
      positions.push_back({.next_available = static_cast<std::uint16_t>(queue.next_available()),
                           .next_used = static_cast<std::uint16_t>(queue.next_used())});
    }
  }
  TRY(msix_.load(state.msix()));
  if (agreed && (state.status() & kStatusDriverOk) != 0) {
    const auto made = make_queues(positions);
    // Queues that could not be made there either: the driver was told to reset.
    if (!made.ok() && (state.status() & kStatusNeedsReset) == 0) return made;
    active_ = made.ok();
    if (active_) device_.activate({.features = state.driver_features(), .interrupts = this});
  }
  return device_.load_state(state.device_state());
}

}  // namespace reeve::core::virtio
