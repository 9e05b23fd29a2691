-- Media that was handed over to the platform, once a page.

-- name: find_attachment^
-- The same bytes, for this page.
SELECT id, attachment_id, kind, name, bytes, uploaded_at FROM otn.attachment WHERE page_id = :page_id AND sha256 = :sha256;

-- name: keep_attachment^
-- Two who upload the same at once both hand it over; the first row stays, and the other id is a copy that nobody uses. Wanted
-- anew, the new id takes its place.
INSERT INTO otn.attachment AS a (page_id, sha256, kind, media_type, bytes, name, attachment_id, uploaded_by)
VALUES (:page_id, :sha256, :kind, :media_type, :bytes, :name, :attachment_id, :actor)
ON CONFLICT ON CONSTRAINT attachment_once DO UPDATE SET
    attachment_id = CASE WHEN :anew THEN excluded.attachment_id ELSE a.attachment_id END,
    uploaded_by = CASE WHEN :anew THEN excluded.uploaded_by ELSE a.uploaded_by END,
    uploaded_at = CASE WHEN :anew THEN excluded.uploaded_at ELSE a.uploaded_at END
RETURNING id, attachment_id, kind, name, bytes, uploaded_at;

-- name: list_attachments
-- Newest first, to be chosen from.
SELECT id, attachment_id, kind, name, bytes, uploaded_at FROM otn.attachment
WHERE page_id = :page_id ORDER BY uploaded_at DESC, id DESC LIMIT :most;

-- name: whose_attachments
-- Of some ids, those of other pages; with the id of the same file on this one, if it has it.
SELECT DISTINCT ON (o.attachment_id) o.attachment_id, o.name, p.connection_id AS page, h.attachment_id AS here
FROM otn.attachment o JOIN otn.page p ON p.id = o.page_id
LEFT JOIN otn.attachment h ON h.page_id = :page_id AND h.sha256 = o.sha256
WHERE o.attachment_id = ANY (:ids::text[]) AND o.page_id <> :page_id
  AND NOT EXISTS (SELECT FROM otn.attachment s WHERE s.page_id = :page_id AND s.attachment_id = o.attachment_id)
ORDER BY o.attachment_id, o.id;
