/* engine.c: the step. Gathering asks each running job for its wish and claims slots for the tokens that have to be
 * processed for it, nearest the root first; rows that another job has claimed in the same step are shared. Then the model
 * runs once, the claims are committed, and each job takes the logits that it asked for. */
#include "decode/engine.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"
#include "decode/job.h"

#define STEP_ROWS 512   /* most rows of a step */
#define STEP_LOGITS 16  /* rows of logits that are computed, and held, at a time */

/* One job's use of a hidden state: of a row of this step, or one that its node has kept. Without a job, the state is only
 * kept with the node. */
typedef struct { job *j; size_t wish; cache_node *node; size_t position, row; const float *kept; } delivery;

/* One sequence of the batch: its table covers positions [0, length) of node. */
typedef struct { cache_node *node; size_t length, table; } sequence;

struct engine {
    model *m;
    cache_store *store;
    forward_scratch *scratch;
    job *jobs;
    engine_counts counts;

    batch_row rows[STEP_ROWS];
    size_t n_rows;
    sequence *sequences;    size_t n_sequences, sequence_room;
    delivery *deliveries;   size_t n_deliveries, delivery_room;
    cache_node **claims;    size_t n_claims, claim_room;
    uint8_t **tables;       size_t n_tables, table_room;
    uint8_t *const **table_of;  size_t table_of_room;
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
    return one > half ? one : half;
}

pl_code engine_open(const engine_options *o, engine **out, pl_error *e) {
    engine *g = mem_zalloc(sizeof *g);
    pl_code rc;
    if (!g) return pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
    if ((rc = model_load(&o->model, &g->m, e))) goto fail;
    if (g->m->layers) {
        size_t limit = o->cache_bytes ? o->cache_bytes : default_cache_bytes(g->m);
        if (limit < g->m->block_bytes) {
            rc = pl_fail(e, PL_ERR_ARGUMENT, "cache_bytes is %zu: this model's caches come in blocks of %zu bytes "
                         "(%d tokens), and one at least is needed", limit, g->m->block_bytes, KV_TILE);
            goto fail;
        }
        rc = cache_store_new(g->m->block_bytes, limit, g->m->context, g->m->hp.n_embd, &g->store, e);
        if (rc) goto fail;
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
    void *all[] = {g->sequences, g->deliveries, g->claims, g->tables, g->table_of, g->hidden, g->logits, g->copy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    cache_store_release(g->store);
    model_free(g->m);
    mem_free(g);
}

model *engine_model(engine *g) { return g->m; }
cache_store *engine_store(engine *g) { return g->store; }
engine_counts engine_stats(const engine *g) { return g->counts; }
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

static pl_code add_sequence(engine *g, cache_node *node, size_t length, pl_error *e) {
    if (mem_reserve(&g->sequences, &g->sequence_room, g->n_sequences + 1, sizeof *g->sequences))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    g->sequences[g->n_sequences++] = (sequence){.node = node, .length = length};
    return PL_OK;
}

/* Rows [from, to) of a node, as the last sequence of the batch. */
static void add_rows(engine *g, cache_node *node, size_t from, size_t to, bool store) {
    int32_t ids[STEP_ROWS];
    node_tokens(node, from, to - from, ids);
    for (size_t i = 0; i < to - from; i++)
        g->rows[g->n_rows++] = (batch_row){.token = ids[i], .position = (uint32_t)(from + i),
                                           .sequence = (uint32_t)(g->n_sequences - 1), .store = store};
}

/* Wanted positions that are processed already: their hidden state was kept, or the row runs again. Returns how many of
 * the wish's count are settled that way. */
static pl_code gather_known(engine *g, job *j, size_t wish, const job_wish *w, size_t *settled, pl_error *e) {
    delivery d = {.j = j, .wish = wish, .node = w->node};
    size_t done = node_processed(w->node), at = w->first, end = w->first + w->count;
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
    if (end - at > STEP_ROWS - g->n_rows) end = at + (STEP_ROWS - g->n_rows);
    if (at == end) return PL_OK;
    if ((rc = add_sequence(g, w->node, end, e))) return rc;
    size_t row = g->n_rows;
    add_rows(g, w->node, at, end, false);
    for (; at < end; at++, row++, ++*settled) {
        g->rows[row].hidden = true;
        g->counts.rerun++;
        d.position = at, d.row = row;
        if ((rc = add_delivery(g, d, e))) return rc;
    }
    return PL_OK;
}

/* Claims what has to be processed for the wish, as far as this step has room; *reached: positions [0, reached) are processed
 * or claimed after it. */
static pl_code gather_pending(engine *g, job *j, const job_wish *w, size_t *reached, pl_error *e) {
    node_run run;
    pl_code rc;
    bool entered = false;
    *reached = w->length;
    while (node_pending(w->node, w->length, &run)) {
        size_t room = STEP_ROWS - g->n_rows, to = run.to - run.from > room ? run.from + room : run.to;
        *reached = run.from;
        if (to == run.from) return PL_OK;
        if (mem_reserve(&g->claims, &g->claim_room, g->n_claims + 1, sizeof *g->claims))
            return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
        if (!entered) {
            if ((rc = add_sequence(g, w->node, w->length, e))) return rc;
            entered = true;
        }
        if ((rc = node_claim(run.node, to, g->n_rows, e))) {
            if (*reached == g->sequences[g->n_sequences - 1].length) return rc == PL_ERR_CANCELLED ? PL_OK : rc;
            g->n_sequences--; /* nothing of it was claimed */
            return rc == PL_ERR_CANCELLED ? PL_OK : rc;
        }
        g->claims[g->n_claims++] = run.node;
        add_rows(g, run.node, run.from, to, true);
        j->rows += to - run.from;
        *reached = to;
        g->sequences[g->n_sequences - 1].length = to;
        if (to < run.to) return PL_OK;
    }
    *reached = w->length;
    return PL_OK;
}

/* The state after a node's last token stays with it: whoever continues from there will want it. */
static pl_code keep_last(engine *g, cache_node *node, pl_error *e) {
    delivery d = {.node = node, .position = node_length(node) - 1};
    if (!node_length(node) || !node_claimed_row(node, d.position, &d.row)) return PL_OK;
    g->rows[d.row].hidden = true;
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
        g->rows[d.row].hidden = true;
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

static pl_code build_tables(engine *g, pl_error *e) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_sequences; i++) {
        g->sequences[i].table = n;
        n += (g->sequences[i].length + KV_TILE - 1) / KV_TILE;
    }
    if (mem_reserve(&g->tables, &g->table_room, n, sizeof *g->tables) ||
        mem_reserve(&g->table_of, &g->table_of_room, g->n_sequences, sizeof *g->table_of))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for the tables of %zu sequences", g->n_sequences);
    for (size_t i = 0; i < g->n_sequences; i++) {
        sequence *s = &g->sequences[i];
        node_blocks(s->node, s->length, g->tables + s->table);
        g->table_of[i] = g->tables + s->table;
    }
    return PL_OK;
}

static pl_code run_model(engine *g, pl_error *e) {
    size_t wanted = 0;
    pl_code rc;
    for (size_t r = 0; r < g->n_rows; r++) wanted += g->rows[r].hidden;
    if ((rc = forward_reserve(g->m, g->scratch, g->n_rows, wanted, STEP_LOGITS, e)) || !g->n_rows) return rc;
    if ((rc = build_tables(g, e))) return rc;
    batch b = {.rows = g->rows, .n_rows = g->n_rows, .tables = (uint8_t *const *const *)g->table_of, .stop = &interrupted};
    if ((rc = forward_run(g->m, g->scratch, &b, e))) return rc;
    g->counts.steps++;
    return PL_OK;
}

/* The place of each row's hidden state in the forward pass's result. */
static void number_hidden(engine *g, size_t *place) {
    for (size_t r = 0, n = 0; r < g->n_rows; r++) place[r] = n, n += g->rows[r].hidden;
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
static void deliver(engine *g) {
    size_t place[STEP_ROWS], E = g->m->hp.n_embd, V = g->m->hp.n_vocab;
    number_hidden(g, place);
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
    g->n_rows = g->n_sequences = g->n_deliveries = g->n_claims = 0;
    for (job *j = g->jobs; j; j = j->next)
        if (j->status == JOB_RUNNING)
            for (size_t i = j->kind->n_wishes(j); i-- > 0;) node_adopt(j->kind->wish(j, i).node);
    for (int pass = 0; pass < 2; pass++)
        for (job *j = g->jobs; j; j = j->next)
            if (j->status == JOB_RUNNING && decodes(j) == (pass == 0)) gather_all(g, j);
    pl_code rc = run_model(g, e);
    if (rc) {
        while (g->n_claims > 0) node_unclaim(g->claims[--g->n_claims]); /* the last one's slots lie on top */
        return rc;
    }
    for (size_t i = 0; i < g->n_claims; i++) node_commit(g->claims[i]);
    for (size_t r = 0; r < g->n_rows; r++) g->counts.tokens += g->rows[r].store;
    deliver(g);
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
