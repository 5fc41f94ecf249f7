"""Classes of modules that weigh queries, keys and values and have no parameters, as functions of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class AsFunction:
    """A function that makes a module for each width of a head, and calls it.

    function: the class; told: the arguments of its constructor, "head_dim" for those that are this
    width; shown: those that a call may be told besides. Weights are dropped where one of these asks
    for it, as in training. Scripts contain it as it is.
    """

    def __init__(
        self, function: Callable[..., Any], told: dict[str, Any], shown: dict[str, str]
    ) -> None:
        """shown: each by name, with its meaning."""
        self.function, self.told, self.shown = function, told, shown
        self.made: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes modules of its own: those here may keep what no copy can be made of, such as the
        weights of a call that gradients were asked of.
        """
        return {**vars(self), "made": {}}

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What the module returns."""
        width = parts[0].shape[-1]
        told = {name: width if value == "head_dim" else value for name, value in self.told.items()}
        told |= {name: options.pop(name) for name in self.shown if name in options}
        key = (*told.items(), parts[0].dtype)
        if key not in self.made:
            self.made[key] = self.function(**told).to(parts[0].dtype)
        drops = any(told.get(name) for name, what in self.shown.items() if what == "dropout")
        self.made[key].train(drops)
        return self.made[key](*parts, **options)
