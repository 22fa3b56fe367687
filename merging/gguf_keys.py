"""What a GGUF file says of its model, by llama.cpp's keys; one that does not say enough gets a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import InputError
from results.validation import legible

_MAGIC = b"GGUF"
_OF_MISSING_BYTES = ("reshape", "dtype")
"""In what numpy says where fewer bytes are left than are to be read."""
ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Those of which transformers reads all that decides the computation."""
_SIZES = ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count")
"""Numbers without which transformers would take those of another model."""
_SIZES_IF_SAID = (
    *("attention.head_count_kv", "attention.key_length", "attention.value_length"),
    *("rope.dimension_count", "vocab_size"),
)
_EPSILON = "attention.layer_norm_rms_epsilon"
_READ = frozenset((*_SIZES, *_SIZES_IF_SAID, _EPSILON, "rope.freq_base"))
"""Keys of such an architecture that are read, or follow from those that are."""
_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class GgufKeys:
    """A GGUF file's keys, of which those that are needed are there and make sense."""

    file: Path
    said: Mapping[str, Any]
    """Values by llama.cpp's keys."""
    stored: int
    """How many numbers its tensors have together."""

    def get(self, key: str, otherwise: Any = None) -> Any:
        """The value of a key that need not be there."""
        return self.said.get(key, otherwise)

    def required(self, key: str, lacking: str = "so that it is no whole model") -> Any:
        """The value of a key that must be there.

        Args:
            key: llama.cpp's.
            lacking: what follows where it is not, as the end of a sentence.

        Raises:
            InputError: it is not there.
        """
        if key not in self.said:
            raise InputError(f"{self.file} lacks the key {key}, {lacking}.")
        return self.said[key]

    def size(self, key: str) -> int:
        """A number of layers, heads or the like, from 1.

        Raises:
            InputError: it is not there, or is no such number.
        """
        value = self.required(key)
        if type(value) is not int or value < 1:
            raise InputError(f"{self.file} says {key}: {legible(value)}; a whole number from 1 is expected.")
        return value

    def array(self, key: str, entries: type, lacking: str) -> list[Any]:
        """A list of texts or of numbers, such as that of the tokens.

        Raises:
            InputError: it is not there, or is something else; `lacking` is the sentence's end.
        """
        value = self.required(key, lacking)
        if not isinstance(value, list) or not all(isinstance(entry, entries) for entry in value):
            raise InputError(f"{self.file} has no list of {entries.__name__} under {key}, {lacking}.")
        return value

    def token(self, name: str) -> int | None:
        """The id of a special token, such as 'bos'; None where the file names none.

        Raises:
            InputError: there is no such token.
        """
        key = f"tokenizer.ggml.{name}_token_id"
        number = self.get(key)
        if number is None:
            return None
        tokens = self.get(_TOKENS)
        count = len(tokens) if isinstance(tokens, list) else self.size(f"{self.architecture}.vocab_size")
        if type(number) is not int or not 0 <= number < count:
            raise InputError(
                f"{self.file} says {key}: {legible(number)}, but has {count:,} tokens, numbered from 0; "
                "copy or download it again."
            )
        return number

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return str(self.required("general.architecture"))


def read_keys(file: Path) -> GgufKeys:
    """Return what a file says of its model.

    Raises:
        InputError: it is no GGUF file, is cut short, or is of an architecture that cannot be converted; what
            it says of its computation is not enough, or more than transformers reads.
    """
    if not file.is_file():
        wrong = "is a folder" if file.is_dir() else "no such file"
        raise InputError(f"{file}: {wrong}; a GGUF file is expected.")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{file} is no GGUF file: it does not begin with 'GGUF'.")
    try:
        from gguf import GGUFReader
    except ImportError:
        raise InputError("To read GGUF files takes the package gguf: pip install 'manyshot[gguf]'.") from None
    try:
        reader = GGUFReader(file)
        said = {name: field.contents() for name, field in reader.fields.items()}
        stored = sum(tensor.n_elements for tensor in reader.tensors)
    except Exception as error:  # whatever the reader stumbles over in what is left of a file
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, IndexError) or any(word in reason for word in _OF_MISSING_BYTES):
            raise InputError(
                f"{file} is cut short: it ends before all that it announces; copy or download it again."
            ) from error
        raise InputError(
            f"{file} is broken, or of a form that the package gguf does not know ({reason}); copy or "
            "download it again, or upgrade gguf."
        ) from error
    keys = GgufKeys(file, said, stored)
    _check(keys)
    return keys


def _check(keys: GgufKeys) -> None:
    """Refuse what transformers would pass over, or make up, though it decides the computation."""
    parts = keys.get("split.count", 0)
    if parts > 1:
        raise InputError(
            f"{keys.file} is one of {parts} parts of a model: join them first, by llama.cpp's "
            "`llama-gguf-split --merge`."
        )
    architecture, file = keys.architecture, keys.file
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"{file} is of the architecture {architecture!r}; {', '.join(ARCHITECTURES)} can be converted."
        )
    prefix = f"{architecture}."
    own = {key.removeprefix(prefix): value for key, value in keys.said.items() if key.startswith(prefix)}
    # llama.cpp scales linearly where a factor comes without a type.
    unscaled = own.get("rope.scaling.type") == "none" or own.get("rope.scaling.factor", 1) in (0, 1)
    for key, value in own.items():
        if key not in _READ and not (unscaled and key.startswith("rope.scaling.")):
            raise InputError(
                f"{file} says {prefix}{key}: {value}, which is not read, and would compute something else."
            )
    keys.required(prefix + _EPSILON)
    sizes = {
        key: keys.size(prefix + key) for key in (*_SIZES, *_SIZES_IF_SAID) if key in own or key in _SIZES
    }
    if "vocab_size" not in sizes:
        keys.required(_TOKENS)
    width = sizes.get("attention.key_length", sizes["embedding_length"] // sizes["attention.head_count"])
    for key in ("rope.dimension_count", "attention.value_length"):
        if sizes.get(key, width) != width:
            raise InputError(
                f"{file} says {prefix}{key}: {sizes[key]}, not {width} as its heads; that is not read."
            )
