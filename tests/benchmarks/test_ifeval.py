"""IFEval's verdicts beside what its code says of them."""

from tasks.ifeval.ifeval import process_results


def test_an_answer_in_no_language_is_judged_without_being_logged(caplog):
    document = {
        "key": 1,
        "prompt": "Answer in French.",
        "instruction_id_list": ["language:response_language"],
        "kwargs": [{"language": "fr"}],
    }
    verdicts = process_results(document, ["1. " * 900])
    assert verdicts["inst_level_strict_acc"] == [True]  # as lm-eval counts it
    assert not caplog.records
