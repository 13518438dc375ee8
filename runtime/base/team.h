/* team.h: worker threads, and how they run one step together.
 *
 * A step is run by a team: every member calls the same function, takes chunks of each phase's work
 * from a shared counter, and meets the others at a barrier. A team owns its workers, which spin
 * briefly for the next phase and then sleep, so an idle engine uses no CPU; they block all signals.
 * The calling thread is member 0. */
#ifndef PERILUNE_BASE_TEAM_H
#define PERILUNE_BASE_TEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define TEAM_MAX 256 /* threads */

typedef struct team team;

/* Physical cores that this thread may use: affinity and cgroup CPU quota (rounded down) considered;
 * at least 1. */
size_t team_default_size(void);

/* A team of n members (1 <= n <= TEAM_MAX), its n - 1 workers started. */
pl_code team_open(size_t n, team **out, pl_error *e);
void team_close(team *t); /* joins the workers; NULL is fine */
size_t team_size(const team *t);

/* Runs f(arg, t, member) on every member and returns when all have returned; what they wrote is
 * visible then. From any thread, one run after the other; not from inside f. Every member passes
 * the same number of barriers. */
void team_run(team *t, void (*f)(void *arg, team *t, size_t member), void *arg);

/* Inside f: the next chunk of this phase, 0, 1, 2, ..., each handed to exactly one member. */
size_t team_claim(team *t);
/* Inside f: waits for all members; what they wrote is visible after it; chunks restart at 0. */
void team_barrier(team *t);

#endif
