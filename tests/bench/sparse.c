/* sparse.c: what experts and recurrent layers cost at real sizes. How often an expert's weights are
 * read, and for how many rows at once, in a prefill of 512 rows and in decoding; what forks and
 * rewinds of a hybrid model's cache take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "run.h"
#include "synthetic.h"

static engine *open_model(const char *shape, const char *mix) {
    char *path = synthetic_model(bench_folder(), synthetic_find(shape), mix);
    engine_options o = {.model = {.path = path, .kv = KV_F16}};
    engine *g;
    pl_error e;
    bench_check(engine_open(&o, &g, &e), &e);
    free(path);
    return g;
}

static void experts(const char *mix) {
    engine *g = open_model("moe-8of64", mix);
    const model *m = engine_model(g);
    pl_error e;
    cache_node *empty, *n;
    uint64_t each = 0;
    bench_check(node_empty(engine_store(g), &empty, &e), &e);
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const expert_weights *x = &m->layers[i].experts;
        each += m->hp.n_expert * ((x->gate->row_bytes + x->up->row_bytes) * x->n_ff +
                                  x->down->row_bytes * m->hp.n_embd);
    }
    printf("experts, %s: %u layers, %u of %u experts for a token, %.0f MB of their weights\n", mix,
           m->hp.n_layer, m->hp.n_expert_used, m->hp.n_expert, (double)each / 1e6);
    for (size_t rows = 512; rows; rows = rows == 512 ? 8 : rows == 8 ? 1 : 0) {
        expert_counts before = engine_stats(g).experts, after;
        uint64_t steps = engine_stats(g).steps;
        n = bench_extended(g, empty, rows, (uint32_t)rows);
        double seconds = bench_process(g, n);
        after = engine_stats(g).experts;
        uint64_t calls = after.calls - before.calls, read = after.bytes - before.bytes;
        printf("  %3zu rows in %llu step: %5.1f experts a layer read, %6.1f rows for each, %6.1f "
               "MB (%.2f of all), %.0f ms\n",
               rows, (unsigned long long)(engine_stats(g).steps - steps),
               (double)calls / m->hp.n_layer, (double)(after.rows - before.rows) / (double)calls,
               (double)read / 1e6, (double)read / (double)each, seconds * 1e3);
        node_release(n);
    }
    node_release(empty);
    engine_close(g);
}

static void hybrid(const char *mix) {
    engine *g = open_model("qwen35-4b", mix);
    kv_pool *pool = cache_store_pool(engine_store(g));
    const pool_shelf *states = &pool->of[POOL_STATES], *blocks = &pool->of[POOL_BLOCKS];
    pl_error e;
    cache_node *empty, *fork[64], *on[64];
    bench_check(node_empty(engine_store(g), &empty, &e), &e);
    cache_node *prefix = bench_extended(g, empty, 2000, 1);
    double seconds = bench_process(g, prefix);
    printf("hybrid, %s: a state is %.2f MB, a token's keys and values %zu bytes\n", mix,
           (double)states->bytes / 1e6, blocks->bytes / KV_TILE);
    printf("  2,000 tokens in %.1f s: %zu states (every %zu-th token, and the end), %zu blocks\n",
           seconds, states->n_used, cache_store_interval(engine_store(g)), blocks->n_used);
    double start = bench_now();
    for (size_t i = 0; i < 64; i++) bench_check(node_truncate(prefix, 2000, &fork[i], &e), &e);
    printf("  64 forks of its end in %.1f us: %zu states, %zu blocks\n",
           (bench_now() - start) * 1e6, states->n_used, blocks->n_used);
    for (size_t i = 0; i < 64; i++) {
        on[i] = bench_extended(g, fork[i], 1, (uint32_t)(i + 7));
        bench_process(g, on[i]);
    }
    printf("  a token behind each: %zu states, %zu blocks, %llu rows run again\n", states->n_used,
           blocks->n_used, (unsigned long long)engine_stats(g).rerun);
    for (size_t i = 0; i < 64; i++) {
        node_release(on[i]);
        node_release(fork[i]);
    }
    static const size_t back[] = {1, 500, 1999};
    for (size_t i = 0; i < 3; i++) {
        engine_counts before = engine_stats(g);
        bench_check(node_truncate(prefix, 2000 - back[i], &fork[0], &e), &e);
        on[0] = bench_extended(g, fork[0], 1, 7);
        seconds = bench_process(g, on[0]);
        printf("  %zu tokens back, and one more: %llu rows run again, %llu processed, %.0f ms\n",
               back[i], (unsigned long long)(engine_stats(g).rerun - before.rerun),
               (unsigned long long)(engine_stats(g).tokens - before.tokens), seconds * 1e3);
        node_release(on[0]);
        node_release(fork[0]);
    }
    node_release(prefix);
    node_release(empty);
    engine_close(g);
}

int main(int argc, char **argv) {
    const char *mix = argc > 1 ? argv[1] : "Q4_K_M";
    experts(mix);
    hybrid(mix);
    return 0;
}
