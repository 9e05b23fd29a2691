-- Collecting permission and giving it back: references, rules, what is sent inside the 24 h window, silence by topic, erasure.

-- ───────────────────────────────────────────────────────────────── topics and tokens

ALTER TABLE otn.topic
    ADD COLUMN reply      jsonb,                                          -- the message that thanks for Notify Me; null: none
    ADD COLUMN labels     text[] NOT NULL DEFAULT '{}',                   -- put on whoever opts in
    ADD COLUMN adopted_by integer REFERENCES otn.topic,                   -- opt-ins under this payload belong to that topic
    ADD CONSTRAINT topic_reply_is_message CHECK (jsonb_typeof(reply) = 'object'),
    ADD CONSTRAINT topic_adopted_is_unregistered CHECK (adopted_by IS NULL OR registered_at IS NULL),
    ADD CONSTRAINT topic_adopts_another CHECK (adopted_by <> id);

-- ───────────────────────────────────────────────────────────────── rules

CREATE TYPE otn.rule_trigger AS ENUM (
    'word',         -- a whole message, letters of one width and case, no signs around it
    'postback',     -- payload of a button or of a quick reply
    'get_started',  -- the first tap in a new thread
    'referral',     -- ref of an m.me link, in an open thread or with Get Started
    'reaction',     -- to a message of a campaign; pattern: its key
    'any'           -- whatever a person writes that nothing else answers
);

-- "This word, this button, this link → this request card or this message."
CREATE TABLE otn.rule (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    key            text NOT NULL CHECK (key <> ''),
    trigger        otn.rule_trigger NOT NULL,
    pattern        text,                                                  -- null: whatever the trigger gives
    topic_id       integer REFERENCES otn.topic,                          -- send this topic's request card ...
    ref            text,                                                  -- ... with this reference in its payload
    message        jsonb,                                                 -- or this message; beside a card: to whoever holds enough tokens
    stock          smallint NOT NULL DEFAULT 1,                           -- a card goes to people with fewer unspent tokens than this
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rule_key_once UNIQUE (page_id, key),
    CONSTRAINT rule_does_something CHECK (topic_id IS NOT NULL OR message IS NOT NULL),
    CONSTRAINT rule_message_is_message CHECK (jsonb_typeof(message) = 'object'),
    CONSTRAINT rule_reference_has_card CHECK (ref IS NULL OR topic_id IS NOT NULL),
    CONSTRAINT rule_stock_is_positive CHECK (stock > 0),
    CONSTRAINT rule_pattern_where_needed CHECK (CASE
        WHEN trigger IN ('word', 'postback') THEN pattern IS NOT NULL AND pattern <> ''
        WHEN trigger IN ('get_started', 'any') THEN pattern IS NULL
        ELSE pattern <> '' END)
);
-- Two rules for the same thing would leave it to chance which one answers.
CREATE UNIQUE INDEX rule_trigger_once ON otn.rule (page_id, trigger, coalesce(pattern, ''));

-- ───────────────────────────────────────────────────────────────── inside the 24 h window

-- One run of asking: whom, for which topic, and how many were left out for what.
CREATE TABLE otn.ask (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    topic_id       integer NOT NULL REFERENCES otn.topic,
    key            text NOT NULL CHECK (key <> ''),                       -- the Airflow run, so that a cleared task finds its own
    ref            text,
    include_labels text[] NOT NULL DEFAULT '{}',
    exclude_labels text[] NOT NULL DEFAULT '{}',
    filter         jsonb NOT NULL DEFAULT '{}',
    stock          smallint NOT NULL DEFAULT 1,
    stock_reason   text,
    max_people     integer,
    gate_reason    text,                                                  -- why region and feature were not heeded; null: they were
    excluded       jsonb NOT NULL DEFAULT '{}',                           -- reason → people inside the window who were left out
    created_by     text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ask_key_once UNIQUE (page_id, key),
    CONSTRAINT ask_stock_is_positive CHECK (stock > 0),
    CONSTRAINT ask_larger_stock_has_reason CHECK (stock = 1 OR stock_reason IS NOT NULL),
    CONSTRAINT ask_max_is_positive CHECK (max_people > 0),
    CONSTRAINT ask_filter_is_object CHECK (jsonb_typeof(filter) = 'object')
);

CREATE TYPE otn.window_cause AS ENUM (
    'ask',      -- otn_ask: a request card
    'rule',     -- a rule answered an event: a request card or a message
    'opt_in',   -- the topic's reply to Notify Me
    'stop'      -- a stop or start word is confirmed
);

CREATE TYPE otn.window_state AS ENUM (
    'waiting',   -- to be sent while the window is open          -> sending, skipped
    'sending',   -- claimed under a lease, intent committed      -> sent, refused, waiting (proven without effect), unknown
    'sent',      -- the platform said so, or its echo            -> (none)
    'refused',   -- it said no                                   -> sent (late acceptance, echo)
    'unknown',   -- called, and nobody knows: never called again -> sent (late acceptance, echo)
    'skipped'    -- not called: window closed, silenced, ...     -> sent (late acceptance, echo)
);

-- Addressed by PSID: no token fences a second call, so a row that may have been called is never called again.
CREATE TABLE otn.window_message (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer NOT NULL REFERENCES otn.page,
    subscriber_id  bigint NOT NULL REFERENCES otn.subscriber,
    cause          otn.window_cause NOT NULL,
    event_id       bigint,                                                -- the event that it answers; events go after their retention
    ask_id         bigint REFERENCES otn.ask,
    rule_id        integer REFERENCES otn.rule ON DELETE SET NULL,
    topic_id       integer REFERENCES otn.topic,                          -- of a request card, or of an opt-in that is thanked for
    ref            text,
    card           boolean NOT NULL,                                      -- a request card; false: a message
    message        jsonb,                                                 -- frozen as it is sent; null once it was forgotten
    state          otn.window_state NOT NULL DEFAULT 'waiting',
    attempts       smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempt_id     uuid,                                                  -- the latest; it travels as the message's metadata
    lease_until    timestamptz,
    not_before     timestamptz,
    not_after      timestamptz NOT NULL,                                  -- the window closes
    evidence       text CHECK (evidence IN ('answer', 'echo')),
    message_id     text,
    error_code     integer,
    error_subcode  integer,
    reason         text,                                                  -- why skipped, unknown or back to waiting
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    called_at      timestamptz,
    sent_at        timestamptz,
    tapped_at      timestamptz,                                           -- of a card: when Notify Me was tapped
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT window_message_once_per_event UNIQUE (event_id),
    CONSTRAINT window_message_once_per_ask UNIQUE (ask_id, subscriber_id),
    CONSTRAINT window_message_attempt_once UNIQUE (attempt_id),
    CONSTRAINT window_message_has_cause CHECK (CASE cause WHEN 'ask' THEN ask_id IS NOT NULL AND event_id IS NULL
        ELSE ask_id IS NULL AND event_id IS NOT NULL END),
    CONSTRAINT window_message_card_has_topic CHECK (NOT card OR topic_id IS NOT NULL),
    CONSTRAINT window_message_ask_is_card CHECK (cause <> 'ask' OR card),
    CONSTRAINT window_message_lease_while_sending CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CONSTRAINT window_message_called_has_attempt CHECK (
        state IN ('waiting', 'skipped') OR (attempt_id IS NOT NULL AND attempts > 0 AND called_at IS NOT NULL)),
    CONSTRAINT window_message_sent_has_evidence CHECK (
        (state = 'sent') = (evidence IS NOT NULL) AND (state = 'sent') = (sent_at IS NOT NULL) AND (state = 'sent') = (message_id IS NOT NULL)),
    CONSTRAINT window_message_refused_has_code CHECK (state <> 'refused' OR error_code IS NOT NULL),
    CONSTRAINT window_message_says_why CHECK (state NOT IN ('unknown', 'skipped') OR reason IS NOT NULL),
    CONSTRAINT window_message_to_send_has_content CHECK (state NOT IN ('waiting', 'sending') OR message IS NOT NULL),
    CONSTRAINT window_message_only_cards_are_tapped CHECK (card OR tapped_at IS NULL)
);
CREATE INDEX window_message_waiting ON otn.window_message (page_id, id) WHERE state = 'waiting';
CREATE INDEX window_message_sending ON otn.window_message (lease_until) WHERE state = 'sending';
CREATE INDEX window_message_of_subscriber ON otn.window_message (subscriber_id, created_at);
CREATE INDEX window_message_by_age ON otn.window_message (created_at) WHERE message IS NOT NULL;

CREATE TABLE otn.window_transition (
    from_state     otn.window_state NOT NULL,
    to_state       otn.window_state NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO otn.window_transition VALUES
    ('waiting', 'sending'), ('waiting', 'skipped'),
    ('sending', 'sent'), ('sending', 'refused'), ('sending', 'waiting'), ('sending', 'unknown'), ('sending', 'skipped'),
    ('refused', 'sent'), ('unknown', 'sent'), ('skipped', 'sent'), ('waiting', 'sent');

CREATE FUNCTION otn.check_window_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM otn.window_transition WHERE from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'window message % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'window_message_transition_is_known';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER window_message_transition_is_known BEFORE UPDATE OF state ON otn.window_message
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION otn.check_window_transition();

-- Every call twice, as otn.attempt has it for campaigns.
CREATE TABLE otn.window_attempt (
    window_message_id bigint NOT NULL REFERENCES otn.window_message,
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
    CONSTRAINT window_attempt_step_once PRIMARY KEY (window_message_id, attempt_id, step),
    CONSTRAINT window_attempt_answer_has_outcome CHECK ((step = 'answer') = (outcome IS NOT NULL))
);

-- Refused in the trigger's own name.
CREATE OR REPLACE FUNCTION otn.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

-- What was said of a call is never changed; an erasure only takes away what points to a person.
CREATE FUNCTION otn.refuse_all_but_forgetting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (to_jsonb(NEW) - 'message_id' - 'reason') IS DISTINCT FROM (to_jsonb(OLD) - 'message_id' - 'reason')
       OR NEW.message_id IS NOT NULL OR NEW.reason IS DISTINCT FROM OLD.reason AND NEW.reason IS NOT NULL THEN
        RAISE EXCEPTION '% is append only', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER window_attempt_is_append_only BEFORE UPDATE ON otn.window_attempt
    FOR EACH ROW EXECUTE FUNCTION otn.refuse_all_but_forgetting();
CREATE TRIGGER window_attempt_is_not_emptied BEFORE TRUNCATE ON otn.window_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION otn.refuse_change();
DROP TRIGGER attempt_is_append_only ON otn.attempt;
CREATE TRIGGER attempt_is_append_only BEFORE UPDATE ON otn.attempt
    FOR EACH ROW EXECUTE FUNCTION otn.refuse_all_but_forgetting();
CREATE TRIGGER attempt_is_not_emptied BEFORE TRUNCATE ON otn.attempt
    FOR EACH STATEMENT EXECUTE FUNCTION otn.refuse_change();

-- ───────────────────────────────────────────────────────────────── opt-ins and people

ALTER TABLE otn.token
    ADD COLUMN ref     text,                                              -- what the payload refers to: a product, a show
    ADD COLUMN card_id bigint REFERENCES otn.window_message;              -- the request card that was answered, where it is known

ALTER TABLE otn.subscriber
    ALTER COLUMN psid DROP NOT NULL,
    ADD COLUMN erased_at     timestamptz,
    ADD COLUMN profile_at    timestamptz,                                 -- when the profile was last asked for
    ADD COLUMN profile_error text,                                        -- why it is not known: no_access, phone_account, ...
    ADD CONSTRAINT subscriber_erased_has_no_name CHECK (CASE WHEN erased_at IS NULL THEN psid IS NOT NULL
        ELSE num_nonnulls(psid, first_name, last_name, locale, utc_offset) = 0 AND labels = '{}' AND attributes = '{}' END);
CREATE INDEX subscriber_without_profile ON otn.subscriber (page_id, last_interaction_at) WHERE profile_at IS NULL AND erased_at IS NULL;
CREATE INDEX subscriber_in_window ON otn.subscriber (page_id, last_interaction_at) WHERE last_interaction_at IS NOT NULL;

ALTER TABLE otn.event
    ADD COLUMN ref      text,                                             -- of a referral
    ADD COLUMN topic_id integer REFERENCES otn.topic;                     -- that a stop or start word names; null: all

-- ───────────────────────────────────────────────────────────────── silence

-- A stop word takes back the consents given before it, for one topic or for all; Notify Me tapped later is a new consent.
-- An operator's entry stands until an operator lifts it. Unreachable people are left out of plans until they speak again.
ALTER TABLE otn.suppression DROP CONSTRAINT suppression_pkey;
ALTER TABLE otn.suppression DROP CONSTRAINT suppression_reason_check;
ALTER TABLE otn.suppression
    ADD COLUMN id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN topic_id integer REFERENCES otn.topic,                     -- null: everything
    ADD COLUMN actor    text,
    ADD COLUMN note     text,
    ADD CONSTRAINT suppression_reason_is_known CHECK (reason IN ('stop_word', 'operator', 'unreachable', 'erased')),
    ADD CONSTRAINT suppression_unreachable_is_whole CHECK (reason NOT IN ('unreachable', 'erased') OR topic_id IS NULL);
CREATE UNIQUE INDEX suppression_once ON otn.suppression (subscriber_id, coalesce(topic_id, 0), reason);

-- Whether a consent of that moment is silenced at the last moment before a call.
CREATE FUNCTION otn.silenced(person bigint, topic integer, consented_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM otn.suppression s
        WHERE s.subscriber_id = person AND (s.topic_id IS NULL OR s.topic_id = topic)
          AND (s.reason IN ('operator', 'erased') OR (s.reason = 'stop_word' AND s.since >= consented_at)))
$$;

-- ───────────────────────────────────────────────────────────────── leaving

-- The platform's data deletion callback: an app-scoped id, rarely a PSID.
CREATE TABLE otn.deletion_request (
    id             uuid PRIMARY KEY,
    code           text NOT NULL UNIQUE CHECK (code <> ''),               -- the person may look up what became of it
    user_id        bytea,                                                 -- encrypted; null once it is done
    user_hash      bytea NOT NULL CHECK (octet_length(user_hash) = 32),
    state          text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'done')),
    received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    people         integer,                                               -- how many people of ours that was
    done_at        timestamptz,
    CONSTRAINT deletion_request_done_forgets CHECK (CASE state WHEN 'received' THEN user_id IS NOT NULL AND num_nonnulls(people, done_at) = 0
        ELSE user_id IS NULL AND num_nulls(people, done_at) = 0 END)
);
CREATE UNIQUE INDEX deletion_request_once_at_a_time ON otn.deletion_request (user_hash) WHERE state = 'received';

-- ───────────────────────────────────────────────────────────────── campaigns

ALTER TABLE otn.campaign
    ADD COLUMN filter        jsonb NOT NULL DEFAULT '{}',                 -- frozen with the content: ref, locale, attributes, opted_in_from, …
    ADD COLUMN result_labels jsonb NOT NULL DEFAULT '{}',                 -- state → labels put on people when the run ends
    ADD CONSTRAINT campaign_filter_is_object CHECK (jsonb_typeof(filter) = 'object' AND jsonb_typeof(result_labels) = 'object');

DROP TRIGGER campaign_content_is_frozen ON otn.campaign;
CREATE TRIGGER campaign_content_is_frozen
    BEFORE UPDATE OF page_id, topic_id, key, message, include_labels, exclude_labels, max_recipients, filter, content_hash ON otn.campaign
    FOR EACH ROW WHEN ((OLD.page_id, OLD.topic_id, OLD.key, OLD.message, OLD.include_labels, OLD.exclude_labels, OLD.max_recipients, OLD.filter, OLD.content_hash)
        IS DISTINCT FROM (NEW.page_id, NEW.topic_id, NEW.key, NEW.message, NEW.include_labels, NEW.exclude_labels, NEW.max_recipients, NEW.filter, NEW.content_hash))
    EXECUTE FUNCTION otn.refuse_frozen_change();

ALTER TABLE otn.exclusion DROP CONSTRAINT exclusion_reason_check;
ALTER TABLE otn.exclusion ADD CONSTRAINT exclusion_reason_is_known CHECK (reason IN (
    'erased', 'suppressed', 'unreachable', 'label_missing', 'label_excluded', 'locale_differs', 'attribute_differs',
    'interaction_outside', 'token_spent', 'token_reserved', 'token_expired', 'token_silenced', 'ref_differs', 'opt_in_outside',
    'over_max_recipients'));

-- Everyone who ever held a token of the topic: with the token that dies first, or with the reason why not.
-- Keys of the filter, all optional: ref, locale (lists), attributes (name → list), opted_in_from, opted_in_until,
-- interacted_from, interacted_until (times; from is inclusive, until is not).
DROP FUNCTION otn.audience(integer, text[], text[], integer);
CREATE FUNCTION otn.audience(of_topic integer, with_labels text[], without_labels text[], filter jsonb, at_most integer)
RETURNS TABLE (subscriber_id bigint, token_id bigint, expires_at timestamptz, reason text)
LANGUAGE sql STABLE AS $$
    WITH held AS (
        -- How near the token came to being used: 0 may be spent, then in the order of the reasons below.
        SELECT t.subscriber_id, t.id, t.expires_at,
               CASE WHEN r.state IN ('waiting', 'sending') THEN 3
                    WHEN r.token_id IS NOT NULL THEN 4
                    WHEN t.token_encrypted IS NULL OR t.expires_at <= now() THEN 6
                    WHEN s.stopped_at >= t.opted_in_at THEN 5
                    WHEN filter ? 'ref' AND NOT coalesce(filter -> 'ref' ? t.ref, false) THEN 1
                    WHEN t.opted_in_at < (SELECT (filter ->> 'opted_in_from')::timestamptz)
                         OR t.opted_in_at >= (SELECT (filter ->> 'opted_in_until')::timestamptz) THEN 2
                    ELSE 0 END AS place
        FROM otn.token t
        LEFT JOIN otn.recipient r ON r.token_id = t.id AND r.holds_token
        LEFT JOIN (
            SELECT s.subscriber_id, max(s.since) AS stopped_at FROM otn.suppression s
            WHERE s.reason = 'stop_word' AND (s.topic_id IS NULL OR s.topic_id = of_topic)
            GROUP BY s.subscriber_id
        ) AS s ON s.subscriber_id = t.subscriber_id
        WHERE t.topic_id = of_topic
    ), best AS (
        SELECT DISTINCT ON (held.subscriber_id) held.subscriber_id, held.id, held.expires_at, held.place
        FROM held ORDER BY held.subscriber_id, held.place, held.expires_at, held.id
    ), silence AS (
        SELECT s.subscriber_id,
               bool_or(s.reason IN ('operator', 'erased')) AS objected,
               max(s.since) FILTER (WHERE s.reason = 'stop_word') AS stopped_at,
               max(s.since) FILTER (WHERE s.reason = 'unreachable') AS unreachable_at,
               (SELECT max(t.opted_in_at) FROM otn.token t
                WHERE t.topic_id = of_topic AND t.subscriber_id = s.subscriber_id) AS newest
        FROM otn.suppression s WHERE s.topic_id IS NULL OR s.topic_id = of_topic
        GROUP BY s.subscriber_id
    ), judged AS (
        SELECT best.subscriber_id, best.id, best.expires_at,
               CASE WHEN p.erased_at IS NOT NULL THEN 'erased'
                    WHEN s.objected OR s.stopped_at >= s.newest THEN 'suppressed'
                    WHEN s.unreachable_at >= greatest(s.newest, p.last_interaction_at) THEN 'unreachable'
                    WHEN p.labels && without_labels THEN 'label_excluded'
                    WHEN NOT p.labels @> with_labels THEN 'label_missing'
                    WHEN filter ? 'locale' AND NOT coalesce(filter -> 'locale' ? p.locale, false) THEN 'locale_differs'
                    WHEN filter ? 'attributes' AND EXISTS (
                        SELECT FROM jsonb_each(filter -> 'attributes') AS wanted
                        WHERE NOT coalesce(wanted.value ? (p.attributes ->> wanted.key), false)) THEN 'attribute_differs'
                    WHEN (filter ? 'interacted_from' OR filter ? 'interacted_until') AND NOT coalesce(
                        p.last_interaction_at >= coalesce((SELECT (filter ->> 'interacted_from')::timestamptz), '-infinity')
                        AND p.last_interaction_at < coalesce((SELECT (filter ->> 'interacted_until')::timestamptz), 'infinity'), false)
                        THEN 'interaction_outside'
                    ELSE (ARRAY['ref_differs', 'opt_in_outside', 'token_reserved', 'token_spent', 'token_silenced', 'token_expired'])[best.place]
                    END AS reason
        FROM best
        JOIN otn.subscriber p ON p.id = best.subscriber_id
        LEFT JOIN silence s ON s.subscriber_id = best.subscriber_id
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
