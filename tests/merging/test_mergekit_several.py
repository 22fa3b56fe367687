"""Several documents in one file of mergekit: their order, what they build on, and what is used again."""

import json
import shutil

import pytest
import torch
import yaml
from mergekit_files import make_models
from safetensors.torch import load_file

from manyshot.cli import main
from merging.prepare import Prepared
from merging.recipe_file import load_recipe, load_steps
from results.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


def several(models, tmp_path):
    path = tmp_path / "several.yaml"
    weight = {"parameters": {"weight": 1.0}}
    documents = [
        {
            "merge_method": "linear",
            "models": [{"model": "first", **weight}, {"model": str(models / "c"), **weight}],
        },
        {
            "name": "first",
            "merge_method": "linear",
            "models": [{"model": str(models / "a"), **weight}, {"model": str(models / "b"), **weight}],
        },
    ]
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_documents_build_on_each_other_by_name(models, tmp_path, capsys):
    path = several(models, tmp_path)
    main(["merge", str(path), "--plan"])
    planned = capsys.readouterr().out
    assert "once there is: first" in planned
    assert all(str(models / name) in planned for name in "abc")
    main(["merge", str(path), str(tmp_path / "out")])
    a, b, c = (load_file(models / name / "model.safetensors") for name in "abc")
    found = load_file(tmp_path / "out/model.safetensors")
    for name, tensor in load_file(tmp_path / "out-first/model.safetensors").items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2)
        torch.testing.assert_close(found[name], (tensor + c[name]) / 2)
    assert [step.is_made() for step in load_steps(path, tmp_path / "out")] == [True, False]
    assert not load_steps(path, tmp_path / "elsewhere")[0].is_made()
    with pytest.raises(InputError, match="2 merges"):
        load_recipe(path)


def test_an_intermediate_is_known_again_from_another_folder(models, tmp_path, monkeypatch):
    shutil.copytree(models, tmp_path / "models")
    several(models, tmp_path)
    text = (tmp_path / "several.yaml").read_text().replace(f"{models}/", "models/")
    (tmp_path / "several.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    main(["merge", "several.yaml", "out"])
    monkeypatch.chdir("/")
    first, _ = load_steps(tmp_path / "several.yaml", tmp_path / "out")
    assert first.is_made()
    report = json.loads((tmp_path / "out-first/merge.json").read_text())
    assert report["recipe"]["base"] == str(tmp_path / "models/a")


@pytest.fixture
def twice(models, tmp_path, capsys):
    """Run a file of two merges whose models can be changed: its last model, or what is said."""
    copies = tmp_path / "models"
    shutil.copytree(models, copies)
    path, out = several(copies, tmp_path), tmp_path / "out"

    def merged():
        shutil.rmtree(out, ignore_errors=True)
        capsys.readouterr()
        try:
            main(["merge", str(path), str(out)])
        except SystemExit as stopped:
            assert stopped.code == 2
            return capsys.readouterr().err
        return load_file(out / "model.safetensors")["model.norm.weight"]

    return merged


def test_an_intermediate_is_used_again_and_its_inputs_are_read_once(twice, tmp_path, monkeypatch):
    before, first = twice(), tmp_path / "out-first/model.safetensors"
    stamp, asked = first.stat().st_mtime_ns, []
    made_from = Prepared.made_from
    monkeypatch.setattr(Prepared, "made_from", lambda self: asked.append(self.recipe) or made_from(self))
    assert torch.equal(twice(), before)
    assert first.stat().st_mtime_ns == stamp
    assert len(asked) == 2  # of the first merge to compare it, of the second for its report


def other_inputs(tmp_path, monkeypatch):
    shutil.copy(tmp_path / "models/c/model.safetensors", tmp_path / "models/a/model.safetensors")


def other_rules(tmp_path, monkeypatch):
    monkeypatch.setattr("merging.prepare.MERGING_VERSION", "another")


def an_earlier_report(tmp_path, monkeypatch):
    path = tmp_path / "out-first/merge.json"
    report = json.loads(path.read_text())
    del report["made_from"]
    path.write_text(json.dumps(report))


def a_report_of_something_else(tmp_path, monkeypatch):
    (tmp_path / "out-first/merge.json").write_text('{"recipe": [1]}')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_inputs, "was made of what its inputs held before"),
        (other_rules, "or by other rules of merging"),
        (an_earlier_report, "is of an earlier manyshot"),
        (a_report_of_something_else, "exists already"),
    ],
)
def test_an_intermediate_that_cannot_be_used_is_named_and_left_as_it_is(
    twice, tmp_path, monkeypatch, change, says
):
    twice()
    (tmp_path / "out-first/README.md").write_text("My own words.")
    (tmp_path / "out-first/notes.txt").write_text("Mine.")
    change(tmp_path, monkeypatch)
    kept = {path: path.read_bytes() for path in (tmp_path / "out-first").iterdir()}
    said = twice()
    assert (said.count("\n"), says in said, "out-first" in said) == (1, True, True), said
    assert {path: path.read_bytes() for path in (tmp_path / "out-first").iterdir()} == kept
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "out-first")
    a, b, c = (
        load_file(tmp_path / f"models/{name}/model.safetensors")["model.norm.weight"] for name in "abc"
    )
    torch.testing.assert_close(twice(), ((a + b) / 2 + c) / 2)


@pytest.mark.parametrize(
    ("names", "models", "says"),
    [
        (("x", "y"), ("y", "x"), "circle"),
        (("x", "x"), ("a", "b"), "several documents are called 'x'"),
        ((None, None), ("a", "b"), "several documents have no name"),
    ],
)
def test_documents_that_have_no_order_are_refused(tmp_path, names, models, says):
    path = tmp_path / "several.yaml"
    documents = [
        {"merge_method": "linear", "models": [{"model": model}], **({"name": name} if name else {})}
        for name, model in zip(names, models, strict=True)
    ]
    path.write_text(yaml.safe_dump_all(documents))
    with pytest.raises(InputError, match=says):
        load_steps(path, tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer_source": "first"},
        {"tokenizer": {"source": "first"}},
        {"models": [{"model": "first+adapter"}]},
    ],
    ids=str,
)
def test_what_a_tokenizer_is_taken_from_is_made_before(tmp_path, changes):
    path = tmp_path / "several.yaml"
    last = {"merge_method": "linear", "models": [{"model": "c"}], "parameters": {"weight": 1.0}}
    first = {"name": "first", **last}
    path.write_text(yaml.safe_dump_all([{**last, **changes}, first]))
    steps = load_steps(path, tmp_path / "out")
    assert [step.builds_on for step in steps] == [(), ("first",)]
    asked = steps[1].recipe.model_dump_json()
    assert str(tmp_path / "out-first") in asked


def test_a_tokenizer_called_as_a_word_of_recipes_is_no_document(tmp_path):
    path = tmp_path / "several.yaml"
    union = {"merge_method": "linear", "models": [{"model": "c"}], "parameters": {"weight": 1.0}}
    path.write_text(yaml.safe_dump_all([{**union, "tokenizer_source": "union"}, {"name": "union", **union}]))
    assert [step.builds_on for step in load_steps(path, tmp_path / "out")] == [(), ()]


def test_the_commonest_template_of_a_model_that_is_made_first_counts(models, tmp_path):
    path = several(models, tmp_path)
    last, first = yaml.safe_load_all(path.read_text())
    path.write_text(
        yaml.safe_dump_all([{**last, "chat_template": "auto"}, {**first, "chat_template": "chatml"}])
    )
    main(["merge", str(path), str(tmp_path / "out")])
    made = [(tmp_path / name / "chat_template.jinja").read_text() for name in ("out", "out-first")]
    assert made[0] == made[1]
    assert "im_start" in made[0]
