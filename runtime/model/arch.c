/* arch.c: the architectures, one row each. A row says where an architecture departs from the common
 * decoder layer (model/forward.c); an architecture of known parts is a new row. Sources are the
 * models' papers and reference code; where those leave a file's meaning open (which pairs RoPE
 * turns, which norm a tensor is), llama.cpp's converter. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"

static const arch_row rows[] = {
    /* Llama (Touvron et al. 2023) and what is stored as it: Mistral 7B, Mixtral, TinyLlama, ... */
    {.name = "llama", .rope = ROPE_INTERLEAVED, .router = ROUTER_SOFTMAX,
     .router_renormalized = true},
    /* Ministral 3: YaRN, and queries that grow with the logarithm of the position */
    {.name = "mistral3", .rope = ROPE_INTERLEAVED},
    {.name = "qwen2", .rope = ROPE_NEOX, .qkv_bias = true},
    /* For text, every section of its rotation carries the same position. */
    {.name = "qwen2vl", .rope = ROPE_NEOX, .qkv_bias = true},
    {.name = "qwen2moe", .rope = ROPE_NEOX, .qkv_bias = true, .router = ROUTER_SOFTMAX},
    {.name = "qwen3", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD},
    {.name = "qwen3moe", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD, .router = ROUTER_SOFTMAX,
     .router_renormalized = true},
    /* Qwen3.5 and 3.6: gated DeltaNet (Yang et al. 2024), and a gate on what attention gives */
    {.name = "qwen35", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD, .query_gate = true,
     .ffn_norm = "post_attention_norm", .mixer = MIX_DELTA_NET, .attention_every = 4},
    {.name = "qwen35moe", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD, .query_gate = true,
     .ffn_norm = "post_attention_norm", .mixer = MIX_DELTA_NET, .attention_every = 4,
     .router = ROUTER_SOFTMAX, .router_renormalized = true},
    /* Gemma 2 and 3 (Gemma Team 2024, 2025). Their largest models, which are known by their depth,
     * scale queries by the embedding per head. */
    {.name = "gemma2", .rope = ROPE_NEOX, .post_norm = true, .scaled_embedding = true,
     .activation = ACTIVATION_GELU, .attention_softcap = 50, .logit_softcap = 30,
     .wide_scale_layers = 46, .windowed = true, .window = 4096, .full_every = 2},
    {.name = "gemma3", .rope = ROPE_NEOX, .post_norm = true, .scaled_embedding = true,
     .activation = ACTIVATION_GELU, .qk_norm = QK_NORM_HEAD, .wide_scale_layers = 62,
     .windowed = true, .full_every = 6, .window_unscaled = true, .window_rope_base = 10000},
    {.name = "gemma4", .rope = ROPE_NEOX, .post_norm = true, .scaled_embedding = true,
     .activation = ACTIVATION_GELU, .qk_norm = QK_NORM_HEAD, .v_norm = true,
     .values_from_keys = true, .attention_scale = 1, .per_layer_embedding = true, .windowed = true,
     .full_every = PATTERN_IN_FILE, .window_unscaled = true, .window_rope_base = 10000,
     .router = ROUTER_SOFTMAX, .router_renormalized = true, .dense_beside_experts = true},
    /* gpt-oss (OpenAI 2025): every other layer slides, and a head may attend to nothing */
    {.name = "gpt-oss", .rope = ROPE_NEOX, .ffn_norm = "post_attention_norm", .qkv_bias = true,
     .sinks = true, .windowed = true, .full_every = 2, .activation = ACTIVATION_CLAMPED,
     .router = ROUTER_SOFTMAX, .router_renormalized = true},
    /* Phi 3 and 4: fused matrices; every layer slides when the file gives a window */
    {.name = "phi3", .rope = ROPE_NEOX, .windowed = true},
    {.name = "smollm3", .rope = ROPE_INTERLEAVED, .no_rope_every = 4},
    {.name = "granite", .rope = ROPE_INTERLEAVED, .multipliers = true, .rope_switch = true},
    {.name = "granitemoe", .rope = ROPE_INTERLEAVED, .multipliers = true, .rope_switch = true,
     .router = ROUTER_SOFTMAX, .router_renormalized = true},
    /* Granite 4: Mamba-2 (Dao & Gu 2024) in most layers */
    {.name = "granitehybrid", .rope = ROPE_INTERLEAVED, .multipliers = true, .rope_switch = true,
     .router = ROUTER_SOFTMAX, .router_renormalized = true, .mixer = MIX_MAMBA2},
    /* LFM2 (Liquid AI 2025): short convolutions in most layers */
    {.name = "lfm2", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD, .mixer = MIX_SHORT_CONV},
    {.name = "lfm2moe", .rope = ROPE_NEOX, .qk_norm = QK_NORM_HEAD, .mixer = MIX_SHORT_CONV,
     .router = ROUTER_SIGMOID, .router_renormalized = true},
    /* GPT-2 (Radford et al. 2019) */
    {.name = "gpt2", .norm = NORM_LAYER, .learned_positions = true, .ungated = true,
     .activation = ACTIVATION_GELU},
    /* OLMo 2, and OLMo 3, whose files give a window */
    {.name = "olmo2", .rope = ROPE_NEOX, .no_pre_norm = true, .post_norm = true,
     .qk_norm = QK_NORM_ROW, .whole_attention_factor = true, .windowed = true, .full_every = 4,
     .window_unscaled = true},
    /* OLMoE (Muennighoff et al. 2024) */
    {.name = "olmoe", .rope = ROPE_NEOX, .qk_norm = QK_NORM_ROW, .router = ROUTER_SOFTMAX},
    {.name = "glm4", .rope = ROPE_INTERLEAVED, .post_norm = true},
    {.name = "ernie4_5", .rope = ROPE_INTERLEAVED},
    {.name = "seed_oss", .rope = ROPE_NEOX, .ffn_norm = "post_attention_norm"},
    {.name = "starcoder2", .norm = NORM_LAYER, .rope = ROPE_NEOX, .ungated = true,
     .activation = ACTIVATION_GELU},
    /* StableLM: 2 12B has one norm for both blocks, and queries and keys normed with weights for
     * every head */
    {.name = "stablelm", .norm = NORM_LAYER, .rope = ROPE_NEOX, .parallel = true,
     .qk_norm = QK_NORM_HEAD, .qk_norm_optional = true},
};

#define N_ROWS (sizeof rows / sizeof *rows)

const arch_row *arch_find(gguf_string name) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (strlen(rows[i].name) == name.size && !memcmp(rows[i].name, name.data, name.size))
            return &rows[i];
    return NULL;
}

void arch_names(char *out, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < N_ROWS && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", rows[i].name);
}
