#include "server/app/views.h"

#include <algorithm>
#include <limits>

#include "server/app/words.h"

namespace reeve::server {

namespace {

constexpr std::int64_t kMicros = 1'000'000;

void fill_times(const db::ObjectHead& row, auto& message) {
  *message.mutable_create_time() = to_proto(row.create_time);
  *message.mutable_update_time() = to_proto(row.update_time);
  message.set_etag(row.etag);
  message.set_revision(row.revision);
}

}  // namespace

google::protobuf::Timestamp to_proto(WallTime time) {
  google::protobuf::Timestamp stamp;
  const std::int64_t micros = to_micros(time);
  std::int64_t seconds = micros / kMicros;
  std::int64_t rest = micros % kMicros;
  if (rest < 0) {
    rest += kMicros;
    --seconds;
  }
  stamp.set_seconds(seconds);
  stamp.set_nanos(static_cast<std::int32_t>(rest * 1000));
  return stamp;
}

WallTime time_of(const google::protobuf::Timestamp& time) {
  constexpr std::int64_t kLimit = 253'402'300'799;  // end of the year 9999, the format's own limit
  const std::int64_t seconds = std::clamp<std::int64_t>(time.seconds(), -kLimit, kLimit);
  const std::int32_t nanos = std::clamp(time.nanos(), 0, 999'999'999);
  return from_micros(seconds * kMicros + nanos / 1000);
}

Status merge_document(const std::string& bytes, std::string_view what,
                      google::protobuf::MessageLite& into) {
  if (into.MergeFromString(bytes)) return {};
  return Error(Code::DataLoss, "BAD_DOCUMENT",
               "the stored document of " + std::string(what) + " cannot be read");
}

Status fill(const db::Vm& row, v1::VirtualMachine& vm) {
  // What was seen is in other fields than what was asked for: they add up.
  TRY(merge_document(row.spec, "machine " + row.uid, vm));
  TRY(merge_document(row.status, "machine " + row.uid, vm));
  vm.set_name(vm_name(row.uid));
  vm.set_uid(row.uid);
  vm.set_display_name(row.name);
  vm.set_state(vm_state_of(row.state));
  vm.set_origin(vm_origin_of(row.origin));
  auto& status = *vm.mutable_status();
  if (row.status_observed_at) *status.mutable_observe_time() = to_proto(*row.status_observed_at);
  fill_times(row, vm);
  return {};
}

Result<v1::VirtualMachine> to_proto(const db::Vm& row) {
  v1::VirtualMachine vm;
  TRY(fill(row, vm));
  return vm;
}

Result<v1::Image> to_proto(const db::Image& row) {
  auto image = TRY(document<v1::Image>(row.spec, "image " + row.uid));
  const auto seen = TRY(document<v1::Image>(row.status, "image " + row.uid));
  image.set_name(image_name(row.uid));
  image.set_uid(row.uid);
  image.set_display_name(row.name);
  image.set_kind(image_kind_of(row.kind));
  image.set_format(disk_format_of(row.format));
  image.set_state(image_state_of(row.state));
  image.set_size_bytes(row.size_bytes);
  image.set_virtual_size_bytes(seen.virtual_size_bytes());
  image.set_sha256(row.sha256);
  image.clear_copies();
  if (!row.host_uid.empty() && image.state() == v1::Image::STATE_READY)
    image.add_copies()->set_host(host_name(row.host_uid));
  fill_times(row, image);
  return image;
}

Result<v1::Host> to_proto(const db::Host& row) {
  auto host = TRY(document<v1::Host>(row.spec, "host " + row.uid));
  host.set_name(host_name(row.uid));
  host.set_uid(row.uid);
  host.set_display_name(row.name);
  host.set_state(host_state_of(row.state));
  *host.mutable_status() = TRY(document<v1::HostStatus>(row.status, "host " + row.uid));
  if (row.status_observed_at)
    *host.mutable_status()->mutable_observe_time() = to_proto(*row.status_observed_at);
  if (row.last_seen) *host.mutable_status()->mutable_last_seen_time() = to_proto(*row.last_seen);
  fill_times(row, host);
  return host;
}

Result<v1::Hypervisor> to_proto(const db::Hypervisor& row) {
  auto hypervisor = TRY(document<v1::Hypervisor>(row.status, "hypervisor " + row.uid));
  hypervisor.set_name(host_name(row.host_uid) + "/hypervisors/" + row.name);
  hypervisor.set_id(row.name);
  hypervisor.set_kind(hypervisor_kind_of(row.kind));
  return hypervisor;
}

Result<v1::Job> to_proto(const db::Job& row) {
  auto record = TRY(document<journal::v1::JobRecord>(row.doc, "job " + row.uid));
  auto job = std::move(*record.mutable_view());
  job.set_revision(row.revision);
  return job;
}

std::string vm_spec_document(const v1::VirtualMachine& vm) {
  v1::VirtualMachine kept;
  *kept.mutable_labels() = vm.labels();
  kept.set_description(vm.description());
  *kept.mutable_spec() = vm.spec();
  return kept.SerializeAsString();
}

std::string vm_status_document(const v1::VirtualMachine& vm) {
  v1::VirtualMachine kept;
  kept.set_state_reason(vm.state_reason());
  *kept.mutable_status() = vm.status();
  kept.mutable_status()->clear_observe_time();
  kept.mutable_status()->clear_use();
  return kept.SerializeAsString();
}

db::VmDevices devices_of(const v1::VmSpec& spec) {
  db::VmDevices devices;
  for (const auto& nic : spec.nics())
    if (!nic.mac().empty()) devices.macs.push_back(nic.mac());
  const auto add_image = [&](const std::string& name) {
    if (!name.empty()) devices.image_uids.push_back(name.substr(name.find('/') + 1));
  };
  for (const auto& disk : spec.disks()) add_image(disk.image());
  add_image(spec.boot().kernel());
  add_image(spec.boot().initrd());
  return devices;
}

std::string image_spec_document(const v1::Image& image) {
  v1::Image kept;
  *kept.mutable_labels() = image.labels();
  kept.set_description(image.description());
  return kept.SerializeAsString();
}

std::string image_status_document(const v1::Image& image) {
  v1::Image kept;
  kept.set_virtual_size_bytes(image.virtual_size_bytes());
  return kept.SerializeAsString();
}

void redact(v1::VirtualMachine& vm) {
  if (vm.spec().has_cloud_init()) vm.mutable_spec()->mutable_cloud_init()->Clear();
}

}  // namespace reeve::server
