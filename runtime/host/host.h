/* host.h: the inside of the public API's values, for bind/, which hands them to scripts and
 * back. */
#ifndef PERILUNE_HOST_HOST_H
#define PERILUNE_HOST_HOST_H

#include "decode/engine.h"
#include "decode/loop.h"
#include "perilune.h"

loop *host_loop(pl_engine *h);

/* Scripts that move along in pl_poll: poll does at most so many seconds' work and says how many
 * tasks are live; a code: what a script raised. detached is called when the engine is freed, unless
 * they leave before. */
typedef pl_code (*host_scripts)(void *user, double seconds, size_t *n_live, pl_error *e);
pl_code host_attach(pl_engine *h, host_scripts poll, void (*detached)(void *user), void *user,
                    pl_error *e);
void host_detach(pl_engine *h, void *user);

engine *host_model_engine(const pl_model *m);
/* A new value for an engine that the loop runs; holds it. NULL: no memory. */
pl_model *host_model_of(pl_engine *h, engine *g);
cache_node *host_cache_node(const pl_cache *c);
engine *host_cache_engine(const pl_cache *c);
/* Retains the node. NULL: no memory. */
pl_cache *host_cache_of(pl_engine *h, engine *g, cache_node *n);

#endif
