/* test_arch.c: random models of every architecture against the straight-line reference
 * (reference.c), and the reference against llama.cpp's logits where the shared test data has them;
 * what architectures add to caches and to loading. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "reference.h"
#include "support.h"
#include "tiny.h"
#include "ways.h"

#define N 60 /* tokens of a sequence */

static void make_tokens(int32_t *tokens, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(tiny_random(&seed) % 320);
}

/* ---- the models ---- */

typedef struct {
    const char *arch, *what;
    unsigned parts;
    /* 0: tiny_default's, the whole head, the trained context */
    uint32_t n_layer, n_head, n_head_kv, head_size, n_rot, context;
    tiny_key keys[8];
    const char *window_layers;
    uint32_t n_shared, n_per_layer;
} variant;

#define TEXT(name, text) {name, 's', 0, text}
#define NUMBER(name, number) {name, 'f', number, NULL}
#define COUNT(name, number) {name, 'u', number, NULL}
#define LINEAR(factor) \
    TEXT("rope.scaling.type", "linear"), NUMBER("rope.scaling.factor", factor)
#define YARN                                                                \
    TEXT("rope.scaling.type", "yarn"), NUMBER("rope.scaling.factor", 4),    \
        COUNT("rope.scaling.original_context_length", 24)
#define LONG_ROPE \
    COUNT("rope.scaling.original_context_length", 64), NUMBER("rope.scaling.attn_factor", 1.19)
#define WINDOW COUNT("attention.sliding_window", 11)

#define ALL_BIASES (TINY_QKV_BIAS | TINY_O_BIAS | TINY_FFN_BIAS)
#define FUSED (TINY_FUSED_QKV | TINY_FUSED_UP)
#define GEMMA3 (TINY_POST_NORMS | TINY_HEAD_NORMS)
#define OLMO2 (TINY_POST_NORMS | TINY_NO_PRE_NORMS | TINY_ROW_NORMS)

static const variant variants[] = {
    {"llama", "biases", ALL_BIASES, .n_layer = 2},
    {"llama", "linear RoPE scaling", 0, .keys = {LINEAR(4)}},
    {"mistral3", "YaRN, temperature", 0,
     .keys = {YARN, NUMBER("rope.scaling.yarn_log_multiplier", 1),
              NUMBER("attention.temperature_scale", 0.3)}},
    {"qwen2", "", TINY_QKV_BIAS, .n_layer = 2},
    {"qwen2", "YaRN", TINY_QKV_BIAS, .keys = {YARN}},
    {"qwen2vl", "sections", TINY_QKV_BIAS,
     .keys = {{"rope.dimension_sections", 'i', 0, "2,3,3,0"}}},
    {"qwen3", "wide heads", TINY_HEAD_NORMS, .head_size = 24},
    {"gemma2", "window, soft caps", TINY_POST_NORMS, .n_layer = 4,
     .keys = {WINDOW, NUMBER("attn_logit_softcapping", 5), NUMBER("final_logit_softcapping", 3)}},
    {"gemma3", "window, linear RoPE scaling", GEMMA3, .n_layer = 7,
     .keys = {WINDOW, LINEAR(8), NUMBER("rope.freq_base", 1e6)}},
    {"gemma3", "62 layers: scaled by the embedding per head", GEMMA3, .n_layer = 62, .n_head = 2,
     .n_head_kv = 1, .head_size = 16, .keys = {WINDOW}},
    {"gemma4", "window, shared keys, per-layer embeddings", GEMMA3 | TINY_OUTPUT_SCALE,
     .n_layer = 7, .head_size = 32, .n_shared = 3, .n_per_layer = 32,
     .window_layers = "1,0,1,0,1,1,0",
     .keys = {WINDOW, NUMBER("rope.freq_base", 1e6), NUMBER("final_logit_softcapping", 2)}},
    {"gemma4", "window, values from keys", GEMMA3 | TINY_OUTPUT_SCALE | TINY_VALUES_FROM_KEYS,
     .n_layer = 4, .head_size = 32, .window_layers = "1,1,0,1",
     .keys = {WINDOW, NUMBER("rope.freq_base_swa", 5000)}},
    {"phi3", "fused, window", FUSED, .keys = {WINDOW}},
    {"phi3", "partial rotation, long factors", FUSED | TINY_LONG_FACTORS, .n_rot = 12,
     .context = 128, .keys = {LONG_ROPE}},
    {"phi3", "partial rotation, short factors", FUSED | TINY_LONG_FACTORS, .n_rot = 12,
     .context = 64, .keys = {LONG_ROPE}},
    {"smollm3", "layers without RoPE", 0, .n_layer = 5},
    {"granite", "multipliers", 0,
     .keys = {NUMBER("embedding_scale", 12), NUMBER("residual_scale", 0.22),
              NUMBER("logit_scale", 8), NUMBER("attention.scale", 0.1)}},
    {"granite", "without RoPE", 0, .keys = {{"rope.scaling.finetuned", 'b', 0, NULL}}},
    {"gpt2", "", TINY_LAYER_NORM | TINY_FUSED_QKV | ALL_BIASES | TINY_UNGATED | TINY_POSITIONS,
     .n_head_kv = 4},
    {"olmo2", "", OLMO2, .n_layer = 2},
    {"olmo2", "window, YaRN", OLMO2, .n_layer = 5,
     .keys = {WINDOW, YARN, NUMBER("rope.scaling.attn_factor", 1.2)}},
    {"glm4", "partial rotation", TINY_POST_NORMS | TINY_QKV_BIAS | TINY_FUSED_UP, .n_rot = 8},
    {"ernie4_5", "", 0, .n_layer = 2},
    {"seed_oss", "", TINY_QKV_BIAS | TINY_FFN_NORM_IS_POST, .head_size = 24},
    {"starcoder2", "", TINY_LAYER_NORM | ALL_BIASES | TINY_UNGATED, .n_layer = 2},
    {"stablelm", "partial rotation", TINY_LAYER_NORM | TINY_QKV_BIAS, .n_rot = 4},
    {"stablelm", "parallel blocks, norms per head",
     TINY_LAYER_NORM | TINY_NO_FFN_NORM | TINY_HEAD_NORM_ROWS, .n_rot = 4},
};
#define N_VARIANTS (sizeof variants / sizeof *variants)

static const char *make_model(const variant *v, weight_type type) {
    tiny_shape s = tiny_default();
    s.arch = v->arch;
    s.type = type;
    s.parts = v->parts;
    s.keys = v->keys;
    s.n_rot = v->n_rot;
    s.head_size = v->head_size;
    s.tied = strlen(v->what) % 2 == 0 || !strcmp(v->arch, "gemma4");
    s.rope_factors = !strcmp(v->arch, "gemma4");
    s.window_layers = v->window_layers;
    s.head_size_window = 16;
    s.n_shared = v->n_shared;
    s.n_per_layer = v->n_per_layer;
    if (v->n_layer) s.n_layer = v->n_layer;
    if (v->n_head) s.n_head = v->n_head;
    if (v->n_head_kv) s.n_head_kv = v->n_head_kv;
    s.seed = (uint64_t)(v - variants) + 1;
    return tiny_model(&s);
}

/* Experts and recurrent layers: the shapes of tiny_hybrid, and what else files of these
 * architectures may say. */
typedef struct {
    const char *name, *what;
    tiny_key keys[4]; /* beside the shape's own */
    void (*change)(tiny_shape *);
} sparse_variant;

static void no_shared_expert(tiny_shape *s) { s->experts.n_ff_shared = 0; }
static void no_experts(tiny_shape *s) { s->experts = (tiny_experts){0}; }
static void two_groups(tiny_shape *s) { s->recurrent.groups = 2; }
static void every_third_attends(tiny_shape *s) { s->recurrent.interval = 3; }
static void one_key_head(tiny_shape *s) { s->recurrent.groups = 1; }
static void two_taps(tiny_shape *s) { s->recurrent.conv = 2; }
static void last_norm_as_elsewhere(tiny_shape *s) { s->parts &= ~(unsigned)TINY_LAST_NORM_RENAMED; }
static void values_from_keys(tiny_shape *s) { s->parts |= TINY_VALUES_FROM_KEYS; }
static void all_experts(tiny_shape *s) { s->experts.used = s->experts.n; }
static void one_expert(tiny_shape *s) { s->experts.used = 1; }

static const sparse_variant sparse_variants[] = {
    {"mixtral", .what = "experts"},
    {"mixtral", .what = "one expert of many", .change = one_expert},
    {"mixtral", .what = "weights as they are, scaled",
     .keys = {{"expert_weights_norm", 'b', 0, NULL}, NUMBER("expert_weights_scale", 1.5)}},
    {"qwen2moe", .what = "shared expert with a gate"},
    {"qwen2moe", .what = "renormalised", .keys = {{"expert_weights_norm", 'b', 1, NULL}}},
    {"qwen3moe", .what = "wide heads"},
    {"qwen3moe", .what = "softmax of the chosen, every one",
     .keys = {COUNT("expert_gating_func", 3)}, .change = all_experts},
    {"olmoe", .what = "norms over rows"},
    {"granitemoe", .what = "multipliers, shared expert"},
    {"granitemoe", .what = "multipliers", .change = no_shared_expert},
    {"gpt-oss", .what = "window, sinks, YaRN, biases, limits"},
    {"gemma4", .what = "window, experts beside a dense block"},
    {"gemma4", .what = "window, values from keys, experts", .change = values_from_keys},
    {"qwen35", .what = "every fourth attends"},
    {"qwen35", .what = "every third attends", .change = every_third_attends},
    {"qwen35", .what = "one head of keys", .change = one_key_head},
    {"qwen35moe", .what = "every fourth attends, experts"},
    {"lfm2", .what = "short convolutions"},
    {"lfm2", .what = "two taps", .change = two_taps},
    {"lfm2", .what = "the last norm's usual name", .change = last_norm_as_elsewhere},
    {"lfm2moe", .what = "sigmoids, biased choice, dense layers first"},
    {"lfm2moe", .what = "scaled", .keys = {NUMBER("expert_weights_scale", 2.5)}},
    {"granitehybrid", .what = "one group, experts, shared expert"},
    {"granitehybrid", .what = "two groups, experts, without RoPE",
     .keys = {{"rope.scaling.finetuned", 'b', 0, NULL}}, .change = two_groups},
    {"granitehybrid", .what = "dense", .change = no_experts},
};
#define N_SPARSE (sizeof sparse_variants / sizeof *sparse_variants)

static const char *make_sparse(const sparse_variant *v, weight_type type) {
    tiny_shape s = tiny_hybrid(v->name);
    s.type = type;
    s.more_keys = v->keys;
    s.seed = (uint64_t)(v - sparse_variants) + 101;
    if (v->change) v->change(&s);
    if (type != TYPE_F32)
        s.experts.used = s.experts.n; /* a router's choice could fall the other way */
    return tiny_model(&s);
}

/* ---- logits ---- */

TEST(every_architecture_matches_the_straight_line_reference) {
    int32_t tokens[N];
    make_tokens(tokens, N, 3);
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const variant *v = &variants[i];
        char what[96];
        const char *path = make_model(v, TYPE_F32);
        float *reference =
            reference_logits(path, tokens, N, v->context ? v->context : tiny_default().context);
        snprintf(what, sizeof what, "%s %s", v->arch, v->what);
        for (size_t k = 0; kernels_at(k); k++) {
            engine *g = open_engine(path, kernels_at(k)->name, KV_F32, 2, v->context);
            check_three_ways(g, what, tokens, N, reference, 1e-10);
            engine_close(g);
        }
        free(reference);
    }
}

TEST(quantized_weights_of_every_architecture_are_close_to_the_reference_of_the_same_weights) {
    int32_t tokens[N];
    make_tokens(tokens, N, 4);
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const variant *v = &variants[i];
        const char *path = make_model(v, TYPE_Q8_0);
        float *reference =
            reference_logits(path, tokens, N, v->context ? v->context : tiny_default().context);
        engine *g = open_engine(path, NULL, KV_Q8_0, 2, v->context);
        /* activations have 8 bits, up to 62 times */
        check_three_ways(g, v->arch, tokens, N, reference, 2e-2);
        engine_close(g);
        free(reference);
    }
}

TEST(quantized_experts_and_recurrent_layers_are_close_to_the_reference_of_the_same_weights) {
    int32_t tokens[N];
    make_tokens(tokens, N, 4);
    for (size_t i = 0; i < N_SPARSE; i++) {
        const sparse_variant *v = &sparse_variants[i];
        const char *path = make_sparse(v, TYPE_Q8_0);
        float *reference = reference_logits(path, tokens, N, tiny_default().context);
        engine *g = open_engine(path, NULL, i % 2 ? KV_Q8_0 : KV_F16, 2, 0);
        check_three_ways(g, v->name, tokens, N, reference, 2e-2);
        engine_close(g);
        free(reference);
    }
}

/* Logits of the first tokens do not depend on the others, those of the last do on the first. */
TEST(the_reference_of_experts_and_recurrent_layers_is_causal) {
    int32_t tokens[N];
    make_tokens(tokens, N, 3);
    for (size_t i = 0; i < N_SPARSE; i++) {
        const char *path = make_sparse(&sparse_variants[i], TYPE_F32);
        size_t V = tiny_default().n_vocab, half = N / 2;
        float *all = reference_logits(path, tokens, N, 512);
        float *some = reference_logits(path, tokens, half, 512);
        for (size_t j = 0; j < N * V; j++) assert_true(isfinite(all[j]));
        assert_memory_equal(all, some, half * V * sizeof *all);
        tokens[0] ^= 1;
        float *other = reference_logits(path, tokens, N, 512);
        tokens[0] ^= 1;
        assert_true(nmse(other + (N - 1) * V, all + (N - 1) * V, V) > 0);
        free(all);
        free(some);
        free(other);
    }
}

TEST(experts_and_recurrent_layers_match_the_straight_line_reference) {
    int32_t tokens[N];
    make_tokens(tokens, N, 3);
    for (size_t i = 0; i < N_SPARSE; i++) {
        const sparse_variant *v = &sparse_variants[i];
        char what[96];
        const char *path = make_sparse(v, TYPE_F32);
        float *reference = reference_logits(path, tokens, N, tiny_default().context);
        snprintf(what, sizeof what, "%s %s", v->name, v->what);
        for (size_t k = 0; kernels_at(k); k++) {
            engine *g = open_engine(path, kernels_at(k)->name, KV_F32, 2, 0);
            check_three_ways(g, what, tokens, N, reference, 1e-10);
            engine_close(g);
        }
        free(reference);
    }
}

TEST(the_reference_matches_llama_cpp) {
    static const char *const archs[] = {"llama",    "qwen2",    "qwen3",    "gemma2",
                                        "gemma3",   "olmo2",    "phi3",     "gpt2",
                                        "granite",  "smollm3",  "mistral3", "gemma4",
                                        "qwen2moe", "qwen3moe", "gpt-oss",  "qwen35"};
    const char *folder;
    char path[4096];
    size_t n_cases = 0;
    SHARED_OR_SKIP(folder, "parity");
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    char *manifest = read_whole(path, NULL);
    for (char *line = strtok(manifest, "\n"); line; line = strtok(NULL, "\n")) {
        parity_case c;
        bool known = false;
        if (!read_case(line, &c) || (strcmp(c.type, "F32") && strcmp(c.arch, "phi3"))) continue;
        for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
            known = known || !strcmp(archs[i], c.arch);
        if (!known) continue;
        n_cases++;
        snprintf(path, sizeof path, "%s/%s.logits", folder, c.name);
        float *expected = (float *)read_whole(path, NULL);
        snprintf(path, sizeof path, "%s/%s.gguf", folder, c.name);
        float *reference = reference_logits(path, c.tokens, c.n, 512);
        double error = nmse(reference, expected, c.n * c.n_vocab);
        print_message("%-14s NMSE %.2e\n", c.name, error);
        /* what an F16 cache, or llama.cpp's table for GELU, is off by */
        if (!(error <= 1e-6)) fail_msg("%s: NMSE %.2e", c.name, error);
        free(expected);
        free(reference);
    }
    free(manifest);
    assert_int_equal(n_cases, sizeof archs / sizeof *archs + 3); /* gemma4 has three, llama two */
}

/* ---- caches ---- */

TEST(caches_of_models_with_windows_rewind_and_fork_to_the_bit) {
    int32_t tokens[90], other[40];
    make_tokens(tokens, 90, 5);
    make_tokens(other, 40, 6);
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const variant *v = &variants[i];
        if (!strstr(v->what, "window")) continue;
        engine *g = open_engine(make_model(v, TYPE_F32), NULL, KV_F16, 2, 0);
        size_t V = engine_model(g)->hp.n_vocab;
        pl_error e;
        cache_node *empty, *whole, *back;
        assert_int_equal(node_empty(engine_store(g), &empty, &e), PL_OK);
        float *all = logits_behind(g, empty, tokens, 90, 90, &whole);
        for (size_t at = 1; at < 90; at += 17) { /* within the window, at its edge, far beyond */
            int32_t joined[130];
            memcpy(joined, tokens, at * sizeof *tokens);
            memcpy(joined + at, other, sizeof other);
            float *fresh = logits_in_chunks(g, joined, at + 40, at + 40);
            assert_int_equal(node_truncate(whole, at, &back, &e), PL_OK);
            float *branch = logits_behind(g, back, other, 40, 9, NULL);
            assert_memory_equal(branch, fresh + at * V, 40 * V * sizeof *fresh);
            float *again = logits_behind(g, back, tokens + at, 90 - at, 13, NULL);
            assert_memory_equal(again, all + at * V, (90 - at) * V * sizeof *all);
            node_release(back);
            free(fresh);
            free(branch);
            free(again);
        }
        free(all);
        node_release(whole);
        node_release(empty);
        engine_close(g);
    }
}

TEST(layers_that_share_keys_and_values_own_no_bytes) {
    const variant *v = variants;
    while (!v->n_shared) v++;
    engine *g = open_engine(make_model(v, TYPE_F32), NULL, KV_F32, 1, 0);
    /* 7 layers, of which the last 3 own none: 2 with a window and heads of 16, 2 with heads of 32;
     * 2 key/value heads */
    assert_int_equal(engine_model(g)->block_bytes,
                     KV_TILE * sizeof(float) * 2 * 2 * (2 * 16 + 2 * 32));
    engine_close(g);
}

/* ---- loading ---- */

static void check_refused(const char *path, uint32_t context, const char *says) {
    pl_error e;
    engine *g;
    engine_options o = {.model = {.path = path, .context = context, .threads = 1}};
    assert_int_not_equal(engine_open(&o, &g, &e), PL_OK);
    if (!strstr(e.message, says)) fail_msg("'%s' does not say '%s'", e.message, says);
}

TEST(what_is_not_supported_is_refused_by_name) {
    tiny_shape s = tiny_default();
    s.keys = (tiny_key[]){{"expert_count", 'u', 8, 0}, {"expert_used_count", 'u', 2, 0},
                          {"expert_gating_func", 'u', 4, 0}, {0}};
    check_refused(tiny_model(&s), 0, "llama.expert_gating_func is 4: 1 (softmax), 2");
    s.keys = (tiny_key[]){{"expert_count", 'u', 8, 0}, {"expert_used_count", 'u', 2, 0},
                          {"expert_group_count", 'u', 4, 0}, {0}};
    check_refused(tiny_model(&s), 0, "llama.expert_group_count is 4: experts in groups");
    s.keys = (tiny_key[]){{"rope.scaling.type", 's', 0, "ntk"}, {0}};
    check_refused(tiny_model(&s), 0, "RoPE scaling of type 'ntk'");
    s.keys = NULL;
    s.arch = "rwkv7";
    check_refused(tiny_model(&s), 0,
                  "the architecture 'rwkv7' is not supported; these are: llama, ");
    s.arch = "qwen2";
    check_refused(tiny_model(&s), 0, "the tensor 'blk.0.attn_q.bias' is missing");
    s.arch = "qwen3";
    check_refused(tiny_model(&s), 0, "the tensor 'blk.0.attn_q_norm.weight' is missing");
    s.arch = "llama";
    s.parts = TINY_POST_NORMS;
    check_refused(tiny_model(&s), 0,
                  "'blk.0.post_attention_norm.weight' is not part of the architecture 'llama'");
}

TEST(keys_that_contradict_the_layers_are_refused) {
    tiny_shape s = tiny_default();
    s.keys = (tiny_key[]){{"attention.shared_kv_layers", 'u', 2, 0}, {0}};
    check_refused(tiny_model(&s), 0, "attention.shared_kv_layers");
    s.keys = (tiny_key[]){{"nextn_predict_layers", 'u', 2, 0}, {0}};
    check_refused(tiny_model(&s), 0, "nextn_predict_layers");
    s.n_rot = 18;
    s.keys = NULL;
    check_refused(tiny_model(&s), 0, "rope.dimension_count is 18");
    s.n_rot = 0;
    s.arch = "gemma3";
    s.parts = TINY_POST_NORMS | TINY_HEAD_NORMS;
    s.keys = (tiny_key[]){WINDOW, {"attention.sliding_window_pattern", 'i', 0, "1,0,1"}, {0}};
    check_refused(tiny_model(&s), 0, "sliding_window_pattern");
}

TEST(a_context_beyond_learned_positions_is_refused) {
    const variant *gpt2 = variants;
    while (strcmp(gpt2->arch, "gpt2")) gpt2++;
    check_refused(make_model(gpt2, TYPE_F32), 513,
                  "context is 513: the model has learned 512 positions");
}

TEST(tensors_of_other_parts_are_passed_over_and_counted) {
    tiny_shape s = tiny_default();
    int32_t tokens[N];
    make_tokens(tokens, N, 7);
    engine *plain = open_engine(tiny_model(&s), NULL, KV_F16, 1, 0);
    s.parts = TINY_VISION;
    s.n_layer = 3; /* the third predicts further tokens */
    s.keys = (tiny_key[]){{"nextn_predict_layers", 'u', 1, 0}, {0}};
    engine *more = open_engine(tiny_model(&s), NULL, KV_F16, 1, 0);
    const model *m = engine_model(more);
    assert_int_equal(m->hp.n_layer, 2);
    assert_string_equal(m->skipped[0].what, "vision");
    assert_int_equal(m->skipped[0].n_tensors, 2);
    assert_int_equal(m->skipped[0].n_bytes, 2 * 32 * (8 + 4));
    assert_string_equal(m->skipped[1].what, "multi-token prediction");
    assert_int_equal(m->skipped[1].n_tensors, 9);
    assert_null(m->skipped[2].what);
    assert_int_equal(m->n_params, engine_model(plain)->n_params);
    assert_int_equal(m->n_bytes, engine_model(plain)->n_bytes);
    engine_close(plain);
    engine_close(more);
}

TEST(loading_without_memory_is_an_error_without_a_leak) {
    static const char *const archs[] = {"gemma4", "phi3",   "stablelm",      "qwen35moe",
                                        "lfm2",   "gpt-oss", "granitehybrid"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        const variant *v = variants;
        const sparse_variant *w = sparse_variants;
        if (i < 3)
            while (strcmp(v->arch, archs[i])) v++;
        else
            while (strcmp(w->name, archs[i])) w++;
        const char *path = i < 3 ? make_model(v, TYPE_F32) : make_sparse(w, TYPE_Q8_0);
        long before = mem_live();
        for (long n = 1;; n++) {
            pl_error e;
            model *m = NULL;
            mem_fail_at(n);
            pl_code code = model_load(&(model_options){.path = path, .threads = 1}, &m, &e);
            bool reached = mem_asked() >= n;
            mem_fail_at(0);
            if (code == PL_OK) model_free(m);
            assert_int_equal(mem_live(), before);
            if (!reached) {
                assert_int_equal(code, PL_OK);
                break;
            }
        }
    }
}

TEST(cache_files_know_the_rotation_that_their_keys_have) {
    const variant *v = variants;
    while (!strstr(v->what, "long factors")) v++;
    const char *path = make_model(v, TYPE_F32);
    pl_error e;
    uint64_t fingerprint[3];
    for (size_t i = 0; i < 3; i++) {
        engine *g = open_engine(path, NULL, KV_F16, 1, i == 0 ? 64 : i == 1 ? 65 : 512);
        assert_int_equal(model_fingerprint(engine_model(g), &fingerprint[i], &e), PL_OK);
        engine_close(g);
    }
    assert_true(fingerprint[0] != fingerprint[1]); /* short factors, long ones */
    assert_true(fingerprint[1] == fingerprint[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_matches_the_straight_line_reference),
        cmocka_unit_test(
            quantized_weights_of_every_architecture_are_close_to_the_reference_of_the_same_weights),
        cmocka_unit_test(
            quantized_experts_and_recurrent_layers_are_close_to_the_reference_of_the_same_weights),
        cmocka_unit_test(the_reference_of_experts_and_recurrent_layers_is_causal),
        cmocka_unit_test(experts_and_recurrent_layers_match_the_straight_line_reference),
        cmocka_unit_test(the_reference_matches_llama_cpp),
        cmocka_unit_test(caches_of_models_with_windows_rewind_and_fork_to_the_bit),
        cmocka_unit_test(layers_that_share_keys_and_values_own_no_bytes),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(keys_that_contradict_the_layers_are_refused),
        cmocka_unit_test(a_context_beyond_learned_positions_is_refused),
        cmocka_unit_test(tensors_of_other_parts_are_passed_over_and_counted),
        cmocka_unit_test(loading_without_memory_is_an_error_without_a_leak),
        cmocka_unit_test(cache_files_know_the_rotation_that_their_keys_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
