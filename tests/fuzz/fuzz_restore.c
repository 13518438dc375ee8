/* fuzz_restore.c: the input is a byte of flags and a cache file, restored into a store that holds
 * another cache already. A file that is refused leaves the store as it was; one that is not gives a
 * cache that can be saved and continued. A checksum would keep all but the first input out: with a
 * flag it is made to fit. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "cache/store.h"
#include "fuzz.h"
#include "math/math.h"

enum { RECOMPUTE = 1, MEND = 2, SMALL_POOL = 4, STATES = 8 };

#define BLOCK_BYTES ((size_t)KV_TILE * 2)
#define STATE_BYTES ((size_t)24) /* with STATES: the model has recurrent layers */
#define CONTEXT 200
#define VOCABULARY 7
#define OTHER_TOKENS 40

static void clear(const void *user, uint8_t *block, size_t slot) {
    (void)user;
    memset(block + slot * 2, 0, BLOCK_BYTES - slot * 2);
}

static const cache_identity identity = {.weights = 0x1234, .n_vocab = VOCABULARY, .kv = "f16",
                                        .build = "0.1.0 fuzz", .clear = clear};

/* ---- the checksum, and the sizes that decide where it lies ---- */

#define HEADER 128 /* bytes; cache/store.c has the layout */

static uint64_t field(const uint8_t *file, size_t i) {
    uint64_t x;
    memcpy(&x, file + 8 + 8 * i, sizeof x);
    return x;
}

/* Writes the checksum that the file should have, where its header fits its size. */
static void mend(uint8_t *file, size_t size) {
    if (size < HEADER + 8) return;
    uint64_t tokens = field(file, 2), done = field(file, 3), block = field(file, 4), sum;
    uint64_t state = field(file, 5), states = field(file, 6);
    uint64_t blocks = done / KV_TILE + (done % KV_TILE != 0);
    size_t at = HEADER;
    if (tokens > size / 4 || blocks > size || block > size || states > size || state > size ||
        HEADER + 4 * tokens + blocks * block + states * (8 + state) + 8 != size)
        return;
    sum = hash_bytes(file, HEADER, 0);
    sum = hash_bytes(file + at, 4 * tokens, sum);
    at += 4 * tokens;
    for (size_t i = 0; i < blocks; i++, at += block) sum = hash_bytes(file + at, block, sum);
    for (size_t i = 0; i < states; i++, at += 8 + state)
        sum = hash_bytes(file + at + 8, state, hash_bytes(file + at, 8, sum));
    memcpy(file + at, &sum, sizeof sum);
}

/* ---- the store ---- */

static cache_node *other_cache(cache_store *s) {
    int32_t tokens[OTHER_TOKENS];
    cache_node *empty, *n;
    uint8_t *table[2];
    for (size_t i = 0; i < OTHER_TOKENS; i++) tokens[i] = (int32_t)(i % VOCABULARY);
    CHECK(node_empty(s, &empty, NULL) == PL_OK);
    CHECK(node_extend(empty, tokens, OTHER_TOKENS, &n, NULL) == PL_OK);
    node_release(empty);
    CHECK(node_claim(n, OTHER_TOKENS, 0, NULL) == PL_OK);
    node_blocks(n, OTHER_TOKENS, table);
    for (size_t i = 0; i < 2; i++) memset(table[i], 0x5A, BLOCK_BYTES);
    node_commit(n);
    return n;
}

static void check_other(const cache_node *n) {
    int32_t tokens[OTHER_TOKENS];
    uint8_t *table[2];
    CHECK(node_length(n) == OTHER_TOKENS && node_processed(n) == OTHER_TOKENS);
    node_tokens(n, 0, OTHER_TOKENS, tokens);
    node_blocks(n, OTHER_TOKENS, table);
    for (size_t i = 0; i < OTHER_TOKENS; i++) CHECK(tokens[i] == (int32_t)(i % VOCABULARY));
    for (size_t i = 0; i < 2 * BLOCK_BYTES; i++)
        CHECK(table[i / BLOCK_BYTES][i % BLOCK_BYTES] == 0x5A);
}

/* Goes on from a cache by one token. */
static void go_on(cache_node *n) {
    cache_node *longer;
    size_t length = node_length(n);
    node_run run;
    pl_error e;
    pl_code code = node_extend(n, (int32_t[]){1}, 1, &longer, &e);
    CHECK((code == PL_OK) == (length < CONTEXT));
    if (code != PL_OK) return;
    while (node_pending(longer, length + 1, &run)) {
        if (node_claim(run.node, run.to, 0, &e) != PL_OK) break; /* the pool is full */
        node_commit(run.node);
    }
    node_release(longer);
}

/* A restored cache has the tokens of its file, and one that is saved is a file that restores to the
 * same. */
static void check_restored(cache_store *s, cache_node *n, const uint8_t *file, size_t size) {
    char path[256];
    int32_t tokens[CONTEXT];
    size_t length = node_length(n);
    cache_node *again = NULL;
    pl_error e;
    CHECK(length == field(file, 2) && length <= CONTEXT && HEADER + 4 * length < size);
    CHECK(node_processed(n) == 0 || node_processed(n) == field(file, 3));
    node_tokens(n, 0, length, tokens);
    CHECK(memcmp(tokens, file + HEADER, 4 * length) == 0);
    for (size_t i = 0; i < length; i++) CHECK(tokens[i] >= 0 && tokens[i] < VOCABULARY);
    snprintf(path, sizeof path, "%s/again", fuzz_folder());
    CHECK(cache_save(n, &identity, path, &e) == PL_OK);
    pl_code code = cache_restore(s, &identity, path, false, &again, &e);
    CHECK(code == PL_OK || code == PL_ERR_POOL);
    if (code != PL_OK) return;
    CHECK(node_length(again) == length && node_common_prefix(n, again) == length);
    CHECK(node_processed(again) == node_processed(n));
    node_release(again);
}

/* Allocations but for the pool's slabs: two for each. */
static long live_outside(const kv_pool *pool) {
    return mem_live() - 2 * (long)(pool->of[POOL_BLOCKS].n_slabs + pool->of[POOL_STATES].n_slabs);
}

static void restore(uint8_t flags, const uint8_t *file, size_t size) {
    const char *path = fuzz_file(file, size, 0);
    cache_store *s;
    cache_node *n = NULL;
    pl_error e;
    const cache_store_options options = {
        .block_bytes = BLOCK_BYTES,
        .state_bytes = flags & STATES ? STATE_BYTES : 0,
        .max_bytes = (flags & SMALL_POOL ? 4 : 16) * BLOCK_BYTES,
        .context = CONTEXT,
        .n_hidden = 2,
        .state_interval = 16,
    };
    CHECK(cache_store_new(&options, &s, &e) == PL_OK);
    cache_node *other = other_cache(s);
    const kv_pool *pool = cache_store_pool(s);
    size_t nodes = cache_store_nodes(s), used = pool_used_bytes(pool);
    size_t shared = pool->of[POOL_BLOCKS].n_shared;
    long live = live_outside(pool);
    pl_code code = cache_restore(s, &identity, path, flags & RECOMPUTE, &n, &e);
    CHECK((code == PL_OK) == (n != NULL));
    if (code != PL_OK) {
        fuzz_check_error(code, &e);
        CHECK(cache_store_nodes(s) == nodes);
    } else {
        check_restored(s, n, file, size);
        go_on(n);
        node_release(n);
    }
    CHECK(pool_used_bytes(pool) == used && pool->of[POOL_BLOCKS].n_shared == shared);
    CHECK(pool->of[POOL_STATES].n_used == 0);
    CHECK(cache_store_nodes(s) == nodes && live_outside(pool) == live);
    check_other(other);
    node_release(other);
    cache_store_release(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[1 << 16];
    fuzz_bytes b = {data, size};
    uint8_t flags = fuzz_u8(&b);
    long live = mem_live();
    if (b.size > sizeof file) return -1;
    if (b.size != 0) memcpy(file, b.data, b.size);
    if (flags & MEND) mend(file, b.size);
    restore(flags, file, b.size);
    CHECK(mem_live() == live);
    return 0;
}
