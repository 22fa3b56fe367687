"""A method's setting that is one number for all tasks, or one for each by the experts' names."""

from collections.abc import Mapping, Sequence

from results.errors import InputError


def of_each_task(
    value: float | Mapping[str, float], tasks: Sequence[str], method: str, setting: str
) -> list[float]:
    """Return a setting's value of every task, in their order.

    Args:
        value: one number, or one by task.
        tasks: the experts' names.
        method: the method's name, for the refusal.
        setting: the setting's name, for the refusal.

    Raises:
        InputError: the mapping is not of these tasks.
    """
    if not isinstance(value, Mapping):
        return [value] * len(tasks)
    if set(value) != set(tasks):
        raise InputError(
            f"Method {method!r}: setting {setting!r} is for {', '.join(value)}, but the experts are "
            f"{', '.join(tasks)}; name each once."
        )
    return [value[task] for task in tasks]
