"""Whether a server's chat template begins thoughts, so that a cut answer may be thought alone."""

from collections.abc import Mapping
from typing import Any

from bench.api.server import Server

_LAST = 16
"""Tokens at the end of a prompt in which thoughts would be begun."""


def begins_thoughts(server: Server, arguments: Mapping[str, Any], think_end: str) -> bool | None:
    """Whether a prompt that the server writes ends with the mark that begins thoughts.

    llama.cpp's server shows its prompts (/apply-template), vLLM's their tokens (/tokenize, /detokenize). Of
    others a tokenizer that was given is believed to have the same template.

    Args:
        server: which writes conversations.
        arguments: what else its template is given.
        think_end: the mark that ends them, as `</think>`; without its slash it begins them.

    Returns:
        None where nothing shows it.
    """
    told = {"messages": [{"role": "user", "content": "Hello"}], "chat_template_kwargs": dict(arguments)}
    for written in (_shown, _tokenised, _by_tokenizer):
        prompt = written(server, told)
        if isinstance(prompt, str):
            return prompt.rstrip().endswith(think_end.replace("/", "", 1))
    return None


def _shown(server: Server, told: Mapping[str, Any]) -> Any:
    return _of(server.beside("/apply-template", told), "prompt")


def _tokenised(server: Server, told: Mapping[str, Any]) -> Any:
    asked = {"model": server.model, "add_generation_prompt": True, **told}
    tokens = _of(server.beside("/tokenize", asked), "tokens")
    if not isinstance(tokens, list) or not tokens:
        return None
    return _of(server.beside("/detokenize", {"model": server.model, "tokens": tokens[-_LAST:]}), "prompt")


def _by_tokenizer(server: Server, told: Mapping[str, Any]) -> Any:
    if not getattr(server.tokenizer, "chat_template", None):
        return None
    try:
        return server.tokenizer.apply_chat_template(
            told["messages"], tokenize=False, add_generation_prompt=True, **told["chat_template_kwargs"]
        )
    except Exception:  # whatever a template's own expressions raise
        return None


def _of(said: Any, name: str) -> Any:
    return said.get(name) if isinstance(said, dict) else None
