/* tiny.c: see tiny.h. The vocabulary is SentencePiece-like, with every byte, so any text can be
 * encoded. */
#include "tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "support.h"

uint64_t tiny_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

tiny_shape tiny_default(void) {
    return (tiny_shape){.type = TYPE_F32,
                        .n_layer = 2,
                        .n_embd = 64,
                        .n_head = 4,
                        .n_head_kv = 2,
                        .n_ff = 96,
                        .context = 512,
                        .n_vocab = 320,
                        .seed = 1};
}

/* A model of each architecture with experts or recurrent layers. */
typedef struct { const char *name; tiny_shape shape; } named_shape;

#define KEYS(...) .keys = (const tiny_key[]){__VA_ARGS__, {0}}
#define TEXT(name, text) {name, 's', 0, text}
#define NUMBER(name, number) {name, 'f', number, NULL}
#define COUNT(name, number) {name, 'u', number, NULL}
#define GRANITE                                                              \
    KEYS(NUMBER("embedding_scale", 3), NUMBER("residual_scale", 0.4),        \
         NUMBER("logit_scale", 4), NUMBER("attention.scale", 0.1))
#define QWEN35                                                                              \
    .n_rot = 8, .recurrent = {TINY_DELTA_NET, 4, 16, 2, 4, 4},                              \
    KEYS({"rope.dimension_sections", 'i', 0, "2,1,1,0"}, NUMBER("rope.freq_base", 1e6))

static const named_shape hybrids[] = {
    {"mixtral", {.arch = "llama", .n_layer = 3, .n_ff = 64, .experts = {8, 2, 0, 0, 0}}},
    {"qwen2moe", {.parts = TINY_QKV_BIAS | TINY_SHARED_GATE, .n_layer = 3,
                  .experts = {8, 3, 32, 64, 0}}},
    {"qwen3moe", {.parts = TINY_HEAD_NORMS, .n_layer = 3, .head_size = 24,
                  .experts = {8, 3, 32, 0, 0}}},
    {"olmoe", {.parts = TINY_ROW_NORMS, .n_layer = 3, .n_head_kv = 4, .n_ff = 64,
               .experts = {8, 2, 0, 0, 0}}},
    {"granitemoe", {.n_layer = 3, .n_ff = 32, .tied = true, .experts = {5, 2, 0, 64, 0}, GRANITE}},
    {"gpt-oss", {.parts = TINY_QKV_BIAS | TINY_O_BIAS | TINY_SINKS | TINY_FFN_NORM_IS_POST |
                          TINY_EXPERT_BIASES,
                 .n_layer = 4, .n_ff = 32, .head_size = 32, .experts = {6, 3, 32, 0, 0},
                 KEYS(COUNT("attention.sliding_window", 11), NUMBER("rope.freq_base", 150000),
                      TEXT("rope.scaling.type", "yarn"), NUMBER("rope.scaling.factor", 32),
                      COUNT("rope.scaling.original_context_length", 64))}},
    {"gemma4", {.parts = TINY_POST_NORMS | TINY_HEAD_NORMS | TINY_OUTPUT_SCALE | TINY_DENSE_TOO,
                .n_layer = 5, .tied = true, .rope_factors = true, .head_size = 32,
                .window_layers = "1,1,0,1,0", .head_size_window = 16, .layer_heads_kv = "2,2,1,2,1",
                .experts = {8, 3, 32, 0, 0},
                KEYS(COUNT("attention.sliding_window", 11), NUMBER("rope.freq_base", 1e6),
                     NUMBER("rope.freq_base_swa", 10000), NUMBER("final_logit_softcapping", 2),
                     COUNT("rope.dimension_count", 32), COUNT("rope.dimension_count_swa", 16),
                     COUNT("embedding_length_per_layer_input", 0),
                     COUNT("attention.shared_kv_layers", 0))}},
    {"qwen35", {.parts = TINY_HEAD_NORMS | TINY_FFN_NORM_IS_POST | TINY_GATED_ATTENTION,
                .n_layer = 6, QWEN35}},
    {"qwen35moe", {.parts = TINY_HEAD_NORMS | TINY_FFN_NORM_IS_POST | TINY_GATED_ATTENTION |
                            TINY_SHARED_GATE,
                   .n_layer = 5, .experts = {8, 3, 32, 64, 0}, QWEN35}},
    {"lfm2", {.parts = TINY_HEAD_NORMS | TINY_LAST_NORM_RENAMED, .n_layer = 5, .tied = true,
              .layer_heads_kv = "0,0,2,0,2", .recurrent = {TINY_SHORT_CONV, 3, 0, 0, 0, 0}}},
    {"lfm2moe", {.parts = TINY_HEAD_NORMS | TINY_CHOICE_BIAS | TINY_LAST_NORM_RENAMED,
                 .n_layer = 5, .tied = true, .layer_heads_kv = "0,0,2,0,2",
                 .recurrent = {TINY_SHORT_CONV, 3, 0, 0, 0, 0},
                 .experts = {8, 3, 32, 0, 2}, KEYS(COUNT("expert_gating_func", 2))}},
    {"granitehybrid", {.n_layer = 5, .n_ff = 64, .tied = true, .layer_heads_kv = "0,2,0,0,2",
                       .recurrent = {TINY_MAMBA2, 4, 16, 1, 4, 0}, .experts = {6, 2, 0, 32, 0},
                       GRANITE}},
};

tiny_shape tiny_hybrid(const char *name) {
    const named_shape *h = hybrids;
    while (strcmp(h->name, name)) assert_true(++h < hybrids + sizeof hybrids / sizeof *hybrids);
    tiny_shape s = h->shape, d = tiny_default();
    s.n_embd = d.n_embd;
    s.n_head = d.n_head;
    if (!s.n_head_kv) s.n_head_kv = d.n_head_kv;
    if (!s.n_ff) s.n_ff = d.n_ff;
    s.context = d.context;
    s.n_vocab = d.n_vocab;
    s.seed = d.seed;
    if (!s.arch) s.arch = h->name;
    return s;
}

#define KEEP 1024 /* tensors of one model at most */

typedef struct {
    gguf_writer *w;
    void *data[KEEP];
    size_t n;
    uint64_t seed;
    const tiny_edit *edit;
} maker;

static bool edited(const maker *m, const char *key) {
    return m->edit && m->edit->key && !strcmp(m->edit->key, key);
}

static void add_u32(maker *m, const char *key, uint32_t v) {
    if (!edited(m, key)) gguf_add_u32(m->w, key, v);
}

/* A tensor of zeros, of the edit's own shape and type. */
static void add_edited(maker *m, const char *name, uint32_t type, const uint64_t *own) {
    const tiny_edit *t = m->edit;
    uint64_t ne[3];
    for (int i = 0; i < 3; i++) ne[i] = t->ne[i] ? t->ne[i] : own[i];
    if (!t->ne[0] && !t->ne[1] && !t->ne[2] && !t->type) return;
    m->data[m->n] = calloc(ne[0] * ne[1] * ne[2], 8);
    assert_non_null(m->data[m->n]);
    gguf_add_tensor(m->w, name, t->type ? t->type : type, ne[2] > 1 ? 3 : ne[1] > 1 ? 2 : 1, ne,
                    m->data[m->n]);
    m->n++;
}

/* n_of matrices [n_out][n_in] of one name. */
static void add_stack(maker *m, const char *name, weight_type type, uint64_t n_in, uint64_t n_out,
                      uint64_t n_of, float scale, float offset) {
    const uint64_t ne[] = {n_in, n_out, n_of};
    if (m->edit && m->edit->tensor && !strcmp(m->edit->tensor, name)) {
        add_edited(m, name, type, ne);
        return;
    }
    const weight_format *f = weight_format_of(type);
    size_t n = n_in * n_out * n_of;
    float *x = malloc(n * sizeof *x);
    void *data = malloc(n / f->block * f->bytes);
    assert_true(x && data && m->n < KEEP);
    for (size_t i = 0; i < n; i++) /* uniform of the given standard deviation */
        x[i] = offset +
               scale * 1.7320508f * (float)((double)(tiny_random(&m->seed) >> 11) * 0x1p-52 - 1);
    f->from_float(x, data, n);
    free(x);
    m->data[m->n++] = data;
    gguf_add_tensor(m->w, name, type, n_of > 1 ? 3 : n_out > 1 ? 2 : 1, ne, data);
}

static void add(maker *m, const char *name, weight_type type, uint64_t n_in, uint64_t n_out,
                float scale, float offset) {
    add_stack(m, name, type, n_in, n_out, 1, scale, offset);
}

static void add_vocabulary(maker *m, uint32_t n) {
    gguf_string *tokens = calloc(n, sizeof *tokens);
    float *scores = calloc(n, sizeof *scores);
    int32_t *types = calloc(n, sizeof *types);
    char (*text)[16] = calloc(n, sizeof *text);
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
    for (uint32_t i = 0; i < n; i++) {
        types[i] = i < 1 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        if (i < 3) snprintf(text[i], sizeof *text, "%s", special[i]);
        else if (i < 259) snprintf(text[i], sizeof *text, "<0x%02X>", i - 3);
        else if (i == 259) snprintf(text[i], sizeof *text, "\xe2\x96\x81");
        else if (i < 286) snprintf(text[i], sizeof *text, "%c", letters[i - 260]);
        else if (i < 312) snprintf(text[i], sizeof *text, "\xe2\x96\x81%c", letters[i - 286]);
        else
            snprintf(text[i], sizeof *text, "%c%c", letters[(i - 312) % 26],
                     letters[(i - 312) / 26 % 26]);
        scores[i] = i < 259 ? 0 : -(float)(i - 258);
        tokens[i] = (gguf_string){text[i], strlen(text[i])};
    }
    gguf_add_string(m->w, "tokenizer.ggml.model", "llama", 5);
    gguf_add_strings(m->w, "tokenizer.ggml.tokens", tokens, n);
    gguf_add_numbers(m->w, "tokenizer.ggml.scores", GGUF_F32, scores, n);
    gguf_add_numbers(m->w, "tokenizer.ggml.token_type", GGUF_I32, types, n);
    gguf_add_u32(m->w, "tokenizer.ggml.bos_token_id", 1);
    gguf_add_u32(m->w, "tokenizer.ggml.eos_token_id", 2);
    free(tokens);
    free(scores);
    free(types);
    free(text);
}

static void add_list(maker *m, const char *name, gguf_value_type type, const char *list) {
    int32_t values[64];
    uint8_t bools[64];
    size_t n = 0;
    for (char *at = (char *)(uintptr_t)list; n < 64; at++) {
        values[n] = (int32_t)strtol(at, &at, 10);
        bools[n] = values[n] != 0;
        n++;
        if (*at != ',') break;
    }
    gguf_add_numbers(m->w, name, type, type == GGUF_BOOL ? (void *)bools : values, n);
}

/* How wide the recurrent layers are between their matrices. */
static uint32_t inner_size(const tiny_shape *s) {
    return s->recurrent.kind == TINY_MAMBA2 ? 2 * s->n_embd
                                            : s->recurrent.state * s->recurrent.heads;
}

/* The i-th number of a list. */
static uint32_t listed(const char *list, uint32_t i) {
    while (i--) list = strchr(list, ',') + 1;
    return (uint32_t)strtoul(list, NULL, 10);
}

static bool is_recurrent(const tiny_shape *s, uint32_t i) {
    if (s->recurrent.interval) return (i + 1) % s->recurrent.interval != 0;
    return s->recurrent.kind && listed(s->layer_heads_kv, i) == 0;
}

static void add_keys(maker *m, const tiny_shape *s, const char *arch) {
    char name[128];
#define KEY(part) (snprintf(name, sizeof name, "%s.%s", arch, part), name)
    if (!edited(m, "general.architecture"))
        gguf_add_string(m->w, "general.architecture", arch, strlen(arch));
    gguf_add_string(m->w, "general.name", "tiny", 4);
    add_u32(m, KEY("context_length"), s->context);
    add_u32(m, KEY("embedding_length"), s->n_embd);
    add_u32(m, KEY("block_count"), s->n_layer);
    add_u32(m, KEY("feed_forward_length"), s->n_ff);
    add_u32(m, KEY("attention.head_count"), s->n_head);
    if (s->layer_heads_kv)
        add_list(m, KEY("attention.head_count_kv"), GGUF_I32, s->layer_heads_kv);
    else
        add_u32(m, KEY("attention.head_count_kv"), s->n_head_kv);
    KEY(s->parts & TINY_LAYER_NORM ? "attention.layer_norm_epsilon"
                                   : "attention.layer_norm_rms_epsilon");
    if (!edited(m, name)) gguf_add_f32(m->w, name, 1e-5f);
    if (s->head_size) {
        add_u32(m, KEY("attention.key_length"), s->head_size);
        add_u32(m, KEY("attention.value_length"), s->head_size);
    }
    if (s->n_rot) gguf_add_u32(m->w, KEY("rope.dimension_count"), s->n_rot);
    const tiny_experts *x = &s->experts;
    if (x->n) add_u32(m, KEY("expert_count"), x->n);
    if (x->n) add_u32(m, KEY("expert_used_count"), x->used);
    if (x->n_ff) add_u32(m, KEY("expert_feed_forward_length"), x->n_ff);
    if (x->n_ff_shared) add_u32(m, KEY("expert_shared_feed_forward_length"), x->n_ff_shared);
    if (x->n_dense) add_u32(m, KEY("leading_dense_block_count"), x->n_dense);
    const tiny_recurrent *r = &s->recurrent;
    if (r->kind == TINY_SHORT_CONV) {
        add_u32(m, KEY("shortconv.l_cache"), r->conv);
    } else if (r->kind) {
        add_u32(m, KEY("ssm.conv_kernel"), r->conv);
        add_u32(m, KEY("ssm.state_size"), r->state);
        add_u32(m, KEY("ssm.group_count"), r->groups);
        add_u32(m, KEY("ssm.time_step_rank"), r->heads);
        add_u32(m, KEY("ssm.inner_size"), inner_size(s));
    }
    if (r->interval) add_u32(m, KEY("full_attention_interval"), r->interval);
    for (int i = 0; i < 2; i++) {
        for (const tiny_key *k = i ? s->more_keys : s->keys; k && k->name; k++) {
            if (k->type == 'u') gguf_add_u32(m->w, KEY(k->name), (uint32_t)k->number);
            else if (k->type == 'f') gguf_add_f32(m->w, KEY(k->name), (float)k->number);
            else if (k->type == 'b') gguf_add_bool(m->w, KEY(k->name), k->number != 0);
            else if (k->type == 's') gguf_add_string(m->w, KEY(k->name), k->text, strlen(k->text));
            else add_list(m, KEY(k->name), k->type == 'B' ? GGUF_BOOL : GGUF_I32, k->text);
        }
    }
    if (s->window_layers) {
        add_list(m, KEY("attention.sliding_window_pattern"), GGUF_BOOL, s->window_layers);
        gguf_add_u32(m->w, KEY("attention.key_length_swa"), s->head_size_window);
        gguf_add_u32(m->w, KEY("attention.value_length_swa"), s->head_size_window);
    }
    if (s->n_shared) gguf_add_u32(m->w, KEY("attention.shared_kv_layers"), s->n_shared);
    if (s->n_per_layer) gguf_add_u32(m->w, KEY("embedding_length_per_layer_input"), s->n_per_layer);
    if (s->edit && s->edit->more) s->edit->more(m->w);
#undef KEY
}

/* Layer i, or with i < 0 the model's own: a norm, with a bias where its kind has one. */
static void add_norm(maker *m, const tiny_shape *s, const char *name, uint64_t n) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add(m, full, TYPE_F32, n, 1, 0.1f, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    if (s->parts & TINY_LAYER_NORM) add(m, full, TYPE_F32, n, 1, 0.1f, 0);
}

static void add_matrix(maker *m, const tiny_shape *s, const char *name, uint64_t n_in,
                       uint64_t n_out, float scale, bool bias) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add(m, full, s->type, n_in, n_out, scale, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) add(m, full, TYPE_F32, n_out, 1, 0.2f, 0);
}

#define LAYER(part) (snprintf(name, sizeof name, "blk.%u.%s", i, part), name)

static void add_attention(maker *m, const tiny_shape *s, uint32_t i, uint32_t D) {
    bool window = s->window_layers && s->window_layers[2 * i] == '1';
    bool own = i < s->n_layer - s->n_shared;
    if (window) D = s->head_size_window;
    uint32_t E = s->n_embd, q = s->n_head * D,
             n_head_kv = s->layer_heads_kv ? listed(s->layer_heads_kv, i) : s->n_head_kv,
             k = n_head_kv * D;
    float in = 1 / sqrtf((float)E), out = 1 / sqrtf((float)q);
    unsigned has = s->parts;
    char name[64];
    if (has & TINY_FUSED_QKV) {
        add_matrix(m, s, LAYER("attn_qkv"), E, q + 2 * k, 2 * in, has & TINY_QKV_BIAS);
    } else {
        add_matrix(m, s, LAYER("attn_q"), E, has & TINY_GATED_ATTENTION ? 2 * q : q, 2 * in,
                   has & TINY_QKV_BIAS);
        if (own) add_matrix(m, s, LAYER("attn_k"), E, k, 2 * in, has & TINY_QKV_BIAS);
        if (own && (window || !(has & TINY_VALUES_FROM_KEYS)))
            add_matrix(m, s, LAYER("attn_v"), E, k, in, has & TINY_QKV_BIAS);
    }
    if (has & (TINY_HEAD_NORMS | TINY_HEAD_NORM_ROWS | TINY_ROW_NORMS)) {
        uint32_t n = has & TINY_ROW_NORMS ? q : D, n_k = has & TINY_ROW_NORMS ? k : D;
        bool rows = has & TINY_HEAD_NORM_ROWS;
        add(m, LAYER("attn_q_norm.weight"), TYPE_F32, n, rows ? s->n_head : 1, 0.1f, 1);
        if (own) add(m, LAYER("attn_k_norm.weight"), TYPE_F32, n_k, rows ? n_head_kv : 1, 0.1f, 1);
    }
    if (has & TINY_SINKS) add(m, LAYER("attn_sinks.weight"), TYPE_F32, s->n_head, 1, 1, 0);
    add_matrix(m, s, LAYER("attn_output"), q, E, out, has & TINY_O_BIAS);
}

/* States that forget about half in 3 to 30 positions. */
static void add_recurrent(maker *m, const tiny_shape *s, uint32_t i) {
    const tiny_recurrent *r = &s->recurrent;
    uint32_t E = s->n_embd, inner = inner_size(s), key = r->state * r->groups;
    float in = 1 / sqrtf((float)E), tap = 1 / sqrtf((float)r->conv);
    char name[64];
    if (r->kind == TINY_SHORT_CONV) {
        add_matrix(m, s, LAYER("shortconv.in_proj"), E, 3 * E, 2 * in, false);
        add(m, LAYER("shortconv.conv.weight"), TYPE_F32, r->conv, E, tap, 0);
        add_matrix(m, s, LAYER("shortconv.out_proj"), E, E, in / 2, false);
        return;
    }
    uint32_t conv = 2 * key + inner;
    bool mamba = r->kind == TINY_MAMBA2;
    if (mamba) {
        add_matrix(m, s, LAYER("ssm_in"), E, inner + conv + r->heads, 2 * in, false);
        add(m, LAYER("ssm_conv1d.bias"), TYPE_F32, conv, 1, 0.2f, 0);
        add(m, LAYER("ssm_d"), TYPE_F32, 1, r->heads, 0.3f, 1);
    } else {
        add_matrix(m, s, LAYER("attn_qkv"), E, conv, 2 * in, false);
        add_matrix(m, s, LAYER("attn_gate"), E, inner, 2 * in, false);
        add_matrix(m, s, LAYER("ssm_alpha"), E, r->heads, in, false);
        add_matrix(m, s, LAYER("ssm_beta"), E, r->heads, 2 * in, false);
    }
    add(m, LAYER("ssm_conv1d.weight"), TYPE_F32, r->conv, conv, tap, 0);
    add(m, LAYER("ssm_dt.bias"), TYPE_F32, r->heads, 1, 0.5f, -2);
    add(m, LAYER("ssm_a"), TYPE_F32, mamba ? 1 : r->heads, mamba ? r->heads : 1, 0.2f, -0.6f);
    add(m, LAYER("ssm_norm.weight"), TYPE_F32, mamba ? inner / r->groups : r->state,
        mamba ? r->groups : 1, 0.1f, 1);
    add_matrix(m, s, LAYER("ssm_out"), inner, E, 1 / sqrtf((float)inner), false);
}

static void add_dense(maker *m, const tiny_shape *s, uint32_t i) {
    uint32_t E = s->n_embd;
    float in = 1 / sqrtf((float)E), ff = 1 / sqrtf((float)s->n_ff);
    bool bias = s->parts & TINY_FFN_BIAS;
    char name[64];
    if (s->parts & TINY_FUSED_UP) {
        add_matrix(m, s, LAYER("ffn_up"), E, 2 * s->n_ff, 2 * in, false);
    } else {
        if (!(s->parts & TINY_UNGATED))
            add_matrix(m, s, LAYER("ffn_gate"), E, s->n_ff, 2 * in, bias);
        add_matrix(m, s, LAYER("ffn_up"), E, s->n_ff, in, bias);
    }
    add_matrix(m, s, LAYER("ffn_down"), s->n_ff, E, ff, bias);
}

/* The router is F32 in every type of file, as converters leave it. */
static void add_experts(maker *m, const tiny_shape *s, uint32_t i) {
    uint32_t E = s->n_embd, X = s->experts.n, F = s->experts.n_ff ? s->experts.n_ff : s->n_ff,
             shared = s->experts.n_ff_shared;
    float in = 1 / sqrtf((float)E), ff = 1 / sqrtf((float)F);
    unsigned has = s->parts;
    char name[64];
    add(m, LAYER("ffn_gate_inp.weight"), TYPE_F32, E, X, 2 * in, 0);
    if (has & TINY_DENSE_TOO) {
        add(m, LAYER("ffn_gate_inp.scale"), TYPE_F32, E, 1, 1, sqrtf((float)E));
        add_norm(m, s, LAYER("pre_ffw_norm_2"), E);
        add_norm(m, s, LAYER("post_ffw_norm_1"), E);
        add_norm(m, s, LAYER("post_ffw_norm_2"), E);
        add_stack(m, LAYER("ffn_gate_up_exps.weight"), s->type, E, 2 * F, X, 2 * in, 0);
        add(m, LAYER("ffn_down_exps.scale"), TYPE_F32, X, 1, 0.2f, 1);
    } else {
        float wide = has & TINY_EXPERT_BIASES ? 4 : 1;
        add_stack(m, LAYER("ffn_gate_exps.weight"), s->type, E, F, X, wide * 2 * in, 0);
        add_stack(m, LAYER("ffn_up_exps.weight"), s->type, E, F, X, wide * in, 0);
    }
    add_stack(m, LAYER("ffn_down_exps.weight"), s->type, F, E, X, ff, 0);
    if (has & TINY_EXPERT_BIASES) {
        add(m, LAYER("ffn_gate_inp.bias"), TYPE_F32, X, 1, 0.5f, 0);
        add(m, LAYER("ffn_gate_exps.bias"), TYPE_F32, F, X, 0.5f, 0);
        add(m, LAYER("ffn_up_exps.bias"), TYPE_F32, F, X, 0.5f, 0);
        add(m, LAYER("ffn_down_exps.bias"), TYPE_F32, E, X, 0.2f, 0);
    }
    if (has & TINY_CHOICE_BIAS) add(m, LAYER("exp_probs_b.bias"), TYPE_F32, X, 1, 0.4f, 0);
    if (shared) {
        if (has & TINY_SHARED_GATE)
            add(m, LAYER("ffn_gate_inp_shexp.weight"), TYPE_F32, E, 1, in, 0);
        add_matrix(m, s, LAYER("ffn_gate_shexp"), E, shared, 2 * in, false);
        add_matrix(m, s, LAYER("ffn_up_shexp"), E, shared, in, false);
        add_matrix(m, s, LAYER("ffn_down_shexp"), shared, E, 1 / sqrtf((float)shared), false);
    }
}

static void add_layer(maker *m, const tiny_shape *s, uint32_t i, uint32_t D) {
    uint32_t E = s->n_embd;
    unsigned has = s->parts;
    bool sparse = s->experts.n && i >= s->experts.n_dense;
    char name[64];
    if (!(has & TINY_NO_PRE_NORMS)) add_norm(m, s, LAYER("attn_norm"), E);
    if (is_recurrent(s, i)) add_recurrent(m, s, i);
    else add_attention(m, s, i, D);
    if (has & TINY_POST_NORMS) add_norm(m, s, LAYER("post_attention_norm"), E);
    if (has & TINY_FFN_NORM_IS_POST) add_norm(m, s, LAYER("post_attention_norm"), E);
    else if (!(has & (TINY_NO_PRE_NORMS | TINY_NO_FFN_NORM))) add_norm(m, s, LAYER("ffn_norm"), E);
    if (!sparse || (has & TINY_DENSE_TOO)) add_dense(m, s, i);
    if (sparse) add_experts(m, s, i);
    if (has & TINY_POST_NORMS) add_norm(m, s, LAYER("post_ffw_norm"), E);
    if (has & TINY_OUTPUT_SCALE)
        add(m, LAYER("layer_output_scale.weight"), TYPE_F32, 1, 1, 0.1f, 0.8f);
    if (s->n_per_layer) {
        float in = 1 / sqrtf((float)E);
        add_matrix(m, s, LAYER("inp_gate"), E, s->n_per_layer, 2 * in, false);
        add_matrix(m, s, LAYER("proj"), s->n_per_layer, E, in, false);
        add_norm(m, s, LAYER("post_norm"), E);
    }
}
#undef LAYER

const char *tiny_model(const tiny_shape *s) {
    maker m = {.w = gguf_writer_new(), .seed = s->seed, .edit = s->edit};
    uint32_t D = s->head_size ? s->head_size : s->n_embd / s->n_head, E = s->n_embd;
    assert_non_null(m.w);
    add_keys(&m, s, s->arch ? s->arch : "llama");
    add_vocabulary(&m, s->n_vocab);
    add(&m, "token_embd.weight", s->type, E, s->n_vocab, 0.5f, 0);
    add_norm(&m, s, s->parts & TINY_LAST_NORM_RENAMED ? "token_embd_norm" : "output_norm", E);
    if (!s->tied) add(&m, "output.weight", s->type, E, s->n_vocab, 2 / sqrtf((float)E), 0);
    if (s->rope_factors) add(&m, "rope_freqs.weight", TYPE_F32, D / 2, 1, 1, 4);
    if (s->parts & TINY_LONG_FACTORS) {
        uint32_t half = (s->n_rot ? s->n_rot : D) / 2;
        add(&m, "rope_factors_long.weight", TYPE_F32, half, 1, 1, 4);
        add(&m, "rope_factors_short.weight", TYPE_F32, half, 1, 0.1f, 1);
    }
    if (s->n_per_layer) {
        uint32_t all = s->n_per_layer * s->n_layer;
        add(&m, "per_layer_token_embd.weight", s->type, all, s->n_vocab, 0.5f, 0);
        add(&m, "per_layer_model_proj.weight", s->type, E, all, 1, 0);
        add_norm(&m, s, "per_layer_proj_norm", s->n_per_layer);
    }
    if (s->parts & TINY_POSITIONS) add(&m, "position_embd.weight", s->type, E, s->context, 0.3f, 0);
    if (s->parts & TINY_VISION) {
        add(&m, "v.blk.0.attn_q.weight", TYPE_F16, 32, 8, 1, 0);
        add(&m, "mm.input_projection.weight", TYPE_F16, 32, 4, 1, 0);
    }
    for (uint32_t i = 0; i < s->n_layer; i++) add_layer(&m, s, i, D);
    if (s->edit && s->edit->extra) add(&m, s->edit->extra, TYPE_F32, 32, 1, 1, 0);
    const char *path = temp_path(".gguf");
    pl_error e;
    if (gguf_write(m.w, path, &e)) fail_msg("%s", e.message);
    gguf_writer_free(m.w);
    for (size_t i = 0; i < m.n; i++) free(m.data[i]);
    return path;
}

engine *tiny_engine(const char *path, size_t cache_bytes, uint32_t threads) {
    engine_options o = {.model = {.path = path, .kv = KV_F16, .threads = threads},
                        .cache_bytes = cache_bytes};
    pl_error e;
    engine *g;
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

engine *tiny_engine_for(const char *path, size_t blocks, size_t states, uint32_t threads) {
    engine *wide = tiny_engine(path, 0, 1), *g;
    const model *m = engine_model(wide);
    engine_options o = {.model = {.path = path, .kv = KV_F16, .threads = threads},
                        .state_interval = 8,
                        .cache_bytes = blocks * m->block_bytes + states * m->state_bytes};
    pl_error e;
    engine_close(wide);
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

cache_node *tiny_cache(engine *g, const int32_t *tokens, size_t n) {
    cache_node *empty, *out = NULL;
    pl_error e;
    if (node_empty(engine_store(g), &empty, &e) || node_extend(empty, tokens, n, &out, &e))
        fail_msg("%s", e.message);
    node_release(empty);
    return out;
}

void tiny_tokens(uint64_t *state, int32_t *out, size_t n, uint32_t n_vocab) {
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)(tiny_random(state) % n_vocab);
}
