/* pool.c: blocks of keys and values, and states; see pool.h. A slab's memory is the system's until
 * a block of it is first used, so a large limit costs nothing.
 *
 * The invariant: a slab is in its shelf's list of open ones exactly while it has a block to give,
 * cut and free or not cut yet. */
#include "cache/pool.h"

#include <assert.h>
#include <stdbool.h>

#include "base/checked.h"
#include "base/mem.h"

struct kv_slab {
    kv_slab *prev, *next;   /* of the open ones */
    uint8_t *data;
    size_t stride, size;    /* bytes from block to block; blocks */
    size_t n_cut, n_used;   /* blocks that were ever given; that are now */
    kv_block *free;         /* cut ones */
    kv_block blocks[];      /* [size] */
};

void pool_init(kv_pool *p, size_t block_bytes, size_t state_bytes, size_t max_bytes) {
    *p = (kv_pool){
        .max_bytes = max_bytes,
        .of = {[POOL_BLOCKS] = {.bytes = block_bytes}, [POOL_STATES] = {.bytes = state_bytes}}};
}

static bool is_open(const kv_slab *b) { return b->n_used < b->size; }

static void open_slab(pool_shelf *s, kv_slab *b) {
    b->prev = NULL;
    b->next = s->open;
    if (b->next) b->next->prev = b;
    s->open = b;
}

static void close_slab(pool_shelf *s, kv_slab *b) {
    if (b->prev) b->prev->next = b->next;
    else s->open = b->next;
    if (b->next) b->next->prev = b->prev;
}

static kv_slab *new_slab(pool_shelf *s) {
    size_t stride;
    if (!checked_round_up(s->bytes, MEM_ALIGN, &stride)) return NULL;
    size_t n = POOL_SLAB_BYTES / (stride ? stride : 1);
    if (n < 1) n = 1;
    if (n > POOL_SLAB_BLOCKS) n = POOL_SLAB_BLOCKS;
    kv_slab *b = mem_zalloc(sizeof *b + n * sizeof b->blocks[0]);
    if (!b) return NULL;
    *b = (kv_slab){.data = mem_pages(n * stride), .stride = stride, .size = n};
    if (!b->data) {
        mem_free(b);
        return NULL;
    }
    mem_forbid(b->data, n * stride);
    s->n_slabs++;
    open_slab(s, b);
    return b;
}

static void free_slab(pool_shelf *s, kv_slab *b) {
    close_slab(s, b);
    s->n_slabs--;
    s->n_free -= b->n_cut;
    mem_allow(b->data, b->size * b->stride);
    mem_pages_free(b->data, b->size * b->stride);
    mem_free(b);
}

void pool_clear(kv_pool *p) {
    for (int kind = 0; kind < POOL_KINDS; kind++) {
        assert(p->of[kind].n_used == 0);
        while (p->of[kind].open) free_slab(&p->of[kind], p->of[kind].open);
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
        return pl_fail(
            e, PL_ERR_POOL,
            "the caches' memory is used up: all %zu blocks of %zu bytes that cache_bytes "
            "allows are in use; close caches that are no longer needed, or load with a larger "
            "cache_bytes",
            blocks->n_used, blocks->bytes);
    return pl_fail(
        e, PL_ERR_POOL,
        "the caches' memory is used up: %zu blocks of %zu bytes and %zu states of %zu bytes are in "
        "use, cache_bytes is %zu, and another %s does not fit; close caches that are no longer "
        "needed, or load "
        "with a larger cache_bytes",
        blocks->n_used, blocks->bytes, states->n_used, states->bytes, p->max_bytes,
        kind == POOL_BLOCKS ? "block" : "state");
}

pl_code pool_take(kv_pool *p, pool_kind kind, kv_block **out, pl_error *e) {
    pool_shelf *s = &p->of[kind];
    size_t used = pool_used_bytes(p);
    if (used > p->max_bytes || p->max_bytes - used < s->bytes) return full(p, kind, e);
    kv_slab *slab = s->open ? s->open : new_slab(s);
    if (!slab)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache %s of %zu bytes",
                       kind == POOL_BLOCKS ? "block" : "state", s->bytes);
    kv_block *b = slab->free;
    if (b) {
        slab->free = b->next;
        s->n_free--;
    } else {
        b = &slab->blocks[slab->n_cut];
        b->data = slab->data + slab->n_cut++ * slab->stride;
        b->slab = slab;
        b->kind = kind;
        p->fresh_bytes += s->bytes;
    }
    mem_allow(b->data, s->bytes);
    b->next = NULL;
    b->refs = 1;
    b->claimed = 0;
    slab->n_used++;
    if (!is_open(slab)) close_slab(s, slab);
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
    kv_slab *slab = b->slab;
    if (!is_open(slab)) open_slab(s, slab);
    mem_forbid(b->data, s->bytes);
    b->next = slab->free;
    slab->free = b;
    slab->n_used--;
    s->n_used--;
    s->n_free++;
    if (slab->n_used == 0 && s->n_free * s->bytes > POOL_KEEP_BYTES) free_slab(s, slab);
}
