"""From a name to the tasks behind it: groups and tags expanded as lm-eval expands them."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.benchmark import TaskGroup
from bench.lm_eval_tasks.files import read_task_file
from bench.lm_eval_tasks.index import Index, IndexEntry
from results.errors import InputError, nearest

_GROUP_KEYS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata"}
_INDEX_KEYS = ("tag", "group", "task_list")
Config = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """One task.

    Attributes:
        name: of the task, in the group that it is from.
        config: its lm-eval configuration; functions are still references.
        entry: where it is defined.
    """

    name: str
    config: Config
    entry: IndexEntry


@dataclass(frozen=True)
class Branch:
    """A group with its members.

    Attributes:
        name: of the group.
        config: its own keys.
        members: tasks and groups, each once, in their order.
    """

    name: str
    config: Config
    members: tuple["Leaf | Branch", ...]

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """All tasks, each once, as lm-eval orders them."""
        found: dict[str, Leaf] = {}
        for member in self.members:
            for leaf in (member,) if isinstance(member, Leaf) else member.leaves:
                found.setdefault(leaf.name, leaf)
        return tuple(found.values())

    @property
    def groups(self) -> tuple[TaskGroup, ...]:
        """This group and those in it, inner ones first."""
        inner = [group for member in self.members if isinstance(member, Branch) for group in member.groups]
        config = {key: value for key, value in self.config.items() if key != "task"}
        names = tuple(member.name for member in self.members)
        return tuple(dict.fromkeys([*inner, TaskGroup(self.name, config, names)]))


def expanded(name: str, index: Index) -> tuple[Leaf | Branch, ...]:
    """The tasks and groups that a name stands for; a name may be a pattern, such as `mmlu_*`.

    Raises:
        InputError: there is no such name, or a definition cannot be read.
    """
    if any(letter in name for letter in "*?["):
        names = sorted(fnmatch.filter(index, name))
        if not names:
            raise InputError(f"No task of lm-eval has a name like '{name}'.")
        return tuple(one for each in names for one in expanded(each, index))
    entry = index.get(name)
    if entry is None:
        raise InputError(
            f"There is no task '{name}' in lm-eval.{nearest(name, index)} Tasks of your own are found with "
            "--include-path."
        )
    return _built(name, entry, {}, index)


def _built(name: str, entry: IndexEntry, overrides: Config, index: Index) -> tuple[Leaf | Branch, ...]:
    if entry.kind == "tag":
        return tuple(
            one
            for member in entry.members
            if member in index
            for one in _built(member, index[member], overrides, index)
        )
    assert entry.file is not None
    config = read_task_file(entry.file, entry.include)
    if entry.kind == "group":
        return (_branch(name, config, entry, overrides, index),)
    return (_leaf(name, config | overrides, entry),)


def _leaf(name: str, config: Config, entry: IndexEntry) -> Leaf:
    kept = {key: value for key, value in config.items() if key not in _INDEX_KEYS}
    return Leaf(name, {**kept, "task": name}, entry)


def _branch(name: str, config: Config, entry: IndexEntry, overrides: Config, index: Index) -> Branch:
    """A group: what is beside its own keys, and what is given for it, goes before its members' keys."""
    passed = {key: value for key, value in config.items() if key not in _GROUP_KEYS} | overrides
    task = config.get("task") or []
    members: dict[str, Leaf | Branch] = {}
    for item in [task] if isinstance(task, str) else task:
        for member in _members(name, item, entry, passed, index):
            members[member.name] = member
    if not members:
        raise InputError(f"The group {name} ({entry.file}) names no tasks.")
    own = {key: value for key, value in config.items() if key in _GROUP_KEYS}
    return Branch(name, own, tuple(members.values()))


def _members(
    group: str, item: object, entry: IndexEntry, passed: Config, index: Index
) -> Sequence[Leaf | Branch]:
    if isinstance(item, str):
        item = {"task": item}
    if not isinstance(item, dict) or not {"task", "group"} & item.keys():
        raise InputError(f"The group {group} ({entry.file}) names {item!r}, which is no task and no group.")
    if "group" in item:
        name = str(item["group"])
        if name in index:
            own = {key: value for key, value in item.items() if key not in {"group", "task"}}
            return _built(name, index[name], {**passed, **own}, index)
        return (_branch(f"{group}::{name}", item, entry, passed, index),)
    name, own = str(item["task"]), {key: value for key, value in item.items() if key != "task"}
    if name in index:
        return _built(name, index[name], {**passed, **own}, index)
    if not own:
        raise InputError(f"The group {group} ({entry.file}) names the task '{name}', which is not there.")
    return (_leaf(f"{group}::{name}", {**passed, **own}, entry),)
