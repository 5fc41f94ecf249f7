"""What the modules of `attention` refuse, and what they must withstand at the edges."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

import attention
from attention import (
    CausalAttention,
    FusedMultiHeadAttention,
    MultiHeadAttention,
    MultiHeadAttentionWrapper,
    SelfAttention_v1,
    SelfAttention_v2,
    SimplifiedSelfAttention,
)
from attention import functional as F

D_IN, D_OUT, CONTEXT_LENGTH, HEADS = 5, 6, 7, 3
NAN = float("nan")

FREE = [SimplifiedSelfAttention, SelfAttention_v1, SelfAttention_v2]  # any T, batch optional
SPLIT = [MultiHeadAttention, FusedMultiHeadAttention]  # heads share d_out
HEADED = [MultiHeadAttentionWrapper, *SPLIT]
CAUSAL = [CausalAttention, *HEADED]
EVERY = [*FREE, *CAUSAL]
TRAINABLE = EVERY[1:]


@pytest.fixture(autouse=True)
def seed() -> None:
    """Start each test from the same random state, so that none depends on another."""
    torch.manual_seed(0)


def build(family: type[nn.Module], **changes) -> nn.Module:
    """Build a module of the family, from the sizes above unless they are changed."""
    sizes = {}
    if family is not SimplifiedSelfAttention:
        sizes |= {"d_in": D_IN, "d_out": D_OUT}
    if family in CAUSAL:
        sizes |= {"context_length": CONTEXT_LENGTH, "dropout": 0.0}
    if family in HEADED:
        sizes |= {"num_heads": HEADS}
    return family(**(sizes | changes))


def width(family: type[nn.Module]) -> int:
    """Count the columns of the family's output at the sizes above."""
    widths = {SimplifiedSelfAttention: D_IN, MultiHeadAttentionWrapper: D_OUT * HEADS}
    return widths.get(family, D_OUT)


def tokens(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Draw an input, the same for the same shape."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def names(*parts: object) -> str:
    """Match a message in which the parts occur in this order."""
    return r"\b.*".join(str(part).replace(".", r"\.") for part in parts)


# Construction


@pytest.mark.parametrize(
    ("family", "size"),
    [
        *((family, size) for family in TRAINABLE for size in ("d_in", "d_out")),
        *((family, "context_length") for family in CAUSAL),
        *((family, "num_heads") for family in HEADED),
    ],
)
@pytest.mark.parametrize("wrong", [0, -2])
def test_sizes_below_one_raise_at_construction(family, size, wrong):
    """No size may be zero or negative; the message names the size and the number."""
    with pytest.raises(ValueError, match=names(size, "is", wrong)):
        build(family, **{size: wrong})


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("wrong", [-0.1, 1.5, NAN, float("inf")])
def test_dropout_outside_the_unit_interval_raises(family, wrong):
    """Dropout is a probability, which NaN is not; the message names the number."""
    with pytest.raises(ValueError, match=names("dropout is", wrong)):
        build(family, dropout=wrong)


@pytest.mark.parametrize("family", SPLIT)
@pytest.mark.parametrize("num_heads", [4, 5, 7])
def test_heads_that_do_not_divide_d_out_raise(family, num_heads):
    """Split heads need equal shares of d_out; the message names both numbers and the rest."""
    rest = D_OUT % num_heads
    with pytest.raises(ValueError, match=names("d_out", D_OUT, num_heads, rest, "left over")):
        build(family, num_heads=num_heads)


def test_wrapped_heads_need_not_divide_d_out():
    """Every wrapped head has the whole d_out, so any number of heads will do."""
    assert build(MultiHeadAttentionWrapper, num_heads=4)(tokens(2, 3, D_IN)).shape == (2, 3, 24)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        *((family, {"dropout": NAN}) for family in CAUSAL),
        *((family, {"context_length": 0}) for family in CAUSAL),
        *((family, {"num_heads": 4}) for family in SPLIT),
    ],
)
def test_refused_constructions_draw_no_random_numbers(family, wrong):
    """A constructor checks before it draws: the global generator stays where it was."""
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"\d|nan"):
        build(family, **wrong)
    assert torch.equal(torch.get_rng_state(), before)


def test_biases_cannot_be_transferred():
    """SelfAttention_v1 has no place for the biases of a SelfAttention_v2."""
    with pytest.raises(ValueError, match="qkv_bias"):
        SelfAttention_v1.from_linear(SelfAttention_v2(3, 2, qkv_bias=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("d_in", "d_out"), [(3, 2), (1, 4), (4, 1)])
def test_transfer_copies_the_weights_transposed(d_in, d_out, dtype):
    """The transfer gives transposed copies of the same dtype, with memory of their own."""
    linear = SelfAttention_v2(d_in, d_out).to(dtype)
    module = SelfAttention_v1.from_linear(linear)
    for name in ("W_query", "W_key", "W_value"):
        copied, original = getattr(module, name), getattr(linear, name).weight
        assert copied.dtype == dtype
        assert torch.equal(copied, original.T)
        with torch.no_grad():
            copied.zero_()
        assert original.any()


# Inputs that are refused


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("context_length", [1, 2, CONTEXT_LENGTH])
@pytest.mark.parametrize("extra", [1, 5])
def test_more_tokens_than_context_length_raise(family, context_length, extra):
    """Too many tokens raise, also where a 1x1 mask would broadcast; both numbers are named."""
    module = build(family, context_length=context_length)
    num_tokens = context_length + extra
    with pytest.raises(
        ValueError, match=names(f"has {num_tokens} tokens", "at most", context_length)
    ):
        module(tokens(2, num_tokens, D_IN))


@pytest.mark.parametrize("family", TRAINABLE)
@pytest.mark.parametrize("wrong", [1, D_IN - 1, D_IN + 1, D_OUT])
def test_another_width_than_d_in_raises(family, wrong):
    """The last axis must be d_in wide; the message names both numbers, and the d_in to build with."""
    words = (f"has {wrong} numbers per token, expected", D_IN, f"d_in={wrong}")
    with pytest.raises(ValueError, match=names(*words)):
        build(family)(tokens(2, 3, wrong))


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        *((family, shape) for family in EVERY for shape in [(), (D_IN,), (2, 2, 3, D_IN)]),
        *((family, (3, D_IN)) for family in CAUSAL),
    ],
)
def test_another_number_of_axes_raises(family, shape):
    """Causal modules want three axes, the others two or three; the message says so."""
    wanted = "3:" if family in CAUSAL else "2 or 3:"
    with pytest.raises(ValueError, match=names(f"has {len(shape)} axes, expected {wanted}")):
        build(family)(tokens(*shape))


# Shapes that are accepted


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_length_up_to_the_context_is_accepted_in_any_order(family, batch_size):
    """Long and short calls alternate on one module, and each keeps its batch and tokens."""
    module = build(family)
    for num_tokens in (CONTEXT_LENGTH, 1, 4, 2, CONTEXT_LENGTH, 3):
        contexts = module(tokens(batch_size, num_tokens, D_IN))
        assert contexts.shape == (batch_size, num_tokens, width(family))


@pytest.mark.parametrize("leading", [(), (2,), (3, 2)])
def test_heads_are_split_and_merged_whatever_axes_lead(leading):
    """Splitting looks at the last two axes alone, and merging undoes it."""
    projected = tokens(*leading, 4, D_OUT)
    heads = F.split_heads(projected, HEADS)
    assert heads.shape == (*leading, HEADS, 4, D_OUT // HEADS)
    assert torch.equal(F.merge_heads(heads), projected)


@pytest.mark.parametrize("family", FREE)
def test_sequences_without_a_batch_equal_a_batch_of_one(family):
    """Modules without a mask also take (T, d_in), with the result of a batch of one."""
    module, x = build(family), tokens(4, D_IN)
    torch.testing.assert_close(module(x), module(x[None])[0])


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("training", [False, True])
def test_an_empty_batch_gives_an_empty_result(family, training):
    """No sequences in, none out, forward and backward, with dropout or without."""
    changes = {"dropout": 0.5} if family in CAUSAL else {}
    module = build(family, **changes).train(training)
    contexts = module(tokens(0, 4, D_IN).requires_grad_())
    assert contexts.shape == (0, 4, width(family))
    contexts.sum().backward()


@pytest.mark.parametrize("family", CAUSAL)
def test_a_single_token_returns_its_own_value(family):
    """With T = 1 = context_length the context is the token's value, projected if need be."""
    module = build(family, context_length=1)
    x = tokens(2, 1, D_IN)
    if family is MultiHeadAttentionWrapper:
        expected = torch.cat([head.W_value(x) for head in module.heads], dim=-1)
    else:
        expected = getattr(module, "out_proj", nn.Identity())(module.W_value(x))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("family", EVERY)
def test_strides_of_the_input_do_not_matter(family):
    """Transposed, sliced and expanded inputs give what their contiguous copies give."""
    module = build(family)
    transposed = tokens(4, 2, D_IN).transpose(0, 1)
    sliced = tokens(4, 8, 2 * D_IN)[::2, ::2, ::2]
    expanded = tokens(1, 4, D_IN).expand(3, -1, -1)
    for x in (transposed, sliced, expanded):
        torch.testing.assert_close(module(x), module(x.contiguous()))


# Numbers


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
)
def test_the_dtype_is_kept_forward_and_backward(family, dtype):
    """A module moved to a dtype answers in it, near float64, with finite gradients."""
    module = build(family).to(dtype)
    x = tokens(2, 4, D_IN, dtype=dtype).requires_grad_()
    contexts = module(x)
    assert contexts.dtype == dtype
    tolerance = 16 * torch.finfo(dtype).eps
    exact = copy.deepcopy(module).double()(x.double())
    torch.testing.assert_close(contexts.double(), exact, atol=tolerance, rtol=tolerance)
    contexts.sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("family", EVERY)
def test_gradients_agree_with_finite_differences(family):
    """Gradcheck passes in float64, for the input and for every parameter."""
    module = build(family).double()
    parameters = dict(module.named_parameters())

    def forward(x, *values):
        replaced = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(module, replaced, (x,))

    x = tokens(2, 3, D_IN, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(forward, (x, *parameters.values()))


@pytest.mark.parametrize("family", EVERY)
def test_the_input_and_the_state_are_never_changed(family):
    """A call leaves its input, the parameters and the mask as they were."""
    changes = {"dropout": 0.5} if family in CAUSAL else {}
    module, x = build(family, **changes), tokens(2, 4, D_IN).requires_grad_()
    x_before, state_before = x.detach().clone(), copy.deepcopy(module.state_dict())
    module(x).sum().backward()
    assert torch.equal(x, x_before)
    for name, value in module.state_dict().items():
        assert torch.equal(value, state_before[name])


@pytest.mark.parametrize(
    "function",
    [
        lambda table: F.scores_by_loop(table, table),
        lambda table: F.dot_product_scores(table, table),
        F.normalise_by_sum,
        F.softmax_naive,
        lambda table: F.zero_future(table, F.causal_mask(4)),
        lambda table: F.hide_future(table, F.causal_mask(4)),
        lambda table: F.attention_weights(table, head_dim=2, hidden=F.causal_mask(4)),
        lambda table: F.context_vectors(table, table),
    ],
)
def test_functions_leave_their_arguments_alone(function):
    """The functions are pure: what they are given stays as it was."""
    table = tokens(4, 4)
    before = table.clone()
    function(table)
    assert torch.equal(table, before)


def test_head_dim_and_mask_are_told_by_name():
    """Nobody hands over a mask where the width of a head is expected."""
    table = tokens(4, 4)
    with pytest.raises(TypeError, match="positional"):
        F.attention_weights(table, 2)
    torch.testing.assert_close(F.attention_weights(scores=table), table.softmax(-1))


@pytest.mark.parametrize("family", CAUSAL)
def test_a_huge_future_stays_out(family):
    """Future tokens near the dtype's maximum change nothing before them, as long as finite."""
    module = build(family, d_in=6, d_out=6).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.eye(6) if parameter.ndim == 2 else torch.zeros(6))
    calm = tokens(1, 5, 6)
    wild = calm.clone()
    wild[:, 3:] = torch.finfo(torch.float32).max * torch.tensor([1.0, -1.0]).repeat(3)
    torch.testing.assert_close(module(wild)[:, :3], module(calm)[:, :3])


# Dropout


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize(("dropout", "training"), [(0.5, False), (1.0, False), (0.0, True)])
def test_dropout_is_inert_in_eval_and_at_zero(family, dropout, training):
    """In eval, or with p = 0 in training, the result is that of the module without dropout."""
    module = build(family, dropout=dropout).train(training)
    plain = build(family)
    plain.load_state_dict(module.state_dict())
    x = tokens(2, 4, D_IN)
    before = torch.get_rng_state()
    assert torch.equal(module(x), plain.eval()(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", CAUSAL)
def test_train_and_eval_switch_dropout(family):
    """Training draws anew with each call, a seed repeats the draw, eval ends it."""
    module, x = build(family, dropout=0.5), tokens(4, 7, D_IN)
    torch.manual_seed(0)
    first, second = module(x), module(x)
    torch.manual_seed(0)
    assert torch.equal(module(x), first)
    assert not torch.equal(first, second)
    module.eval()
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize("family", CAUSAL)
def test_dropping_everything_gives_zero_context_and_finite_gradients(family):
    """With p = 1 in training the context is zero, never NaN, and so are the gradients."""
    module = build(family, dropout=1.0, qkv_bias=True)
    x = tokens(2, 4, D_IN).requires_grad_()
    contexts = module(x)
    bias = module.out_proj.bias if family in SPLIT else torch.zeros(width(family))
    assert torch.equal(contexts, bias.expand_as(contexts))
    contexts.sum().backward()
    for name, parameter in [("x", x), *module.named_parameters()]:
        if name != "out_proj.bias":
            assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name


# State


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same_and_share_nothing(family, clone):
    """A deep copy or a pickle computes the same, and does not follow the original."""
    module, x = build(family), tokens(2, 4, D_IN)
    cloned, contexts = clone(module), module(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(cloned(x), contexts)


@pytest.mark.parametrize("family", CAUSAL)
def test_the_mask_is_a_persistent_buffer_that_moves_along(family):
    """The mask is saved and moved with the module, but never trained."""
    module = build(family)
    buffers = dict(module.named_buffers())
    assert len(buffers) == (HEADS if family is MultiHeadAttentionWrapper else 1)
    assert buffers.keys() <= module.state_dict().keys()
    assert not buffers.keys() & dict(module.named_parameters()).keys()
    for mask in buffers.values():
        assert torch.equal(mask, torch.ones(CONTEXT_LENGTH, CONTEXT_LENGTH).triu(1))
    assert all(mask.dtype == torch.float16 for mask in module.half().buffers())


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_the_parameters_have_the_names_of_the_sources(qkv_bias):
    """State dicts carry the sources' names; the biases are there only if asked for."""
    suffixes = ("weight", "bias") if qkv_bias else ("weight",)
    linear = {f"{w}.{s}" for w in ("W_query", "W_key", "W_value") for s in suffixes}
    causal = {*linear, "mask"}
    expected = {
        SelfAttention_v2: linear,
        CausalAttention: causal,
        MultiHeadAttentionWrapper: {f"heads.{h}.{n}" for h in range(HEADS) for n in causal},
        MultiHeadAttention: {*causal, "out_proj.weight", "out_proj.bias"},
        FusedMultiHeadAttention: {*causal, "out_proj.weight", "out_proj.bias"},
    }
    for family, keys in expected.items():
        assert build(family, qkv_bias=qkv_bias).state_dict().keys() == keys
    assert build(SelfAttention_v1).state_dict().keys() == {"W_query", "W_key", "W_value"}
    assert not build(SimplifiedSelfAttention).state_dict()


def test_the_widths_of_the_sources_are_attributes():
    """Code that takes d_out, num_heads and head_dim from the module finds them."""
    module = build(MultiHeadAttention, num_heads=3)
    widths = (module.d_out, module.num_heads, module.head_dim)
    assert widths == (module.W_query.out_features, 3, module.W_query.out_features // 3)
    assert {type(width) for width in widths} == {int}


@pytest.mark.parametrize("num_tokens", [1, 4, CONTEXT_LENGTH])
@pytest.mark.parametrize("num_heads", [1, 3, 6])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_the_fused_module_equals_the_explicit_one(num_tokens, num_heads, qkv_bias):
    """With the same state dict the fused module gives the same contexts and gradients."""
    explicit = build(MultiHeadAttention, num_heads=num_heads, qkv_bias=qkv_bias)
    fused = build(FusedMultiHeadAttention, num_heads=num_heads, qkv_bias=qkv_bias)
    fused.load_state_dict(explicit.state_dict())
    x = tokens(2, num_tokens, D_IN)
    contexts = [module(x) for module in (explicit, fused)]
    torch.testing.assert_close(*contexts)
    for context in contexts:
        context.square().sum().backward()
    for one, other in zip(explicit.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(("dropout", "calls"), [(0.0, 1), (0.5, 1), (1.0, 0)])
def test_the_kernel_is_used_unless_everything_is_dropped(monkeypatch, dropout, calls):
    """In training the fused module asks the kernel, with its probability, for any p below 1."""
    asked = []

    def kernel(*tensors, **options):
        asked.append(options)
        return scaled_dot_product_attention(*tensors, **options)

    monkeypatch.setattr("attention.fused.scaled_dot_product_attention", kernel)
    build(FusedMultiHeadAttention, dropout=dropout).train()(tokens(2, 3, D_IN))
    assert asked == [{"dropout_p": dropout, "is_causal": True}] * calls


# Transforms

ignore_slow_vmap = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


@pytest.mark.parametrize("family", TRAINABLE)
def test_functional_call_takes_the_given_parameters(family):
    """Another module's parameters, lent for one call, give that module's result."""
    module, other, x = build(family), build(family), tokens(2, 4, D_IN)
    lent = dict(other.named_parameters())
    assert torch.equal(torch.func.functional_call(module, lent, (x,)), other(x))


@ignore_slow_vmap
@pytest.mark.parametrize("family", EVERY)
def test_vmap_over_inputs_equals_a_loop(family):
    """Mapping over one more leading axis gives the stack of the single results."""
    module, x = build(family), tokens(3, 2, 4, D_IN)
    torch.testing.assert_close(torch.vmap(module)(x), torch.stack([module(item) for item in x]))


@ignore_slow_vmap
@pytest.mark.parametrize("family", TRAINABLE)
def test_vmap_over_modules_equals_a_loop(family):
    """An ensemble with stacked parameters and masks gives the stack of its members' results."""
    members, x = [build(family) for _ in range(3)], tokens(2, 4, D_IN)
    state = torch.func.stack_module_state(members)
    together = torch.vmap(lambda *state: torch.func.functional_call(members[0], state, (x,)))
    torch.testing.assert_close(together(*state), torch.stack([member(x) for member in members]))


@pytest.mark.parametrize("family", EVERY)
def test_export_equals_eager_with_batch_and_length_left_open(family):
    """One exported graph gives what the module gives, for every batch size and length.

    The full length is exported apart: there the slice of the mask becomes contiguous, and
    torch.export keeps such a length out of the open range.
    """
    module = build(family).eval()
    batch = torch.export.Dim("batch", max=64)
    length = torch.export.Dim("length", max=CONTEXT_LENGTH - 1)
    for example, dims, shapes in [
        ((2, 4, D_IN), ({0: batch, 1: length},), [(2, 4), (5, CONTEXT_LENGTH - 1), (3, 2)]),
        ((2, CONTEXT_LENGTH, D_IN), ({0: batch},), [(2, CONTEXT_LENGTH), (5, CONTEXT_LENGTH)]),
    ]:
        exported = torch.export.export(module, (tokens(*example),), dynamic_shapes=dims).module()
        for shape in shapes:
            x = tokens(*shape, D_IN)
            torch.testing.assert_close(exported(x), module(x))


def test_all_names_what_the_package_offers():
    """Each name in `__all__` exists, and every module class is among them."""
    assert all(hasattr(attention, name) for name in attention.__all__)
    assert {family.__name__ for family in EVERY} <= set(attention.__all__)
