/* test_parity.c: the logits of the parity models against llama.cpp's (shared test data), processed in one prefill, token by
 * token and in chunks of 7, on every kernel table that runs here; and the same three ways on the suite's own models: the
 * bits must be the same. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/engine.h"
#include "support.h"
#include "tiny.h"

#define MAX_TOKENS 64

typedef struct {
    char name[64], arch[32], type[16];
    int32_t tokens[MAX_TOKENS];
    size_t n, n_vocab;
    double nmse;
} parity_case;

/* One line of manifest.json. */
static bool read_case(const char *line, parity_case *c) {
    const char *t = strstr(line, "\"tokens\": ["), *v = strstr(line, "\"n_vocab\": "), *e = strstr(line, "\"llama_cpp_nmse\": ");
    if (!t || !v || !e || sscanf(line, "{\"name\": \"%63[^\"]\", \"arch\": \"%31[^\"]\", \"type\": \"%15[^\"]\"", c->name,
                                 c->arch, c->type) != 3)
        return false;
    char *at = (char *)strchr(t, '[');
    for (c->n = 0; *at != ']' && c->n < MAX_TOKENS;) c->tokens[c->n++] = (int32_t)strtol(at + 1, &at, 10);
    c->n_vocab = (size_t)strtol(v + strlen("\"n_vocab\": "), NULL, 10);
    c->nmse = strtod(e + strlen("\"llama_cpp_nmse\": "), NULL);
    return true;
}

static engine *open_engine(const char *path, const char *isa, kv_type kv, uint32_t threads) {
    pl_error e;
    engine *g;
    engine_options o = {.model = {.path = path, .kv = kv, .isa = isa, .threads = threads}};
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

/* Logits after each of tokens[0..n), processed in chunks of `chunk`: [n][n_vocab], to be freed. */
static float *logits_in_chunks(engine *g, const int32_t *tokens, size_t n, size_t chunk) {
    pl_error e;
    size_t V = engine_model(g)->hp.n_vocab;
    float *out = malloc(n * V * sizeof *out);
    cache_node *node, *next;
    assert_int_equal(node_empty(engine_store(g), &node, &e), PL_OK);
    for (size_t at = 0; at < n; at += chunk) {
        size_t count = n - at < chunk ? n - at : chunk;
        job *j;
        assert_int_equal(node_extend(node, tokens + at, count, &next, &e), PL_OK);
        node_release(node);
        node = next;
        assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){node, at, count}, 1, &j, &e), PL_OK);
        if (job_run(j, &e)) fail_msg("%s", e.message);
        memcpy(out + at * V, job_row(j, 0), count * V * sizeof *out);
        job_close(j);
    }
    node_release(node);
    return out;
}

static double nmse(const float *x, const float *reference, size_t n) {
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        error += pow((double)x[i] - (double)reference[i], 2);
        power += pow((double)reference[i], 2);
    }
    return error / power;
}

static bool supported(const parity_case *c) {
    static const char *const types[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q6_K"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(c->arch, "llama") && !strcmp(c->type, types[i]) && strcmp(c->name, "mixtral")) return true;
    return false;
}

/* The three ways give the same bits, and those are within `bound` of the reference (if there is one). */
static void check_three_ways(engine *g, const char *what, const int32_t *tokens, size_t n, const float *reference, double bound) {
    size_t V = engine_model(g)->hp.n_vocab;
    float *whole = logits_in_chunks(g, tokens, n, n), *single = logits_in_chunks(g, tokens, n, 1);
    float *sevens = logits_in_chunks(g, tokens, n, 7);
    assert_memory_equal(whole, single, n * V * sizeof *whole);
    assert_memory_equal(whole, sevens, n * V * sizeof *whole);
    if (reference) {
        double error = nmse(whole, reference, n * V);
        print_message("%-14s %-7s kv %s: NMSE %.2e, bound %.2e\n", what, engine_model(g)->math->name,
                      engine_model(g)->kv == KV_F32 ? "f32" : "f16", error, bound);
        assert_true(error <= bound);
    }
    free(whole);
    free(single);
    free(sevens);
}

static void check_case(const char *folder, const parity_case *c, const char *isa, kv_type kv) {
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%s/%s.logits", folder, c->name);
    float *reference = (float *)read_whole(path, &size);
    assert_int_equal(size, c->n * c->n_vocab * sizeof(float));
    snprintf(path, sizeof path, "%s/%s.gguf", folder, c->name);
    bool exact = !strcmp(c->type, "F32");
    double bound = !exact ? 1.25 * c->nmse + 1e-5 : kv == KV_F32 ? 1e-6 : 1e-5;
    engine *g = open_engine(path, isa, kv, 2);
    check_three_ways(g, c->name, c->tokens, c->n, reference, bound);
    engine_close(g);
    free(reference);
}

TEST(logits_match_llama_cpp_in_one_prefill_token_by_token_and_in_chunks) {
    const char *folder;
    char path[4096];
    size_t n_cases = 0;
    SHARED_OR_SKIP(folder, "parity");
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    char *manifest = read_whole(path, NULL);
    for (char *line = strtok(manifest, "\n"); line; line = strtok(NULL, "\n")) {
        parity_case c;
        if (!read_case(line, &c) || !supported(&c)) continue;
        n_cases++;
        for (size_t i = 0; kernels_at(i); i++) {
            check_case(folder, &c, kernels_at(i)->name, KV_F32);
            check_case(folder, &c, kernels_at(i)->name, KV_F16);
        }
    }
    free(manifest);
    assert_int_equal(n_cases, 6);
}

TEST(three_ways_and_any_number_of_threads_give_the_same_bits) {
    static const weight_type types[] = {TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_Q8_0, TYPE_Q4_0, TYPE_Q6_K};
    int32_t tokens[90];
    uint64_t seed = 5;
    for (size_t i = 0; i < 90; i++) tokens[i] = (int32_t)(tiny_random(&seed) % 320);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        tiny_shape shape = tiny_default();
        shape.type = types[t];
        if (types[t] == TYPE_Q6_K) shape.n_embd = shape.n_ff = 256; /* whole blocks */
        shape.tied = t % 2;
        shape.rope_factors = t % 3 == 0;
        const char *path = tiny_model(&shape);
        for (size_t i = 0; kernels_at(i); i++) {
            float *first = NULL;
            for (uint32_t threads = 1; threads <= 3; threads++) {
                engine *g = open_engine(path, kernels_at(i)->name, KV_F16, threads);
                check_three_ways(g, "tiny", tokens, 90, NULL, 0);
                float *all = logits_in_chunks(g, tokens, 90, 50);
                if (first) assert_memory_equal(first, all, 90 * 320 * sizeof *all);
                else first = all;
                if (first != all) free(all);
                engine_close(g);
            }
            free(first);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_match_llama_cpp_in_one_prefill_token_by_token_and_in_chunks),
        cmocka_unit_test(three_ways_and_any_number_of_threads_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
