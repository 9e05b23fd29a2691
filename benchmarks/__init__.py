"""Benchmarks: each makes what it needs, measures it beside something known, and leaves nothing behind."""
