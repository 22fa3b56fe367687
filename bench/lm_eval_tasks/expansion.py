"""From a name to the tasks behind it: groups and tags expanded as lm-eval expands them."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.benchmark import TaskGroup
from bench.lm_eval_tasks.files import read_task_file
from bench.lm_eval_tasks.index import Index, IndexEntry
from results.errors import InputError, nearest

_GROUP_KEYS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata"}
_INDEX_KEYS = ("tag", "group", "task_list")
Config = dict[str, Any]


@dataclass(frozen=True)
class _Around:
    """What is around a name: the groups that it is in, the keys they give it, and whether one is a user's."""

    groups: tuple[str, ...] = ()
    overrides: Config = field(default_factory=dict)
    own: bool = False

    def member(self, item: Config) -> "_Around":
        """The same with the keys that a group gives for one member, which go first."""
        own = {key: value for key, value in item.items() if key not in {"group", "task"}}
        return replace(self, overrides={**self.overrides, **own})


@dataclass(frozen=True)
class Leaf:
    """One task.

    Attributes:
        name: of the task, in the group that it is from.
        config: its lm-eval configuration; functions are still references.
        entry: where it is defined.
        own: whether any key may be from a user's folder: its own file is there, or that of a group around it.
        overridden: whether a group around it gives it another configuration than its file.
    """

    name: str
    config: Config
    entry: IndexEntry
    own: bool
    overridden: bool = False


@dataclass(frozen=True)
class Branch:
    """A group with its members.

    Attributes:
        name: of the group.
        config: its own keys.
        members: tasks and groups, each once, in their order.
        overridden: whether a group around it gives keys for its members.
    """

    name: str
    config: Config
    members: tuple["Leaf | Branch", ...]
    overridden: bool = False

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
    return _built(name, entry, _Around(), index)


def member_of_group(name: str, index: Index) -> tuple[str, Leaf | Branch] | None:
    """The group's name and the task or group that `group::member` stands for; None where it is no such name.

    Raises:
        InputError: the group has no such member or two that differ, or a definition cannot be read.
    """
    group, colons, member = name.partition("::")
    entry = index.get(group)
    if not colons or name in index or entry is None or entry.kind != "group":
        return None
    (branch,) = _built(group, entry, _Around(), index)
    inside = list(_inside(branch))
    found = [one for one in inside if one.name == member] or [one for one in inside if one.name == name]
    if not found:
        names = {one.name: one for one in inside}
        raise InputError(f"The group {group} has no task '{member}'.{nearest(member, names)}")
    if any(one != found[0] for one in found):
        raise InputError(
            f"Two definitions of the task {name} are asked for, as groups give it different keys: name one "
            "of the groups."
        )
    return group, found[0]


def _inside(unit: Leaf | Branch) -> Iterator[Leaf | Branch]:
    """All tasks and groups in a group, the outer ones first."""
    members = unit.members if isinstance(unit, Branch) else ()
    yield from members
    for member in members:
        yield from _inside(member)


def _built(name: str, entry: IndexEntry, around: _Around, index: Index) -> tuple[Leaf | Branch, ...]:
    if entry.kind == "tag":
        return tuple(
            one
            for member in entry.members
            if member in index
            for one in _built(member, index[member], around, index)
        )
    assert entry.file is not None
    if name in around.groups:
        raise InputError(f"The group {name} contains itself ({entry.file}).")
    config = read_task_file(entry.file, entry.include)
    if entry.kind == "group":
        return (_branch(name, config, entry, around, index),)
    return (_leaf(name, config, entry, around),)


def _leaf(name: str, config: Config, entry: IndexEntry, around: _Around) -> Leaf:
    given = config | around.overrides
    kept = {key: value for key, value in given.items() if key not in _INDEX_KEYS}
    own = around.own or entry.include is not None
    return Leaf(name, {**kept, "task": name}, entry, own, overridden=given != config)


def _branch(name: str, config: Config, entry: IndexEntry, around: _Around, index: Index) -> Branch:
    """A group: what is beside its own keys, and what is given for it, goes before its members' keys."""
    passed = {key: value for key, value in config.items() if key not in _GROUP_KEYS} | around.overrides
    within = _Around((*around.groups, name), passed, around.own or entry.include is not None)
    task = config.get("task") or []
    members: dict[str, Leaf | Branch] = {}
    for item in [task] if isinstance(task, str) else task:
        for member in _members(name, item, entry, within, index):
            members[member.name] = member
    if not members:
        raise InputError(f"The group {name} ({entry.file}) names no tasks.")
    own = {key: value for key, value in config.items() if key in _GROUP_KEYS}
    return Branch(name, own, tuple(members.values()), overridden=bool(around.overrides))


def _members(
    group: str, item: object, entry: IndexEntry, within: _Around, index: Index
) -> Sequence[Leaf | Branch]:
    if isinstance(item, str):
        item = {"task": item}
    if not isinstance(item, dict) or not {"task", "group"} & item.keys():
        raise InputError(f"The group {group} ({entry.file}) names {item!r}, which is no task and no group.")
    if "group" in item:
        name = str(item["group"])
        if name in index:
            return _built(name, index[name], within.member(item), index)
        return (_branch(f"{group}::{name}", item, entry, within, index),)
    name, own = str(item["task"]), {key: value for key, value in item.items() if key != "task"}
    if name in index:
        return _built(name, index[name], within.member(item), index)
    if not own:
        raise InputError(f"The group {group} ({entry.file}) names the task '{name}', which is not there.")
    return (_leaf(f"{group}::{name}", {**within.overrides, **own}, entry, replace(within, overrides={})),)
