-- A campaign's message tried out on people whose window is open, and media handed over once: no consent is spent by either.

-- Whoever composes sends the message to a few people of his own first. It is a message inside the window like an answer:
-- called at most once, never again after a doubt. Not named in this transaction: Postgres bars that for a new value.
ALTER TYPE otn.window_cause ADD VALUE 'test';

-- One row a run that tests; what it said stands in its messages, and is forgotten with them.
CREATE TABLE otn.test_message (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    topic_id       integer NOT NULL REFERENCES otn.topic,
    key            text NOT NULL CHECK (key <> ''),                       -- the run that tests: cleared, it goes on
    created_by     text NOT NULL DEFAULT session_user,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT test_message_key_once UNIQUE (page_id, key)
);

-- locks: one pass over the table for an index that is empty; a second or two where millions of messages were sent
ALTER TABLE otn.window_message
    ADD COLUMN test_id bigint REFERENCES otn.test_message,
    DROP CONSTRAINT window_message_has_cause,
    ADD CONSTRAINT window_message_has_cause CHECK (CASE cause::text
        WHEN 'ask' THEN ask_id IS NOT NULL AND event_id IS NULL AND test_id IS NULL
        WHEN 'test' THEN test_id IS NOT NULL AND event_id IS NULL AND ask_id IS NULL
        ELSE event_id IS NOT NULL AND ask_id IS NULL AND test_id IS NULL END) NOT VALID,
    ADD CONSTRAINT window_message_test_is_no_card CHECK (test_id IS NULL OR NOT card) NOT VALID;
-- locks: likewise, the same pass
CREATE UNIQUE INDEX window_message_once_per_test ON otn.window_message (test_id, subscriber_id) WHERE test_id IS NOT NULL;

-- Of some people of a page, who may get a test now and why the others may not; the choice and the plan read this. No region
-- is gated: that bars request cards, and a message inside the window is allowed everywhere. A stop word counts as for asking.
CREATE FUNCTION otn.test_audience(of_page integer, of_topic integer, people bigint[])
RETURNS TABLE (subscriber_id bigint, closes_at timestamptz, ref text, reason text)
LANGUAGE sql STABLE AS $$
    SELECT p.id, least(p.last_interaction_at, now()) + interval '24 hours', k.ref,
           CASE WHEN p.erased_at IS NOT NULL THEN 'erased'
                WHEN p.last_interaction_at IS NULL OR p.last_interaction_at <= now() - interval '24 hours' THEN 'window_closed'
                WHEN p.last_interaction_at <= now() - interval '24 hours' + interval '5 minutes' THEN 'window_closing'
                WHEN otn.silenced(p.id, of_topic, (
                    SELECT coalesce(max(t.opted_in_at), '-infinity') FROM otn.token t
                    WHERE t.subscriber_id = p.id AND t.topic_id = of_topic)) THEN 'suppressed'
                WHEN EXISTS (
                    SELECT FROM otn.suppression s
                    WHERE s.subscriber_id = p.id AND s.reason = 'unreachable' AND s.since >= p.last_interaction_at) THEN 'unreachable'
                WHEN 20 <= (
                    SELECT count(*) FROM otn.window_message m
                    WHERE m.subscriber_id = p.id AND m.cause::text = 'test' AND m.state <> 'skipped'
                      AND m.created_at > now() - interval '1 hour') THEN 'flood' END
    FROM otn.subscriber p
    LEFT JOIN LATERAL (
        SELECT t.ref FROM otn.token t
        WHERE t.subscriber_id = p.id AND t.topic_id = of_topic AND t.token_encrypted IS NOT NULL AND t.expires_at > now()
          AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.holds_token)
        ORDER BY t.expires_at, t.id LIMIT 1) k ON true
    WHERE p.page_id = of_page AND p.id = ANY (people)
$$;

-- Media that the platform took, by what is in the file: the same file is not handed over to the same page again. An id is
-- good for the page that uploaded it and for no other.
CREATE TABLE otn.attachment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    sha256         bytea NOT NULL,
    kind           text NOT NULL,
    media_type     text NOT NULL,                                         -- MIME, by content
    bytes          integer NOT NULL,
    name           text NOT NULL,                                         -- of the file, for people
    attachment_id  text NOT NULL,                                         -- the platform's
    uploaded_by    text NOT NULL,
    uploaded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT attachment_once UNIQUE (page_id, sha256),
    CONSTRAINT attachment_sha256_is_hash CHECK (octet_length(sha256) = 32),
    CONSTRAINT attachment_kind_is_known CHECK (kind IN ('image', 'audio', 'video', 'file')),
    CONSTRAINT attachment_has_size CHECK (bytes > 0),
    CONSTRAINT attachment_has_id CHECK (attachment_id <> '')
);
CREATE INDEX attachment_by_platforms_id ON otn.attachment (attachment_id);

-- What the roles may do with these, beside what was written down for the tables before.
-- older code: calls it by the name that the new one bears, and only when it migrates
ALTER FUNCTION otn.make_roles() RENAME TO make_roles_before_tests;
CREATE FUNCTION otn.make_roles() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM otn.make_roles_before_tests();
    IF to_regrole('otn_reader') IS NOT NULL THEN
        GRANT SELECT (test_id) ON otn.window_message TO otn_reader;
        GRANT SELECT ON otn.test_message TO otn_reader;
        GRANT SELECT (id, page_id, kind, media_type, bytes, uploaded_at) ON otn.attachment TO otn_reader;
    END IF;
    IF to_regrole('otn_sender') IS NOT NULL THEN
        GRANT SELECT, INSERT ON otn.test_message TO otn_sender;
        GRANT SELECT, INSERT, UPDATE ON otn.attachment TO otn_sender;
    END IF;
END $$;
SELECT otn.make_roles();
