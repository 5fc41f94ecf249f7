"""pytest's configuration of a checkout: the plugin, and Hypothesis profiles for the suite's own tests."""

import os

from hypothesis import settings

pytest_plugins = ["properties.plugin"]

# For torch, which is not imported yet, here and in every process that a test starts: products are
# tiny, and on a machine whose cores are all at work a second thread mostly waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines are slow at times: no deadline. Derandomized, so that CI gives one verdict.
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
