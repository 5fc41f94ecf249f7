"""A failure's name: what the subject behaves like, if that explains the failure.

`catalogue` holds the wrong formulas, `match` holds them against the subject, `habits` and `dropout`
do the same for what goes wrong in training, `probes` for what has nothing to do with a formula, and
`standin` says which laws each of them breaks. What is claimed is true of every example tried; where
nothing fits, nothing is claimed.
"""

from __future__ import annotations

from properties.findings.names.standin import behaves_like

__all__ = ["behaves_like"]
