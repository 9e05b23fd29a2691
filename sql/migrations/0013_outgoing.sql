-- What goes out to others: results to systems that asked for them, and to people what became of a campaign.

-- ───────────────────────────────────────────────────────────────── systems

-- Where results go. What a page has no endpoint for is not written down at all.
CREATE TABLE otn.endpoint (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    key            text NOT NULL,
    url            text NOT NULL,                                         -- its path may be a secret: shown to its owner alone
    kinds          text[] NOT NULL,
    secret         bytea NOT NULL,                                        -- encrypted
    secret_before  bytea,                                                 -- encrypted; it signs too while receivers change over ...
    secret_until   timestamptz,                                           -- ... until then
    position       bigint NOT NULL DEFAULT 0,                             -- the last event that it took, or passed
    lease          uuid,                                                  -- whoever delivers to it just now
    lease_until    timestamptz,
    tries          integer NOT NULL DEFAULT 0,                            -- that failed, since one did not
    due_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    failed_since   timestamptz,
    error          text,                                                  -- a word or a status, never what it answered
    delivered_at   timestamptz,
    delivered      bigint NOT NULL DEFAULT 0,
    missed         bigint NOT NULL DEFAULT 0,                             -- events that were forgotten before it took them
    disabled_at    timestamptz,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT endpoint_key_once UNIQUE (page_id, key),
    CONSTRAINT endpoint_key_is_short CHECK (char_length(key) BETWEEN 1 AND 100),
    CONSTRAINT endpoint_url_is_short CHECK (char_length(url) BETWEEN 1 AND 2000),
    CONSTRAINT endpoint_kinds_are_known CHECK (cardinality(kinds) > 0 AND kinds <@ ARRAY[
        'recipients', 'campaign.awaiting_approval', 'campaign.halted', 'campaign.interrupted', 'campaign.finished', 'campaign.cancelled']),
    CONSTRAINT endpoint_rotation_is_whole CHECK ((secret_before IS NULL) = (secret_until IS NULL)),
    CONSTRAINT endpoint_lease_is_whole CHECK ((lease IS NULL) = (lease_until IS NULL)),
    CONSTRAINT endpoint_failure_is_whole CHECK ((tries > 0) = (failed_since IS NOT NULL) AND (tries > 0) = (error IS NOT NULL)),
    CONSTRAINT endpoint_counts CHECK (least(position, tries, delivered, missed) >= 0)
);

-- What became of people and campaigns, in the transaction in which it did; gone as soon as it is packed. Without references:
-- a trigger copies them from a row that has them, and to check each again would cost more than all the rest.
CREATE TABLE otn.outcome (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL,
    campaign_id    bigint NOT NULL,
    subscriber_id  bigint,                                                -- null: the campaign itself
    state          text NOT NULL,
    evidence       text,
    error_code     integer,
    error_subcode  integer,
    reason         text,
    at             timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One request to an endpoint: up to a thousand results, or one step of a campaign. Numbered under a lock that is held to
-- the commit, so that whoever has walked past a number has seen every lower one.
CREATE TABLE otn.outgoing_event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id       uuid NOT NULL DEFAULT gen_random_uuid(),               -- the receiver knows by it what it has already
    page_id        integer NOT NULL REFERENCES otn.page,
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,
    kind           text NOT NULL,
    content        jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT outgoing_event_id_once UNIQUE (event_id),
    CONSTRAINT outgoing_event_kind_is_known CHECK (kind = 'recipients' OR kind LIKE 'campaign.%'),
    CONSTRAINT outgoing_event_content_is_object CHECK (jsonb_typeof(content) = 'object')
);
CREATE INDEX outgoing_event_of_page ON otn.outgoing_event (page_id, id);
CREATE INDEX outgoing_event_by_age ON otn.outgoing_event (created_at);
CREATE TRIGGER outgoing_event_is_append_only BEFORE UPDATE OR TRUNCATE ON otn.outgoing_event
    FOR EACH STATEMENT EXECUTE FUNCTION otn.refuse_change();

-- By row, and only where a state becomes one that others may want to know: a claim costs nothing by it.
CREATE FUNCTION otn.note_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO otn.outcome (page_id, campaign_id, subscriber_id, state, evidence, error_code, error_subcode, reason)
    SELECT c.page_id, NEW.campaign_id, NEW.subscriber_id, NEW.state, NEW.evidence, NEW.error_code, NEW.error_subcode, NEW.reason
    FROM otn.campaign c
    WHERE c.id = NEW.campaign_id
      AND EXISTS (SELECT FROM otn.endpoint e WHERE e.page_id = c.page_id AND e.kinds @> ARRAY['recipients']);
    RETURN NULL;
END $$;
-- locks: a trigger is made in no time; it waits for the statements that run
CREATE TRIGGER recipient_has_outcome AFTER UPDATE OF state ON otn.recipient
    FOR EACH ROW WHEN (NEW.state IS DISTINCT FROM OLD.state AND NEW.state IN ('sent', 'refused', 'unknown', 'skipped', 'cancelled'))
    EXECUTE FUNCTION otn.note_outcome();

-- ───────────────────────────────────────────────────────────────── people

-- Something happened to a campaign that people are told of once. A state that lasts is an alarm.
CREATE TABLE otn.notice (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,
    kind           text NOT NULL,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until  timestamptz,                                           -- somebody is just telling it
    settled_at     timestamptz,                                           -- told, or overtaken before anybody was
    told           text,                                                  -- what people read; null: nothing
    CONSTRAINT notice_kind_is_known CHECK (kind IN ('awaiting_approval', 'finished')),
    CONSTRAINT notice_told_is_settled CHECK (told IS NULL OR settled_at IS NOT NULL)
);
CREATE INDEX notice_open ON otn.notice (id) WHERE settled_at IS NULL;
CREATE INDEX notice_of_campaign ON otn.notice (campaign_id, kind, id);

CREATE FUNCTION otn.note_campaign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IN ('awaiting_approval', 'finished') THEN
        INSERT INTO otn.notice (campaign_id, kind) VALUES (NEW.id, NEW.state::text);
    END IF;
    INSERT INTO otn.outcome (page_id, campaign_id, state)
    SELECT NEW.page_id, NEW.id, NEW.state
    WHERE EXISTS (SELECT FROM otn.endpoint e WHERE e.page_id = NEW.page_id AND e.kinds @> ARRAY['campaign.' || NEW.state]);
    RETURN NULL;
END $$;
CREATE TRIGGER campaign_has_outcome AFTER UPDATE OF state ON otn.campaign
    FOR EACH ROW WHEN (NEW.state IS DISTINCT FROM OLD.state) EXECUTE FUNCTION otn.note_campaign();

-- ───────────────────────────────────────────────────────────────── roles

-- What the roles may do with these, beside what was written down for the tables before.
-- older code: calls it by the name that the new one bears, and only when it migrates
ALTER FUNCTION otn.make_roles() RENAME TO make_roles_before_outgoing;
CREATE FUNCTION otn.make_roles() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM otn.make_roles_before_outgoing();
    IF to_regrole('otn_reader') IS NOT NULL THEN
        GRANT SELECT (id, page_id, key, kinds, position, tries, due_at, failed_since, error, delivered_at, delivered, missed, disabled_at,
            created_at) ON otn.endpoint TO otn_reader;
        GRANT SELECT ON otn.outcome, otn.outgoing_event, otn.notice TO otn_reader;
    END IF;
    IF to_regrole('otn_sender') IS NOT NULL THEN
        -- It notes what was taken, and cannot send results elsewhere.
        GRANT SELECT, UPDATE (position, lease, lease_until, tries, due_at, failed_since, error, delivered_at, delivered, missed, disabled_at)
            ON otn.endpoint TO otn_sender;
        GRANT SELECT, INSERT, DELETE ON otn.outcome, otn.outgoing_event TO otn_sender;
        GRANT SELECT, INSERT, UPDATE, DELETE ON otn.notice TO otn_sender;
    END IF;
END $$;
SELECT otn.make_roles();
