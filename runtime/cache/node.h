/* node.h: cache values. A node is a reference-counted value in a tree: the first `start` tokens of
 * its parent, then tokens of its own. How many of them are processed (their keys and values lie in
 * blocks) is the node's state, not its value: processing changes no observable token.
 *
 *   parent  [ The  capital  of  France ]            start
 *   child                 \----------- [ is ]         3     "The capital of is"
 *
 * Invariants. A node that holders cannot reach any more is trimmed to what its children use, and
 * merged with an only child, so chains stay short and memory is what is reachable. A node writes
 * past its parent's end in the parent's last block when nobody has claimed those slots, and
 * otherwise in a copy of that one block. Slots are claimed when tokens are about to be processed,
 * and given back when that fails.
 *
 * Positions here count from 0. Used by one thread at a time (the engine's owner). */
#ifndef PERILUNE_CACHE_NODE_H
#define PERILUNE_CACHE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cache/pool.h"

/* What all caches of one loaded model share. Reference-counted: nodes may outlive the model. */
typedef struct cache_store cache_store;
typedef struct {
    size_t block_bytes;     /* of KV_TILE tokens' keys and values */
    size_t state_bytes;     /* of the recurrent layers' state after a token; 0: there are none */
    size_t max_bytes;       /* of all caches */
    size_t context;         /* most tokens of one cache */
    size_t n_hidden;        /* floats of a final hidden state */
    size_t state_interval;  /* 0: STATE_INTERVAL */
} cache_store_options;
pl_code cache_store_new(const cache_store_options *o, cache_store **out, pl_error *e);
void cache_store_release(cache_store *s);
kv_pool *cache_store_pool(cache_store *s);
size_t cache_store_context(const cache_store *s);
size_t cache_store_nodes(const cache_store *s); /* live nodes */

typedef struct cache_node cache_node;

/* Each of these hands out one reference, to be given back with node_release. */
pl_code node_empty(cache_store *s, cache_node **out, pl_error *e);
cache_node *node_retain(cache_node *n);
/* PL_ERR_CONTEXT */
pl_code node_extend(cache_node *n, const int32_t *ids, size_t n_ids, cache_node **out, pl_error *e);
pl_code node_truncate(cache_node *n, size_t length, cache_node **out,
                      pl_error *e);     /* length <= node_length */
void node_release(cache_node *n);       /* NULL is fine */

cache_store *node_store(const cache_node *n);
size_t node_length(const cache_node *n);        /* tokens */
size_t node_processed(const cache_node *n);     /* of them with keys and values: a prefix */
void node_tokens(const cache_node *n, size_t first, size_t count, int32_t *out);
/* The node that has the token before the position as its own: n or an ancestor. */
cache_node *node_owner(cache_node *n, size_t position);
size_t node_common_prefix(const cache_node *a, const cache_node *b);

/* A generation's own node: like node_extend, but its one holder may append to it until it is
 * sealed. Truncating it, even to its present length, gives a value that later appends do not
 * change. */
pl_code node_grow(cache_node *n, const int32_t *ids, size_t n_ids, cache_node **out, pl_error *e);
pl_code node_append(cache_node *n, int32_t id, pl_error *e);
void node_seal(cache_node *n);

/* The final hidden state after the last token, [n_hidden], when it is known: else NULL. */
const float *node_hidden(const cache_node *n);
/* keeps a copy; without memory, forgets it */
void node_set_hidden(cache_node *n, const float *hidden);

/* ---- processing: for the engine ---- */

/* A run of tokens of one node that a step processes: positions [from, to). */
typedef struct { cache_node *node; size_t from, to; } node_run;

/* The run nearest the root that has to be processed before positions [0, length) of n are: false
 * when none has. Runs that this step has claimed already are passed over. */
bool node_pending(cache_node *n, size_t length, node_run *out);
/* Finds pending tokens of n that its parents' other branches have too, processed or not, a block's
 * worth at least, and lets n stand on those: a prompt is processed once even when it was noted
 * twice. To be called before anything of a step is claimed. */
void node_adopt(cache_node *n);
/* Claims slots for positions up to `to` of the node's own, which must be pending: blocks are taken,
 * or one is copied. PL_ERR_POOL or PL_ERR_MEMORY: nothing claimed. PL_ERR_CANCELLED: a copy is
 * needed of a block that this very step is writing; the next step can. `row`: the caller's number
 * for the first of them, kept until commit. */
pl_code node_claim(cache_node *n, size_t to, size_t row, pl_error *e);
bool node_claimed_row(cache_node *n, size_t position,
                      size_t *row);   /* of a claimed, not yet committed position */
void node_commit(cache_node *n);      /* what was claimed is processed */
void node_unclaim(cache_node *n);     /* what was claimed is given back */

/* ---- states of recurrent layers: for the engine ----
 *
 * Keys and values can be cut anywhere; a state is of one position. A node keeps the states after
 *   - its last processed token,
 *   - tokens behind which children begin,
 *   - multiples of the store's interval, while they take at most half of the memory: the interval
 *     doubles, and every second one goes, when they would take more, or when memory is needed for
 *     something else,
 *   - the last token up to which states were computed again.
 * From another position, tokens are run again from the nearest state before it, at most an interval
 * away. */

#define STATE_INTERVAL 256  /* tokens, to begin with */
size_t cache_store_interval(const cache_store *s);

/* The last position at or before `position`, on the way to it, after which a state is kept; 0 and
 * NULL: the beginning. */
size_t node_state_before(const cache_node *n, size_t position, kv_block **state);
/* Keeps the state after [0, position) of n, which are processed; takes over the reference. again:
 * it is no multiple, but took running tokens again. */
void node_keep_state(cache_node *n, size_t position, kv_block *state, bool again);
/* One reference. PL_ERR_POOL: even without the states at multiples of the interval there is no
 * room. */
pl_code cache_store_take_state(cache_store *s, kv_block **out, pl_error *e);
/* Whether there is room for one more state at a multiple of the interval. */
bool cache_store_wants_state(cache_store *s);
/* The state after n's last processed token, `position`, out of the node, if nobody else could want
 * it: to be overwritten. NULL: somebody could. */
kv_block *node_steal_state(cache_node *n, size_t position);

/* The blocks that hold positions [0, length), claimed or processed; table has room for (length +
 * 31) / 32. Whoever holds node_owner(n, length) keeps them where they are until something is
 * claimed or adopted; holding n is not enough: what n has from an ancestor may be merged into n's
 * own blocks. */
void node_blocks(const cache_node *n, size_t length, uint8_t **table);

#endif
