"""Classes of other libraries' modules are asked as they are, without an adapter of their user's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from properties import check
from properties.basics.errors import QuestionError
from properties.recognition.foreign.classes import plain
from properties.recognition.foreign.classes.kinds import kind_of
from properties.recognition.foreign.classes.standing import standing
from properties.recognition.foreign.classes.subject import original_of
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_rights import accusations

SPLIT, SHOWN = "heads/split-equals-per-head-matmul", "mask/shows-what-it-shows"
ODDS = "weights/log-odds-are-scaled-score-differences"


class Projection:
    """A linear layer, as it is written in NumPy."""

    def __init__(self, wide: int) -> None:
        self.weight = np.random.default_rng(0).normal(size=(wide, wide))

    def __call__(self, x: Any) -> Any:
        return x @ self.weight.T


class HeadAttention:
    """Several heads with raw matrices (d_in, W); the output layer is an object of its own."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        if d_model % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {d_model}")
        rng = np.random.default_rng(1)
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.W_q, self.W_k, self.W_v = rng.normal(size=(3, d_model, d_model))
        self.out = Projection(d_model)
        self.weights: Any = None

    def split(self, x: Any) -> Any:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(0, 2, 1, 3)

    def scale(self, q: Any) -> Any:
        return np.sqrt(q.shape[-1])

    def merged(self, heads: Any) -> Any:
        return heads.transpose(0, 2, 1, 3)

    def shown(self, mask: Any) -> Any:
        return mask

    def forward(self, x: Any, mask: Any = None) -> Any:
        if x.ndim != 3:
            raise ValueError(f"x has {x.ndim} axes; expected (B, T, d_model)")
        q, k, v = (self.split(x @ w) for w in (self.W_q, self.W_k, self.W_v))
        scores = q @ k.swapaxes(-1, -2) / self.scale(q)
        if mask is not None:
            scores = np.where(self.shown(mask), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        self.weights = weights / weights.sum(-1, keepdims=True)  # kept, as for a backward pass
        return self.out(self.merged(self.weights @ v).reshape(x.shape))


class UnscaledAttention(HeadAttention):
    def scale(self, q: Any) -> Any:
        return 1.0


class UnmergedAttention(HeadAttention):
    def merged(self, heads: Any) -> Any:
        return heads


class NextKeyAttention(HeadAttention):
    def shown(self, mask: Any) -> Any:
        return np.roll(mask, 1, axis=-1)


def make(d_model: int, num_heads: int) -> Any:
    """A factory of these."""
    return HeadAttention(d_model, num_heads)


class NeedsAPath:
    """It cannot be made of sizes."""

    def __init__(self, d_model: int, checkpoint: str) -> None:
        self.W_q, self.W_k, self.W_v = np.load(checkpoint)

    def __call__(self, x: Any) -> Any:
        return x


def test_an_object_that_holds_arrays_is_accused_of_nothing() -> None:
    """Its matrices are found by their names, and it is asked with ours in their places."""
    found = find_one(HeadAttention)
    assert found.has("projections")
    assert found.has("out-projection")
    assert found.takes["mask"] == "mask"
    assert accusations(found) == {}


@pytest.mark.parametrize(
    ("wrong", "law", "name"),
    [
        (UnscaledAttention, ODDS, "scale absent"),
        (UnmergedAttention, SPLIT, "heads merged without transpose"),
        (NextKeyAttention, SHOWN, ""),
    ],
)
def test_a_wrong_one_is_told(wrong: type, law: str, name: str) -> None:
    """By its scale, by its heads, by its mask."""
    report = check(wrong, only=[law], profile="quick")
    assert law in report.failed
    assert name in report.findings[0].name


def test_a_factory_of_them_is_asked_as_well() -> None:
    """The class is found in its code."""
    assert find_one(make).has("projections")


def test_what_cannot_be_made_is_refused_with_the_librarys_name() -> None:
    """It is not told to become a torch.nn.Module."""
    with pytest.raises(QuestionError) as refused:
        find_one(NeedsAPath, family="self")
    assert "torch.nn.Module" not in str(refused.value)


def test_torch_modules_and_objects_without_a_call_are_none_of_them() -> None:
    """Whatever they compute in their constructors."""

    class Settings:
        def __init__(self) -> None:
            self.scale = np.sqrt(2.0)

    assert kind_of(torch.nn.Linear) is None
    assert kind_of(Settings) is None
    assert isinstance(kind_of(HeadAttention), plain.Plain)


def stand(target: type, **given: Any) -> torch.nn.Module:
    """A torch module in the place of one of a class."""
    original = original_of(target)
    assert original is not None
    module: torch.nn.Module = standing(original)(**given)
    return module


def gives(module: torch.nn.Module, training: bool, seed: int) -> torch.Tensor:
    """What it gives for the same input."""
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    module.train(training)
    torch.manual_seed(seed)
    with torch.no_grad():
        output: torch.Tensor = module(x)
    return output


def require_modes(module: torch.nn.Module) -> None:
    """Dropout follows torch's generator in training, and is away in evaluation."""
    assert gives(module, False, 0).equal(gives(module, False, 1))
    assert gives(module, True, 0).equal(gives(module, True, 0))
    assert not gives(module, True, 0).equal(gives(module, True, 1))


def test_a_module_of_flax_nnx_stands_as_one_of_torch() -> None:
    """Its layers lie by the names of its attributes."""
    nnx = pytest.importorskip("flax.nnx")

    class Attention(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, d_model: int, num_heads: int, rngs: Any) -> None:
            self.attn = nnx.MultiHeadAttention(
                num_heads, d_model, dropout_rate=0.5, decode=False, rngs=rngs
            )

        def __call__(self, x: Any) -> Any:
            return self.attn(x)

    module = stand(Attention, d_model=8, num_heads=2)
    assert module.get_submodule("attn.query").weight.shape == (8, 8)
    require_modes(module)


def test_a_module_of_flax_linen_stands_as_one_of_torch() -> None:
    """Its layers are made by a first call, of the width that its constructor is told."""
    nn = pytest.importorskip("flax.linen")

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        d_model: int
        num_heads: int

        @nn.compact
        def __call__(self, x: Any, deterministic: bool = True) -> Any:
            attn = nn.MultiHeadDotProductAttention(self.num_heads, dropout_rate=0.5, name="attn")
            return attn(x, deterministic=deterministic)

    module = stand(Attention, d_model=8, num_heads=2)
    assert module.get_submodule("attn.out").weight.shape == (8, 8)
    require_modes(module)
    library = stand(nn.MultiHeadDotProductAttention, num_heads=2, qkv_features=8, d_in=8)
    assert library.train()(torch.zeros(3, 5, 8)).shape == (3, 5, 8)  # it takes a key as well


def test_a_module_of_equinox_is_mapped_over_a_batch() -> None:
    """It takes one sequence, and each item has a key of its own."""
    eqx = pytest.importorskip("equinox")

    class Attention(eqx.Module):  # type: ignore[misc, name-defined]
        attn: Any

        def __init__(self, d_model: int, num_heads: int, *, key: Any) -> None:
            self.attn = eqx.nn.MultiheadAttention(num_heads, d_model, dropout_p=0.5, key=key)

        def __call__(self, x: Any, *, key: Any = None) -> Any:
            return self.attn(x, x, x, key=key)

    module = stand(Attention, d_model=8, num_heads=2)
    assert gives(module, False, 0).shape == (3, 5, 8)
    require_modes(module)


def test_a_module_of_haiku_stands_as_one_of_torch() -> None:
    """It is made inside what haiku transforms, and its layers lie by their names there."""
    hk = pytest.importorskip("haiku")

    class Attention(hk.Module):  # type: ignore[misc, name-defined]
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__(name="attn")
            self.d_model, self.num_heads = d_model, num_heads

        def __call__(self, x: Any, is_training: bool = False) -> Any:
            start = hk.initializers.VarianceScaling(1.0)
            width = self.d_model // self.num_heads
            joined = hk.MultiHeadAttention(self.num_heads, width, w_init=start)(x, x, x)
            return hk.dropout(hk.next_rng_key(), 0.5, joined) if is_training else joined

    module = stand(Attention, d_model=8, num_heads=2)
    assert module.get_submodule("attn.multi_head_attention.query").weight.shape == (8, 8)
    require_modes(module)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own
def test_a_layer_of_keras_is_built_by_all_that_it_needs() -> None:
    """Values come first, a mask has to be given, and no mode is taken."""
    pytest.importorskip("keras.backend")
    import keras

    class Attention(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__()
            self.attn = keras.layers.MultiHeadAttention(num_heads, d_model // num_heads)

        def call(self, v: Any, k: Any, q: Any, mask: Any) -> Any:
            return self.attn(q, v, k, attention_mask=mask)

    module = stand(Attention, d_model=8, num_heads=2)
    x = torch.zeros(3, 5, 8)
    assert module(x, x, x, None).shape == x.shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own
def test_a_layer_of_keras_stands_as_one_of_torch() -> None:
    """It is made in the format in which it is asked."""
    pytest.importorskip("keras.backend")
    import keras

    class Attention(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__()
            self.attn = keras.layers.MultiHeadAttention(
                num_heads, d_model // num_heads, dropout=0.5
            )

        def call(self, x: Any, training: bool = False) -> Any:
            return self.attn(x, x, training=training)

    module = stand(Attention, d_model=8, num_heads=2)
    assert module.get_submodule("attn.query_dense").weight.shape == (8, 8)
    require_modes(module)


def test_a_module_of_mlx_stands_as_one_of_torch() -> None:
    """Its dropout is drawn by the library's own generator."""
    nn = pytest.importorskip("mlx.nn")

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, dims: int, num_heads: int) -> None:
            super().__init__()
            self.attn = nn.MultiHeadAttention(dims, num_heads)
            self.drop = nn.Dropout(0.5)

        def __call__(self, x: Any) -> Any:
            return self.drop(self.attn(x, x, x))

    module = stand(Attention, dims=8, num_heads=2)
    assert module.get_submodule("attn.query_proj").weight.shape == (8, 8)
    require_modes(module)


def test_layers_that_flax_names_are_told_apart_by_trial() -> None:
    """Queries are made by the third; of a kernel with heads, its bias says where these lie."""
    nn = pytest.importorskip("flax.linen")
    import jax

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        num_heads: int
        power = 0.5

        @nn.compact
        def __call__(self, x: Any) -> Any:
            heads = (self.num_heads, x.shape[-1] // self.num_heads)
            k, v, q = (nn.DenseGeneral(heads)(x) for _ in range(3))
            scores = jax.numpy.einsum("bthd,bshd->bhts", q, k) / heads[1] ** self.power
            context = jax.numpy.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)
            return nn.DenseGeneral(x.shape[-1], axis=(-2, -1))(context)

    class ScaledTwice(Attention):
        power = 1.0

    for target, wrong in ((Attention, False), (ScaledTwice, True)):
        subject = find_one(target, "encoder")
        assert subject.matched["query"] == "DenseGeneral_2.weight (transposed)"
        assert run(subject, profile="quick", only=[ODDS]).failed == [ODDS] * wrong
