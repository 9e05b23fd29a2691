-- What version 0012 added.
INSERT INTO otn.silence_mark (bytes, tail, owed, walked_id, looks) VALUES (12, sha256('tail'), true, 3, 2);
INSERT INTO otn.silence (psid_hash, payload, reason, since, lifted) VALUES
    (sha256('came later'), NULL, 'stop_word', '2026-01-02Z', false), (sha256('came later'), 'sale', 'operator', '2026-01-03Z', true);
