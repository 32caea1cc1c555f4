-- What machines are made with, out of their documents, so that who uses an address or an image is found without reading
-- every machine.
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

-- Documents are beyond SQL: the next start of the server reads them once.
INSERT INTO meta (key, value) VALUES ('vm_devices_missing', 1);
