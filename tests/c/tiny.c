/* tiny.c: see tiny.h. The vocabulary is SentencePiece-like, with every byte, so any text can be encoded. */
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
    return (tiny_shape){.type = TYPE_F32, .n_layer = 2, .n_embd = 64, .n_head = 4, .n_head_kv = 2, .n_ff = 96,
                        .context = 512, .n_vocab = 320, .seed = 1};
}

#define KEEP 1024 /* tensors of one model at most */

typedef struct { gguf_writer *w; void *data[KEEP]; size_t n; uint64_t seed; const tiny_edit *edit; } maker;

static bool edited(const maker *m, const char *key) { return m->edit && m->edit->key && !strcmp(m->edit->key, key); }

static void add_u32(maker *m, const char *key, uint32_t v) {
    if (!edited(m, key)) gguf_add_u32(m->w, key, v);
}

/* A tensor of zeros, of the edit's own shape and type. */
static void add_edited(maker *m, const char *name, uint32_t type, uint64_t n_in, uint64_t n_out) {
    const tiny_edit *t = m->edit;
    uint64_t ne[2] = {t->ne[0] ? t->ne[0] : n_in, t->ne[1] ? t->ne[1] : n_out};
    if (!t->ne[0] && !t->ne[1] && !t->type) return;
    m->data[m->n] = calloc(ne[0] * ne[1], 8);
    assert_non_null(m->data[m->n]);
    gguf_add_tensor(m->w, name, t->type ? t->type : type, ne[1] > 1 ? 2 : 1, ne, m->data[m->n]);
    m->n++;
}

static void add(maker *m, const char *name, weight_type type, uint64_t n_in, uint64_t n_out, float scale, float offset) {
    if (m->edit && m->edit->tensor && !strcmp(m->edit->tensor, name)) {
        add_edited(m, name, type, n_in, n_out);
        return;
    }
    const weight_format *f = weight_format_of(type);
    size_t n = n_in * n_out;
    float *x = malloc(n * sizeof *x);
    void *data = malloc(n / f->block * f->bytes);
    assert_true(x && data && m->n < KEEP);
    for (size_t i = 0; i < n; i++) /* uniform of the given standard deviation */
        x[i] = offset + scale * 1.7320508f * (float)((double)(tiny_random(&m->seed) >> 11) * 0x1p-52 - 1);
    f->from_float(x, data, n);
    free(x);
    m->data[m->n++] = data;
    gguf_add_tensor(m->w, name, type, n_out > 1 ? 2 : 1, (uint64_t[]){n_in, n_out}, data);
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
        else snprintf(text[i], sizeof *text, "%c%c", letters[(i - 312) % 26], letters[(i - 312) / 26 % 26]);
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

const char *tiny_model(const tiny_shape *s) {
    maker m = {.w = gguf_writer_new(), .seed = s->seed, .edit = s->edit};
    uint32_t D = s->head_size ? s->head_size : s->n_embd / s->n_head, E = s->n_embd;
    float in = 1 / sqrtf((float)E), out = 1 / sqrtf((float)(s->n_head * D)), ff = 1 / sqrtf((float)s->n_ff);
    char name[64];
    assert_non_null(m.w);
    if (!edited(&m, "general.architecture")) gguf_add_string(m.w, "general.architecture", "llama", 5);
    gguf_add_string(m.w, "general.name", "tiny", 4);
    add_u32(&m, "llama.context_length", s->context);
    add_u32(&m, "llama.embedding_length", E);
    add_u32(&m, "llama.block_count", s->n_layer);
    add_u32(&m, "llama.feed_forward_length", s->n_ff);
    add_u32(&m, "llama.attention.head_count", s->n_head);
    add_u32(&m, "llama.attention.head_count_kv", s->n_head_kv);
    if (!edited(&m, "llama.attention.layer_norm_rms_epsilon"))
        gguf_add_f32(m.w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (s->head_size) {
        add_u32(&m, "llama.attention.key_length", D);
        add_u32(&m, "llama.attention.value_length", D);
    }
    if (s->edit && s->edit->more) s->edit->more(m.w);
    add_vocabulary(&m, s->n_vocab);
    add(&m, "token_embd.weight", s->type, E, s->n_vocab, 0.5f, 0);
    add(&m, "output_norm.weight", TYPE_F32, E, 1, 0.1f, 1);
    if (!s->tied) add(&m, "output.weight", s->type, E, s->n_vocab, 2 * in, 0);
    if (s->rope_factors) add(&m, "rope_freqs.weight", TYPE_F32, D / 2, 1, 1, 4);
    for (uint32_t i = 0; i < s->n_layer; i++) {
#define LAYER(part) (snprintf(name, sizeof name, "blk.%u.%s.weight", i, part), name)
        add(&m, LAYER("attn_norm"), TYPE_F32, E, 1, 0.1f, 1);
        add(&m, LAYER("attn_q"), s->type, E, s->n_head * D, 2 * in, 0);
        add(&m, LAYER("attn_k"), s->type, E, s->n_head_kv * D, 2 * in, 0);
        add(&m, LAYER("attn_v"), s->type, E, s->n_head_kv * D, in, 0);
        add(&m, LAYER("attn_output"), s->type, s->n_head * D, E, out, 0);
        add(&m, LAYER("ffn_norm"), TYPE_F32, E, 1, 0.1f, 1);
        add(&m, LAYER("ffn_gate"), s->type, E, s->n_ff, 2 * in, 0);
        add(&m, LAYER("ffn_up"), s->type, E, s->n_ff, in, 0);
        add(&m, LAYER("ffn_down"), s->type, s->n_ff, E, ff, 0);
#undef LAYER
    }
    if (s->edit && s->edit->extra) add(&m, s->edit->extra, TYPE_F32, 32, 1, 1, 0);
    const char *path = temp_path(".gguf");
    pl_error e;
    if (gguf_write(m.w, path, &e)) fail_msg("%s", e.message);
    gguf_writer_free(m.w);
    for (size_t i = 0; i < m.n; i++) free(m.data[i]);
    return path;
}

engine *tiny_engine(const char *path, size_t cache_bytes, uint32_t threads) {
    engine_options o = {.model = {.path = path, .kv = KV_F16, .threads = threads}, .cache_bytes = cache_bytes};
    pl_error e;
    engine *g;
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

cache_node *tiny_cache(engine *g, const int32_t *tokens, size_t n) {
    cache_node *empty, *out = NULL;
    pl_error e;
    if (node_empty(engine_store(g), &empty, &e) || node_extend(empty, tokens, n, &out, &e)) fail_msg("%s", e.message);
    node_release(empty);
    return out;
}

void tiny_tokens(uint64_t *state, int32_t *out, size_t n, uint32_t n_vocab) {
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)(tiny_random(state) % n_vocab);
}
