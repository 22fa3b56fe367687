"""What `manyshot push` sends, what it refuses to send, and what it says when the hub refuses."""

import json
import shutil

import pytest
import torch
import yaml
from command_line import manyshot
from hub_stub import serving
from pushing import changed
from safetensors.torch import load_file, save_file
from tiny import tiny_llama
from transformers import AutoModelForCausalLM

from manyshot.push import outdated
from merging.checkpoints.checkpoint import Checkpoint


def test_a_checkpoint_arrives_whole_in_a_private_repository_and_opens(folder, push, tmp_path):
    with serving() as hub:
        done = push(hub, folder, "me/merged-1", "--message", "First")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{hub.address}/me/merged-1/commit/{'1' * 40}"
        assert hub.repositories == {"me/merged-1": True}
        assert (hub.messages, list(hub.files), hub.branches) == (["First"], ["main"], [])
        files = hub.files["main"]
    assert set(files) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert sum(name.endswith(".safetensors") for name in files) > 1
    for name, content in files.items():
        if name != "merge.json":
            assert content == (folder / name).read_bytes(), name
        (tmp_path / "again" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / name).write_bytes(content)
    again, sent = Checkpoint.open(tmp_path / "again"), Checkpoint.open(folder)
    assert again.identity() == sent.identity()
    report = json.loads(files["merge.json"])
    assert report["recipe"]["experts"]["a"]["path"] == report["inputs"]["experts"]["a"]["folder"] == "expert"
    assert "/models" not in files["merge.json"].decode()
    assert report["tensors"] == json.loads((folder / "merge.json").read_text())["tensors"]


SECRET = ("../jane/base", "file:///home/jane/base", "/home/jane doe/base", "/home/jane/base")


@pytest.mark.parametrize("secret", SECRET)
def test_paths_of_this_machine_are_published_nowhere(folder, push, secret):
    report = json.loads((folder / "merge.json").read_text())
    report["recipe"] |= {"base": secret, "tokenizer": secret, "notices": [f"Of {secret}, with (and/or) a/b."]}
    report["recipe"]["experts"]["a"]["path"] = f"{secret}[0:1] | {secret}-2[1:2]"
    report["recipe"]["method"]["name"] = f"{secret}.py:Mine"
    report["recipe"]["chat_template"] = f"{secret}.jinja"
    report["inputs"]["base"]["folder"] = secret
    report["notices"] = [f"the base is {secret}, see https://example.org/a/b and {secret}.jinja"]
    report["differences"] = [{"key": "config.x", "base": secret}]
    (folder / "merge.json").write_text(json.dumps(report))
    part = {"_name_or_path": secret, "hidden_size": 3}
    changed(folder / "config.json", _name_or_path=secret, text_config=part, of_hub={"_name_or_path": "org/a"})
    changed(
        folder / "tokenizer_config.json", name_or_path=secret, tokenizer_file=secret, _name_or_path=secret,
        vocab_file="vocab.txt",
    )  # fmt: skip
    written("generation_config.json", json.dumps({"_name_or_path": secret, "do_sample": True}))(folder)
    written("mergekit_config.yml", yaml.safe_dump({"base_model": secret}))(folder)
    (folder / "README.md").unlink()
    with serving() as hub:
        done = push(hub, folder, "me/m")
        assert done.returncode == 0, done.stderr
        files = hub.files["main"]
    assert "leaving out mergekit_config.yml" in done.stderr
    assert "mergekit_config.yml" not in files
    for name in files:
        assert name.endswith(".safetensors") or b"jane" not in files[name], name
    config, report = json.loads(files["config.json"]), json.loads(files["merge.json"])
    assert (config["text_config"], config["of_hub"]) == ({"hidden_size": 3}, {"_name_or_path": "org/a"})
    assert json.loads(files["tokenizer_config.json"])["vocab_file"] == "vocab.txt"
    assert json.loads(files["generation_config.json"]) == {"do_sample": True}
    assert report["recipe"]["notices"] == ["Of base, with (and/or) a/b."]
    assert report["notices"] == ["the base is base, see https://example.org/a/b and base.jinja"]
    assert report["recipe"]["experts"]["a"]["path"] == "base[0:1] | base-2[1:2]"
    assert (report["recipe"]["method"]["name"], report["recipe"]["chat_template"]) == ("Mine", "base.jinja")


def test_a_relative_folder_is_no_name_on_the_hub_wherever_the_merge_is_pushed_from(merged, push, tmp_path):
    recipe = {"base": "models/base", "experts": {"a": "models/expert"}, "method": {"name": "average"}}
    (merged.parent / "relative.yaml").write_text(yaml.safe_dump(recipe))
    done = manyshot("merge", "relative.yaml", tmp_path / "out", cwd=merged.parent)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "out/merge.json").read_text())
    assert made["recipe"]["base"] == made["inputs"]["base"]["folder"] == str(merged.parent / "models/base")
    (tmp_path / "out/README.md").write_text("# Mine\n\nWords.\n")
    with serving() as hub:
        assert push(hub, "out", "me/m").returncode == 0
        sent = hub.files["main"]
        # As an earlier version wrote it.
        made["recipe"] |= recipe | {"method": made["recipe"]["method"]}
        made["recipe"]["experts"] = {"a": {"path": "models/expert", "weight": 1.0}}
        made["inputs"]["base"]["folder"], made["inputs"]["experts"]["a"]["folder"] = (
            recipe["base"],
            "models/expert",
        )
        del made["hub_names"]
        (tmp_path / "out/merge.json").write_text(json.dumps(made))
        assert push(hub, "out", "me/m").returncode == 0
        for files in (sent, hub.files["main"]):
            assert b"base_model" not in files["README.md"] and b"models/" not in files["merge.json"]
            assert json.loads(files["merge.json"])["recipe"]["base"] == "base"


def test_a_report_that_is_none_of_ours_is_named(folder, tmp_path):
    changed(folder / "merge.json", recipe=[])
    done = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "merge.json is no report of manyshot's" in done.stderr


def test_one_shard_with_its_index_goes_and_an_index_of_pickles_does_not(folder, push, tmp_path):
    names = [path.name for path in folder.glob("*.safetensors")]
    weights = {name: tensor for one in names for name, tensor in load_file(folder / one).items()}
    for name in names:
        (folder / name).unlink()
    save_file(weights, folder / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with serving() as hub:
        done = push(hub, folder, "me/m")
        assert done.returncode == 0, done.stderr
        assert {"model-00001-of-00001.safetensors", "model.safetensors.index.json"} <= set(hub.files["main"])
    written("pytorch_model.bin.index.json", "{}")(folder)
    done = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "pytorch_model.bin.index.json is no file of the checkpoint" in done.stderr


def test_a_branch_and_a_public_repository_are_asked_for(folder, push):
    with serving() as hub:
        done = push(hub, folder, "me/m", "--public", "--revision", "v1")
        assert done.returncode == 0, done.stderr
        assert (hub.repositories, hub.branches, list(hub.files)) == ({"me/m": False}, ["v1"], ["v1"])


OLD = (
    "model.safetensors", "model-00001-of-00099.safetensors", "pytorch_model.bin", "generation_config.json",
    "pytorch_model.bin.index.json", "adapter_config.json", "adapter_model.safetensors", "vocab.txt",
    "model.safetensors.index.fp16.json",
)  # fmt: skip
KEPT = ("notes.md", ".gitattributes", "model.py", "gguf/model.safetensors", "model.safetensors.md")


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_what_the_repository_was_loaded_by_goes_and_the_rest_of_it_stays(folder, push, revision, tmp_path):
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "tokenizer.json").write_text("{}")
    tiny_llama(tmp_path / "old", 7)
    with serving() as hub:
        hub.repositories["me/m"] = True
        hub.files["main"] = {
            **dict.fromkeys((*OLD, *KEPT), b"old"),
            "config.json": b"old",
            "model.safetensors": (tmp_path / "old/model.safetensors").read_bytes(),
        }
        done = push(hub, folder, "me/m", "--revision", revision)
        assert done.returncode == 0, done.stderr
        files = hub.files[revision]
        assert len(hub.messages) == 1
        assert revision == "main" or hub.files["main"]["config.json"] == b"old"
    sent = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(files) == sent | set(KEPT)
    assert files["notes.md"] == b"old"
    for name in sent:
        (tmp_path / "again" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / name).write_bytes(files[name])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "again").state_dict()
    wanted = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in wanted.items())


def test_a_tokenizer_stays_where_none_is_sent():
    there = [
        "tokenizer.json",
        "chat_template.jinja",
        "additional_chat_templates/a.jinja",
        "model.safetensors",
    ]
    weights = ["config.json", "model-00001-of-00002.safetensors"]
    assert outdated(there, weights) == ["model.safetensors"]
    assert outdated(there, [*weights, "tokenizer_config.json"]) == sorted(there)


@pytest.mark.parametrize("public", [True, False])
def test_a_repository_that_is_there_stays_what_it_is(folder, push, public):
    with serving() as hub:
        hub.repositories["me/m"] = not public
        option = ["--public"] if not public else []
        done = push(hub, folder, "me/m", *option)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"me/m is there and {'public' if public else 'private'}" in done.stderr
        assert not hub.files


@pytest.mark.parametrize(
    ("status", "how", "said"),
    [
        (None, {"token": ""}, "There is no token for the hub: log in with `hf auth login`"),
        (None, {"token": "hf_other"}, "The hub does not know the token"),
        (403, {}, "The token may not write to me/m"),
        (400, {}, "the hub answered 400 (not today"),
        (None, {"offline": True}, "HF_HUB_OFFLINE is set, so nothing is pushed: unset it to push."),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_without_the_token(folder, push, status, how, said):
    with serving() as hub:
        hub.refuses = status
        done = push(hub, folder, "me/m", **how)
        assert (done.returncode, done.stderr.splitlines()[-1].startswith("manyshot: ")) == (2, True)
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert "hf_other" not in done.stderr
        assert not hub.files
        assert bool(hub.requests) == (status is not None or how == {"token": "hf_other"})


def test_a_dry_run_lists_files_and_sizes_and_asks_nobody(folder, push):
    with serving() as hub:
        done = push(hub, folder, "me/m", "--dry-run", token="")
        assert (done.returncode, hub.requests) == (0, []), done.stderr
    lines = done.stdout.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines[:-1] if " " in line)
    assert listed["config.json"] == f"{(folder / 'config.json').stat().st_size} bytes"
    shard = next(folder.glob("*.safetensors"))
    assert listed[shard.name] == f"{shard.stat().st_size / 1000:.3g} kB"
    assert lines[-1].startswith(f"{len([path for path in folder.rglob('*') if path.is_file()])} files, ")
    assert lines[-1].endswith("to me/m, private; nothing was sent")


@pytest.mark.parametrize(
    "name",
    ["merged", "me/merged/more", "", "me/", "/m", "me/a--b", "me/a b", "mé/m", "me/" + "x" * 97, "me/.."],
)
def test_what_is_no_name_on_the_hub_is_refused(folder, tmp_path, name):
    done = manyshot("push", folder, name, "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "owner/name is expected" in done.stderr


def pickle(name):
    return lambda folder: torch.save({}, folder / name)


def written(name, text="x"):
    def write(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return write


def without_a_shard(folder):
    next(folder.glob("*.safetensors")).unlink()


def with_a_link(folder):
    (folder / "LICENSE").symlink_to("/nowhere/at/all")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_a_shard, "which is missing"),
        (with_a_link, "is neither a file nor a folder"),
        (written("journal.jsonl"), "was stopped, and is not whole"),
        (written("saves/checkpoint-1/trainer_state.json"), "was stopped, and is not whole"),
        (pickle("training_args.bin"), "training_args.bin is a pickle"),
        (pickle("optimizer.pt"), "optimizer.pt is a pickle"),
        (pickle("pytorch_model.bin"), "save the weights as safetensors"),
        (written("sub/weights.pkl"), "sub/weights.pkl is a pickle"),
        (written("trainer_state.json"), "trainer_state.json is no file of the checkpoint"),
        (written("model-00009-of-00009.safetensors"), "model-00009-of-00009.safetensors is no file of"),
        (written(".env", "SECRET"), ".env is no file of the checkpoint"),
        (written("run_me.py", "pass"), "run_me.py is no file of the checkpoint"),
        (written("notes/plan.md"), "notes/plan.md is no file of the checkpoint"),
    ],
)
def test_what_is_no_whole_checkpoint_or_no_part_of_one_is_refused(folder, tmp_path, spoil, said):
    spoil(folder)
    done = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


def test_a_hidden_folder_of_a_stopped_merge_is_refused(folder, tmp_path):
    hidden = folder.rename(tmp_path / ".merged.0123456789abcdef.partial")
    assert "was stopped" in manyshot("push", hidden, "me/m", "--dry-run", cwd=tmp_path).stderr
    assert "nowhere is no folder" in manyshot("push", "nowhere", "me/m", "--dry-run", cwd=tmp_path).stderr


def test_what_tools_leave_is_passed_over_and_what_belongs_to_a_model_goes(folder, tmp_path):
    for name in (".git/config", ".cache/huggingface/x.lock", "__pycache__/a.pyc"):
        written(name)(folder)
    for name in ("LICENSE", "NOTICE.txt", "picture.png", "additional_chat_templates/tools.jinja"):
        written(name)(folder)
    lines = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path).stdout
    assert not any(name in lines for name in (".git/", ".cache", "pycache"))
    assert all(
        name in lines for name in ("LICENSE", "NOTICE.txt", "picture.png", "chat_templates/tools.jinja")
    )


def test_a_missing_card_is_said_and_no_reason_to_refuse(folder, tmp_path):
    (folder / "README.md").unlink()
    done = manyshot("push", folder, "me/m", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "has no model card" in done.stderr


def test_an_adapter_goes_without_the_path_to_its_base(merged, push, tmp_path):
    models = merged.parent / "models"
    done = manyshot("extract", models / "base", models / "expert", "adapter", "--rank", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = manyshot("push", "adapter", "me/a", "--dry-run", cwd=tmp_path)
    assert (done.returncode, "which nobody else has" in done.stderr) == (2, True), done.stderr
    changed(tmp_path / "adapter/adapter_config.json", base_model_name_or_path="/scratch/jane/base")
    done = manyshot("push", "adapter", "me/a", "--dry-run", cwd=tmp_path)
    assert (done.returncode, "which nobody else has" in done.stderr) == (2, True), done.stderr
    cached = tmp_path / "hub/models--org--base/snapshots/0123"
    shutil.copytree(models / "base", cached)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    written("adapter_config.json", json.dumps({**config, "base_model_name_or_path": str(cached)}))(
        tmp_path / "adapter"
    )
    with serving() as hub:
        done = push(hub, "adapter", "me/a")
        assert done.returncode == 0, done.stderr
        files = hub.files["main"]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "org/base"
    assert str(tmp_path) not in "".join(files[name].decode() for name in files if name.endswith(".json"))
