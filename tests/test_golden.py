"""The check of golden results fails where results change and a version does not, and only there."""

import pytest
from golden import check, fingerprint

RESULT = {"loss": 1.25, "tokens": [1, 2, 3], "text": "yes"}


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("MANYSHOT_WRITE_GOLDEN", "1")
    check("one", 1, RESULT, tmp_path)
    monkeypatch.delenv("MANYSHOT_WRITE_GOLDEN")
    return tmp_path


def test_the_same_result_but_for_rounding_passes(written):
    check("one", 1, {**RESULT, "loss": 1.25 + 1e-6}, written)


@pytest.mark.parametrize(
    ("change", "where"),
    [({"loss": 1.26}, "loss was 1.25 and is 1.26"), ({"tokens": [1, 2]}, "tokens"), ({"text": "no"}, "text")],
)
@pytest.mark.parametrize("writing", [False, True])
def test_another_result_of_the_same_version_fails_and_is_not_written(
    written, monkeypatch, change, where, writing
):
    if writing:
        monkeypatch.setenv("MANYSHOT_WRITE_GOLDEN", "1")
    with pytest.raises(pytest.fail.Exception, match=f"{where}.*raise the version"):
        check("one", 1, RESULT | change, written)
    check("one", 1, RESULT, written)


def test_another_version_needs_a_result_of_its_own(written, monkeypatch):
    with pytest.raises(pytest.fail.Exception, match="of version 1: write it"):
        check("one", 2, RESULT, written)
    with pytest.raises(pytest.fail.Exception, match="other\\.json is missing"):
        check("other", 1, RESULT, written)
    monkeypatch.setenv("MANYSHOT_WRITE_GOLDEN", "1")
    check("one", 2, {"loss": 2.0}, written)
    check("one", 2, {"loss": 2.0}, written)


def test_a_fingerprint_tells_arrays_apart():
    assert fingerprint([[1.0, 2.0], [3.0, 4.0]])["shape"] == [2, 2]
    assert fingerprint([1.0, 2.0, 3.0]) != fingerprint([1.0, 2.0, 4.0])
