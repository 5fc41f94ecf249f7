"""Libraries whose attention needs nothing of ours but its name."""

from __future__ import annotations

from properties.survey.lines import Line

LINES = (
    Line("openai-whisper", "MultiHeadAttention", "whisper.model:MultiHeadAttention"),
    Line("timm", "Attention", "timm.layers.attention:Attention", needs=("torchvision",)),
    Line("vit-pytorch", "Attention", "vit_pytorch.vit:Attention", needs=("torchvision",)),
    Line("labml-nn", "MultiHeadAttention", "labml_nn.transformers.mha:MultiHeadAttention"),
    Line("diffusers", "Attention", "diffusers.models.attention_processor:Attention"),
    Line("x-transformers", "Attend", "x_transformers.attend:Attend"),
    Line("x-transformers", "Attention", "x_transformers.x_transformers:Attention"),
    Line("jax", "nn.dot_product_attention", "jax.nn:dot_product_attention"),
)
