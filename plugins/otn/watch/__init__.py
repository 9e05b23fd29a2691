"""Watching: what is wrong with the pages and with the installation, and whether people were told."""
