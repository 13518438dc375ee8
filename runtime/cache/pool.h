/* pool.h: the memory of all caches of one model, under one limit: blocks of KV_TILE tokens' keys
 * and values, and states of recurrent layers, both reference-counted.
 *
 * A block's layout is the model's business (math/math.h); the pool knows sizes only. `claimed`
 * counts the slots that some node writes or has written: slots below it belong to somebody, slots
 * from it on are nobody's. Blocks are cut from slabs on large pages: attention walks through a long
 * cache in strides that ordinary pages make slow. Released blocks are kept for reuse; a slab
 * without any in use goes back to the system when more than POOL_KEEP_BYTES of its kind are kept.
 * Used by one thread at a time (the engine's owner). */
#ifndef PERILUNE_CACHE_POOL_H
#define PERILUNE_CACHE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define POOL_KEEP_BYTES ((size_t)256 << 20)
#define POOL_SLAB_BYTES ((size_t)16 << 20)  /* of a slab, at most; one block at least */
#define POOL_SLAB_BLOCKS 256                /* the most */

typedef enum { POOL_BLOCKS, POOL_STATES, POOL_KINDS } pool_kind;

typedef struct kv_block kv_block;
typedef struct kv_slab kv_slab;
struct kv_block {
    uint8_t *data;      /* as many bytes as its kind has, MEM_ALIGN-aligned */
    kv_slab *slab;
    kv_block *next;     /* in the slab's list of free ones */
    pool_kind kind;
    uint32_t refs;      /* nodes that hold it */
    uint32_t claimed;   /* slots, 0 to KV_TILE */
};

typedef struct {
    size_t bytes;           /* of one */
    size_t n_used, n_free;  /* held by nodes; kept for reuse */
    size_t n_shared;        /* of the used: held by more than one node */
    size_t n_slabs;
    kv_slab *open;          /* those with blocks to give */
} pool_shelf;

typedef struct {
    size_t max_bytes;
    uint64_t fresh_bytes;   /* of blocks that were newly allocated, ever */
    pool_shelf of[POOL_KINDS];
} kv_pool;

/* state_bytes 0: there are none. */
void pool_init(kv_pool *p, size_t block_bytes, size_t state_bytes, size_t max_bytes);
void pool_clear(kv_pool *p);                              /* all must have been dropped */
size_t pool_used_bytes(const kv_pool *p);
/* One reference, nothing claimed; PL_ERR_POOL at the limit. */
pl_code pool_take(kv_pool *p, pool_kind kind, kv_block **out, pl_error *e);
kv_block *pool_hold(kv_pool *p, kv_block *b);
void pool_drop(kv_pool *p, kv_block *b);                  /* NULL is fine */

#endif
