"""How public code spells what the sources call d_in, W_query and so on.

Names are compared without case and underscores, in any order.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache

# "embed" is d_in and d_out in one; "value_dim" and "query_dim" are for classes that tell d_q, d_k
# and d_v apart; "kv_heads" are heads of keys and values, or the readers of each; "max_batch" is how many
# items there is room for; "latent" is the width of what keys and values are made of, and "query_latent"
# of what queries are; the last four are known, but not ours to vary.
ARGUMENTS = {
    "d_in": """d_in dim_in in_dim d_input dim_input input_dim inp_dim input_size inp_size in_size
        in_features input_features num_input_features n_input_features in_channels input_channels
        input_dimension in_dimension input_width input_embedding_dim n_in in_embd in_embed d_inp
        embed_dim_in embd_in input_embed_dim input_d dim_inp d_x feature_dim input_emb_dim d_int""",
    "d_out": """d_out dim_out out_dim d_output dim_output output_dim outp_dim output_size out_size
        out_features output_features num_output_features n_output_features out_channels
        output_channels output_dimension out_dimension output_width n_out context_dim
        context_vector_dim context_vec_dim d_context attn_dim attention_dim d_attn d_attention
        proj_dim projection_dim projected_dim d_proj inner_dim out_embd out_embed output_embed_dim
        embed_dim_out embd_out d_outp output_d dim_outp output_emb_dim qkv_dim dim_qkv d_qkv
        qkv_features""",
    "embed": """embed_dim embedding_dim emb_dim embd_dim embed_dims emb_dims embedding_dims d_model
        dim_model model_dim model_dims d_embed d_embd d_emb d_embedding n_embd n_embed n_emb
        n_embedding n_model n_state num_embd num_embed num_embeds num_embedding num_embeddings hidden_size
        hidden_dim hidden_dims hid_dim d_hidden n_hidden hidden_units num_hiddens dim d dims n_dim n_dims
        emb_size embed_size embd_size embedding_size model_size emb embed embd embedding embeding
        channels n_channels width model_width d_mod dmodels embedding_dimension
        embed_dimension model_dimension embeddings_dim embeddings_size c hidden features
        n_features num_features nx cin embed_length embedding_length residual_dim d_residual token_dim
        hidden_dimension hidden_features hidden_channels feature_size model_channels transformer_dim
        n_units units""",
    "head_dim": """head_dim head_dims head_size dim_head d_head size_per_head head_dimension
        head_embed_dim head_emb_dim dim_per_head d_per_head head_width head_sz hs hd d_k dim_k
        d_key key_dim key_size d_kq d_qk dim_qk qk_dim d_out_kq d_out_qk head_embd head_emb_size
        head_embed_size attention_head_size attn_head_size size_head heads_dim per_head_dim
        head_hidden_dim head_d n_head_dim head_features head_channels kv_channels attention_head_dim
        attn_head_dim kv_head_dim query_key_dim key_dimension dim_heads channels_per_head
        num_head_channels per_head_size size_of_head qk_channels""",
    "value_dim": "d_v dim_v d_value value_dim value_size d_out_v v_dim",
    "query_dim": "d_q dim_q d_query query_dim query_size q_dim",
    "rotary_dim": """rotary_dim rotary_dims rotary_ndims rope_dim rope_dims rot_dim n_rot rotary_size
        rotary_emb_dim rotary_embed_dim rotary_embedding_dim""",
    "num_heads": """num_heads n_heads n_head num_head head_num heads_num heads h nh
        num_h number_of_heads number_heads no_of_heads num_of_heads head_count heads_count
        num_attention_heads n_attention_heads attention_heads attn_heads num_attn_heads
        n_attn_heads nb_heads nb_head no_heads count_heads head_number heads_number total_heads
        num_attention_head num_query_heads n_q_heads num_q_heads multi_heads multihead head
        n_head_q n_heads_q num_heads_q num_head_q n_q_head q_heads query_heads n_query_heads head_cnt
        num_self_attention_heads attn_num_heads attention_num_heads n_attn_head num_att_heads
        n_att_heads attention_head_count""",
    "kv_heads": """num_kv_heads n_kv_heads kv_heads num_key_value_heads n_kv_head num_kv_groups
        kv_head n_kv num_kv n_kv_groups kv_groups num_query_groups n_query_groups n_head_kv n_heads_kv
        num_head_kv num_heads_kv num_kv_head kv_n_heads kv_num_heads multi_query_group_num
        num_kv_attention_heads num_key_value_head key_value_heads attention_head_count_kv""",
    "context_length": """context_length context_len ctx_len ctx_length cntx_len con_len ctxt_len
        context_size ctx_size context_window ctx_window block_size block_len max_len max_length
        max_size max_seq_len max_seq_length max_sequence_length max_sequence_len seq_len
        seq_length sequence_length sequence_len sequence_size seq_size max_context
        max_context_length max_context_len max_ctx max_ctx_len max_tokens max_num_tokens num_tokens
        n_tokens max_token_length token_length n_ctx ctx context max_position_embeddings
        max_positions n_positions num_positions max_pos max_block_size t t_max max_t n_context
        window_length max_seq seq sentence_length max_sentence_length input_length tokens
        max_input_length max_target_len max_position max_position_embedding max_num_positions
        max_target_positions max_source_positions max_target_length max_n_tokens n_seq num_ctx
        model_max_length text_len""",
    "dropout": """dropout drop_rate dropout_rate rate_dropout dropout_p p_dropout dropout_prob
        dropout_probability attn_dropout attention_dropout attn_drop att_drop att_dropout drop p
        p_drop drop_p drop_prob attn_pdrop attn_drop_rate
        attn_dropout_rate attention_dropout_rate attn_dropout_p attn_dropout_prob
        attention_dropout_prob attention_probs_dropout_prob dropout_ratio dropout_percentage
        dropout_value dropout_factor dropout_attn dropout_attention dropping_rate dropout_frac
        attention_softmax_dropout attention_dropout_p attention_drop_prob attn_drop_prob attn_p
        att_pdrop att_drop_rate self_attn_dropout attention_dropout_ratio attn_dropout_ratio""",
    "output_dropout": """resid_dropout residual_dropout resid_pdrop resid_drop proj_drop
        proj_dropout out_dropout output_dropout out_drop resid_dropout_rate resid_drop_rate
        proj_drop_rate residual_dropout_rate resid_p residual_drop dropout_resid dropout_proj""",
    "qkv_bias": """qkv_bias kqv_bias qvk_bias vkq_bias bias use_bias add_bias has_bias with_bias
        bias_qkv bias_kqv is_bias linear_bias attn_bias attention_bias use_qkv_bias
        add_qkv_bias enable_bias include_bias kv_bias query_bias key_bias value_bias q_bias k_bias v_bias
        bias_flag bias_enabled proj_qkv_bias qkv_has_bias in_bias in_proj_bias projection_bias
        allow_bias with_qkv_bias has_qkv_bias use_attention_bias add_bias_qkv""",
    "causal": """causal is_causal causal_mask use_causal_mask apply_causal_mask masked is_masked
        autoregressive use_causal apply_mask use_mask unidirectional masking""",
    "divisor": "query_pre_attn_scalar",
    "latent": """kv_latent_dim latent_dim dim_latent d_latent latent_size kv_lora_rank kv_latent
        kv_latent_size d_c d_kv_latent kv_compression_dim d_compressed compressed_dim compression_dim d_ckv
        kv_compressed_dim d_latent_kv kv_rank""",
    "query_latent": """q_lora_rank q_latent_dim query_latent_dim d_cq q_compression_dim q_compressed_dim
        d_q_latent d_latent_q q_rank""",
    "max_batch": "max_batch_size max_batch max_bs",
    "device": "device dev",
    "batch_first": "batch_first",
    "layer": "layer_idx layer_id layer_index block_idx block_id layer_number",
}
ROLE_OF = {
    spelling.replace("_", ""): role
    for role, spellings in ARGUMENTS.items()
    for spelling in spellings.split()
}

# Of a class whose forward takes a context: the width of that.
CONTEXT_WIDTHS = """d_context context_dim dim_context context_width context_features context_embed_dim
    context_emb_dim context_channels d_cond cond_dim d_cross cross_dim cross_attention_dim
    cross_attn_dim cross_embed_dim dim_cross kv_dim dim_kv d_kv kdim key_value_dim d_encoder encoder_dim
    d_enc enc_dim dim_encoder encoder_hidden_size encoder_hidden_dim encoder_embed_dim d_memory
    memory_dim mem_dim d_mem source_dim d_source text_dim text_embed_dim d_text context_in_dim
    d_in_context d_in_kv kv_in_dim"""

CAP = "a bound on the scores"
WINDOW = "how far back a query sees"
NARROW = "by how much heads are narrower than tokens"

# What attention may be told besides: arguments that are known, and not asked about.
MEANINGS = {
    "how many of the first tokens all may see": r"^prefix_?len(gth)?s?$",
    "how long the longest document is": r"^max_?seq_?lens?(_[qk]v?)?$",
    "which keys are padding": r"padding|pad_mask|lengths?$|lens?$|cu_?seq|ragged|nested",
    "which keys a query sees": r"mask",
    "which segment each token is in": r"^(segment|seq|sequence|doc|document)_?ids?$",
    "whether the future is hidden": r"causal",
    "keys and values of earlier tokens": r"cache|past|prefix|state$|start_pos|offset",
    "other tokens to attend to": (
        r"context$|encoder|cross|memor|^(key|value|query|kv|k|v|q|y|z|source|ctx|cond)s?$"
    ),
    "whether the weights are returned, too": r"(need|return|output|average|with)_?\w*(weight|att)",
    "what the scores are multiplied by": r"scal|temperature|^tau$",
    "fewer heads of keys than of queries": r"gqa|kv_heads|kv_head$|kv_groups|query_groups|mqa",
    "positions": r"rope|rotary|rotat|freqs|^(cos|sin)$|alibi|position|^pos|_pos$|\bpe$|rel_?pos|theta",
    "numbers added to the scores": r"(attn|attention|score|rel|logit)s?_?bias",
    WINDOW: r"window|sliding|local",
    CAP: r"soft_?cap|logit.*cap|clip|clamp",
    NARROW: r"(down_?sampl\w*|reduction|squeeze|bottleneck)_?(rate|ratio|factor)",
    "a norm of queries and keys": r"qk_?norm|norm",
    "an entry added to keys and values": r"add_zero|bias_kv|sink|null_kv",
    "which kernel computes it": r"flash|fused|sdpa|kernel|backend|implementation|_impl$|efficient",
}


@cache
def meaning(name: str) -> str:
    """What attention calls by an argument's name that no role of ours has; "" for nothing known."""
    plain = name.lower()
    return next((text for text, known in MEANINGS.items() if re.search(known, plain)), "")


@cache
def is_context_width(name: str) -> bool:
    """Whether an argument of such a class is called like the width of a context."""
    return normalise(name) in normalise(CONTEXT_WIDTHS).split()


# A matrix of heads by heads, which mixes their scores or weights.
MIXING = r"(^|[._])(mix_?heads?|talk(ing)?_?heads?|re_?att(entio)?n_?weights?)"
INPUT = re.compile(
    r"(x|xs|inp|inputs?|input_?(tensor|seq|sequence|vectors|embeddings|embeds|data|tokens)|embeds|"
    r"embeddings|tokens?|token_?embeddings|seq|sequence|hidden_?states?|batch|tensor|vectors|src|"
    r"words?|data)",
    re.IGNORECASE,
)
MASK = re.compile(r"mask|causal", re.IGNORECASE)


def normalise(name: str) -> str:
    """The name without underscores, in lower case."""
    return name.replace("_", "").lower()


@cache
def argument_role(name: str) -> str | None:
    """What an argument called `name` stands for, a key of `ARGUMENTS`, or None."""
    return ROLE_OF.get(normalise(name))


def misspelt_role(name: str) -> str | None:
    """What `name` may stand for if one letter or two are wrong in it ("droupout"), or None."""
    if len(name) < 6:  # short names resemble too much
        return None
    near = get_close_matches(normalise(name), ROLE_OF, n=3, cutoff=0.88)
    roles = {ROLE_OF[spelling] for spelling in near}
    return roles.pop() if len(roles) == 1 else None


# A parameter's name is a core (query, q, queries) among words that say that it is a matrix.
AFFIX = (
    r"(?:w|weights?|proj(?:ection|ector)?s?|lin(?:ear)?s?|layers?|to|fcs?|mat(?:rix|rices)?|dense|"
    r"attn|attention|att|self|trainable|learned|c|l|map(?:ping)?|net|nn|params?|parameters?|"
    r"transform(?:ation)?|embed(?:ding)?s?|heads?|multihead|in|for|all|vec(?:tor)?s?|tensors?|states?)*"
)
CORES = {
    "query": r"(?:q|qs|qry|quer(?:y|ys|ies))",
    "key": r"(?:k|ks|keys?)",
    "value": r"(?:v|vs|vals?|values?)",
    "out": r"(?:o|outs?|outputs?|final|merge[dr]?|combine[dr]?|unify|concat|mix(?:er)?|result|"
    r"context|ctx)",
}
PARAMETERS = {role: re.compile(AFFIX + core + AFFIX) for role, core in CORES.items()}
PARAMETERS["out"] = re.compile(AFFIX + CORES["out"] + AFFIX + "|w0")
PROJECTION = re.compile(
    r"(?:c|w|heads?|layer|linear|last|fc|attn|attention)*"
    r"(?:proj(?:ection)?|linear|lin|fc|dense)(?:layer|weight)?"
)
LETTER = {"query": "q", "key": "k", "value": "v"}
PART = "|".join(CORES[role] for role in LETTER)
FUSED = re.compile(f"{AFFIX}((?:{PART}){{2,3}}){AFFIX}")
FUSED_NAMES = {"cattn", "inproj", "inprojweight", "inprojection", "attn", "wpack", "combinedproj"}


LETTERS = r"(qkv|kv|q|k|v|quer(?:y|ies)|keys?|values?)"
BEHIND = r"(?:proj(?:ection)?|linear|layer)*(?:withmqa)?"
DOWN = re.compile(
    rf"(?:w|to)?(?:d|down|compress){LETTERS}{BEHIND}|w?{LETTERS}(?:down|compress|latent|a(?=proj)){BEHIND}|"
    rf"(?:w|to)?(?:down|latent){BEHIND}"
)
UP = re.compile(
    rf"(?:w|to)?(?:u|up|decompress){LETTERS}{BEHIND}|w?{LETTERS}(?:up|decompress|b(?=proj)){BEHIND}"
)


def letters_in(pattern: re.Pattern[str], name: str, otherwise: str = "") -> str:
    """Which of q, k and v a name of such a layer says; "" for another name."""
    found = pattern.fullmatch(normalise(name))
    if found is None:
        return ""
    said = next(filter(None, found.groups()), otherwise)
    return said if set(said) <= set("qkv") else said[0]


@cache
def latent_of(name: str) -> str:
    """Which of q, k and v are made of the latent that a layer of this name makes: "kv" for `W_dkv`."""
    return letters_in(DOWN, name, "kv")


@cache
def made_of_latent(name: str) -> str:
    """Which of q, k and v a layer of this name makes of a latent: "k" for `W_uk`."""
    return letters_in(UP, name)


@cache
def parameter_role(name: str) -> str | None:
    """Which matrix `name` names: query, key, value or out; projection if it may be out; or None."""
    plain = normalise(name)
    if re.match(MIXING, plain):
        return None
    if role := next((r for r, letter in LETTER.items() if letter == made_of_latent(name)), ""):
        return role
    for role, pattern in PARAMETERS.items():
        if pattern.fullmatch(plain):
            return role
    return "projection" if PROJECTION.fullmatch(plain) else None


@cache
def bias_role(name: str) -> str | None:
    """Which matrix's bias `name` names ("b_q", "query_bias"), or None."""
    plain = normalise(name)
    rest = plain.replace("bias", "", 1) if "bias" in plain else plain.removeprefix("b")
    return parameter_role(rest) if rest != plain else None


@cache
def fused_order(name: str) -> str:
    """The order of the parts in one matrix for several: "kv" for `to_kv`; "" if it is not one."""
    plain = normalise(name).removesuffix("bias")
    if plain in FUSED_NAMES:
        return "qkv"
    if len(made_of_latent(plain)) > 1:
        return made_of_latent(plain)
    found = FUSED.fullmatch(plain)
    if found is None:
        return ""
    letters = "".join(part[0] for part in re.findall(PART, found[1]))
    return letters if len(set(letters)) == len(letters) else ""
