"""Asking: what is sent inside the 24 h window, by PSID: request cards, answers and tests, each at most once."""
