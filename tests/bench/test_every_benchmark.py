"""Every benchmark with rows at hand is asked of a decoder and of an encoder-decoder, in one command."""

import json

import pytest
from command_line import manyshot
from tiny import tiny_llama, tiny_t5

from bench.suite import benchmark_names

pytestmark = pytest.mark.slow

WITHOUT_ROWS = {
    "glue_mrpc",
    "glue_mrpc_generated",
    "glue_qqp",
    "glue_qqp_generated",
    "imdb",
    "m_hellaswag",
    "m_mmlu",
}


@pytest.fixture(scope="module")
def records(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("every")
    models = [tiny_llama(folder / "llama", max_length=512), tiny_t5(folder / "t5")]
    arguments = ["--benchmark", "all", "--skip-missing", "--limit", "1", "--data", data]
    done = manyshot("score", *arguments, "--json", "--store", "s", *models, cwd=folder)
    assert done.returncode == 0, done.stderr
    for name in WITHOUT_ROWS:
        assert f"no data for {name}: " in done.stderr
    return json.loads(done.stdout)


def test_both_models_have_a_record_of_each(records):
    expected = set(benchmark_names()) - WITHOUT_ROWS
    for model in ("llama", "t5"):
        assert {one["benchmark"] for one in records if one["checkpoint"].endswith(model)} == expected
    assert len(records) == 2 * len(expected)


def test_a_record_says_how_long_it_took_and_over_how_much(records):
    assert all(0 < one["seconds"] < 600 and one["n"] >= 1 for one in records)
    several = {one["benchmark"]: one["n"] for one in records if one["n"] > 1}
    assert several == {"global_mmlu": 4, "lab_multilingual": 3, "m_arc": 4, "mgsm": 11, "xcopa": 11}
    assert all(-1 <= one["value"] <= 1 for one in records)
