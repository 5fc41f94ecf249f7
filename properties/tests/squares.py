"""A piece of work that needs nothing of ours, for workers that start quickly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def square(piece: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that takes a moment. A piece that ends its worker does so until its file is there."""
    if "ends" in piece and not Path(piece["ends"]).exists():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return {"square": piece["number"] ** 2, "process": os.getpid()}
