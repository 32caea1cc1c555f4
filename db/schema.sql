-- schema.sql - the sum of all migrations: what a database looks like now. A test compares.
-- What each column holds is said in db/migrations.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE host (
  uid                TEXT PRIMARY KEY NOT NULL,
  name               TEXT NOT NULL UNIQUE,
  state              TEXT NOT NULL,
  address            TEXT NOT NULL,
  cert_key_sha256    TEXT UNIQUE,
  link_epoch         INTEGER NOT NULL,
  link_last_seq      INTEGER NOT NULL,
  last_seen          INTEGER,
  etag               TEXT NOT NULL,
  revision           INTEGER NOT NULL,
  create_time        INTEGER NOT NULL,
  update_time        INTEGER NOT NULL,
  status_observed_at INTEGER,
  spec               BLOB NOT NULL,
  status             BLOB NOT NULL
, link_features TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX host_by_state ON host (state, name);
CREATE INDEX host_by_create_time ON host (create_time, uid);
CREATE INDEX host_by_update_time ON host (update_time, uid);
CREATE TABLE hypervisor (
  uid                TEXT PRIMARY KEY NOT NULL,
  name               TEXT NOT NULL,
  host_uid           TEXT NOT NULL REFERENCES host (uid),
  kind               TEXT NOT NULL,
  state              TEXT NOT NULL,
  etag               TEXT NOT NULL,
  revision           INTEGER NOT NULL,
  create_time        INTEGER NOT NULL,
  update_time        INTEGER NOT NULL,
  status_observed_at INTEGER,
  spec               BLOB NOT NULL,
  status             BLOB NOT NULL,
  UNIQUE (host_uid, name)
) STRICT;
CREATE INDEX hypervisor_by_name ON hypervisor (name, uid);
CREATE INDEX hypervisor_by_state ON hypervisor (state, name, uid);
CREATE TABLE vm (
  uid                TEXT PRIMARY KEY NOT NULL,
  name               TEXT NOT NULL UNIQUE,
  host_uid           TEXT REFERENCES host (uid),
  hypervisor_uid     TEXT REFERENCES hypervisor (uid),
  state              TEXT NOT NULL,
  cpus               INTEGER NOT NULL,
  memory_mib         INTEGER NOT NULL,
  origin             TEXT NOT NULL,
  etag               TEXT NOT NULL,
  revision           INTEGER NOT NULL,
  create_time        INTEGER NOT NULL,
  update_time        INTEGER NOT NULL,
  status_observed_at INTEGER,
  spec               BLOB NOT NULL,
  status             BLOB NOT NULL
) STRICT;
CREATE INDEX vm_by_host ON vm (host_uid, name, cpus, memory_mib);
CREATE INDEX vm_by_hypervisor ON vm (hypervisor_uid, name);
CREATE INDEX vm_by_state ON vm (state, name);
CREATE INDEX vm_by_create_time ON vm (create_time, uid);
CREATE INDEX vm_by_update_time ON vm (update_time, uid);
CREATE INDEX vm_by_state_create_time ON vm (state, create_time, uid);
CREATE INDEX vm_by_state_update_time ON vm (state, update_time, uid);
CREATE TABLE vm_mac (
  mac    TEXT NOT NULL,
  vm_uid TEXT NOT NULL REFERENCES vm (uid) ON DELETE CASCADE,
  PRIMARY KEY (mac, vm_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX vm_mac_by_vm ON vm_mac (vm_uid);
CREATE TABLE vm_image (
  image_uid TEXT NOT NULL,
  vm_uid    TEXT NOT NULL REFERENCES vm (uid) ON DELETE CASCADE,
  PRIMARY KEY (image_uid, vm_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX vm_image_by_vm ON vm_image (vm_uid);
CREATE TABLE image (
  uid                TEXT PRIMARY KEY NOT NULL,
  name               TEXT NOT NULL UNIQUE,
  kind               TEXT NOT NULL,
  format             TEXT NOT NULL,
  state              TEXT NOT NULL,
  size_bytes         INTEGER NOT NULL,
  sha256             TEXT,
  host_uid           TEXT REFERENCES host (uid),
  etag               TEXT NOT NULL,
  revision           INTEGER NOT NULL,
  create_time        INTEGER NOT NULL,
  update_time        INTEGER NOT NULL,
  status_observed_at INTEGER,
  spec               BLOB NOT NULL,
  status             BLOB NOT NULL
) STRICT;
CREATE INDEX image_by_host ON image (host_uid, name);
CREATE INDEX image_by_state ON image (state, name);
CREATE INDEX image_by_kind ON image (kind, name);
CREATE INDEX image_by_create_time ON image (create_time, uid);
CREATE INDEX image_by_update_time ON image (update_time, uid);
CREATE TABLE job (
  uid              TEXT PRIMARY KEY NOT NULL,
  kind             TEXT NOT NULL,
  state            TEXT NOT NULL,
  target_kind      TEXT NOT NULL,
  target_uid       TEXT NOT NULL,
  target_name      TEXT NOT NULL,
  host_uid         TEXT,
  request_id       TEXT,
  actor            TEXT NOT NULL,
  parent_uid       TEXT,
  cancel_requested INTEGER NOT NULL,
  etag             TEXT NOT NULL,
  revision         INTEGER NOT NULL,
  create_time      INTEGER NOT NULL,
  update_time      INTEGER NOT NULL,
  start_time       INTEGER,
  finish_time      INTEGER,
  error_code       INTEGER NOT NULL,
  error_reason     TEXT NOT NULL,
  error_message    TEXT NOT NULL,
  error_remedy     TEXT NOT NULL,
  doc              BLOB NOT NULL,
  plan             BLOB NOT NULL
) STRICT;
CREATE INDEX job_by_create_time ON job (create_time, uid);
CREATE INDEX job_active ON job (create_time, uid) WHERE finish_time IS NULL;
CREATE INDEX job_finished ON job (finish_time) WHERE finish_time IS NOT NULL;
CREATE INDEX job_by_target ON job (target_uid, create_time, uid);
CREATE INDEX job_by_parent ON job (parent_uid, create_time, uid) WHERE parent_uid IS NOT NULL;
CREATE INDEX job_by_host ON job (host_uid, create_time, uid) WHERE host_uid IS NOT NULL;
CREATE INDEX job_by_state ON job (state, create_time, uid);
CREATE TABLE job_step (
  job_uid       TEXT NOT NULL REFERENCES job (uid) ON DELETE CASCADE,
  ordinal       INTEGER NOT NULL,
  name          TEXT NOT NULL,
  host_uid      TEXT,
  state         TEXT NOT NULL,
  attempt       INTEGER NOT NULL,
  start_time    INTEGER,
  finish_time   INTEGER,
  error_code    INTEGER NOT NULL,
  error_reason  TEXT NOT NULL,
  error_message TEXT NOT NULL,
  error_remedy  TEXT NOT NULL,
  facts         BLOB NOT NULL,
  PRIMARY KEY (job_uid, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE job_lock (
  resource     TEXT PRIMARY KEY NOT NULL,
  job_uid      TEXT NOT NULL REFERENCES job (uid),
  acquire_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_lock_by_job ON job_lock (job_uid);
CREATE TABLE request (
  caller      TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  method      TEXT NOT NULL,
  body_sha256 TEXT NOT NULL,
  job_uid     TEXT,
  response    BLOB NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  PRIMARY KEY (caller, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_by_expiry ON request (expire_time);
CREATE TABLE enroll_token (
  hash             TEXT PRIMARY KEY NOT NULL,
  actor            TEXT NOT NULL,
  host_name        TEXT,
  create_time      INTEGER NOT NULL,
  expire_time      INTEGER NOT NULL,
  use_time         INTEGER,
  used_by_host_uid TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX enroll_token_by_expiry ON enroll_token (expire_time);
CREATE TABLE api_token (
  uid           TEXT PRIMARY KEY NOT NULL,
  name          TEXT NOT NULL UNIQUE,
  hash          TEXT NOT NULL UNIQUE,
  role          TEXT NOT NULL,
  actor         TEXT NOT NULL,
  create_time   INTEGER NOT NULL,
  last_use_time INTEGER,
  expire_time   INTEGER,
  revoke_time   INTEGER
) STRICT;
CREATE TABLE audit (
  seq        INTEGER PRIMARY KEY NOT NULL,
  time       INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  peer       TEXT NOT NULL,
  method     TEXT NOT NULL,
  resource   TEXT NOT NULL,
  request_id TEXT NOT NULL,
  job_uid    TEXT NOT NULL,
  summary    TEXT NOT NULL,
  code       INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  prev_hash  TEXT NOT NULL,
  hash       TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX audit_by_actor ON audit (actor, seq);
CREATE INDEX audit_by_resource ON audit (resource, seq);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries never change'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries never go'); END;
CREATE TABLE object_version (
  revision    INTEGER PRIMARY KEY NOT NULL,
  kind        TEXT NOT NULL,
  uid         TEXT NOT NULL,
  name        TEXT NOT NULL,
  state       TEXT NOT NULL,
  host_uid    TEXT,
  etag        TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  time        INTEGER NOT NULL,
  actor       TEXT NOT NULL,
  job_uid     TEXT,
  deleted     INTEGER NOT NULL,
  spec        BLOB NOT NULL,
  status      BLOB NOT NULL
) STRICT;
CREATE INDEX object_version_by_kind ON object_version (kind, revision);
CREATE INDEX object_version_by_uid ON object_version (uid, revision);
