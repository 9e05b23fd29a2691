"""Intake: what comes from outside becomes people, tokens, events and answers to be given. Each once, none lost."""
