"""What the hub and a reader see of a merge: the header of its model card, and names in the text."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from tiny import tiny_llama

from merging.merge import merge
from merging.recipe import Recipe
from merging.sources import card_header, hub_name, hub_names, published, reported_names


@pytest.fixture
def made(recipe_for, tmp_path):
    """Merge and return the card's text."""

    def make(base, experts, **more):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        merge(recipe_for(base, experts, **more), tmp_path / "out", progress=False)
        return (tmp_path / "out/README.md").read_text()

    return make


def downloaded(folder, name, tmp_path):
    """The folder where the hub's library keeps a repository of this name."""
    target = tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / "0123abcd"
    target.parent.mkdir(parents=True)
    return folder.rename(target)


def with_card(folder, header):
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(header)}---\n\n# A model\n")


def test_base_and_experts_that_the_hub_knows_are_named_as_a_merge_of_them(family, made, tmp_path):
    base, experts = family
    experts["a"] = downloaded(experts["a"], "org/math-7B", tmp_path)
    base = downloaded(base, "gpt2", tmp_path)
    data = ModelCard(made(base, experts)).data
    assert data.base_model == ["gpt2", "org/math-7B"]
    assert data.base_model_relation == "merge"
    assert (data.tags, data.library_name) == (["merge", "manyshot"], "transformers")


def test_names_are_taken_out_of_stacks_adapters_and_the_hubs_cache(tmp_path):
    (tmp_path / "local").mkdir()
    local = str(tmp_path / "local")
    assert hub_name(local) is None
    names = hub_names([f"org/a[0:2] | {local}[1:3]", "org/a", f"org/b+{local}"])
    assert names == {"org/a": "org/a", "org/b": "org/b"}
    assert published(f"{local}[0:2] | org/a[1:3]", names) == "local[0:2] | org/a[1:3]"
    assert published(f"org/b+{local}", names) == "org/b+local"


@pytest.mark.parametrize(
    "path",
    ["/scratch/jane/base", "../jane/base", "./jane/base", "~/jane", "jane", "a/b/c", "file:///a/b", "a b/c"],
)
def test_a_path_to_nothing_is_no_name_on_the_hub(path):
    assert hub_name(path) is None
    names = hub_names([path, f"org/b+{path}", f"{path}[0:2] | org/a[1:3]"])
    assert list(names) == ["org/b", "org/a"]
    assert published(path, names) == path.rsplit("/", 1)[-1]


def test_of_earlier_reports_a_name_counts_where_the_folder_that_was_read_is_the_hubs():
    cached = "/cache/models--org--math/snapshots/0123abcd"
    inputs = {
        "base": {"folder": "models/base"},
        "experts": {"a": {"folder": cached}, "b": {"folder": cached}},
    }
    experts = {"a": {"path": "org/math"}, "b": {"path": f"{cached}[0:1] | models/b[1:2]"}}
    names = reported_names({"recipe": {"base": "models/base", "experts": experts}, "inputs": inputs})
    assert names == {"org/math": "org/math", cached: "org/math"}
    assert published("models/base", names) == "base"


def test_a_stacks_notices_name_its_parts_without_paths(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        tiny_llama(tmp_path / "models" / name, seed)
    (tmp_path / "models/b/chat_template.jinja").write_text("{{ messages }}")
    monkeypatch.chdir(tmp_path)
    stack = "models/a[0:1] | models/b[1:2]"
    recipe = Recipe(base=stack, experts={"same": stack}, method={"name": "average"})
    out = merge(recipe, tmp_path / "out", progress=False)
    report, card = (out / "merge.json").read_text(), (out / "README.md").read_text()
    assert any("'b'" in notice for notice in json.loads(report)["notices"]), report
    assert json.loads(report)["recipe"]["base"] == f"{tmp_path}/models/a[0:1] | {tmp_path}/models/b[1:2]"
    assert "models/b" not in card and "a[0:1] | b[1:2]" in card


APACHE = {"license": "apache-2.0", "language": ["en", "de"]}
OWN = {"license": "other", "license_name": "own", "license_link": "https://example.org/licence"}


@pytest.mark.parametrize(
    ("cards", "agreed"),
    [
        ([APACHE] * 4, {"license": "apache-2.0", "language": ["de", "en"]}),
        ([APACHE, APACHE, APACHE, {"license": "mit", "language": ["de", "en"]}], {"language": ["de", "en"]}),
        ([APACHE, APACHE, APACHE, {"license": "apache-2.0"}], {"license": "apache-2.0"}),
        ([APACHE, APACHE, APACHE, None], {}),
        ([OWN] * 4, OWN),
        ([OWN, OWN, OWN, OWN | {"license_name": "another"}], {}),
        ([OWN | {"license_link": "LICENSE.md"}] * 4, {}),
        ([{"language": "en"}] * 4, {"language": ["en"]}),
        ([{"license": ["mit"]}] * 4, {}),
    ],
)
def test_licence_and_languages_are_taken_over_where_all_sources_agree(family, made, cards, agreed):
    base, experts = family
    for folder, header in zip((base, *experts.values()), cards, strict=True):
        if header is not None:
            with_card(folder, header)
    header = yaml.safe_load(made(base, experts).split("---")[1])
    assert {key: header[key] for key in header if key.startswith("l") and key != "library_name"} == agreed


@pytest.mark.parametrize(
    "text", ["", "# no header\n", "---\n- a list\n---\n", "---\n{broken\n---\n", "---\nno end: 1\n", "\udcff"]
)
def test_a_card_that_cannot_be_read_says_nothing(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert card_header(path) == {}
    assert card_header(tmp_path / "missing.md") == {}


def test_names_from_users_stay_text(family, made):
    base, experts = family
    hostile = "x`|</td><script>*\n---\nlicense: mit"
    card = made(base, {hostile: experts["a"], "```": experts["b"]})
    parsed = ModelCard(card)
    assert parsed.data.to_dict().keys() == {"library_name", "tags"}
    table = next(line for line in card.splitlines() if line.startswith("| x"))
    assert r"x\`\|\</td\>\<script\>\* --- license: mit" in table
    recipe = card[card.index("## Recipe") :]
    assert recipe.count("````yaml") == 1
    inside = recipe.split("````yaml\n")[1].split("\n````")[0]
    assert list(yaml.safe_load(inside)["experts"]) == [hostile, "```"]
