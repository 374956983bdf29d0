from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.absent import absent


def test_a_package_that_is_absent_cannot_be_imported() -> None:
    with absent("colorsys"), pytest.raises(ImportError):
        import colorsys  # noqa: F401


def test_what_was_imported_before_is_there_again_afterwards() -> None:
    with absent("json"):
        pass
    assert "json" in sys.modules


def test_the_bus_takes_no_web_client_along() -> None:
    question = "import sys, pipeline.bus; print('aiohttp' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "False\n"
