"""gradient/: what training sees."""

from __future__ import annotations

import numpy as np
import torch

from properties.assertions import near, require
from properties.case import Case, parameters
from properties.clauses.conditions import SEVERAL_TOKENS
from properties.clauses.numerics import STEEP, with_scores
from properties.spec import Condition, Level, clause
from properties.subject import PROJECTED_FAMILIES
