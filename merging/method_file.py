"""A method from a user's own file, named as `path/to/file.py:Class`.

The file is run: whoever names it trusts it. A process reads it once and runs it from what was read, so that
what a report keeps of it is what merged, though it was edited meanwhile.
"""

import hashlib
import linecache
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from results.errors import InputError
from results.validation import legible, quoted

_SEPARATOR = ".py:"
_MODULE = "manyshot_method_"


def is_method_file(name: str) -> bool:
    """Whether a method is named by a file and a class in it."""
    return _SEPARATOR in name


def class_name(name: str) -> str:
    """The class's name; a method that is not named by a file is called as it is."""
    return name.rpartition(":")[2] if is_method_file(name) else name


def absolute(name: str, folder: Path) -> str:
    """The same method with its file seen from a folder; one that is not named by a file stays."""
    if not is_method_file(name):
        return name
    path, _, class_called = name.rpartition(":")
    return f"{(folder / Path(path).expanduser()).resolve()}:{class_called}"


def load_class(name: str) -> type:
    """Return the class that is named by its file.

    Raises:
        InputError: the file cannot be read or run, or has no such class.
    """
    path, _, class_called = name.rpartition(":")
    try:
        resolved = str(Path(path).expanduser().resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{legible(path)} is no name of a file ({error}).") from None
    module = _module(resolved)
    loaded = vars(module).get(class_called)
    if not isinstance(loaded, type):
        modules = {name: getattr(value, "__module__", "") for name, value in vars(module).items()}
        classes = [name for name, defined_in in modules.items() if defined_in == module.__name__]
        raise InputError(
            f"{legible(path)} has no class {quoted(class_called)}; it has {', '.join(classes) or 'none'}."
        )
    return loaded


def source_of(method_class: type) -> str | None:
    """Return the text of the file that a class was loaded from by `load_class`; None for other classes."""
    module = sys.modules.get(method_class.__module__)
    return getattr(module, "__source__", None) if method_class.__module__.startswith(_MODULE) else None


@cache
def _module(path: str) -> ModuleType:
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"{legible(path)} cannot be read ({reason}).") from None
    name = _MODULE + hashlib.sha256(path.encode()).hexdigest()[:16]
    module = ModuleType(name)
    module.__file__ = path
    module.__dict__["__source__"] = source
    # Dataclasses look their module up while it is being run; tracebacks show its lines.
    sys.modules[name] = module
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line_of(error, path)
        raise InputError(f"{path}{line}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return module


def _line_of(error: BaseException, path: str) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = []
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == path:
            lines.append(at.tb_lineno)
        at = at.tb_next
    return f", line {lines[-1]}" if lines else ""
