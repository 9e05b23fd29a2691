"""Consent: what people permitted and refused: topics, rules, people, silence, and the ledger of it all."""
