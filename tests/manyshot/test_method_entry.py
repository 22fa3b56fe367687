"""What a method of an experiment has in common with the same method under another protocol."""

from pathlib import Path

from manyshot.experiment import ExperimentTraining, MethodEntry
from merging.train_settings import SharedTrainSettings
from results.merge_trace import MethodIdentity
from results.validation import validated


def identity(name: str, **more: object) -> MethodIdentity:
    return MethodEntry(name=name, **more).identity  # type: ignore[arg-type]


def written(path: Path, code: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    return f"{path}:Mine"


def test_a_method_from_a_file_is_told_by_what_is_in_the_file_and_not_by_where_it_lies(tmp_path):
    first = written(tmp_path / "a" / "mine.py", "class Mine: ...\n")
    copied = written(tmp_path / "b" / "mine.py", "class Mine: ...\n")
    other = written(tmp_path / "c" / "mine.py", "class Mine: more = 1\n")
    assert identity(first) == identity(copied) != identity(other)
    assert str(tmp_path) not in identity(first).model_dump_json() and identity(first).method == "Mine"


def test_protocols_share_it_and_settings_do_not():
    both = [identity("ties", scaling=1.0, protocol=protocol) for protocol in ("post-hoc", "many-shot")]
    assert both[0] == both[1] != identity("ties", scaling=0.5)


def test_a_title_of_any_settings_is_short_and_tells_them_apart():
    def title(last: float) -> str:
        layers = {task: [0.125] * 39 + [last] for task in ("cola", "sst2", "qnli", "rte")}
        return MethodEntry(name="divmerge", coefficients=layers).title  # type: ignore[call-arg]

    assert title(0.5).startswith("divmerge (coefficients={'cola': [0.125, ") and len(title(0.5)) < 120
    assert title(0.5) == title(0.5) != title(0.75)
    folder = f"/home/someone/{'x' * 200}"
    assert "/" not in MethodEntry(name="ties", file=folder).title  # type: ignore[call-arg]
    assert MethodEntry(name="ties", density=0.2).title == "ties (density=0.2)"  # type: ignore[call-arg]


def test_a_setting_of_training_is_declared_once():
    """Whatever is a field of the shared settings is a key under `train`, and reaches the training."""
    given = {"learning_rate": 0.5, "batch_size": 3, "schedule": "linear"}
    settings = validated(ExperimentTraining, given | {"rounds": 2, "epochs": 3}, "f")
    assert set(SharedTrainSettings.model_fields) <= set(ExperimentTraining.model_fields)
    of_round = settings.one_round_settings.model_dump()
    assert {name: of_round[name] for name in given} == given
    assert all(of_round[name] == getattr(settings, name) for name in SharedTrainSettings.model_fields)
    assert settings.all_rounds_settings(7) == settings.one_round_settings.but(epochs=6.0, seed=7)
