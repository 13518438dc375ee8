/* run.h: what the benchmarks of whole models share: caches of made-up tokens, and processing them.
 * Each ends the program, saying why, when something fails. */
#ifndef PERILUNE_BENCH_RUN_H
#define PERILUNE_BENCH_RUN_H

#include "decode/engine.h"

void bench_check(pl_code rc, const pl_error *e);
const char *bench_folder(void); /* where synthetic models lie: PERILUNE_BENCH, or /tmp */
/* `from` with n more tokens, none of them processed; other seeds give other tokens. One
 * reference. */
cache_node *bench_extended(engine *g, cache_node *from, size_t n, uint64_t seed);
/* seconds until the logits after its last token are there */
double bench_process(engine *g, cache_node *n);

#endif
