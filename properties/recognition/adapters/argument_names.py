"""How public code spells what the sources call d_in, num_heads and so on."""

from __future__ import annotations

# "embed" is d_in and d_out in one; "value_dim" and "query_dim" are for classes that tell d_q, d_k
# and d_v apart; "kv_heads" are heads of keys and values, or the readers of each; "max_batch" is how many
# items there is room for; "latent" is the width of what keys and values are made of, and "query_latent"
# of what queries are; the last four are known, but not ours to vary.
ARGUMENTS = {
    "d_in": """d_in dim_in in_dim d_input dim_input input_dim inp_dim input_size inp_size in_size
        in_features input_features num_input_features n_input_features in_channels input_channels
        input_dimension in_dimension input_width input_embedding_dim n_in in_embd in_embed d_inp
        embed_dim_in embd_in input_embed_dim input_d dim_inp d_x feature_dim input_emb_dim d_int
        input_feature_dim in_dims dim_inputs input_dims inputs_dim in_ch n_in_features in_feat
        in_embedding_dim input_hidden_size in_hidden in_width inp_channels inplanes""",
    "d_out": """d_out dim_out out_dim d_output dim_output output_dim outp_dim output_size out_size
        out_features output_features num_output_features n_output_features out_channels
        output_channels output_dimension out_dimension output_width n_out context_dim
        context_vector_dim context_vec_dim d_context attn_dim attention_dim d_attn d_attention
        proj_dim projection_dim projected_dim d_proj inner_dim out_embd out_embed output_embed_dim
        embed_dim_out embd_out d_outp output_d dim_outp output_emb_dim qkv_dim dim_qkv d_qkv
        qkv_features
        out_dims output_dims out_ch n_out_features out_feat out_width attn_size attention_size attn_features
        attn_units attention_units attention_hidden_size attn_hidden_size att_size att_dim att_units
        qkv_size inner_size dim_inner attn_inner_dim attention_inner_dim proj_size proj_features
        projected_size all_head_size total_head_dim inner_features""",
    "embed": """embed_dim embedding_dim emb_dim embd_dim embed_dims emb_dims embedding_dims d_model
        dim_model model_dim model_dims d_embed d_embd d_emb d_embedding n_embd n_embed n_emb
        n_embedding n_model n_state num_embd num_embed num_embeds num_embedding num_embeddings hidden_size
        hidden_dim hidden_dims hid_dim d_hidden n_hidden hidden_units num_hiddens dim d dims n_dim n_dims
        emb_size embed_size embd_size embedding_size model_size emb embed embd embedding embeding
        channels n_channels width model_width d_mod dmodels embedding_dimension
        embed_dimension model_dimension embeddings_dim embeddings_size c hidden features
        n_features num_features nx cin embed_length embedding_length residual_dim d_residual token_dim
        hidden_dimension hidden_features hidden_channels feature_size model_channels transformer_dim
        n_units units
        hidden_dim_size dim_embed dim_emb dim_embedding embed_sz emb_sz model_hidden_dim n_feat n_feats
        num_feats feat_dim feats features_dim num_channels ch token_size token_emb_dim token_embedding_dim
        d_token num_embed_dim num_hidden attn_embed_dim embedding_width embed_dimensions
        embedding_dimensions n_hid ninp num_units word_dim word_embed_dim adim hidden_state_size
        n_embeds num_emb hiddens
        num_feat dim_feat d_feat feat_size""",
    "head_dim": """head_dim head_dims head_size dim_head d_head size_per_head head_dimension
        head_embed_dim head_emb_dim dim_per_head d_per_head head_width head_sz hs hd d_k dim_k
        d_key key_dim key_size d_kq d_qk dim_qk qk_dim d_out_kq d_out_qk head_embd head_emb_size
        head_embed_size attention_head_size attn_head_size size_head heads_dim per_head_dim
        head_hidden_dim head_d n_head_dim head_features head_channels kv_channels attention_head_dim
        attn_head_dim kv_head_dim query_key_dim key_dimension dim_heads channels_per_head
        num_head_channels per_head_size size_of_head qk_channels
        d_heads dim_of_head head_hidden head_hidden_size hidden_per_head hidden_dim_per_head
        hidden_size_per_head hidden_size_per_attention_head embed_dim_per_head features_per_head
        head_embd_dim head_output_dim head_out_dim qk_head_dim dim_qk_head query_key_size d_h kq_dim
        kq_size dim_k_head n_embd_head channels_head single_head_dim head_feature_dim attention_key_size
        d_kv
        qk_size""",
    "value_dim": """d_v dim_v d_value value_dim value_size d_out_v v_dim
        val_dim d_val value_head_dim v_head_dim head_dim_v v_size
        vo_dim vo_size""",
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
        n_att_heads attention_head_count
        att_heads attn_head attention_head attention_head_num attn_head_num head_nums num_head_attn
        mha_heads mha_num_heads num_multi_heads n_head_attn num_mha_heads self_attention_heads sa_heads
        attention_heads_num num_parallel_heads num_multihead multihead_heads encoder_attention_heads
        decoder_attention_heads num_transformer_heads transformer_heads query_head_num aheads heads_n""",
    "kv_heads": """num_kv_heads n_kv_heads kv_heads num_key_value_heads n_kv_head num_kv_groups
        kv_head n_kv num_kv n_kv_groups kv_groups num_query_groups n_query_groups n_head_kv n_heads_kv
        num_head_kv num_heads_kv num_kv_head kv_n_heads kv_num_heads multi_query_group_num
        num_kv_attention_heads num_key_value_head key_value_heads attention_head_count_kv
        n_key_value_heads kv_n_head kv_head_num n_kv_attention_heads multi_query_groups gqa_groups
        num_gqa_groups num_key_val_heads heads_kv num_key_value_groups""",
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
        model_max_length text_len
        max_sequence n_max_seq max_seq_size max_num_token max_context_size max_tokens_len block_sz
        ctx_window_size context_window_size ctx_window_len max_ctx_size max_input_len max_token_num
        max_text_len max_text_length max_source_len max_source_length max_len_seq sequence_len_max
        seq_max_len seq_length_max token_num max_positional_embeddings seq_lenght max_seq_lenght
        max_pos_len""",
    "dropout": """dropout drop_rate dropout_rate rate_dropout dropout_p p_dropout dropout_prob
        dropout_probability attn_dropout attention_dropout attn_drop att_drop att_dropout drop p
        p_drop drop_p drop_prob attn_pdrop attn_drop_rate
        attn_dropout_rate attention_dropout_rate attn_dropout_p attn_dropout_prob
        attention_dropout_prob attention_probs_dropout_prob dropout_ratio dropout_percentage
        dropout_value dropout_factor dropout_attn dropout_attention dropping_rate dropout_frac
        attention_softmax_dropout attention_dropout_p attention_drop_prob attn_drop_prob attn_p
        att_pdrop att_drop_rate self_attn_dropout attention_dropout_ratio attn_dropout_ratio
        att_drop_prob attn_dp attention_drop drop_ratio dp dp_rate dropout_prob_attn dropout_prob_attention
        prob_dropout dropout_proba attn_prob_dropout dropout_probs attn_weight_dropout attn_weights_dropout
        weight_dropout score_dropout softmax_dropout dropout_attn_prob attn_dropout_probability do_rate
        att_p p_attn_dropout attention_probs_dropout attn_drop_ratio attn_drop_p self_attention_dropout
        drop_percent""",
    "output_dropout": """resid_dropout residual_dropout resid_pdrop resid_drop proj_drop
        proj_dropout out_dropout output_dropout out_drop resid_dropout_rate resid_drop_rate
        proj_drop_rate residual_dropout_rate resid_p residual_drop dropout_resid dropout_proj""",
    "qkv_bias": """qkv_bias kqv_bias qvk_bias vkq_bias bias use_bias add_bias has_bias with_bias
        bias_qkv bias_kqv is_bias linear_bias attn_bias attention_bias use_qkv_bias
        add_qkv_bias enable_bias include_bias kv_bias query_bias key_bias value_bias q_bias k_bias v_bias
        bias_flag bias_enabled proj_qkv_bias qkv_has_bias in_bias in_proj_bias projection_bias
        allow_bias with_qkv_bias has_qkv_bias use_attention_bias add_bias_qkv
        use_bias_qkv qkv_use_bias is_qkv_bias add_bias_linear attn_qkv_bias bias_term bias_on use_biases
        with_biases linear_use_bias attention_qkv_bias include_qkv_bias enable_qkv_bias use_bias_in_qkv
        use_query_bias use_key_bias use_value_bias""",
    "causal": """causal is_causal causal_mask use_causal_mask apply_causal_mask masked is_masked
        autoregressive use_causal apply_mask use_mask unidirectional masking
        causal_attention use_causality causality causal_flag mask_future hide_future casual is_casual
        casual_mask use_casual_mask""",
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

# Known where a constructor requires them, and left at their defaults elsewhere: whether the future is
# seen; and of low-rank additions, which stay zero, their rank, their factor and dropout of theirs.
REQUIRED = {
    "both_ways": "bidirectional",
    "rank": "r rank lora_r lora_rank lora_dim r_lora rank_lora adapter_rank",
    "rank_scale": "alpha lora_alpha alpha_lora lora_scaling",
    "rank_dropout": "lora_dropout lora_dropout_p lora_drop dropout_lora",
}
