/* ways.h: running one sequence of tokens through a model in several ways, and comparing what comes
 * out; and the models with reference logits that the shared test data lists. */
#ifndef PERILUNE_TESTS_WAYS_H
#define PERILUNE_TESTS_WAYS_H

#include "decode/engine.h"

#define MAX_TOKENS 64

typedef struct {
    char name[64], arch[32], type[16];
    int32_t tokens[MAX_TOKENS];
    size_t n, n_vocab;
    double nmse;
} parity_case;

/* One line of manifest.json; false: it is none. */
bool read_case(const char *line, parity_case *c);
/* The most that the logits of a case may be off. */
double bound_of(const parity_case *c, kv_type kv);

/* Opened, or the test fails. context 0: what the model was trained for. */
engine *open_engine(const char *path, const char *isa, kv_type kv, uint32_t threads,
                    uint32_t context);

/* Logits after each of tokens[0..n) behind `node`, processed in chunks of `chunk`: [n][n_vocab], to
 * be freed. *end (may be NULL) is the cache at the end, the caller's. */
float *logits_behind(engine *g, cache_node *node, const int32_t *tokens, size_t n, size_t chunk,
                     cache_node **end);
/* The same from an empty cache: [n][n_vocab]. */
float *logits_in_chunks(engine *g, const int32_t *tokens, size_t n, size_t chunk);

/* Mean squared error over mean square. */
double nmse(const float *x, const float *reference, size_t n);

/* In one prefill, token by token and in chunks of 7: the bits are the same, and within `bound` of
 * the reference (if there is one), or the test fails. */
void check_three_ways(engine *g, const char *what, const int32_t *tokens, size_t n,
                      const float *reference, double bound);

#endif
