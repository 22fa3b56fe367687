"""What all tests share: no network, as many threads as cores, real rows, and the lab family."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# A cache of the tests' own, where the index of lm-eval's tasks is made once on this machine.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"manyshot-tests-{os.getuid()}")
os.environ.pop("COLUMNS", None)  # xdist gives its workers a width, to which tables would be wrapped
# Several workers share the cores: with more busy threads than cores torch is ten times slower.
os.environ["OMP_NUM_THREADS"] = str(
    max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
)

import pytest

NEED_THE_DEMO = ("test_demo.py", "test_engines_agree.py")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file in one worker, where their fixtures are, and those of the demo in one, too."""
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", maxsplit=1)[0]
            return "demo" if file.endswith(NEED_THE_DEMO) else file

    return ByFixtures(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demo takes longest to make: whoever needs it comes first."""
    items.sort(key=lambda item: not item.path.name.endswith(NEED_THE_DEMO))


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """What tests write need not outlive the machine; waiting for the disk at each record takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The data root with real benchmark rows."""
    root = os.environ.get("MANYSHOT_DATA")
    if not root:
        pytest.skip("MANYSHOT_DATA is not set: there are no real rows to read")
    return Path(root)


POST_HOC_DEMO = """
import sys
import tempfile
from pathlib import Path
import yaml
from manyshot.commands.demo import experiment
from manyshot.experiment import load_experiment
from manyshot.lab.base import make_base
from manyshot.run import RunContext, run_experiment
from results.store import Store

out = Path(sys.argv[1])
make_base(out / "models/base")
content = experiment(smoke=False)
content["limit"] = 120
content["methods"] = [method for method in content["methods"] if method["protocol"] == "post-hoc"]
(out / "experiment.yaml").write_text(yaml.safe_dump(content))
run_experiment(load_experiment(out / "experiment.yaml"), "demo", RunContext(Store(out / "results"), out))
"""


@pytest.fixture(scope="session")
def models(demo: Path) -> dict[str, Path]:
    """The demo's base, and its standalone experts by task."""
    from results.run_manifest import load_run
    from results.store import Store

    entries = load_run(Store(demo / "results")).entries
    experts = {entry.task: Path(entry.path) for entry in entries if entry.role == "expert"}
    return {"base": demo / "models/base", **experts}  # type: ignore[dict-item]


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest) -> Path:
    """Folder of a finished demo, less its rounds, which take longest. Made once for its sources."""
    root = Path(__file__).parent.parent
    sources = [
        *root.glob("tasks/lab*/*"),
        *root.glob("manyshot/lab/*.py"),
        *root.glob("manyshot/experiments/*"),
        *root.glob("merging/*train*.py"),
        root / "merging/many_shot.py",
        root / "merging/experts.py",
        root / "merging/optimise.py",
    ]
    content = [path.read_bytes() for path in sorted(sources) if path.is_file()]
    digest = hashlib.sha256(b"".join([POST_HOC_DEMO.encode(), *content]))
    out = request.config.cache.mkdir("demo") / digest.hexdigest()[:16]
    subprocess.run([sys.executable, "-c", POST_HOC_DEMO, str(out)], check=True)
    return out
