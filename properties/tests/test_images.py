"""Attention of the pixels of an image is asked on one that is one pixel wide."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_another import COUNT
from properties.tests.test_needed import ODDS, Heads


class AttentionOfPixels(nn.Module):
    """Convolutions of one pixel make queries, keys and values of (B, C, H, W)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not divisible by num_heads {num_heads}")
        self.num_heads, self.scale = num_heads, (dim // num_heads) ** -0.5
        self.qkv, self.proj = nn.Conv2d(dim, 3 * dim, 1, bias=False), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        items, channels, height, width = x.shape
        heads = self.qkv(x).reshape(items, 3, self.num_heads, -1, height * width)
        query, key, value = heads.unbind(1)
        weights = (query.mT @ key * self.scale).softmax(-1)
        return self.proj((value @ weights.mT).reshape(items, channels, height, width))


class AttentionOfPixelsUnscaled(AttentionOfPixels):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.scale = 2.0


class AttentionOfABlock(AttentionOfPixels):
    """As in a U-Net: a norm of the image before, and the image is added after."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.norm = nn.GroupNorm(1, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(self.norm(x))


class AttentionOfABlockUnscaled(AttentionOfABlock):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.scale = 2.0


class AttentionOfPixelsAround(AttentionOfPixels):
    """Neighbours are mixed before."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.around = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.around(x))


class AttentionOfFrames(AttentionOfPixels):
    """Those of each image of a video (B, C, F, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        frames = super().forward(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (len(x), -1)).transpose(1, 2)


class AttentionOfFramesUnscaled(AttentionOfFrames):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.scale = 2.0


class NormOfPixels(nn.Module):
    """Of the numbers of a pixel, with a factor (C, 1, 1)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=1) * self.gamma


class AttentionOfFramesInABlock(AttentionOfFrames):
    """A norm before, and the video is added after, which is handed to no layer as it is."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.norm = NormOfPixels(dim)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        normed = self.norm(frames).unflatten(0, (len(x), -1)).transpose(1, 2)
        return x + super().forward(normed)


class AttentionOfPixelsAndHeads(AttentionOfPixels):
    """A matrix for each head puts the output together."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.last = nn.Parameter(torch.randn(num_heads, dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,ncd->bdhw", super().forward(x), self.last)


class AttentionWithTokensLast(Heads):
    """(B, C, T): no image, and no tokens as they are asked here."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        return self.attend([y, y, y], lambda scores: scores).transpose(1, 2)


def test_pixels_that_see_each_other_are_asked_as_tokens() -> None:
    found = find_one(AttentionOfPixels)
    assert run(found, profile="quick", only=[COUNT, ODDS, "oracle/output-within-bound"]).right
    assert "one pixel wide, (B C T 1)" in found.unasked["image"]


def test_the_pixels_of_one_image_of_a_video_are_asked_as_tokens() -> None:
    found = find_one(AttentionOfFrames)
    assert run(found, profile="quick", only=[COUNT, ODDS, "oracle/output-within-bound"]).right
    assert "one pixel wide, (B C 1 T 1)" in found.unasked["image"]
    cases = pinned_cases(find_one(AttentionOfFramesUnscaled))
    assert any(judge(clauses()[ODDS], case).status == "fail" for case in cases)


def test_a_block_whose_residual_cannot_be_taken_out_is_refused() -> None:
    with pytest.raises(QuestionError, match="a block around attention, whose residual"):
        find_one(AttentionOfFramesInABlock)


def test_a_norm_and_an_image_that_is_added_are_taken_out() -> None:
    subject = find_one(AttentionOfABlock)
    assert {"image", "norm", "residual"} <= subject.unasked.keys()
    assert run(subject, profile="quick", only=["oracle", "shape", "symmetry"]).failed == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (AttentionOfPixelsUnscaled, AttentionOfPixels),
        (AttentionOfABlockUnscaled, AttentionOfABlock),
    ],
)
def test_a_wrong_scale_among_pixels_is_told_and_its_script_passes_on_what_is_right(
    wrong: type[nn.Module], right: type[nn.Module]
) -> None:
    law, subject = clauses()["oracle/output-within-bound"], find_one(wrong)
    case = next(c for c in pinned_cases(subject) if judge(law, c).status == "fail")
    found = script(law, case)
    assert found is not None
    with redirect_stdout(StringIO()):
        with pytest.raises(AssertionError):
            found.run(wrong)
        found.run(right)


def test_what_mixes_neighbours_besides_is_refused() -> None:
    with pytest.raises(QuestionError, match="layers that mix neighbours in an image"):
        find_one(AttentionOfPixelsAround)


def test_what_images_have_besides_is_refused() -> None:
    with pytest.raises(QuestionError, match="takes images, and holds last besides"):
        find_one(AttentionOfPixelsAndHeads)


def test_tokens_along_the_last_axis_are_refused() -> None:
    with pytest.raises(QuestionError, match="last axis is that of tokens"):
        find_one(AttentionWithTokensLast)
