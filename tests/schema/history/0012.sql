-- What version 0012 added.
UPDATE otn.silence_mark SET bytes = 12, tail = sha256('tail'), owed = true, walked_id = 3, looks = 2;
INSERT INTO otn.silence (psid_hash, payload, reason, since, lifted) VALUES
    (sha256('came later'), NULL, 'stop_word', '2026-01-02Z', false), (sha256('came later'), 'sale', 'operator', '2026-01-03Z', true);
