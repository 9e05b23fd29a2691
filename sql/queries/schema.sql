-- name: version$
-- Which migration ran last.
SELECT version_num FROM otn.alembic_version;

-- name: oldest_code$
-- The version that code must know at least to run on this schema.
SELECT otn.oldest_code();
