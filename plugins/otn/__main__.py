"""``python -m otn``: the command line."""

from __future__ import annotations

from otn.cli.app import main

if __name__ == "__main__":
    main()
