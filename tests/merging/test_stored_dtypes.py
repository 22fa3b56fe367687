"""Which stored dtypes are weights, by the headers of files alone."""

import json

import pytest

from merging.checkpoints.checkpoint import dtypes_of, open_safetensors
from merging.checkpoints.dtypes import refuse_no_weights
from results.errors import InputError

NAME = "layers.0.mlp.up_proj.weight"
FP8 = {"quantization_config": {"quant_method": "fp8"}}


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16", "F16"])
def test_floats_of_sixteen_bits_or_more_are_weights(tmp_path, dtype):
    refuse_no_weights(tmp_path, {NAME: dtype}, {})


@pytest.mark.parametrize(
    "name, dtype",
    [
        ("model.position_ids", "I64"),
        ("h.0.attn.bias", "U8"),
        ("h.0.attn.bias", "BOOL"),
        ("encoder.index", "I32"),
    ],
)
def test_positions_and_masks_may_lie_beside_them(tmp_path, name, dtype):
    refuse_no_weights(tmp_path, {NAME: "F32", name: dtype}, {})


@pytest.mark.parametrize(
    "dtype", ["I8", "U8", "I16", "I32", "I64", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "C64"]
)
def test_other_numbers_are_none_without_a_configuration(tmp_path, dtype):
    with pytest.raises(InputError, match=f"'{NAME}' has dtype {dtype}, which is no weight without"):
        refuse_no_weights(tmp_path, {NAME: dtype}, {})


def test_packed_numbers_without_the_name_of_a_weight_are_none_either(tmp_path):
    with pytest.raises(InputError, match="gate_up_proj' has dtype I8"):
        refuse_no_weights(tmp_path, {"layers.0.mlp.experts.gate_up_proj": "I8"}, {})


@pytest.mark.parametrize("scale", [f"{NAME}_scale_inv", f"{NAME}_scale", "layers.0.mlp.up_proj.scale"])
def test_eight_bit_floats_are_weights_with_their_scales(tmp_path, scale):
    refuse_no_weights(tmp_path, {NAME: "F8_E4M3", scale: "F32"}, FP8)


@pytest.mark.parametrize("other", ["layers.0.mlp.down_proj.weight_scale", "layers.0.mlp.up_proj.bias"])
def test_eight_bit_floats_without_scales_of_their_own_are_none(tmp_path, other):
    with pytest.raises(InputError, match="its scale does not lie beside it"):
        refuse_no_weights(tmp_path, {NAME: "F8_E4M3", other: "F32"}, FP8)


def test_a_header_that_speaks_of_more_than_the_file_holds_is_refused(tmp_path):
    header = json.dumps({NAME: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    header += b" " * (-len(header) % 8)
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert dtypes_of(open_safetensors(file)) == {NAME: "F32"}
    for content in (file.read_bytes()[:-1], b"", b"\xff" * 20, header):
        file.write_bytes(content)
        with pytest.raises(InputError, match="not a complete safetensors file"):
            open_safetensors(file)
