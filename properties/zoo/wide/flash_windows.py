"""Functions like flash_attn_func with wrong windows and corners."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.flash import Flash, as_function

wrong = partial(
    held,
    kind="flash-like",
    corner="bottom right",
    empty="zero",
    window="others",
    lse="natural",
    heads="(B, H, T)",
)
Window = tuple[int, int]


@wrong(
    "flash-window-keeps-one-more",
    area="window",
    named="window keeps one more",
    how="window",
    symptom="window_size keys and one more besides oneself",
    source="huggingface/transformers#26792, AI-Hypercomputer/maxtext#4289",
)
@as_function
class window_keeps_one_more(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        left, right = (side + 1 if side >= 0 else side for side in window)
        return super().hidden(scores, causal, (left, right))


@wrong(
    "flash-window-counts-oneself-where-causal",
    area="window",
    named="window counts oneself",
    how="window, causal",
    symptom="the causal path keeps one key fewer than the other",
)
@as_function
class window_counts_oneself_where_causal(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        left, right = window
        return super().hidden(scores, causal, (left - 1 if causal and left > 0 else left, right))


@wrong(
    "flash-window-without-its-right-side",
    area="window",
    named="right side of the window ignored",
    how="window",
    symptom="an encoder with a local window sees everything ahead",
)
@as_function
class window_without_its_right_side(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        return super().hidden(scores, causal, (window[0], -1))


@wrong(
    "flash-window-ignored-without-causal",
    area="window",
    named="window ignored",
    how="window",
    symptom="right where causal, full attention elsewhere",
    source="unslothai/unsloth#8253",
)
@as_function
class window_ignored_without_causal(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        return super().hidden(scores, causal, window if causal else (-1, -1))


@wrong(
    "flash-window-of-nobody-taken-for-none",
    area="window",
    named="window of 0 taken for none",
    how="window of 0",
    symptom="`if left > 0`: a query that should see itself alone sees everything",
)
@as_function
class window_of_nobody_taken_for_none(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        left, right = (side if side > 0 else -1 for side in window)
        return super().hidden(scores, causal, (left, right))


@wrong(
    "flash-window-with-its-sides-exchanged",
    area="window",
    named="sides of the window exchanged",
    how="window of unequal sides",
    symptom="silent where both sides are equal or causal hides the right one",
    source="huggingface/transformers#41228",
)
@as_function
class window_with_its_sides_exchanged(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        return super().hidden(scores, causal, window if causal else (window[1], window[0]))


@wrong(
    "flash-window-from-the-top-left",
    area="window",
    named="window from the top left",
    how="window, cross",
    symptom="right for T = S; while decoding the window lies at the start of the prompt",
)
@as_function
class window_from_the_top_left(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        behind = self.behind(scores) - scores.shape[-1] + scores.shape[-2]
        hidden = super().hidden(scores, causal, (-1, -1))
        left, right = window
        if left >= 0:
            hidden |= behind > left
        if right >= 0 and not causal:
            hidden |= behind < -right
        return hidden


@wrong(
    "flash-window-lifts-the-causal-mask",
    area="window",
    named="window replaces causal",
    how="window, causal",
    symptom="a right side that is given is kept although causal is asked for",
)
@as_function
class window_lifts_the_causal_mask(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        return super().hidden(scores, causal and window[1] < 0, window)


@wrong(
    "flash-window-lost-when-asked-for-the-lse",
    area="result",
    named="asking for the LSE changes the result",
    how="lse, window",
    symptom="training and the merging of parts disagree: one path has no window",
)
@as_function
class window_lost_when_asked_for_the_lse(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        return super().hidden(scores, causal, (-1, -1) if self.asked else window)


@wrong(
    "flash-causal-from-the-top-left",
    area="cross",
    named="causal from the top left",
    how="causal, cross",
    symptom="one query with a past of a hundred keys sees the first of them",
    source="Dao-AILab/flash-attention README 2.1, pytorch/pytorch#103082",
    fits="top left",
)
@as_function
class flash_causal_from_the_top_left(Flash):
    def behind(self, scores: Tensor) -> Tensor:
        return super().behind(scores) - scores.shape[-1] + scores.shape[-2]


@wrong(
    "flash-causal-shows-the-next",
    area="mask",
    named="causal shows the next token",
    how="causal, cross",
    symptom="`>` for `>=` where lengths differ: one future key is seen",
    source="flashinfer-ai/flashinfer#348",
)
@as_function
class causal_shows_the_next(Flash):
    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        hidden = super().hidden(scores, causal, window)
        if causal and scores.shape[-1] != scores.shape[-2]:
            hidden &= self.behind(scores) != -1
        return hidden


@wrong(
    "flash-a-row-that-sees-nothing-takes-all",
    area="mask",
    named="a row that sees nothing takes all",
    how="causal, more queries than keys",
    symptom="queries before the first key get the mean of all values",
    fits="uniform",
)
@as_function
class a_row_that_sees_nothing_takes_all(Flash):
    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        return scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(dim=-1)
