BEGIN TRANSACTION;
CREATE TABLE arraylake_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT arraylake_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "arraylake_version" VALUES('0001');
CREATE TABLE buckets (
	id VARCHAR(36) NOT NULL, 
	org_id VARCHAR(24) NOT NULL, 
	nickname VARCHAR(64) NOT NULL, 
	platform VARCHAR(100) NOT NULL, 
	name TEXT NOT NULL, 
	prefix TEXT NOT NULL, 
	extra_config TEXT NOT NULL, 
	auth_config TEXT NOT NULL, 
	secrets BLOB, 
	key_id VARCHAR(16), 
	is_default BOOLEAN NOT NULL, 
	store TEXT NOT NULL, 
	path TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	updated DATETIME NOT NULL, 
	created_by TEXT, 
	CONSTRAINT pk_buckets PRIMARY KEY (id), 
	CONSTRAINT ck_buckets_sealed CHECK ((secrets IS NULL) = (key_id IS NULL)), 
	CONSTRAINT fk_buckets_key_id FOREIGN KEY(key_id) REFERENCES encryption_keys (id), 
	CONSTRAINT fk_buckets_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT uq_buckets_org_id_nickname UNIQUE (org_id, nickname), 
	CONSTRAINT uq_buckets_org_id_store_path UNIQUE (org_id, store, path)
);
INSERT INTO "buckets" VALUES('a58930be-32b0-42bd-857a-a35324983d33','39fa4c745ef7ce34fc470ba7','local','file','/lake/data','','{}','{"method":"anonymous"}',NULL,NULL,1,'file://','tmp/me/olddb/data','2026-11-23 23:09:27.210922','2026-11-23 23:09:27.210922',NULL);
INSERT INTO "buckets" VALUES('a5177268-4b31-46c7-9e8b-6a2f3627bb60','39fa4c745ef7ce34fc470ba7','ocean-data','s3','ocean','','{"region_name":"eu-north-1","use_ssl":true}','{"method":"hmac","access_key_id":"AKID"}',X'2A36947E3BE16746D4EFB71FFA8320B5F78465557CB08833BB7F5523B03FB53B8B8DE8E6985B92B002BA0B51B1631BB8A797E8303ADA2A6D945E3D771FD54C63A091A83D86581296F5910C','d8fde330d6f6e0da',0,'s3://s3.amazonaws.com','ocean','2026-11-23 23:09:27.224767','2026-11-23 23:09:27.224767',NULL);
CREATE TABLE encryption_keys (
	id VARCHAR(16) NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_encryption_keys PRIMARY KEY (id)
);
INSERT INTO "encryption_keys" VALUES('d8fde330d6f6e0da','2026-11-23 23:09:27.208540');
CREATE TABLE journal_entries (
	repo_id VARCHAR(24) NOT NULL, 
	journal VARCHAR(256) NOT NULL, 
	sequence INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	CONSTRAINT pk_journal_entries PRIMARY KEY (repo_id, journal, sequence), 
	CONSTRAINT fk_journal_entries_repo_id_journal FOREIGN KEY(repo_id, journal) REFERENCES journals (repo_id, name) ON DELETE CASCADE
);
INSERT INTO "journal_entries" VALUES('968708a6da23c673425313f2','session/1',1,X'656E747279');
CREATE TABLE journals (
	repo_id VARCHAR(24) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	length INTEGER NOT NULL, 
	expires DATETIME, 
	CONSTRAINT pk_journals PRIMARY KEY (repo_id, name), 
	CONSTRAINT fk_journals_repo_id FOREIGN KEY(repo_id) REFERENCES repos (id) ON DELETE CASCADE
);
INSERT INTO "journals" VALUES('968708a6da23c673425313f2','session/1',1,NULL);
CREATE TABLE metadata_index (
	digest VARCHAR(64) NOT NULL, 
	repo_id VARCHAR(24) NOT NULL, 
	CONSTRAINT pk_metadata_index PRIMARY KEY (digest, repo_id), 
	CONSTRAINT fk_metadata_index_repo_id FOREIGN KEY(repo_id) REFERENCES repos (id) ON DELETE CASCADE
);
INSERT INTO "metadata_index" VALUES('3c7166a3cdce4adb996c34a148d1e995177409e429851160d5ae85ff62a09c10','968708a6da23c673425313f2');
CREATE TABLE orgs (
	id VARCHAR(24) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	display_name TEXT NOT NULL, 
	description TEXT, 
	created DATETIME NOT NULL, 
	created_by TEXT, 
	status VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_orgs PRIMARY KEY (id), 
	CONSTRAINT uq_orgs_name UNIQUE (name)
);
INSERT INTO "orgs" VALUES('39fa4c745ef7ce34fc470ba7','me','',NULL,'2026-11-23 23:09:27.209860',NULL,'active');
CREATE TABLE place_claims (
	repo_id VARCHAR(24) NOT NULL, 
	store TEXT NOT NULL, 
	path TEXT NOT NULL, 
	role VARCHAR(8) NOT NULL, 
	CONSTRAINT pk_place_claims PRIMARY KEY (repo_id, store, path), 
	CONSTRAINT fk_place_claims_repo_id FOREIGN KEY(repo_id) REFERENCES repos (id), 
	CONSTRAINT fk_place_claims_store_path_role FOREIGN KEY(store, path, role) REFERENCES places (store, path, role)
);
INSERT INTO "place_claims" VALUES('968708a6da23c673425313f2','test://','','passage');
INSERT INTO "place_claims" VALUES('968708a6da23c673425313f2','test://','data','passage');
INSERT INTO "place_claims" VALUES('968708a6da23c673425313f2','test://','data/ocean','owner');
INSERT INTO "place_claims" VALUES('6cc3b88268443303af3c2882','test://','','passage');
INSERT INTO "place_claims" VALUES('6cc3b88268443303af3c2882','test://','data','passage');
INSERT INTO "place_claims" VALUES('6cc3b88268443303af3c2882','test://','data/gone','owner');
CREATE TABLE places (
	store TEXT NOT NULL, 
	path TEXT NOT NULL, 
	role VARCHAR(8) NOT NULL, 
	CONSTRAINT pk_places PRIMARY KEY (store, path), 
	CONSTRAINT ck_places_role CHECK (role IN ('owner', 'passage')), 
	CONSTRAINT uq_places_store_path_role UNIQUE (store, path, role)
);
INSERT INTO "places" VALUES('test://','','passage');
INSERT INTO "places" VALUES('test://','data','passage');
INSERT INTO "places" VALUES('test://','data/ocean','owner');
INSERT INTO "places" VALUES('test://','data/gone','owner');
CREATE TABLE refs (
	repo_id VARCHAR(24) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	value TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_refs PRIMARY KEY (repo_id, name), 
	CONSTRAINT fk_refs_repo_id FOREIGN KEY(repo_id) REFERENCES repos (id) ON DELETE CASCADE
);
INSERT INTO "refs" VALUES('968708a6da23c673425313f2','branch/main','{"commit":"c1"}',1);
CREATE TABLE repos (
	id VARCHAR(24) NOT NULL, 
	org_id VARCHAR(24) NOT NULL, 
	bucket_id VARCHAR(36) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	kind VARCHAR(100) NOT NULL, 
	prefix TEXT NOT NULL, 
	generated BOOLEAN NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	description TEXT, 
	metadata TEXT NOT NULL, 
	virtual_chunk_containers TEXT NOT NULL, 
	status TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	updated DATETIME NOT NULL, 
	created_by TEXT, 
	deleted_at DATETIME, 
	deleted_by TEXT, 
	retain_data BOOLEAN NOT NULL, 
	ref_floor INTEGER NOT NULL, 
	CONSTRAINT pk_repos PRIMARY KEY (id), 
	CONSTRAINT ck_repos_state CHECK (state IN ('pending', 'active', 'purging')), 
	CONSTRAINT fk_repos_bucket_id FOREIGN KEY(bucket_id) REFERENCES buckets (id), 
	CONSTRAINT fk_repos_org_id FOREIGN KEY(org_id) REFERENCES orgs (id)
);
INSERT INTO "repos" VALUES('968708a6da23c673425313f2','39fa4c745ef7ce34fc470ba7','a58930be-32b0-42bd-857a-a35324983d33','ocean','icechunk','data/ocean',1,'active','From an earlier release','{"ocean":"arctic"}','{}','{"mode":"online","message":null,"initiated_by":{},"is_user_modifiable":true,"estimated_end_time":null}','2026-11-23 23:09:27.250052','2026-11-23 23:09:27.268105',NULL,NULL,NULL,0,0);
INSERT INTO "repos" VALUES('6cc3b88268443303af3c2882','39fa4c745ef7ce34fc470ba7','a58930be-32b0-42bd-857a-a35324983d33','gone','icechunk','data/gone',1,'active',NULL,'{}','{}','{"mode":"online","message":null,"initiated_by":{},"is_user_modifiable":true,"estimated_end_time":null}','2026-11-23 23:09:27.296457','2026-11-23 23:09:27.321669',NULL,'2026-11-23 23:09:27.321601',NULL,0,0);
CREATE UNIQUE INDEX ix_buckets_default ON buckets (org_id) WHERE is_default;
CREATE INDEX ix_buckets_key_id ON buckets (key_id);
CREATE INDEX ix_repos_bucket_id ON repos (bucket_id);
CREATE INDEX ix_repos_deleted ON repos (org_id, name, deleted_at);
CREATE UNIQUE INDEX ix_repos_live_name ON repos (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_metadata_index_repo_id ON metadata_index (repo_id);
CREATE UNIQUE INDEX ix_place_claims_owner ON place_claims (store, path) WHERE role = 'owner';
CREATE INDEX ix_place_claims_place ON place_claims (store, path, role);
COMMIT;
