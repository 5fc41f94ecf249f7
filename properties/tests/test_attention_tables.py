"""Every table that the sources print, reproduced to its four decimals.

Each test names the section that prints it. `INPUTS` are the six tokens of 003 §3.3.1.
"""

import pytest
import torch
from torch import Tensor

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

INPUTS = torch.tensor(
    [
        [0.43, 0.15, 0.89],  # Your
        [0.55, 0.87, 0.66],  # journey
        [0.57, 0.85, 0.64],  # starts
        [0.22, 0.58, 0.33],  # with
        [0.77, 0.25, 0.10],  # one
        [0.05, 0.80, 0.55],  # step
    ]
)
BATCH = torch.stack((INPUTS, INPUTS))  # (2, 6, 3)
HIDDEN = F.causal_mask(6)
INF = float("inf")

SCORES_OF_QUERY_2 = [0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865]
SOFTMAX_OF_QUERY_2 = [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581]
SCORES = [
    [0.9995, 0.9544, 0.9422, 0.4753, 0.4576, 0.6310],
    [0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865],
    [0.9422, 1.4754, 1.4570, 0.8296, 0.7154, 1.0605],
    [0.4753, 0.8434, 0.8296, 0.4937, 0.3474, 0.6565],
    [0.4576, 0.7070, 0.7154, 0.3474, 0.6654, 0.2935],
    [0.6310, 1.0865, 1.0605, 0.6565, 0.2935, 0.9450],
]
CONTEXTS = [
    [0.4421, 0.5931, 0.5790],
    [0.4419, 0.6515, 0.5683],
    [0.4431, 0.6496, 0.5671],
    [0.4304, 0.6298, 0.5510],
    [0.4671, 0.5910, 0.5266],
    [0.4177, 0.6503, 0.5645],
]
CONTEXTS_SEED_789 = [
    [-0.0739, 0.0713],
    [-0.0748, 0.0703],
    [-0.0749, 0.0702],
    [-0.0760, 0.0685],
    [-0.0763, 0.0679],
    [-0.0754, 0.0693],
]
WEIGHTS_SEED_789 = [
    [0.1921, 0.1646, 0.1652, 0.1550, 0.1721, 0.1510],
    [0.2041, 0.1659, 0.1662, 0.1496, 0.1665, 0.1477],
    [0.2036, 0.1659, 0.1662, 0.1498, 0.1664, 0.1480],
    [0.1869, 0.1667, 0.1668, 0.1571, 0.1661, 0.1564],
    [0.1830, 0.1669, 0.1670, 0.1588, 0.1658, 0.1585],
    [0.1935, 0.1663, 0.1666, 0.1542, 0.1666, 0.1529],
]
LOWER_TRIANGLE = [
    [0.1921, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.2041, 0.1659, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.2036, 0.1659, 0.1662, 0.0000, 0.0000, 0.0000],
    [0.1869, 0.1667, 0.1668, 0.1571, 0.0000, 0.0000],
    [0.1830, 0.1669, 0.1670, 0.1588, 0.1658, 0.0000],
    [0.1935, 0.1663, 0.1666, 0.1542, 0.1666, 0.1529],
]
CAUSAL_WEIGHTS = [
    [1.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.5517, 0.4483, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.3800, 0.3097, 0.3103, 0.0000, 0.0000, 0.0000],
    [0.2758, 0.2460, 0.2462, 0.2319, 0.0000, 0.0000],
    [0.2175, 0.1983, 0.1984, 0.1888, 0.1971, 0.0000],
    [0.1935, 0.1663, 0.1666, 0.1542, 0.1666, 0.1529],
]
MASKED_SCORES = [
    [0.2899, -INF, -INF, -INF, -INF, -INF],
    [0.4656, 0.1723, -INF, -INF, -INF, -INF],
    [0.4594, 0.1703, 0.1731, -INF, -INF, -INF],
    [0.2642, 0.1024, 0.1036, 0.0186, -INF, -INF],
    [0.2183, 0.0874, 0.0882, 0.0177, 0.0786, -INF],
    [0.3408, 0.1270, 0.1290, 0.0198, 0.1290, 0.0078],
]
DROPPED_WEIGHTS = [
    [2.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.0000, 0.8966, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.0000, 0.0000, 0.6206, 0.0000, 0.0000, 0.0000],
    [0.5517, 0.4921, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.4350, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
    [0.0000, 0.3327, 0.0000, 0.0000, 0.0000, 0.0000],
]
WRAPPER_OF_WIDTH_2 = [
    [-0.4519, 0.2216, 0.4772, 0.1063],
    [-0.5874, 0.0058, 0.5891, 0.3257],
    [-0.6300, -0.0632, 0.6202, 0.3860],
    [-0.5675, -0.0843, 0.5478, 0.3589],
    [-0.5526, -0.0981, 0.5321, 0.3428],
    [-0.5299, -0.1081, 0.5077, 0.3493],
]
WRAPPER_OF_WIDTH_1 = [
    [-0.5740, 0.2216],
    [-0.7320, 0.0155],
    [-0.7774, -0.0546],
    [-0.6979, -0.0817],
    [-0.6538, -0.0957],
    [-0.6424, -0.1065],
]
MULTI_HEAD = [
    [0.3190, 0.4858],
    [0.2943, 0.3897],
    [0.2856, 0.3593],
    [0.2693, 0.3873],
    [0.2639, 0.3928],
    [0.2575, 0.4028],
]
TWO_HEADS = [  # `a`, (1, 2, 3, 4): B, H, T, D
    [
        [
            [0.2745, 0.6584, 0.2775, 0.8573],
            [0.8993, 0.0390, 0.9268, 0.7388],
            [0.7179, 0.7058, 0.9156, 0.4340],
        ],
        [
            [0.0772, 0.3565, 0.1479, 0.5331],
            [0.4066, 0.2318, 0.4545, 0.9737],
            [0.4606, 0.5159, 0.4220, 0.5786],
        ],
    ]
]
TWO_HEADS_SCORES = [  # `a @ a^T`, (1, 2, 3, 3): B, H, T, T
    [
        [[1.3208, 1.1631, 1.2879], [1.1631, 2.2150, 1.8424], [1.2879, 1.8424, 2.0402]],
        [[0.4391, 0.7003, 0.5903], [0.7003, 1.3737, 1.0620], [0.5903, 1.0620, 0.9912]],
    ]
]
UNROLLED_QUERIES = [  # (1, 3, 2, 3): B, T, H, D
    [
        [[-0.4888, 0.2361, 2.8463], [-0.2184, 5.4503, -1.8915]],
        [[-2.3531, -0.7912, 1.2578], [2.0534, -4.3369, 3.2125]],
        [[-2.5745, 0.2893, 1.1454], [0.9021, 1.5632, 0.6930]],
    ]
]
UNROLLED_CONTEXT = [  # (1, 3, 2, 3): B, T, H, D
    [
        [[-3.6194, 2.0935, 1.3879], [1.5961, -0.9367, -0.3400]],
        [[-1.8728, 1.6494, 0.7163], [1.3712, 0.7805, 0.2233]],
        [[-0.3553, -0.5607, -0.1181], [0.6997, -0.4487, -0.0530]],
    ]
]


def assert_prints_as(actual: Tensor, printed: list | float) -> None:
    """The tensor rounds to the printed decimals: at most half a unit of the fourth away."""
    torch.testing.assert_close(actual.detach(), torch.tensor(printed), atol=5.1e-5, rtol=0.0)


@pytest.fixture
def v1() -> SelfAttention_v1:
    """Draw the three matrices of 003 §3.4, seed 123."""
    torch.manual_seed(123)
    return SelfAttention_v1(3, 2)


@pytest.fixture
def v2() -> SelfAttention_v2:
    """Draw the linear layers of 003 §3.4, seed 789."""
    torch.manual_seed(789)
    return SelfAttention_v2(3, 2)


@pytest.fixture
def scores(v2: SelfAttention_v2) -> Tensor:
    """Score the six tokens with the layers of seed 789, as 003 §3.5 does."""
    return F.dot_product_scores(v2.W_query(INPUTS), v2.W_key(INPUTS)).detach()


# S1, 003 §3.3: no trainable weights


@pytest.mark.parametrize("score", [F.scores_by_loop, F.dot_product_scores])
def test_scores_of_query_2_are_the_printed_ones(score):
    """The second token scores against all six as printed (003 §3.3.1)."""
    assert_prints_as(score(INPUTS[1:2], INPUTS)[0], SCORES_OF_QUERY_2)


def test_dividing_by_the_sum_gives_the_printed_weights():
    """Scores over their sum are the first weights printed (003 §3.3.1), and sum to one."""
    weights = F.normalise_by_sum(F.dot_product_scores(INPUTS[1], INPUTS))
    assert_prints_as(weights, [0.1455, 0.2278, 0.2249, 0.1285, 0.1077, 0.1656])
    assert_prints_as(weights.sum(), 1.0)


@pytest.mark.parametrize("softmax", [F.softmax_naive, F.attention_weights])
def test_naive_and_stable_softmax_give_the_printed_weights(softmax):
    """Both softmaxes print the same weights for the second token (003 §3.3.1)."""
    weights = softmax(F.dot_product_scores(INPUTS[1], INPUTS))
    assert_prints_as(weights, SOFTMAX_OF_QUERY_2)
    assert_prints_as(weights.sum(), 1.0)


def test_only_the_stable_softmax_survives_large_scores():
    """Where exp overflows, the formula gives NaN and `attention_weights` does not."""
    large = torch.tensor([1000.0, 999.0])
    assert F.softmax_naive(large).isnan().any()
    assert_prints_as(F.attention_weights(large), [0.7311, 0.2689])


def test_context_of_token_2_is_the_printed_one():
    """One query alone gives the second context vector (003 §3.3.1)."""
    weights = F.attention_weights(F.dot_product_scores(INPUTS[1], INPUTS))
    assert_prints_as(F.context_vectors(weights, INPUTS), [0.4419, 0.6515, 0.5683])


@pytest.mark.parametrize("score", [F.scores_by_loop, F.dot_product_scores])
def test_loop_and_product_give_the_printed_score_table(score):
    """Two loops and one matrix product give the same 6x6 scores (003 §3.3.2)."""
    assert_prints_as(score(INPUTS, INPUTS), SCORES)


def test_simplified_self_attention_gives_the_printed_contexts():
    """The module without weights gives the 6x3 contexts (003 §3.3.2), batched or not."""
    module = SimplifiedSelfAttention()
    assert_prints_as(module(INPUTS), CONTEXTS)
    assert_prints_as(module(BATCH), [CONTEXTS, CONTEXTS])


# S2 and S3, 003 §3.4: trainable matrices


def test_seed_123_gives_the_printed_query_and_score(v1):
    """The second query, and its score with its own key, are as printed (003 §3.4)."""
    query, key = INPUTS[1] @ v1.W_query, INPUTS[1] @ v1.W_key
    assert_prints_as(query, [0.4306, 1.4551])
    assert_prints_as(F.dot_product_scores(query, key[None])[0], 1.8524)


def test_keys_and_values_are_six_by_two(v1):
    """Six tokens of width 3 become keys and values of width 2 (003 §3.4)."""
    assert (INPUTS @ v1.W_key).shape == (6, 2)
    assert (INPUTS @ v1.W_value).shape == (6, 2)


def test_seed_123_gives_the_printed_weights_and_context(v1):
    """Scaled by sqrt(2), the second query's weights and context are as printed (003 §3.4)."""
    query, keys, values = INPUTS[1] @ v1.W_query, INPUTS @ v1.W_key, INPUTS @ v1.W_value
    weights = F.attention_weights(F.dot_product_scores(query, keys), head_dim=2)
    assert_prints_as(weights, [0.1500, 0.2264, 0.2199, 0.1311, 0.0906, 0.1820])
    assert_prints_as(F.context_vectors(weights, values), [0.3061, 0.8210])


def test_the_compact_class_agrees_with_the_single_query(v1):
    """Row 2 of SelfAttention_v1 is the context computed step by step (003 §3.4)."""
    assert_prints_as(v1(INPUTS)[1], [0.3061, 0.8210])


# S4, 003 §3.4 and exercise 3.1: linear layers


def test_seed_789_gives_the_printed_contexts(v2):
    """SelfAttention_v2 gives the printed 6x2 contexts (003 exercise 3.1), batched or not."""
    assert_prints_as(v2(INPUTS), CONTEXTS_SEED_789)
    assert_prints_as(v2(BATCH), [CONTEXTS_SEED_789, CONTEXTS_SEED_789])


def test_transferred_weights_give_the_same_contexts(v2):
    """SelfAttention_v1 with the transposed weights prints the same table (exercise 3.1)."""
    assert_prints_as(SelfAttention_v1.from_linear(v2)(INPUTS), CONTEXTS_SEED_789)


# S5 and S6, 003 §3.5: the causal mask in two ways


def test_unmasked_weights_are_the_printed_ones(scores):
    """Before any mask the weights are as printed (003 §3.5)."""
    assert_prints_as(F.attention_weights(scores, head_dim=2), WEIGHTS_SEED_789)


def test_zeroed_future_leaves_the_printed_lower_triangle(scores):
    """Weights with the future zeroed are the printed lower triangle (003 §3.5)."""
    weights = F.attention_weights(scores, head_dim=2)
    assert_prints_as(F.zero_future(weights, HIDDEN), LOWER_TRIANGLE)


def test_renormalised_lower_triangle_is_the_printed_one(scores):
    """Divided by their sums, the rows are the printed causal weights (003 §3.5)."""
    weights = F.attention_weights(scores, head_dim=2)
    assert_prints_as(F.normalise_by_sum(F.zero_future(weights, HIDDEN)), CAUSAL_WEIGHTS)


def test_masked_scores_are_the_printed_ones(scores):
    """Scores of the past stay, those of the future become minus infinity (003 §3.5)."""
    assert_prints_as(F.hide_future(scores, HIDDEN), MASKED_SCORES)


def test_softmax_of_masked_scores_gives_the_printed_weights(scores):
    """Minus infinity before the softmax gives the printed causal weights (003 §3.5)."""
    weights = F.attention_weights(scores, head_dim=2, hidden=HIDDEN)
    assert_prints_as(weights, CAUSAL_WEIGHTS)
    assert (weights[HIDDEN] == 0.0).all()


def test_both_causal_masks_give_equal_weights(scores):
    """Zeroing and renormalising equals hiding before the softmax (003 §3.5)."""
    renormalised = F.normalise_by_sum(
        F.zero_future(F.attention_weights(scores, head_dim=2), HIDDEN)
    )
    torch.testing.assert_close(F.attention_weights(scores, head_dim=2, hidden=HIDDEN), renormalised)


# S7, 003 §3.5.2: dropout on the weights; which entries survive is the platform's affair


def test_printed_dropout_doubles_what_it_keeps(scores):
    """Each printed entry is zero or twice the weight (003 §3.5.2), and both occur."""
    doubled = 2.0 * F.attention_weights(scores, head_dim=2, hidden=HIDDEN)
    printed = torch.tensor(DROPPED_WEIGHTS)
    kept = printed != 0.0
    assert kept.any()
    assert (~kept & ~HIDDEN).any()
    torch.testing.assert_close(printed[kept], doubled[kept], atol=5.1e-5, rtol=0.0)


def test_module_dropout_doubles_exactly_what_it_keeps(scores):
    """The dropout inside CausalAttention yields exactly zero or exactly twice the weight."""
    module = CausalAttention(3, 2, context_length=6, dropout=0.5)
    weights = F.attention_weights(scores, head_dim=2, hidden=HIDDEN)
    torch.manual_seed(123)
    dropped = module.dropout(weights)
    kept = dropped != 0.0
    assert kept.any()
    assert (~kept & ~HIDDEN).any()
    assert torch.equal(dropped[kept], 2.0 * weights[kept])


@pytest.mark.parametrize("family", [CausalAttention, MultiHeadAttention, FusedMultiHeadAttention])
def test_modules_drop_weights_and_nothing_else(family):
    """With values one-hot twice over, each weight shows in two columns that drop together."""
    heads = {} if family is CausalAttention else {"num_heads": 1}
    module = family(6, 12, context_length=6, dropout=0.5, **heads)
    x = torch.eye(6)[None]  # (1, 6, 6): one token, one coordinate
    with torch.no_grad():
        module.W_value.weight.copy_(torch.eye(6).repeat(2, 1))
        if family is not CausalAttention:
            module.out_proj.weight.copy_(torch.eye(12))
            module.out_proj.bias.zero_()
    weights = module.eval()(x)[0].unflatten(-1, (2, 6))  # (T, 2, T)
    torch.manual_seed(123)
    dropped = module.train()(x)[0].unflatten(-1, (2, 6))
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    kept = dropped != 0.0
    assert kept.any()
    assert (~kept[:, 0] & ~HIDDEN).any()
    torch.testing.assert_close(dropped[kept], 2.0 * weights[kept])


# S8, 003 §3.5.3: batches


def test_batch_of_two_equal_inputs_is_two_by_six_by_two_and_equal():
    """Two equal inputs give a (2, 6, 2) batch of equal contexts (003 §3.5.3)."""
    torch.manual_seed(123)
    contexts = CausalAttention(3, 2, context_length=6, dropout=0.0)(BATCH)
    assert contexts.shape == (2, 6, 2)
    torch.testing.assert_close(contexts[0], contexts[1])


def test_causal_attention_is_the_first_head_of_the_printed_wrapper():
    """Seed 123 draws the same first head alone as within the wrapper (003 §3.6.1)."""
    torch.manual_seed(123)
    contexts = CausalAttention(3, 2, context_length=6, dropout=0.0)(BATCH)
    assert_prints_as(contexts[0], [row[:2] for row in WRAPPER_OF_WIDTH_2])


# S9, 003 §3.6.1 and 000: heads side by side


@pytest.mark.parametrize(
    ("d_out", "printed"), [(2, WRAPPER_OF_WIDTH_2), (1, WRAPPER_OF_WIDTH_1)], ids=["2", "1"]
)
def test_two_wrapped_heads_give_the_printed_contexts(d_out, printed):
    """Two heads of width 2 give 2x6x4, of width 1 2x6x2, as printed (003 exercise 3.2)."""
    torch.manual_seed(123)
    contexts = MultiHeadAttentionWrapper(3, d_out, 6, 0.0, num_heads=2)(BATCH)
    assert_prints_as(contexts, [printed, printed])


def test_three_wrapped_heads_of_width_two_give_six_columns():
    """The wrapper is as wide as its heads together: 3 times 2 is 6 (000)."""
    assert MultiHeadAttentionWrapper(3, 2, 6, 0.0, num_heads=3)(BATCH).shape == (2, 6, 6)


# S10, 003 §3.6.2 and 001: weight splits


@pytest.mark.parametrize("family", [MultiHeadAttention, FusedMultiHeadAttention])
def test_multi_head_attention_gives_the_printed_contexts(family):
    """Two heads in one product give the printed 2x6x2, fused or not (003 §3.6.2)."""
    torch.manual_seed(123)
    contexts = family(3, 2, 6, 0.0, num_heads=2)(BATCH)
    assert_prints_as(contexts, [MULTI_HEAD, MULTI_HEAD])


def test_batched_scores_of_two_heads_are_the_printed_ones():
    """One batched product scores both heads as printed (003 §3.6.2)."""
    a = torch.tensor(TWO_HEADS)
    assert_prints_as(F.dot_product_scores(a, a), TWO_HEADS_SCORES)


@pytest.mark.parametrize("head", [0, 1])
def test_batched_scores_equal_the_scores_of_each_head(head):
    """The batched product holds each head's own product (003 §3.6.2)."""
    a = torch.tensor(TWO_HEADS)
    alone = F.scores_by_loop(a[0, head], a[0, head])
    torch.testing.assert_close(F.dot_product_scores(a, a)[0, head], alone)
    assert_prints_as(alone, TWO_HEADS_SCORES[0][head])


def test_splitting_groups_the_printed_queries_by_head():
    """The printed (1, 3, 2, 3) queries become (1, 2, 3, 3), entry for entry (001 step 6)."""
    unrolled = torch.tensor(UNROLLED_QUERIES)  # (B, T, H, D)
    heads = F.split_heads(unrolled.reshape(1, 3, 6), num_heads=2)  # (B, H, T, D)
    assert heads.shape == (1, 2, 3, 3)
    for head in range(2):
        for token in range(3):
            assert torch.equal(heads[0, head, token], unrolled[0, token, head])


def test_merging_lays_the_printed_context_side_by_side():
    """Heads of the printed (1, 3, 2, 3) context merge into rows of six (001 step 10)."""
    unrolled = torch.tensor(UNROLLED_CONTEXT)  # (B, T, H, D)
    merged = F.merge_heads(unrolled.transpose(1, 2))  # (B, T, H * D)
    assert merged.shape == (1, 3, 6)
    first, second = UNROLLED_CONTEXT[0][0]
    assert torch.equal(merged[0, 0], torch.tensor(first + second))
    assert torch.equal(F.split_heads(merged, 2), unrolled.transpose(1, 2))


# S11, 003 exercise 3.3: the size of the smallest GPT-2


@pytest.mark.parametrize("family", [MultiHeadAttention, FusedMultiHeadAttention])
@pytest.mark.parametrize("num_tokens", [8, 1024])
def test_gpt2_size_has_the_printed_parameters_and_trains(family, num_tokens):
    """768 to 768 with 12 heads has 2,360,064 parameters; each receives a finite gradient."""
    module = family(768, 768, 1024, 0.0, num_heads=12)
    assert sum(p.numel() for p in module.parameters()) == 2_360_064
    contexts = module(torch.randn(1, num_tokens, 768))
    assert contexts.shape == (1, num_tokens, 768)
    contexts.square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in module.parameters())
