/* pool.c: blocks of keys and values, and states; see pool.h. They are allocated one by one, as they are needed, so a large
 * limit costs nothing until it is used. */
#include "cache/pool.h"

#include <assert.h>

#include "base/mem.h"

void pool_init(kv_pool *p, size_t block_bytes, size_t state_bytes, size_t max_bytes) {
    *p = (kv_pool){.max_bytes = max_bytes,
                   .of = {[POOL_BLOCKS] = {.bytes = block_bytes}, [POOL_STATES] = {.bytes = state_bytes}}};
}

static void free_block(kv_block *b) {
    mem_free(b->data);
    mem_free(b);
}

void pool_clear(kv_pool *p) {
    for (int kind = 0; kind < POOL_KINDS; kind++) {
        pool_shelf *s = &p->of[kind];
        assert(s->n_used == 0);
        while (s->free) {
            kv_block *b = s->free;
            s->free = b->next;
            free_block(b);
        }
        s->n_free = 0;
    }
}

size_t pool_used_bytes(const kv_pool *p) {
    size_t bytes = 0;
    for (int kind = 0; kind < POOL_KINDS; kind++) bytes += p->of[kind].n_used * p->of[kind].bytes;
    return bytes;
}

static pl_code full(const kv_pool *p, pool_kind kind, pl_error *e) {
    const pool_shelf *blocks = &p->of[POOL_BLOCKS], *states = &p->of[POOL_STATES];
    if (!states->bytes)
        return pl_fail(e, PL_ERR_POOL, "the caches' memory is used up: all %zu blocks of %zu bytes that cache_bytes "
                       "allows are in use; close caches that are no longer needed, or load with a larger cache_bytes",
                       blocks->n_used, blocks->bytes);
    return pl_fail(e, PL_ERR_POOL, "the caches' memory is used up: %zu blocks of %zu bytes and %zu states of %zu bytes are in "
                   "use, cache_bytes is %zu, and another %s does not fit; close caches that are no longer needed, or load "
                   "with a larger cache_bytes", blocks->n_used, blocks->bytes, states->n_used, states->bytes, p->max_bytes,
                   kind == POOL_BLOCKS ? "block" : "state");
}

pl_code pool_take(kv_pool *p, pool_kind kind, kv_block **out, pl_error *e) {
    pool_shelf *s = &p->of[kind];
    kv_block *b = s->free;
    size_t used = pool_used_bytes(p);
    if (used > p->max_bytes || p->max_bytes - used < s->bytes) return full(p, kind, e);
    if (b) {
        s->free = b->next;
        s->n_free--;
    } else {
        b = mem_zalloc(sizeof *b);
        uint8_t *data = b ? mem_aligned(s->bytes) : NULL;
        if (!data) {
            mem_free(b);
            return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache %s of %zu bytes",
                           kind == POOL_BLOCKS ? "block" : "state", s->bytes);
        }
        b->data = data;
        b->kind = kind;
        p->fresh_bytes += s->bytes;
    }
    b->next = NULL;
    b->refs = 1;
    b->claimed = 0;
    s->n_used++;
    *out = b;
    return PL_OK;
}

kv_block *pool_hold(kv_pool *p, kv_block *b) {
    if (b->refs++ == 1) p->of[b->kind].n_shared++;
    return b;
}

void pool_drop(kv_pool *p, kv_block *b) {
    if (!b) return;
    pool_shelf *s = &p->of[b->kind];
    assert(b->refs > 0);
    if (--b->refs == 1) s->n_shared--;
    if (b->refs > 0) return;
    s->n_used--;
    if ((s->n_free + 1) * s->bytes > POOL_KEEP_BYTES) {
        free_block(b);
        return;
    }
    b->next = s->free;
    s->free = b;
    s->n_free++;
}
