"""Any class in the manner of the sources is understood as it is, right or wrong."""

import numpy as np
import pytest
import torch

from properties import Subject
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.case import Case
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.adapters import adapters, argument_names, spellings
from properties.recognition.targets import find
from properties.subjects.subject import CAPABILITIES, Config
from properties.truth import oracle
from properties.truth.parameters import Sizes

pytestmark = pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")

RETYPINGS = {
    "MatrixAttention": "self",
    "TurnedMatrixAttention": "self",
    "SquareMatrixAttention": "self",
    "SquareTurnedAttention": "self",
    "TensorAttention": "self",
    "Head": "causal",
    "CausalAttn": "causal",
    "ReorderedAttention": "causal",
    "StackedAttention": "wrapper",
    "SizedHeadsAttention": "wrapper",
    "HeadsThenProjection": "multihead",
    "SplitAttention": "multihead",
    "FusedAttention": "multihead",
    "SwappedFusedAttention": "multihead",
    "HeadByHeadAttention": "multihead",
    "HeadsInColumnsAttention": "multihead",
    "WrappedLayersAttention": "multihead",
    "FusedAffineAttention": "multihead",
    "PlainListAttention": "multihead",
    "KeysFirstAttention": "multihead",
    "InnerWidthAttention": "multihead",
    "BackToInputAttention": "multihead",
    "HeadMatricesAttention": "multihead",
    "HeadTensorsAttention": "multihead",
    "HeadLayersAttention": "multihead",
    "RawBiasAttention": "multihead",
    "OuterAttention": "multihead",
    "FourWidthsAttention": "multihead",
    "BiasedAttention": "multihead",
    "DerivedHeadsAttention": "multihead",
    "BorrowedAttention": "multihead",
    "ColumnsAttention": "multihead",
    "InheritedAttention": "multihead",
    "Mixer": "self",
    "PlainAttention": "plain",
    "plain_attention": "plain",
    "kernel": "multihead",
    "open_kernel": "self",
    "make_attention": "multihead",
}
OURS = {
    "SimplifiedSelfAttention": "plain",
    "SelfAttention_v1": "self",
    "SelfAttention_v2": "self",
    "CausalAttention": "causal",
    "MultiHeadAttentionWrapper": "wrapper",
    "MultiHeadAttention": "multihead",
    "FusedMultiHeadAttention": "multihead",
}
TORCH = ("torch.nn:MultiheadAttention", "torch.nn.functional:scaled_dot_product_attention")
FAULTS = {
    "CausalWithoutMask": "causal",
    "CausalSeesOneAhead": "causal",
    "CausalHidesItself": "causal",
    "CausalDiscardsMask": "causal",
    "CausalRaises": "causal",
    "CausalTuple": "causal",
    "CausalArray": "causal",
    "MultiWithoutMask": "multihead",
    "MultiSplitsWrongly": "multihead",
    "MultiMergesWrongly": "multihead",
    "MultiOfWrongRank": "multihead",
    "MultiSwappedMatrices": "encoder",
    "WrapperOfOpenHeads": "wrapper",
    "WrapperSums": "wrapper",
}


def only(target: str, family: str | None = None) -> Subject:
    [subject] = find(target, family)
    return subject


@pytest.fixture
def data(request: pytest.FixtureRequest) -> str:
    return str(request.path.parent / "data")


def examples(subject: Subject) -> list[Case]:
    """Every coincidence of sizes, with and without bias."""
    dtype = subject.dtypes[0]
    return [
        make_case(subject, sizes, dtype, "ordinary", bias, 0.5, 1, seed)
        for seed, sizes in enumerate(pinned_sizes(subject))
        for bias in (False, True)
    ]


def require_agreement(subject: Subject) -> None:
    tolerance = {"float64": 1e-9, "float32": 1e-3}[subject.dtypes[0]]
    for case in examples(subject):
        assert case.known, subject.lacking
        np.testing.assert_allclose(case.run(), case.trace.output, rtol=tolerance, atol=tolerance)


def require_disagreement(subject: Subject) -> None:
    assert max(abs(case.run() - case.trace.output).max() for case in examples(subject)) > 1e-3


@pytest.mark.parametrize("name", RETYPINGS)
def test_a_retyping_with_our_weights_agrees_with_the_oracle(data: str, name: str) -> None:
    """Whatever the names, the order, the orientation: the weights land where they belong."""
    subject = only(f"{data}/retypings.py:{name}")
    assert subject.family == RETYPINGS[name]
    require_agreement(subject)


@pytest.mark.parametrize("name", OURS)
def test_the_reference_with_our_weights_agrees_with_the_oracle(name: str) -> None:
    """The six classes and the refactor are understood without an adapter, with nothing lost."""
    subject = only(f"attention:{name}")
    assert (subject.family, subject.notes) == (OURS[name], ())
    assert subject.dtypes == ("float64", "float32", "bfloat16", "float16")
    require_agreement(subject)


@pytest.mark.parametrize("target", TORCH)
def test_torchs_own_attention_with_our_weights_agrees_with_the_oracle(target: str) -> None:
    """The adapters put every weight in its place."""
    subject = only(target)
    assert subject.family == "multihead"
    require_agreement(subject)


@pytest.mark.parametrize("family", ["multihead", "encoder", "wrapper", "causal", "self"])
def test_a_function_of_queries_keys_and_values_serves_every_projected_family(family: str) -> None:
    """The shell around it is that of the family asked for."""
    require_agreement(only(TORCH[1], family))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_a_class_neither_its_family_nor_its_weights(data: str, name: str) -> None:
    """What it is meant to be counts, so that it is accused and not excused."""
    subject = only(f"{data}/faulty.py:{name}")
    assert subject.family == FAULTS[name]
    assert {"projections", "batched", "module"} <= subject.capabilities
    assert subject.dtypes


@pytest.mark.parametrize("name", ["CausalRaises", "CausalArray"])
def test_a_forward_that_gives_no_tensor_is_noted_and_asked_in_float32(data: str, name: str) -> None:
    """Some format has to be left, or the failure would not be seen."""
    subject = only(f"{data}/faulty.py:{name}")
    assert subject.dtypes == ("float32",)
    assert any("a trial run of forward failed" in note for note in subject.notes)


def test_turned_matrices_are_seen_through_wrong_mathematics(data: str) -> None:
    """Orientation is told by which column is alive, not by right results."""
    matched = only(f"{data}/faulty.py:MultiSwappedMatrices").matched
    assert matched["value"] == "w_v (transposed)"
    assert matched["out"] == "w_o"


def test_a_wrong_class_is_told_through_a_rare_layout(data: str) -> None:
    """How its matrices lie is found out all the same."""
    subject = only(f"{data}/retypings.py:UnscaledInColumnsAttention")
    assert "head after head in each column" in subject.matched["query"]
    require_disagreement(subject)


def test_a_wrong_class_is_told_through_matrices_and_biases_of_each_head(data: str) -> None:
    """None of them is left over."""
    subject = only(f"{data}/retypings.py:UnscaledHeadTensorsAttention")
    assert {"out", "query_bias", "out_bias"} <= subject.matched.keys()
    require_disagreement(subject)


def test_everything_matched_is_recorded(data: str) -> None:
    """What carries what can be printed, arguments and matrices."""
    assert dict(only(f"{data}/retypings.py:StackedAttention").matched) == {
        "d_in": "inp_dim",
        "d_out": "output_dim",
        "context_length": "max_len",
        "num_heads": "head_num",
        "dropout": "dropout_rate",
        "qkv_bias": "bias",
        "query": "attn_heads.*.Wq.weight (transposed)",
        "key": "attn_heads.*.Wk.weight (transposed)",
        "value": "attn_heads.*.Wv.weight (transposed)",
    }


def test_one_matrix_for_three_roles_is_recorded_with_its_layout(data: str) -> None:
    """The printed pairing names the part and how the rows are dealt out."""
    swapped = only(f"{data}/retypings.py:SwappedFusedAttention").matched
    assert swapped["query"] == "c_attn.weight (rows q of kqv, one role after the other)"
    by_head = only(f"{data}/retypings.py:HeadByHeadAttention").matched
    assert by_head["value"] == "qkv_proj.weight (rows v of qkv, head by head)"


def test_what_the_constructor_cannot_be_told_is_lacking_with_the_reason(data: str) -> None:
    """Absent arguments are capabilities, not errors."""
    subject = only(f"{data}/retypings.py:BiasedAttention")
    assert "called dropout / drop_rate" in subject.lacking["dropout"]
    assert "called context_length" in subject.lacking["context-length"]
    assert subject.lacking["rectangular"] == "one argument of the constructor is d_in and d_out"
    assert "always-biased" in subject.capabilities
    assert "argument device has no known meaning" not in " ".join(subject.notes)
    assert set(subject.unasked) == {"need_weights"}


def test_a_misspelt_argument_is_taken_for_its_neighbour_and_noted(data: str) -> None:
    """`droupout` can only be one thing."""
    notes = only(f"{data}/retypings.py:ReorderedAttention").notes
    assert "argument droupout is taken for dropout" in notes


def test_a_bias_argument_that_rules_the_output_too_is_always_true(data: str) -> None:
    """Then there is one kind of module to ask, and its biases are all loaded."""
    subject = only(f"{data}/retypings.py:FusedAttention")
    assert {"always-biased", "out-bias"} <= subject.capabilities
    assert "qkv-bias" not in subject.capabilities
    assert "also rules" in subject.lacking["qkv-bias"]


def test_output_dropout_is_switched_off(data: str) -> None:
    """Dropout elsewhere than on the weights would be blamed on the weights."""
    sizes = Sizes(batch=1, tokens=2, d_in=4, heads=2, head_dim=2, context_length=3)
    module = only(f"{data}/retypings.py:FusedAttention").build(Config(sizes, dropout=0.5), None)
    assert (module.attn_dropout.p, module.resid_dropout.p) == (0.5, 0.0)


def test_a_matrix_of_another_size_is_no_projection_and_says_so(data: str) -> None:
    """The clauses that need no weights are still asked; the message shows the way out."""
    subject = only(f"{data}/faulty.py:MultiKeepsOwnSizes")
    assert "projections" not in subject.capabilities
    reason = subject.lacking["projections"]
    assert "W_query.weight has the shape (6, 6), expected (8, 6)" in reason
    assert "class Mine(properties.Subject)" in reason


def test_matrices_without_a_name_are_no_projections(tmp_path: pytest.TempPathFactory) -> None:
    """fc1 says nothing; the parameters seen are listed, and an adapter is shown."""
    path = tmp_path / "unnamed.py"
    path.write_text(
        "from torch import nn\n"
        "class Attention(nn.Module):\n"
        "    def __init__(self, d_model, num_heads):\n"
        "        super().__init__()\n"
        "        self.fc1, self.fc2 = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)\n"
        "    def forward(self, x):\n"
        "        return self.fc2(self.fc1(x @ x.mT @ x))\n"
    )
    subject = only(str(path))
    assert "projections" not in subject.capabilities
    assert "Parameters seen: fc1.weight (8, 8), fc1.bias (8,)" in subject.lacking["projections"]
    assert '"query": module.QUERY' in subject.lacking["projections"]
    module = subject.build(Config(pinned_sizes(subject)[0]), None)
    assert isinstance(module, torch.nn.Module)


REFUSALS = {
    "AmbiguousAttention": "num_heads and n_head could each be num_heads",
    "ThreeWidthsAttention": "d_in and d_out and d_model could each be the width",
    "ConfigAttention": "reads cfg.expansion, which has no known meaning",
    "GlobalWidthAttention": "has no argument for the width of its input",
    "RaisingAttention": "raised RuntimeError: no memory for that (refused.py:",
    "CrossAttention": "needs 3 inputs: forward(x, key, step)",
    "CausalByMaskAttention": "hides the future only if forward is given mask",
    "FixedMaskAttention": "the size of its mask, which is always 6 x 6",
    "TwoQueriesAttention": "W_query and q_proj could each be the query projection",
    "FixedHeadsAttention": "has no argument for the number of heads",
    "WideHeadsAttention": "has no argument for the width of one head",
    "nothing": "nothing returned dict, expected a torch.nn.Module",
    "attention_with_matrices": "takes x itself, and W_q, W_k, W_v beside it",
    "kernel_with_a_plan": "requires plan besides query, key and value.",
    "kernel_with_matrices": "it projects them by matrices that it is handed.",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_asked_is_refused_with_the_way_out(data: str, name: str) -> None:
    """One message: what was wrong, what was expected, what to do."""
    with pytest.raises(QuestionError) as refused:
        find(f"{data}/refused.py:{name}")
    message = str(refused.value)
    assert REFUSALS[name] in message
    assert "Expected: " in message
    assert "What to do: " in message


def test_a_constructor_is_quoted_as_it_was_called(data: str) -> None:
    """The reader can repeat the call that raised."""
    with pytest.raises(QuestionError, match=r"RaisingAttention\(d_in=6, d_out=4\) raised"):
        find(f"{data}/refused.py:RaisingAttention")


@pytest.mark.parametrize("family", ["wrapper", "multihead"])
def test_a_single_head_cannot_be_asked_as_several(family: str) -> None:
    """--family overrides what is found, not what the constructor can do."""
    with pytest.raises(
        QuestionError, match=f"the number of heads, which the family {family} needs"
    ):
        find("attention:CausalAttention", family)


def test_an_override_decides_where_it_can() -> None:
    """A class with heads can be asked with one head, as causal or self."""
    require_agreement(only("attention:SelfAttention_v2", "self"))
    assert only("attention:CausalAttention", "self").family == "self"


def test_a_causal_switch_follows_the_family(data: str) -> None:
    """`causal=False` is what self needs, `causal=True` what causal needs."""
    require_agreement(only(f"{data}/retypings.py:Mixer", "causal"))
    require_agreement(only(f"{data}/retypings.py:Mixer", "self"))


@pytest.mark.parametrize("target", [*TORCH, "attention:MultiHeadAttention"])
def test_an_unknown_family_is_refused_with_the_choices(target: str) -> None:
    """The families are printed with their meaning."""
    with pytest.raises(QuestionError, match="no family 'decoder'") as refused:
        find(target, "decoder")
    assert "wrapper    causal heads side by side" in str(refused.value)


def test_torchs_module_is_multihead_only() -> None:
    """Its constructor has no other family in it."""
    with pytest.raises(QuestionError, match="belongs to the family multihead"):
        find(TORCH[0], "causal")


def test_building_is_reproducible_and_leaves_the_random_state_alone() -> None:
    """The config's seed decides the initial parameters, and nothing else is touched."""
    for target in ("attention:MultiHeadAttention", *TORCH):
        before = torch.random.get_rng_state()
        subject = only(target)
        config = Config(Sizes(2, 3, 8, 2, 4, 5), bias=True, seed=7)
        one, two = (dict(subject.build(config, None).state_dict()) for _ in range(2))
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert torch.equal(before, torch.random.get_rng_state())


def test_weights_are_rounded_once(data: str) -> None:
    """A module is in the dtype asked for before the weights are copied."""
    for target in (f"{data}/retypings.py:SplitAttention", *TORCH):
        subject = only(target)
        case = make_case(subject, pinned_sizes(subject)[0], "float64", "ordinary", True, 0.5, 0, 1)
        assert case.weights is not None
        case.weights.query[0, 0] = 0.1  # is no float32
        parameters = subject.build(case.config(), case.weights).parameters()
        assert any((p == 0.1).any() for p in parameters if p.dtype == torch.float64)


def test_a_matrix_that_changes_size_on_the_way_is_the_subjects_error(
    tmp_path: pytest.TempPathFactory,
) -> None:
    """At trial sizes all is well; later it is reported, not a broken copy."""
    path = tmp_path / "grows.py"
    path.write_text(
        "from torch import nn\n"
        "class GrowingAttention(nn.Module):\n"
        "    def __init__(self, d_in, d_out, num_heads):\n"
        "        super().__init__()\n"
        "        self.q = nn.Linear(d_in, d_out if d_out < 10 else d_out + 1)\n"
        "        self.k, self.v = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)\n"
        "    def forward(self, x):\n"
        "        return self.v(x)\n"
    )
    subject = only(str(path))
    case = make_case(subject, Sizes(1, 2, 3, 3, 4, 5), "float64", "ordinary", False, 0.5, 0, 0)
    with pytest.raises(SubjectError, match=r"q.weight has the shape \(13, 3\), expected \(12, 3\)"):
        subject.build(case.config(), case.weights)


def test_spellings_are_of_one_role_each() -> None:
    """A spelling listed under two roles would be decided by the order of a table."""
    listed = [
        spelling.replace("_", "")
        for text in argument_names.ARGUMENTS.values()
        for spelling in text.split()
    ]
    assert sorted(listed) == sorted(set(listed))


@pytest.mark.parametrize(
    ("role", "names"),
    {
        "query": "W_query Wq w_q query q_proj queries to_q q_linear query_projection fc_Q w_qs Q",
        "key": "W_key wk keys to_k key_layer k linear_keys K_proj",
        "value": "W_value V values v_proj value_projs w_vs val",
        "out": "out_proj proj_out W_o wo fc_out output out to_out o_proj unifyheads W0",
        "projection": "proj c_proj dense linear fc projection head_proj",
        None: "dropout mask norm scale attn_drop heads tril bias ln1 relu conv embedding pos",
    }.items(),
)
def test_matrices_are_known_by_their_public_names(role: str | None, names: str) -> None:
    """The names of public code mean what they mean there, and no others do."""
    assert {name: spellings.parameter_role(name) for name in names.split()} == dict.fromkeys(
        names.split(), role
    )


@pytest.mark.parametrize(
    ("order", "names"),
    {
        "qkv": "qkv Wqkv c_attn in_proj to_qkv qkv_proj query_key_value W_pack in_proj_weight",
        "kqv": "kqv W_kqv",
        "kv": "kv to_kv key_value",
        "": "q keys W_value out_proj dropout",
    }.items(),
)
def test_shared_matrices_are_known_with_the_order_of_their_parts(order: str, names: str) -> None:
    """The letters of the name are the order that is tried first."""
    assert {spellings.fused_order(name) for name in names.split()} == {order}


def test_adapters_are_found_without_a_list() -> None:
    """Each names the objects that it serves by their import path."""
    found = {adapter.__name__.rpartition(".")[2] for adapter in adapters()}
    assert {"torch_multihead", "torch_sdpa"} <= found


def test_only_known_capabilities_are_claimed_or_lacking(data: str) -> None:
    """A capability that no clause knows would choose nothing."""
    subjects = [*find("attention"), *(only(target) for target in TORCH)]
    subjects += [only(f"{data}/retypings.py:{name}") for name in RETYPINGS]
    for subject in subjects:
        assert set(subject.capabilities) <= set(CAPABILITIES)
        assert set(subject.lacking) <= set(CAPABILITIES) - set(subject.capabilities)


def test_the_plain_family_needs_no_oracle_weights() -> None:
    """Queries, keys and values are the input itself."""
    x = np.arange(12.0).reshape(1, 3, 4) / 7
    expected = oracle.attention(x, None, causal=False, scaled=False).output
    module = only("attention:SimplifiedSelfAttention").build(Config(Sizes(1, 3, 4, 1, 4, 3)), None)
    np.testing.assert_allclose(module(torch.tensor(x)).numpy(), expected, rtol=1e-12)
