"""Every requirement has its version in constraints.txt, and no address of an index stands anywhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def names(file: str) -> set[str]:
    """Names of the packages that a requirements file lists."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines if line and line[0] not in "#-")
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def main() -> int:
    """Tell what is wrong; answer how much."""
    pinned = names("constraints.txt")
    wrong = [
        f"{file}: {name} has no version in constraints.txt. Make the file anew; its first lines say how."
        for file in ("requirements.txt", "requirements-deploy.txt", "requirements-dev.txt")
        for name in sorted(names(file) - pinned)
    ]
    checked = ("constraints.txt", "requirements.txt", "requirements-deploy.txt")
    text = "".join((ROOT / file).read_text(encoding="utf-8") for file in checked)
    if re.search(r"https?://|--(extra-)?index-url|--hash", text):
        wrong.append("constraints.txt or a requirements file names an address. Take it out.")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
