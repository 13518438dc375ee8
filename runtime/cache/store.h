/* store.h: cache files: a node's tokens and, when they are processed, its keys and values, in one
 * file that is written whole. A file can be restored by the same weights, cache type and build
 * only, which it names; other differences are errors that say which. Layout: see store.c. */
#ifndef PERILUNE_CACHE_STORE_H
#define PERILUNE_CACHE_STORE_H

#include "cache/node.h"

/* What must match. */
typedef struct {
    uint64_t weights;       /* model_fingerprint */
    uint32_t n_vocab;
    const char *kv;         /* "f16", ... */
    const char *build;      /* version and instruction set: "0.1.0 avx512" */
    /* Clears the slots of a block from `slot` on: what a file must not carry of other caches. */
    void (*clear)(const void *user, uint8_t *block, size_t slot);
    const void *user;
} cache_identity;

/* Every token of the node is saved; keys and values of the processed ones. */
pl_code cache_save(cache_node *n, const cache_identity *id, const char *path, pl_error *e);
/* recompute: a file of other weights, cache type or build is accepted for its tokens, which are
 * then pending; a different vocabulary size, or a damaged file, is an error all the same. */
pl_code cache_restore(cache_store *s, const cache_identity *id, const char *path, bool recompute,
                      cache_node **out, pl_error *e);

#endif
