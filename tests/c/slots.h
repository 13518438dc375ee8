/* slots.h: caches without a model, for tests. "Processing" a token writes a hash of the prefix that
 * ends with it into its slot, computed from the slot before it, as a model would; so a slot that
 * was shared, copied or claimed wrongly holds a wrong hash. A hidden state has room for one
 * hash. */
#ifndef PERILUNE_TESTS_SLOTS_H
#define PERILUNE_TESTS_SLOTS_H

#include "cache/node.h"
#include "math/math.h"

#define SLOT_BYTES sizeof(uint64_t)
#define BLOCK_BYTES (KV_TILE * SLOT_BYTES)
#define SLOTS_HIDDEN (sizeof(uint64_t) / sizeof(float))

/* Random numbers below n, from slots_seed. */
extern uint64_t slots_seed;
size_t slots_below(size_t n);

/* The hash of a prefix (0: the empty one) and one more token. */
uint64_t slots_hash(uint64_t prefix, int32_t token);

cache_store *slots_store(size_t blocks, size_t context);
/* Each of these gives one reference, or fails the test. Tokens are random, from 0 to 4. */
cache_node *slots_empty(cache_store *s);
cache_node *slots_extended(cache_node *n, size_t count);
cache_node *slots_truncated(cache_node *n, size_t length);

/* Processes positions [from, to) of n, whose slots are claimed, and whose predecessors are
 * processed. */
void slots_write(cache_node *n, size_t from, size_t to);
/* Processes everything that is pending in n, one node after the other; the error of the first claim
 * that fails. */
pl_code slots_process(cache_node *n);
/* Every processed position of n holds the hash of its prefix. */
void slots_check(cache_node *n);

#endif
