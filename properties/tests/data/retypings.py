"""Right attention in many hands: other names, other orders, other ways to keep the matrices."""

import math

import torch
from torch import nn
from torch.nn.functional import dropout as drop_some
from torch.nn.functional import linear


def mix(query, key, value, hide=True, drop=None):
    """Scaled attention over the last two axes."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if hide:
        tokens = scores.shape[-1]
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), float("-inf"))
    weights = scores.softmax(-1)
    return (drop(weights) if drop else weights) @ value


def apart(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def together(x):
    return x.transpose(1, 2).flatten(2)


class Doc(nn.Module):
    """Not attention."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size, size)


class MatrixAttention(nn.Module):
    def __init__(self, dim_in, dim_out):
        super().__init__()
        self.W_q = nn.Parameter(torch.rand(dim_in, dim_out))
        self.W_k = nn.Parameter(torch.rand(dim_in, dim_out))
        self.W_v = nn.Parameter(torch.rand(dim_in, dim_out))

    def forward(self, x):
        q, k, v = x @ self.W_q, x @ self.W_k, x @ self.W_v
        return torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1) @ v


class TurnedMatrixAttention(nn.Module):
    def __init__(self, output_dim, input_dim):
        super().__init__()
        self.wq = nn.Parameter(torch.rand(output_dim, input_dim))
        self.wk = nn.Parameter(torch.rand(output_dim, input_dim))
        self.wv = nn.Parameter(torch.rand(output_dim, input_dim))

    def forward(self, x):
        return mix(linear(x, self.wq), linear(x, self.wk), linear(x, self.wv), hide=False)


class SquareMatrixAttention(nn.Module):
    def __init__(self, embed_dim):
        super().__init__()
        self.query = nn.Parameter(torch.randn(embed_dim, embed_dim))
        self.key = nn.Parameter(torch.randn(embed_dim, embed_dim))
        self.value = nn.Parameter(torch.randn(embed_dim, embed_dim))

    def forward(self, x):
        return mix(x @ self.query, x @ self.key, x @ self.value, hide=False)


class SquareTurnedAttention(SquareMatrixAttention):
    def forward(self, x):
        return mix(x @ self.query.T, x @ self.key.T, x @ self.value.T, hide=False)


class TensorAttention(nn.Module):
    """Its matrices are no parameters; they can be set all the same."""

    def __init__(self, d_in, d_out):
        super().__init__()
        self.W_query = torch.rand(d_in, d_out)
        self.W_key = torch.rand(d_in, d_out)
        self.W_value = torch.rand(d_in, d_out)

    def forward(self, x):
        return mix(x @ self.W_query, x @ self.W_key, x @ self.W_value, hide=False)


class Head(nn.Module):
    def __init__(self, n_embd, head_size, block_size, dropout=0.0):
        super().__init__()
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        tokens = x.shape[1]
        scores = self.query(x) @ self.key(x).transpose(1, 2) * self.key.out_features**-0.5
        hidden = self.tril[:tokens, :tokens] == 0
        return self.drop(scores.masked_fill(hidden, float("-inf")).softmax(-1)) @ self.value(x)


class CausalAttn(nn.Module):
    def __init__(self, din, dout, ctx_len, drop_rate, kqv_bias=False):
        super().__init__()
        self.Wq = nn.Linear(din, dout, bias=kqv_bias)
        self.Wk = nn.Linear(din, dout, bias=kqv_bias)
        self.Wv = nn.Linear(din, dout, bias=kqv_bias)
        self.dropout = nn.Dropout(drop_rate)
        self.register_buffer("mask", torch.triu(torch.ones(ctx_len, ctx_len), diagonal=1))

    def forward(self, x):
        n = x.shape[1]
        scores = self.Wq(x) @ self.Wk(x).transpose(1, 2)
        scores.masked_fill_(self.mask.bool()[:n, :n], -torch.inf)
        weights = torch.softmax(scores / self.Wk(x).shape[-1] ** 0.5, dim=-1)
        return self.dropout(weights) @ self.Wv(x)


class ReorderedAttention(nn.Module):
    def __init__(self, context_len, droupout, context_dim, inp_dim):
        super().__init__()
        self.queries = nn.Linear(inp_dim, context_dim, bias=False)
        self.keys = nn.Linear(inp_dim, context_dim, bias=False)
        self.values = nn.Linear(inp_dim, context_dim, bias=False)
        self.drop = nn.Dropout(droupout)

    def forward(self, inputs):
        return mix(self.queries(inputs), self.keys(inputs), self.values(inputs), drop=self.drop)


class StackedAttention(nn.Module):
    def __init__(self, inp_dim, output_dim, max_len, head_num, dropout_rate, bias=False):
        super().__init__()
        self.attn_heads = nn.ModuleList(
            CausalAttn(inp_dim, output_dim, max_len, dropout_rate, bias) for _ in range(head_num)
        )

    def forward(self, x):
        return torch.cat([head(x) for head in self.attn_heads], dim=-1)


class SizedHeadsAttention(nn.Module):
    """Heads side by side; their width is an argument of its own."""

    def __init__(self, d_in, num_heads, head_dim):
        super().__init__()
        self.heads = nn.ModuleList(Head(d_in, head_dim, 256) for _ in range(num_heads))

    def forward(self, x):
        return torch.cat([head(x) for head in self.heads], dim=-1)


class HeadsThenProjection(nn.Module):
    def __init__(self, n_embd, n_head, block_size):
        super().__init__()
        self.heads = nn.ModuleList(
            Head(n_embd, n_embd // n_head, block_size) for _ in range(n_head)
        )
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class SplitAttention(nn.Module):
    def __init__(self, heads, dropout_p, CONTEXT_LEN, outputDim, inputDim, use_bias=True):
        super().__init__()
        assert outputDim % heads == 0
        self.heads = heads
        self.q_proj = nn.Linear(inputDim, outputDim, bias=use_bias)
        self.k_proj = nn.Linear(inputDim, outputDim, bias=use_bias)
        self.v_proj = nn.Linear(inputDim, outputDim, bias=use_bias)
        self.o_proj = nn.Linear(outputDim, outputDim, bias=False)
        self.attn_dropout = nn.Dropout(dropout_p)

    def forward(self, x):
        q, k, v = (apart(layer(x), self.heads) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(together(mix(q, k, v, drop=self.attn_dropout)))


class FusedAttention(nn.Module):
    """One layer for all three; the bias argument rules the output projection too."""

    def __init__(self, n_embd, n_head, block_size, dropout=0.1, resid_dropout=0.1, bias=True):
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.attn_dropout, self.resid_dropout = nn.Dropout(dropout), nn.Dropout(resid_dropout)
        ones = torch.ones(block_size, block_size)
        self.register_buffer("bias", torch.tril(ones).view(1, 1, block_size, block_size))

    def forward(self, x):
        q, k, v = (apart(part, self.n_head) for part in self.c_attn(x).chunk(3, dim=-1))
        return self.resid_dropout(self.c_proj(together(mix(q, k, v, drop=self.attn_dropout))))


class SwappedFusedAttention(FusedAttention):
    """The name says query, key, value; the code takes the keys first."""

    def forward(self, x):
        k, q, v = (apart(part, self.n_head) for part in self.c_attn(x).chunk(3, dim=-1))
        return self.c_proj(together(mix(q, k, v, drop=self.attn_dropout)))


class HeadByHeadAttention(nn.Module):
    def __init__(self, input_size, embed_dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(input_size, 3 * embed_dim)
        self.o_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x):
        q, k, v = apart(self.qkv_proj(x), self.num_heads).chunk(3, dim=-1)
        return self.o_proj(together(mix(q, k, v)))


class HeadsInColumnsAttention(HeadByHeadAttention):
    """The rows of one column lie together, and in these those of one role."""

    def forward(self, x):
        parts = self.qkv_proj(x).unflatten(-1, (-1, 3, self.num_heads)).permute(3, 0, 4, 1, 2)
        return self.o_proj(together(self.mixed(*parts)))

    def mixed(self, q, k, v):
        return mix(q, k, v)


class UnscaledInColumnsAttention(HeadsInColumnsAttention):
    """Wrong: no scale."""

    def mixed(self, q, k, v):
        return mix(q * q.shape[-1] ** 0.5, k, v)


class Affine(nn.Module):
    """A layer inside of a module of one's own, its matrix (in, out)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return torch.addmm(self.bias, x.flatten(0, -2), self.weight).view(*x.shape[:-1], -1)


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class WrappedLayersAttention(nn.Module):
    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key = Wrapped(nn.Linear(d_in, d_out)), Wrapped(nn.Linear(d_in, d_out))
        self.value, self.out = Wrapped(Affine(d_in, d_out)), Wrapped(Affine(d_out, d_out))

    def forward(self, x):
        q, k, v = (apart(layer(x), self.num_heads) for layer in (self.query, self.key, self.value))
        return self.out(together(mix(q, k, v)))


class FusedAffineAttention(nn.Module):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.c_attn, self.c_proj = Affine(d_model, 3 * d_model), Affine(d_model, d_model)

    def forward(self, x):
        q, k, v = (apart(part, self.num_heads) for part in self.c_attn(x).chunk(3, dim=-1))
        return self.c_proj(together(mix(q, k, v)))


class PlainListAttention(nn.Module):
    """Its heads are in no ModuleList, so they stay in the format in which they are made."""

    def __init__(self, n_embd, n_head, block_size):
        super().__init__()
        self.heads = [Head(n_embd, n_embd // n_head, block_size) for _ in range(n_head)]
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x):
        return self.proj(torch.cat([head.eval()(x) for head in self.heads], dim=-1))


class KeysFirstAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.kqv = nn.Linear(d_model, 3 * d_model, bias=False)

    def forward(self, x):
        k, q, v = (apart(part, self.n_heads) for part in self.kqv(x).chunk(3, dim=-1))
        return together(mix(q, k, v))


class InnerWidthAttention(nn.Module):
    def __init__(self, dim, heads=8, dim_head=64):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(0.0))

    def forward(self, x):
        k, v = self.to_kv(x).chunk(2, dim=-1)
        parts = (apart(part, self.heads) for part in (self.to_q(x), k, v))
        return self.to_out(together(mix(*parts)))


class BackToInputAttention(nn.Module):
    """The output projection leads back to d_in."""

    def __init__(self, d_in, num_heads, head_dim):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(d_in, num_heads * head_dim)
        self.k = nn.Linear(d_in, num_heads * head_dim)
        self.v = nn.Linear(d_in, num_heads * head_dim)
        self.o = nn.Linear(num_heads * head_dim, d_in)

    def forward(self, x):
        parts = (apart(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        return self.o(together(mix(*parts)))


class HeadMatricesAttention(nn.Module):
    """A matrix for each head in one tensor, a raw output matrix."""

    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        shape = (num_heads, d_in, d_out // num_heads)
        self.W_query = nn.Parameter(torch.randn(shape))
        self.W_key = nn.Parameter(torch.randn(shape))
        self.W_value = nn.Parameter(torch.randn(shape))
        self.W_O = nn.Parameter(torch.randn(d_out, d_out))

    def forward(self, x):
        x = x[:, None]
        return together(mix(x @ self.W_query, x @ self.W_key, x @ self.W_value)) @ self.W_O


class HeadTensorsAttention(nn.Module):
    """Each head has its own matrices and biases, that of the output too, as interpretability keeps them."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        d_head = d_model // n_heads
        self.W_Q, self.W_K, self.W_V = (
            nn.Parameter(torch.randn(n_heads, d_model, d_head)) for _ in range(3)
        )
        self.b_Q, self.b_K, self.b_V = (
            nn.Parameter(torch.randn(n_heads, d_head)) for _ in range(3)
        )
        self.W_O = nn.Parameter(torch.randn(n_heads, d_head, d_model))
        self.b_O = nn.Parameter(torch.randn(d_model))

    def forward(self, normalized_resid_pre):
        q, k, v = (
            torch.einsum("btd,hde->bhte", normalized_resid_pre, weight) + bias[:, None]
            for weight, bias in ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V))
        )
        return torch.einsum("bhte,hed->btd", self.mixed(q, k, v), self.W_O) + self.b_O

    def mixed(self, q, k, v):
        return mix(q, k, v)


class UnscaledHeadTensorsAttention(HeadTensorsAttention):
    def mixed(self, q, k, v):
        return mix(q * q.shape[-1] ** 0.5, k, v)


class HeadLayersAttention(nn.Module):
    """A layer for each head in three lists, a raw output matrix that is applied turned."""

    def __init__(self, d_in, d_out, num_heads):
        super().__init__()

        def layers():
            return nn.ModuleList(
                nn.Linear(d_in, d_out // num_heads, bias=False) for _ in range(num_heads)
            )

        self.query_heads, self.key_heads, self.value_heads = layers(), layers(), layers()
        self.w_o = nn.Parameter(torch.randn(d_out, d_out))

    def forward(self, x):
        lists = zip(self.query_heads, self.key_heads, self.value_heads, strict=True)
        context = torch.cat([mix(q(x), k(x), v(x)) for q, k, v in lists], dim=-1)
        return context @ self.w_o.T


class RawBiasAttention(nn.Module):
    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        self.num_heads = num_heads
        for letter in "qkv":
            self.register_parameter(f"w_{letter}", nn.Parameter(torch.randn(d_in, d_out)))
            self.register_parameter(f"b_{letter}", nn.Parameter(torch.randn(d_out)))

    def forward(self, x):
        q, k, v = x @ self.w_q + self.b_q, x @ self.w_k + self.b_k, x @ self.w_v + self.b_v
        return together(mix(*(apart(part, self.num_heads) for part in (q, k, v))))


class OuterAttention(nn.Module):
    """The work is done one level down."""

    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        self.inner = RawBiasAttention(d_in, d_out, num_heads)
        self.fc_out = nn.Linear(d_out, d_out)

    def forward(self, x):
        return self.fc_out(self.inner(x))


class FourWidthsAttention(nn.Module):
    def __init__(self, d_model, num_heads, d_k, d_v):
        super().__init__()
        self.num_heads = num_heads
        self.WQ = nn.Linear(d_model, d_k * num_heads, bias=False)
        self.WK = nn.Linear(d_model, d_k * num_heads, bias=False)
        self.WV = nn.Linear(d_model, d_v * num_heads, bias=False)
        self.WO = nn.Linear(d_v * num_heads, d_model, bias=False)

    def forward(self, x):
        parts = (apart(layer(x), self.num_heads) for layer in (self.WQ, self.WK, self.WV))
        return self.WO(together(mix(*parts)))


class BiasedAttention(nn.Module):
    def __init__(self, embed_size, nheads, device=None):
        super().__init__()
        self.nheads = nheads
        self.values = nn.Linear(embed_size, embed_size)
        self.keys = nn.Linear(embed_size, embed_size)
        self.queries = nn.Linear(embed_size, embed_size)
        self.something = nn.Linear(embed_size, embed_size)

    def forward(self, x, need_weights=False):
        parts = (apart(layer(x), self.nheads) for layer in (self.queries, self.keys, self.values))
        return self.something(together(mix(*parts)))


class DerivedHeadsAttention(nn.Module):
    """The number of heads follows from the widths."""

    def __init__(self, d_model, head_dim):
        super().__init__()
        self.heads = d_model // head_dim
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        parts = (apart(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return together(mix(*parts))


class BorrowedAttention(nn.Module):
    """torch's own module with the mask made inside."""

    def __init__(self, embed_dim, num_heads, dropout=0.0):
        super().__init__()
        self.attn = nn.MultiheadAttention(embed_dim, num_heads, dropout, batch_first=True)

    def forward(self, x):
        future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        return self.attn(x, x, x, attn_mask=future, need_weights=False)[0]


class Columns(nn.Module):
    """A layer that keeps (in, out)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return x @ self.weight + self.bias


class ColumnsAttention(nn.Module):
    def __init__(self, num_heads, hidden_size):
        super().__init__()
        self.num_heads = num_heads
        self.q_layer, self.k_layer = (
            Columns(hidden_size, hidden_size),
            Columns(hidden_size, hidden_size),
        )
        self.v_layer, self.dense = (
            Columns(hidden_size, hidden_size),
            Columns(hidden_size, hidden_size),
        )

    def forward(self, x):
        layers = (self.q_layer, self.k_layer, self.v_layer)
        return self.dense(together(mix(*(apart(layer(x), self.num_heads) for layer in layers))))


class InheritedAttention(SplitAttention):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Mixer(nn.Module):
    """No name says attention, but its layers do."""

    def __init__(self, d_in, d_out, causal=False):
        super().__init__()
        self.causal = causal
        self.W_query = nn.Linear(d_in, d_out, bias=False)
        self.W_key = nn.Linear(d_in, d_out, bias=False)
        self.W_value = nn.Linear(d_in, d_out, bias=False)

    def forward(self, x):
        return mix(self.W_query(x), self.W_key(x), self.W_value(x), hide=self.causal)


class PlainAttention(nn.Module):
    def forward(self, embeddings):
        return torch.softmax(embeddings @ embeddings.T, dim=-1) @ embeddings


class TransformerBlock(nn.Module):
    """Not attention: it has one."""

    def __init__(self, cfg):
        super().__init__()
        self.att = SplitAttention(cfg.heads, 0.0, 4, cfg.dim, cfg.dim)


def plain_attention(inputs):
    return torch.softmax(inputs @ inputs.mT, dim=-1) @ inputs


def kernel(q, k, v, causal=False, dropout_p=0.0):
    return mix(q, k, v, hide=causal, drop=lambda w: drop_some(w, dropout_p))


def open_kernel(query, key, value):
    return mix(query, key, value, hide=False)


def make_attention(d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
    return SplitAttention(num_heads, dropout, context_length, d_out, d_in, qkv_bias)
