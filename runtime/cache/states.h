/* states.h: inside cache/: the states of recurrent layers that one node keeps, by position. */
#ifndef PERILUNE_CACHE_STATES_H
#define PERILUNE_CACHE_STATES_H

#include <stdbool.h>

#include "cache/pool.h"

/* After the tokens [0, position). */
typedef struct { size_t position; kv_block *state; } snapshot;

typedef struct {
    snapshot *list;
    size_t n, room;
} snapshots; /* ascending, each with one reference */

/* The last one at or before the position; NULL: none. */
const snapshot *snapshots_before(const snapshots *s, size_t position);
/* Takes over the reference; one that is there already, or for which there is no memory, is
 * dropped. */
void snapshots_put(snapshots *s, kv_pool *p, size_t position, kv_block *state);
/* Removes the i-th, whose reference is the caller's. */
kv_block *snapshots_remove(snapshots *s, size_t i);
/* Drops those beyond the position. */
void snapshots_cut(snapshots *s, kv_pool *p, size_t position);
void snapshots_free(snapshots *s, kv_pool *p);

#endif
