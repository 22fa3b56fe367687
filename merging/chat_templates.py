"""Chat templates of forms that many models share, by the names that mergekit has for them.

That of Llama 3 has no line break behind an end of turn, and that of EXAONE no indentation of a file, as in
the released models; mergekit's have them. The answer to Alpaca's last instruction begins on a line of its
own; in mergekit's its heading follows the instruction's last word.
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
_EXAONE = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}{{ '[|system|][|endofturn|]\\n' }}{% endif %}"
    "{{ '[|' ~ message.role ~ '|]' ~ message.content }}"
    "{{ '\\n' if message.role == 'user' else '[|endofturn|]\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}"
)
_ALPACA = (
    "{% set heads = {'user': 'Instruction', 'user_context': 'Input', 'assistant': 'Response'} %}"
    "{% set told = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | list %}"
    "{{ (told[-1] | trim if told else '') ~ '\\n\\n' }}"
    "{% for message in messages if message.role in heads %}"
    "{{ '### ' ~ heads[message.role] ~ ':\\n' ~ message.content | trim }}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role != 'assistant' %}"
    "{{ '\\n\\n### Response:\\n' }}{% endif %}"
)

CHAT_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {"alpaca": _ALPACA, "chatml": _CHATML, "exaone": _EXAONE, "llama3": _LLAMA3, "mistral": _MISTRAL}
)
"""Jinja text by name."""
