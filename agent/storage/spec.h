// agent/storage/spec.h - what all stores agree on: when a prepared guest is the one that is asked
// for, and what a driver is told about it.
#pragma once

#include <functional>
#include <string>

#include "agent/driver/driver.h"
#include "base/clock.h"
#include "base/status.h"
#include "reeve/agent/v1/guest.pb.h"
#include "reeve/agent/v1/store.pb.h"

namespace reeve::agent {

/// Equal in every field.
bool same_spec(const v1::GuestSpec& a, const v1::GuestSpec& b);
/// True when both are made of the same disks and seed: one can become the other without touching
/// files.
bool same_files(const v1::GuestSpec& a, const v1::GuestSpec& b);

/// Name of a disk's file in the folder of its guest: "<id>.qcow2" or "<id>.raw".
std::string disk_file_name(const v1::GuestDisk& disk);

/// The definition of a guest in `folder`. `image_path` finds the file of an image.
Result<GuestDefinition> make_definition(
    const v1::GuestSpec& spec, const std::string& folder,
    const std::function<Result<std::string>(std::string_view uid)>& image_path);

google::protobuf::Timestamp timestamp_of(WallTime time);

Error image_not_found(std::string_view uid);
Error guest_files_not_found(std::string_view uid);

}  // namespace reeve::agent
