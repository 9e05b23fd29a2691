"""Asking: what is sent inside the 24 h window, by PSID: request cards and answers, each at most once."""
