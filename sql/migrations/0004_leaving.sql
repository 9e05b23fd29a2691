-- Leaving: what erasure and retention need to know.

-- Up to which state of the erasure journal (a file outside this database) everybody in it was looked for here.
-- A restored backup brings the mark of its own day, and so shows that the journal has gone on since.
CREATE TABLE otn.erasure_mark (
    id             smallint PRIMARY KEY DEFAULT 1,
    bytes          bigint NOT NULL,                                       -- size of the journal ...
    tail           bytea NOT NULL,                                        -- ... and a hash of its end
    walked         boolean NOT NULL,                                      -- false: tombstones stand, people are still to be looked for
    marked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT erasure_mark_is_alone CHECK (id = 1),
    CONSTRAINT erasure_mark_has_size CHECK (bytes >= 0),
    CONSTRAINT erasure_mark_tail_is_hash CHECK (octet_length(tail) = 32)
);
INSERT INTO otn.erasure_mark (bytes, tail, walked) VALUES (0, sha256(''), true);

CREATE INDEX subscriber_erased ON otn.subscriber (id) WHERE erased_at IS NOT NULL;
CREATE INDEX exclusion_of_subscriber ON otn.exclusion (subscriber_id);    -- who can be deleted, and what is held about one person

-- Of a token that was forgotten only the times remain: figures rest on them, and nothing links it to anybody.
ALTER TABLE otn.token
    ADD COLUMN scrubbed_at timestamptz,
    ADD CONSTRAINT token_scrubbed_was_wiped CHECK (scrubbed_at IS NULL OR (token_encrypted IS NULL AND ref IS NULL));

-- What people wrote leaves the stored bodies before the bodies themselves go.
ALTER TABLE otn.webhook_event
    ADD COLUMN redacted_at timestamptz,
    ADD CONSTRAINT webhook_event_redacted_was_ingested CHECK (redacted_at IS NULL OR ingested_at IS NOT NULL);

-- A request may take several tries, until the platform says whom it means.
ALTER TABLE otn.deletion_request
    ADD COLUMN found integer NOT NULL DEFAULT 0,                          -- people of ours erased so far
    ADD CONSTRAINT deletion_request_found_is_count CHECK (found >= 0);
