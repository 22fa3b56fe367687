"""The head of a model in half precision."""

import pytest
import torch

from bench.hf.head import float32_logits, widened


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_head_that_is_widened_once_gives_the_same_logits(dtype, bias):
    head = torch.nn.Linear(16, 64, bias=bias).to(dtype)
    hidden = torch.randn(3, 16).to(dtype)
    logits = widened(head)(hidden)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, float32_logits(head, hidden), rtol=1e-6, atol=1e-6)
    rounded = head(hidden).float()
    assert torch.equal(rounded, logits) == (dtype == torch.float32)
