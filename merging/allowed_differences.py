"""Keys in which a base and its experts may differ, each with the reason. All others are refused by name.

A reason may hold under a condition only. A key is found by any part of its dotted name, so that it is found
in the configuration of a part as well (`config.text_config.use_cache`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
    """Why the values of a key may differ.

    Attributes:
        why: the reason, for the merge's report.
        notify: whether the user is told, since something of the expert's is left out.
        derives: whether model classes derive other settings from it, which are compared then.
        condition: says of what the key stands among (its part of the configuration, with all defaults; for
            tokenizers, whether both encode texts the `same`) whether the reason holds there; None for always.
    """

    why: str
    notify: bool = False
    derives: bool = False
    condition: Callable[[Mapping[str, Any]], bool] | None = None


_POSITIONS_BY_PADDING = frozenset(
    (
        *("camembert", "data2vec-text", "esm", "fsmt", "ibert", "kosmos-2", "longformer", "luke", "m2m_100"),
        *("mpnet", "nllb-moe", "roberta", "roberta-prelayernorm", "seamless_m4t", "seamless_m4t_v2"),
        *("speech_to_text", "trocr", "xglm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    )
)
"""Model types that count positions from `pad_token_id` on, as RoBERTa does."""


def _pads_alone(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") not in _POSITIONS_BY_PADDING


def _rotates_without_a_limit(config: Mapping[str, Any]) -> bool:
    """Whether positions are rotated by angles that do not depend on the longest."""
    rope = config.get("rope_parameters")
    if not isinstance(rope, Mapping) or not rope:
        return False
    parts = [rope] if "rope_type" in rope else list(rope.values())
    return all(
        isinstance(part, Mapping) and part.get("rope_type") in ("default", "linear", "llama3")
        for part in parts
    )


_WRITER = Reason("says who wrote the file")
_STORED = Reason(
    "the dtype of the file; merging computes in float32 and writes `output_dtype`, else the base's"
)
_RETURNED = Reason("what a call returns or keeps, not what it computes")
_TRAINING = Reason("used when weights are drawn or trained, not when a model answers")
_CLASSES = Reason("names of classes that a language model does not have")
_PADDING = Reason("fills rows up, and is masked")
_PADDING_ALONE = Reason(_PADDING.why, condition=_pads_alone)
_LIMIT = Reason(
    "how long texts may be, which no angle depends on; the base's is kept",
    notify=True,
    condition=_rotates_without_a_limit,
)
_UNREAD_WINDOW = Reason(
    "which layers have a window, where none has",
    condition=lambda config: config.get("use_sliding_window") is False,
)
_FILES = Reason("where the tokenizer's files came from; the files themselves are compared")
_READ_ALIKE = Reason(
    "how the files are read, and both encode texts the same",
    condition=lambda loaded: loaded.get("same") is True,
)
_FASTER = Reason("how tokens are computed faster, not which")
_COMPARED = Reason("the tokens themselves are compared, by their ids")
_WEIGHTS = Reason(
    "the weights say it: where one has a table of its own for the output, the merged model has",
    notify=True,
    derives=True,  # T5 scales what goes into the output by it
)
_DRAWING = Reason("how tokens are drawn from the logits, which are the same; the base's is kept", True)
_TEMPLATE = Reason("how a conversation is written as a prompt; the base's is kept", True)
_DECODING = Reason("how tokens are written as text; the base's is kept", True)
_DROPPED = Reason("the merged model's tokenizer lacks them", True)
_LACKING = Reason("the merged model's tokenizer has them", True)
JOINED = Reason("the merged model's tokenizer has them too, and their rows")
CHOSEN = Reason("the recipe names a tokenizer, and with it which token is which", True)
_CODE = Reason("accepted by `trust_remote_code`, without which it is refused; the base's code is kept", True)
_NO_FILES = Reason("the merged model has the base's tokenizer, if it has one", True)


def _by_key(*rows: tuple[Reason, str]) -> dict[str, Reason]:
    return {key: reason for reason, keys in rows for key in keys.split()}


_CONFIG = _by_key(
    (
        _WRITER,
        "transformers_version _name_or_path name_or_path _commit_hash unsloth_version unsloth_fixed "
        "js_config",
    ),
    (_STORED, "dtype torch_dtype"),
    (
        _RETURNED,
        "use_cache output_attentions output_hidden_states output_router_logits return_dict "
        "use_return_dict torchscript",
    ),
    (Reason("computes the same in slices"), "pretraining_tp chunk_size_feed_forward"),
    (
        Reason("how attention is computed, not what"),
        "_attn_implementation _attn_implementation_internal",
    ),
    (
        _TRAINING,
        "initializer_range initializer_factor init_std gradient_checkpointing attention_dropout "
        "hidden_dropout dropout dropout_rate activation_dropout attn_pdrop embd_pdrop resid_pdrop "
        "summary_first_dropout layerdrop encoder_layerdrop decoder_layerdrop classifier_dropout "
        "classifier_dropout_prob hidden_dropout_prob attention_probs_dropout_prob router_aux_loss_coef "
        "router_z_loss_coef router_jitter_noise",
    ),
    (_CLASSES, "id2label label2id num_labels _num_labels problem_type finetuning_task"),
    (_DRAWING, "task_specific_params"),
    (_CODE, "auto_map"),
    (_PADDING_ALONE, "pad_token_id"),
    (_LIMIT, "max_position_embeddings"),
    (_UNREAD_WINDOW, "max_window_layers"),
    (Reason("off in both", condition=lambda config: not config.get("use_mrope")), "use_mrope"),
    (_WEIGHTS, "tie_word_embeddings"),
)

_GENERATION = _by_key(
    (_WRITER, "transformers_version _from_model_config _commit_hash"),
    (_PADDING, "pad_token_id"),
    (
        _RETURNED,
        "use_cache cache_implementation cache_config return_dict_in_generate output_attentions "
        "output_hidden_states output_scores output_logits",
    ),
    (
        _DRAWING,
        "do_sample temperature top_k top_p min_p typical_p top_h epsilon_cutoff eta_cutoff num_beams "
        "num_return_sequences early_stopping length_penalty repetition_penalty no_repeat_ngram_size "
        "max_time max_length max_new_tokens min_length min_new_tokens num_beam_groups diversity_penalty "
        "guidance_scale penalty_alpha encoder_repetition_penalty encoder_no_repeat_ngram_size "
        "renormalize_logits remove_invalid_values exponential_decay_length_penalty",
    ),
    (
        _FASTER,
        "low_memory num_assistant_tokens num_assistant_tokens_schedule is_assistant "
        "assistant_confidence_threshold assistant_lookbehind target_lookbehind prompt_lookup_num_tokens "
        "disable_compile compile_config prefill_chunk_size",
    ),
)

GENERATION_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("do_sample", "early_stopping", "renormalize_logits", "remove_invalid_values"), False),
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "guidance_scale"), 1.0),
    **dict.fromkeys(("repetition_penalty", "length_penalty", "encoder_repetition_penalty"), 1.0),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_length"), 0),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "diversity_penalty"), 0.0),
}
"""What generation settings mean where they are left out: nothing, in the form that older versions wrote."""

_TOKENIZER = _by_key(
    (_WRITER, "name_or_path processor_class version is_local local_files_only backend"),
    (
        _READ_ALIKE,
        "tokenizer_class use_fast from_slow legacy sp_model_kwargs add_prefix_space add_bos_token "
        "add_eos_token trim_offsets do_lower_case",
    ),
    (_FILES, "tokenizer_file vocab_file special_tokens_map_file"),
    (_PADDING, "pad_token pad_token_id pad_token_type_id padding_side pad_to_multiple_of padding"),
    (
        Reason("cuts texts that are too long where its caller asks for it"),
        "truncation truncation_side truncation_strategy max_length stride model_max_length",
    ),
    (
        _COMPARED,
        "added_tokens_decoder additional_special_tokens extra_special_tokens model_specific_special_tokens",
    ),
    (_DECODING, "clean_up_tokenization_spaces spaces_between_special_tokens decoder"),
    (Reason("how bytes that are no text are written; the base's is kept"), "errors"),
    (_TEMPLATE, "chat_template use_default_system_prompt"),
    (_CODE, "auto_map"),
    (_DROPPED, "added_tokens"),
    (_LACKING, "missing_tokens"),
    (_NO_FILES, "files"),
)

_TABLES = {"config": _CONFIG, "generation": _GENERATION, "tokenizer": _TOKENIZER}


def allowed(key: str, *contents: Mapping[str, Any]) -> Reason | None:
    """Return why the values of a key may differ; None where they may not.

    Args:
        key: such as `config.use_cache`.
        contents: what the key stands among on either side, for reasons that hold under a condition.
    """
    where, _, inner = key.partition(".")
    parts, table = inner.split("."), _TABLES[where]
    reason = next((table[part] for part in (inner, *parts) if part in table), None)
    if reason is None or reason.condition is None:
        return reason
    holds = contents and all(reason.condition(_around(parts, content)) for content in contents)
    return reason if holds else None


def _around(parts: list[str], content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration in which a key stands."""
    for part in parts[:-1]:
        inner = content.get(part)
        content = inner if isinstance(inner, Mapping) else {}
    return content
