-- Assets: what other DAGs may follow.

-- name: optins_since^
-- Opt-ins behind the last one that an event told of. Ids are given before they are committed, so that one may appear
-- below: those of a stretch before it are counted again, and compared with the count of that time.
WITH last AS (SELECT coalesce(max(id), 0) AS newest FROM otn.token)
SELECT last.newest,
       (SELECT count(*) FROM otn.token t WHERE t.id > :newest AND t.id <= last.newest) AS later,
       (SELECT count(*) FROM otn.token t WHERE t.id > :newest - 10000 AND t.id <= :newest) AS behind_then,
       (SELECT count(*) FROM otn.token t WHERE t.id > last.newest - 10000 AND t.id <= last.newest) AS behind
FROM last;
