"""What `manyshot push` makes of model cards and entries of evaluations, of ours and of others."""

import pytest
import yaml
from command_line import manyshot
from hub_stub import serving
from huggingface_hub import ModelCard
from pushing import changed_base

from results.card_parts import card_part, with_scores

OURS = {
    "dataset": {"id": "x/y", "task_id": "z"},
    "value": 1.0,
    "notes": f"5-shot, 1319 documents, manyshot record {'0' * 64}",
}
GSM8K = {**OURS, "dataset": {"id": "openai/gsm8k", "task_id": "gsm8k"}, "value": 30.3}
OTHER = {"dataset": {"id": "x/y", "task_id": "z"}, "value": 2.0, "notes": "by hand, no manyshot record"}


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_entries_of_ours_that_are_not_sent_go_and_those_of_others_stay(folder, push, revision):
    there = {
        ".eval_results/ours.yaml": yaml.safe_dump([OURS]),
        ".eval_results/both.yaml": yaml.safe_dump([OURS, OTHER]),
        ".eval_results/other.yaml": f"# Mine\n{yaml.safe_dump([OTHER])}",
        ".eval_results/broken.yaml": "{",
        ".eval_results/gsm8k.yaml": yaml.safe_dump([OURS]),
    }
    with serving() as hub:
        hub.repositories["me/m"] = True
        hub.files["main"] = {name: text.encode() for name, text in there.items()}
        done = push(hub, folder, "me/m", "--revision", revision)
        assert done.returncode == 0, done.stderr
        files = {name: content.decode() for name, content in hub.files[revision].items() if "eval_" in name}
        assert len(hub.messages) == 1
    assert files.pop(".eval_results/gsm8k.yaml") == "[]\n"
    assert yaml.safe_load(files.pop(".eval_results/both.yaml")) == [OTHER]
    assert files == {name: there[name] for name in (".eval_results/other.yaml", ".eval_results/broken.yaml")}


HEADER = "license: mit\ncustom_key: [1, 2]\ntags: [mine]\n"


def header(content):
    return yaml.safe_load(content.decode().split("---\n")[1])


def results(content):
    [index] = header(content)["model-index"]
    return {one["dataset"]["type"]: one["metrics"][0] for one in index["results"]}


@pytest.mark.parametrize("written_header", ["", f"---\n{HEADER}base_model: org/named\n---\n"])
def test_a_card_that_a_user_wrote_goes_with_what_its_header_lacks(folder, push, written_header):
    words = "# Mine\n\n| a | b |\n\nWords --- with `code`.\n"
    (folder / "README.md").write_text(f"{written_header}{words}")
    changed_base(folder, "org/base")
    (folder / ".eval_results/gsm8k.yaml").write_text(yaml.safe_dump([GSM8K, OTHER]))
    with serving() as hub:
        assert push(hub, folder, "me/m").returncode == 0
        sent = hub.files["main"]["README.md"]
    found = header(sent)
    assert sent.decode().endswith(f"\n---\n{words}")
    own = {"license": "mit", "custom_key": [1, 2]} if written_header else {}
    assert own.items() <= found.items()
    assert found["tags"] == [*(["mine"] if own else []), "merge", "manyshot"]
    assert found["base_model"] == ("org/named" if own else ["org/base"])
    assert (found["library_name"], found["base_model_relation"]) == ("transformers", "merge")
    assert results(sent)["openai/gsm8k"]["value"] == 0.303
    assert results(sent).keys() == {"openai/gsm8k"}
    (folder / "README.md").write_bytes(sent)
    with serving() as hub:
        assert push(hub, folder, "me/m").returncode == 0
        assert hub.files["main"]["README.md"] == sent


def test_a_card_that_the_hub_would_not_read_is_refused(folder, tmp_path):
    (folder / "README.md").write_text("---\ntags: [\n---\n\nWords.\n")
    done = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "README.md is no model card that the hub would read" in done.stderr


def test_a_card_that_a_user_wrote_in_the_repository_is_completed_and_not_replaced(folder, push):
    words = "# Mine\n\nWords.\n"
    changed_base(folder, "org/base")
    with serving() as hub:
        hub.repositories["me/m"] = True
        hub.files["main"] = {"README.md": f"---\n{HEADER}---\n{words}".encode()}
        done = push(hub, folder, "me/m")
        assert done.returncode == 0, done.stderr
        kept = hub.files["main"]["README.md"]
        assert "keeping what me/m has: its model card" in done.stderr
        assert kept.decode().endswith(f"---\n{words}")
        assert header(kept) == {
            **yaml.safe_load(HEADER), "tags": ["mine", "merge", "manyshot"], "base_model": ["org/base"],
            "base_model_relation": "merge", "library_name": "transformers",
        }  # fmt: skip
        (folder / "README.md").write_text(f"---\n{HEADER}---\n# Mine\n\nOther words.\n")
        assert push(hub, folder, "me/m").returncode == 0
        assert b"Other words." in hub.files["main"]["README.md"]
        hub.files["main"]["README.md"] = b"---\nlicense: mit\n---\n# m\n"
        (folder / "README.md").write_text("# A merge\n\nMade with manyshot 1.\n")
        assert push(hub, folder, "me/m").returncode == 0
        # A licence that was chosen on the hub; but what manyshot sent is replaced.
        kept = hub.files["main"]["README.md"]
        assert b"Made with manyshot 1." in kept and header(kept)["license"] == "mit"
        hub.files["main"]["README.md"] = b"---\nlicense: mit\n---\n# m\n\nMade with manyshot 0.\n"
        assert push(hub, folder, "me/m").returncode == 0
        assert b"mit" not in hub.files["main"]["README.md"]
        hub.files["main"]["README.md"] = b"---\ntags: [\n---\nWords.\n"
        done = push(hub, folder, "me/m")
        assert (done.returncode, hub.files["main"]["README.md"]) == (2, b"---\ntags: [\n---\nWords.\n")
        assert "me/m has a README.md that is not replaced, and cannot be read" in done.stderr


def test_what_people_write_into_a_card_of_manyshots_stays_and_its_own_parts_are_renewed(folder, push):
    made = (folder / "README.md").read_text()
    changed_base(folder, "org/base")
    with serving() as hub:
        assert push(hub, folder, "me/m").returncode == 0
        assert hub.files["main"]["README.md"].endswith(made.partition("\n---\n")[2].encode())
        found = ModelCard(hub.files["main"]["README.md"].decode())
        data = found.data.to_dict()
        assert data["base_model"] == ["org/base"]
        found.data["license"], found.data["tags"] = "mit", [*data["tags"], "mine"]
        text = found.text.replace("## Recipe\n", "## Usage\n\nLike this.\n\n## Recipe\n")
        found.text = f"Before.\n{text}\nBehind.\n"
        hub.files["main"]["README.md"] = str(found).encode()
        # Another merge, with scores, of sources that are not on the hub.
        changed_base(folder, "/models/base")
        other = made.replace("A merge by", "A merge by more than").replace(" (weights ", " (other weights ")
        scores = card_part("scores", "## Scores\n\n0.5")
        (folder / "README.md").write_text(with_scores(other, scores))
        done = push(hub, folder, "me/m")
        assert "keeping what me/m has: its model card" in done.stderr, done.stderr
        kept = hub.files["main"]["README.md"].decode()
        expected = with_scores(text.replace(" (weights ", " (other weights "), scores)
        expected = expected.replace("A merge by", "A merge by more than")
        assert kept.endswith(f"Before.\n{expected}\nBehind.\n")
        assert header(kept.encode()) == {
            "library_name": "transformers", "tags": ["merge", "manyshot", "mine"], "license": "mit",
        }  # fmt: skip
        # Scores that are no longer there go; a title that somebody wrote stays.
        hub.files["main"]["README.md"] = kept.replace("# A merge by more than", "# My model by").encode()
        (folder / "README.md").write_text(made)
        assert push(hub, folder, "me/m").returncode == 0
        kept = hub.files["main"]["README.md"].decode()
        assert "## Scores" not in kept and "(weights" in kept and "# My model by" in kept
        assert "Like this." in kept
        # What nobody has changed is replaced, and said to be kept no more.
        hub.files["main"]["README.md"] = made.encode()
        (folder / "README.md").write_text(other)
        assert "keeping" not in push(hub, folder, "me/m").stderr
        assert hub.files["main"]["README.md"] == other.encode()


def test_entries_of_others_stay_in_a_file_that_is_sent_too(folder, push):
    name, third = ".eval_results/gsm8k.yaml", {**OTHER, "value": 3.0}
    (folder / name).write_text(yaml.safe_dump([GSM8K, third]))
    with serving() as hub:
        hub.repositories["me/m"] = True
        hub.files["main"] = {name: yaml.safe_dump([OURS, OTHER, third]).encode()}
        done = push(hub, folder, "me/m")
        assert done.returncode == 0, done.stderr
        assert f"keeping what me/m has: the entries of others in {name}" in done.stderr
        assert yaml.safe_load(hub.files["main"][name]) == [GSM8K, third, OTHER]
        hub.files["main"][name] = b"{"
        done = push(hub, folder, "me/m")
        assert (done.returncode, hub.files["main"][name]) == (2, b"{")
        assert f"me/m has a {name} that is not replaced, and cannot be read" in done.stderr
