// server/jobs/recipes/recipes.h - one recipe per kind of job: checks, then the list of its steps.
//
// A recipe is called with a request that check_request() has passed. Errors: see the .proto of the
// method.
#pragma once

#include "server/jobs/plan.h"

namespace reeve::server::recipes {

Result<Plan> import_image(Inventory&, const FreshIds&, const v1::ImportImageRequest&);
Result<Plan> delete_image(Inventory&, const FreshIds&, const v1::DeleteImageRequest&);
Result<Plan> create_vm(Inventory&, const FreshIds&, const v1::CreateVmRequest&);
Result<Plan> start_vm(Inventory&, const FreshIds&, const v1::StartVmRequest&);
Result<Plan> stop_vm(Inventory&, const FreshIds&, const v1::StopVmRequest&);
Result<Plan> reboot_vm(Inventory&, const FreshIds&, const v1::RebootVmRequest&);
Result<Plan> pause_vm(Inventory&, const FreshIds&, const v1::PauseVmRequest&);
Result<Plan> resume_vm(Inventory&, const FreshIds&, const v1::ResumeVmRequest&);
Result<Plan> save_vm(Inventory&, const FreshIds&, const v1::SaveVmRequest&);
Result<Plan> restore_vm(Inventory&, const FreshIds&, const v1::RestoreVmRequest&);
Result<Plan> update_vm(Inventory&, const FreshIds&, const v1::UpdateVmRequest&);
Result<Plan> delete_vm(Inventory&, const FreshIds&, const v1::DeleteVmRequest&);

}  // namespace reeve::server::recipes
