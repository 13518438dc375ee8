/* pool.c: blocks of keys and values; see pool.h. Blocks are allocated one by one, as they are needed, so a large limit
 * costs nothing until it is used. */
#include "cache/pool.h"

#include <assert.h>

#include "base/mem.h"

void pool_init(kv_pool *p, size_t block_bytes, size_t max_bytes) {
    *p = (kv_pool){.block_bytes = block_bytes, .max_blocks = max_bytes / block_bytes};
}

static void free_block(kv_block *b) {
    mem_free(b->data);
    mem_free(b);
}

void pool_clear(kv_pool *p) {
    assert(p->n_used == 0);
    while (p->free) {
        kv_block *b = p->free;
        p->free = b->next;
        free_block(b);
    }
    p->n_free = 0;
}

pl_code pool_take(kv_pool *p, kv_block **out, pl_error *e) {
    kv_block *b = p->free;
    if (p->n_used >= p->max_blocks)
        return pl_fail(e, PL_ERR_POOL, "the caches' memory is used up: all %zu blocks of %zu bytes that cache_bytes "
                       "allows are in use; close caches that are no longer needed, or load with a larger cache_bytes",
                       p->max_blocks, p->block_bytes);
    if (b) {
        p->free = b->next;
        p->n_free--;
    } else {
        b = mem_zalloc(sizeof *b);
        uint8_t *data = b ? mem_aligned(p->block_bytes) : NULL;
        if (!data) {
            mem_free(b);
            return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache block of %zu bytes", p->block_bytes);
        }
        b->data = data;
        p->fresh_bytes += p->block_bytes;
    }
    b->next = NULL;
    b->refs = 1;
    b->claimed = 0;
    p->n_used++;
    *out = b;
    return PL_OK;
}

kv_block *pool_hold(kv_pool *p, kv_block *b) {
    if (b->refs++ == 1) p->n_shared++;
    return b;
}

void pool_drop(kv_pool *p, kv_block *b) {
    assert(b->refs > 0);
    if (--b->refs == 1) p->n_shared--;
    if (b->refs > 0) return;
    p->n_used--;
    if ((p->n_free + 1) * p->block_bytes > POOL_KEEP_BYTES) {
        free_block(b);
        return;
    }
    b->next = p->free;
    p->free = b;
    p->n_free++;
}
