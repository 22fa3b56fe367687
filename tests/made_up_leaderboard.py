"""A store with runs of a made-up family: merged once, in rounds, of fewer tasks; with hostile outputs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from made_up_family import SUITE, Family, hits

from reports.leaderboard.model import shown_entries
from reports.leaderboard.shown import ShownEntry
from results.leaderboard import Leaderboard, Standing
from results.leaderboard_entries import LeaderboardEntry
from results.merge_trace import MethodIdentity
from results.run_manifest import save_run
from results.store import Store

SCRIPT = "<script>window.pwned=1</script><b>bold</b>"
LABEL = "<img src=x onerror=window.pwned=2> & <i>label</i>"
DOCUMENTS = 40


def scores(gsm8k: int, m_mmlu: int, m_arc: int, xstest: int, coqa: int) -> dict[str, list[int]]:
    right = {"gsm8k": gsm8k, "m_mmlu": m_mmlu, "m_arc": m_arc, "xstest": xstest, "coqa": coqa}
    return {name: hits(number, DOCUMENTS) for name, number in right.items()}


def hostile(benchmark: str, document: int) -> str:
    return f"{SCRIPT} to {benchmark} {document}"


def expert(benchmark: str, document: int) -> str:
    return f"the expert's answer {document}"


def references(family: Family) -> None:
    family.add("base", "base", scores(8, 20, 16, 30, 28), says=expert)
    family.add("math expert", "expert", scores(36, 16, 16, 30, 24), says=expert, task="math")
    family.add("multilingual expert", "expert", scores(8, 34, 30, 30, 24), says=expert, task="multilingual")
    family.add("safety expert", "expert", scores(8, 20, 16, 6, 24), says=expert, task="safety")


def merged(family: Family, label: str, right: Mapping[str, list[int]], method: str, **more: object) -> None:
    about = {
        "method": method,
        "protocol": "post-hoc",
        "title": label,
        "identity": MethodIdentity(method=method),
        **more,
    }
    family.add(label, "merged", right, says=hostile, **about)


def make_store(root: Path) -> Store:
    """Two runs: `lab` on all tasks, `lab.math-safety` on two of them."""
    store = Store(root)
    lab = Family(store, [])
    references(lab)
    merged(lab, LABEL, scores(34, 32, 28, 8, 26), "ties", settings={"density": 0.2, "scaling": 1.0})
    merged(lab, "task_arithmetic", scores(16, 24, 18, 22, 27), "task_arithmetic", settings={"scaling": 0.3})
    merged(lab, "average", scores(15, 24, 18, 22, 27), "average")
    right = scores(20, 20, 20, 20, 20)
    partly = {name: right[name] for name in ("gsm8k", "m_mmlu")}
    merged(lab, "dare", partly, "dare", settings={"drop_rate": 0.5})
    for seed in (0, 1):
        label = f"metis, seed {seed}"
        about = {
            "protocol": "many-shot",
            "seed": seed,
            "title": "metis",
            "identity": MethodIdentity(method="metis"),
        }
        merged(lab, label, scores(33 + seed, 31, 28, 8, 27), "metis", **about)
        for turn in (1, 2):
            level = scores(10 + 10 * turn + seed, 22 + 4 * turn, 20 + 4 * turn, 30 - 10 * turn, 27)
            lab.add(
                f"{label}, round {turn}",
                "round",
                level,
                method="metis",
                leads_to=label,
                round_index=turn,
                **about,
            )
    save_run(store, lab.run(name="lab"))

    pair = Family(store, [])
    references(pair)
    merged(pair, "average", scores(15, 24, 18, 22, 27), "average")
    two = {task: SUITE.tasks[task] for task in ("math", "safety")}
    pair.entries = [one for one in pair.entries if one.task != "multilingual"]
    save_run(store, pair.run(SUITE.but(tasks=two), "lab.math-safety"))
    return store


def shown(board: Leaderboard[LeaderboardEntry]) -> Leaderboard[ShownEntry]:
    """The board as its page shows it."""
    entries = shown_entries([standing.entry for standing in board.standings])
    pairs = zip(board.standings, entries, strict=True)
    return replace(board, standings=tuple(replace(standing, entry=entry) for standing, entry in pairs))


def crowded(board: Leaderboard, size: int) -> Leaderboard:
    """The board's first league with so many ranked entries, alike but for their numbers."""
    league = board.leagues[0].id
    model = next(one for one in board.standings if one.league == league and one.ranks["average"] == 1)
    noise = np.random.default_rng(0)

    def another(place: int) -> Standing:
        average, worst = noise.uniform(0.2, 1.1, 2)
        entry = replace(
            model.entry,
            id=f"{place:012x}",
            title=f"method {place}",
            average=replace(model.entry.average, values=(average,)),
            worst_task=replace(model.entry.worst_task, values=(worst,)),
            samples={},
        )
        return replace(model, entry=entry, ranks={"average": 1 + place // 50, "worst_task": 1 + place // 70})

    return Leaderboard(board.leagues[:1], tuple(another(place) for place in range(size)))
