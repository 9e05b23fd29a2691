-- Watching: what is wrong and whether people were told; halts that only a person lifts; which run serves which campaign.

-- ───────────────────────────────────────────────────────────────── pages

ALTER TABLE otn.page
    ADD COLUMN halt_held        boolean NOT NULL DEFAULT false,           -- a campaign that is triggered again does not lift it
    ADD COLUMN blocked_at       timestamptz,                              -- the platform blocked the page and has not unblocked it
    ADD COLUMN policy_event_id  bigint,                                   -- the block or unblock that was heeded last ...
    ADD COLUMN warning_event_id bigint,                                   -- ... and the warning; events go after their retention
    ADD CONSTRAINT page_only_halts_are_held CHECK (NOT halt_held OR halted_at IS NOT NULL),
    ADD CONSTRAINT page_blocked_is_held CHECK (blocked_at IS NULL OR halt_held);

-- What was heeded before this version is not heeded again.
UPDATE otn.page p SET
    policy_event_id = (SELECT e.id FROM otn.event e
        WHERE e.page_id = p.id AND e.subscriber_id IS NULL AND e.kind = 'policy' AND split_part(e.detail, ':', 1) IN ('block', 'unblock')
        ORDER BY e.occurred_at DESC, e.detail LIKE 'block%' DESC, e.id DESC LIMIT 1),
    warning_event_id = (SELECT e.id FROM otn.event e
        WHERE e.page_id = p.id AND e.subscriber_id IS NULL AND e.kind = 'policy' AND split_part(e.detail, ':', 1) = 'warning'
        ORDER BY e.occurred_at DESC, e.id DESC LIMIT 1);
UPDATE otn.page SET halt_held = true, blocked_at = halted_at WHERE halt_reason LIKE 'policy_enforcement:%';

-- ───────────────────────────────────────────────────────────────── traffic

-- Events of a page by the quarter of an hour in which they were ingested: what is usual for it. No event, no row.
CREATE TABLE otn.traffic (
    page_id        integer NOT NULL REFERENCES otn.page,
    quarter        timestamptz NOT NULL,
    events         integer NOT NULL,
    CONSTRAINT traffic_once PRIMARY KEY (page_id, quarter),
    CONSTRAINT traffic_is_something CHECK (events > 0),
    CONSTRAINT traffic_by_quarters CHECK (mod(extract(epoch FROM quarter)::bigint, 900) = 0)
);

-- ───────────────────────────────────────────────────────────────── runs

-- The Airflow runs that work on a campaign: a campaign that is sending without any of them alive was interrupted.
CREATE TABLE otn.campaign_run (
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,
    dag_id         text NOT NULL,
    run_id         text NOT NULL,
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT campaign_run_once PRIMARY KEY (campaign_id, dag_id, run_id)
);

-- ───────────────────────────────────────────────────────────────── alarms

-- What is wrong, from the look that saw it first to the look that did not see it any more.
CREATE TABLE otn.alarm (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    page_id        integer REFERENCES otn.page,                           -- null: the installation
    kind           text NOT NULL,
    subject        text NOT NULL DEFAULT '',                              -- which of its kind: a topic, a campaign
    level          text NOT NULL,
    sentence       text NOT NULL,
    advice         text NOT NULL,
    since          timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at       timestamptz,
    told_as        text,                                                  -- what people were told last; null: nothing yet
    told_at        timestamptz,
    CONSTRAINT alarm_kind_is_named CHECK (kind <> ''),
    CONSTRAINT alarm_level_is_known CHECK (level IN ('warn', 'alarm')),
    CONSTRAINT alarm_told_is_known CHECK (told_as IN ('warn', 'alarm', 'ended')),
    CONSTRAINT alarm_told_has_time CHECK ((told_as IS NULL) = (told_at IS NULL)),
    CONSTRAINT alarm_end_is_told_after_it CHECK (told_as <> 'ended' OR ended_at IS NOT NULL)
);
CREATE UNIQUE INDEX alarm_open_once ON otn.alarm (coalesce(page_id, 0), kind, subject) WHERE ended_at IS NULL;
CREATE INDEX alarm_untold ON otn.alarm (id)
    WHERE CASE WHEN ended_at IS NULL THEN told_as IS DISTINCT FROM level ELSE told_as <> 'ended' END;
