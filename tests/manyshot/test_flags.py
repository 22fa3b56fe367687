"""A setting is declared once: its field is a flag, a line of the help and a key of a file."""

import argparse

import pytest
import yaml
from pydantic import Field

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from manyshot import arguments, shared_arguments
from manyshot.cli import parse
from manyshot.commands.train import _adapter
from manyshot.experiment import Experiment, ExperimentTraining
from manyshot.flags import add_flags, given, settings_of
from merging.train_settings import AdapterSettings, SharedTrainSettings, TrainSettings
from results.errors import InputError
from results.validation import validated


class ToyEngineSettings(EngineSettings):
    toy_cache: int = Field(4, gt=0)
    """Entries of a toy cache."""


class ToySharedTrainSettings(SharedTrainSettings):
    toy_momentum: float | None = Field(None, ge=0, lt=1)
    """Momentum of a toy optimiser."""


class ToyTrainSettings(TrainSettings, ToySharedTrainSettings):
    pass


class ToyExperimentTraining(ExperimentTraining, ToySharedTrainSettings):
    pass


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(shared_arguments, "EngineSettings", ToyEngineSettings)
    monkeypatch.setattr(arguments, "TrainSettings", ToyTrainSettings)


COMMANDS = {
    "score": ["score", "--benchmark", "gsm8k", "model"],
    "run": ["run", "lab"],
    "signals": ["signals", "--suite", "lab", "--base", "base", "math"],
    "train": ["train", "out", "--suite", "lab", "--task", "math", "--base", "base"],
}


@pytest.mark.parametrize("command", ["score", "run", "signals"])
def test_a_new_engine_setting_is_a_flag_of_every_command_that_opens_an_engine(command, toys, capsys):
    options = parse([*COMMANDS[command], "--toy-cache", "8", "--memory-share", "0.5"])
    assert settings_of(options, ToyEngineSettings) == ToyEngineSettings(toy_cache=8, memory_share=0.5)
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    assert "Entries of a toy cache (4)" in " ".join(capsys.readouterr().out.split())


def test_a_new_training_setting_is_a_flag(toys):
    options = parse([*COMMANDS["train"], "--toy-momentum", "0.5"])
    assert settings_of(options, ToyTrainSettings).toy_momentum == 0.5
    options = parse([*COMMANDS["train"], "--toy-momentum", "1"])
    with pytest.raises(InputError, match=r"'toy_momentum' is 1\.0, where a number below 1 is expected"):
        settings_of(options, ToyTrainSettings)


def test_a_new_setting_is_a_key_of_files():
    class ToyExperiment(Experiment):
        engine: ToyEngineSettings = ToyEngineSettings()
        train: ToyExperimentTraining

    text = """
        suite: lab
        base: base
        methods: [{name: average}]
        engine: {toy_cache: 8}
        train: {toy_momentum: 0.5}
    """
    experiment = validated(ToyExperiment, yaml.safe_load(text), "f")
    assert (experiment.engine.toy_cache, experiment.train.toy_momentum) == (8, 0.5)
    with pytest.raises(InputError, match=r"f: 'engine\.toy_cache' is 0, where a number above 0 is expected"):
        validated(ToyExperiment, yaml.safe_load(text.replace("8", "0")), "f")


@pytest.mark.parametrize("model", [EngineSettings, TrainSettings, AdapterSettings])
def test_every_setting_is_described(model):
    assert all(field.description for field in model.model_fields.values())


def test_only_what_the_user_gives_is_set():
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainSettings)
    options = parser.parse_args(["--no-end-token", "--report-to", "wandb", "mlflow", "--max-steps", "3"])
    assert given(options, TrainSettings) == {
        "end_token": False, "report_to": ["wandb", "mlflow"], "max_steps": 3
    }  # fmt: skip


def test_flags_may_be_written_as_lm_evals_are():
    options = parse(["score", "--task", "a_b", "--num_fewshot", "3", "--output_path=a_b", "a_b"])
    assert (options.num_fewshot, options.task, options.checkpoints) == (3, ["a_b"], ["a_b"])
    assert str(options.output_path) == "a_b"


@pytest.mark.parametrize(("text", "limit"), [("10", 10), ("0.1", 0.1), ("10%", 0.1), ("2.5%", 0.025)])
def test_a_limit_is_a_number_or_a_share(text, limit):
    options = parse([*COMMANDS["score"], "--limit", text])
    found = settings_of(options, ScoreSettings).limit
    assert (found, type(found)) == (limit, type(limit))


def test_a_wrong_argument_is_one_sentence(capsys):
    with pytest.raises(SystemExit):
        parse([*COMMANDS["score"], "--gen-kwargs", "max_gen_toks=8"])
    said = capsys.readouterr().err
    assert said.startswith("manyshot score: error: argument --gen-kwargs: invalid choice: 'max_gen_toks=8'")
    assert said.endswith("(manyshot score --help has all flags)\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (*COMMANDS["score"], "--api-key", "sk-123"),
            "manyshot score: error: unrecognized arguments: --api-key (",
        ),
        (
            (*COMMANDS["score"], "--api_key=sk-123"),
            "manyshot score: error: unrecognized arguments: --api-key (",
        ),
        (
            ("report", "table", "--no", "sk-123"),
            "manyshot report table: error: unrecognized arguments: --no (",
        ),
        (("card", "folder", "other"), "manyshot card: error: unrecognized arguments: other ("),
    ],
)
def test_of_a_flag_that_is_not_known_its_name_is_said_and_no_value(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse([*arguments])
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert errors.startswith(said) and "sk-123" not in errors


def test_all_linear_layers_are_no_list_of_names():
    options = parse([*COMMANDS["train"], "--rank", "4", "--targets", "all-linear"])
    assert settings_of(options, AdapterSettings).targets == "all-linear"
    options = parse([*COMMANDS["train"], "--rank", "4", "--targets", "q_proj"])
    assert settings_of(options, AdapterSettings).targets == ("q_proj",)


def test_only_the_command_that_is_asked_for_is_built(monkeypatch):
    built = []
    for module in (arguments, shared_arguments):
        monkeypatch.setattr(module, "add_flags", lambda *given, **_: built.append(given))
    parse(["list", "suites"])
    assert not built


def test_the_alpha_of_an_adapter_is_its_rank_unless_it_is_given(monkeypatch, capsys):
    train = COMMANDS["train"]
    assert _adapter(parse([*train, "--rank", "4"])).alpha == 4
    assert _adapter(parse([*train, "--rank", "4", "--alpha", "8"])).alpha == 8
    assert _adapter(parse(train)) is None
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        parse(["train", "--help"])
    assert "is multiplied by α/r (the rank)" in capsys.readouterr().out
