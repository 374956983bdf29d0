"""``make fuzz`` runs the fuzz tests with this profile: 10,000 inputs for each, other ones in every run."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fuzz", max_examples=10_000, derandomize=False)
