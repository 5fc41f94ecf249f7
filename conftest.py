"""pytest's configuration of a checkout: the plugin, and Hypothesis profiles for the suite's own tests."""

import os

from hypothesis import settings

pytest_plugins = ["properties.plugin"]

# Shared machines are slow at times: no deadline. Derandomized, so that CI gives one verdict.
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
