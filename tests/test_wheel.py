"""The wheel, installed alone in a fresh environment, trains outside the clone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_alone_trains_in_a_fresh_environment(tmp_path):
    def run(*command, cwd=tmp_path):
        return subprocess.run(
            [str(word) for word in command], cwd=cwd, check=True, capture_output=True, text=True
        ).stdout

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "fresh")
    python = tmp_path / "fresh" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    installed = json.loads(run(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    assert not {"pytest", "ruff", "mypy", "scikit-learn"} & {package["name"] for package in installed}
    result = json.loads(run(tmp_path / "fresh" / "bin" / "striate", "train", "--epochs", "1", "--json"))
    assert result["n"] == 2000
    assert (tmp_path / result["report"]).is_file()
    assert "site-packages" in run(python, "-c", "import striate; print(striate.__file__)")
