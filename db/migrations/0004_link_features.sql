-- What server and agent agreed to use when the agent connected last: words, sorted, with a space between.
ALTER TABLE host ADD COLUMN link_features TEXT NOT NULL DEFAULT '';
