"""A staged folder appears whole or not at all, whoever else writes to the same name at the same time."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from merging.staging import refuse_existing, resumable
from results.errors import InputError

KEY, OTHER_KEY = "0" * 64, "1" * 64


def test_a_folder_that_was_just_made_is_not_taken_for_stale(tmp_path, monkeypatch):
    out = tmp_path / "out"
    made, mkdir = [], Path.mkdir

    def other():
        with suppress(ValueError), resumable(out, OTHER_KEY):
            raise ValueError

    def mkdir_and_be_interrupted(path, *arguments, **options):
        mkdir(path, *arguments, **options)
        if path.suffix == ".partial" and not made:
            made.append(threading.Thread(target=other))
            made[0].start()
            made[0].join(0.5)

    monkeypatch.setattr(Path, "mkdir", mkdir_and_be_interrupted)
    with resumable(out, KEY) as folder:
        made[0].join(30)
        assert not made[0].is_alive()
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == [out]


def test_the_second_to_finish_is_refused_and_leaves_nothing(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="out exists already"), resumable(out, KEY) as late:
        with resumable(out, OTHER_KEY) as early:
            (early / "early").touch()
        (late / "late").touch()
    assert list(tmp_path.rglob("*")) == [out, out / "early"]


def test_finishing_between_the_last_look_and_the_renaming_is_refused_too(tmp_path, monkeypatch):
    out, rename = tmp_path / "out", Path.rename

    def rename_late(path, target):
        (target / "early").mkdir(parents=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_late)
    with pytest.raises(InputError, match="out exists already"), resumable(out, KEY):
        pass
    assert list(tmp_path.rglob("*")) == [out, out / "early"]


def test_a_folder_that_is_finished_while_stale_ones_are_looked_for_is_no_trouble(tmp_path, monkeypatch):
    gone = tmp_path / f".out.{OTHER_KEY[:16]}.partial"
    gone.mkdir()
    is_dir = Path.is_dir

    def is_dir_and_gone(path):
        if path == gone and path.exists():
            path.rmdir()
            return True
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", is_dir_and_gone)
    with resumable(tmp_path / "out", KEY):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize("below", ["out", "folder/out"])
def test_a_file_in_the_place_of_a_parent_is_named(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out cannot be made \(.*file is a file\)"):
        refuse_existing(tmp_path / "file" / below)


@pytest.mark.parametrize("name", ["long" * 1000, "n\0ul"])
def test_a_name_that_no_folder_can_have_is_refused_in_a_short_sentence(tmp_path, name):
    with pytest.raises(InputError, match="cannot be made") as refusal:
        refuse_existing(tmp_path / name)
    assert len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("parent", ["dangling", "long" * 100])
def test_a_parent_that_cannot_be_made_is_a_refusal(tmp_path, parent):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="out cannot be made"), resumable(tmp_path / parent / "out", KEY):
        pass


def test_parents_are_made(tmp_path):
    with resumable(tmp_path / "a" / "b" / "out", KEY):
        pass
    assert (tmp_path / "a" / "b" / "out").is_dir()
