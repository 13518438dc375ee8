/* ways.c: see ways.h. */
#include "ways.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

bool read_case(const char *line, parity_case *c) {
    const char *t = strstr(line, "\"tokens\": ["), *v = strstr(line, "\"n_vocab\": "),
               *e = strstr(line, "\"llama_cpp_nmse\": ");
    if (!t || !v || !e ||
        sscanf(line, "{\"name\": \"%63[^\"]\", \"arch\": \"%31[^\"]\", \"type\": \"%15[^\"]\"",
               c->name, c->arch, c->type) != 3)
        return false;
    char *at = (char *)strchr(t, '[');
    for (c->n = 0; *at != ']' && c->n < MAX_TOKENS;)
        c->tokens[c->n++] = (int32_t)strtol(at + 1, &at, 10);
    c->n_vocab = (size_t)strtol(v + strlen("\"n_vocab\": "), NULL, 10);
    c->nmse = strtod(e + strlen("\"llama_cpp_nmse\": "), NULL);
    return true;
}

/* The reference of an F32 model of these had an F32 cache; that of the others an F16 one. */
static bool reference_cache_is_f32(const parity_case *c) {
    static const char *const archs[] = {"llama", "qwen2", "gemma2",  "gpt2",
                                        "olmo2", "phi3",  "granite", "qwen2moe"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (!strcmp(c->arch, archs[i])) return true;
    return false;
}

double bound_of(const parity_case *c, kv_type kv) {
    if (strcmp(c->type, "F32")) return 1.25 * c->nmse + 1e-5;
    return kv == KV_F32 && reference_cache_is_f32(c) ? 1e-6 : 1e-5;
}

engine *open_engine(const char *path, const char *isa, kv_type kv, uint32_t threads,
                    uint32_t context) {
    pl_error e;
    engine *g;
    engine_options o = {
        .model = {.path = path, .kv = kv, .isa = isa, .threads = threads, .context = context}};
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

float *logits_behind(engine *g, cache_node *node, const int32_t *tokens, size_t n, size_t chunk,
                     cache_node **end) {
    pl_error e;
    size_t V = engine_model(g)->hp.n_vocab, before = node_length(node);
    float *out = malloc(n * V * sizeof *out);
    cache_node *at = node_retain(node), *next;
    assert_non_null(out);
    for (size_t i = 0; i < n; i += chunk) {
        size_t count = n - i < chunk ? n - i : chunk;
        job *j;
        assert_int_equal(node_extend(at, tokens + i, count, &next, &e), PL_OK);
        node_release(at);
        at = next;
        assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){at, before + i, count}, 1, &j,
                                      &e),
                         PL_OK);
        if (job_run(j, &e)) fail_msg("%s", e.message);
        memcpy(out + i * V, job_row(j, 0), count * V * sizeof *out);
        job_close(j);
    }
    if (end) *end = at;
    else node_release(at);
    return out;
}

float *logits_in_chunks(engine *g, const int32_t *tokens, size_t n, size_t chunk) {
    pl_error e;
    cache_node *empty;
    assert_int_equal(node_empty(engine_store(g), &empty, &e), PL_OK);
    float *out = logits_behind(g, empty, tokens, n, chunk, NULL);
    node_release(empty);
    return out;
}

double nmse(const float *x, const float *reference, size_t n) {
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        error += pow((double)x[i] - (double)reference[i], 2);
        power += pow((double)reference[i], 2);
    }
    return error / power;
}

void check_three_ways(engine *g, const char *what, const int32_t *tokens, size_t n,
                      const float *reference, double bound) {
    size_t V = engine_model(g)->hp.n_vocab;
    float *whole = logits_in_chunks(g, tokens, n, n), *single = logits_in_chunks(g, tokens, n, 1);
    float *sevens = logits_in_chunks(g, tokens, n, 7);
    assert_memory_equal(whole, single, n * V * sizeof *whole);
    assert_memory_equal(whole, sevens, n * V * sizeof *whole);
    if (reference) {
        double error = nmse(whole, reference, n * V);
        print_message("%-14s %-7s kv %s: NMSE %.2e, bound %.2e\n", what,
                      engine_model(g)->math->name, kv_type_name(engine_model(g)->kv),
                      error, bound);
        assert_true(error <= bound);
    }
    free(whole);
    free(single);
    free(sevens);
}
