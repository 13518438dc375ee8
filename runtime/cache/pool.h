/* pool.h: the memory of all caches of one model: blocks of KV_TILE tokens' keys and values, reference-counted,
 * under one limit.
 *
 * A block's layout is the model's business (math/math.h); the pool knows its size only. `claimed` counts the slots
 * that some node writes or has written: slots below it belong to somebody, slots from it on are nobody's. Released
 * blocks are kept for reuse, up to POOL_KEEP_BYTES. Used by one thread at a time (the engine's owner). */
#ifndef PERILUNE_CACHE_POOL_H
#define PERILUNE_CACHE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define POOL_KEEP_BYTES ((size_t)256 << 20)

typedef struct kv_block kv_block;
struct kv_block {
    uint8_t *data;      /* block_bytes, MEM_ALIGN-aligned */
    kv_block *next;     /* in the list of free blocks */
    uint32_t refs;      /* nodes that hold it */
    uint32_t claimed;   /* slots, 0 to KV_TILE */
};

typedef struct {
    size_t block_bytes, max_blocks;
    size_t n_used, n_free;  /* blocks held by nodes; kept for reuse */
    size_t n_shared;        /* of the used: held by more than one node */
    uint64_t fresh_bytes;   /* bytes of blocks that were newly allocated, ever: what a collector is charged */
    kv_block *free;
} kv_pool;

void pool_init(kv_pool *p, size_t block_bytes, size_t max_bytes);
void pool_clear(kv_pool *p);                              /* all blocks must have been dropped */
pl_code pool_take(kv_pool *p, kv_block **out, pl_error *e); /* one reference, nothing claimed; PL_ERR_POOL at the limit */
kv_block *pool_hold(kv_pool *p, kv_block *b);
void pool_drop(kv_pool *p, kv_block *b);

#endif
