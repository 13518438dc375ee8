/* merge.c: joining the symbols of a word in the order of their ranks, for both kinds of tokenizer.
 * It owns the arrays of a merge_space and knows neither texts nor vocabularies: what a pair's rank
 * is, the caller says.
 *
 * The lowest rank is found through a tree of minima over the positions, MERGE_FAN to a node. A heap
 * of candidate pairs would do as well on paper; but it grows stale entries, and on a long run of
 * one character, where the next merge is always beside the last, it walks all over its memory while
 * the tree stays within a few cache lines. A word of at most MERGE_FAN bytes, which nearly every
 * word is, has a tree of one node: a linear scan.
 *
 * The invariant: each node's entry is the minimum of the block below it, whenever merge_run looks
 * for the next. */
#include "text/internal.h"

#include <assert.h>

#include "base/mem.h"

#define MERGE_LEVELS 8 /* 16^8 positions */

static size_t round_up(size_t n) { return (n + MERGE_FAN - 1) / MERGE_FAN * MERGE_FAN; }

/* Entries in all levels over n positions, each level rounded up to whole blocks. */
static size_t tree_size(size_t n) {
    size_t total = round_up(n);
    while (n > MERGE_FAN) {
        n = round_up(n) / MERGE_FAN;
        total += round_up(n);
    }
    return total;
}

static void point_into(merge_space *m, uint32_t *memory, size_t n) {
    m->id = (int32_t *)memory;
    m->merged = (int32_t *)(memory + n);
    m->next = memory + 2 * n;
    m->prev = memory + 3 * n;
    m->rank = memory + 4 * n;
    m->capacity = n;
}

void merge_space_init(merge_space *m) {
    static_assert(MERGE_LOCAL <= MERGE_FAN * MERGE_FAN, "the local tree has two levels");
    m->block = NULL;
    point_into(m, m->local, MERGE_LOCAL);
}

void merge_space_free(merge_space *m) {
    mem_free(m->block);
    merge_space_init(m);
}

pl_code merge_space_fit(merge_space *m, size_t n, pl_error *e) {
    size_t capacity = round_up(n + n / 2); /* so that growing words do not allocate each time */
    void *block;
    if (n <= m->capacity) return PL_OK;
    block = mem_array(4 * capacity + tree_size(capacity), sizeof(uint32_t));
    if (block == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "no memory to encode a word of %zu bytes", n);
    mem_free(m->block);
    m->block = block;
    point_into(m, block, capacity);
    return PL_OK;
}

static uint32_t least(const uint32_t *block) {
    uint32_t low = block[0];
    for (size_t i = 1; i < MERGE_FAN; i++) low = block[i] < low ? block[i] : low;
    return low;
}

/* The leftmost position of the least entry. */
static size_t where_least(const uint32_t *block) {
    uint64_t low = (uint64_t)block[0] << 8;
    for (size_t i = 1; i < MERGE_FAN; i++) {
        uint64_t entry = (uint64_t)block[i] << 8 | i;
        low = entry < low ? entry : low;
    }
    return low & 0xFF;
}

typedef struct {
    uint32_t *level[MERGE_LEVELS];
    size_t n_levels;
} tree;

/* Lays the levels out behind rank[0..n) and fills all above the lowest. */
static void tree_build(tree *t, uint32_t *rank, size_t n) {
    t->level[0] = rank;
    t->n_levels = 1;
    while (n > MERGE_FAN) {
        uint32_t *below = t->level[t->n_levels - 1], *above = below + round_up(n);
        size_t blocks = round_up(n) / MERGE_FAN;
        assert(t->n_levels < MERGE_LEVELS);
        for (size_t i = 0; i < blocks; i++) above[i] = least(below + i * MERGE_FAN);
        for (size_t i = blocks; i < round_up(blocks); i++) above[i] = MERGE_NEVER;
        t->level[t->n_levels++] = above;
        n = blocks;
    }
}

static void tree_set(tree *t, size_t position, uint32_t rank) {
    t->level[0][position] = rank;
    for (size_t k = 1; k < t->n_levels; k++) {
        size_t block = position / MERGE_FAN;
        uint32_t low = least(t->level[k - 1] + block * MERGE_FAN);
        if (t->level[k][block] == low) return;
        t->level[k][block] = low;
        position = block;
    }
}

/* The leftmost position of the least rank below an entry of level k. */
static size_t tree_down(const tree *t, size_t k, size_t position) {
    while (k-- > 0)
        position = position * MERGE_FAN + where_least(t->level[k] + position * MERGE_FAN);
    return position;
}

static size_t tree_least(const tree *t) { return tree_down(t, t->n_levels, 0); }

/* The next position behind this one that has this rank, the least of all, or SIZE_MAX. Merges of
 * one rank lie close together where they are many, so this looks nearby first. */
static size_t tree_after(const tree *t, size_t position, uint32_t rank) {
    if (least(t->level[t->n_levels - 1]) != rank) return SIZE_MAX;
    for (size_t k = 0; k < t->n_levels; k++) {
        for (position++; position % MERGE_FAN != 0; position++)
            if (t->level[k][position] == rank) return tree_down(t, k, position);
        position = position / MERGE_FAN - 1;
    }
    return SIZE_MAX;
}

void merge_run(merge_space *m, size_t n, merge_rank rank, const void *context) {
    tree t;
    size_t position;
    assert(n >= 1 && n <= m->capacity);
    memset(m->rank, 0xFF, round_up(n) * sizeof *m->rank); /* MERGE_NEVER */
    for (uint32_t i = 0; m->next[i] < n; i = m->next[i])
        m->rank[i] = rank(context, m, i, &m->merged[i]);
    tree_build(&t, m->rank, n);
    position = tree_least(&t);
    while (m->rank[position] != MERGE_NEVER) {
        uint32_t left = (uint32_t)position, right = m->next[left], after = m->next[right];
        uint32_t done = m->rank[left], made = MERGE_NEVER, made_before = MERGE_NEVER;
        m->id[left] = m->merged[left];
        m->next[left] = after;
        tree_set(&t, right, MERGE_NEVER);
        if (after < n) {
            m->prev[after] = left;
            made = rank(context, m, left, &m->merged[left]);
        }
        tree_set(&t, left, made);
        if (left != 0) {
            uint32_t before = m->prev[left];
            made_before = rank(context, m, before, &m->merged[before]);
            tree_set(&t, before, made_before);
        }
        /* Everything to the left of this merge has a higher rank, but for what it has just made. */
        position = made <= done || made_before <= done ? SIZE_MAX : tree_after(&t, left, done);
        if (position == SIZE_MAX) position = tree_least(&t);
    }
}
