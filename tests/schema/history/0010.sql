-- What version 0010 added.
INSERT INTO otn.call_count (page_id, slot, calls) VALUES (1, '2000-01-01+00', 12);
UPDATE otn.pace SET quota = 1000, quota_at = now();
UPDATE otn.campaign SET canary_labels = ARRAY['staff'] WHERE key = 'later';
