-- Alarms: opened, changed and ended by what a look found, told to people once for each change.

-- name: merge_findings^
-- One statement a look. What is fine ends the alarms of its page and kind; what was not looked at ends nothing.
-- Two looks at once meet in the index alarm_open_once: one of them opens, the other one finds it open.
WITH found AS MATERIALIZED (
    SELECT DISTINCT ON (page_id, kind, subject) page_id, kind, subject, level, sentence, advice
    FROM jsonb_to_recordset(:findings) AS f(page_id integer, kind text, subject text, level text, sentence text, advice text)
    ORDER BY page_id, kind, subject, level = 'alarm' DESC, level = 'warn' DESC
), ended AS (
    UPDATE otn.alarm a SET ended_at = clock_timestamp()
    WHERE a.ended_at IS NULL
      AND EXISTS (SELECT FROM found f WHERE f.page_id IS NOT DISTINCT FROM a.page_id AND f.kind = a.kind)
      AND NOT EXISTS (SELECT FROM found f WHERE f.page_id IS NOT DISTINCT FROM a.page_id AND f.kind = a.kind
                      AND f.subject = a.subject AND f.level <> 'ok')
    RETURNING a.id
), open AS (
    INSERT INTO otn.alarm (page_id, kind, subject, level, sentence, advice)
    SELECT page_id, kind, subject, level, sentence, advice FROM found WHERE level <> 'ok'
    ORDER BY coalesce(page_id, 0), kind, subject
    ON CONFLICT (coalesce(page_id, 0), kind, subject) WHERE ended_at IS NULL
    DO UPDATE SET level = excluded.level, sentence = excluded.sentence, advice = excluded.advice, seen_at = clock_timestamp()
    RETURNING id
)
SELECT (SELECT count(*) FROM open) AS open, (SELECT count(*) FROM ended) AS ended;

-- name: untold
-- What changed since people were told last. An alarm that came and went untold is history: `alarms list --all` has it.
SELECT a.id, p.connection_id AS page, a.kind, a.subject, CASE WHEN a.ended_at IS NULL THEN a.level ELSE 'ended' END AS change,
       a.told_as, a.sentence, a.advice, a.since, a.ended_at
FROM otn.alarm a LEFT JOIN otn.page p ON p.id = a.page_id
WHERE CASE WHEN a.ended_at IS NULL THEN a.told_as IS DISTINCT FROM a.level ELSE a.told_as <> 'ended' END
ORDER BY a.id;

-- name: mark_told!
-- After the notifier returned. What changed while it worked stays untold: only what was in the text is marked.
UPDATE otn.alarm a SET told_as = told.change, told_at = clock_timestamp()
FROM unnest(:ids::bigint[], :changes::text[]) AS told (id, change)
WHERE a.id = told.id AND (told.change <> 'ended' OR a.ended_at IS NOT NULL);

-- name: list_alarms
-- Open ones first, the worst first; ended ones newest first.
SELECT p.connection_id AS page, a.kind, a.subject, a.level, a.sentence, a.advice, a.since, a.seen_at, a.ended_at, a.told_as, a.told_at
FROM otn.alarm a LEFT JOIN otn.page p ON p.id = a.page_id
WHERE a.ended_at IS NULL OR :ended
ORDER BY a.ended_at IS NOT NULL, a.level = 'alarm' DESC, a.ended_at DESC, a.id
LIMIT :most;

-- name: forget_alarms!
-- History has its end too.
DELETE FROM otn.alarm WHERE ended_at < clock_timestamp() - make_interval(days => :days);
