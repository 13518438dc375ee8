/* test_cache.c: cache values, without a model (slots.h): random branches against plain lists of
 * tokens, claims that fail, long chains, views and forks. Files are in test_store.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "live.h"
#include "slots.h"
#include "support.h"

/* ---- the property test ---- */

#define CONTEXT 150
#define HANDLES 24
#define MAX_BIRTHS (1 << 20)

/* A handle, and what it must be. A token's birth is the call that made it: caches that share it by
 * descent share its processing too; others may adopt it. */
typedef struct {
    cache_node *node;
    size_t n;
    int32_t tokens[CONTEXT];
    uint32_t births[CONTEXT];
    bool growing;
} value;

typedef struct {
    cache_store *store;
    value v[HANDLES];
    size_t n;
    bool faults;        /* allocations fail now and then */
    bool adopts;        /* caches are made to stand on what others have too */
    uint32_t born;
    uint64_t committed, adopted;
    size_t pool_errors, context_errors, memory_errors, cancelled;
} world;

static uint8_t processed[MAX_BIRTHS];

static void count_error(world *w, pl_code rc) {
    if (rc == PL_ERR_MEMORY) assert_true(w->faults);
    if (rc == PL_ERR_POOL) w->pool_errors++;
    else if (rc == PL_ERR_CONTEXT) w->context_errors++;
    else if (rc == PL_ERR_MEMORY) w->memory_errors++;
    else if (rc == PL_ERR_CANCELLED) w->cancelled++;
    else fail_msg("an error of another kind: %s", pl_code_name(rc));
}

static void add_tokens(world *w, value *v, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(v->n < CONTEXT && w->born < MAX_BIRTHS);
        v->tokens[v->n] = ids[i];
        v->births[v->n++] = w->born++;
    }
}

static void op_derive(world *w, bool grow) {
    value *from = &w->v[slots_below(w->n)], *to = &w->v[w->n];
    int32_t ids[CONTEXT];
    bool common = slots_below(2); /* tokens that other branches are given too */
    size_t n = slots_below(4) ? slots_below(6) : common ? 30 + slots_below(60) : slots_below(80);
    pl_error e;
    if (w->n == HANDLES) return;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(common ? (from->n + i) * 7 % 3 : slots_below(3));
    *to = *from;
    to->growing = grow;
    pl_code rc = grow ? node_grow(from->node, ids, n, &to->node, &e)
                      : node_extend(from->node, ids, n, &to->node, &e);
    if ((from->n + n > CONTEXT) != (rc == PL_ERR_CONTEXT))
        fail_msg("%zu and %zu: %d", from->n, n, rc);
    if (rc) {
        count_error(w, rc);
        return;
    }
    add_tokens(w, to, ids, n);
    w->n++;
}

static void op_truncate(world *w) {
    value *from = &w->v[slots_below(w->n)], *to = &w->v[w->n];
    size_t length = slots_below(3) ? slots_below(from->n + 1)
                                   : from->n - slots_below(from->n < 3 ? from->n + 1 : 3);
    pl_error e;
    if (w->n == HANDLES) return;
    *to = *from;
    to->n = length;
    to->growing = false;
    pl_code rc = node_truncate(from->node, length, &to->node, &e);
    if (rc) count_error(w, rc);
    else w->n++;
}

static void op_fork(world *w) {
    value *from = &w->v[slots_below(w->n)];
    if (w->n == HANDLES || from->growing) return;
    w->v[w->n] = *from;
    node_retain(from->node);
    w->n++;
}

/* What a step reads of a handle, and where that lies. */
typedef struct {
    cache_node *owner;
    size_t length;
    uint8_t *table[CONTEXT / KV_TILE + 1];
} reading;

static void read_some(const value *v, reading *r) {
    *r = (reading){.length = slots_below(node_processed(v->node) + 1)};
    r->owner = node_retain(node_owner(v->node, r->length));
    node_blocks(v->node, r->length, r->table);
}

static void check_reading(const value *v, const reading *r) {
    reading now = *r;
    node_blocks(r->owner, r->length, now.table);
    assert_memory_equal(now.table, r->table, sizeof now.table);
    node_blocks(v->node, r->length, now.table);
    assert_memory_equal(now.table, r->table, sizeof now.table);
}

/* What a step reads of the others stays where it is. */
static void op_release(world *w) {
    static reading readings[HANDLES];
    size_t i = slots_below(w->n);
    if (w->n == 1) return;
    value released = w->v[i];
    w->v[i] = w->v[--w->n];
    for (size_t k = 0; k < w->n; k++) read_some(&w->v[k], &readings[k]);
    if (released.growing) node_seal(released.node);
    node_release(released.node);
    for (size_t k = 0; k < w->n; k++) check_reading(&w->v[k], &readings[k]);
    for (size_t k = 0; k < w->n; k++) node_release(readings[k].owner);
}

static void op_append(world *w) {
    value *v = &w->v[slots_below(w->n)];
    if (!v->growing) return;
    if (!slots_below(8)) {
        node_seal(v->node);
        v->growing = false;
        return;
    }
    for (size_t i = slots_below(12); i-- > 0;) {
        int32_t id = (int32_t)slots_below(3);
        pl_error e;
        pl_code rc = node_append(v->node, id, &e);
        if ((v->n == CONTEXT) != (rc == PL_ERR_CONTEXT)) fail_msg("%zu tokens: %d", v->n, rc);
        if (rc) count_error(w, rc);
        else add_tokens(w, v, &id, 1);
    }
}

static uint64_t hash_of(const value *v) {
    uint64_t h = 0;
    for (size_t i = 0; i < v->n; i++) h = slots_hash(h, v->tokens[i]);
    return h;
}

static void op_hidden(world *w) {
    value *v = &w->v[slots_below(w->n)];
    uint64_t h = hash_of(v);
    float hidden[SLOTS_HIDDEN];
    if (v->n == 0) return;
    memcpy(hidden, &h, sizeof h);
    node_set_hidden(v->node, hidden);
}

/* Tokens of different births that are processed by now because one of them was: caches stand on
 * what others have of the same tokens. What they hold is compared by slots_check. */
static void note_adopted(world *w) {
    for (size_t i = 0; i < w->n; i++) {
        const value *v = &w->v[i];
        for (size_t p = 0, done = node_processed(v->node); p < done; p++) {
            w->adopted += !processed[v->births[p]];
            processed[v->births[p]] = 1;
        }
    }
}

static void op_adopt(world *w) {
    if (!w->adopts) return;
    node_adopt(w->v[slots_below(w->n)].node);
    note_adopted(w);
}

/* One step as the engine takes it: runs of several caches are claimed, computed together, and all
 * kept or all given back. */
static void op_step(world *w) {
    struct { cache_node *node; size_t from, to; } claims[64];
    size_t n_claims = 0, row = 0;
    bool fails = !slots_below(4);
    for (size_t k = 1 + slots_below(4); k-- > 0;) {
        value *v = &w->v[slots_below(w->n)];
        size_t length = slots_below(2) ? v->n : slots_below(v->n + 1);
        node_run run;
        while (n_claims < 64 && node_pending(v->node, length, &run)) {
            size_t to = slots_below(3) ? run.to : run.from + 1 + slots_below(run.to - run.from),
                   found;
            pl_error e;
            pl_code rc = node_claim(run.node, to, row, &e);
            if (rc) {
                assert_true(rc != PL_ERR_CANCELLED || n_claims > 0);
                count_error(w, rc);
                break;
            }
            claims[n_claims].node = run.node;
            claims[n_claims].from = run.from;
            claims[n_claims++].to = to;
            assert_true(node_claimed_row(v->node, run.from, &found) && found == row);
            assert_true(node_claimed_row(v->node, to - 1, &found) &&
                        found == row + to - 1 - run.from);
            for (size_t p = run.from; p < to && !fails; p++) {
                assert_false(processed[v->births[p]]); /* every token is processed once */
                processed[v->births[p]] = 1;
                w->committed++;
            }
            row += to - run.from;
            if (to < run.to) break;
        }
    }
    for (size_t i = 0; i < n_claims; i++) slots_write(claims[i].node, claims[i].from, claims[i].to);
    if (fails)
        for (size_t i = n_claims; i-- > 0;) node_unclaim(claims[i].node);
    else
        for (size_t i = 0; i < n_claims; i++) node_commit(claims[i].node);
    if (w->adopts) note_adopted(w);
}

static void check_value(const value *v) {
    int32_t tokens[CONTEXT];
    size_t done = 0;
    assert_int_equal(node_length(v->node), v->n);
    node_tokens(v->node, 0, v->n, tokens);
    assert_memory_equal(tokens, v->tokens, v->n * sizeof *tokens);
    size_t first = slots_below(v->n + 1), count = slots_below(v->n - first + 1);
    node_tokens(v->node, first, count, tokens);
    assert_memory_equal(tokens, v->tokens + first, count * sizeof *tokens);
    while (done < v->n && processed[v->births[done]]) done++;
    /* what is shared by descent is processed for all */
    assert_int_equal(node_processed(v->node), done);
    slots_check(v->node);
    if (node_hidden(v->node)) {
        uint64_t h = hash_of(v);
        assert_memory_equal(node_hidden(v->node), &h, sizeof h);
    }
}

static void check_world(const world *w) {
    const value *a = &w->v[slots_below(w->n)], *b = &w->v[slots_below(w->n)];
    size_t common = 0, distinct = 0;
    uint8_t *seen[HANDLES * (CONTEXT / KV_TILE + 1)];
    kv_pool *pool = cache_store_pool(w->store);
    while (common < a->n && common < b->n && a->tokens[common] == b->tokens[common]) common++;
    assert_int_equal(node_common_prefix(a->node, b->node), common);
    check_value(a);
    check_value(b);
    if (slots_below(20)) return;
    for (size_t i = 0; i < w->n; i++) check_value(&w->v[i]);
    for (size_t i = 0; i < w->n; i++) {
        uint8_t *table[CONTEXT / KV_TILE + 1];
        size_t done = node_processed(w->v[i].node);
        node_blocks(w->v[i].node, done, table);
        for (size_t k = 0; k < (done + KV_TILE - 1) / KV_TILE; k++) {
            size_t at = 0;
            while (at < distinct && seen[at] != table[k]) at++;
            if (at == distinct) seen[distinct++] = table[k];
        }
    }
    /* A node that nobody holds may keep one block that its children have copied. */
    assert_true(pool->of[POOL_BLOCKS].n_used >= distinct &&
                pool->of[POOL_BLOCKS].n_used <= distinct + cache_store_nodes(w->store));
    assert_true(pool->of[POOL_BLOCKS].n_used <= pool->max_bytes / BLOCK_BYTES &&
                pool->of[POOL_BLOCKS].n_shared <= pool->of[POOL_BLOCKS].n_used);
    /* Nodes without a holder have two children at least, but for those that had no memory to
     * merge. */
    if (!w->faults) assert_true(cache_store_nodes(w->store) <= 2 * w->n);
}

static void run_world(world *w, size_t blocks, size_t steps) {
    memset(processed, 0, w->born);
    w->store = slots_store(blocks, CONTEXT);
    w->n = 1;
    w->born = 0;
    w->v[0] = (value){.node = slots_empty(w->store)};
    for (size_t i = 0; i < steps; i++) {
        size_t what = slots_below(20);
        if (w->faults) mem_fail_at(slots_below(3) ? 0 : (long)(1 + slots_below(4)));
        if (what < 5) op_derive(w, false);
        else if (what < 6) op_derive(w, true);
        else if (what < 8) op_truncate(w);
        else if (what < 9) op_fork(w);
        else if (what < 12) op_release(w);
        else if (what < 14) op_append(w);
        else if (what < 15) op_hidden(w);
        else if (what < 16) op_adopt(w);
        else op_step(w);
        mem_fail_at(0);
        check_world(w);
    }
    while (w->n > 0) {
        value *v = &w->v[slots_below(w->n)];
        if (v->growing) node_seal(v->node);
        node_release(v->node);
        *v = w->v[--w->n];
        if (w->n) check_value(&w->v[slots_below(w->n)]);
    }
    kv_pool *pool = cache_store_pool(w->store);
    assert_int_equal(cache_store_nodes(w->store), 0);
    assert_int_equal(pool->of[POOL_BLOCKS].n_used, 0);
    assert_int_equal(pool->of[POOL_BLOCKS].n_shared, 0);
    cache_store_release(w->store);
}

TEST(random_branches_hold_their_own_tokens_and_keys_and_are_processed_once) {
    static world w;
    slots_seed = 2;
    for (size_t round = 0; round < 4000; round++) {
        w.faults = round % 3 == 2;
        w.adopts = round % 4 < 2;
        run_world(&w, round % 2 ? 1000 : 6 + slots_below(20), 300);
        assert_int_equal(mem_live(), live_before);
    }
    print_message("%llu tokens processed, %llu adopted; refused: %zu by the pool, %zu by the "
                  "context, %zu by memory, %zu until the next\n",
                  (unsigned long long)w.committed, (unsigned long long)w.adopted, w.pool_errors,
                  w.context_errors, w.memory_errors, w.cancelled);
    assert_true(w.adopted > 1000 && w.pool_errors > 100 && w.context_errors > 100 &&
                w.memory_errors > 100 && w.cancelled > 100);
}

TEST(equal_tokens_that_were_noted_twice_are_adopted_and_not_processed_again) {
    cache_store *s = slots_store(100, 1000);
    cache_node *root = slots_empty(s), *a = slots_extended(root, 100), *b, *c, *other;
    int32_t ids[100];
    node_run run;
    pl_error e;
    node_tokens(a, 0, 100, ids);
    assert_int_equal(slots_process(a), PL_OK);
    assert_int_equal(node_extend(root, ids, 90, &b, &e), PL_OK);
    assert_int_equal(node_extend(b, ids + 90, 10, &c, &e), PL_OK);
    ids[50] = (ids[50] + 1) % 5; /* another token */
    assert_int_equal(node_extend(root, ids, 100, &other, &e), PL_OK);
    node_adopt(c);
    assert_int_equal(node_processed(b), 90);
    assert_true(node_processed(c) >= 90);
    node_adopt(other);
    assert_int_equal(node_processed(other), 50);
    node_release(a); /* what they adopted is theirs too */
    assert_false(node_pending(b, 90, &run));
    assert_int_equal(slots_process(c), PL_OK);
    assert_int_equal(slots_process(other), PL_OK);
    slots_check(b);
    slots_check(c);
    slots_check(other);
    node_release(c);
    node_release(b);
    node_release(other);
    node_release(root);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    cache_store_release(s);
}

TEST(equal_tokens_that_are_still_pending_are_processed_once) {
    cache_store *s = slots_store(100, 1000);
    cache_node *root = slots_empty(s), *a = slots_extended(root, 100), *b, *c;
    int32_t ids[100];
    size_t row;
    pl_error e;
    node_tokens(a, 0, 100, ids);
    assert_int_equal(node_extend(root, ids, 100, &b, &e), PL_OK);
    ids[80] = (ids[80] + 1) % 5;
    assert_int_equal(node_extend(root, ids, 100, &c, &e), PL_OK);
    assert_int_equal(node_claim(a, 40, 0, &e), PL_OK); /* as far as a step had room */
    slots_write(a, 0, 40);
    node_commit(a);
    node_adopt(b);
    node_adopt(c);
    assert_int_equal(node_processed(b), 40);
    assert_int_equal(node_processed(c), 40);
    assert_int_equal(node_claim(a, 100, 7, &e), PL_OK);
    assert_true(node_claimed_row(b, 99, &row) && row == 66); /* one row for both */
    node_unclaim(a);
    node_release(a); /* whoever began may go */
    assert_int_equal(slots_process(c), PL_OK);
    assert_int_equal(node_processed(b), 80);
    assert_int_equal(slots_process(b), PL_OK);
    slots_check(b);
    slots_check(c);
    node_release(b);
    node_release(c);
    node_release(root);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    cache_store_release(s);
}

/* ---- claims ---- */

TEST(a_failed_step_gives_its_slots_back_for_the_next_one) {
    cache_store *s = slots_store(100, 1000);
    cache_node *root = slots_empty(s), *a = slots_extended(root, 40), *b = slots_extended(a, 4), *c;
    pl_error e;
    /* Parent and child are claimed in one step that fails; then the child goes in place still. */
    assert_int_equal(node_claim(a, 40, 0, &e), PL_OK);
    assert_int_equal(node_claim(b, 44, 40, &e), PL_OK);
    node_unclaim(b);
    node_unclaim(a);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    assert_int_equal(slots_process(a), PL_OK);
    assert_int_equal(node_claim(b, 44, 0, &e), PL_OK);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 2);
    node_unclaim(b);
    c = slots_extended(a, 3);
    assert_int_equal(slots_process(c), PL_OK);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 2);
    assert_int_equal(slots_process(b), PL_OK); /* c has the slots now: one block is copied */
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 3);
    slots_check(b);
    slots_check(c);
    node_release(root);
    node_release(a);
    node_release(b);
    node_release(c);
    cache_store_release(s);
}

TEST(a_full_pool_claims_nothing_and_goes_on_when_a_cache_is_released) {
    cache_store *s = slots_store(3, 1000);
    cache_node *root = slots_empty(s), *a = slots_extended(root, 70), *b = slots_extended(root, 10);
    assert_int_equal(slots_process(a), PL_OK);
    assert_int_equal(slots_process(b), PL_ERR_POOL);
    assert_int_equal(node_processed(b), 0);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 3);
    slots_check(a);
    node_release(a);
    assert_int_equal(slots_process(b), PL_OK);
    slots_check(b);
    node_release(b);
    node_release(root);
    cache_store_release(s);
}

/* ---- shape ---- */

TEST(one_token_at_a_time_keeps_a_constant_number_of_nodes) {
    cache_store *s = slots_store(1000, 6000);
    cache_node *n = slots_empty(s);
    for (size_t i = 0; i < 5000; i++) {
        cache_node *next = slots_extended(n, 1);
        node_release(n);
        n = next;
        if (i % 3 == 0) assert_int_equal(slots_process(n), PL_OK);
        assert_true(cache_store_nodes(s) <= 2);
    }
    assert_int_equal(slots_process(n), PL_OK);
    slots_check(n);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, (5000 + KV_TILE - 1) / KV_TILE);
    node_release(n);
    assert_int_equal(cache_store_nodes(s), 0);
    cache_store_release(s);
}

TEST(every_one_of_5000_prefixes_may_be_kept) {
    enum { N = 5000 };
    cache_store *s = slots_store(1000, N);
    static cache_node *n[N + 1];
    n[0] = slots_empty(s);
    for (size_t i = 0; i < N; i++) n[i + 1] = slots_extended(n[i], 1);
    assert_int_equal(slots_process(n[N]), PL_OK);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, (N + KV_TILE - 1) / KV_TILE);
    for (size_t i = N; i > 0; i--) { /* released in random order */
        size_t k = slots_below(i + 1);
        assert_int_equal(node_processed(n[k]), node_length(n[k]));
        node_release(n[k]);
        n[k] = n[i];
        if (i % 100 == 0) slots_check(n[slots_below(i)]);
    }
    assert_true(cache_store_nodes(s) <= 1);
    slots_check(n[0]);
    node_release(n[0]);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    cache_store_release(s);
}

TEST(a_chain_of_100000_nodes_is_released_without_recursion) {
    enum { N = 100000 };
    static cache_node *n[N + 1];
    for (int order = 0; order < 3; order++) {
        cache_store *s = slots_store(10, N);
        n[0] = slots_empty(s);
        for (size_t i = 0; i < N; i++) n[i + 1] = slots_extended(n[i], 1);
        if (order == 0) { /* from the root: all merge, then go at once */
            for (size_t i = 0; i <= N; i++) node_release(n[i]);
        } else if (order == 1) { /* from the end */
            for (size_t i = N + 1; i-- > 0;) node_release(n[i]);
        } else { /* branches keep the chain from merging, then the last holder goes */
            static cache_node *side[N / 2];
            for (size_t i = 0; i < N / 2; i++) side[i] = slots_extended(n[2 * i + 1], 1);
            for (size_t i = 0; i < N; i++) node_release(n[i]);
            assert_true(cache_store_nodes(s) >= N);
            for (size_t i = 0; i < N / 2; i++) node_release(side[i]);
            node_release(n[N]);
        }
        assert_int_equal(cache_store_nodes(s), 0);
        cache_store_release(s);
    }
}

TEST(a_shorter_view_frees_what_it_does_not_see_when_the_original_goes) {
    cache_store *s = slots_store(1000, 6000);
    cache_node *root = slots_empty(s), *n = slots_extended(root, 4000), *view;
    assert_int_equal(slots_process(n), PL_OK);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 125);
    view = slots_truncated(n, 100);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 125);
    node_release(n);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 4);
    slots_check(view);
    cache_node *next = slots_extended(view, 28); /* the freed slots are written in place */
    assert_int_equal(slots_process(next), PL_OK);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 4);
    slots_check(next);
    node_release(next);
    node_release(view);
    node_release(root);
    assert_int_equal(cache_store_pool(s)->of[POOL_BLOCKS].n_used, 0);
    cache_store_release(s);
}

TEST(a_thousand_forks_take_no_memory_and_a_second_branch_copies_one_block) {
    enum { FORKS = 1000 };
    static cache_node *fork[FORKS];
    cache_store *s = slots_store(2000, 4000);
    kv_pool *pool = cache_store_pool(s);
    cache_node *root = slots_empty(s), *n = slots_extended(root, 2000), *a, *b;
    assert_int_equal(slots_process(n), PL_OK);
    size_t used = pool->of[POOL_BLOCKS].n_used;
    uint64_t fresh = pool->fresh_bytes;
    assert_int_equal(used, 63);
    for (size_t i = 0; i < FORKS; i++)
        fork[i] = i % 2 ? node_retain(n) : slots_truncated(n, 2000 - i % 100);
    assert_int_equal(pool->of[POOL_BLOCKS].n_used, used);
    for (size_t i = 0; i < FORKS; i++) {
        assert_int_equal(node_processed(fork[i]), node_length(fork[i]));
        node_release(fork[i]);
    }
    a = slots_extended(n, 1);
    b = slots_extended(n, 1);
    /* nothing is claimed before it is processed */
    assert_int_equal(pool->of[POOL_BLOCKS].n_used, used);
    assert_int_equal(slots_process(a), PL_OK);
    assert_int_equal(pool->of[POOL_BLOCKS].n_used, used); /* the first branch goes in place */
    assert_true(pool->fresh_bytes == fresh);
    assert_int_equal(slots_process(b), PL_OK);
    assert_int_equal(pool->of[POOL_BLOCKS].n_used, used + 1);
    assert_true(pool->fresh_bytes == fresh + BLOCK_BYTES);
    slots_check(a);
    slots_check(b);
    node_release(a);
    node_release(b);
    node_release(n);
    node_release(root);
    cache_store_release(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define CACHE_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        CACHE_TEST(random_branches_hold_their_own_tokens_and_keys_and_are_processed_once),
        CACHE_TEST(equal_tokens_that_were_noted_twice_are_adopted_and_not_processed_again),
        CACHE_TEST(equal_tokens_that_are_still_pending_are_processed_once),
        CACHE_TEST(a_failed_step_gives_its_slots_back_for_the_next_one),
        CACHE_TEST(a_full_pool_claims_nothing_and_goes_on_when_a_cache_is_released),
        CACHE_TEST(one_token_at_a_time_keeps_a_constant_number_of_nodes),
        CACHE_TEST(every_one_of_5000_prefixes_may_be_kept),
        CACHE_TEST(a_chain_of_100000_nodes_is_released_without_recursion),
        CACHE_TEST(a_shorter_view_frees_what_it_does_not_see_when_the_original_goes),
        CACHE_TEST(a_thousand_forks_take_no_memory_and_a_second_branch_copies_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
