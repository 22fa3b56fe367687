"""Whether a model can be run with shared contexts and prefixes: looked up, then tried on a few tokens."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from bench.engine import GenerationRequest
from bench.hf.attention import UnsupportedAttentionError, compute_prefix
from bench.hf.generation import PaddedBatch
from bench.hf.head import widened
from bench.hf.likelihood import score_batch
from bench.sharing import Document

logger = logging.getLogger("manyshot.bench")

_PREFIX, _CONTEXT = 5, 12
_CHOICES = (3, 2, 1)  # tokens
_CLOSE = {torch.float32: (1e-3, 1e-5)}
_CLOSE_IN_HALF = (0.1, 0.05)  # a step of bfloat16 is 0.125 for logits from 16 on


def why_not_shared(model: Any) -> str | None:
    """What keeps a model of transformers from sharing contexts and prefixes, or None.

    A sliding window shows only in long texts, so the configuration tells of it. The rest shows in a few
    tokens: the log-probabilities of some choices are compared with those that the model alone gives.
    """
    config = model.config.get_text_config()
    if config.is_encoder_decoder:
        return "it has an encoder"
    if getattr(config, "final_logit_softcapping", None) or getattr(config, "logit_scale", 1) not in (None, 1):
        return "its logits are scaled or capped"
    layers = set(getattr(config, "layer_types", None) or ())
    windows = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if windows or layers - {"full_attention"}:
        return "its attention is not full in all layers"
    try:
        return None if _agrees(model) else "its positions, masks or head are of another kind"
    except torch.OutOfMemoryError:
        raise
    except UnsupportedAttentionError as error:
        return f"its attention has {error}"
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
        # What an architecture's code raises, given a mask that it has no place for, is its authors' choice;
        # whatever it is, the model is scored without sharing. That those we know do share is tested by name.
        logger.debug("The model cannot be run with shared contexts:", exc_info=True)
        return "it does not take masks and positions as others do"


@torch.inference_mode()
def _agrees(model: Any) -> bool:
    vocabulary = model.get_output_embeddings().weight.shape[0]
    fixed = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocabulary, (_CONTEXT + sum(_CHOICES),), generator=fixed)
    context, *choices = (part.tolist() for part in tokens.split([_CONTEXT, *_CHOICES]))
    prefix = compute_prefix(model, context[:_PREFIX])
    # A shorter context beside the whole one shows whether padding is felt.
    contexts = [context, context[:-2]]
    documents = [
        Document(tuple(tokens_before), tuple(choices), tuple(range(first, first + len(choices))))
        for tokens_before, first in zip(contexts, (0, len(choices)), strict=True)
    ]
    scored = score_batch(model, documents, prefix, pad=0)
    requests = [GenerationRequest(tokens_before, max_new_tokens=2) for tokens_before in contexts]
    batch = PaddedBatch(requests, prefix, 0, model, widened(model.get_output_embeddings()), penalise=False)
    first = batch.tokens
    batch.read()
    second = batch.tokens
    atol, rtol = _CLOSE.get(model.dtype, _CLOSE_IN_HALF)
    for document, answer in zip(documents, zip(first.tolist(), second.tolist(), strict=True), strict=True):
        for index, choice in zip(document.indices, document.continuations, strict=True):
            expected, _ = _alone(model, document.context, choice)
            if not torch.allclose(scored[index][0], expected, rtol=rtol, atol=atol):
                return False
        chosen, best = _alone(model, document.context, answer)
        if not torch.allclose(chosen, best, rtol=rtol, atol=atol):
            return False
    return True


def _alone(model: Any, context: Sequence[int], tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of tokens after a context, and the highest at their places, by the model as it is."""
    ids = torch.tensor([[*context, *tokens]], device=model.device)
    logprobs = model(input_ids=ids).logits[0, len(context) - 1 : -1].float().log_softmax(-1).cpu()
    return logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0], logprobs.amax(-1)
