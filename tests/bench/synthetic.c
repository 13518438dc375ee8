/* synthetic.c: see synthetic.h. Weights are normal numbers that were rounded to their type once,
 * 2^20 of them, and repeat. */
#include "synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf/gguf.h"

static const synthetic_shape shapes[] = {
    {.name = "llama-1.1b",
     .arch = "llama",
     .n_layer = 22,
     .n_embd = 2048,
     .n_head = 32,
     .n_head_kv = 4,
     .head_size = 64,
     .n_ff = 5632,
     .n_vocab = 32000,
     .context = 8192},
    {.name = "qwen2-0.5b",
     .arch = "qwen2",
     .n_layer = 24,
     .n_embd = 896,
     .n_head = 14,
     .n_head_kv = 2,
     .head_size = 64,
     .n_ff = 4864,
     .n_vocab = 151936,
     .context = 8192,
     .tied = 1,
     .qkv_bias = 1},
    {.name = "qwen35-4b",
     .arch = "qwen35",
     .n_layer = 8,
     .n_embd = 2560,
     .n_head = 16,
     .n_head_kv = 4,
     .head_size = 256,
     .n_ff = 9216,
     .n_vocab = 4096,
     .context = 8192,
     .tied = 1,
     .taps = 4,
     .state = 128,
     .groups = 16,
     .state_heads = 32,
     .interval = 4},
    {.name = "moe-8of64",
     .arch = "qwen3moe",
     .n_layer = 4,
     .n_embd = 2048,
     .n_head = 16,
     .n_head_kv = 4,
     .head_size = 128,
     .n_ff = 6144,
     .n_vocab = 4096,
     .context = 8192,
     .tied = 1,
     .n_expert = 64,
     .n_used = 8,
     .expert_ff = 768},
};

const synthetic_shape *synthetic_find(const char *name) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!strcmp(shapes[i].name, name)) return &shapes[i];
    return NULL;
}

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* ---- random numbers ---- */

static uint64_t state = 1;
static double uniform(void) { /* splitmix64 */
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}
static float normal(void) {
    return (float)(uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508f;
}

/* ---- tensors ---- */

#define PATTERN ((size_t)1 << 20) /* weights */
#define MOST_TENSORS 2048

typedef struct { char name[64]; weight_type type; uint64_t ne[3]; float scale, offset; } tensor;

typedef struct {
    const synthetic_shape *shape;
    const char *mix;
    tensor t[MOST_TENSORS];
    size_t n;
    /* of weights of standard deviation 0.02, made when first needed */
    uint8_t *pattern[TYPE_COUNT];
} maker;

static weight_type named_type(const char *name) {
    for (uint32_t t = 0; t < TYPE_COUNT; t++)
        if (weight_format_of(t) && !strcmp(weight_format_of(t)->name, name) &&
            weight_format_of(t)->from_float)
            return (weight_type)t;
    fail(name, "no such weight type");
}

/* In "Q4_K_M", half of the layers have attn_v and ffn_down in six bits, and so has the output. */
static weight_type matrix_type(const maker *m, const char *part, uint32_t layer) {
    uint32_t n = m->shape->n_layer;
    if (strcmp(m->mix, "Q4_K_M")) return named_type(m->mix);
    bool more = layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
    if (!strncmp(part, "output.", 7) || (m->shape->tied && !strncmp(part, "token_embd", 10)))
        return TYPE_Q6_K;
    return more && (strstr(part, "attn_v") || strstr(part, "ffn_down")) ? TYPE_Q6_K : TYPE_Q4_K;
}

static void add(maker *m, int layer, const char *part, weight_type type, uint64_t ne0, uint64_t ne1,
                uint64_t ne2, float scale, float offset) {
    tensor *t = &m->t[m->n++];
    if (layer < 0) snprintf(t->name, sizeof t->name, "%s", part);
    else snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, part);
    const weight_format *f = weight_format_of(type);
    if (ne0 % f->block) type = ne0 % 32 ? TYPE_F16 : TYPE_Q8_0; /* as quantizers fall back */
    t->type = type;
    t->ne[0] = ne0, t->ne[1] = ne1, t->ne[2] = ne2;
    t->scale = scale, t->offset = offset;
}

static void matrix(maker *m, int layer, const char *part, uint64_t n_in, uint64_t n_out,
                   uint64_t n_of) {
    add(m, layer, part, matrix_type(m, part, layer < 0 ? 0 : (uint32_t)layer), n_in, n_out, n_of, 1,
        0);
}

static void vector(maker *m, int layer, const char *part, uint64_t n, float scale, float offset) {
    add(m, layer, part, TYPE_F32, n, 1, 1, scale, offset);
}

static void add_attention(maker *m, int i) {
    const synthetic_shape *s = m->shape;
    uint64_t E = s->n_embd, q = (uint64_t)s->n_head * s->head_size,
             k = (uint64_t)s->n_head_kv * s->head_size;
    matrix(m, i, "attn_q.weight", E, s->taps ? 2 * q : q, 1);
    matrix(m, i, "attn_k.weight", E, k, 1);
    matrix(m, i, "attn_v.weight", E, k, 1);
    matrix(m, i, "attn_output.weight", q, E, 1);
    if (s->qkv_bias) {
        vector(m, i, "attn_q.bias", q, 1, 0);
        vector(m, i, "attn_k.bias", k, 1, 0);
        vector(m, i, "attn_v.bias", k, 1, 0);
    }
    if (strncmp(s->arch, "qwen3", 5)) return;
    vector(m, i, "attn_q_norm.weight", s->head_size, 1, 1);
    vector(m, i, "attn_k_norm.weight", s->head_size, 1, 1);
}

static void add_delta_net(maker *m, int i) {
    const synthetic_shape *s = m->shape;
    uint64_t E = s->n_embd, inner = (uint64_t)s->state_heads * s->state,
             channels = inner + 2ull * s->groups * s->state;
    matrix(m, i, "attn_qkv.weight", E, channels, 1);
    matrix(m, i, "attn_gate.weight", E, inner, 1);
    matrix(m, i, "ssm_alpha.weight", E, s->state_heads, 1);
    matrix(m, i, "ssm_beta.weight", E, s->state_heads, 1);
    add(m, i, "ssm_conv1d.weight", TYPE_F32, s->taps, channels, 1, 15, 0);
    vector(m, i, "ssm_a", s->state_heads, 1, -0.5f);
    vector(m, i, "ssm_dt.bias", s->state_heads, 1, 0);
    vector(m, i, "ssm_norm.weight", s->state, 1, 1);
    matrix(m, i, "ssm_out.weight", inner, E, 1);
}

static void add_layer(maker *m, int i) {
    const synthetic_shape *s = m->shape;
    uint64_t E = s->n_embd, X = s->n_expert;
    vector(m, i, "attn_norm.weight", E, 1, 1);
    if (s->taps && ((uint32_t)i + 1) % s->interval) add_delta_net(m, i);
    else add_attention(m, i);
    vector(m, i, s->taps ? "post_attention_norm.weight" : "ffn_norm.weight", E, 1, 1);
    if (X) {
        add(m, i, "ffn_gate_inp.weight", TYPE_F32, E, X, 1, 1, 0);
        matrix(m, i, "ffn_gate_exps.weight", E, s->expert_ff, X);
        matrix(m, i, "ffn_up_exps.weight", E, s->expert_ff, X);
        matrix(m, i, "ffn_down_exps.weight", s->expert_ff, E, X);
        return;
    }
    matrix(m, i, "ffn_gate.weight", E, s->n_ff, 1);
    matrix(m, i, "ffn_up.weight", E, s->n_ff, 1);
    matrix(m, i, "ffn_down.weight", s->n_ff, E, 1);
}

static void add_tensors(maker *m) {
    const synthetic_shape *s = m->shape;
    matrix(m, -1, "token_embd.weight", s->n_embd, s->n_vocab, 1);
    vector(m, -1, "output_norm.weight", s->n_embd, 1, 1);
    if (!s->tied) matrix(m, -1, "output.weight", s->n_embd, s->n_vocab, 1);
    for (uint32_t i = 0; i < s->n_layer; i++) add_layer(m, (int)i);
}

/* ---- the file ---- */

static void add_keys(gguf_writer *w, const synthetic_shape *s) {
    char key[96];
#define KEY(part) (snprintf(key, sizeof key, "%s.%s", s->arch, part), key)
    gguf_add_string(w, "general.architecture", s->arch, strlen(s->arch));
    gguf_add_string(w, "general.name", s->name, strlen(s->name));
    const struct { const char *name; uint32_t value;
    } counts[] = {{"block_count", s->n_layer},
                  {"embedding_length", s->n_embd},
                  {"context_length", s->context},
                  {"feed_forward_length", s->n_ff},
                  {"attention.head_count", s->n_head},
                  {"attention.head_count_kv", s->n_head_kv},
                  {"attention.key_length", s->head_size},
                  {"attention.value_length", s->head_size},
                  {"expert_count", s->n_expert},
                  {"expert_used_count", s->n_used},
                  {"expert_feed_forward_length", s->expert_ff},
                  {"ssm.conv_kernel", s->taps},
                  {"ssm.state_size", s->state},
                  {"ssm.group_count", s->groups},
                  {"ssm.time_step_rank", s->state_heads},
                  {"ssm.inner_size", s->state_heads * s->state},
                  {"full_attention_interval", s->interval},
                  {"rope.dimension_count", s->taps ? s->head_size / 4 : s->head_size}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value) gguf_add_u32(w, KEY(counts[i].name), counts[i].value);
    gguf_add_f32(w, KEY("attention.layer_norm_rms_epsilon"), 1e-6f);
    gguf_add_f32(w, KEY("rope.freq_base"), 10000);
#undef KEY
}

/* SentencePiece-like: the bytes, and words that no text has. */
static void add_vocabulary(gguf_writer *w, uint32_t n) {
    gguf_string *tokens = calloc(n, sizeof *tokens);
    float *scores = calloc(n, sizeof *scores);
    int32_t *types = calloc(n, sizeof *types);
    char(*text)[16] = calloc(n, sizeof *text);
    if (!tokens || !scores || !types || !text) fail("a vocabulary", "no memory");
    for (uint32_t i = 0; i < n; i++) {
        types[i] = i < 1 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        if (i < 3)
            snprintf(text[i], sizeof *text, "%s", i == 0 ? "<unk>" : i == 1 ? "<s>" : "</s>");
        else if (i < 259) snprintf(text[i], sizeof *text, "<0x%02X>", i - 3);
        else snprintf(text[i], sizeof *text, "\xe2\x96\x81w%u", i);
        scores[i] = -(float)i;
        tokens[i] = (gguf_string){text[i], strlen(text[i])};
    }
    gguf_add_string(w, "tokenizer.ggml.model", "llama", 5);
    gguf_add_strings(w, "tokenizer.ggml.tokens", tokens, n);
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, scores, n);
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, types, n);
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_add_u32(w, "tokenizer.ggml.eos_token_id", 2);
    free(tokens);
    free(scores);
    free(types);
    free(text);
}

static const uint8_t *pattern_of(maker *m, weight_type type) {
    if (m->pattern[type]) return m->pattern[type];
    const weight_format *f = weight_format_of(type);
    float *x = malloc(PATTERN * sizeof *x);
    m->pattern[type] = malloc(PATTERN / f->block * f->bytes);
    if (!x || !m->pattern[type]) fail(f->name, "no memory");
    for (size_t i = 0; i < PATTERN; i++) x[i] = 0.02f * normal();
    f->from_float(x, m->pattern[type], PATTERN);
    free(x);
    return m->pattern[type];
}

static pl_code write_tensor(maker *m, gguf_writer *w, const tensor *t, pl_error *e) {
    const weight_format *f = weight_format_of(t->type);
    size_t left = t->ne[0] * t->ne[1] * t->ne[2];
    pl_code rc = PL_OK;
    if (t->type == TYPE_F32) { /* small, and not like the others */
        float *x = malloc(left * sizeof *x);
        if (!x) fail(t->name, "no memory");
        for (size_t i = 0; i < left; i++) x[i] = t->offset + t->scale * 0.02f * normal();
        rc = gguf_write_data(w, x, left * sizeof *x, e);
        free(x);
        return rc;
    }
    const uint8_t *p = pattern_of(m, t->type);
    size_t at = (size_t)(uniform() * 64) * (PATTERN / 64);
    while (left > 0 && !rc) {
        size_t n = left < PATTERN - at ? left : PATTERN - at;
        rc = gguf_write_data(w, p + at / f->block * f->bytes, n / f->block * f->bytes, e);
        left -= n;
        at = 0;
    }
    return rc;
}

char *synthetic_model(const char *folder, const synthetic_shape *s, const char *mix) {
    size_t room = strlen(folder) + 64;
    char *path = malloc(room);
    maker *m = calloc(1, sizeof *m);
    pl_error e;
    if (!path || !m) fail(s->name, "no memory");
    snprintf(path, room, "%s/%s-%s.gguf", folder, s->name, mix);
    if (access(path, R_OK) == 0) return free(m), path;
    m->shape = s;
    m->mix = mix;
    add_tensors(m);
    gguf_writer *w = gguf_writer_new();
    add_keys(w, s);
    add_vocabulary(w, s->n_vocab);
    for (size_t i = 0; i < m->n; i++) {
        const tensor *t = &m->t[i];
        gguf_add_tensor(w, t->name, t->type, t->ne[2] > 1 ? 3 : t->ne[1] > 1 ? 2 : 1, t->ne, NULL);
    }
    pl_code rc = gguf_write_begin(w, path, &e);
    for (size_t i = 0; i < m->n && !rc; i++) rc = write_tensor(m, w, &m->t[i], &e);
    if (rc || gguf_write_end(w, &e)) fail(path, e.message);
    gguf_writer_free(w);
    for (size_t t = 0; t < TYPE_COUNT; t++) free(m->pattern[t]);
    free(m);
    return path;
}
