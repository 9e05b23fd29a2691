-- What version 0006 added.
UPDATE otn.page SET profiles_after = now() WHERE id = 1;
UPDATE otn.subscriber SET profile_at = now(), profile_due_at = now() WHERE id = 1;
