"""Known weaknesses of the pinned packages, by pip-audit. Where the advisory service cannot be reached, it says so.

Usage: audit.py PIP_AUDIT. With OTN_AUDIT=required, not having audited is a failure. OTN_OSV_URL names another service
that answers as OSV's /v1/query does: a mirror behind a firewall.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = ROOT / ".ci" / "advisories.txt"  # a line each: the advisory's id, then why it does not concern us
KNOWN_WEAK = "jinja2==2.4.1"  # a service that finds nothing in it tells nothing about the others either
URL = os.environ.get("OTN_OSV_URL", "https://api.osv.dev/v1/query")
SERVICE = ("--vulnerability-service", "osv", "--osv-url", URL, "--timeout", "10", "--progress-spinner", "off")
ALONE = ("--no-deps", "--disable-pip")  # what is pinned, asked of nobody else


def audit(program: str, requirements: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Ask about the packages of a file."""
    words = [program, "--requirement", str(requirements), *ALONE, *SERVICE, *more]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603 - our words
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", "it did not answer in ten minutes")


def answers(program: str) -> bool:
    """Whether the service is there, and finds what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        weak = Path(folder) / "requirements.txt"
        weak.write_text(KNOWN_WEAK, encoding="utf-8")
        found = audit(program, weak)
    return found.returncode == 1 and bool(re.search(r"^jinja2\s+2\.4\.1\s", found.stdout, re.MULTILINE))


def accepted() -> list[str]:
    """Ids of advisories that do not concern us."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines() if ACCEPTED.exists() else []
    return [line.split(maxsplit=1)[0] for line in lines if line.strip() and not line.startswith("#")]


def main() -> int:
    """Audit; 1 if something was found, or if nobody could be asked and that was required."""
    program = sys.argv[1]
    if not answers(program):
        sys.stdout.write(f"NOT AUDITED: the advisory service {URL} does not answer from this machine.\n")
        return int(os.environ.get("OTN_AUDIT") == "required")
    found = audit(program, ROOT / "constraints.txt", *(word for one in accepted() for word in ("--ignore-vuln", one)))
    sys.stdout.write(found.stdout + found.stderr)
    return found.returncode


if __name__ == "__main__":
    sys.exit(main())
