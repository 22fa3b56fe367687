"""The methods give what their papers say, and the tests of that notice a formula broken in one place."""

import inspect
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import oracles_by_task
import oracles_geometry
import oracles_matrices
import oracles_measured
import oracles_sparse
import oracles_spectral
import pytest
from oracles import ORACLES

import merging
import merging.known_methods
from merging.known_methods import known_methods
from results.errors import InputError

# What the methods are built on, in the order in which it is imported.
MODULES = ("by_task", "arithmetic", "geometry", "ranks", "spectral", "matrix_method", "linear",
           "thresholds", "quantiles", "methods.average", "methods.task_arithmetic", "methods.ties",
           "methods.dare", "methods.consensus_ta", "methods.metis", "methods.slerp", "learned_method",
           "methods.divmerge", "methods.adamerging", "methods.breadcrumbs", "methods.della",
           "methods.sce", "methods.nearswap", "methods.arcee_fusion", "methods.ram", "methods.magmax",
           "methods.emr", "methods.model_stock", "methods.nuslerp", "methods.karcher",
           "methods.metagpt", "methods.weighted_sum", "methods.tsv_merge", "methods.iso",
           "methods.star", "methods.cart", "methods.knots", "methods.pcb", "measured_method",
           "wrapped_method", "methods.lines", "regression", "conjugate_gradient", "methods.fisher",
           "methods.regmean", "methods.regmean_plus_plus", "methods.mats", "methods.aim",
           "methods.fw_merging", "descent", "methods.wudi", "methods.doge", "methods.core_space",
           "methods.cabs", "methods.dc_merge", "methods.orthomerge", "methods.ace")  # fmt: skip
BROKEN = [
    ("arithmetic", "deltas[0] * weights[0]", "deltas[0]"),
    ("arithmetic", "(numbers, weights.numpy(), total", "(numbers, 0 * weights.numpy(), total"),
    ("arithmetic", "delta.view(torch.int32) & mask", "delta.view(torch.int32) & ~mask"),
    ("arithmetic", "if undecided > 0:", "if undecided < 0:"),
    ("arithmetic", "clamp_min_(0)", "abs_()"),
    ("arithmetic", "add_scaled(divisor, torch.sign(magnitudes, out=share), count)", "divisor += 1"),
    ("arithmetic", ".mul_(signs)\n\n\ndef disjoint_mean", "\n\n\ndef disjoint_mean"),
    ("thresholds", "int(size * density)", "int(size * density) + 1"),
    ("thresholds", "min(kept + 1, size)", "kept"),
    ("thresholds", "context.tensor if self.per_tensor else", "context.tensor if not self.per_tensor else"),
    ("thresholds", "upper << 16 | lower", "upper << 16"),
    ("thresholds", "np.float32(threshold), np.float32(-np.inf)", "np.float32(threshold), np.float32(np.inf)"),
    ("arithmetic", "(values / total)", "values"),
    ("linear", "self.coefficients(weights.cpu().numpy())", "weights.cpu().numpy()"),
    ("methods.task_arithmetic", "relative * self.scaling", "relative"),
    ("methods.ties", '= context.statistics[MAJORITY] if self.variant == "paper" else 1', "= 1"),
    ("methods.ties", "(total > 0) - (total < 0)", "total and 1"),
    ("methods.ties", "signs, counts).mul_(self.scaling)", "signs, counts)"),
    ("methods.ties", 'if self.aggregate == "sum"', 'if self.aggregate != "sum"'),
    ("methods.ties", 'exact=self.variant != "paper"', 'exact=self.variant == "paper"'),
    ("thresholds", "seen < equals <=", "seen <= equals <"),
    ("thresholds", "context.tensor < tensor", "context.tensor > tensor"),
    ("methods.ties", "torch.ones_like(weights) if self.variant == \"peft\" else weights\n        return", "weights\n        return"),  # noqa: E501
    ("methods.ties", 'if self.vote == "frequency"', 'if self.vote != "frequency"'),
    ("methods.dare", "context.keep_mask(task, 1 - rate)", "context.keep_mask(task, rate)"),
    ("methods.dare", "else 1 / (1 - self.drop_rate)", "else 1.0"),
    ("methods.dare", "keep_mask(task, 1 - rate)", "keep_mask(0, 1 - rate)"),
    ("methods.dare", "context.statistics[MAJORITY]", "1"),
    ("methods.dare", "1.0 if not self.rescale or", "1.0 if"),
    ("methods.consensus_ta", "torch.Tensor.gt_", "torch.Tensor.ge_"),
    ("arithmetic", "(merged - own)", "merged"),
    ("methods.consensus_ta", "ge_(self.consensus)", "gt_(self.consensus)"),
    ("arithmetic", ".mul_(threshold)", ".mul_(0.4)"),
    ("methods.consensus_ta", "agreed.mul_(self.scaling)", "agreed"),
    ("methods.metis", "consensus(deltas, shares", "consensus(deltas, weights"),
    ("methods.metis", "torch.Tensor.gt_ if self.strict else torch.Tensor.ge_", "torch.Tensor.ge_"),
    ("methods.metis", "[self.mask_ratio] *", "[0.1] *"),
    ("methods.metis", "ge_(self.consensus)", "gt_(self.consensus)"),
    ("methods.metis", ".mul_(self.scaling)", ""),
    ("methods.slerp", "sin((1 - t) * angle)", "sin(t * angle)"),
    ("methods.slerp", "abs(cosine) <= _PARALLEL", "True"),
    ("methods.slerp", " / length)", ")"),
    ("methods.slerp", "[1]) if self.t is None", "[0]) if self.t is None"),
    ("methods.slerp", "norms @ shares", "norms @ torch.ones_like(shares)"),
    ("methods.slerp", "if len(deltas) == 2:", "if len(deltas) == 3:"),
    ("learned_method", "weights * torch.tensor(values", "0 * weights + torch.tensor(values[:1] * len(values)"),  # noqa: E501
    ("learned_method", "of_task.get(layer_of(tensor))", "next(iter(of_task.values()))"),
    *oracles_sparse.BROKEN,
    *oracles_geometry.BROKEN,
    *oracles_by_task.BROKEN,
    *oracles_spectral.BROKEN,
    *oracles_matrices.BROKEN,
    *oracles_measured.BROKEN,
]  # fmt: skip


class Asked(dict):
    """The methods by name, and which of them were looked at."""

    def __init__(self, kinds):
        super().__init__(kinds)
        self.names = set()

    def __getitem__(self, name):
        self.names.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("name", ORACLES)
def test_a_method_gives_what_its_paper_says(name):
    """What an oracle asserts of which methods stands in `oracles*.py`."""
    kinds = Asked({known: method.method_class for known, method in known_methods().items()})
    ORACLES[name](kinds)
    assert kinds.names, "an oracle of no method"


@pytest.fixture(scope="module")
def noticed():
    """By which oracles each break is noticed."""
    known_methods()  # all are imported before a copy of one is made
    found = {}
    for module, formula, broken in BROKEN:
        with pytest.MonkeyPatch.context() as patch:
            kinds = _with_broken(module, formula, broken, patch)
            checks = {name: check for name, check in ORACLES.items() if _is_about(check, module)}
            found[module, formula] = {name for name, check in checks.items() if _fails(check, kinds)}
    return found


def test_every_formula_that_is_broken_is_there_once():
    sources = {module: _path(module).read_text(encoding="utf-8") for module in MODULES}
    assert not [broken for broken in BROKEN if sources[broken[0]].count(broken[1]) != 1]


@pytest.mark.full
@pytest.mark.parametrize(("module", "formula"), [broken[:2] for broken in BROKEN], ids=lambda part: part[:50])
def test_a_formula_broken_in_one_place_is_noticed(noticed, module, formula):
    assert noticed[module, formula]


@pytest.mark.full
def test_every_oracle_notices_something(noticed):
    assert set().union(*noticed.values()) == set(ORACLES)


def _path(module):
    return Path(import_module(f"merging.{module}").__file__)


def _is_about(check, module):
    """Whether an oracle may notice a break: one in a method's own module, only if it is of that method."""
    names = {"slerp": ("slerp", "multislerp")}.get(module.removeprefix("methods."))
    names = names or (module.removeprefix("methods."),)
    return not module.startswith("methods.") or any(f'"{one}"' in inspect.getsource(check) for one in names)


def _fails(check, kinds):
    try:
        check(kinds)
    except (AssertionError, ArithmeticError, LookupError, ValueError, InputError, pytest.fail.Exception):
        return True
    return False


def _with_broken(name, formula, broken, monkeypatch):
    """The methods by name, with one text in one module's source replaced by another."""
    monkeypatch.setattr(merging.known_methods, "_KNOWN", {})
    for module in MODULES:
        full = f"merging.{module}"
        path = _path(module)
        source = path.read_text(encoding="utf-8")
        if module == name:
            source = source.replace(formula, broken)
        other = ModuleType(full)
        monkeypatch.setitem(sys.modules, full, other)
        monkeypatch.setattr(import_module(full.rpartition(".")[0]), full.rpartition(".")[2], other)
        exec(compile(source, str(path), "exec"), other.__dict__)
    return {known: method.method_class for known, method in merging.known_methods._KNOWN.items()}
