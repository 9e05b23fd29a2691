"""Consent: what people permitted. Pages, topics, opt-ins, stop words, and how long all of it is kept."""
