"""What merges, weights and trainings give under their present versions: see `golden`."""

import json

import numpy as np
import pytest
from golden import check, fingerprint
from safetensors.torch import load_file
from tiny import EXAMPLES

from merging.examples import tokenise
from merging.known_methods import known_methods
from merging.measured_method import MeasuredMethod
from merging.merge import merge
from merging.provenance import MERGING_VERSION
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import TRAINING_VERSION, train
from merging.tuning import choose_settings
from merging.weighting import SIGNALS, Weighting
from results.errors import InputError

SETTINGS = {
    "divmerge": {"coefficients": {"a": 0.5, "b": 0.25, "c": 1.0}},
    "adamerging": {"coefficients": {"a": 0.5, "b": 0.25, "c": 1.0}},
    "fw_merging": {"coefficients": {"a": 0.5, "b": 0.25, "c": 1.0}},
    "slerp": {"t": 0.3},
    "nearswap": {"t": 0.02},
    "della": {"drop_rate": 0.5},
}
EXPERTS = {"slerp": 2, "nuslerp": 2, "nearswap": 1, "arcee_fusion": 1}
"""How many experts a method takes, where it is not any number."""
VALUES = {"a": 0.9, "b": 0.4, "c": 0.6}
WEIGHTS = {"a": 1.0, "b": 0.5, "c": 1.5}


class Told:
    """Signals that are fixed numbers."""

    def loss(self, checkpoint, task, over):
        return VALUES[task] + (checkpoint == "start")

    def divergence(self, kind, expert, checkpoint, task):
        return VALUES[task] / 2

    def normalised(self, checkpoint, task):
        return VALUES[task]

    def benchmarks(self, task):
        return 1


def test_merges_by_every_method(family, recipe_for, tmp_path):
    base, experts = family
    results = {}
    for name, known in known_methods().items():
        if issubclass(known.method_class, MeasuredMethod):
            continue  # there is nothing measured; see `oracles_measured`
        two = dict(list(experts.items())[: EXPERTS.get(name, 3)])
        weighted = {task: {"path": str(path), "weight": WEIGHTS[task]} for task, path in two.items()}
        recipe = recipe_for(base, weighted, name, settings=SETTINGS.get(name, {}), seed=3)
        try:
            merge(recipe, tmp_path / name, progress=False)
        except InputError as error:  # some refuse weights
            results[name] = str(error)
            continue
        tensors = load_file(tmp_path / name / "model.safetensors")
        results[name] = {tensor: fingerprint(values) for tensor, values in tensors.items() if values.numel()}
    check("merges", MERGING_VERSION, results)


def test_weights_of_tasks_and_choices(tmp_path):
    weights = {
        name: dict(Weighting(name=name).measure(Told(), "start", dict.fromkeys("abc", "expert")).weights)
        for name in SIGNALS
    }
    settings = {"mask_threshold": {"choose_per_task": [0.2, 0.4]}, "scaling": {"choose": [1.0, 0.5]}}

    def merge_to(settings, out):
        out.mkdir()
        (out / "settings.json").write_text(json.dumps(settings))

    class Scores(Told):
        def normalised(self, checkpoint, task):
            given = json.loads((checkpoint / "settings.json").read_text())
            threshold = given["mask_threshold"]
            threshold = threshold[task] if isinstance(threshold, dict) else threshold
            return VALUES[task] - abs(threshold - 0.4 * given["scaling"])

    chosen, trials = choose_settings(
        settings, merge_to, Scores(), tasks="abc", objective="average", folder=tmp_path / "trials"
    )
    check(
        "weights_and_choices",
        MERGING_VERSION,
        {"weights": weights, "chosen": [chosen, [trial.model_dump() for trial in trials]]},
    )


@pytest.mark.parametrize("kind", ["whole", "adapter", "text"])
def test_trainings(base, tmp_path, kind):
    adapter = AdapterSettings(rank=4, alpha=8, targets=("q_proj", "up_proj"))
    settings = TrainSettings(
        batch_size=4, learning_rate=3e-3, cpu=True, warmup_ratio=0.2, epochs=2, first_epoch=1,
        loss="text" if kind == "text" else "completion",
        adapter=adapter if kind == "adapter" else None,
    )  # fmt: skip
    out = train(base, EXAMPLES[:10], settings, tmp_path / "out")
    file = out / ("adapter_model.safetensors" if kind == "adapter" else "model.safetensors")
    # Adam's first steps are the sign of a gradient, which rounding may turn where it is nearly 0.
    norms = {name: float(np.linalg.norm(values)) for name, values in load_file(file).items()}
    losses = json.loads((out / "training.json").read_text())["loss"]
    from merging.checkpoints.pretrained import load_tokenizer

    encoded = [tokenise(load_tokenizer(base), example, settings) for example in EXAMPLES[:2]]
    check(f"training_{kind}", TRAINING_VERSION, {"norms": norms, "losses": losses, "encoded": encoded})
