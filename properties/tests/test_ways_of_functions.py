"""Functions that are called through something of ours: what they return, or their default, is unusual."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.asking.widened import widened
from properties.recognition.targets import find_one
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found
from properties.zoo.rights.placed import window_with_a_default
from properties.zoo.rights.returned import in_a_dict


def in_a_dict_with_a_wrong_scale(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> dict[str, Tensor]:
    """Divided by the width, not its root."""
    return in_a_dict(query / query.shape[-1] ** 0.5, key, value, attention_mask)


def window_that_is_wider_for_odd_numbers_of_keys(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window_size: int = 128,
    causal: bool = False,
    dropout_p: float = 0.0,
) -> Tensor:
    """Right for every other number of keys."""
    wide = window_size + key.shape[-2] % 2
    return window_with_a_default(query, key, value, wide, causal, dropout_p)


def test_an_argument_that_is_only_added_is_a_bias_and_no_mask_of_booleans() -> None:
    subject = find_one(in_a_dict)
    assert "mask" not in subject.takes
    assert subject.takes["bias"] == "attention_mask"


def test_a_window_that_is_limited_by_default_is_handed_over_wide_and_told() -> None:
    subject = find_one(window_with_a_default)
    assert "window_size is 16384 wherever no window is asked about" in subject.notes
    assert (subject.takes["window"], subject.conventions.sides) == ("window_size", "both")


def test_a_builtin_that_does_not_say_its_arguments_stays_as_it_is() -> None:
    assert widened(scaled_dot_product_attention) is scaled_dot_product_attention


def test_scripts_call_such_functions_in_the_same_way() -> None:
    """They fail on the wrong one, and pass on the right one."""
    for wrong, right, law in (
        (in_a_dict_with_a_wrong_scale, in_a_dict, "mask/bias-is-added-to-the-scores"),
        (
            window_that_is_wider_for_odd_numbers_of_keys,
            window_with_a_default,
            "window/exactly-these-keys",
        ),
    ):
        told = found(wrong, law)
        assert raised(told, wrong)
        assert not raised(told, right)
