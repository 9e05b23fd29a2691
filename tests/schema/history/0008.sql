-- What version 0008 added.
INSERT INTO otn.landing (url, looked_at) VALUES ('s3://bucket/optins', now());
INSERT INTO otn.landing_file (landing_id, name, size, version, state, taken_at, lines, imported, refused)
VALUES (1, 'one.jsonl', 100, 'etag', 'taken', now(), 3, 2, 1);
INSERT INTO otn.landing_file (landing_id, name, size, version, due_at) VALUES (1, 'two.jsonl', 100, 'etag', now());
INSERT INTO otn.landing_refusal VALUES (1, 3, 'no_psid');
