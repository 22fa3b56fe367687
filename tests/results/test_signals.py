"""The report of signals, as it is written and read."""

import json

import pytest
from made_up_comparisons import signals_of

from results.errors import InputError
from results.signals import SignalReport, read_signals


def test_a_report_is_read_as_it_was_written(tmp_path):
    report = signals_of(3)
    (tmp_path / "signals.json").write_text(json.dumps(report.to_json()))
    assert read_signals(tmp_path / "signals.json") == report


def test_a_report_from_before_documents_were_counted_is_read():
    value = signals_of(2).to_json()
    del value["documents"]
    assert SignalReport.from_json(value).documents == {}


def test_what_is_no_report_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"signals\.json: no such file; `manyshot signals --out FOLDER`"):
        read_signals(tmp_path / "signals.json")
    for text in ("{", "[]", '{"tasks": []}'):
        (tmp_path / "signals.json").write_text(text)
        with pytest.raises(InputError, match=r"signals\.json: not the signals\.json of"):
            read_signals(tmp_path / "signals.json")
