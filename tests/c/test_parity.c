/* test_parity.c: the logits of the parity models against llama.cpp's (shared test data), processed
 * in one prefill, token by token and in chunks of 7, on every kernel table that runs here; and the
 * same three ways on the suite's own models: the bits must be the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tiny.h"
#include "ways.h"

static void check_case(const char *folder, const parity_case *c, const char *isa, kv_type kv) {
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%s/%s.logits", folder, c->name);
    float *reference = (float *)read_whole(path, &size);
    assert_int_equal(size, c->n * c->n_vocab * sizeof(float));
    snprintf(path, sizeof path, "%s/%s.gguf", folder, c->name);
    engine *g = open_engine(path, isa, kv, 2, 0);
    check_three_ways(g, c->name, c->tokens, c->n, reference, bound_of(c, kv));
    engine_close(g);
    free(reference);
}

/* Calls f for each model of the manifest that is supported, and each table. */
static void each_case(const char *folder,
                      void (*f)(const char *folder, const parity_case *c, const char *isa)) {
    char path[4096];
    size_t n_cases = 0;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    char *manifest = read_whole(path, NULL);
    for (char *line = strtok(manifest, "\n"); line; line = strtok(NULL, "\n")) {
        parity_case c;
        if (!read_case(line, &c)) continue;
        n_cases++;
        for (size_t i = 0; kernels_at(i); i++) f(folder, &c, kernels_at(i)->name);
    }
    free(manifest);
    assert_int_equal(n_cases, 33);
}

static void check_float_caches(const char *folder, const parity_case *c, const char *isa) {
    check_case(folder, c, isa, KV_F32);
    check_case(folder, c, isa, KV_F16);
}

TEST(logits_match_llama_cpp_in_one_prefill_token_by_token_and_in_chunks) {
    const char *folder;
    SHARED_OR_SKIP(folder, "parity");
    each_case(folder, check_float_caches);
}

static bool whole_groups(const model *m) {
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        if (m->layers[i].attention.d_k % KV_GROUP || m->layers[i].attention.d_v % KV_GROUP)
            return false;
    return true;
}

static void check_q8_0_cache(const char *folder, const parity_case *c, const char *isa) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.gguf", folder, c->name);
    engine *half = open_engine(path, isa, KV_F16, 2, 0),
           *q8_0 = open_engine(path, isa, KV_Q8_0, 2, 0);
    float *near = logits_in_chunks(half, c->tokens, c->n, c->n);
    /* A router may fall the other way. */
    check_three_ways(q8_0, c->name, c->tokens, c->n, near,
                     engine_model(half)->hp.n_expert ? 1e-2 : 1e-3);
    if (whole_groups(engine_model(half)))
        assert_true((double)engine_model(q8_0)->block_bytes <=
                    0.54 * (double)engine_model(half)->block_bytes);
    free(near);
    engine_close(half);
    engine_close(q8_0);
}

TEST(a_q8_0_cache_is_near_an_f16_one_and_half_its_size) {
    const char *folder;
    SHARED_OR_SKIP(folder, "parity");
    each_case(folder, check_q8_0_cache);
}

TEST(three_ways_and_any_number_of_threads_give_the_same_bits) {
    static const weight_type types[] = {TYPE_F32,  TYPE_F16,    TYPE_BF16,   TYPE_Q8_0,
                                        TYPE_Q4_0, TYPE_Q4_1,   TYPE_Q5_0,   TYPE_Q5_1,
                                        TYPE_Q2_K, TYPE_Q3_K,   TYPE_Q4_K,   TYPE_Q5_K,
                                        TYPE_Q6_K, TYPE_IQ4_NL, TYPE_IQ4_XS, TYPE_MXFP4};
    int32_t tokens[90];
    uint64_t seed = 5;
    for (size_t i = 0; i < 90; i++) tokens[i] = (int32_t)(tiny_random(&seed) % 320);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        tiny_shape shape = tiny_default();
        shape.type = types[t];
        if (weight_format_of(types[t])->block ==
            256) { /* whole blocks, and a scalar table has its time */
            shape.n_embd = shape.n_ff = 256;
            shape.n_layer = 1;
        }
        shape.tied = t % 2;
        shape.rope_factors = t % 3 == 0;
        const char *path = tiny_model(&shape);
        for (size_t i = 0; kernels_at(i); i++) {
            float *first = NULL;
            for (uint32_t threads = 1; threads <= 3; threads++) {
                engine *g = open_engine(path, kernels_at(i)->name, KV_F16, threads, 0);
                check_three_ways(g, "tiny", tokens, 90, NULL, 0);
                float *all = logits_in_chunks(g, tokens, 90, 50);
                if (first) assert_memory_equal(first, all, 90 * 320 * sizeof *all);
                else first = all;
                if (first != all) free(all);
                engine_close(g);
            }
            engine_options o = {.model = {.path = path,
                                          .kv = KV_F16,
                                          .isa = kernels_at(i)->name,
                                          .threads = 2,
                                          .no_pack = true}};
            engine *unpacked;
            pl_error e;
            if (engine_open(&o, &unpacked, &e)) fail_msg("%s", e.message);
            float *all = logits_in_chunks(unpacked, tokens, 90, 90);
            assert_memory_equal(first, all, 90 * 320 * sizeof *all);
            free(all);
            engine_close(unpacked);
            free(first);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_match_llama_cpp_in_one_prefill_token_by_token_and_in_chunks),
        cmocka_unit_test(a_q8_0_cache_is_near_an_f16_one_and_half_its_size),
        cmocka_unit_test(three_ways_and_any_number_of_threads_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
