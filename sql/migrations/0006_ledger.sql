-- Profiles that are asked for again, and the ledger: who agreed to what, and what became of it.

ALTER TABLE otn.page
    ADD COLUMN profiles_after timestamptz;                                -- no profile is asked for before then

ALTER TABLE otn.subscriber
    ADD COLUMN profile_due_at timestamptz;                                -- when the profile is asked for again
CREATE INDEX subscriber_profile_again ON otn.subscriber (page_id, profile_due_at) WHERE profile_at IS NOT NULL AND erased_at IS NULL;

-- ───────────────────────────────────────────────────────────────── the ledger

-- One row a consent. Whoever holds the token decides first: a fact of the past outlives an erasure and an expiry.
CREATE VIEW otn.v_consent AS
SELECT k.id AS consent_id, k.subscriber_id, p.connection_id AS page, t.key AS topic, t.title AS topic_title, k.ref,
       k.opted_in_at, k.source, k.card_id, w.cause::text AS asked_by, w.sent_at AS asked_at,
       w.message #>> '{attachment,payload,title}' AS card_title, k.expires_at,
       CASE WHEN r.state IN ('sent', 'refused') THEN 'spent'
            WHEN r.state IS NOT NULL THEN 'reserved'
            WHEN s.erased_at IS NOT NULL THEN 'erased'
            WHEN k.token_encrypted IS NULL OR k.expires_at <= now() THEN 'expired'
            WHEN otn.silenced(k.subscriber_id, k.topic_id, k.opted_in_at) THEN 'silenced'
            ELSE 'unspent' END AS state,
       c.key AS spent_campaign,
       CASE WHEN r.state = 'sent' THEN r.sent_at WHEN r.state = 'refused' THEN r.updated_at END AS spent_at,
       r.state::text AS spent_state
FROM otn.token k
JOIN otn.topic t ON t.id = k.topic_id
JOIN otn.page p ON p.id = t.page_id
JOIN otn.subscriber s ON s.id = k.subscriber_id
LEFT JOIN otn.window_message w ON w.id = k.card_id
LEFT JOIN otn.recipient r ON r.token_id = k.id AND r.holds_token
LEFT JOIN otn.campaign c ON c.id = r.campaign_id;

COMMENT ON VIEW otn.v_consent IS 'One row per consent (a tap on Notify Me): who agreed to what, when, asked by which card, and what became of it. Part of the contract for SQL users.';
COMMENT ON COLUMN otn.v_consent.consent_id IS 'Our number of the consent (otn.token.id).';
COMMENT ON COLUMN otn.v_consent.subscriber_id IS 'Our number of the person. After an erasure it leads to nobody.';
COMMENT ON COLUMN otn.v_consent.page IS 'Connection of the page.';
COMMENT ON COLUMN otn.v_consent.topic IS 'Key of the topic agreed to.';
COMMENT ON COLUMN otn.v_consent.topic_title IS 'Title of the topic today; card_title is what the person read.';
COMMENT ON COLUMN otn.v_consent.ref IS 'What it is about beyond the topic: a product, a show. Null: the topic as such.';
COMMENT ON COLUMN otn.v_consent.opted_in_at IS 'When the person tapped, by the platform''s clock.';
COMMENT ON COLUMN otn.v_consent.source IS 'How it came: webhook, or the import that brought it.';
COMMENT ON COLUMN otn.v_consent.card_id IS 'The request card that was answered (otn.window_message.id). Null: asked elsewhere, or not known.';
COMMENT ON COLUMN otn.v_consent.asked_by IS 'What sent that card: ask (a run of otn_ask) or rule (an answer).';
COMMENT ON COLUMN otn.v_consent.asked_at IS 'When that card was sent.';
COMMENT ON COLUMN otn.v_consent.card_title IS 'What the person read above Notify Me, while the card''s text is kept.';
COMMENT ON COLUMN otn.v_consent.expires_at IS 'Nothing may be sent on it from then on; a year after opted_in_at at most.';
COMMENT ON COLUMN otn.v_consent.state IS 'unspent: a campaign may use it. reserved: planned, in a call, or with an unknown end. spent: sent, or refused as used. silenced: taken back by a stop, or an operator objected. expired. erased.';
COMMENT ON COLUMN otn.v_consent.spent_campaign IS 'The campaign that spent it, or that it is reserved for.';
COMMENT ON COLUMN otn.v_consent.spent_at IS 'When it was spent.';
COMMENT ON COLUMN otn.v_consent.spent_state IS 'State of its recipient in that campaign.';
