"""No argument, stream or signal ends in a traceback or in a message that fills the screen."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tiny import tiny_llama

from manyshot.cli import main
from manyshot.console import printable
from manyshot.interrupts import STOPPED
from reports.figures.drawing import save
from results.run_manifest import RunSettings

COMMAND = [sys.executable, "-m", "manyshot"]
LONG = "x" * 10_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Runs a command in this process, and returns its exit code and what it wrote to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANYSHOT_DATA", raising=False)

    def code_and_errors(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = stopped.code
        return code, capfd.readouterr().err

    return code_and_errors


SCORE = ("score", "--benchmark", "lab_yes_no", "nowhere")
TRAIN = ("train", "out", "--suite", "lab", "--task", "math", "--base", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*SCORE, "--limit", "9" * 5000), f"argument --limit: '{'9' * 59}… is no whole number"),
        ((*SCORE, "--limit", "9" * 24), f"argument --limit: '{'9' * 24}' is too large"),
        *(
            (
                (*SCORE, "--limit", text),
                f"'{text}' is neither a number of documents nor a share such as 0.1 or 10%",
            )
            for text in ("1e1", "nan", "ten%", "1%%", "0x1")
        ),
        ((*SCORE, "--limit", "100%"), "'100%' is no share above 0% and below 100%"),
        ((*SCORE, "--limit", "1.5"), "'limit': a whole number of documents or a share of them below 1 is"),
        ((*SCORE, "--seed", "9" * 24), f"argument --seed: '{'9' * 24}' is too large"),
        ((*SCORE, "--seed", "1.5"), "argument --seed: '1.5' is no whole number"),
        ((*SCORE, "--memory-share", "nan"), "'memory_share' is nan, where a finite number is expected"),
        ((*SCORE, "--memory-share", "half"), "argument --memory-share: 'half' is no number"),
        (("run", "lab", "--seed", "9" * 5000), "is no whole number"),
        (("run", "lab", "--limit", "10%"), "argument --limit: '10%' is no whole number"),
        (("run", "lab", "--limit", "0"), "manyshot: The command line: 'limit' is 0, where a number above 0"),
        (
            ("run", "lab", "--seed", "-1"),
            "manyshot: The command line: 'seeds.0' is -1, where a number from 0",
        ),
        (("run", "lab", "--subsets", "9"), "Subsets of 9 of 4 tasks cannot be merged"),
        ((*TRAIN, "--batch-size", "9" * 5000), "is no whole number"),
        ((*TRAIN, "--learning-rate", "inf"), "'learning_rate' is inf, where a finite number is expected"),
        ((*TRAIN, "--alpha", "8"), "--alpha is of an adapter: give its --rank too"),
    ],
)
def test_numbers_that_nothing_holds_are_refused(arguments, sentence, run, monkeypatch):
    monkeypatch.setattr("manyshot.task_trainings.load_shares", lambda *_: [])
    code, errors = run(*arguments)
    assert code == 2
    assert sentence in errors


def test_a_run_that_cannot_end_well_makes_no_base(run, monkeypatch, tmp_path):
    monkeypatch.setattr("manyshot.commands.run.make_homemade", lambda *_: pytest.fail("a base was made"))
    (tmp_path / "index.html").write_text("<p>my site</p>")
    code, errors = run("run", "lab", "--leaderboard", ".")
    assert (code, "not a leaderboard, and is not replaced" in errors) == (2, True)
    code, errors = run("run", "lab", "--subsets", "9")
    assert (code, "Subsets of 9" in errors) == (2, True)


def test_values_that_a_model_refuses_late_are_one_sentence(run, monkeypatch):
    monkeypatch.setattr("manyshot.commands.list.run", lambda _: RunSettings(limit="many"))
    code, errors = run("list", "methods")
    assert (code, errors) == (
        2,
        "manyshot: RunSettings: 'limit' is 'many', where a whole number is expected.\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (LONG,),
        ("list", LONG),
        ("list", "methods", LONG),
        ("list", "suites", LONG),
        ("score", "--suite", LONG, "model"),
        ("score", "--benchmark", LONG, "model"),
        ("score", "--benchmark", "lab_yes_no", LONG),
        (*SCORE, "--engine", LONG),
        (*SCORE, f"--{LONG}"),
        (*SCORE, "--dtype", LONG),
        ("merge", LONG, "out"),
        ("run", LONG),
        ("train", "out", "--suite", "lab", "--task", LONG, "--base", "nowhere"),
        ("report", "table", LONG),
        ("report", "compare", LONG, "other"),
    ],
)
def test_a_name_of_any_length_is_not_repeated_whole(arguments, run):
    code, errors = run(*arguments)
    assert code == 2
    assert len(errors.splitlines()[-1]) < 3000 and "x" * 400 not in errors


@pytest.mark.parametrize("name", ["a\udcffb", "a\x1b[31mb"])
def test_names_that_cannot_be_printed_are_escaped(name, run):
    for arguments in (("score", "--suite", name, "model"), ("score", "--benchmark", "lab_yes_no", name)):
        code, errors = run(*arguments)
        assert code == 2
        assert repr(name)[1:-1] in errors


def test_messages_are_printable():
    assert printable("NUL \0, half a pair \ud800, two\nlines, ü") == r"NUL \x00, half a pair \ud800, two" + (
        "\nlines, ü"
    )


def test_a_store_that_is_a_pipe_is_refused(model, run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (
        ("score", "--benchmark", "lab_yes_no", model, "--limit", "1", "--store", "pipe"),
        ("score", "--benchmark", "lab_yes_no", "pipe"),
        ("report", "table", "--store", "pipe"),
        ("report", "compare", "pipe", "other", "--store", "pipe"),
        ("report", "leaderboard", "--store", "pipe", "--out", "page"),
    ):
        code, errors = run(*arguments)
        assert code == 2
        assert "pipe" in errors.splitlines()[-1]


def test_a_label_that_is_a_pipe_is_not_read(model, run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    run("score", "--benchmark", "lab_yes_no", model, "--limit", "1")
    code, errors = run("report", "compare", "pipe", str(model))
    assert code == 2
    assert "no checkpoint 'pipe'" in errors


def _full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_with_the_folder(model, run, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "fsync", _full)
    code, errors = run("score", "--benchmark", "lab_yes_no", model, "--limit", "1", "--store", "records")
    assert code == 2
    assert errors.splitlines()[-1].startswith("manyshot: records/records/")
    assert errors.endswith(": No space left on device.\n")
    monkeypatch.setattr(Figure, "savefig", _full)
    with pytest.raises(OSError, match="No space left") as refusal:
        save(Figure(), tmp_path / "picture.png")
    assert refusal.value.filename == str(tmp_path / "picture.png")


def test_closed_streams_and_those_of_another_encoding_lose_nothing(tmp_path):
    script = (
        f"{sys.executable} -m manyshot list suites >&-; echo $?;"
        f"PYTHONIOENCODING=ascii {sys.executable} -m manyshot list benchmarks lab_math >out; echo $?;"
        f"{sys.executable} -m manyshot list benchmarks 2>&1 | head -1 | cut -c1-9"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "0", "benchmark"]
    assert done.stderr == ""


def test_an_end_during_imports_has_no_traceback(tmp_path):
    for _ in range(2):
        running = subprocess.Popen([*COMMAND, "list", "methods"], stderr=subprocess.PIPE, cwd=tmp_path)
        _wait_for(running.pid, "numpy")
        running.send_signal(signal.SIGTERM)
        errors = running.communicate(timeout=60)[1].decode()
        assert running.returncode == 143
        assert errors == STOPPED


DROPPING = """
import os, signal, time
from manyshot.interrupts import exit_code, stop_on_signals

class Told:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

stop_on_signals()
told = Told()
try:
    del told
    print("dropped", flush=True)
    time.sleep(60)
except KeyboardInterrupt as interruption:
    print(exit_code(interruption))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", "143"), ("SIGINT", "130")])
def test_an_end_that_comes_while_an_object_is_freed_is_not_lost(name, code):
    """Python drops what a finaliser raises, and the program would go on."""
    program = [sys.executable, "-c", DROPPING.format(name=name)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["dropped", code]
    assert not done.stderr


def _wait_for(process: int, library: str) -> None:
    """Wait until a process has a library open."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        if library in Path(f"/proc/{process}/maps").read_text():
            return
        time.sleep(0.005)
