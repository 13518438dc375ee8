/* node.c: the tree of cache values; see node.h for what a node is and which invariants hold.
 *
 * A node's own blocks cover the positions [start, n_claimed). When start is not a multiple of
 * KV_TILE, the first of them also holds the parent's last tokens: it is the parent's block itself
 * (extended in place), or a copy of it. */
#include "cache/node.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "cache/states.h"
#include "math/math.h"

struct cache_store {
    kv_pool pool;
    size_t context, n_hidden;
    size_t refs;        /* the model's, and one per live node */
    size_t nodes;
    size_t interval, least_interval; /* of states; a power of two times the least */
    cache_node *root;   /* the empty cache, held by the store; not counted above */
};

struct cache_node {
    cache_store *store;
    cache_node *parent;
    cache_node *child, *prev, *next; /* first child; siblings */
    size_t refs;                     /* holders, children not counted */
    size_t start;                    /* tokens taken from the parent */
    int32_t *tokens;                 /* [n_own] */
    size_t n_own, token_room;
    kv_block **blocks;               /* [n_blocks], from block start / KV_TILE on */
    size_t n_blocks, block_room;
    size_t n_done, n_claimed;        /* absolute: start <= n_done <= n_claimed <= start + n_own */
    size_t row, row_from;            /* where a claim's rows lie in the step */
    float *hidden;                   /* [n_hidden], NULL when not known */
    snapshots states;                /* at positions in (start, n_done] */
    size_t again;                    /* one of them, which was computed again; 0: none */
    bool growing;                    /* its holder may append */
};

/* ---- the store ---- */

static pl_code new_node(cache_store *s, cache_node *parent, size_t start, const int32_t *ids,
                        size_t n_ids, cache_node **out, pl_error *e);

pl_code cache_store_new(const cache_store_options *o, cache_store **out, pl_error *e) {
    cache_store *s = mem_zalloc(sizeof *s);
    if (!s) return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache store");
    pool_init(&s->pool, o->block_bytes, o->state_bytes, o->max_bytes);
    s->interval = s->least_interval = o->state_interval ? o->state_interval : STATE_INTERVAL;
    s->context = o->context;
    s->n_hidden = o->n_hidden;
    pl_code rc = new_node(s, NULL, 0, NULL, 0, &s->root, e);
    if (rc) {
        mem_free(s);
        return rc;
    }
    s->refs = 1;
    s->nodes = 0;
    *out = s;
    return PL_OK;
}

void cache_store_release(cache_store *s) {
    if (!s || --s->refs > 0) return;
    pool_clear(&s->pool);
    mem_free(s->root);
    mem_free(s);
}

kv_pool *cache_store_pool(cache_store *s) { return &s->pool; }
size_t cache_store_context(const cache_store *s) { return s->context; }
size_t cache_store_nodes(const cache_store *s) { return s->nodes; }

/* ---- shape ---- */

static size_t end_of(const cache_node *n) { return n->start + n->n_own; }
static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }
static size_t max_of(size_t a, size_t b) { return a > b ? a : b; }

cache_store *node_store(const cache_node *n) { return n->store; }
size_t node_length(const cache_node *n) { return end_of(n); }

size_t node_processed(const cache_node *n) {
    size_t cut = end_of(n), done = cut;
    for (const cache_node *p = n; p; p = p->parent) {
        if (p->n_done < min_of(cut, end_of(p))) done = p->n_done;
        cut = min_of(cut, p->start);
    }
    return done;
}

cache_node *node_owner(cache_node *n, size_t position) {
    while (n->parent && position <= n->start) n = n->parent;
    return n;
}

void node_tokens(const cache_node *n, size_t first, size_t count, int32_t *out) {
    size_t cut = first + count;
    assert(cut <= end_of(n));
    for (const cache_node *p = n; p && cut > first; p = p->parent) {
        size_t from = max_of(first, p->start);
        if (from < cut)
            memcpy(out + (from - first), p->tokens + (from - p->start), (cut - from) * sizeof *out);
        cut = min_of(cut, p->start);
    }
}

size_t node_common_prefix(const cache_node *a, const cache_node *b) {
    enum { CHUNK = 256 };
    int32_t x[CHUNK], y[CHUNK];
    size_t n = min_of(end_of(a), end_of(b));
    if (a == b) return n;
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = min_of(CHUNK, n - at);
        node_tokens(a, at, count, x);
        node_tokens(b, at, count, y);
        for (size_t i = 0; i < count; i++)
            if (x[i] != y[i]) return at + i;
    }
    return n;
}

static void link_child(cache_node *parent, cache_node *n) {
    n->parent = parent;
    n->prev = NULL;
    n->next = parent->child;
    if (n->next) n->next->prev = n;
    parent->child = n;
}

static void unlink_child(cache_node *n) {
    if (n->prev) n->prev->next = n->next;
    else n->parent->child = n->next;
    if (n->next) n->next->prev = n->prev;
    n->parent = n->prev = n->next = NULL;
}

static pl_code new_node(cache_store *s, cache_node *parent, size_t start, const int32_t *ids,
                        size_t n_ids, cache_node **out, pl_error *e) {
    cache_node *n = mem_zalloc(sizeof *n);
    int32_t *tokens = n_ids ? mem_array(n_ids, sizeof *tokens) : NULL;
    if (!n || (n_ids && !tokens)) {
        mem_free(n);
        mem_free(tokens);
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache of %zu more tokens", n_ids);
    }
    if (n_ids) memcpy(tokens, ids, n_ids * sizeof *ids);
    *n = (cache_node){.store = s,
                      .refs = 1,
                      .start = start,
                      .tokens = tokens,
                      .n_own = n_ids,
                      .token_room = n_ids,
                      .n_done = start,
                      .n_claimed = start};
    s->refs++;
    s->nodes++;
    if (parent) link_child(parent, n);
    *out = n;
    return PL_OK;
}

static void free_shell(cache_node *n) {
    cache_store *s = n->store;
    mem_free(n->tokens);
    mem_free(n->blocks);
    mem_free(n->hidden);
    snapshots_free(&n->states, &s->pool);
    mem_free(n);
    s->nodes--;
    cache_store_release(s);
}

static void settle(cache_node *n);

/* ---- states ---- */

size_t cache_store_interval(const cache_store *s) { return s->interval; }

size_t node_state_before(const cache_node *n, size_t position, kv_block **state) {
    for (const cache_node *p = n; p && position > 0; p = p->parent) {
        const snapshot *s = snapshots_before(&p->states, position);
        if (s) {
            *state = s->state;
            return s->position;
        }
        position = min_of(position, p->start);
    }
    *state = NULL;
    return 0;
}

static bool branches_at(const cache_node *n, size_t position) {
    for (const cache_node *c = n->child; c; c = c->next)
        if (c->start == position) return true;
    return false;
}

/* Drops the i-th state, unless there is a reason to keep it. */
static bool drop_idle(cache_node *n, size_t i) {
    size_t position = n->states.list[i].position;
    if (position == n->n_done || position == n->again || position % n->store->interval == 0 ||
        branches_at(n, position))
        return false;
    pool_drop(&n->store->pool, snapshots_remove(&n->states, i));
    return true;
}

static void drop_idle_states(cache_node *n) {
    for (size_t i = n->states.n; i-- > 0;) drop_idle(n, i);
}

/* The node that follows in a walk through the tree, parents before children. */
static cache_node *next_in_tree(cache_node *n) {
    if (n->child) return n->child;
    while (n && !n->next) n = n->parent;
    return n ? n->next : NULL;
}

/* Keeps states at half as many multiples: false when there are none left to go. */
static bool thin_states(cache_store *s) {
    size_t before = s->pool.of[POOL_STATES].n_used;
    while (s->interval <= s->context && s->pool.of[POOL_STATES].n_used == before) {
        s->interval *= 2;
        for (cache_node *n = s->root; n; n = next_in_tree(n)) {
            n->again = 0;
            drop_idle_states(n);
        }
    }
    return s->pool.of[POOL_STATES].n_used < before;
}

/* Whatever the pool needs room for. */
static pl_code take(cache_store *s, pool_kind kind, kv_block **out, pl_error *e) {
    pl_code rc;
    while ((rc = pool_take(&s->pool, kind, out, e)) == PL_ERR_POOL &&
           s->pool.of[POOL_STATES].n_used && thin_states(s)) {}
    return rc;
}

pl_code cache_store_take_state(cache_store *s, kv_block **out, pl_error *e) {
    return take(s, POOL_STATES, out, e);
}

bool cache_store_wants_state(cache_store *s) {
    const pool_shelf *states = &s->pool.of[POOL_STATES];
    size_t most = s->pool.max_bytes / 2 / states->bytes;
    while (s->interval > s->least_interval && states->n_used < most / 4) s->interval /= 2;
    while (states->n_used >= most && thin_states(s)) {}
    return states->n_used < most;
}

void node_keep_state(cache_node *n, size_t position, kv_block *state, bool again) {
    cache_node *owner = node_owner(n, position);
    assert(position > owner->start && position <= owner->n_done);
    snapshots_put(&owner->states, &owner->store->pool, position, state);
    if (again) owner->again = position;
    drop_idle_states(owner);
}

kv_block *node_steal_state(cache_node *n, size_t position) {
    if (!n->states.n || position != n->n_done || branches_at(n, position)) return NULL;
    const snapshot *last = &n->states.list[n->states.n - 1];
    if (last->position != position || last->state->refs > 1) return NULL;
    return snapshots_remove(&n->states, n->states.n - 1);
}

/* ---- claims ---- */

/* The claim of a block that ended at slot `end` ends at `to` now, if nobody claimed beyond it. */
static void give_back_slots(kv_block *b, size_t end, size_t to) {
    if (b->claimed == end) b->claimed = (uint32_t)to;
}

/* Gives back the claims and blocks of positions from `to` (>= start) on. */
static void give_back(cache_node *n, size_t to) {
    size_t base_block = n->start / KV_TILE;
    size_t keep = to > n->start ? (to + KV_TILE - 1) / KV_TILE - base_block : 0;
    for (size_t i = n->n_blocks; i-- > 0;) {
        size_t base = (base_block + i) * KV_TILE;
        if (base + KV_TILE <= to) break;
        if (n->n_claimed > base && n->n_claimed > to)
            give_back_slots(n->blocks[i], min_of(KV_TILE, n->n_claimed - base),
                            max_of(max_of(to, n->start), base) - base);
        if (i >= keep) pool_drop(&n->store->pool, n->blocks[i]);
    }
    n->n_blocks = min_of(n->n_blocks, keep);
    n->n_claimed = min_of(n->n_claimed, to);
    n->n_done = min_of(n->n_done, n->n_claimed);
}

/* The block that holds position - 1, claimed or processed, and whether it is processed. */
static kv_block *block_before(const cache_node *n, size_t position, bool *done) {
    const cache_node *p = n;
    size_t index = (position - 1) / KV_TILE;
    while (p->start >= position) p = p->parent;
    assert(p->n_claimed >= position && index - p->start / KV_TILE < p->n_blocks);
    *done = p->n_done >= position;
    return p->blocks[index - p->start / KV_TILE];
}

static pl_code copy_block(cache_store *s, const kv_block *from, size_t n_slots, kv_block **out,
                          pl_error *e) {
    pl_code rc = take(s, POOL_BLOCKS, out, e);
    if (rc) return rc;
    memcpy((*out)->data, from->data, s->pool.of[POOL_BLOCKS].bytes);
    (*out)->claimed = (uint32_t)n_slots;
    return PL_OK;
}

/* Makes the block that position `from` continues (from % KV_TILE != 0) this node's own last one, in
 * place or as a copy. */
static pl_code continue_block(cache_node *n, size_t from, pl_error *e) {
    kv_pool *pool = &n->store->pool;
    size_t fill = from % KV_TILE;
    bool own = from > n->start, done;
    kv_block *tail = block_before(n, from, &done), *copy;
    if (tail->claimed == fill) {
        if (!own) n->blocks[n->n_blocks++] = pool_hold(pool, tail);
        return PL_OK;
    }
    if (!done) return pl_fail(e, PL_ERR_CANCELLED, "the block to copy is being written");
    pl_code rc = copy_block(n->store, tail, fill, &copy, e);
    if (rc) return rc;
    if (own) {
        pool_drop(pool, tail);
        n->blocks[n->n_blocks - 1] = copy;
    } else {
        n->blocks[n->n_blocks++] = copy;
    }
    return PL_OK;
}

pl_code node_claim(cache_node *n, size_t to, size_t row, pl_error *e) {
    size_t from = n->n_claimed, base_block = n->start / KV_TILE;
    size_t need = (to + KV_TILE - 1) / KV_TILE - base_block;
    pl_code rc;
    assert(to > from && to <= end_of(n));
    if (mem_reserve(&n->blocks, &n->block_room, need, sizeof *n->blocks))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache's table of %zu blocks", need);
    if (from % KV_TILE && (rc = continue_block(n, from, e))) return rc;
    size_t before = n->n_blocks;
    while (n->n_blocks < need) {
        if ((rc = take(n->store, POOL_BLOCKS, &n->blocks[n->n_blocks], e))) goto fail;
        n->n_blocks++;
    }
    for (size_t i = from / KV_TILE - base_block; i < need; i++)
        n->blocks[i]->claimed = (uint32_t)min_of(KV_TILE, to - (base_block + i) * KV_TILE);
    n->n_claimed = to;
    n->row = row;
    n->row_from = from;
    return PL_OK;
fail:
    while (n->n_blocks > before) pool_drop(&n->store->pool, n->blocks[--n->n_blocks]);
    give_back(n, from);
    return rc;
}

bool node_claimed_row(cache_node *n, size_t position, size_t *row) {
    cache_node *p = n;
    while (p->parent && position < p->start) p = p->parent;
    if (p->n_claimed == p->n_done || position < p->row_from || position >= p->n_claimed)
        return false;
    *row = p->row + (position - p->row_from);
    return true;
}

void node_commit(cache_node *n) { n->n_done = n->n_claimed; }

void node_unclaim(cache_node *n) { give_back(n, n->n_done); }

bool node_pending(cache_node *n, size_t length, node_run *out) {
    size_t cut = length;
    bool found = false;
    for (cache_node *p = n; p; p = p->parent) {
        size_t end = min_of(cut, end_of(p));
        if (end > p->start && p->n_claimed < end) {
            *out = (node_run){.node = p, .from = p->n_claimed, .to = end};
            found = true;
        }
        cut = min_of(cut, p->start);
    }
    return found;
}

/* ---- what others have too ---- */

/* Fewer tokens than a block are sooner processed than shared: their last row would run again for
 * its logits, and a branch copies a block. */
#define ADOPT_LEAST KV_TILE

static size_t same_tokens(const int32_t *a, const int32_t *b, size_t n) {
    size_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

/* The first k tokens of n, none of which are processed, are those of `via` from n's start on: n
 * begins behind them now, as a child of via. */
static void begin_later(cache_node *n, size_t k, cache_node *via) {
    memmove(n->tokens, n->tokens + k, (n->n_own - k) * sizeof *n->tokens);
    n->n_own -= k;
    n->start += k;
    n->n_done = n->n_claimed = n->start;
    for (cache_node *c = n->child, *next; c;
         c = next) { /* views of tokens that are not n's own any more */
        next = c->next;
        if (c->start >= n->start) continue;
        unlink_child(c);
        link_child(via, c);
    }
    if (via == n->parent) return;
    cache_node *old = n->parent;
    unlink_child(n);
    link_child(via, n);
    settle(old);
}

/* How many of n's first tokens are those that other, its parent or a sibling, has there; done: has
 * processed there. */
static size_t in_common(const cache_node *n, const cache_node *other, bool done) {
    size_t end = done ? other->n_done : end_of(other), skip = n->start - other->start;
    return end > n->start
               ? same_tokens(n->tokens, other->tokens + skip, min_of(n->n_own, end - n->start))
               : 0;
}

/* The parent or the sibling that has the most in common with n. */
static size_t find_common(const cache_node *n, bool done, cache_node **via) {
    size_t best = in_common(n, *via = n->parent, done);
    for (cache_node *c = n->parent->child; c; c = c->next) {
        size_t k = c != n && c->start == n->start ? in_common(n, c, done) : 0;
        if (k > best) best = k, *via = c;
    }
    return best;
}

/* Lets n, if none of its own tokens are processed, begin behind those that its parent or a sibling
 * has too. True: it does. */
static bool adopt(cache_node *n) {
    bool any = false;
    while (n->parent && n->n_own && n->n_claimed == n->start) {
        cache_node *p = n->parent, *via;
        if (p->n_own == 0 && p->parent) { /* a view: what it stands for is its parent's */
            cache_node *above = p->parent;
            unlink_child(n);
            link_child(above, n);
            settle(p);
            continue;
        }
        size_t best = find_common(n, true, &via);
        if (best < ADOPT_LEAST) best = find_common(n, false, &via);
        if (best < ADOPT_LEAST) break;
        begin_later(n, best, via);
        any = true;
    }
    return any;
}

/* Whoever stands on other tokens now has other siblings: their children may find more. */
void node_adopt(cache_node *n) {
    for (bool any = true; any;) {
        any = false;
        for (cache_node *p = n; p; p = p->parent) any = adopt(p) || any;
    }
}

void node_blocks(const cache_node *n, size_t length, uint8_t **table) {
    size_t cut = length, top = (length + KV_TILE - 1) / KV_TILE;
    for (const cache_node *p = n; p && top > 0; p = p->parent) {
        size_t base_block = p->start / KV_TILE;
        if (cut > p->start && p->n_blocks) {
            for (size_t i = min_of(top, base_block + p->n_blocks); i-- > base_block;)
                table[i] = p->blocks[i - base_block]->data;
            top = min_of(top, base_block);
        }
        cut = min_of(cut, p->start);
        top = min_of(top, (cut + KV_TILE - 1) / KV_TILE);
    }
}

/* ---- life and death ---- */

/* p has no holder and one child, which ends where p ends: the child takes p's place. Without memory
 * they stay two. */
static void merge_only_child(cache_node *p) {
    cache_node *c = p->child, *above = p->parent;
    kv_pool *pool = &p->store->pool;
    size_t cut = c->start;
    assert(end_of(p) == cut && !c->next);
    if (mem_reserve(&p->tokens, &p->token_room, p->n_own + c->n_own, sizeof *p->tokens)) return;
    size_t keep = c->n_blocks ? min_of(p->n_blocks, cut / KV_TILE - p->start / KV_TILE)
                              : p->n_blocks;
    if (mem_reserve(&p->blocks, &p->block_room, keep + c->n_blocks, sizeof *p->blocks)) return;
    if (mem_reserve(&p->states.list, &p->states.room, p->states.n + c->states.n,
                    sizeof *p->states.list))
        return;

    /* The child's first block stands for p's last one where both cover it. */
    for (size_t i = keep; i < p->n_blocks; i++) {
        size_t base = (p->start / KV_TILE + i) * KV_TILE;
        if (p->blocks[i] != c->blocks[0])
            give_back_slots(p->blocks[i], cut - base, max_of(p->start, base) - base);
        pool_drop(pool, p->blocks[i]);
    }
    if (c->n_own) memcpy(p->tokens + p->n_own, c->tokens, c->n_own * sizeof *c->tokens);
    if (c->n_blocks) memcpy(p->blocks + keep, c->blocks, c->n_blocks * sizeof *c->blocks);
    if (c->n_own == 0 && !c->hidden) {
        c->hidden = p->hidden;
        p->hidden = NULL;
    }
    if (c->states.n)
        memcpy(p->states.list + p->states.n, c->states.list, c->states.n * sizeof *c->states.list);
    p->states.n += c->states.n;
    mem_free(c->states.list);
    c->states = p->states;
    p->states = (snapshots){0};
    if (!c->again) c->again = p->again;
    size_t done = p->n_done < cut ? p->n_done : c->n_done;
    size_t claimed = p->n_claimed < cut ? p->n_claimed : c->n_claimed;

    unlink_child(c);
    if (above) {
        unlink_child(p);
        link_child(above, c);
    }
    mem_free(c->tokens);
    mem_free(c->blocks);
    c->tokens = p->tokens, c->n_own += p->n_own, c->token_room = p->token_room;
    c->blocks = p->blocks, c->n_blocks += keep, c->block_room = p->block_room;
    c->start = p->start;
    c->n_done = done, c->n_claimed = claimed;
    p->tokens = NULL;
    p->blocks = NULL;
    free_shell(p);
    drop_idle_states(c);
}

/* Restores the invariants of a node that nobody holds, and of its ancestors: it goes when it has no
 * children, and otherwise keeps what they use. */
static void settle(cache_node *n) {
    while (n && n->refs == 0 && !n->child) {
        cache_node *parent = n->parent;
        give_back(n, n->start);
        if (parent) unlink_child(n);
        free_shell(n);
        n = parent;
        if (n) drop_idle_states(n);
    }
    if (!n || n->refs > 0) return;
    size_t used = n->start;
    for (const cache_node *c = n->child; c; c = c->next) used = max_of(used, c->start);
    if (used < end_of(n)) {
        give_back(n, min_of(n->n_claimed, used));
        n->n_own = used - n->start;
        snapshots_cut(&n->states, &n->store->pool, n->n_done);
        if (n->again > n->n_done) n->again = 0;
        mem_free(n->hidden);
        n->hidden = NULL;
    }
    if (!n->child->next) merge_only_child(n);
}

cache_node *node_retain(cache_node *n) {
    n->refs++;
    return n;
}

void node_release(cache_node *n) {
    if (!n) return;
    assert(n->refs > 0);
    if (--n->refs > 0) return;
    cache_store *s = n->store;
    /* the last node may be what the store is still there for, and the root above it goes with the
     * store */
    s->refs++;
    settle(n);
    cache_store_release(s);
}

pl_code node_empty(cache_store *s, cache_node **out, pl_error *e) {
    (void)e;
    *out = node_retain(s->root);
    return PL_OK;
}

pl_code node_extend(cache_node *n, const int32_t *ids, size_t n_ids, cache_node **out,
                    pl_error *e) {
    size_t length = end_of(n), total, context = n->store->context;
    if (!checked_add(length, n_ids, &total) || total > context)
        return pl_fail(
            e, PL_ERR_CONTEXT,
            "a cache of %zu tokens and %zu more do not fit into the context of %zu tokens; "
            "load the model with a larger context, or keep less",
            length, n_ids, context);
    if (n_ids == 0 && !n->growing) {
        *out = node_retain(n);
        return PL_OK;
    }
    /* What a node without tokens of its own stands for is its parent's; chains of views are not
     * built. */
    cache_node *parent = n->n_own == 0 && n->parent && !n->growing ? n->parent : n;
    return new_node(n->store, parent, length, ids, n_ids, out, e);
}

pl_code node_truncate(cache_node *n, size_t length, cache_node **out, pl_error *e) {
    cache_node *p = n;
    assert(length <= end_of(n));
    while (p->parent && length <= p->start) p = p->parent;
    if (length == end_of(p) && !p->growing) {
        *out = node_retain(p);
        return PL_OK;
    }
    return new_node(n->store, p, length, NULL, 0, out, e);
}

pl_code node_grow(cache_node *n, const int32_t *ids, size_t n_ids, cache_node **out, pl_error *e) {
    cache_node *child;
    size_t length = end_of(n), total;
    if (!checked_add(length, n_ids, &total) || total > n->store->context)
        return node_extend(n, ids, n_ids, out, e); /* says what is wrong */
    pl_code rc = new_node(n->store, n, length, ids, n_ids, &child, e);
    if (rc) return rc;
    child->growing = true;
    *out = child;
    return PL_OK;
}

pl_code node_append(cache_node *n, int32_t id, pl_error *e) {
    assert(n->growing);
    if (end_of(n) >= n->store->context)
        return pl_fail(e, PL_ERR_CONTEXT, "the context of %zu tokens is full", n->store->context);
    if (mem_reserve(&n->tokens, &n->token_room, n->n_own + 1, sizeof *n->tokens))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache's tokens");
    n->tokens[n->n_own++] = id;
    mem_free(n->hidden);
    n->hidden = NULL;
    return PL_OK;
}

void node_seal(cache_node *n) { n->growing = false; }

const float *node_hidden(const cache_node *n) {
    const cache_node *p = n->parent;
    bool is_parent = !n->hidden && n->n_own == 0 && p && n->start == end_of(p) && !p->growing;
    return is_parent ? p->hidden : n->hidden;
}

void node_set_hidden(cache_node *n, const float *hidden) {
    if (n->growing) return; /* the next token makes it stale */
    if (!n->hidden) n->hidden = mem_array(n->store->n_hidden, sizeof *n->hidden);
    if (n->hidden) memcpy(n->hidden, hidden, n->store->n_hidden * sizeof *hidden);
}
