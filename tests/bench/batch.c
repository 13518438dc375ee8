/* batch.c: many sequences at once: tokens per second of n sequences that are forked from one prefix
 * of 1,024 tokens and decode 32 tokens each, side by side, and of n that hold such prefixes of
 * their own: the difference is what reading a shared prefix once saves. A 1.1 B llama, Q4_0.
 * Medians.
 *
 *     batch [--threads N] [--rounds N] [--own N] [MODEL.gguf]
 *
 * --own: most sequences with prefixes of their own (16).
 *
 * Also: what a fork costs, in time and bytes; and what 256 live sequences take, each with 128
 * tokens of its own behind a shared prefix of 2,000. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "run.h"
#include "synthetic.h"

enum {
    PREFIX = 1024,
    NEW = 32,
    FORKS = 100000,
    LIVE = 256,
    LIVE_PREFIX = 2000,
    LIVE_OWN = 128,
    MOST = 64
};

static double decode(engine *g, cache_node *const *from, size_t n) {
    job *jobs[MOST];
    pl_error e;
    double start = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t first = (int32_t)(100 + i);
        generate_options o = {.cache = from[i],
                              .input = &first,
                              .n_input = 1,
                              .max_new_tokens = NEW + 1,
                              .sampler = sampler_defaults()};
        bench_check(job_generate(g, &o, &jobs[i], &e), &e);
    }
    for (size_t step = 0, running = n; running;
         step++) { /* the first one is not counted: it computes the forks' inputs */
        if (step == 1) start = bench_now();
        engine_step(g);
        running = 0;
        for (size_t i = 0; i < n; i++) running += job_state(jobs[i]) == JOB_RUNNING;
    }
    double seconds = bench_now() - start;
    for (size_t i = 0; i < n; i++) job_close(jobs[i]);
    return (double)(n * NEW) / seconds;
}

static double rate(engine *g, cache_node *const *from, size_t n, size_t rounds) {
    double s[16];
    for (size_t i = 0; i < rounds; i++) s[i] = decode(g, from, n);
    return bench_median(s, rounds);
}

static void fork_cost(cache_node *prefix) {
    static cache_node *forks[FORKS];
    pl_error e;
    int32_t id = 5;
    double start = bench_now();
    for (size_t i = 0; i < FORKS; i++) bench_check(node_extend(prefix, &id, 1, &forks[i], &e), &e);
    double seconds = bench_now() - start;
    for (size_t i = 0; i < FORKS; i++) node_release(forks[i]);
    printf("a fork with a token: %.3f microseconds; blocks in use for %d of them: as before\n",
           seconds / FORKS * 1e6, FORKS);
}

static void live_sequences(engine *g, cache_node *empty) {
    static cache_node *live[LIVE];
    kv_pool *pool = cache_store_pool(engine_store(g));
    pl_error e;
    cache_node *prefix = bench_extended(g, empty, LIVE_PREFIX, 7);
    size_t before = pool_used_bytes(pool);
    job_part parts[LIVE];
    job *j;
    bench_process(g, prefix);
    for (size_t i = 0; i < LIVE; i++) {
        live[i] = bench_extended(g, prefix, LIVE_OWN, 1000 + i);
        parts[i] = (job_part){.node = live[i]};
    }
    bench_check(job_evaluate(g, WANT_NOTHING, parts, LIVE, &j, &e), &e);
    bench_check(job_run(j, &e), &e);
    job_close(j);
    size_t used = pool_used_bytes(pool) - before, block = pool->of[POOL_BLOCKS].bytes;
    double tokens = (double)(LIVE_PREFIX + LIVE * LIVE_OWN) * (double)block / KV_TILE;
    printf("%d sequences of %d tokens behind %d shared: %.0f MB, %.3f of what their tokens are\n",
           LIVE, LIVE_OWN, LIVE_PREFIX, (double)used / 1e6, (double)used / tokens);
    for (size_t i = 0; i < LIVE; i++) node_release(live[i]);
    node_release(prefix);
}

int main(int argc, char **argv) {
    static const size_t counts[] = {1, 2, 4, 8, 16, 32, 64};
    size_t rounds = 3, own_most = 16;
    engine_options o = {.model = {.kv = KV_F16}, .cache_bytes = (size_t)4 << 30};
    const char *path = NULL;
    pl_error e;
    engine *g;
    cache_node *empty, *shared, *from[MOST], *own[MOST] = {0};
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--threads") == 0)
            o.model.threads = (uint32_t)atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0) rounds = (size_t)atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--own") == 0) own_most = (size_t)atoi(argv[++i]);
        else path = argv[i];
    }
    if (rounds < 1 || rounds > 16) rounds = 3;
    if (own_most > MOST) own_most = MOST;
    char *made = path ? NULL
                      : synthetic_model(bench_folder(), synthetic_find("llama-1.1b"), "Q4_0");
    o.model.path = path ? path : made;
    bench_check(engine_open(&o, &g, &e), &e);
    bench_check(node_empty(engine_store(g), &empty, &e), &e);
    shared = bench_extended(g, empty, PREFIX, 1);
    bench_process(g, shared);
    for (size_t i = 0; i < MOST; i++) from[i] = shared;
    printf("%-10s %14s %10s %18s %8s\n", "sequences", "tokens/s", "x of one", "own prefixes",
           "saved");
    double one = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t n = counts[i];
        double together = rate(g, from, n, rounds);
        if (n == 1) one = together;
        printf("%-10zu %14.1f %10.2f", n, together, together / one);
        if (n <= own_most) {
            for (size_t k = 0; k < n; k++) {
                if (own[k]) continue;
                own[k] = bench_extended(g, empty, PREFIX, 100 + k);
                bench_process(g, own[k]);
            }
            double apart = rate(g, own, n, rounds);
            printf(" %18.1f %7.0f%%", apart, 100 * (1 - apart / together));
        }
        printf("\n");
        fflush(stdout);
    }
    for (size_t k = 0; k < MOST; k++) node_release(own[k]);
    fork_cost(shared);
    node_release(shared);
    live_sequences(g, empty);
    node_release(empty);
    engine_close(g);
    free(made);
    return 0;
}
