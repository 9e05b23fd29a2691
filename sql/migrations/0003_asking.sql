-- Asking: who may be asked at this moment, and what senders inside the 24 h window look for.

-- Answers go before asks: a sender finds them without walking over a hundred thousand people who are to be asked.
CREATE INDEX window_message_answers ON otn.window_message (page_id, id) WHERE state = 'waiting' AND cause <> 'ask';
CREATE INDEX window_message_of_ask ON otn.window_message (ask_id) WHERE ask_id IS NOT NULL;

-- Tokens of a person that a campaign could spend now: alive, held by no recipient, not silenced. With a reference only
-- those that carry it: the stock of one product is no answer to another.
CREATE FUNCTION otn.unspent(person bigint, of_topic integer, of_ref text) RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer FROM otn.token t
    WHERE t.subscriber_id = person AND t.topic_id = of_topic AND (of_ref IS NULL OR t.ref = of_ref)
      AND t.token_encrypted IS NOT NULL AND t.expires_at > now()
      AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.holds_token)
      AND NOT otn.silenced(person, of_topic, t.opted_in_at)
$$;

-- Everyone of a page whose 24 h window is open: to be asked, or with the reason why not. The count and the plan read this.
-- A stop word silences until the person opts in to the topic again; answers given reset the count of unanswered cards.
-- Keys of the filter, all optional: locale (list), attributes (name → list), interacted_from, interacted_until (times).
CREATE FUNCTION otn.ask_audience(of_page integer, of_topic integer, of_ref text, with_labels text[], without_labels text[],
                                 filter jsonb, stock integer, gated text[], at_most integer)
RETURNS TABLE (subscriber_id bigint, closes_at timestamptz, reason text)
LANGUAGE sql STABLE AS $$
    WITH judged AS (
        SELECT p.id, least(p.last_interaction_at, now()) + interval '24 hours' AS closes_at,
               CASE WHEN p.erased_at IS NOT NULL THEN 'erased'
                    WHEN p.last_interaction_at <= now() - interval '24 hours' + interval '5 minutes' THEN 'window_closing'
                    WHEN otn.silenced(p.id, of_topic, heard.newest) THEN 'suppressed'
                    WHEN EXISTS (
                        SELECT FROM otn.suppression s
                        WHERE s.subscriber_id = p.id AND s.reason = 'unreachable' AND s.since >= p.last_interaction_at)
                        THEN 'unreachable'
                    WHEN p.labels && without_labels THEN 'label_excluded'
                    WHEN NOT p.labels @> with_labels THEN 'label_missing'
                    WHEN filter ? 'locale' AND NOT coalesce(filter -> 'locale' ? p.locale, false) THEN 'locale_differs'
                    WHEN filter ? 'attributes' AND EXISTS (
                        SELECT FROM jsonb_each(filter -> 'attributes') AS wanted
                        WHERE NOT coalesce(wanted.value ? (p.attributes ->> wanted.key), false)) THEN 'attribute_differs'
                    WHEN p.last_interaction_at < (filter ->> 'interacted_from')::timestamptz
                         OR p.last_interaction_at >= (filter ->> 'interacted_until')::timestamptz THEN 'interaction_outside'
                    WHEN upper(split_part(replace(p.locale, '-', '_'), '_', 2)) = ANY (gated) THEN 'region_gated'
                    WHEN otn.unspent(p.id, of_topic, of_ref) >= stock THEN 'has_token'
                    WHEN EXISTS (
                        SELECT FROM otn.window_message m
                        WHERE m.subscriber_id = p.id AND m.cause = 'ask' AND m.state <> 'skipped'
                          AND m.created_at > now() - interval '30 days') THEN 'asked_recently'
                    WHEN 2 <= (
                        SELECT count(*) FROM otn.window_message m
                        WHERE m.subscriber_id = p.id AND m.topic_id = of_topic AND m.card AND m.tapped_at IS NULL
                          AND m.state IN ('waiting', 'sending', 'sent', 'unknown') AND m.created_at > heard.newest)
                        THEN 'unanswered'
                    WHEN EXISTS (
                        SELECT FROM otn.window_message m
                        WHERE m.subscriber_id = p.id AND m.topic_id = of_topic AND m.card AND m.tapped_at IS NULL
                          AND m.created_at > heard.newest
                          AND (m.state IN ('waiting', 'sending')
                               OR (m.state IN ('sent', 'unknown') AND m.called_at > now() - interval '1 hour')))
                        THEN 'asked_already' END AS reason
        FROM otn.subscriber p
        CROSS JOIN LATERAL (
            SELECT coalesce(max(t.opted_in_at), '-infinity') AS newest
            FROM otn.token t WHERE t.subscriber_id = p.id AND t.topic_id = of_topic) AS heard
        WHERE p.page_id = of_page AND p.last_interaction_at > now() - interval '24 hours'
    ), ranked AS (
        SELECT judged.*, CASE WHEN judged.reason IS NULL AND at_most IS NOT NULL THEN
               row_number() OVER (PARTITION BY judged.reason IS NULL ORDER BY judged.closes_at, judged.id) END AS place
        FROM judged
    )
    SELECT ranked.id, ranked.closes_at, CASE WHEN ranked.place > at_most THEN 'over_max_people' ELSE ranked.reason END
    FROM ranked
$$;
