"""The script ``./otn``, on requirements that install at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otn.settings import ROOT

ECHO = """
import os, sys
print("ran", sys.argv[1:], os.getcwd(), sys.prefix)
print("path", os.environ["PYTHONPATH"])
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project whose path has blanks, with nothing to install."""
    root = tmp_path / "my #1; 'clone' $x"
    (root / "plugins" / "otn").mkdir(parents=True)
    (root / "plugins" / "otn" / "__init__.py").touch()
    (root / "plugins" / "otn" / "__main__.py").write_text(ECHO)
    shutil.copy(ROOT / "otn", root / "otn")
    for name in ("requirements.txt", "requirements-deploy.txt", "requirements-dev.txt", "constraints.txt"):
        (root / name).write_text("# nothing\n")
    return root


def _run(script: Path, *words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "OTN_PYTHON": sys.executable, "HOME": "/none"}
    given = {name: value for name, value in (base | environment).items() if value}
    return subprocess.run(
        [str(script), *words], check=False, capture_output=True, text=True, cwd=cwd, env=given, timeout=240
    )


def test_the_first_use_installs_and_says_so_and_the_next_does_not(place: Path, tmp_path: Path) -> None:
    first = _run(place / "otn", "report", "a b", "--json", cwd=tmp_path, PYTHONPATH="/foreign", CODE="7")
    assert first.returncode == 7, first.stderr
    assert first.stdout.splitlines()[0] == f"ran ['report', 'a b', '--json'] {tmp_path} {place / '.venv'}"
    assert first.stdout.splitlines()[1] == f"path {place / 'plugins'}:{place}"
    assert "about a minute" in first.stderr
    assert not Path("/none").exists()
    again = _run(place / "otn", "x", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    (tmp_path / "link").symlink_to(place / "otn")
    linked = _run(tmp_path / "link", "x", cwd=tmp_path)
    assert str(place / ".venv") in linked.stdout

    (place / "requirements.txt").write_text("# changed\n")
    changed = _run(place / "otn", "x")
    assert "installing" in changed.stderr
    assert not _run(place / "otn", "x").stderr

    moved = place.with_name("moved")
    shutil.copytree(place, moved, symlinks=True)
    elsewhere = _run(moved / "otn", "x")
    assert "installing" in elsewhere.stderr
    assert str(moved / ".venv") in elsewhere.stdout


def test_many_at_once_install_once(place: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: _run(place / "otn", "x"), range(4)))
    assert [one.returncode for one in done] == [0] * 4
    assert sum("installing what" in one.stderr for one in done) == 1


def test_an_interrupted_installation_is_not_believed(place: Path) -> None:
    assert _run(place / "otn", "x").returncode == 0
    (place / "requirements.txt").write_text("no-such-package-of-this-name @ file:///nonexistent\n")
    failed = _run(place / "otn", "x")
    assert failed.returncode == 1
    assert "ran" not in failed.stdout
    assert "installation failed" in failed.stderr
    assert "nonexistent" in failed.stderr, "pip's reason is shown"
    (place / "requirements.txt").write_text("# nothing\n")
    assert "installing" in _run(place / "otn", "x").stderr, "although this very text was installed before"


def test_a_killed_installation_is_done_again(place: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "setup.py").write_text(f"open({str(started)!r}, 'w').close()\nimport time\ntime.sleep(600)\n")
    (place / "requirements.txt").write_text(f"slow @ {(tmp_path / 'slow').as_uri()}\n")
    process = subprocess.Popen(
        [str(place / "otn"), "x"],
        env={"PATH": os.environ["PATH"], "OTN_PYTHON": sys.executable, "PIP_NO_BUILD_ISOLATION": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr
    assert b"installing" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (place / "requirements.txt").write_text("# nothing\n")
    assert _run(place / "otn", "x").returncode == 0


def test_the_tests_run_from_the_root_with_their_own_exit_code(place: Path, tmp_path: Path) -> None:
    (place / "pytest.py").write_text("import sys, os\nprint('pytest', sys.argv[1:], os.getcwd())\nsys.exit(5)\n")
    done = _run(place / "otn", "test", "-k", "a b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, f"pytest ['-k', 'a b'] {place}\n")
    assert "requirements-dev.txt" in done.stderr
    assert not _run(place / "otn", "x").stderr, "what tests need holds what the product needs"
    (place / "requirements-dev.txt").write_text("# more\n")
    assert not _run(place / "otn", "x").stderr, "the product needs nothing of it"
    assert "installing" in _run(place / "otn", "test").stderr


def _fake_python(folder: Path, name: str, version: tuple[int, int], *, venv: bool) -> None:
    """A Python of some version, with or without ensurepip."""
    script = folder / name
    script.write_text(
        "#!/bin/sh\n"
        f'case "$2" in\n*"<= sys"*) exit {0 if (3, 11) <= version < (3, 14) else 1} ;;\n'
        f'*ensurepip*) exit {0 if venv else 1} ;;\n*print*) echo "{version[0]}.{version[1]}"; exit 0 ;;\nesac\nexit 1\n'
    )
    script.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the tools of a bare system, without any Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env", "dirname", "readlink", "head", "rm", "sh"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize(
    ("manager", "without_python", "without_venv"),
    [
        ("apt-get", "apt-get install python3 python3-venv", "apt-get install python3.12-venv"),
        ("dnf", "dnf install python3.12", "dnf install python3.12-pip"),
        ("apk", "apk add python3", "apk add py3-pip"),
        (None, "the system's package", "python3.12-venv"),
    ],
)
def test_what_is_missing_is_named(
    place: Path, bare: Path, manager: str | None, without_python: str, without_venv: str
) -> None:
    if manager:
        (bare / manager).write_text("#!/bin/sh\n")
        (bare / manager).chmod(0o755)
    none = _run(place / "otn", "x", PATH=str(bare), OTN_PYTHON="")
    assert none.returncode == 1
    assert without_python in none.stderr
    _fake_python(bare, "python3", (3, 9), venv=True)
    assert without_python in _run(place / "otn", "x", PATH=str(bare), OTN_PYTHON="").stderr
    _fake_python(bare, "python3", (3, 12), venv=False)
    crippled = _run(place / "otn", "x", PATH=str(bare), OTN_PYTHON="")
    assert crippled.returncode == 1
    assert without_venv in crippled.stderr
    assert not (place / ".venv").exists()


def test_a_wrong_choice_is_not_replaced_by_another_python(place: Path) -> None:
    done = _run(place / "otn", "x", OTN_PYTHON="/nonexistent/python")
    assert done.returncode == 1
    assert "OTN_PYTHON" in done.stderr
