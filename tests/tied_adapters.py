"""Adapters of a base that ties its tables, and what peft's model, with the adapter beside it, says."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

KINDS = {
    "embedding saved": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "embedding's factors": {"target_modules": ["q_proj", "embed_tokens"]},
    "head saved": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "head's factors": {"target_modules": ["q_proj", "lm_head"]},
    "neither": {"target_modules": ["q_proj", "v_proj"]},
}
TOKENS = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10]])


def tied_adapter(base: Path, folder: Path, **options) -> Path:
    """An adapter with random factors and random whole tables, saved by peft."""
    torch.manual_seed(7)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, lora_alpha=6, **options)
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data + 0.2 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    return folder


@torch.inference_mode()
def peft_logits(base: Path, adapter: Path) -> torch.Tensor:
    """Logits (1, tokens, vocabulary) of the base with the adapter beside it, nothing merged."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    return model.eval()(TOKENS).logits


@torch.inference_mode()
def logits(folder: Path) -> torch.Tensor:
    """Logits (1, tokens, vocabulary) of a whole model."""
    return AutoModelForCausalLM.from_pretrained(folder).eval()(TOKENS).logits
