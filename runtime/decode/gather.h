/* gather.h: inside decode/: the batch of one step while it is put together: sequences, their rows,
 * the slots that are claimed for them, and the states that recurrent layers start from and leave.
 *
 * Where no state is kept at the position that a sequence's rows begin with, rows are run again,
 * read-only, from the nearest one before it. A state that this very step makes for somebody else is
 * there in the next. */
#ifndef PERILUNE_DECODE_GATHER_H
#define PERILUNE_DECODE_GATHER_H

#include "cache/node.h"
#include "decode/engine.h"
#include "model/forward.h"

/* Its table covers positions [0, length) of node; its rows, from the first on, end there. Nodes are
 * held until the step is over: their owners may let go of them while it computes. */
typedef struct { cache_node *node; size_t length, table, first_row; } sequence;

/* What a segment leaves for a node to keep, and what it started from, held meanwhile. */
typedef struct { cache_node *node; size_t position; kv_block *state, *from; bool again; } product;

typedef struct {
    const model *m;
    cache_store *store;
    batch_row rows[STEP_ROWS_MAX];
    size_t n_rows, room;    /* so far; at most, for whoever adds next */
    size_t n_again;         /* rows that are run again for their states alone */
    sequence *sequences;    size_t n_sequences, sequence_room;
    batch_segment *segments; size_t n_segments, segment_room;
    product *products;      size_t product_room; /* [n_segments] */
    cache_node **claims;    size_t n_claims, claim_room;
    uint8_t **tables;       size_t n_tables, table_room;
    uint8_t *const **table_of; size_t table_of_room;
} gathering;

void gathering_free(gathering *g);
static inline size_t gathering_room(const gathering *g) {
    return g->room > g->n_rows ? g->room - g->n_rows : 0;
}

/* A sequence without rows; to be closed, which takes it back if it has none then. */
pl_code gathering_open_sequence(gathering *g, cache_node *node, pl_error *e);
void gathering_close_sequence(gathering *g);

/* Brings the open sequence to where rows of `node` from position `from` on can be added. *ready:
 * they can; false: the states before them are made in this step, or are still further away than it
 * has room for. */
pl_code gathering_reach(gathering *g, cache_node *node, size_t from, bool *ready, pl_error *e);
/* Adds rows of positions [from, to) of node to the open sequence, which has reached them. They are
 * processed already (to be run again), or claimed here. On an error nothing is added.
 * PL_ERR_CANCELLED: see node_claim. */
pl_code gathering_add_known(gathering *g, cache_node *node, size_t from, size_t to, pl_error *e);
pl_code gathering_add_pending(gathering *g, cache_node *node, size_t from, size_t to, pl_error *e);

/* The batch, when all sequences are there; it points into g. */
pl_code gathering_batch(gathering *g, batch *out, pl_error *e);
/* The step was computed, or was not: what was claimed is processed, or given back; states are kept,
 * or dropped; and g is empty again. */
void gathering_commit(gathering *g);
void gathering_abandon(gathering *g);

#endif
