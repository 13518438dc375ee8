/* run.c: see run.h. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

#include "limits.h"

void bench_check(pl_code rc, const pl_error *e) {
    if (!rc) return;
    fprintf(stderr, "%s\n", e->message);
    exit(1);
}

const char *bench_folder(void) {
    const char *folder = getenv("PERILUNE_BENCH");
    return folder ? folder : "/tmp";
}

cache_node *bench_extended(engine *g, cache_node *from, size_t n, uint64_t seed) {
    uint32_t V = engine_model(g)->hp.n_vocab;
    int32_t *ids = malloc(n * sizeof *ids);
    cache_node *out;
    pl_error e;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(300 + (seed * 7919 + i * 2654435761u) % (V - 300));
    bench_check(node_extend(from, ids, n, &out, &e), &e);
    free(ids);
    return out;
}

double bench_process(engine *g, cache_node *n) {
    job *j;
    pl_error e;
    double start = bench_now();
    bench_check(job_evaluate(g, WANT_LOGITS, &(job_part){n, node_length(n) - 1, 1}, 1, &j, &e), &e);
    bench_check(job_run(j, &e), &e);
    job_close(j);
    return bench_now() - start;
}
