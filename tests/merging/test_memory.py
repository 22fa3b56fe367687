"""The memory of a piece of work: what it held at most, whatever it gave back, and no mapped files."""

import mmap
import time

import numpy as np
import pytest

from merging.memory import _STATUS, AddedMemory

pytestmark = pytest.mark.skipif(not _STATUS.exists(), reason="the system does not tell")
MIB = 2**20


def test_what_was_held_for_a_while_is_counted():
    with AddedMemory() as memory:
        held = np.ones(64 * MIB, dtype=np.uint8)
        time.sleep(0.1)
        del held
    assert 64 * MIB <= memory.bytes < 80 * MIB


def test_memory_that_earlier_work_has_freed_is_counted_when_it_is_taken_again():
    np.ones(31 * MIB, dtype=np.uint8)  # from now on the C library keeps what is freed of smaller blocks
    earlier = [np.ones(MIB, dtype=np.uint8) for _ in range(64)]
    above = np.ones(MIB, dtype=np.uint8)  # so that the end of the heap does not go back either
    del earlier
    with AddedMemory() as memory:
        held = [np.ones(MIB, dtype=np.uint8) for _ in range(64)]
    assert above.all() and len(held) == 64  # both were there to the end
    assert 56 * MIB <= memory.bytes < 80 * MIB  # parts of pages stay where freed blocks lie apart


def test_mapped_files_are_not_counted(tmp_path):
    (tmp_path / "file").write_bytes(bytes(64 * MIB))
    with AddedMemory() as memory, (tmp_path / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        time.sleep(0.05)
        mapped.close()
    assert memory.bytes < 16 * MIB
