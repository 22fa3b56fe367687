"""Who may import whom, as pyproject.toml says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_packages_import_only_what_they_may():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
