/* loop.h: the engines of one owner, run together: a step of each in turn, or the owner's part of
 * steps that compute elsewhere. A loop holds no engine open: engines enter when they are opened and
 * leave when they are closed. Used by one thread at a time. */
#ifndef PERILUNE_DECODE_LOOP_H
#define PERILUNE_DECODE_LOOP_H

#include "decode/engine.h"

typedef struct { engine **engines; size_t n, room; } loop;

void loop_free(loop *l); /* no engine is left in it */
pl_code loop_add(loop *l, engine *g, pl_error *e);
void loop_remove(loop *l, engine *g); /* one that is not there is fine */

/* One step of every engine that has running jobs. False: none has. */
bool loop_step(loop *l);
/* engine_poll of all of them, for so many seconds together. False: none has running jobs. */
bool loop_poll(loop *l, double seconds);
/* Whether loop_poll would find something to do. */
bool loop_ready(loop *l);

#endif
