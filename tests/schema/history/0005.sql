-- What version 0005 added.
UPDATE otn.page SET halt_held = true WHERE id = 3;
INSERT INTO otn.traffic VALUES (1, '2000-01-01+00', 12);
INSERT INTO otn.campaign_run (campaign_id, dag_id, run_id) VALUES (2, 'otn_broadcast', 'manual');
INSERT INTO otn.alarm (page_id, kind, level, sentence, advice) VALUES (2, 'policy', 'alarm', 'Blocked.', 'Look.');
INSERT INTO otn.alarm (kind, level, sentence, advice, ended_at, told_as, told_at)
VALUES ('ingest', 'warn', 'Late.', 'Look.', now(), 'ended', now());
