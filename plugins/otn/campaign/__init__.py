"""Campaigns: who gets the message, sending it once, and what is known of each."""
