/* engine.c: the step. Gathering asks each running job for its wishes and claims slots for the
 * tokens that have to be processed for it, nearest the root first; rows that another job has
 * claimed in the same step are shared. Then the model runs once, the claims are committed, and each
 * job takes the logits that it asked for. The batch itself is gather.c's.
 *
 * A step has stages: rows are computed, then logits, STEP_LOGITS rows at a time, each time followed
 * by handing them out. compute() is all that is done outside of the owner's thread; the invariant:
 * while it runs there, the owner reads and writes nothing of the step but a delivery's job. */
#include "decode/engine.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"
#include "decode/gather.h"
#include "decode/job.h"

#define STEP_LOGITS 64      /* rows of logits that are computed, and held, at a time */
#define FEW_STATES 4        /* for which there is room by default beside a full context */
#define STEP_SECONDS                                                                             \
    0.1 /* that a step takes at most, as far as can be told before, when somebody might wait for \
           it */
/* that prompts may take of a step at least, beside sequences that are decoded */
#define PROMPT_SECONDS 0.005
#define FIRST_ROWS 32       /* of a step while it is not known what a row takes */

/* One job's use of a hidden state: of a row of this step, or one that its node has kept. Without a
 * job it is not wanted any more. The node is held. */
typedef struct {
    job *j;
    size_t wish;
    cache_node *node;
    size_t position, row;
    const float *kept;
    bool hidden;            /* the job takes the state itself: no logits are computed of it */
} delivery;

/* A row whose hidden state stays with its node, which is held. */
typedef struct { cache_node *node; size_t row; } keeper;

typedef enum { STAGE_NONE, STAGE_ROWS, STAGE_LOGITS } step_stage;
typedef enum { FLIGHT_NONE, FLIGHT_ASKED, FLIGHT_OVER } flight_state;

struct engine {
    size_t holders;
    model *m;
    cache_store *store;
    forward_scratch *scratch;
    job *jobs;              /* by priority, then in the order of their beginning */
    engine_counts counts;
    size_t step_rows, max_sequences;
    unsigned interrupts;    /* seen */

    step_stage stage;
    gathering step;
    batch b;
    size_t place[STEP_ROWS_MAX];    /* of a row's hidden state in the forward pass's result */
    delivery *deliveries;   size_t n_deliveries, delivery_room;
    keeper *keepers;        size_t n_keepers, keeper_room;
    size_t begin, end;      /* deliveries whose logits are computed now, or are being handed out */
    size_t at, slot;        /* the next to be handed out, and its row of logits */
    float *hidden;          /* [STEP_LOGITS][E] gathered for the output matrix */
    float *logits; size_t logit_rows;   /* [logit_rows][V] */
    float *copy;            /* [V]: for a job that shares its row with the next */
    size_t n_prompt;        /* rows of this step that are not decoded ones */
    /* what a row of a prompt takes, and a step of decoded rows alone; 0: not known */
    double row_seconds, decode_seconds;
    double step_seconds;    /* what the rows of this step took */
    bool progress;          /* this step processed tokens, or handed out a result */
    pl_code rc;             /* how its rows went */
    pl_error error;
    atomic_uint stop;       /* changes when the step is to be abandoned */

    /* what computes while the owner does something else */
    pthread_t thread;
    bool started, quit;
    pthread_mutex_t lock;   /* of the next two */
    pthread_cond_t changed;
    flight_state flight;
};

/* Counted by engine_interrupt; every engine compares with what it has seen. Whether nobody has
 * noticed the last; and how many jobs could. */
static atomic_uint interrupts;
static atomic_bool unnoticed;
static atomic_size_t open_jobs;

bool engine_interrupt(void) {
    if (atomic_load(&open_jobs) == 0 || atomic_exchange(&unnoticed, true)) return false;
    atomic_fetch_add(&interrupts, 1);
    return true;
}

/* ---- opening and closing ---- */

static size_t default_cache_bytes(const model *m) {
    size_t blocks = ((size_t)m->context + KV_TILE - 1) / KV_TILE,
           half = system_memory_available() / 2;
    size_t one = blocks > SIZE_MAX / m->block_bytes ? SIZE_MAX : blocks * m->block_bytes;
    if (one <= SIZE_MAX - FEW_STATES * m->state_bytes) one += FEW_STATES * m->state_bytes;
    return one > half ? one : half;
}

/* The least that anything can be computed with: a block, and the states before and after it. */
static pl_code check_limit(const model *m, size_t limit, pl_error *e) {
    if (limit >= m->block_bytes + 2 * m->state_bytes) return PL_OK;
    if (m->state_bytes)
        return pl_fail(
            e, PL_ERR_ARGUMENT,
            "cache_bytes is %zu: this model's caches need a block of %zu bytes (%d tokens) "
            "and two states of %zu bytes at least",
            limit, m->block_bytes, KV_TILE, m->state_bytes);
    return pl_fail(e, PL_ERR_ARGUMENT,
                   "cache_bytes is %zu: this model's caches come in blocks of %zu bytes "
                   "(%d tokens), and one at least is needed",
                   limit, m->block_bytes, KV_TILE);
}

pl_code engine_open(const engine_options *o, engine **out, pl_error *e) {
    engine *g = mem_zalloc(sizeof *g);
    pl_code rc;
    if (!g) return pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
    g->holders = 1;
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&g->changed, &clock);
    pthread_condattr_destroy(&clock);
    if ((rc = model_load(&o->model, &g->m, e))) goto fail;
    if (g->m->layers) {
        size_t limit = o->cache_bytes ? o->cache_bytes : default_cache_bytes(g->m);
        if ((rc = check_limit(g->m, limit, e)) ||
            (rc = cache_store_new(&(cache_store_options){.block_bytes = g->m->block_bytes,
                                                         .state_bytes = g->m->state_bytes,
                                                         .max_bytes = limit,
                                                         .context = g->m->context,
                                                         .n_hidden = g->m->hp.n_embd,
                                                         .state_interval = o->state_interval},
                                  &g->store, e)))
            goto fail;
        g->step.m = g->m;
        g->step.store = g->store;
        g->step_rows = o->step_rows && o->step_rows < STEP_ROWS_MAX ? o->step_rows : STEP_ROWS_MAX;
        g->max_sequences = o->sequences ? o->sequences : SEQUENCES_DEFAULT;
        g->scratch = forward_scratch_new();
        g->hidden = mem_aligned(STEP_LOGITS * (size_t)g->m->hp.n_embd * sizeof *g->hidden);
        g->copy = mem_aligned((size_t)g->m->hp.n_vocab * sizeof *g->copy);
        if (!g->scratch || !g->hidden || !g->copy) {
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

engine *engine_hold(engine *g) {
    g->holders++;
    return g;
}

size_t engine_holders(const engine *g) { return g->holders; }

void engine_close(engine *g) {
    if (!g || --g->holders > 0) return;
    assert(!g->jobs);
    if (g->stage != STAGE_NONE) {
        atomic_fetch_add(&g->stop, 1);
        engine_step(g);
    }
    if (g->started) {
        pthread_mutex_lock(&g->lock);
        g->quit = true;
        pthread_cond_broadcast(&g->changed);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->thread, NULL);
    }
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    forward_scratch_free(g->scratch);
    void *all[] = {g->deliveries, g->keepers, g->hidden, g->logits, g->copy};
    gathering_free(&g->step);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    cache_store_release(g->store);
    model_free(g->m);
    mem_free(g);
}

model *engine_model(engine *g) { return g->m; }
cache_store *engine_store(engine *g) { return g->store; }
engine_counts engine_stats(const engine *g) { return g->counts; }
void engine_count_sampled(engine *g) { g->counts.sampled++; }

/* ---- jobs ---- */

static void link_job(job *j) {
    engine *g = j->g;
    job *before = NULL, *next = g->jobs;
    for (; next && next->priority >= j->priority; next = next->next) before = next;
    j->prev = before;
    j->next = next;
    if (before) before->next = j;
    else g->jobs = j;
    if (next) next->prev = j;
}

static void unlink_job(job *j) {
    if (j->prev) j->prev->next = j->next;
    else j->g->jobs = j->next;
    if (j->next) j->next->prev = j->prev;
}

static bool any_open(const engine *g) {
    for (const job *j = g->jobs; j; j = j->next)
        if (j->status != JOB_DONE) return true;
    return false;
}

void job_enter(job *j, engine *g, const job_kind *kind) {
    if (!any_open(g)) g->interrupts = atomic_load(&interrupts); /* those were meant for others */
    j->kind = kind;
    j->g = g;
    j->interrupts = atomic_load(&interrupts);
    link_job(j);
    atomic_fetch_add(&open_jobs, 1);
}

void job_close(job *j) {
    if (!j) return;
    engine_forget(j->g, j);
    unlink_job(j);
    job_set_status(j, JOB_DONE);
    j->kind->free(j);
}

void job_set_priority(job *j, int priority) {
    if (j->priority == priority) return;
    unlink_job(j);
    j->priority = priority;
    link_job(j);
}

void job_set_status(job *j, job_status status) {
    bool was_open = j->status != JOB_DONE, is_open = status != JOB_DONE;
    j->status = status;
    if (status == JOB_RUNNING)
        j->failed = PL_OK; /* what it was is not the trouble of a step that is under way */
    else j->placed = false;
    if (is_open && !was_open) {
        j->interrupts = atomic_load(&interrupts);
        atomic_fetch_add(&open_jobs, 1);
    }
    if (was_open && !is_open && atomic_fetch_sub(&open_jobs, 1) == 1)
        atomic_store(&unnoticed, false); /* nobody is left to notice */
}

job_status job_state(const job *j) { return j->status; }

pl_code job_trouble(const job *j, pl_error *e) {
    if (e) *e = j->error;
    return j->failed;
}

void job_retry(job *j) {
    if (j->status == JOB_STUCK) job_set_status(j, JOB_RUNNING);
}

void job_stop(job *j) {
    if (j->status != JOB_RUNNING) return;
    engine_forget(j->g, j);
    j->failed = pl_fail(&j->error, PL_ERR_CANCELLED, "cancelled");
    job_set_status(j, JOB_STUCK);
}

void engine_forget(engine *g, job *j) {
    bool any = false, had = false;
    if (g->stage == STAGE_NONE) return;
    for (size_t i = g->stage == STAGE_ROWS ? 0 : g->at; i < g->n_deliveries; i++) {
        delivery *d = &g->deliveries[i];
        had = had || d->j == j;
        if (d->j == j) d->j = NULL;
        any = any || d->j;
    }
    for (const job *o = g->jobs; o;
         o = o->next) /* a prompt that is not at its end yet has no deliveries */
        any = any || (o != j && o->status == JOB_RUNNING && o->rows > 0);
    if (!any && (had || j->rows > 0) && g->stage == STAGE_ROWS) atomic_fetch_add(&g->stop, 1);
}

/* ---- gathering ---- */

static pl_code add_delivery(engine *g, delivery d, pl_error *e) {
    if (mem_reserve(&g->deliveries, &g->delivery_room, g->n_deliveries + 1, sizeof *g->deliveries))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    node_retain(d.node);
    g->deliveries[g->n_deliveries++] = d;
    return PL_OK;
}

/* Wanted positions that are processed already: their hidden state was kept, or the row runs again.
 * Returns how many of the wish's count are settled that way. */
static pl_code gather_known(engine *g, job *j, size_t wish, const job_wish *w, size_t *settled,
                            pl_error *e) {
    delivery d = {.j = j, .wish = wish, .node = w->node, .hidden = w->hidden};
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

/* Claims what has to be processed for the wish, as far as this step has room; *reached: positions
 * [0, reached) are processed or claimed after it. */
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
        size_t room = gathering_room(step),
               to = run.to - run.from > room ? run.from + room : run.to;
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
    keeper k = {.node = node};
    if (!node_length(node) || !node_claimed_row(node, node_length(node) - 1, &k.row)) return PL_OK;
    if (mem_reserve(&g->keepers, &g->keeper_room, g->n_keepers + 1, sizeof *g->keepers))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a step");
    g->step.rows[k.row].hidden = true;
    node_retain(node);
    g->keepers[g->n_keepers++] = k;
    return PL_OK;
}

static pl_code gather(engine *g, job *j, size_t wish, pl_error *e) {
    job_wish w = j->kind->wish(j, wish);
    delivery d = {.j = j, .wish = wish, .node = w.node, .hidden = w.hidden};
    size_t settled, reached;
    pl_code rc;
    if ((rc = gather_known(g, j, wish, &w, &settled, e)) ||
        (rc = gather_pending(g, j, &w, &reached, e)))
        return rc;
    for (d.position = w.first + settled; d.position < w.first + w.count && d.position < reached;
         d.position++) {
        if (!node_claimed_row(w.node, d.position, &d.row))
            break; /* hidden by another claim; the next step has it */
        g->step.rows[d.row].hidden = true;
        if ((rc = add_delivery(g, d, e))) return rc;
    }
    if (w.count == 0 && reached == w.length && w.length == node_length(w.node))
        return keep_last(g, w.node, e);
    return PL_OK;
}

static void gather_wishes(engine *g, job *j, size_t room) {
    size_t n = j->kind->n_wishes(j);
    g->step.room = g->step.n_rows + room < g->step_rows ? g->step.n_rows + room : g->step_rows;
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

/* Takes part in this step. */
static bool takes_part(const job *j) {
    return j->status == JOB_RUNNING && (j->placed || !j->waits);
}

/* Gives generations their places; counts those that take part. */
static size_t admit(engine *g) {
    size_t n = 0, jobs = 0;
    for (job *j = g->jobs; j; j = j->next) n += j->placed;
    for (job *j = g->jobs; j; j = j->next) {
        if (j->status == JOB_RUNNING && j->waits && !j->placed && n < g->max_sequences)
            j->placed = true, n++;
        jobs += takes_part(j);
    }
    return jobs;
}

/* Rows that prompts may have of this step: alone, all; when somebody might wait for it, as many as
 * take STEP_SECONDS; beside sequences that are decoded, as many as take no longer than those do. */
static size_t prompt_rows(const engine *g, size_t n_decoded, bool hurry) {
    double seconds = STEP_SECONDS;
    if (!n_decoded && !hurry) return g->step_rows;
    if (g->row_seconds <= 0) return FIRST_ROWS;
    if (n_decoded)
        seconds = g->decode_seconds > PROMPT_SECONDS ? 0.8 * g->decode_seconds : PROMPT_SECONDS;
    double rows = seconds / g->row_seconds;
    return rows < 1 ? 1 : rows > (double)g->step_rows ? g->step_rows : (size_t)rows;
}

/* Decoded tokens first; then prompts, equally among those of one priority. */
static void gather_all(engine *g, bool hurry) {
    size_t jobs = admit(g), prompts = 0, left;
    for (job *j = g->jobs; j; j = j->next) {
        j->rows = 0;
        if (!takes_part(j)) continue;
        j->failed = PL_OK;
        for (size_t i = j->kind->n_wishes(j); i-- > 0;) node_adopt(j->kind->wish(j, i).node);
    }
    for (job *j = g->jobs; j; j = j->next) {
        if (!takes_part(j)) continue;
        j->prompts = !decodes(j);
        prompts += j->prompts;
        if (!j->prompts) gather_wishes(g, j, g->step_rows);
    }
    size_t decoded = g->step.n_rows, room = g->step_rows - decoded;
    left = prompts ? prompt_rows(g, decoded, hurry || jobs > 1) : 0;
    if (left > room) left = room;
    for (job *j = g->jobs; j && left; j = j->next) {
        if (!takes_part(j) || !j->prompts) continue;
        size_t equals = 0, before = g->step.n_rows;
        for (job *o = j; o && o->priority == j->priority; o = o->next)
            equals += takes_part(o) && o->prompts;
        gather_wishes(g, j, (left + equals - 1) / equals);
        size_t used = g->step.n_rows - before;
        left = used < left ? left - used : 0;
    }
    g->n_prompt = g->step.n_rows - decoded;
}

/* ---- computing: on any thread ---- */

static const float *state_of(const engine *g, const delivery *d) {
    return d->kept ? d->kept : forward_hidden(g->scratch) + g->place[d->row] * g->m->hp.n_embd;
}

/* Logits of the next deliveries, as many different rows as there is room for. Neighbours of the
 * same row share its logits. */
static void compute_logits(engine *g) {
    size_t E = g->m->hp.n_embd, n = 0;
    const float *last = NULL;
    for (g->begin = g->end; g->end < g->n_deliveries; g->end++) {
        const delivery *d = &g->deliveries[g->end];
        const float *h = state_of(g, d);
        if (d->hidden || h == last) continue;
        if (n == g->logit_rows) break;
        memcpy(g->hidden + n++ * E, h, E * sizeof *h);
        last = h;
    }
    if (n) forward_logits(g->m, g->scratch, g->hidden, n, g->logits);
}

static void compute(engine *g) {
    if (g->stage == STAGE_ROWS) {
        double start = system_seconds();
        g->rc = g->step.n_rows ? forward_run(g->m, g->scratch, &g->b, &g->error) : PL_OK;
        g->step_seconds = system_seconds() - start;
        if (g->rc) return;
    }
    compute_logits(g);
}

static void *computing_thread(void *arg) {
    engine *g = arg;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        while (!g->quit && g->flight != FLIGHT_ASKED) pthread_cond_wait(&g->changed, &g->lock);
        if (g->quit) break;
        pthread_mutex_unlock(&g->lock);
        compute(g);
        pthread_mutex_lock(&g->lock);
        g->flight = FLIGHT_OVER;
        pthread_cond_broadcast(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static pl_code start_thread(engine *g, pl_error *e) {
    if (g->started) return PL_OK;
    int error = system_thread(&g->thread, computing_thread, g);
    if (error) return pl_fail(e, PL_ERR_IO, "cannot start a thread: %s", strerror(error));
    g->started = true;
    return PL_OK;
}

static void launch(engine *g) {
    pthread_mutex_lock(&g->lock);
    g->flight = FLIGHT_ASKED;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static flight_state flight_of(engine *g) {
    pthread_mutex_lock(&g->lock);
    flight_state f = g->flight;
    pthread_mutex_unlock(&g->lock);
    return f;
}

/* What was asked for is computed, and is the owner's now. False: nothing was asked for. Called when
 * it does not compute. */
static bool land(engine *g) {
    pthread_mutex_lock(&g->lock);
    bool over = g->flight == FLIGHT_OVER;
    assert(g->flight != FLIGHT_ASKED);
    g->flight = FLIGHT_NONE;
    pthread_mutex_unlock(&g->lock);
    return over;
}

/* ---- the step ---- */

static void look_for_interrupts(engine *g) {
    unsigned n = atomic_load(&interrupts);
    if (n == g->interrupts) return;
    g->interrupts = n;
    atomic_store(&unnoticed, false);
    for (job *j = g->jobs; j; j = j->next)
        if (j->status != JOB_DONE && j->interrupts != n) j->kind->cancel(j);
}

static bool any_running(const engine *g) {
    for (const job *j = g->jobs; j; j = j->next)
        if (j->status == JOB_RUNNING) return true;
    return false;
}

static void let_go(engine *g) {
    for (size_t i = 0; i < g->n_deliveries; i++) node_release(g->deliveries[i].node);
    for (size_t i = 0; i < g->n_keepers; i++) node_release(g->keepers[i].node);
    g->n_deliveries = g->n_keepers = 0;
    g->stage = STAGE_NONE;
}

static bool starves(const job *j) {
    return takes_part(j) && j->failed == PL_ERR_POOL && j->rows == 0;
}

/* Ends the step: whoever could not go on is stuck. Those who lack memory of the pool wait while
 * others go on; when nobody does, the last of them is stuck, so that what it has may be given to
 * the others. */
static void end_step(engine *g) {
    let_go(g);
    job *victim = NULL;
    for (job *j = g->jobs; j && !g->progress; j = j->next)
        if (starves(j)) victim = j;
    for (job *j = g->jobs; j; j = j->next) {
        if (!takes_part(j) || (starves(j) && j != victim)) continue;
        if (j->failed && j->rows == 0) job_set_status(j, JOB_STUCK);
        else if (j->kind->done(j)) job_set_status(j, JOB_DONE);
    }
}

/* Everybody who took part has this trouble. */
static void fail_step(engine *g, pl_code rc, const pl_error *e) {
    gathering_abandon(&g->step);
    for (job *j = g->jobs; j; j = j->next) {
        if (!takes_part(j) || rc == PL_ERR_CANCELLED) continue;
        if (!j->failed) j->failed = rc, j->error = *e;
        j->rows = 0;
    }
    if (rc == PL_ERR_CANCELLED) let_go(g); /* nothing happened: the next step does it again */
    else end_step(g);
}

static pl_code reserve(engine *g, pl_error *e) {
    size_t hidden = 0, positions = 0, V = g->m->hp.n_vocab,
           wanted = g->n_deliveries < STEP_LOGITS ? g->n_deliveries : STEP_LOGITS;
    pl_code rc;
    for (size_t r = 0; r < g->step.n_rows; r++) {
        const batch_row *row = &g->step.rows[r];
        g->place[r] = hidden, hidden += row->hidden;
        if (row->position + 1 > positions) positions = (size_t)row->position + 1;
    }
    if (wanted > g->logit_rows) {
        float *logits = mem_aligned(wanted * V * sizeof *logits);
        if (!logits) return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu rows of logits", wanted);
        mem_free(g->logits);
        g->logits = logits;
        g->logit_rows = wanted;
    }
    if ((rc = forward_reserve(g->m, g->scratch, g->step.n_rows, positions, hidden, STEP_LOGITS, e)))
        return rc;
    if (g->step.n_rows && (rc = gathering_batch(&g->step, &g->b, e))) return rc;
    g->b.stop[0] = (batch_stop){&interrupts, g->interrupts};
    g->b.stop[1] = (batch_stop){&g->stop, atomic_load(&g->stop)};
    return PL_OK;
}

/* The next step, ready to be computed. False: no job is running. */
static bool begin_step(engine *g, bool hurry) {
    pl_error e;
    pl_code rc;
    assert(g->stage == STAGE_NONE);
    look_for_interrupts(g);
    if (!any_running(g)) return false;
    gather_all(g, hurry);
    g->stage = STAGE_ROWS;
    g->progress = false;
    g->begin = g->end = g->at = g->slot = 0;
    if ((rc = reserve(g, &e))) fail_step(g, rc, &e);
    return true;
}

static void note_seconds(engine *g) {
    double seconds = g->step_seconds, *mean = g->n_prompt ? &g->row_seconds : &g->decode_seconds;
    if (!g->step.n_rows) return;
    if (g->n_prompt) {
        if (g->n_prompt < g->step.n_rows) seconds -= g->decode_seconds;
        if (g->n_prompt < 4 || seconds <= 0) return; /* says little */
        seconds /= (double)g->n_prompt;
    }
    *mean = *mean > 0 ? 0.8 * *mean + 0.2 * seconds : seconds;
}

/* The rows are computed: they are processed now, and hidden states at the ends of nodes stay
 * there. */
static void commit(engine *g) {
    size_t E = g->m->hp.n_embd;
    const float *hidden = forward_hidden(g->scratch);
    if (g->step.n_rows) g->counts.steps++;
    for (size_t r = 0; r < g->step.n_rows; r++) {
        g->counts.tokens += g->step.rows[r].store;
        g->progress = g->progress || g->step.rows[r].store;
    }
    g->counts.rerun += g->step.n_again;
    note_seconds(g);
    gathering_commit(&g->step);
    for (size_t i = 0; i < g->n_deliveries; i++) {
        const delivery *d = &g->deliveries[i];
        if (!d->kept && d->position + 1 == node_length(d->node))
            node_set_hidden(d->node, hidden + g->place[d->row] * E);
    }
    for (size_t i = 0; i < g->n_keepers; i++)
        node_set_hidden(g->keepers[i].node, hidden + g->place[g->keepers[i].row] * E);
    g->stage = STAGE_LOGITS;
}

/* Hands out the next delivery. */
static void deliver_one(engine *g) {
    const delivery *d = &g->deliveries[g->at++];
    size_t V = g->m->hp.n_vocab, next = g->at;
    float *row = g->logits + g->slot * V;
    bool shared = false;
    job *j = d->j;
    if (d->hidden) {
        row = (float *)state_of(g, d);
    } else {
        while (next < g->end && g->deliveries[next].hidden) next++;
        shared = next < g->end && state_of(g, &g->deliveries[next]) == state_of(g, d);
        g->slot += !shared;
    }
    if (!j || j->failed || j->status != JOB_RUNNING) return;
    if (shared) row = memcpy(g->copy, row, V * sizeof *row);
    j->failed = j->kind->take(j, d->wish, d->position, row, &j->error);
    if (j->failed) j->rows = 0; /* it made no progress */
    else j->rows++, g->progress = true;
}

/* What has been computed is taken up, for so long. True: there are more logits to compute. */
static bool take_up(engine *g, double until) {
    if (g->stage == STAGE_ROWS) {
        g->counts.experts = forward_expert_counts(g->scratch);
        if (g->rc) {
            fail_step(g, g->rc, &g->error);
            return false;
        }
        commit(g);
        g->at = g->begin;
        g->slot = 0;
    }
    while (g->at < g->end) {
        deliver_one(g);
        if (system_seconds() >= until) break;
    }
    if (g->at < g->end) return false;
    g->slot = 0;
    if (g->at < g->n_deliveries) return true;
    end_step(g);
    return false;
}

#define EVER 1e300

bool engine_step(engine *g) {
    if (g->stage == STAGE_NONE && !begin_step(g, false)) return false;
    engine_wait(g, EVER);
    if (!land(g) && g->stage == STAGE_ROWS) compute(g);
    while (g->stage != STAGE_NONE && take_up(g, EVER)) compute(g);
    return true;
}

bool engine_poll(engine *g, double seconds) {
    double until = system_seconds() + seconds;
    pl_error e;
    do {
        if (flight_of(g) == FLIGHT_ASKED) break;
        bool fresh = !land(g) && g->stage == STAGE_ROWS;
        if (g->stage == STAGE_NONE) {
            if (!begin_step(g, true)) break;
            if (g->stage == STAGE_NONE) continue; /* it failed */
            fresh = true;
        }
        if (!fresh) {
            if (!take_up(g, until)) {
                if (g->stage == STAGE_NONE)
                    break; /* whoever paused can take part in the next one */
                continue;
            }
        }
        if (start_thread(g, &e)) fail_step(g, e.code, &e);
        else launch(g);
    } while (system_seconds() < until);
    return any_running(g);
}

bool engine_ready(engine *g) {
    return flight_of(g) != FLIGHT_ASKED && (g->stage != STAGE_NONE || any_running(g));
}

void engine_wait(engine *g, double seconds) {
    double until = system_seconds() + seconds;
    struct timespec t = {.tv_sec = seconds < 1e9 ? (time_t)until : 0};
    if (seconds < 1e9) t.tv_nsec = (long)((until - (double)t.tv_sec) * 1e9);
    pthread_mutex_lock(&g->lock);
    while (g->flight == FLIGHT_ASKED) {
        if (seconds >= 1e9) pthread_cond_wait(&g->changed, &g->lock);
        else if (pthread_cond_timedwait(&g->changed, &g->lock, &t)) break;
    }
    pthread_mutex_unlock(&g->lock);
}

pl_code job_run(job *j, pl_error *e) {
    job_retry(j);
    while (j->status == JOB_RUNNING) engine_step(j->g);
    return j->status == JOB_STUCK ? job_trouble(j, e) : PL_OK;
}
