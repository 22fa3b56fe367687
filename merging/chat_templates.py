"""Chat templates of forms that many models share, by the names that mergekit has for them.

That of Llama 3 has no line break behind an end of turn, as in the released models; mergekit's has one.
"""

from collections.abc import Mapping
from types import MappingProxyType

_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' }}"
    "{{ message.content | trim }}{{ '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% set told = messages[0].content ~ '\\n\\n' if messages[0].role == 'system' else '' %}"
    "{% for message in (messages[1:] if told else messages) %}"
    "{% if message.role != ('assistant' if loop.index0 % 2 else 'user') %}"
    "{{ raise_exception('user and assistant take turns, after at most one system text') }}"
    "{% endif %}"
    "{% if message.role == 'user' %}"
    "{{ ' [INST] ' ~ (told if loop.first else '') ~ message.content ~ ' [/INST]' }}"
    "{% else %}{{ ' ' ~ message.content ~ eos_token }}{% endif %}"
    "{% endfor %}"
)

CHAT_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {"chatml": _CHATML, "llama3": _LLAMA3, "mistral": _MISTRAL}
)
"""Jinja text by name."""
