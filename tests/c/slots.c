/* slots.c: see slots.h. */
#include "slots.h"

#include <stdlib.h>

#include "support.h"
#include "tiny.h"

uint64_t slots_seed = 2;
size_t slots_below(size_t n) { return (size_t)(tiny_random(&slots_seed) % n); }

uint64_t slots_hash(uint64_t prefix, int32_t token) {
    uint64_t state = prefix * 0x100000001B3u ^ ((uint64_t)(uint32_t)token + 1);
    return tiny_random(&state);
}

cache_store *slots_store(size_t blocks, size_t context) {
    cache_store *s;
    pl_error e;
    assert_int_equal(cache_store_new(&(cache_store_options){.block_bytes = BLOCK_BYTES,
                                                            .max_bytes = blocks * BLOCK_BYTES,
                                                            .context = context,
                                                            .n_hidden = SLOTS_HIDDEN},
                                     &s, &e),
                     PL_OK);
    return s;
}

cache_node *slots_empty(cache_store *s) {
    cache_node *n;
    pl_error e;
    assert_int_equal(node_empty(s, &n, &e), PL_OK);
    return n;
}

static uint64_t *slot(uint8_t **table, size_t position) {
    return (uint64_t *)(void *)(table[position / KV_TILE] + position % KV_TILE * SLOT_BYTES);
}

/* Processes positions [from, to) of n, whose slots are claimed, and whose predecessors are
 * processed. */
void slots_write(cache_node *n, size_t from, size_t to) {
    size_t blocks = (to + KV_TILE - 1) / KV_TILE;
    uint8_t **table = calloc(blocks, sizeof *table);
    int32_t *tokens = calloc(to, sizeof *tokens);
    node_blocks(n, to, table);
    node_tokens(n, 0, to, tokens);
    for (size_t i = 0; i < blocks; i++) assert_non_null(table[i]);
    for (size_t p = from; p < to; p++)
        *slot(table, p) = slots_hash(p ? *slot(table, p - 1) : 0, tokens[p]);
    free(table);
    free(tokens);
}

/* Processes everything that is pending in n, in one go per node. */
pl_code slots_process(cache_node *n) {
    node_run run;
    pl_error e;
    while (node_pending(n, node_length(n), &run)) {
        pl_code rc = node_claim(run.node, run.to, 0, &e);
        if (rc) return rc;
        slots_write(run.node, run.from, run.to);
        node_commit(run.node);
    }
    return PL_OK;
}

/* Every processed position of n holds the hash of its prefix. */
void slots_check(cache_node *n) {
    size_t done = node_processed(n), blocks = (done + KV_TILE - 1) / KV_TILE;
    uint8_t **table = calloc(blocks ? blocks : 1, sizeof *table);
    int32_t *tokens = calloc(done ? done : 1, sizeof *tokens);
    uint64_t h = 0;
    node_blocks(n, done, table);
    node_tokens(n, 0, done, tokens);
    for (size_t p = 0; p < done; p++) {
        h = slots_hash(h, tokens[p]);
        assert_true(*slot(table, p) == h);
    }
    free(table);
    free(tokens);
}

cache_node *slots_extended(cache_node *n, size_t count) {
    int32_t *ids = calloc(count ? count : 1, sizeof *ids);
    cache_node *out;
    pl_error e;
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)slots_below(5);
    if (node_extend(n, ids, count, &out, &e)) fail_msg("%s", e.message);
    free(ids);
    return out;
}

cache_node *slots_truncated(cache_node *n, size_t length) {
    cache_node *out;
    pl_error e;
    if (node_truncate(n, length, &out, &e)) fail_msg("%s", e.message);
    return out;
}
