"""Running a Python program that nobody has read, in a sandbox of bubblewrap's (`bwrap`).

The program sees Python, its packages and the system's libraries, all read-only, and an empty /tmp of its own.
It has no network, sees no other process and nobody's files, and ends with its sandbox. How much of the
processor and the memory it may use, and how many processes it may start, is limited.
"""

import functools
import json
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from results.errors import InputError

SANDBOX = "sandbox-1"
"""What a record's key calls it; another number where programs come out otherwise."""
SANDBOX_NOTICE = (
    "what the model wrote ran in a sandbox without network, to 3 seconds of the processor and a gibibyte of "
    "memory for a program; lm-eval's limit is 3 seconds of the clock"
)
_PROGRAM = Path(__file__).parent / "sandboxed_program.py"
_MOST_SAID = 4096
_STARTED = b"started\n"
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64")
_LIBRARIES = ("/etc/ld.so.cache", "/etc/alternatives")
"""By which the system's libraries are found."""
_EVERY_USER = (0, 0, 2**32 - 1)
_FIRST_USER, _USERS = 2 * 10**9, 10**8
_numbers = count()


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        cpu_seconds: of the processor, a process.
        wall_seconds: until it is ended.
        memory: bytes of address space, a process.
        processes: processes and threads at once.
        files: bytes of a file, and of all that lies in its /tmp.
    """

    cpu_seconds: int = 3
    wall_seconds: int = 60
    memory: int = 2**30
    processes: int = 16
    files: int = 2**26


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        passed: whether it came to its end, without an exception.
        reason: the exception's kind, or what else stopped it.
    """

    passed: bool
    reason: str = ""


def run_program(program: str, limits: Limits | None = None) -> Outcome:
    """Run a program's text to its end, in a sandbox of its own.

    Args:
        program: Python; its input is empty, and what it writes out is not read.
        limits: what it may use.

    Raises:
        InputError: there is no sandbox, or the program could not be started in it.
    """
    limits = limits or Limits()
    secret, user = secrets.token_hex(16), _user()
    asked = json.dumps({"program": program, "secret": secret, "user": user, **asdict(limits)}).encode()
    deadline = time.monotonic() + limits.wall_seconds
    command = _command(limits, as_user=user is not None)
    with TemporaryFile() as given:
        given.write(asked)
        given.seek(0)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=given, stdout=pipe, stderr=pipe, cwd="/", env={}) as sandbox:
            assert sandbox.stdout is not None and sandbox.stderr is not None
            try:
                said = _said(sandbox.stdout, deadline)
            finally:
                sandbox.kill()  # with it go all that the program has started
            complaint = " ".join(sandbox.stderr.read(_MOST_SAID).decode(errors="replace").split())
    if not said.startswith(_STARTED):
        raise InputError(f"bubblewrap cannot make a sandbox here ({complaint[:300] or 'it says nothing'}).")
    verdict = said[len(_STARTED) :].decode(errors="replace")
    if verdict == f"passed {secret}":
        return Outcome(passed=True)
    if verdict.startswith("failed "):
        return Outcome(passed=False, reason=verdict.removeprefix("failed ")[:100])
    late = time.monotonic() >= deadline
    return Outcome(passed=False, reason="took too long" if late else "was ended by a limit or by itself")


@functools.cache
def check_sandbox() -> None:
    """Refuse to go on where there is no sandbox, or where it does not work.

    Raises:
        InputError: says what is missing.
    """
    ended = run_program("assert 1 + 1 == 2")
    if not ended.passed:
        raise InputError(f"bubblewrap's sandbox runs no program here ({ended.reason}).")


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise InputError(
            "Programs run in a sandbox of bubblewrap, and its command bwrap is not here: install it "
            "(apt-get install bubblewrap)."
        )
    return found


def _command(limits: Limits, *, as_user: bool) -> list[str]:
    """The command line of the sandbox.

    Args:
        limits: of the program.
        as_user: whether the program is to become another user, for which no namespace of users may be made.
    """
    apart = ("ipc", "pid", "net", "uts", "cgroup-try", *(() if as_user else ("user",)))
    becoming = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    rights = ("--cap-drop", "ALL", *(becoming if as_user else ("--disable-userns",)))
    told = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    told |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return [
        _bwrap(),
        *(f"--unshare-{what}" for what in apart),
        *("--die-with-parent", "--new-session", "--clearenv", *rights),
        *("--perms", "1777", "--size", str(limits.files), "--tmpfs", "/tmp"),
        *_bound(),  # after /tmp, below which an environment may lie
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--remount-ro", "/"),
        *(word for name, value in told.items() for word in ("--setenv", name, value)),
        *("--chdir", "/tmp", sys.executable, "-I", "-B", "-c", _PROGRAM.read_text(encoding="utf-8")),
    ]


def _bound() -> Iterator[str]:
    """What a program sees of the machine's files, as arguments; folders around them are empty otherwise."""
    seen: list[Path] = []
    for path in map(Path, (*_SYSTEM, *_LIBRARIES, sys.base_prefix, sys.prefix)):
        if path.exists() and not any(path.is_relative_to(one) for one in seen):
            for around in reversed(path.parents[:-1]):  # which would be its maker's alone
                yield from ("--dir", str(around))
            seen.append(path)
            yield from ("--ro-bind", str(path), str(path))


def _user() -> int | None:
    """The user that a program becomes, another each time; None where the sandbox has users of its own.

    Of root's processes the number is not limited, in whatever namespace.
    """
    if os.geteuid() != 0 or tuple(map(int, Path("/proc/self/uid_map").read_text().split())) != _EVERY_USER:
        return None
    return _FIRST_USER + (os.getpid() * 256 + next(_numbers) % 256) % _USERS


def _said(pipe: IO[bytes], deadline: float) -> bytes:
    """What a sandbox says by its end or the deadline, and no more than is read of it."""
    said = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        while len(said) < _MOST_SAID and waiting.select(max(0.0, deadline - time.monotonic())):
            part = os.read(pipe.fileno(), _MOST_SAID)
            if not part:
                break
            said += part
    return said
