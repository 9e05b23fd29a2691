from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from otn.local import machine
from otn.local.home import Home
from otn.local.processes import SUPERVISOR, alive, end_home, of_home, program_of
from otn.local.supervision import Program, Supervisor, SupervisorError

Eventually = Callable[[Callable[[], object]], object]

# Says what it was given, and starts a child that heeds no request to end.
REPORT = """
import json, os, subprocess, sys, time
handles = sorted(os.listdir("/proc/self/fd"))
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
here = {
    "pid": os.getpid(), "child": child.pid, "environment": dict(os.environ), "folder": os.getcwd(),
    "files": [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)], "handles": handles,
    "session": os.getsid(0), "words": sys.argv,
}
with open(sys.argv[1] + ".new", "w") as file:
    json.dump(here, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def _program(tmp_path: Path, name: str = "reporter", **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", REPORT, str(tmp_path / name)), environment, stop_s=1)


def _report(eventually: Eventually, path: Path, other_than: int = 0) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        found = json.loads(path.read_text()) if path.exists() else {}
        return found if found.get("pid", other_than) != other_than else None

    return eventually(look)


def _start(home: Home, *programs: Program) -> Supervisor:
    supervisor = Supervisor(home)
    supervisor.start(programs)
    for program in programs:
        supervisor.start_program(program.name)
    return supervisor


def test_a_program_gets_its_environment_and_nothing_of_the_caller(
    home: Home, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "x")
    secret = 'quote " percent % hash # line\nend'
    left_open = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(left_open, True)
    try:
        supervisor = _start(home, _program(tmp_path, SECRET=secret))
        seen = _report(eventually, tmp_path / "reporter")
    finally:
        os.close(left_open)
    environment = seen["environment"]
    assert environment["SECRET"] == secret
    assert environment["OTN_HOME_ID"] == home.identity
    assert "OF_THE_CALLER" not in environment
    assert seen["folder"] == str(home.path)
    assert seen["files"][0] == "/dev/null"
    assert len(seen["handles"]) == 4, "stdin, stdout, stderr and the folder being listed"
    assert seen["session"] != os.getsid(0)
    for process in of_home(home.identity, home.pgdata):
        assert "line" not in " ".join(process.cmdline()).replace("readline", "")
        if program_of(process) == SUPERVISOR:
            assert "SECRET" not in process.environ()
    for file in home.run.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    supervisor.shut_down()


def test_what_ends_is_started_again_and_nothing_of_its_earlier_life_is_left(
    home: Home, tmp_path: Path, eventually: Eventually
) -> None:
    supervisor = _start(home, _program(tmp_path), _program(tmp_path, "bystander"))
    first = _report(eventually, tmp_path / "reporter")
    beside = _report(eventually, tmp_path / "bystander")
    eventually(lambda: supervisor.programs()["reporter"].state == "RUNNING")
    orphan = psutil.Process(first["child"])
    os.kill(first["pid"], signal.SIGKILL)
    second = _report(eventually, tmp_path / "reporter", other_than=first["pid"])
    assert not alive(orphan), "the killed program's child was ended before the next life began"
    assert second["child"] != first["child"]
    assert psutil.pid_exists(beside["child"]), "another program's processes are left alone"
    assert supervisor.programs()["bystander"].pid == beside["pid"]


def test_down_leaves_nothing(home: Home, tmp_path: Path, eventually: Eventually) -> None:
    _start(home, _program(tmp_path))
    _report(eventually, tmp_path / "reporter")
    assert len(of_home(home.identity, home.pgdata)) == 3
    assert machine.down(home)
    assert of_home(home.identity, home.pgdata) == []
    assert not home.run.exists()
    assert not machine.down(home), "the second time there is nothing"


def test_down_finds_everything_when_the_supervisor_was_killed(
    home: Home, tmp_path: Path, eventually: Eventually
) -> None:
    _start(home, _program(tmp_path))
    seen = _report(eventually, tmp_path / "reporter")
    head = next(one for one in of_home(home.identity, home.pgdata) if program_of(one) == SUPERVISOR)
    head.kill()
    eventually(lambda: not alive(head))
    survivors = [psutil.Process(seen["pid"]), psutil.Process(seen["child"])]
    assert all(alive(one) for one in survivors)
    assert machine.status(home).processes == ()
    assert machine.down(home)
    assert of_home(home.identity, home.pgdata) == []
    assert not any(alive(one) for one in survivors)


def test_down_works_when_the_home_was_removed(tmp_path: Path, eventually: Eventually) -> None:
    home = Home.at(tmp_path / ("long/" * 20) / "home")
    home.create()
    control = _start(home, _program(tmp_path))._socket_path()
    _report(eventually, tmp_path / "reporter")
    assert control.exists()
    shutil.rmtree(home.path)
    assert machine.down(home)
    assert of_home(home.identity, home.pgdata) == []
    assert not control.parent.exists()
    assert not home.path.exists()


def test_a_folder_that_somebody_else_has_put_in_the_way_is_not_used(tmp_path: Path) -> None:
    home = Home.at(tmp_path / ("long/" * 20) / "home")
    home.create()
    trap = Supervisor(home)._short_folder()
    trap.mkdir(mode=0o755)
    try:
        with pytest.raises(SupervisorError, match="TMPDIR"):
            Supervisor(home).start([])
    finally:
        trap.rmdir()


def test_a_supervisor_starts_where_a_killed_one_has_left_its_files(
    home: Home, tmp_path: Path, eventually: Eventually
) -> None:
    _start(home, _program(tmp_path))
    first = _report(eventually, tmp_path / "reporter")
    end_home(home.identity, home.pgdata, grace_s=0)
    assert Supervisor(home)._socket_path().exists()
    assert (home.run / "supervisord.pid").exists()
    _start(home, _program(tmp_path))
    _report(eventually, tmp_path / "reporter", other_than=first["pid"])


def test_homes_side_by_side_are_not_touched(home: Home, tmp_path: Path, eventually: Eventually) -> None:
    other = Home.at(tmp_path / "other")
    other.create()
    try:
        _start(home, _program(tmp_path, "here"))
        _start(other, _program(tmp_path, "there"))
        _report(eventually, tmp_path / "here")
        seen = _report(eventually, tmp_path / "there")
        machine.down(home)
        assert alive(psutil.Process(seen["pid"]))
        assert Supervisor(other).programs()["there"].pid == seen["pid"]
    finally:
        machine.down(other)


@pytest.mark.parametrize("name", ["a b", "50% #1; 'x' \"y\" $HOME", "ü" * 20, "deep/" * 30 + "end"])
def test_any_path_will_do_and_its_socket_is_private(
    tmp_path: Path, name: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.at(tmp_path / name)
    home.create()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path) if len(str(tmp_path)) < 60 else None)
    supervisor = _start(home, _program(tmp_path))
    try:
        assert _report(eventually, tmp_path / "reporter")["folder"] == str(home.path)
        control = supervisor._socket_path()
        assert control.parent.stat().st_mode & 0o077 == 0
        assert (home.logs / "reporter.log").exists()
    finally:
        machine.down(home)
    assert not control.exists()
    assert of_home(home.identity, home.pgdata) == []


def test_a_supervisor_that_cannot_start_names_its_log(home: Home, tmp_path: Path) -> None:
    broken = Program("broken", ("x",), {}, stop_signal="NO SIGNAL")
    with pytest.raises(SupervisorError, match=r"supervisord\.log"):
        Supervisor(home).start([broken])


def test_stopping_what_has_ended_is_no_error(home: Home, tmp_path: Path, eventually: Eventually) -> None:
    supervisor = _start(home, _program(tmp_path))
    _report(eventually, tmp_path / "reporter")
    supervisor.stop_programs(["reporter", "unknown"])
    supervisor.stop_programs(["reporter"])
    assert supervisor.programs()["reporter"].pid is None
    supervisor.start_program("reporter")
    eventually(lambda: supervisor.programs()["reporter"].pid)
    supervisor.start_program("reporter")
