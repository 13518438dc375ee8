/* test_store.c: cache files: saved and restored, cut, altered, and of another model; without a
 * model (slots.h). */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "cache/store.h"
#include "live.h"
#include "slots.h"
#include "support.h"

static void clear_slots(const void *user, uint8_t *block, size_t from) {
    (void)user;
    memset(block + from * SLOT_BYTES, 0, BLOCK_BYTES - from * SLOT_BYTES);
}

static const cache_identity identity = {
    .weights = 0x1234, .n_vocab = 5, .kv = "f16", .build = "0.1.0 test", .clear = clear_slots};

/* A cache of n tokens, `done` of them processed, which shares its last block with a longer one. */
static cache_node *sample(cache_store *s, size_t n, size_t done) {
    cache_node *root = slots_empty(s), *part = slots_extended(root, done),
               *longer = slots_extended(part, 3), *all = slots_extended(part, n - done);
    assert_int_equal(slots_process(longer), PL_OK);
    node_release(root);
    node_release(part);
    node_release(longer);
    return all;
}

static pl_code restore(cache_store *s, const cache_identity *id, const char *path, bool recompute,
                       cache_node **out, pl_error *e) {
    *out = NULL;
    pl_code rc = cache_restore(s, id, path, recompute, out, e);
    if (rc) {
        assert_null(*out);
        assert_non_null(strstr(e->message, path));
        assert_int_equal(cache_store_nodes(s), 0);
        assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    }
    return rc;
}

TEST(a_saved_cache_comes_back_with_its_tokens_and_keys) {
    static const size_t sizes[][2] = {{0, 0},   {1, 0},   {1, 1},   {40, 40},
                                      {40, 33}, {64, 64}, {65, 32}, {500, 499}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cache_store *s = slots_store(100, 600), *s2 = slots_store(100, 600);
        cache_node *n = sample(s, sizes[i][0], sizes[i][1]), *back, *next;
        const char *path = temp_path(".cache");
        pl_error e;
        if (cache_save(n, &identity, path, &e)) fail_msg("%s", e.message);
        assert_int_equal(restore(s2, &identity, path, false, &back, &e), PL_OK);
        assert_int_equal(node_length(back), sizes[i][0]);
        assert_int_equal(node_common_prefix(n, back), sizes[i][0]);
        assert_int_equal(node_processed(back), sizes[i][1]);
        slots_check(back);
        next = slots_extended(back, 40); /* goes on as if it had been made here */
        assert_int_equal(slots_process(next), PL_OK);
        slots_check(next);
        node_release(n);
        node_release(back);
        node_release(next);
        cache_store_release(s);
        cache_store_release(s2);
    }
}

TEST(what_other_caches_wrote_into_the_last_block_is_not_saved) {
    cache_store *s = slots_store(100, 600);
    cache_node *n = sample(s, 40, 40);
    const char *path = temp_path(".cache");
    size_t size;
    pl_error e;
    assert_int_equal(cache_save(n, &identity, path, &e), PL_OK);
    char *file = read_whole(path, &size);
    for (size_t i = size - 8 - 24 * SLOT_BYTES; i < size - 8; i++) assert_int_equal(file[i], 0);
    slots_check(n); /* the cache itself is as it was */
    free(file);
    node_release(n);
    cache_store_release(s);
}

TEST(a_cache_file_that_was_cut_or_altered_anywhere_is_refused) {
    cache_store *s = slots_store(100, 600), *s2 = slots_store(100, 600);
    cache_node *n = sample(s, 37, 35), *back;
    const char *path = temp_path(".cache");
    size_t size;
    pl_error e;
    assert_int_equal(cache_save(n, &identity, path, &e), PL_OK);
    char *file = read_whole(path, &size);
    for (size_t cut = 0; cut < size; cut++) {
        write_whole(path, file, cut);
        assert_true(restore(s2, &identity, path, cut % 2, &back, &e) != PL_OK);
    }
    for (size_t i = 0; i < size; i++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xFF};
        for (size_t k = 0; k < sizeof masks; k++) {
            file[i] = (char)(file[i] ^ (char)masks[k]);
            write_whole(path, file, size);
            assert_true(restore(s2, &identity, path, k == 1, &back, &e) != PL_OK);
            file[i] = (char)(file[i] ^ (char)masks[k]);
        }
    }
    file[size] = 0; /* one byte more, which read_whole has left room for */
    write_whole(path, file, size + 1);
    assert_true(restore(s2, &identity, path, true, &back, &e) == PL_ERR_FORMAT);
    free(file);
    node_release(n);
    cache_store_release(s);
    cache_store_release(s2);
}

static void refused(cache_store *s, const cache_identity *id, const char *path, bool recompute,
                    pl_code code, const char *what) {
    cache_node *back;
    pl_error e;
    assert_int_equal(restore(s, id, path, recompute, &back, &e), code);
    if (!strstr(e.message, what)) fail_msg("'%s' does not say '%s'", e.message, what);
}

TEST(a_cache_file_of_another_model_type_or_build_says_so_and_can_be_recomputed) {
    cache_store *s = slots_store(100, 600), *s2 = slots_store(100, 600);
    cache_node *n = sample(s, 50, 45), *back;
    cache_identity weights = identity, kv = identity, build = identity, vocabulary = identity;
    const cache_identity *others[] = {&weights, &kv, &build};
    const char *path = temp_path(".cache");
    pl_error e;
    weights.weights = 0x99, kv.kv = "f32", build.build = "0.2.0 test", vocabulary.n_vocab = 6;
    assert_int_equal(cache_save(n, &identity, path, &e), PL_OK);
    refused(s2, &weights, path, false, PL_ERR_MISMATCH,
            "fingerprint 0000000000001234, this model's have 0000000000000099");
    refused(s2, &kv, path, false, PL_ERR_MISMATCH,
            "kv_type 'f16', this model was loaded with 'f32'");
    refused(s2, &build, path, false, PL_ERR_MISMATCH, "build '0.1.0 test', this is '0.2.0 test'");
    refused(s2, &vocabulary, path, false, PL_ERR_MISMATCH,
            "5 tokens in its vocabulary; this one has 6");
    refused(s2, &vocabulary, path, true, PL_ERR_MISMATCH,
            "5 tokens in its vocabulary; this one has 6");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(restore(s2, others[i], path, true, &back, &e), PL_OK);
        assert_int_equal(node_length(back), 50);
        assert_int_equal(node_common_prefix(n, back), 50);
        assert_int_equal(node_processed(back), 0);
        node_release(back);
    }
    /* nothing to recompute */
    assert_int_equal(restore(s2, &identity, path, true, &back, &e), PL_OK);
    assert_int_equal(node_processed(back), 45);
    node_release(back);
    node_release(n);
    cache_store_release(s);
    cache_store_release(s2);
}

TEST(a_cache_file_that_does_not_fit_is_refused) {
    cache_store *s = slots_store(100, 600), *short_context = slots_store(100, 49),
                *small = slots_store(1, 600);
    cache_node *n = sample(s, 50, 45);
    const char *path = temp_path(".cache"), *other = temp_path(".cache"),
               *nowhere = temp_path("/x/y.cache");
    pl_error e;
    assert_int_equal(cache_save(n, &identity, path, &e), PL_OK);
    refused(short_context, &identity, path, false, PL_ERR_CONTEXT, "the context of 49 tokens");
    refused(small, &identity, path, false, PL_ERR_POOL, "cache_bytes");
    refused(small, &identity, nowhere, false, PL_ERR_IO, nowhere);
    assert_int_equal(cache_save(n, &identity, nowhere, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, nowhere));
    write_whole(other,
                "GGUF, and more than one hundred and twenty bytes after it, so that the header is "
                "there: xxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                140);
    refused(small, &identity, other, true, PL_ERR_FORMAT, "not a cache file");
    node_release(n);
    cache_store_release(s);
    cache_store_release(short_context);
    cache_store_release(small);
}

/* Header fields and tokens by their place in the file (cache/store.c), and the checksum that goes
 * with them. */
static void set(char *file, size_t at, const void *value, size_t size) {
    memcpy(file + at, value, size);
}
static void reseal(char *file, size_t size, size_t n_tokens, size_t blocks) {
    uint64_t sum = hash_bytes(file, 128, 0);
    size_t at = 128;
    sum = hash_bytes(file + at, 4 * n_tokens, sum);
    at += 4 * n_tokens;
    for (size_t i = 0; i < blocks; i++, at += BLOCK_BYTES)
        sum = hash_bytes(file + at, BLOCK_BYTES, sum);
    assert_int_equal(at + 8, size);
    memcpy(file + at, &sum, sizeof sum);
}

TEST(a_cache_file_whose_checksum_fits_is_checked_all_the_same) {
    enum {
        TOKENS = 37,
        BLOCKS = 2,
        N_VOCAB = 16,
        N_TOKENS = 24,
        N_PROCESSED = 32,
        BLOCK = 40,
        STATE = 48,
        N_STATES = 56,
        KV = 64,
        FIRST_TOKEN = 128
    };
    static const uint64_t zero = 0, huge = UINT64_MAX, more = TOKENS + 1, odd = BLOCK_BYTES - 8,
                          half = BLOCK_BYTES / 2;
    static const int32_t minus = -1, beyond = 5, far = INT32_MAX;
    static const struct {
        size_t at, size;
        const void *value;
        pl_code code;
        const char *says;
    } cases[] = {
        {0, 8, "PLCACHE3", PL_ERR_UNSUPPORTED, "version '3'"},
        {0, 8, "PLCACHD2", PL_ERR_FORMAT, "not a cache file"},
        {N_VOCAB, 8, &huge, PL_ERR_MISMATCH, "18446744073709551615 tokens"},
        {N_TOKENS, 8, &zero, PL_ERR_FORMAT, "speaks of 0 tokens"},
        {N_TOKENS, 8, &huge, PL_ERR_FORMAT, "speaks of 18446744073709551615 tokens"},
        {N_PROCESSED, 8, &huge, PL_ERR_FORMAT, "18446744073709551615 of them processed"},
        {N_PROCESSED, 8, &more, PL_ERR_FORMAT, "38 of them processed"},
        {N_PROCESSED, 8, &zero, PL_ERR_FORMAT, "0 of them processed"},
        {BLOCK, 8, &zero, PL_ERR_FORMAT, "blocks of 0 bytes"},
        {BLOCK, 8, &huge, PL_ERR_FORMAT, "blocks of 18446744073709551615 bytes"},
        {BLOCK, 8, &odd, PL_ERR_FORMAT, "blocks of 248 bytes"},
        {BLOCK, 8, &half, PL_ERR_FORMAT, "blocks of 128 bytes"},
        {STATE, 8, &huge, PL_ERR_FORMAT, "a damaged cache file"},
        {STATE, 8, &odd, PL_ERR_FORMAT, "states of 248"},
        {N_STATES, 8, &huge, PL_ERR_FORMAT, "a damaged cache file"},
        {N_STATES, 8, &more, PL_ERR_FORMAT, "a damaged cache file"},
        {KV, 16, "0123456789abcdef", PL_ERR_MISMATCH, "'0123456789abcde'"}, /* no NUL behind it */
        {FIRST_TOKEN, 4, &minus, PL_ERR_FORMAT, "token -1 at 1; ids go from 0 to 4"},
        {FIRST_TOKEN + 4 * (TOKENS - 1), 4, &beyond, PL_ERR_FORMAT, "token 5 at 37"},
        {FIRST_TOKEN + 4, 4, &far, PL_ERR_FORMAT, "token 2147483647 at 2"},
    };
    cache_store *s = slots_store(100, 600), *s2 = slots_store(100, 600);
    cache_node *n = sample(s, TOKENS, 35);
    const char *path = temp_path(".cache");
    size_t size;
    pl_error e;
    assert_int_equal(cache_save(n, &identity, path, &e), PL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *file = read_whole(path, &size);
        const char *other = temp_path(".cache");
        set(file, cases[i].at, cases[i].value, cases[i].size);
        reseal(file, size, TOKENS, BLOCKS);
        write_whole(other, file, size);
        refused(s2, &identity, other, false, cases[i].code, cases[i].says);
        free(file);
    }
    node_release(n);
    cache_store_release(s);
    cache_store_release(s2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        STORE_TEST(a_saved_cache_comes_back_with_its_tokens_and_keys),
        STORE_TEST(what_other_caches_wrote_into_the_last_block_is_not_saved),
        STORE_TEST(a_cache_file_that_was_cut_or_altered_anywhere_is_refused),
        STORE_TEST(a_cache_file_of_another_model_type_or_build_says_so_and_can_be_recomputed),
        STORE_TEST(a_cache_file_that_does_not_fit_is_refused),
        STORE_TEST(a_cache_file_whose_checksum_fits_is_checked_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
