"""`manyshot score --output-path`: the scores in lm-eval's own files, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.benchmark import Benchmark
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from manyshot.console import logger
from results.errors import InputError
from results.record import Record


def check_output_path(folder: Path) -> None:
    """Refuse a path that is no folder, before anything is scored.

    Raises:
        InputError: it is a file, or is named as one.
    """
    if folder.suffix == ".json" or (folder.exists() and not folder.is_dir()):
        raise InputError(f"--output-path: {folder} must be a folder.")


def write_for_lm_eval(
    folder: Path,
    scorer: Scorer,
    checkpoints: Sequence[ScoredCheckpoint],
    benchmarks: Sequence[Benchmark],
    records: Mapping[str, Mapping[str, Record]],
) -> None:
    """Write the files of every checkpoint, and say where they are and what they leave out.

    Args:
        folder: as `--output_path` of lm-eval.
        scorer: which made or found the records.
        checkpoints: what was scored.
        benchmarks: what was asked.
        records: by the checkpoint's name and the benchmark's.

    Raises:
        InputError: the files cannot be written.
    """
    from bench.lm_eval_tasks.output import write_lm_eval_files

    plain = [benchmark for benchmark in benchmarks if not benchmark.judged]
    for benchmark in benchmarks:
        if benchmark.judged:
            logger.warning("%s is not in lm-eval's files: its answers are scored by a judge", benchmark.name)
    if not plain:
        return
    for checkpoint in checkpoints:
        written = write_lm_eval_files(folder, scorer, checkpoint, plain, records[checkpoint.name])
        logger.info("lm-eval's files: %s", written)
