"""What a merged checkpoint cost: seconds by phase, and memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.comparison import ComparisonRow
from results.merge_trace import MergeTrace

TRAIN = "train"
MEASURE = "measure"
MERGE = "merge"
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a checkpoint cost.

    Attributes:
        seconds: by phase, over all of its rounds; none where a merge's are not known, as of one that was
            stopped and resumed.
        in_rounds: whether it trained experts of its own after each merge.
        memory: most bytes that a merge of it took; None where that is not known.
    """

    seconds: dict[str, float]
    memory: float | None
    in_rounds: bool = False

    @property
    def own(self) -> float:
        """Seconds of all but training."""
        return sum(number for phase, number in self.seconds.items() if phase != TRAIN)

    @property
    def train(self) -> float:
        """Seconds of training."""
        return self.seconds.get(TRAIN, 0.0)


def cost_of(row: ComparisonRow, rounds: Sequence[ComparisonRow]) -> Cost:
    """What a merged checkpoint cost, as its run notes it.

    Args:
        row: the checkpoint.
        rounds: all rounds of the run, of which its own count.
    """
    traces = [
        merge_round.entry.trace or MergeTrace()
        for merge_round in rounds
        if merge_round.entry.leads_to == row.label
    ]
    traces = traces or [row.entry.trace or MergeTrace()]
    seconds: dict[str, float] = {}
    are_known = all(MERGE in trace.seconds for trace in traces)
    for trace in traces if are_known else ():
        for phase, number in trace.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + number
    memory = [trace.memory for trace in traces if trace.memory]
    return Cost(seconds, max(memory) if len(memory) == len(traces) else None, row.protocol == "many-shot")
