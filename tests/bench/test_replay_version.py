"""Records of recorded outputs are found again only where what is made of these has not changed since."""

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark
from results.record import CheckpointIdentity
from results.store import Store

RECORDED = CheckpointIdentity(weights="outputs", config="recorded", tokenizer="recorded")


def settings_of(engine, tmp_path):
    scorer = Scorer(
        ScoreSettings(engine=EngineSettings(name=engine, device="cpu")), Store(tmp_path), tmp_path
    )
    return scorer.key(ScoredCheckpoint("recorded", tmp_path, RECORDED), load_benchmark("lab_math")).settings


def test_the_version_of_replaying_is_in_the_key_of_replayed_records_alone(tmp_path, monkeypatch):
    assert settings_of("replay", tmp_path)["replayed"] == 3
    monkeypatch.setattr("bench.record_key.REPLAY_VERSION", 4)
    assert settings_of("replay", tmp_path)["replayed"] == 4
    assert "replayed" not in settings_of("hf", tmp_path)
