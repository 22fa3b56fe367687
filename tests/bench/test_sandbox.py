"""Programs that models write run in a sandbox: what they may do there, and that they can do nothing else."""

import socket
import sys
import time
import uuid
from pathlib import Path

import pytest
from need_bwrap import need_bwrap

from bench.sandbox import Limits, Outcome, check_sandbox, run_program
from results.errors import InputError

# Of /tmp a program sees the folder of the environment that runs it, where that lies there.
IN_TMP = [Path(sys.prefix).parts[2]] if Path(sys.prefix).is_relative_to("/tmp") else []
SAYS = """import os
for pipe in range(3, 9):
    try:
        os.write(pipe, b'passed' * {})
    except OSError:
        pass
"""


@pytest.fixture(scope="module", autouse=True)
def _bwrap():
    need_bwrap()


def ended(program, **limits):
    return run_program(program, Limits(**limits))


@pytest.mark.parametrize(
    "program",
    [
        "def add(a, b):\n    return a + b\nassert add(2, 3) == 5",
        "import numpy\nassert numpy.arange(4).sum() == 6",
        "open('/tmp/own', 'w').write('a')\nassert open('/tmp/own').read() == 'a'",
        "print('x' * 10**7)",
    ],
)
def test_a_program_that_comes_to_its_end_has_passed(program):
    assert ended(program) == Outcome(passed=True)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def add(a, b):\n    return a * b\nassert add(2, 3) == 5", "AssertionError"),
        ("def add(a, b) return", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("input()", "EOFError"),
        # It ends itself, says that it has passed, or says more than is read.
        ("import os\nos._exit(0)", "was ended"),
        (f"{SAYS.format(10)}\nos._exit(0)", "was ended"),
        (f"{SAYS.format(10**7)}\nos._exit(0)", "was ended"),
    ],
)
def test_a_program_that_does_not_has_not(program, reason):
    outcome = ended(program)
    assert not outcome.passed
    assert reason in outcome.reason


def test_an_endless_program_is_ended_by_its_share_of_the_processor():
    started = time.monotonic()
    outcome = ended("while True: pass", cpu_seconds=1, wall_seconds=120)
    assert (outcome.passed, outcome.reason) == (False, "was ended by a limit or by itself")
    assert time.monotonic() - started < 120


def test_a_program_that_waits_is_ended_by_the_clock():
    outcome = ended("import time\ntime.sleep(1000)", wall_seconds=1)
    assert (outcome.passed, outcome.reason) == (False, "took too long")


@pytest.mark.parametrize(
    "place", ["/x", "/usr/x", "/dev/x", "/dev/shm/x", "/proc/x", "/home/x", "{executable}", "{tests}"]
)
def test_nothing_is_written_outside_of_its_tmp(place, tmp_path):
    shown = place.format(executable="' + __import__('sys').executable + '", tests=tmp_path / "x")
    assert ended(f"open('{shown}', 'w').write('x')").reason in {
        "FileNotFoundError", "PermissionError", "OSError",
    }  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_its_tmp_is_empty_its_own_and_gone_with_it(tmp_path):
    assert ended(
        f"import os\nassert os.listdir('/tmp') == {IN_TMP}\nopen('/tmp/left', 'w').write('x')"
    ).passed
    assert ended(f"import os\nassert os.listdir('/tmp') == {IN_TMP}").passed
    assert not Path("/tmp/left").exists()


def test_nobodys_files_are_read(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("s3cret")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("API_KEY", "s3cret")
    for place in (home / "secret", Path(__file__), "/etc/passwd", "/etc/shadow", "/root/.bashrc"):
        assert ended(f"open({str(place)!r}).read()").reason == "FileNotFoundError", place
    assert ended(
        f"import os\nassert os.environ['HOME'] == '/tmp' and os.listdir(os.path.expanduser('~')) == {IN_TMP}"
    ).passed
    assert ended("import os\nassert 's3cret' not in str(os.environ) and 'API_KEY' not in os.environ").passed
    assert ended("import manyshot").reason == "ModuleNotFoundError"


def test_there_is_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        outside = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)"
        assert ended(outside).reason in {"ConnectionRefusedError", "OSError"}
        with pytest.raises(TimeoutError):
            server.accept()
    assert ended("import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=2)").reason == "OSError"


def test_other_processes_are_neither_seen_nor_reached():
    seen = "import os\nassert sum(name.isdigit() for name in os.listdir('/proc')) < 5"
    assert ended(seen).passed
    assert ended("import os\nos.setuid(0)").passed is False


def test_how_much_it_takes_is_limited():
    assert ended("x = bytearray(2**31)").reason == "MemoryError"
    bomb = "import os, time\nfor _ in range(100):\n    if os.fork() == 0: time.sleep(1000)"
    assert ended(bomb, wall_seconds=30).reason == "BlockingIOError"
    assert ended("open('/tmp/x', 'wb').write(bytes(2**21))", files=2**20).reason == "OSError"
    many = "for i in range(9): open(f'/tmp/{i}', 'wb').write(bytes(2**18))"
    assert ended(many, files=2**20).reason == "OSError"
    raised = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))"
    assert ended(raised).reason in {"ValueError", "PermissionError"}


def test_what_a_program_has_started_ends_with_it():
    mark = f"mark-{uuid.uuid4()}"
    left = (
        "import subprocess, sys\n"
        "sleeping = [sys.executable, '-c', 'import time; time.sleep(1000)']\n"
        f"subprocess.Popen([*sleeping, '{mark}'], start_new_session=True)"
    )
    assert ended(left).passed
    for _ in range(100):
        if not any(runs(path, mark) for path in Path("/proc").glob("[0-9]*/cmdline")):
            return
        time.sleep(0.1)
    pytest.fail("it still runs")


def runs(path, mark):
    try:
        return mark.encode() in path.read_bytes()
    except OSError:  # it has ended
        return False


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "its command bwrap is not here: install it"),
        (
            "#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1",
            "bubblewrap cannot make a sandbox",
        ),
        ("#!/bin/sh\nexit 0", "(it says nothing)"),
    ],
)
def test_without_a_sandbox_one_sentence_says_so(found, says, monkeypatch, tmp_path):
    if found:
        (tmp_path / "bwrap").write_text(found)
        (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_sandbox.cache_clear()
    with pytest.raises(InputError) as refused:
        check_sandbox()
    check_sandbox.cache_clear()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
