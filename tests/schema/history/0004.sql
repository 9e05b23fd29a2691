-- What version 0004 added.
UPDATE otn.erasure_mark SET bytes = 12, tail = sha256('tail'), walked = false;
UPDATE otn.token SET scrubbed_at = now() WHERE wiped_at IS NOT NULL;
UPDATE otn.webhook_event SET redacted_at = now() WHERE ingested_at IS NOT NULL;
UPDATE otn.deletion_request SET found = 2 WHERE code = 'open';
