/* gather.c: see gather.h. */
#include "decode/gather.h"

#include <assert.h>

#include "base/mem.h"

void gathering_free(gathering *g) {
    void *all[] = {g->sequences, g->segments, g->products, g->claims, g->tables, g->table_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static kv_pool *pool_of(const gathering *g) { return cache_store_pool(g->store); }

/* ---- sequences ---- */

static sequence *open_sequence(const gathering *g) { return &g->sequences[g->n_sequences - 1]; }

pl_code gathering_open_sequence(gathering *g, cache_node *node, pl_error *e) {
    if (mem_reserve(&g->sequences, &g->sequence_room, g->n_sequences + 1, sizeof *g->sequences))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    g->sequences[g->n_sequences++] = (sequence){.node = node_retain(node), .first_row = g->n_rows};
    return PL_OK;
}

/* From here on the step holds whoever keeps the sequence's blocks where they are. */
void gathering_close_sequence(gathering *g) {
    sequence *s = open_sequence(g);
    cache_node *node = s->node;
    if (s->first_row < g->n_rows) s->node = node_retain(node_owner(node, s->length));
    else g->n_sequences--;
    node_release(node);
}

static void add_rows(gathering *g, cache_node *node, size_t from, size_t to, bool store) {
    int32_t ids[STEP_ROWS_MAX];
    node_tokens(node, from, to - from, ids);
    for (size_t i = 0; i < to - from; i++)
        g->rows[g->n_rows++] = (batch_row){.token = ids[i],
                                           .position = (uint32_t)(from + i),
                                           .sequence = (uint32_t)(g->n_sequences - 1),
                                           .store = store};
    open_sequence(g)->length = to;
}

/* ---- states ---- */

/* The open sequence's last segment; NULL: it has none. */
static batch_segment *last_segment(const gathering *g) {
    batch_segment *last = g->n_segments ? &g->segments[g->n_segments - 1] : NULL;
    return last && last->first >= open_sequence(g)->first_row ? last : NULL;
}

static void drop_segments(gathering *g, size_t keep) {
    while (g->n_segments > keep) {
        product *p = &g->products[--g->n_segments];
        pool_drop(pool_of(g), p->state);
        pool_drop(pool_of(g), p->from);
        node_release(p->node);
    }
}

/* The next segment of the open sequence: count rows from `row` on, up to a position of node. It
 * starts from `from` (held by it), or from where the sequence's last segment ended. */
static pl_code add_segment(gathering *g, size_t row, size_t count, cache_node *node,
                           size_t position, kv_block *from, bool again, pl_error *e) {
    product p = {.node = node, .position = position, .again = again};
    pl_code rc;
    if (mem_reserve(&g->segments, &g->segment_room, g->n_segments + 1, sizeof *g->segments) ||
        mem_reserve(&g->products, &g->product_room, g->n_segments + 1, sizeof *g->products))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    const batch_segment *before = last_segment(g);
    batch_segment s = {.first = row,
                       .count = count,
                       .in = before ? before->out
                             : from ? from->data
                                    : NULL};
    if ((rc = cache_store_take_state(g->store, &p.state, e)) == PL_ERR_POOL && from &&
        (p.state = node_steal_state(node, position - count)) != NULL) {
        from = NULL; /* in place */
        rc = PL_OK;
    }
    if (rc) return rc;
    if (from) p.from = pool_hold(pool_of(g), from);
    s.out = p.state->data;
    node_retain(node);
    g->segments[g->n_segments] = s;
    g->products[g->n_segments++] = p;
    return PL_OK;
}

/* Segments for rows [from, to) of node, with a state at the multiples of the interval that there is
 * room for. */
static pl_code add_segments(gathering *g, cache_node *node, size_t from, size_t to, bool again,
                            pl_error *e) {
    size_t keep = g->n_segments, row = g->n_rows, every = cache_store_interval(g->store), end;
    kv_block *state = NULL;
    if (!g->m->state_bytes) return PL_OK;
    if (!last_segment(g)) node_state_before(node, from, &state);
    for (; from < to; row += end - from, from = end, state = NULL) {
        end = (from / every + 1) * every;
        if (end > to || (end < to && !cache_store_wants_state(g->store))) end = to;
        pl_code rc = add_segment(g, row, end - from, node, end, state, again && end == to, e);
        if (rc) {
            drop_segments(g, keep);
            return rc;
        }
    }
    return PL_OK;
}

/* Whether some segment of this step ends there, for whatever sequence. */
static bool makes_state(const gathering *g, const cache_node *node, size_t position) {
    for (size_t i = 0; i < g->n_segments; i++)
        if (g->products[i].position == position &&
            node_common_prefix(g->products[i].node, node) >= position)
            return true;
    return false;
}

pl_code gathering_reach(gathering *g, cache_node *node, size_t from, bool *ready, pl_error *e) {
    const batch_segment *last = last_segment(g);
    size_t room = gathering_room(g), at, to = from;
    kv_block *state;
    pl_code rc;
    *ready = true;
    if (!g->m->state_bytes || from == 0) return PL_OK;
    if (last && g->products[g->n_segments - 1].position == from) return PL_OK;
    *ready = false;
    if (last || node_processed(node) < from) return PL_OK; /* what lies between is another's */
    at = node_state_before(node, from, &state);
    if (at == from) return *ready = true, PL_OK;
    if (makes_state(g, node, from)) return PL_OK;
    if (from - at > room) { /* as far as a step of its own gets */
        if (g->n_rows > 0 || room == 0) return PL_OK;
        to = at + room;
    }
    if ((rc = add_segments(g, node, at, to, true, e))) return rc;
    add_rows(g, node, at, to, false);
    g->n_again += to - at;
    *ready = to == from;
    return PL_OK;
}

/* ---- rows ---- */

pl_code gathering_add_known(gathering *g, cache_node *node, size_t from, size_t to, pl_error *e) {
    pl_code rc = add_segments(g, node, from, to, true, e);
    if (!rc) add_rows(g, node, from, to, false);
    return rc;
}

pl_code gathering_add_pending(gathering *g, cache_node *node, size_t from, size_t to, pl_error *e) {
    pl_code rc;
    if (mem_reserve(&g->claims, &g->claim_room, g->n_claims + 1, sizeof *g->claims))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    if ((rc = node_claim(node, to, g->n_rows, e))) return rc;
    if ((rc = add_segments(g, node, from, to, false, e))) {
        node_unclaim(node);
        return rc;
    }
    g->claims[g->n_claims++] = node_retain(node);
    add_rows(g, node, from, to, true);
    return PL_OK;
}

/* ---- the batch ---- */

pl_code gathering_batch(gathering *g, batch *out, pl_error *e) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_sequences; i++) {
        g->sequences[i].table = n;
        n += (g->sequences[i].length + KV_TILE - 1) / KV_TILE;
    }
    if (mem_reserve(&g->tables, &g->table_room, n, sizeof *g->tables) ||
        mem_reserve(&g->table_of, &g->table_of_room, g->n_sequences, sizeof *g->table_of))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for the tables of %zu sequences",
                       g->n_sequences);
    for (size_t i = 0; i < g->n_sequences; i++) {
        sequence *s = &g->sequences[i];
        node_blocks(s->node, s->length, g->tables + s->table);
        g->table_of[i] = g->tables + s->table;
    }
    *out = (batch){.rows = g->rows,
                   .n_rows = g->n_rows,
                   .tables = (uint8_t *const *const *)g->table_of,
                   .segments = g->segments,
                   .n_segments = g->n_segments};
    return PL_OK;
}

static void clear(gathering *g) {
    drop_segments(g, 0);
    for (size_t i = 0; i < g->n_sequences; i++) node_release(g->sequences[i].node);
    for (size_t i = 0; i < g->n_claims; i++) node_release(g->claims[i]);
    g->n_rows = g->n_again = g->n_sequences = g->n_claims = 0;
}

void gathering_commit(gathering *g) {
    for (size_t i = 0; i < g->n_claims; i++) node_commit(g->claims[i]);
    for (size_t i = 0; i < g->n_segments; i++) {
        product *p = &g->products[i];
        node_keep_state(p->node, p->position, p->state, p->again);
        p->state = NULL;
    }
    clear(g);
}

void gathering_abandon(gathering *g) {
    for (size_t i = g->n_claims; i-- > 0;)
        node_unclaim(g->claims[i]); /* the last one's slots lie on top */
    clear(g);
}
