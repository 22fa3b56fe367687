"""The report of signals, as it is written and read."""

import json

import pytest
from made_up_comparisons import signals_of

from results.errors import InputError
from results.signal_report import read_signals


def test_a_report_is_read_as_it_was_written(tmp_path):
    report = signals_of(3)
    (tmp_path / "signals.json").write_text(report.model_dump_json())
    assert read_signals(tmp_path / "signals.json") == report


def test_what_is_computed_is_written_too():
    report = signals_of(3)
    content = json.loads(report.model_dump_json())
    assert content["gaps"] == report.gaps and content["spearman"] == report.spearman


def test_what_is_no_report_is_refused_by_name(tmp_path):
    path = tmp_path / "signals.json"
    with pytest.raises(InputError, match=r"signals\.json: no such file; `manyshot signals --out FOLDER`"):
        read_signals(path)
    incomplete = signals_of(2).model_dump()
    del incomplete["divergences"]["kl"][incomplete["tasks"][0]]["base"]
    for text, sentence in (
        ("{", r"not valid JSON .*; give the signals\.json of `manyshot signals --out`\.$"),
        ("[]", r"the file must be a mapping"),
        ('{"tasks": []}', "the key 'models' is required and missing"),
        (json.dumps(incomplete), r"divergences\.kl\..*\.base is missing"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"signals\.json: {sentence}"):
            read_signals(path)
