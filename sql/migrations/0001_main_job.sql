-- The whole main job: pages, topics, raw webhooks, people, tokens, campaigns, recipients, attempts.
-- Rules that must never be broken stand here as constraints, not in Python.
-- Time is always clock_timestamp() of this server; no client clock decides anything.

-- ───────────────────────────────────────────────────────────────── pages and topics

CREATE TABLE otn.page (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        text NOT NULL UNIQUE CHECK (page_id <> ''),            -- Facebook's id of the page
    connection_id  text NOT NULL UNIQUE CHECK (connection_id <> ''),      -- the Airflow connection that speaks for it
    name           text,
    halted_at      timestamptz,                                           -- set: nothing is sent for this page
    halt_reason    text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT page_halt_has_reason CHECK ((halted_at IS NULL) = (halt_reason IS NULL))
);

CREATE TABLE otn.topic (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    key            text NOT NULL CHECK (key <> ''),
    title          text CHECK (char_length(title) BETWEEN 1 AND 65),      -- Messenger refuses longer request titles
    payload        text NOT NULL,                                         -- what the opt-in event carries back
    registered_at  timestamptz,                                           -- null: met in an opt-in, not yet adopted
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT topic_key_once UNIQUE (page_id, key),
    CONSTRAINT topic_payload_once UNIQUE (page_id, payload),
    CONSTRAINT topic_registered_has_title CHECK (registered_at IS NULL OR title IS NOT NULL)
);

-- ───────────────────────────────────────────────────────────────── raw webhooks

-- The receiver inserts here and does nothing else. Day and id are given at receipt, so that the same
-- receipt stored twice (an INSERT whose answer was lost) is one row.
CREATE TABLE otn.webhook_event (
    received_day   date NOT NULL,
    id             uuid NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    body           bytea NOT NULL,                                        -- encrypted: it holds tokens and texts
    ingested_at    timestamptz,
    events         integer,                                               -- items found in the body ...
    ingested       integer,                                               -- ... and what became of each
    duplicate      integer,
    quarantined    integer,
    CONSTRAINT webhook_event_once PRIMARY KEY (received_day, id),
    CONSTRAINT webhook_event_balances CHECK (
        CASE WHEN ingested_at IS NULL
             THEN num_nonnulls(events, ingested, duplicate, quarantined) = 0
             ELSE num_nulls(events, ingested, duplicate, quarantined) = 0
                  AND events = ingested + duplicate + quarantined
                  AND least(ingested, duplicate, quarantined) >= 0
        END)
) PARTITION BY RANGE (received_day);

CREATE TABLE otn.webhook_event_default PARTITION OF otn.webhook_event DEFAULT;

-- Ingest takes everything that is not ingested, whatever its time: commit order is not time order.
CREATE INDEX webhook_event_pending ON otn.webhook_event (received_day, id) WHERE ingested_at IS NULL;

-- Partitions are made ahead, so that no receipt ever waits for DDL. A day that already has rows in the
-- default partition stays there: moving them would lock the receiver out.
CREATE FUNCTION otn.make_webhook_partitions(first_day date, days integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day  date;
    made integer := 0;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('otn.make_webhook_partitions'));
    FOR day IN SELECT first_day + n FROM generate_series(0, days - 1) AS n LOOP
        name := 'webhook_event_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('otn.' || name) IS NOT NULL;
        CONTINUE WHEN EXISTS (SELECT FROM otn.webhook_event_default WHERE received_day = day);
        BEGIN
            EXECUTE format('CREATE TABLE otn.%I PARTITION OF otn.webhook_event FOR VALUES FROM (%L) TO (%L)',
                           name, day, day + 1);
            made := made + 1;
        EXCEPTION WHEN check_violation THEN
            NULL; -- a receipt of that day was committed to the default partition meanwhile: the day stays there
        END;
    END LOOP;
    RETURN made;
END $$;

-- What could not be read, kept with its reason until somebody replays or discards it.
CREATE TABLE otn.quarantine (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_day    date NOT NULL,
    webhook_id     uuid NOT NULL,
    position       text NOT NULL,                                         -- entry/index inside the body
    reason         text NOT NULL CHECK (reason <> ''),
    item           bytea NOT NULL,                                        -- encrypted
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at    timestamptz,
    CONSTRAINT quarantine_once UNIQUE (webhook_day, webhook_id, position)
);

-- ───────────────────────────────────────────────────────────────── people and their permissions

CREATE TABLE otn.subscriber (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    psid           text NOT NULL CHECK (psid <> ''),                      -- page-scoped id: text, larger than 2^53
    first_name     text,
    last_name      text,
    locale         text,
    utc_offset     numeric(4, 2),                                         -- hours, as the profile API gives it
    labels         text[] NOT NULL DEFAULT '{}',
    attributes     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    last_interaction_at timestamptz,                                      -- opens the 24 h window
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT subscriber_once UNIQUE (page_id, psid)
);

-- One tap on "Notify Me": good for one message, for at most a year.
CREATE TABLE otn.token (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id  bigint NOT NULL REFERENCES otn.subscriber,
    topic_id       integer NOT NULL REFERENCES otn.topic,
    token_hash     bytea NOT NULL CHECK (octet_length(token_hash) = 32),  -- keyed; the only identity an opt-in has
    token_encrypted bytea,                                                -- null once wiped
    wiped_at       timestamptz,
    opted_in_at    timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    source         text NOT NULL DEFAULT 'webhook' CHECK (source <> ''),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT token_once UNIQUE (token_hash),
    CONSTRAINT token_lives_a_year_at_most CHECK (expires_at > opted_in_at AND expires_at <= opted_in_at + interval '1 year'),
    CONSTRAINT token_wiped_has_no_text CHECK ((token_encrypted IS NULL) = (wiped_at IS NOT NULL))
);
CREATE INDEX token_of_topic ON otn.token (topic_id, subscriber_id, expires_at);
CREATE INDEX token_of_subscriber ON otn.token (subscriber_id);
CREATE INDEX token_to_wipe ON otn.token (expires_at) WHERE token_encrypted IS NOT NULL;

CREATE TABLE otn.suppression (
    subscriber_id  bigint PRIMARY KEY REFERENCES otn.subscriber,
    reason         text NOT NULL CHECK (reason IN ('stop_word', 'operator', 'erased')),
    since          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Keyed hashes of people who were erased, so that a late webhook does not bring them back.
CREATE TABLE otn.tombstone (
    psid_hash      bytea PRIMARY KEY CHECK (octet_length(psid_hash) = 32),
    erased_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TYPE otn.event_kind AS ENUM (
    'optin', 'other_optin', 'echo', 'delivery', 'read', 'postback', 'message', 'reaction', 'referral', 'policy', 'other'
);

-- Every event once, normalised, without texts: what evidence and windows rest on.
CREATE TABLE otn.event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint    bytea NOT NULL CHECK (octet_length(fingerprint) = 32), -- keyed hash of what makes it this event
    page_id        integer NOT NULL REFERENCES otn.page,
    subscriber_id  bigint REFERENCES otn.subscriber,                      -- policy events have nobody
    kind           otn.event_kind NOT NULL,
    occurred_at    timestamptz NOT NULL,
    mid            text,
    mids           text[],
    watermark      timestamptz,
    metadata       text,
    payload        text,
    detail         text,
    webhook_day    date NOT NULL,
    webhook_id     uuid NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_once UNIQUE (fingerprint)
);
CREATE INDEX event_of_subscriber ON otn.event (subscriber_id, kind, occurred_at);
CREATE INDEX event_by_age ON otn.event (created_at);

-- ───────────────────────────────────────────────────────────────── campaigns

CREATE TYPE otn.campaign_state AS ENUM (
    'draft',              -- written down                       -> awaiting_approval, scheduled, cancelled
    'awaiting_approval',  -- a person must say yes              -> scheduled, cancelled
    'scheduled',          -- may be planned from send_at on     -> sending, awaiting_approval (late, or over the cap), finished (nobody), cancelled
    'sending',            -- planned; rows may be claimed       -> paused, halted, interrupted, finished, cancelled
    'paused',             -- an operator stopped it             -> sending, cancelled
    'halted',             -- a stop rule stopped it             -> sending, cancelled
    'interrupted',        -- a run ended with rows waiting      -> sending, finished, cancelled
    'finished',           -- nothing waits, nothing is in call  -> sending (otn_retry)
    'cancelled'           -- waiting rows were given up         -> (none)
);

CREATE TABLE otn.campaign_transition (
    from_state     otn.campaign_state NOT NULL,
    to_state       otn.campaign_state NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO otn.campaign_transition VALUES
    ('draft', 'awaiting_approval'), ('draft', 'scheduled'), ('draft', 'cancelled'),
    ('awaiting_approval', 'scheduled'), ('awaiting_approval', 'cancelled'),
    ('scheduled', 'sending'), ('scheduled', 'awaiting_approval'), ('scheduled', 'finished'), ('scheduled', 'cancelled'),
    ('sending', 'paused'), ('sending', 'halted'), ('sending', 'interrupted'), ('sending', 'finished'), ('sending', 'cancelled'),
    ('paused', 'sending'), ('paused', 'cancelled'),
    ('halted', 'sending'), ('halted', 'cancelled'),
    ('interrupted', 'sending'), ('interrupted', 'finished'), ('interrupted', 'cancelled'),
    ('finished', 'sending');

CREATE TABLE otn.campaign (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    topic_id       integer NOT NULL REFERENCES otn.topic,
    key            text NOT NULL CHECK (key <> ''),
    state          otn.campaign_state NOT NULL DEFAULT 'draft',
    -- Frozen at the first trigger: message template, audience, limits. The hash decides "same key, same content".
    message        jsonb NOT NULL CHECK (jsonb_typeof(message) = 'object'),
    include_labels text[] NOT NULL DEFAULT '{}',
    exclude_labels text[] NOT NULL DEFAULT '{}',
    max_recipients integer CHECK (max_recipients > 0),
    canary         integer NOT NULL DEFAULT 0 CHECK (canary >= 0),
    max_refused    numeric NOT NULL DEFAULT 0.5 CHECK (max_refused > 0 AND max_refused <= 1),
    send_at        timestamptz,
    if_late        text NOT NULL DEFAULT 'ask' CHECK (if_late IN ('ask', 'send', 'cancel')),
    late_after     interval NOT NULL DEFAULT interval '1 hour' CHECK (late_after >= interval '0'),
    content_hash   bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    -- Who said yes, to how many at most, and whether to a late start too.
    needs_approval boolean NOT NULL DEFAULT true,
    approved_at    timestamptz,
    approved_by    text,
    approved_cap   integer CHECK (approved_cap >= 0),
    approved_late  boolean NOT NULL DEFAULT false,
    -- The window that the stop rules look at; emptied when a person resumes.
    answered       integer NOT NULL DEFAULT 0,
    refused        integer NOT NULL DEFAULT 0,
    recent         text NOT NULL DEFAULT '' CHECK (char_length(recent) <= 200),   -- s, r, u of the last answers, newest last
    content_run    integer NOT NULL DEFAULT 0,                                    -- equal content errors in a row
    content_error  text,
    halt_reason    text,
    chunks         integer CHECK (chunks >= 0),
    created_by     text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    planned_at     timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz,
    CONSTRAINT campaign_key_once UNIQUE (page_id, key),
    CONSTRAINT campaign_halt_has_reason CHECK ((state = 'halted') = (halt_reason IS NOT NULL)),
    CONSTRAINT campaign_approval_is_whole CHECK (num_nulls(approved_at, approved_by, approved_cap) IN (0, 3)),
    CONSTRAINT campaign_sends_only_approved CHECK (
        state IN ('draft', 'awaiting_approval', 'cancelled') OR NOT needs_approval OR approved_at IS NOT NULL),
    CONSTRAINT campaign_sends_only_planned CHECK (
        state IN ('draft', 'awaiting_approval', 'scheduled', 'cancelled') OR (planned_at IS NOT NULL AND chunks IS NOT NULL)),
    CONSTRAINT campaign_end_has_time CHECK ((state IN ('finished', 'cancelled')) = (finished_at IS NOT NULL))
);

CREATE FUNCTION otn.check_campaign_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM otn.campaign_transition WHERE from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'campaign % cannot go from % to %', OLD.key, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'campaign_transition_is_known';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER campaign_transition_is_known BEFORE UPDATE OF state ON otn.campaign
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION otn.check_campaign_transition();

-- What was agreed on does not change once it was written down.
CREATE FUNCTION otn.refuse_frozen_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the content of campaign % is frozen', OLD.key
        USING ERRCODE = 'check_violation', CONSTRAINT = 'campaign_content_is_frozen';
END $$;
CREATE TRIGGER campaign_content_is_frozen
    BEFORE UPDATE OF page_id, topic_id, key, message, include_labels, exclude_labels, max_recipients, content_hash ON otn.campaign
    FOR EACH ROW WHEN ((OLD.page_id, OLD.topic_id, OLD.key, OLD.message, OLD.include_labels, OLD.exclude_labels, OLD.max_recipients, OLD.content_hash)
        IS DISTINCT FROM (NEW.page_id, NEW.topic_id, NEW.key, NEW.message, NEW.include_labels, NEW.exclude_labels, NEW.max_recipients, NEW.content_hash))
    EXECUTE FUNCTION otn.refuse_frozen_change();

-- Everyone who held a token of the topic and was left out, with the reason.
CREATE TABLE otn.exclusion (
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,
    subscriber_id  bigint NOT NULL REFERENCES otn.subscriber,
    reason         text NOT NULL CHECK (reason IN (
        'suppressed', 'label_missing', 'label_excluded', 'token_spent', 'token_reserved', 'token_expired', 'over_max_recipients')),
    PRIMARY KEY (campaign_id, subscriber_id)
);

CREATE TYPE otn.recipient_state AS ENUM (
    'waiting',    -- planned, nothing in doubt                  -> sending, skipped, cancelled
    'sending',    -- claimed under a lease, intent committed    -> sent, refused, waiting (proven without effect), unknown
    'sent',       -- the platform said so, or evidence does     -> (none)
    'refused',    -- it said no to this person or token         -> waiting (otn_retry), sent (late acceptance, echo)
    'unknown',    -- called, and nobody knows                   -> sending (asked again), sent (acceptance, echo)
    'skipped',    -- not called: suppressed, expired, ...       -> sent (late acceptance, echo)
    'cancelled'   -- not called: the campaign was cancelled     -> sent (late acceptance, echo)
);

CREATE TYPE otn.evidence AS ENUM (
    'answer',               -- the platform accepted the call
    'echo',                 -- its echo of our message came back
    'token_used_inferred'   -- the token was refused while an earlier call was in doubt
);

CREATE TABLE otn.recipient (
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,
    subscriber_id  bigint NOT NULL REFERENCES otn.subscriber,
    token_id       bigint NOT NULL REFERENCES otn.token,
    chunk          smallint NOT NULL CHECK (chunk >= 0),                  -- 0 is the canary
    state          otn.recipient_state NOT NULL DEFAULT 'waiting',
    unanswered     smallint NOT NULL DEFAULT 0 CHECK (unanswered >= 0),   -- calls nobody knows the end of
    attempts       smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempt_id     uuid,                                                  -- the latest; it travels as the message's metadata
    lease_until    timestamptz,
    not_before     timestamptz,                                           -- no call earlier than this; infinity: not before a person wants it
    variables      jsonb NOT NULL DEFAULT '{}',                           -- personal fields, frozen at planning
    evidence       otn.evidence,
    message_id     text,
    error_code     integer,
    error_subcode  integer,
    retry_worth    boolean NOT NULL DEFAULT false,                        -- the error table says a later try may succeed
    token_dead     boolean NOT NULL DEFAULT false,                        -- the platform refused the token itself
    token_contested boolean NOT NULL DEFAULT false,                       -- seen here although another campaign holds the token now
    reason         text,                                                  -- why skipped, unknown or back to waiting
    sent_at        timestamptz,
    delivered_at   timestamptz,
    read_at        timestamptz,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    holds_token    boolean NOT NULL GENERATED ALWAYS AS (
        (state IN ('waiting', 'sending', 'sent', 'unknown') OR (state = 'refused' AND token_dead)) AND NOT token_contested) STORED,
    CONSTRAINT recipient_once_per_campaign PRIMARY KEY (campaign_id, subscriber_id),
    CONSTRAINT recipient_lease_while_sending CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CONSTRAINT recipient_doubt_matches_state CHECK (CASE state
        WHEN 'sending' THEN unanswered > 0
        WHEN 'unknown' THEN unanswered > 0
        WHEN 'sent' THEN true
        ELSE unanswered = 0 END),
    CONSTRAINT recipient_called_has_attempt CHECK (state IN ('waiting', 'skipped', 'cancelled') OR (attempt_id IS NOT NULL AND attempts > 0)),
    CONSTRAINT recipient_sent_has_evidence CHECK ((state = 'sent') = (evidence IS NOT NULL) AND (state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT recipient_stated_has_message CHECK (evidence IS NULL OR evidence = 'token_used_inferred' OR message_id IS NOT NULL),
    CONSTRAINT recipient_refused_has_code CHECK (state <> 'refused' OR error_code IS NOT NULL),
    CONSTRAINT recipient_says_why CHECK (state NOT IN ('unknown', 'skipped') OR reason IS NOT NULL),
    CONSTRAINT recipient_seen_was_sent CHECK (state = 'sent' OR (delivered_at IS NULL AND read_at IS NULL)),
    CONSTRAINT recipient_contested_was_sent CHECK (state = 'sent' OR NOT token_contested)
) WITH (fillfactor = 80);

-- A token belongs to one recipient, unless that one gave it back.
CREATE UNIQUE INDEX recipient_token_once ON otn.recipient (token_id) WHERE holds_token;
CREATE INDEX recipient_waiting ON otn.recipient (campaign_id, chunk, subscriber_id) WHERE state = 'waiting';
CREATE INDEX recipient_in_doubt ON otn.recipient (campaign_id, subscriber_id) WHERE state IN ('sending', 'unknown');
CREATE INDEX recipient_of_subscriber ON otn.recipient (subscriber_id);
CREATE INDEX recipient_of_token ON otn.recipient (token_id);

-- Every call twice: what was intended (committed before it) and what came back. Never changed afterwards.
CREATE TABLE otn.attempt (
    campaign_id    bigint NOT NULL,
    subscriber_id  bigint NOT NULL,
    attempt_id     uuid NOT NULL,
    step           text NOT NULL CHECK (step IN ('intent', 'answer')),
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    sender         text NOT NULL,
    outcome        text CHECK (outcome IN ('sent', 'refused', 'returned', 'unknown')),
    http_status    smallint,
    error_code     integer,
    error_subcode  integer,
    message_id     text,
    reason         text,
    CONSTRAINT attempt_step_once PRIMARY KEY (campaign_id, subscriber_id, attempt_id, step),
    CONSTRAINT attempt_of_recipient FOREIGN KEY (campaign_id, subscriber_id) REFERENCES otn.recipient,
    CONSTRAINT attempt_answer_has_outcome CHECK ((step = 'answer') = (outcome IS NOT NULL))
);

CREATE FUNCTION otn.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_is_append_only';
END $$;
CREATE TRIGGER attempt_is_append_only BEFORE UPDATE OR TRUNCATE ON otn.attempt
    FOR EACH STATEMENT EXECUTE FUNCTION otn.refuse_change();

-- ───────────────────────────────────────────────────────────────── pace and audit

-- One row a page: the moment from which the next call may start (virtual schedule, GCRA).
CREATE TABLE otn.pace (
    page_id        integer PRIMARY KEY REFERENCES otn.page,
    next_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE otn.audit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor          text NOT NULL,
    action         text NOT NULL,
    page_id        integer REFERENCES otn.page,
    campaign_id    bigint REFERENCES otn.campaign,
    detail         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_of_campaign ON otn.audit (campaign_id, at);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON otn.audit
    FOR EACH STATEMENT EXECUTE FUNCTION otn.refuse_change();

-- ───────────────────────────────────────────────────────────────── the audience

-- Everyone who ever held a token of the topic: with the token that dies first, or with the reason why not.
-- Count, dry run and plan all read this one function, so that they can never disagree.
CREATE FUNCTION otn.audience(of_topic integer, with_labels text[], without_labels text[], at_most integer)
RETURNS TABLE (subscriber_id bigint, token_id bigint, expires_at timestamptz, reason text)
LANGUAGE sql STABLE AS $$
    WITH held AS (
        SELECT t.subscriber_id, t.id, t.expires_at,
               t.token_encrypted IS NOT NULL AND t.expires_at > now() AS alive,
               r.token_id IS NOT NULL AS taken,
               r.state IN ('waiting', 'sending') AS reserved
        FROM otn.token t
        LEFT JOIN otn.recipient r ON r.token_id = t.id AND r.holds_token
        WHERE t.topic_id = of_topic
    ), best AS (
        SELECT DISTINCT ON (held.subscriber_id)
               held.subscriber_id, held.id, held.expires_at,
               CASE WHEN held.alive AND NOT held.taken THEN NULL
                    WHEN held.taken AND held.reserved THEN 'token_reserved'
                    WHEN held.taken THEN 'token_spent'
                    ELSE 'token_expired' END AS token_reason
        FROM held
        ORDER BY held.subscriber_id, (held.alive AND NOT held.taken) DESC, (held.taken AND held.reserved) DESC,
                 held.taken DESC, held.expires_at, held.id
    ), judged AS (
        SELECT best.subscriber_id, best.id, best.expires_at,
               CASE WHEN p.subscriber_id IS NOT NULL THEN 'suppressed'
                    WHEN s.labels && without_labels THEN 'label_excluded'
                    WHEN NOT s.labels @> with_labels THEN 'label_missing'
                    ELSE best.token_reason END AS reason
        FROM best
        JOIN otn.subscriber s ON s.id = best.subscriber_id
        LEFT JOIN otn.suppression p ON p.subscriber_id = best.subscriber_id
    ), ranked AS (
        SELECT judged.*, CASE WHEN judged.reason IS NULL AND at_most IS NOT NULL THEN
               row_number() OVER (PARTITION BY judged.reason IS NULL ORDER BY judged.expires_at, judged.subscriber_id) END AS place
        FROM judged
    )
    SELECT ranked.subscriber_id,
           CASE WHEN ranked.reason IS NULL AND (ranked.place IS NULL OR ranked.place <= at_most) THEN ranked.id END,
           ranked.expires_at,
           CASE WHEN ranked.place > at_most THEN 'over_max_recipients' ELSE ranked.reason END
    FROM ranked
$$;
