"""ruff and mypy pass with the rules of pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def check(module, *arguments):
    pytest.importorskip(module)
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff():
    check("ruff", "check", ".")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mypy():
    check("mypy")
