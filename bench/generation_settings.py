"""What a checkpoint's own generation settings say, and what of it is kept where answers are greedy."""

from pathlib import Path

from bench.score_settings import GenKwargs
from merging.checkpoints.adapter import base_folder

_PENALTY = "repetition_penalty"
_OF_DRAWING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_CHANGE_ANSWERS = {
    _PENALTY: 1.0,
    "do_sample": False,
    **dict.fromkeys(_OF_DRAWING),
    "num_beams": 1,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "min_new_tokens": 0,
    "min_length": 0,
    "penalty_alpha": None,
    "guidance_scale": 1.0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "stop_strings": None,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
}
"""Settings of generation that change which answer is given, with the values that change nothing."""


def generation_settings(checkpoint: Path, kept: GenKwargs) -> tuple[float, list[str]]:
    """Return the repetition penalty of a checkpoint's answers, and what else of its settings is left out.

    Args:
        checkpoint: its folder.
        kept: `neutral` keeps nothing; `model` its repetition penalty.

    Returns:
        The penalty, 1 for none; and such as "temperature 0.6", in words for people.

    Raises:
        InputError: its generation_config.json cannot be read.
    """
    from merging.checkpoints.pretrained import load_config, load_generation_config

    folder = base_folder(checkpoint) or checkpoint
    if not (folder / "generation_config.json").is_file():
        return 1.0, []
    said = load_generation_config(folder, load_config(folder)).to_diff_dict()
    drawn = bool(said.get("do_sample"))
    left_out = [
        name
        for name, neutral in _CHANGE_ANSWERS.items()
        if said.get(name) not in (None, neutral) and (drawn or name not in _OF_DRAWING)
    ]
    penalty = 1.0
    if kept == "model" and _PENALTY in left_out:
        penalty = float(said[_PENALTY])
        left_out.remove(_PENALTY)
    return penalty, [name if said[name] is True else f"{name} {said[name]}" for name in left_out]
