/* store.c: cache files; see store.h. Little-endian, no padding:
 *
 *     "PLCACHE2"          magic, with the format's version
 *     u64 weights         the model's fingerprint
 *     u64 n_vocab, n_tokens, n_processed, block_bytes, state_bytes, n_states
 *     char kv[16], build[48]
 *     i32 tokens[n_tokens]
 *     u8  blocks[(n_processed + 31) / 32][block_bytes]     as they lie in memory, unused slots zero
 *     n_states times: u64 position, u8 state[state_bytes]  of recurrent layers; positions descend
 *                                                          from n_processed
 *     u64 checksum        XXH64 of header, tokens, each block and each state, each seeded with
 *                         the one before
 *
 * Of the states that a cache has, the last two are saved: to go on from its end, and to go on from
 * a little before it.
 *
 * The size of a file follows from its header; any other size means that it was cut off or added
 * to. */
#include "cache/store.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "math/math.h"

#define MAGIC "PLCACHE2"
#define SAVED_STATES 2

typedef struct {
    char magic[8];
    uint64_t weights, n_vocab, n_tokens, n_processed, block_bytes, state_bytes, n_states;
    char kv[16], build[48];
} header;

_Static_assert(sizeof(header) == 128, "the header has no padding");

static size_t blocks_of(size_t n) { return (n + KV_TILE - 1) / KV_TILE; }

/* ---- saving ---- */

static pl_code put(file_out *f, const void *data, size_t size, uint64_t *sum, pl_error *e) {
    *sum = hash_bytes(data, size, *sum);
    return file_out_write(f, data, size, e);
}

static pl_code put_blocks(file_out *f, const cache_identity *id, uint8_t **table, uint8_t *copy,
                          const header *h, uint64_t *sum, pl_error *e) {
    size_t n = blocks_of(h->n_processed), used = h->n_processed % KV_TILE;
    pl_code rc = PL_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        const uint8_t *data = table[i];
        if (i + 1 == n && used) {
            memcpy(copy, data, h->block_bytes);
            id->clear(id->user, copy, used);
            data = copy;
        }
        rc = put(f, data, h->block_bytes, sum, e);
    }
    return rc;
}

/* The states to save, the last one first. */
static size_t find_states(cache_node *n, uint64_t positions[SAVED_STATES],
                          kv_block *states[SAVED_STATES]) {
    size_t found = 0, at = node_processed(n);
    while (found < SAVED_STATES && (at = node_state_before(n, at, &states[found])) > 0)
        positions[found++] = at--;
    return found;
}

static pl_code put_states(file_out *f, const header *h, const uint64_t *positions,
                          kv_block *const *states, uint64_t *sum, pl_error *e) {
    pl_code rc = PL_OK;
    for (size_t i = 0; i < h->n_states && !rc; i++)
        if (!(rc = put(f, &positions[i], sizeof *positions, sum, e)))
            rc = put(f, states[i]->data, h->state_bytes, sum, e);
    return rc;
}

pl_code cache_save(cache_node *n, const cache_identity *id, const char *path, pl_error *e) {
    const kv_pool *pool = cache_store_pool(node_store(n));
    size_t block_bytes = pool->of[POOL_BLOCKS].bytes, blocks;
    uint64_t positions[SAVED_STATES];
    kv_block *states[SAVED_STATES];
    header h = {.weights = id->weights,
                .n_vocab = id->n_vocab,
                .n_tokens = node_length(n),
                .n_processed = node_processed(n),
                .block_bytes = block_bytes,
                .state_bytes = pool->of[POOL_STATES].bytes,
                .n_states = find_states(n, positions, states)};
    file_out *f = NULL;
    uint64_t sum = 0;
    pl_code rc;
    memcpy(h.magic, MAGIC, sizeof h.magic);
    snprintf(h.kv, sizeof h.kv, "%s", id->kv);
    snprintf(h.build, sizeof h.build, "%s", id->build);
    blocks = blocks_of(h.n_processed);

    int32_t *tokens = mem_array(h.n_tokens, sizeof *tokens);
    uint8_t **table = mem_array(blocks, sizeof *table), *copy = mem_alloc(block_bytes);
    if (!tokens || !table || !copy) {
        rc = pl_fail(e, PL_ERR_MEMORY, "no memory to save a cache of %zu tokens", node_length(n));
        goto done;
    }
    node_tokens(n, 0, h.n_tokens, tokens);
    node_blocks(n, h.n_processed, table);
    if ((rc = file_out_open(path, &f, e)) || (rc = put(f, &h, sizeof h, &sum, e)) ||
        (rc = put(f, tokens, h.n_tokens * sizeof *tokens, &sum, e)) ||
        (rc = put_blocks(f, id, table, copy, &h, &sum, e)) ||
        (rc = put_states(f, &h, positions, states, &sum, e)) ||
        (rc = file_out_write(f, &sum, sizeof sum, e)))
        goto done;
    rc = file_out_commit(f, e);
    f = NULL;
done:
    file_out_abort(f);
    mem_free(tokens);
    mem_free(table);
    mem_free(copy);
    return rc;
}

/* ---- restoring ---- */

/* What the header says fits the file, which is whole. */
static pl_code check_file(const file_view *v, header *h, pl_error *e) {
    size_t tokens, data, states, size;
    if (v->size < sizeof *h + sizeof(uint64_t))
        return pl_fail(e, PL_ERR_FORMAT, "not a cache file: %zu bytes, less than a header",
                       v->size);
    memcpy(h, v->data, sizeof *h);
    if (memcmp(h->magic, MAGIC, 7))
        return pl_fail(e, PL_ERR_FORMAT, "not a cache file: it does not begin with PLCACHE");
    if (memcmp(h->magic, MAGIC, 8))
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "a cache file of version '%.1s'; this build reads version '%.1s'",
                       h->magic + 7, &MAGIC[7]);
    h->kv[sizeof h->kv - 1] = h->build[sizeof h->build - 1] = 0;
    if (h->n_processed > h->n_tokens || h->n_tokens > v->size / sizeof(int32_t) ||
        !h->block_bytes || h->n_states > SAVED_STATES || h->state_bytes > v->size ||
        !checked_mul(h->n_tokens, sizeof(int32_t), &tokens) ||
        !checked_mul(blocks_of(h->n_processed), h->block_bytes, &data) ||
        !checked_mul(h->n_states, sizeof(uint64_t) + h->state_bytes, &states) ||
        !checked_add(sizeof *h + sizeof(uint64_t), tokens, &size) ||
        !checked_add(size, data, &size) || !checked_add(size, states, &size) || size != v->size)
        return pl_fail(
            e, PL_ERR_FORMAT,
            "a damaged cache file: its header speaks of %llu tokens, %llu of them processed in "
            "blocks of %llu bytes, and the file has %zu bytes",
            (unsigned long long)h->n_tokens, (unsigned long long)h->n_processed,
            (unsigned long long)h->block_bytes, v->size);
    uint64_t sum = hash_bytes(v->data, sizeof *h, 0), want;
    const uint8_t *at = v->data + sizeof *h;
    sum = hash_bytes(at, tokens, sum);
    at += tokens;
    for (size_t i = 0; i < blocks_of(h->n_processed); i++, at += h->block_bytes)
        sum = hash_bytes(at, h->block_bytes, sum);
    for (size_t i = 0; i < h->n_states; i++, at += sizeof(uint64_t) + h->state_bytes)
        sum = hash_bytes(at + sizeof(uint64_t), h->state_bytes,
                         hash_bytes(at, sizeof(uint64_t), sum));
    memcpy(&want, at, sizeof want);
    return sum == want ? PL_OK
                       : pl_fail(e, PL_ERR_FORMAT,
                                 "a damaged cache file: its checksum does not match its content");
}

/* *data: its keys and values can be used. */
static pl_code check_identity(const header *h, const cache_identity *id, const kv_pool *pool,
                              bool recompute, bool *data, pl_error *e) {
    *data = false;
    if (h->n_vocab != id->n_vocab)
        return pl_fail(
            e, PL_ERR_MISMATCH,
            "the cache file is of a model with %llu tokens in its vocabulary; this one has %u",
            (unsigned long long)h->n_vocab, id->n_vocab);
    if (recompute &&
        (h->weights != id->weights || strcmp(h->kv, id->kv) || strcmp(h->build, id->build)))
        return PL_OK;
    if (h->weights != id->weights)
        return pl_fail(
            e, PL_ERR_MISMATCH,
            "the cache file is of another model: its weights have the fingerprint %016llx, "
            "this model's have %016llx; recompute = true takes its tokens all the same",
            (unsigned long long)h->weights, (unsigned long long)id->weights);
    if (strcmp(h->kv, id->kv))
        return pl_fail(e, PL_ERR_MISMATCH,
                       "the cache file has kv_type '%s', this model was loaded with '%s'; "
                       "recompute = true processes its tokens again",
                       h->kv, id->kv);
    if (strcmp(h->build, id->build))
        return pl_fail(e, PL_ERR_MISMATCH,
                       "the cache file was written by build '%s', this is '%s'; "
                       "recompute = true processes its tokens again",
                       h->build, id->build);
    if (h->block_bytes != pool->of[POOL_BLOCKS].bytes ||
        h->state_bytes != pool->of[POOL_STATES].bytes)
        return pl_fail(
            e, PL_ERR_FORMAT,
            "a damaged cache file: blocks of %llu bytes and states of %llu, this model's have %zu "
            "and %zu",
            (unsigned long long)h->block_bytes, (unsigned long long)h->state_bytes,
            pool->of[POOL_BLOCKS].bytes, pool->of[POOL_STATES].bytes);
    *data = true;
    return PL_OK;
}

static pl_code restore_tokens(cache_store *s, const cache_identity *id, const file_view *v,
                              const header *h, cache_node **out, pl_error *e) {
    int32_t *tokens = mem_array(h->n_tokens, sizeof *tokens);
    cache_node *empty = NULL;
    pl_code rc;
    if (!tokens)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %llu tokens",
                       (unsigned long long)h->n_tokens);
    memcpy(tokens, v->data + sizeof *h, h->n_tokens * sizeof *tokens);
    for (size_t i = 0; i < h->n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= id->n_vocab) {
            rc = pl_fail(e, PL_ERR_FORMAT,
                         "a damaged cache file: token %d at %zu; ids go from 0 to %u", tokens[i],
                         i + 1, id->n_vocab - 1);
            goto done;
        }
    if (!(rc = node_empty(s, &empty, e))) rc = node_extend(empty, tokens, h->n_tokens, out, e);
done:
    node_release(empty);
    mem_free(tokens);
    return rc;
}

static pl_code restore_states(cache_node *n, const header *h, const uint8_t *at, pl_error *e) {
    uint64_t last = h->n_processed + 1;
    for (size_t i = 0; i < h->n_states; i++, at += sizeof(uint64_t) + h->state_bytes) {
        uint64_t position;
        kv_block *state;
        memcpy(&position, at, sizeof position);
        if (position < 1 || position >= last)
            return pl_fail(e, PL_ERR_FORMAT, "a damaged cache file: a state behind %llu tokens",
                           (unsigned long long)position);
        last = position;
        pl_code rc = cache_store_take_state(node_store(n), &state, e);
        if (rc) return i > 0 ? PL_OK : rc; /* the others save time, no more */
        memcpy(state->data, at + sizeof position, h->state_bytes);
        node_keep_state(n, position, state, i == 0);
    }
    return PL_OK;
}

static pl_code restore_blocks(cache_node *n, const file_view *v, const header *h, pl_error *e) {
    size_t blocks = blocks_of(h->n_processed);
    const uint8_t *at = v->data + sizeof *h + h->n_tokens * sizeof(int32_t);
    uint8_t **table = mem_array(blocks, sizeof *table);
    if (!table) return pl_fail(e, PL_ERR_MEMORY, "no memory for a table of %zu blocks", blocks);
    pl_code rc = node_claim(n, h->n_processed, 0, e);
    if (!rc) {
        node_blocks(n, h->n_processed, table);
        for (size_t i = 0; i < blocks; i++, at += h->block_bytes)
            memcpy(table[i], at, h->block_bytes);
        node_commit(n);
    }
    mem_free(table);
    return rc ? rc : restore_states(n, h, at, e);
}

pl_code cache_restore(cache_store *s, const cache_identity *id, const char *path, bool recompute,
                      cache_node **out, pl_error *e) {
    file_view v;
    header h;
    cache_node *n = NULL;
    bool data = false;
    pl_code rc = file_view_open(path, true, &v, e);
    if (rc) return rc;
    if ((rc = check_file(&v, &h, e)) ||
        (rc = check_identity(&h, id, cache_store_pool(s), recompute, &data, e)) ||
        (rc = restore_tokens(s, id, &v, &h, &n, e)))
        goto done;
    if (data && h.n_processed && (rc = restore_blocks(n, &v, &h, e))) goto done;
    *out = n;
    n = NULL;
done:
    if (rc) pl_error_prefix(e, "%s", path);
    node_release(n);
    file_view_close(&v);
    return rc;
}
