-- What lists are ordered by: update_time was missing, and a list of machines in one state sorted them all.
CREATE INDEX host_by_update_time ON host (update_time, uid);
CREATE INDEX vm_by_update_time ON vm (update_time, uid);
CREATE INDEX vm_by_state_create_time ON vm (state, create_time, uid);
CREATE INDEX vm_by_state_update_time ON vm (state, update_time, uid);
CREATE INDEX image_by_update_time ON image (update_time, uid);
-- Nothing is ordered by these.
DROP INDEX hypervisor_by_create_time;
DROP INDEX vm_by_cpus;
DROP INDEX vm_by_memory;
DROP INDEX image_by_size;
