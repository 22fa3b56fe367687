"""Work on several threads gives its results in order, and leaves torch as it was."""

import threading
import time

import pytest
import torch

from merging.blocks import map_in_order, one_torch_thread_each


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def slow_at_first(item):
        time.sleep(0.02 / (item + 1))
        return item * item

    assert list(map_in_order(slow_at_first, range(20), threads)) == [(i, i * i) for i in range(20)]


def test_few_results_are_held():
    started = []
    results = map_in_order(started.append, iter(range(100)), 2)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 3


def test_an_error_comes_out_and_stops_the_rest():
    seen = []

    def work(item):
        seen.append(item)
        if item == 3:
            raise KeyError(item)

    with pytest.raises(KeyError):
        list(map_in_order(work, range(1000), 2))
    assert max(seen) < 10


def test_torch_has_its_threads_back():
    before, inside = torch.get_num_threads(), []
    with one_torch_thread_each():
        thread = threading.Thread(target=lambda: inside.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert (torch.get_num_threads(), inside) == (before, [1])
