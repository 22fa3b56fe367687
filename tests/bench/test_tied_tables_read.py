"""Two tied tensors are compared without reading the others."""

import pytest
import torch
from safetensors.torch import save_file

from merging.checkpoints import pretrained
from results.errors import InputError


@pytest.mark.parametrize("equal", [True, False])
def test_only_the_tied_tensors_are_read(tmp_path, monkeypatch, equal):
    tensors = {name: torch.full((2, 2), float(i)) for i, name in enumerate(("embed", "head", "layer"))}
    tensors["head"] = tensors["embed"].clone() if equal else tensors["head"]
    save_file(tensors, tmp_path / "model.safetensors")
    read = []

    class Recording:
        def __init__(self, path, framework):
            self.file = pretrained_open(path, framework=framework)

        def __enter__(self):
            self.opened = self.file.__enter__()
            return self

        def __exit__(self, *error):
            self.file.__exit__(*error)

        def keys(self):
            return self.opened.keys()

        def get_tensor(self, name):
            read.append(name)
            return self.opened.get_tensor(name)

    pretrained_open = pretrained.safe_open
    monkeypatch.setattr(pretrained, "safe_open", Recording)
    if equal:
        pretrained._refuse_unequal(tmp_path, {"head": "embed"})
    else:
        with pytest.raises(InputError, match="'head' differs from 'embed'"):
            pretrained._refuse_unequal(tmp_path, {"head": "embed"})
    assert sorted(read) == ["embed", "head"]
