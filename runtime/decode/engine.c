/* engine.c: the step. Gathering asks each running job for its wish and claims slots for the tokens that have to be
 * processed for it, nearest the root first; rows that another job has claimed in the same step are shared. Then the model
 * runs once, the claims are committed, and each job takes the logits that it asked for. The batch itself is gather.c's. */
#include "decode/engine.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"
#include "decode/gather.h"
#include "decode/job.h"

#define STEP_LOGITS 16  /* rows of logits that are computed, and held, at a time */
#define FEW_STATES 4    /* for which there is room by default beside a full context */

/* One job's use of a hidden state: of a row of this step, or one that its node has kept. Without a job, the state is only
 * kept with the node. */
typedef struct { job *j; size_t wish; cache_node *node; size_t position, row; const float *kept; } delivery;

struct engine {
    model *m;
    cache_store *store;
    forward_scratch *scratch;
    job *jobs;
    engine_counts counts;

    gathering step;
    delivery *deliveries;   size_t n_deliveries, delivery_room;
    float *hidden;          /* [STEP_LOGITS][E] gathered for the output matrix */
    float *logits;          /* [STEP_LOGITS][V] */
    float *copy;            /* [V]: for a job that shares its row with the next */
};

/* Set by engine_interrupt, cleared by the first job that notices; and how many jobs could. */
static atomic_bool interrupted;
static atomic_size_t open_jobs;

bool engine_interrupt(void) {
    return atomic_load(&open_jobs) > 0 && !atomic_exchange(&interrupted, true);
}

/* ---- opening and closing ---- */

static size_t default_cache_bytes(const model *m) {
    size_t blocks = ((size_t)m->context + KV_TILE - 1) / KV_TILE, half = system_memory_available() / 2;
    size_t one = blocks > SIZE_MAX / m->block_bytes ? SIZE_MAX : blocks * m->block_bytes;
    if (one <= SIZE_MAX - FEW_STATES * m->state_bytes) one += FEW_STATES * m->state_bytes;
    return one > half ? one : half;
}

/* The least that anything can be computed with: a block, and the states before and after it. */
static pl_code check_limit(const model *m, size_t limit, pl_error *e) {
    if (limit >= m->block_bytes + 2 * m->state_bytes) return PL_OK;
    if (m->state_bytes)
        return pl_fail(e, PL_ERR_ARGUMENT, "cache_bytes is %zu: this model's caches need a block of %zu bytes (%d tokens) "
                       "and two states of %zu bytes at least", limit, m->block_bytes, KV_TILE, m->state_bytes);
    return pl_fail(e, PL_ERR_ARGUMENT, "cache_bytes is %zu: this model's caches come in blocks of %zu bytes "
                   "(%d tokens), and one at least is needed", limit, m->block_bytes, KV_TILE);
}

pl_code engine_open(const engine_options *o, engine **out, pl_error *e) {
    engine *g = mem_zalloc(sizeof *g);
    pl_code rc;
    if (!g) return pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
    if ((rc = model_load(&o->model, &g->m, e))) goto fail;
    if (g->m->layers) {
        size_t limit = o->cache_bytes ? o->cache_bytes : default_cache_bytes(g->m);
        if ((rc = check_limit(g->m, limit, e)) ||
            (rc = cache_store_new(&(cache_store_options){.block_bytes = g->m->block_bytes, .state_bytes = g->m->state_bytes,
                                                         .max_bytes = limit, .context = g->m->context,
                                                         .n_hidden = g->m->hp.n_embd, .state_interval = o->state_interval},
                                  &g->store, e)))
            goto fail;
        g->step.m = g->m;
        g->step.store = g->store;
        g->scratch = forward_scratch_new();
        g->hidden = mem_aligned(STEP_LOGITS * (size_t)g->m->hp.n_embd * sizeof *g->hidden);
        g->logits = mem_aligned(STEP_LOGITS * (size_t)g->m->hp.n_vocab * sizeof *g->logits);
        g->copy = mem_aligned((size_t)g->m->hp.n_vocab * sizeof *g->copy);
        if (!g->scratch || !g->hidden || !g->logits || !g->copy) {
            rc = pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
            goto fail;
        }
    }
    *out = g;
    return PL_OK;
fail:
    engine_close(g);
    return rc;
}

void engine_close(engine *g) {
    if (!g) return;
    assert(!g->jobs);
    forward_scratch_free(g->scratch);
    void *all[] = {g->deliveries, g->hidden, g->logits, g->copy};
    gathering_free(&g->step);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    cache_store_release(g->store);
    model_free(g->m);
    mem_free(g);
}

model *engine_model(engine *g) { return g->m; }
cache_store *engine_store(engine *g) { return g->store; }
engine_counts engine_stats(const engine *g) {
    engine_counts n = g->counts;
    if (g->scratch) n.experts = forward_expert_counts(g->scratch);
    return n;
}
void engine_count_sampled(engine *g) { g->counts.sampled++; }

void job_enter(job *j, engine *g, const job_kind *kind) {
    j->kind = kind;
    j->g = g;
    j->next = g->jobs;
    if (g->jobs) g->jobs->prev = j;
    g->jobs = j;
    atomic_fetch_add(&open_jobs, 1);
}

void job_close(job *j) {
    if (!j) return;
    if (j->prev) j->prev->next = j->next;
    else j->g->jobs = j->next;
    if (j->next) j->next->prev = j->prev;
    job_set_status(j, JOB_DONE);
    j->kind->free(j);
}

void job_set_status(job *j, job_status status) {
    bool was_open = j->status != JOB_DONE, is_open = status != JOB_DONE;
    j->status = status;
    if (is_open && !was_open) atomic_fetch_add(&open_jobs, 1);
    if (was_open && !is_open && atomic_fetch_sub(&open_jobs, 1) == 1)
        atomic_store(&interrupted, false); /* nobody is left to notice */
}

job_status job_state(const job *j) { return j->status; }

/* ---- gathering ---- */

static pl_code add_delivery(engine *g, delivery d, pl_error *e) {
    if (mem_reserve(&g->deliveries, &g->delivery_room, g->n_deliveries + 1, sizeof *g->deliveries))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    g->deliveries[g->n_deliveries++] = d;
    return PL_OK;
}

/* Wanted positions that are processed already: their hidden state was kept, or the row runs again. Returns how many of
 * the wish's count are settled that way. */
static pl_code gather_known(engine *g, job *j, size_t wish, const job_wish *w, size_t *settled, pl_error *e) {
    delivery d = {.j = j, .wish = wish, .node = w->node};
    size_t done = node_processed(w->node), at = w->first, end = w->first + w->count;
    bool ready;
    pl_code rc;
    *settled = 0;
    if (end > done) end = done;
    if (at >= end) return PL_OK;
    const float *kept = w->first + 1 == node_length(w->node) ? node_hidden(w->node) : NULL;
    if (kept) {
        *settled = 1;
        d.position = at, d.kept = kept;
        return add_delivery(g, d, e);
    }
    if ((rc = gathering_open_sequence(&g->step, w->node, e))) return rc;
    if (!(rc = gathering_reach(&g->step, w->node, at, &ready, e)) && ready) {
        size_t room = gathering_room(&g->step), row = g->step.n_rows;
        if (end - at > room) end = at + room;
        if (at < end && !(rc = gathering_add_known(&g->step, w->node, at, end, e)))
            for (; at < end && !rc; at++, row++, ++*settled) {
                g->step.rows[row].hidden = true;
                g->counts.rerun++;
                d.position = at, d.row = row;
                rc = add_delivery(g, d, e);
            }
    }
    gathering_close_sequence(&g->step);
    return rc;
}

/* Claims what has to be processed for the wish, as far as this step has room; *reached: positions [0, reached) are processed
 * or claimed after it. */
static pl_code gather_pending(engine *g, job *j, const job_wish *w, size_t *reached, pl_error *e) {
    gathering *step = &g->step;
    node_run run;
    bool ready;
    pl_code rc;
    *reached = w->length;
    if (!node_pending(w->node, w->length, &run)) return PL_OK;
    if ((rc = gathering_open_sequence(step, w->node, e))) return rc;
    do {
        *reached = run.from;
        if ((rc = gathering_reach(step, run.node, run.from, &ready, e)) || !ready) break;
        size_t room = gathering_room(step), to = run.to - run.from > room ? run.from + room : run.to;
        if (to == run.from || (rc = gathering_add_pending(step, run.node, run.from, to, e))) break;
        j->rows += to - run.from;
        *reached = to;
        if (to < run.to) break;
        *reached = w->length; /* if nothing follows */
    } while (node_pending(w->node, w->length, &run));
    gathering_close_sequence(step);
    return rc == PL_ERR_CANCELLED ? PL_OK : rc;
}

/* The state after a node's last token stays with it: whoever continues from there will want it. */
static pl_code keep_last(engine *g, cache_node *node, pl_error *e) {
    delivery d = {.node = node, .position = node_length(node) - 1};
    if (!node_length(node) || !node_claimed_row(node, d.position, &d.row)) return PL_OK;
    g->step.rows[d.row].hidden = true;
    return add_delivery(g, d, e);
}

static pl_code gather(engine *g, job *j, size_t wish, pl_error *e) {
    job_wish w = j->kind->wish(j, wish);
    delivery d = {.j = j, .wish = wish, .node = w.node};
    size_t settled, reached;
    pl_code rc;
    if ((rc = gather_known(g, j, wish, &w, &settled, e)) || (rc = gather_pending(g, j, &w, &reached, e))) return rc;
    for (d.position = w.first + settled; d.position < w.first + w.count && d.position < reached; d.position++) {
        if (!node_claimed_row(w.node, d.position, &d.row)) break; /* hidden by another claim; the next step has it */
        g->step.rows[d.row].hidden = true;
        if ((rc = add_delivery(g, d, e))) return rc;
    }
    if (w.count == 0 && reached == w.length && w.length == node_length(w.node)) return keep_last(g, w.node, e);
    return PL_OK;
}

static void gather_all(engine *g, job *j) {
    size_t n = j->kind->n_wishes(j);
    j->rows = 0;
    j->failed = PL_OK;
    for (size_t i = 0; i < n && !j->failed; i++) j->failed = gather(g, j, i, &j->error);
}

/* A job that waits for single rows only: tokens to be decoded. */
static bool decodes(const job *j) {
    for (size_t i = j->kind->n_wishes(j); i-- > 0;) {
        job_wish w = j->kind->wish(j, i);
        if (w.length > node_processed(w.node) + 1 || w.count > 1) return false;
    }
    return true;
}

/* ---- the step ---- */

static pl_code run_model(engine *g, pl_error *e) {
    size_t wanted = 0, n_rows = g->step.n_rows;
    batch b;
    pl_code rc;
    for (size_t r = 0; r < n_rows; r++) wanted += g->step.rows[r].hidden;
    if ((rc = forward_reserve(g->m, g->scratch, n_rows, wanted, STEP_LOGITS, e)) || !n_rows) return rc;
    if ((rc = gathering_batch(&g->step, &b, e))) return rc;
    b.stop = &interrupted;
    if ((rc = forward_run(g->m, g->scratch, &b, e))) return rc;
    g->counts.steps++;
    return PL_OK;
}

/* The place of each row's hidden state in the forward pass's result. */
static void number_hidden(engine *g, size_t *place) {
    for (size_t r = 0, n = 0; r < g->step.n_rows; r++) place[r] = n, n += g->step.rows[r].hidden;
}

static bool same_source(const delivery *a, const delivery *b) {
    return a->kept == b->kept && (a->kept || a->row == b->row);
}

static void deliver_one(engine *g, delivery *d, float *logits, bool shared) {
    size_t V = g->m->hp.n_vocab;
    if (d->j->failed) return;
    if (shared) logits = memcpy(g->copy, logits, V * sizeof *logits);
    d->j->failed = d->j->kind->take(d->j, d->wish, d->position, logits, &d->j->error);
    if (d->j->failed) d->j->rows = 0; /* it made no progress */
}

/* Leaves the deliveries that a job waits for. */
static void drop_keepers(engine *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_deliveries; i++)
        if (g->deliveries[i].j) g->deliveries[n++] = g->deliveries[i];
    g->n_deliveries = n;
}

/* Logits for all deliveries, STEP_LOGITS distinct rows at a time. A hidden state at the end of a node stays with it. */
static void deliver(engine *g, const size_t *place) {
    size_t E = g->m->hp.n_embd, V = g->m->hp.n_vocab;
    for (size_t i = 0; i < g->n_deliveries; i++) {
        delivery *d = &g->deliveries[i];
        if (d->kept) continue;
        if (d->position + 1 == node_length(d->node))
            node_set_hidden(d->node, forward_hidden(g->scratch) + place[d->row] * E);
    }
    drop_keepers(g);
    for (size_t i = 0; i < g->n_deliveries;) {
        size_t slots[STEP_LOGITS], n = 0, begin = i;
        for (; i < g->n_deliveries; i++) {
            delivery *d = &g->deliveries[i];
            if (n && same_source(d, &g->deliveries[slots[n - 1]])) continue;
            if (n == STEP_LOGITS) break;
            const float *h = d->kept ? d->kept : forward_hidden(g->scratch) + place[d->row] * E;
            memcpy(g->hidden + n * E, h, E * sizeof *h);
            slots[n++] = i;
        }
        forward_logits(g->m, g->scratch, g->hidden, n, g->logits);
        for (size_t k = 0, at = begin; at < i; at++) {
            if (k + 1 < n && at == slots[k + 1]) k++;
            delivery *d = &g->deliveries[at];
            deliver_one(g, d, g->logits + k * V, at + 1 < i && (k + 1 == n || at + 1 < slots[k + 1]));
        }
    }
}

static void cancel_all(engine *g) {
    for (job *j = g->jobs; j; j = j->next)
        if (j->status != JOB_DONE) j->kind->cancel(j);
}

/* One step for all running jobs. Fails when the model could not run at all; a job's own trouble is noted in the job. */
static pl_code run_step(engine *g, pl_error *e) {
    g->n_deliveries = 0;
    for (job *j = g->jobs; j; j = j->next)
        if (j->status == JOB_RUNNING)
            for (size_t i = j->kind->n_wishes(j); i-- > 0;) node_adopt(j->kind->wish(j, i).node);
    for (int pass = 0; pass < 2; pass++)
        for (job *j = g->jobs; j; j = j->next)
            if (j->status == JOB_RUNNING && decodes(j) == (pass == 0)) gather_all(g, j);
    pl_code rc = run_model(g, e);
    if (rc) {
        gathering_abandon(&g->step);
        return rc;
    }
    size_t place[STEP_ROWS];
    number_hidden(g, place);
    for (size_t r = 0; r < g->step.n_rows; r++) g->counts.tokens += g->step.rows[r].store;
    g->counts.rerun += g->step.n_again;
    gathering_commit(&g->step);
    deliver(g, place);
    for (job *j = g->jobs; j; j = j->next)
        if (j->status == JOB_RUNNING && j->kind->done(j)) job_set_status(j, JOB_DONE);
    return PL_OK;
}

pl_code job_run(job *j, pl_error *e) {
    engine *g = j->g;
    pl_code rc = PL_OK;
    j->failed = PL_OK;
    while (j->status == JOB_RUNNING && !rc) {
        if (atomic_exchange(&interrupted, false)) cancel_all(g);
        if (j->cancelled) {
            j->cancelled = false;
            return pl_fail(e, PL_ERR_CANCELLED, "cancelled");
        }
        if (j->status != JOB_RUNNING) break;
        rc = run_step(g, e);
        if (rc == PL_ERR_CANCELLED) rc = PL_OK; /* the interrupt is handled above */
        if (!rc && j->failed && j->rows == 0) {
            if (e) *e = j->error;
            rc = j->failed;
        }
    }
    return rc;
}
