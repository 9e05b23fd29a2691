-- Labels and attributes that operators, files and campaigns put on people. In slices: a person who is locked for long
-- holds up the ingest of their webhooks. Rows are locked as ingest locks them, so that the two never wait in a circle.

-- name: people_by_psid
-- Who of these is there; whoever was erased has no PSID any more.
SELECT s.id, s.psid FROM otn.subscriber s WHERE s.page_id = :page_id AND s.psid = ANY (:psids::text[]);

-- name: people_chosen
-- People of a page by labels, attributes and the result of a campaign, walked by key.
SELECT s.id FROM otn.subscriber s
WHERE s.page_id = :page_id AND s.id > :after AND s.erased_at IS NULL
  AND s.labels @> :labels::text[] AND s.attributes @> :attributes::jsonb
  AND (:campaign_id::bigint IS NULL OR EXISTS (
      SELECT FROM otn.recipient r
      WHERE r.campaign_id = :campaign_id AND r.subscriber_id = s.id
        AND CASE :result WHEN 'delivered' THEN r.delivered_at IS NOT NULL WHEN 'read' THEN r.read_at IS NOT NULL
                 ELSE r.state::text = :result END))
ORDER BY s.id LIMIT :most;

-- name: change_people^
-- Adds before it takes away, and keeps the order in which labels came. Whoever would carry more than a person may is
-- left as they were, and counted.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:changes) AS w(id bigint, add text[], remove text[], set jsonb, unset text[])
), locked AS MATERIALIZED (
    SELECT s.id, s.labels, s.attributes FROM otn.subscriber s JOIN wanted USING (id)
    WHERE s.erased_at IS NULL ORDER BY s.page_id, s.psid FOR NO KEY UPDATE OF s
), changed AS (
    SELECT locked.id, locked.labels AS labels_before, locked.attributes AS attributes_before,
           (SELECT coalesce(array_agg(l.label ORDER BY l.place), '{}') FROM (
                SELECT label, min(place) AS place
                FROM unnest(locked.labels || wanted.add) WITH ORDINALITY AS u(label, place)
                WHERE label <> ALL (wanted.remove) GROUP BY label) AS l) AS labels,
           (locked.attributes || wanted.set) - wanted.unset AS attributes
    FROM locked JOIN wanted USING (id)
), judged AS (
    SELECT changed.*, (labels, attributes) IS DISTINCT FROM (labels_before, attributes_before) AS differs,
           cardinality(labels) > greatest(:most_labels, cardinality(labels_before)) AS too_many_labels,
           (SELECT count(*) FROM jsonb_object_keys(attributes)) > greatest(
               :most_attributes, (SELECT count(*) FROM jsonb_object_keys(attributes_before))) AS too_many_attributes
    FROM changed
), written AS (
    UPDATE otn.subscriber s SET labels = j.labels, attributes = j.attributes FROM judged j
    WHERE s.id = j.id AND j.differs AND NOT j.too_many_labels AND NOT j.too_many_attributes
    RETURNING 1
)
SELECT count(*) AS found, (SELECT count(*) FROM written) AS changed,
       count(*) FILTER (WHERE too_many_labels) AS too_many_labels,
       count(*) FILTER (WHERE too_many_attributes AND NOT too_many_labels) AS too_many_attributes
FROM judged;

-- name: results_to_label
-- What a campaign's results put on people who do not carry it yet, walked by key.
SELECT r.subscriber_id AS id, array_agg(DISTINCT l.label) AS labels
FROM otn.campaign c
JOIN LATERAL jsonb_each(c.result_labels) AS put(result, labels) ON true
JOIN LATERAL jsonb_array_elements_text(put.labels) AS l(label) ON true
JOIN otn.recipient r ON r.campaign_id = c.id
JOIN otn.subscriber s ON s.id = r.subscriber_id
WHERE c.id = :campaign_id AND r.subscriber_id > :after AND s.erased_at IS NULL AND NOT s.labels @> ARRAY[l.label]
  AND CASE put.result WHEN 'delivered' THEN r.delivered_at IS NOT NULL WHEN 'read' THEN r.read_at IS NOT NULL
           ELSE r.state::text = put.result END
GROUP BY r.subscriber_id ORDER BY r.subscriber_id LIMIT :most;
