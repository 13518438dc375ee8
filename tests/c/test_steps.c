/* test_steps.c: steps that compute while their owner goes on: whatever jobs and caches do
 * meanwhile, what comes out is what a fresh engine computes alone; who takes part in a step, what
 * cancelling leaves, what a full pool and an interrupt do.
 *
 * A step is kept under way by keeping the model's team busy (hold_begin): nothing here depends on
 * how fast a step is. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "decode/engine.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

#define V 320
#define EVER 1e300

static uint64_t seed = 11;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }
static void random_tokens(int32_t *out, size_t n) { tiny_tokens(&seed, out, n, V); }

/* ---- keeping a step under way ---- */

typedef struct {
    team *workers;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool begun, over;
} hold;

static void occupy(void *arg, team *t, size_t member) {
    hold *h = arg;
    (void)t;
    if (member) return;
    pthread_mutex_lock(&h->lock);
    h->begun = true;
    pthread_cond_broadcast(&h->changed);
    while (!h->over) pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void *holding_thread(void *arg) {
    hold *h = arg;
    team_run(h->workers, occupy, h);
    return NULL;
}

static void hold_begin(hold *h, engine *g) {
    *h = (hold){.workers = engine_model(g)->workers};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    assert_int_equal(pthread_create(&h->thread, NULL, holding_thread, h), 0);
    pthread_mutex_lock(&h->lock);
    while (!h->begun) pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void hold_end(hold *h) {
    pthread_mutex_lock(&h->lock);
    h->over = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
}

/* ---- engines, and what one computes alone ---- */

/* Another file each time, so another model, with a team of its own. */
static const char *small_model(uint32_t context, weight_type type) {
    tiny_shape shape = tiny_default();
    shape.context = context;
    shape.type = type;
    shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64;
    return tiny_model(&shape);
}

static engine *limited_engine(const char *path, size_t step_rows, size_t sequences) {
    engine_options o = {.model = {.path = path, .kv = KV_F16, .threads = 1},
                        .step_rows = step_rows,
                        .sequences = sequences};
    pl_error e;
    engine *g;
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    return g;
}

static generate_options options(cache_node *cache, const int32_t *input, size_t n_input,
                                size_t max_new) {
    return (generate_options){.cache = cache,
                              .input = input,
                              .n_input = n_input,
                              .max_new_tokens = max_new,
                              .sampler = sampler_defaults()};
}

static job *open_generation(engine *g, const generate_options *o) {
    job *j;
    pl_error e;
    if (job_generate(g, o, &j, &e)) fail_msg("%s", e.message);
    return j;
}

static job *open_evaluation(engine *g, job_want want, cache_node *n, size_t first, size_t count) {
    job *j;
    pl_error e;
    if (job_evaluate(g, want, &(job_part){n, first, count}, 1, &j, &e)) fail_msg("%s", e.message);
    return j;
}

/* A generation behind tokens[0..n): greedy, or with a seed. */
static job *open_behind(engine *g, const int32_t *tokens, size_t n, size_t max_new, uint64_t draw) {
    cache_node *empty = tiny_cache(g, NULL, 0);
    generate_options o = options(empty, tokens, n, max_new);
    if (draw) o.sampler.temperature = 1, o.sampler.seed = draw;
    job *j = open_generation(g, &o);
    node_release(empty);
    return j;
}

static size_t new_tokens(const job *j) { return job_result(j).n_tokens; }

/* The job is done, with what another engine picks alone. */
static void check_alone(engine *fresh, job *j, const int32_t *tokens, size_t n, size_t max_new,
                        uint64_t draw) {
    job *alone = open_behind(fresh, tokens, n, max_new, draw);
    pl_error e;
    assert_int_equal(job_run(alone, &e), PL_OK);
    assert_int_equal(job_state(j), JOB_DONE);
    assert_int_equal(new_tokens(j), new_tokens(alone));
    assert_int_equal(job_result(j).reason, job_result(alone).reason);
    if (new_tokens(j))
        assert_memory_equal(job_result(j).tokens, job_result(alone).tokens,
                            new_tokens(j) * sizeof(int32_t));
    job_close(alone);
}

static void from_scratch(engine *g, const int32_t *tokens, size_t n, size_t first, size_t count,
                         float *out) {
    cache_node *node = tiny_cache(g, tokens, n);
    job *j = open_evaluation(g, WANT_LOGITS, node, first, count);
    pl_error e;
    pl_code rc = job_run(j, &e);
    if (rc == PL_ERR_CANCELLED)
        rc = job_run(j, &e); /* an interrupt is for whoever notices it first */
    assert_int_equal(rc, PL_OK);
    memcpy(out, job_row(j, 0), count * V * sizeof *out);
    job_close(j);
    node_release(node);
}

static size_t used_blocks(engine *g) {
    return cache_store_pool(engine_store(g))->of[POOL_BLOCKS].n_used;
}

static void check_nothing_left(engine *g) {
    assert_int_equal(cache_store_nodes(engine_store(g)), 0);
    assert_int_equal(pool_used_bytes(cache_store_pool(engine_store(g))), 0);
}

/* How much of the job's cache is processed. */
static size_t processed(job *j) {
    cache_node *n;
    pl_error e;
    assert_int_equal(job_cache(j, &n, &e), PL_OK);
    size_t done = node_processed(n);
    node_release(n);
    return done;
}

/* ---- anything at any moment ---- */

#define CONTEXT 96
#define JOBS 6
#define CACHES 6
#define PARTS 2

typedef struct {
    job *j;
    job_part parts[PARTS];  /* an evaluation's, which this holds */
    size_t n_parts;         /* 0: a generation */
    sampler_options sampler;
    size_t picked_from;     /* its cache's tokens from here on were picked */
} open_job;

typedef struct {
    engine *g, *fresh;
    open_job jobs[JOBS];
    cache_node *caches[CACHES];
    size_t n_jobs, n_caches;
    hold h;
    bool held;
    size_t picks, evaluated, pool, memory, cancelled, interrupts, elsewhere,
        amid; /* changes while a step computes */
} world;

static void let_compute(world *w) {
    if (w->held) hold_end(&w->h);
    w->held = false;
}

static void check_generation(world *w, const open_job *o) {
    static float logits[CONTEXT * V];
    int32_t list[CONTEXT];
    cache_node *cache;
    sampler *s;
    pl_error e;
    assert_int_equal(job_cache(o->j, &cache, &e), PL_OK);
    size_t n = node_length(cache), n_new = new_tokens(o->j);
    node_tokens(cache, 0, n, list);
    assert_true(n_new <= n && n <= CONTEXT);
    if (n_new) assert_memory_equal(job_result(o->j).tokens, list + n - n_new, n_new * sizeof *list);
    if (n > o->picked_from) {
        from_scratch(w->fresh, list, n, o->picked_from - 1, n - o->picked_from, logits);
        assert_int_equal(sampler_new(&o->sampler, engine_model(w->g)->math, V, &s, &e), PL_OK);
        for (size_t i = o->picked_from; i < n; i++, w->picks++)
            assert_int_equal(sampler_pick(s, logits + (i - o->picked_from) * V, list, i, i),
                             list[i]);
        sampler_free(s);
    }
    if (w->n_caches < CACHES && below(2)) w->caches[w->n_caches++] = cache;
    else node_release(cache);
}

static void check_evaluation(world *w, const open_job *o) {
    static float want[CONTEXT * V];
    int32_t list[CONTEXT];
    for (size_t i = 0, row = 0; i < o->n_parts; row += o->parts[i++].count) {
        const job_part *p = &o->parts[i];
        size_t n = node_length(p->node);
        node_tokens(p->node, 0, n, list);
        from_scratch(w->fresh, list, n, p->first, p->count, want);
        assert_memory_equal(want, job_row(o->j, row), p->count * V * sizeof *want);
        w->evaluated += p->count;
    }
}

static void close_one(world *w, size_t i) {
    open_job *o = &w->jobs[i];
    mem_fail_at(0);
    if (!o->n_parts) check_generation(w, o);
    else if (job_state(o->j) == JOB_DONE) check_evaluation(w, o);
    job_close(o->j);
    for (size_t k = 0; k < o->n_parts; k++) node_release(o->parts[k].node);
    *o = w->jobs[--w->n_jobs];
}

static void open_parts(world *w, open_job *o) {
    pl_error e;
    for (; o->n_parts < PARTS; o->n_parts++) {
        cache_node *cache = w->caches[below(w->n_caches)];
        size_t n = node_length(cache), first = n ? below(n) : 0;
        if (!n) break;
        o->parts[o->n_parts] = (job_part){node_retain(cache), first, 1 + below(n - first)};
    }
    if (o->n_parts && !job_evaluate(w->g, WANT_LOGITS, o->parts, o->n_parts, &o->j, &e))
        w->n_jobs++;
    else while (o->n_parts > 0) node_release(o->parts[--o->n_parts].node);
}

static void open_one(world *w) {
    open_job *o = &w->jobs[w->n_jobs];
    cache_node *cache = w->caches[below(w->n_caches)];
    int32_t input[40];
    size_t n = node_length(cache), n_input = below(40);
    pl_error e;
    if (w->n_jobs == JOBS) return;
    *o = (open_job){.sampler = sampler_defaults()};
    if (below(4) == 0) {
        open_parts(w, o);
        return;
    }
    random_tokens(input, n_input);
    generate_options go = options(cache, input, n_input, below(20));
    go.pause = below(2), go.logprobs = below(2), go.priority = (int)below(2);
    if (below(2)) o->sampler.temperature = 0.9f, o->sampler.top_k = 30;
    if (below(3) == 0) o->sampler.frequency_penalty = 0.4f;
    o->sampler.seed = below(1000);
    go.sampler = o->sampler;
    o->picked_from = n + n_input;
    if (!job_generate(w->g, &go, &o->j, &e)) w->n_jobs++;
}

static void send_elsewhere(world *w) {
    open_job *o = &w->jobs[below(w->n_jobs)];
    cache_node *cache = w->caches[below(w->n_caches)];
    pl_error e;
    if (o->n_parts || node_length(cache) == 0) return;
    size_t before = new_tokens(o->j);
    if (job_resume_from(o->j, cache, &e)) {
        assert_int_equal(new_tokens(o->j), before);
        return;
    }
    o->picked_from = node_length(cache);
    w->elsewhere++;
}

static void change_job(world *w) {
    open_job *o = &w->jobs[below(w->n_jobs)];
    switch (below(7)) {
    case 0: job_stop(o->j); break;
    case 1: case 2: job_retry(o->j); break;
    case 3: job_set_priority(o->j, (int)below(3) - 1); break;
    case 4:
        if (!o->n_parts && below(3) == 0) job_finish(o->j, FINISH_CALLBACK);
        break;
    default:
        if (!o->n_parts) job_resume(o->j);
    }
}

static void change_caches(world *w) {
    cache_node *from = w->caches[below(w->n_caches)], *out;
    int32_t ids[20];
    size_t n = below(20);
    pl_error e;
    if (w->n_caches == CACHES || below(3) == 0) {
        size_t i = below(w->n_caches);
        if (w->n_caches == 1) return;
        node_release(w->caches[i]);
        w->caches[i] = w->caches[--w->n_caches];
        return;
    }
    random_tokens(ids, n);
    pl_code rc = below(2) ? node_extend(from, ids, n, &out, &e)
                          : node_truncate(from, below(node_length(from) + 1), &out, &e);
    if (!rc) w->caches[w->n_caches++] = out;
}

static void check_states(world *w) {
    for (size_t i = 0; i < w->n_jobs; i++) {
        const job *j = w->jobs[i].j;
        if (job_state(j) != JOB_STUCK) continue;
        pl_error e = {0};
        pl_code rc = job_trouble(j, &e);
        assert_true(rc == PL_ERR_POOL || rc == PL_ERR_MEMORY || rc == PL_ERR_CANCELLED);
        assert_int_equal(rc, e.code);
    }
}

static void note_trouble(world *w) {
    for (size_t i = 0; i < w->n_jobs; i++) {
        if (job_state(w->jobs[i].j) != JOB_STUCK) continue;
        pl_code rc = job_trouble(w->jobs[i].j, NULL);
        w->pool += rc == PL_ERR_POOL;
        w->memory += rc == PL_ERR_MEMORY;
        w->cancelled += rc == PL_ERR_CANCELLED;
    }
}

static void poll_some(world *w) {
    uint64_t steps = 0;
    for (size_t n = 1 + below(4); n-- > 0;) {
        assert_true(engine_stats(w->g).steps >= steps);
        steps = engine_stats(w->g).steps;
        if (!w->held && below(2)) engine_wait(w->g, EVER);
        engine_poll(w->g, below(3) ? 0 : 1e-5 * (double)below(20));
    }
    note_trouble(w);
}

static void run_one(world *w) {
    pl_error e;
    pl_code rc = job_run(w->jobs[below(w->n_jobs)].j, &e);
    assert_true(rc == PL_OK || rc == e.code);
    assert_true(rc == PL_OK || rc == PL_ERR_MEMORY || rc == PL_ERR_POOL || rc == PL_ERR_CANCELLED);
    note_trouble(w);
}

static void compute_some(world *w) {
    if (below(3) == 0) {
        let_compute(w);
        if (below(2)) engine_step(w->g);
        else run_one(w);
        return;
    }
    if (!w->held) hold_begin(&w->h, w->g);
    w->held = true;
    poll_some(w);
}

/* Left alone, every job comes to its end, pauses or is stuck. */
static void run_out(world *w) {
    size_t polls = 0;
    mem_fail_at(0);
    let_compute(w);
    while (engine_poll(w->g, 0)) {
        engine_wait(w->g, EVER);
        if (++polls > 20000) fail_msg("jobs do not come to an end");
    }
    for (size_t i = 0; i < w->n_jobs; i++)
        assert_int_not_equal(job_state(w->jobs[i].j), JOB_RUNNING);
}

static void do_something(world *w) {
    size_t what = below(24);
    bool computes = w->held && !engine_ready(w->g);
    if (what < 5) open_one(w);
    else if (what < 8) change_caches(w);
    else if (!w->n_jobs) return;
    else if (what < 14) poll_some(w), computes = false;
    else if (what < 16) compute_some(w), computes = false;
    else if (what < 18) change_job(w);
    else if (what < 20) send_elsewhere(w);
    else if (what < 21) w->interrupts += below(2) && engine_interrupt();
    else close_one(w, below(w->n_jobs));
    w->amid += computes;
}

static void new_engines(world *w, size_t round) {
    static const char *const hybrids[] = {NULL, NULL, "qwen35moe", "lfm2"};
    const char *hybrid = hybrids[round % 4];
    tiny_shape shape = hybrid ? tiny_hybrid(hybrid) : tiny_default();
    shape.context = CONTEXT;
    if (!hybrid) shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64;
    shape.type = round ? TYPE_F16 : TYPE_Q8_0;
    engine_close(w->g);
    engine_close(w->fresh);
    w->fresh = tiny_engine(tiny_model(&shape), 0, 1);
    w->g = tiny_engine_for(tiny_model(&shape), 5, 9, round == 1 ? 2 : 1);
}

TEST(whatever_happens_while_a_step_computes_every_token_is_what_it_is_alone) {
    enum { EACH = 300, ROUNDS = 4 * EACH };
    static world w;
    for (size_t round = 0; round < ROUNDS; round++) {
        if (round % EACH == 0) new_engines(&w, round / EACH);
        w.caches[0] = tiny_cache(w.g, NULL, 0);
        w.n_caches = 1;
        for (size_t i = 0; i < 100; i++) {
            if (round % 2) mem_fail_at((long)below(20));
            do_something(&w);
            mem_fail_at(0);
            check_states(&w);
        }
        if (round % 3 == 0) run_out(&w);
        if (below(2)) let_compute(&w);
        while (w.n_jobs > 0) close_one(&w, below(w.n_jobs));
        while (w.n_caches > 0) node_release(w.caches[--w.n_caches]);
        let_compute(&w);
        if ((round + 1) % EACH == 0) continue; /* closed as it is */
        while (engine_step(w.g)) {}
        check_nothing_left(w.g);
    }
    engine_close(w.g);
    engine_close(w.fresh);
    print_message("%zu tokens picked, %zu rows compared; %zu changes amid a step, %zu times "
                  "elsewhere, %zu interrupts; stuck: %zu "
                  "by the pool, %zu by memory, %zu cancelled\n",
                  w.picks, w.evaluated, w.amid, w.elsewhere, w.interrupts, w.pool, w.memory,
                  w.cancelled);
    assert_true(w.picks > 1000 && w.evaluated > 1000 && w.amid > 1000 && w.elsewhere > 300 &&
                w.interrupts > 100 && w.pool > 50 && w.memory > 50 && w.cancelled > 50);
}

/* ---- trouble ---- */

TEST(a_job_that_is_stuck_keeps_its_trouble_until_it_is_retried) {
    const char *path = small_model(512, TYPE_F16);
    engine *g = tiny_engine(path, 0, 1);
    int32_t list[40];
    pl_error e;
    hold h;
    random_tokens(list, 40);
    cache_node *n = tiny_cache(g, list, 40);
    job *other = open_behind(g, list + 1, 9, 8, 0), *j = open_evaluation(g, WANT_LOGITS, n, 39, 1);
    job_stop(j);
    assert_true(engine_step(g)); /* of the other */
    assert_int_equal(job_state(j), JOB_STUCK);
    assert_int_equal(job_trouble(j, &e), PL_ERR_CANCELLED);
    assert_int_equal(e.code, PL_ERR_CANCELLED);
    /* Retried while a step of others is under way, which says nothing about it. */
    hold_begin(&h, g);
    engine_poll(g, 0);
    job_retry(j);
    hold_end(&h);
    engine_step(g); /* the rest of it */
    assert_int_equal(job_state(j), JOB_RUNNING);
    assert_int_equal(job_run(j, &e), PL_OK);
    assert_int_equal(job_state(j), JOB_DONE);
    job_close(j);
    job_close(other);
    node_release(n);
    check_nothing_left(g);
    engine_close(g);
}

TEST(a_generation_that_starves_parks_while_others_go_on_and_then_is_stuck_with_what_it_has) {
    enum { FULL = 4 };
    const char *path = small_model(512, TYPE_F16);
    engine *g = tiny_engine_for(path, FULL, 0, 1),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (unsigned way = 0; way < 8; way++) {
        bool pauses = way & 1, polled = way & 2,
             freed = way & 4; /* freed: before the other is stuck */
        int32_t a[40], b[60];
        pl_error e;
        random_tokens(a, 40);
        random_tokens(b, 60);
        cache_node *empty = tiny_cache(g, NULL, 0);
        generate_options o = options(empty, a, 40, 20);
        o.pause = pauses;
        job *fed = open_generation(g, &o), *starved = open_behind(g, b, 60, 30, way);
        node_release(empty);
        while (job_state(fed) != JOB_DONE) {
            if (polled) {
                engine_wait(g, EVER);
                engine_poll(g, 0);
            } else {
                engine_step(g);
            }
            job_resume(fed);
            assert_int_equal(job_state(starved), JOB_RUNNING);
        }
        check_alone(fresh, fed, a, 40, 20, 0);
        assert_int_equal(used_blocks(g), FULL);
        assert_int_equal(new_tokens(starved), 5); /* the fifth has no slot */
        if (freed) {
            job_close(fed);
        } else {
            while (engine_poll(g, 0)) engine_wait(g, EVER);
            assert_int_equal(job_state(starved), JOB_STUCK);
            assert_int_equal(job_trouble(starved, &e), PL_ERR_POOL);
            assert_int_equal(new_tokens(starved), 5);
            assert_int_equal(job_run(starved, &e), PL_ERR_POOL);
            job_close(fed);
            assert_false(engine_step(g)); /* it has to be retried */
            job_retry(starved);
        }
        while (engine_poll(g, 0)) engine_wait(g, EVER);
        assert_int_equal(job_state(starved), JOB_DONE);
        check_alone(fresh, starved, b, 60, 30, way);
        job_close(starved);
        check_nothing_left(g);
    }
    engine_close(g);
    engine_close(fresh);
}

TEST(when_all_starve_only_the_last_is_stuck_and_what_it_had_lets_the_others_end) {
    enum { N = 3, FULL = 2 * N, PROMPT = 60, NEW = 20 };
    engine *g = tiny_engine_for(small_model(512, TYPE_F16), FULL, 0, 1),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (size_t last = 0; last < N; last++) { /* by priority, or by age */
        int32_t list[N][PROMPT];
        job *j[N];
        for (size_t i = 0; i < N; i++) {
            random_tokens(list[i], PROMPT);
            j[i] = open_behind(g, list[i], PROMPT, NEW, i);
            job_set_priority(j[i], i == last ? -1 : 0);
        }
        for (size_t n = 0; job_state(j[last]) == JOB_RUNNING; n++) {
            assert_true(n < 100);
            engine_step(g);
        }
        assert_int_equal(job_state(j[last]), JOB_STUCK);
        assert_int_equal(job_trouble(j[last], NULL), PL_ERR_POOL);
        assert_int_equal(new_tokens(j[last]), 2 * 32 - PROMPT + 1); /* the last has no slot */
        for (size_t i = 0; i < N; i++)
            assert_int_equal(job_state(j[i]), i == last ? JOB_STUCK : JOB_RUNNING);
        job_close(j[last]);
        while (engine_step(g)) {}
        for (size_t i = 0; i < N; i++) {
            if (i == last) continue;
            check_alone(fresh, j[i], list[i], PROMPT, NEW, i);
            job_close(j[i]);
        }
        check_nothing_left(g);
    }
    engine_close(g);
    engine_close(fresh);
}

/* ---- who takes part ---- */

#define DECODERS 4

TEST(every_step_decodes_every_sequence_beside_a_long_prompt) {
    enum { ROWS = 24, LONG = 400, MOST = 440 };
    const char *path = small_model(512, TYPE_Q8_0);
    engine *g = limited_engine(path, ROWS, 0),
           *fresh = tiny_engine(small_model(512, TYPE_Q8_0), 0, 1);
    int32_t prompt[DECODERS][9], list[LONG];
    job *j[DECODERS], *late;
    size_t had[DECODERS], steps = 0;
    for (size_t i = 0; i < DECODERS; i++) {
        random_tokens(prompt[i], 9);
        j[i] = open_behind(g, prompt[i], 9, MOST, i);
    }
    for (size_t i = 0; i < DECODERS; i++)
        while (new_tokens(j[i]) == 0) engine_step(g);
    random_tokens(list, LONG);
    late = open_behind(g, list, LONG, 20, 7);
    for (; new_tokens(late) < 5; steps++) {
        engine_counts before = engine_stats(g);
        for (size_t i = 0; i < DECODERS; i++) had[i] = new_tokens(j[i]);
        bool first = new_tokens(late) == 0;
        assert_true(engine_step(g));
        engine_counts after = engine_stats(g);
        for (size_t i = 0; i < DECODERS; i++) assert_int_equal(new_tokens(j[i]), had[i] + 1);
        assert_int_equal(after.steps, before.steps + 1);
        assert_in_range(after.tokens - before.tokens, DECODERS + 1, first ? ROWS : DECODERS + 1);
        assert_int_equal(after.rerun, before.rerun);
    }
    assert_true(steps >= LONG / (ROWS - DECODERS));
    while (engine_step(g)) {}
    check_alone(fresh, late, list, LONG, 20, 7);
    job_close(late);
    for (size_t i = 0; i < DECODERS; i++) {
        check_alone(fresh, j[i], prompt[i], 9, MOST, i);
        job_close(j[i]);
    }
    check_nothing_left(g);
    engine_close(g);
    engine_close(fresh);
}

TEST(prompts_of_one_priority_share_a_step_and_a_higher_priority_goes_first) {
    enum { ROWS = 16, N = 4, LONG = 150 };
    const char *path = small_model(512, TYPE_F16);
    for (size_t decoders = 0; decoders < 2; decoders++) {
        engine *g = limited_engine(path, ROWS, 0),
               *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
        int32_t list[N][LONG], one[2] = {5, 6};
        job *j[N], *decoder = decoders ? open_behind(g, one, 2, 400, 0) : NULL;
        for (size_t i = 0; i < N; i++) random_tokens(list[i], LONG);
        if (decoder) engine_step(g);
        for (size_t i = 0; i < 3; i++) j[i] = open_behind(g, list[i], LONG, 3, i);
        for (size_t k = 0; k < 6; k++) {
            engine_step(g);
            size_t least = LONG, most = 0;
            for (size_t i = 0; i < 3; i++) {
                size_t done = processed(j[i]);
                least = done < least ? done : least;
                most = done > most ? done : most;
            }
            /* a part each, rounded up, of as many rows as there are; unless those are fewer than
             * prompts */
            assert_true(most > k && most - least <= 2 * (k + 1));
        }
        /* The last becomes the first. */
        j[3] = open_behind(g, list[3], LONG, 3, 3);
        job_set_priority(j[3], 1);
        while (processed(j[3]) < LONG) {
            size_t before[3], own = processed(j[3]);
            for (size_t i = 0; i < 3; i++) before[i] = processed(j[i]);
            engine_step(g);
            assert_true(processed(j[3]) > own);
            if (processed(j[3]) == LONG) break; /* what it leaves of this step is for others */
            for (size_t i = 0; i < 3; i++) assert_int_equal(processed(j[i]), before[i]);
        }
        assert_true(processed(j[0]) < LONG);
        job_set_priority(j[3], -1);
        for (size_t i = 0; i < N; i++) {
            pl_error e;
            assert_int_equal(job_run(j[i], &e), PL_OK);
            check_alone(fresh, j[i], list[i], LONG, 3, i);
            job_close(j[i]);
        }
        job_close(decoder);
        check_nothing_left(g);
        engine_close(g);
        engine_close(fresh);
    }
}

TEST(no_more_generations_take_part_than_the_limit_and_the_others_follow_in_order) {
    enum {
        N = 9,
        LIMIT = 3,
        NEW = 5,
        FIRST = 7
    }; /* FIRST has the highest priority, then come the others in order */
    engine *g = limited_engine(small_model(512, TYPE_F16), 0, LIMIT),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    int32_t list[N][20];
    job *j[N];
    size_t begun = 0, order[N];
    for (size_t i = 0; i < N; i++) {
        random_tokens(list[i], 20);
        cache_node *empty = tiny_cache(g, NULL, 0);
        generate_options o = options(empty, list[i], 20, NEW);
        o.priority = i == FIRST;
        j[i] = open_generation(g, &o);
        node_release(empty);
    }
    for (bool running = true; running;) {
        size_t before[N], moved = 0, under_way = 0;
        for (size_t i = 0; i < N; i++) before[i] = processed(j[i]);
        running = engine_step(g);
        for (size_t i = 0; i < N; i++) {
            moved += processed(j[i]) > before[i];
            under_way += processed(j[i]) > 0 && job_state(j[i]) == JOB_RUNNING;
        }
        assert_true(moved <= LIMIT && under_way <= LIMIT);
        for (size_t k = 0; k < N; k++) {
            size_t i = k == 0 ? FIRST : k - (k <= FIRST); /* in the order that is wanted */
            if (before[i] == 0 && processed(j[i]) > 0) order[begun++] = i;
        }
    }
    assert_int_equal(begun, N);
    for (size_t k = 0; k < N; k++) assert_int_equal(order[k], k == 0 ? FIRST : k - (k <= FIRST));
    for (size_t i = 0; i < N; i++) {
        check_alone(fresh, j[i], list[i], 20, NEW, 0);
        job_close(j[i]);
    }
    check_nothing_left(g);
    engine_close(g);
    engine_close(fresh);
}

TEST(no_step_has_more_rows_than_the_limit_and_all_jobs_come_to_their_end) {
    enum { N = 12, MOST = 5, ROWS = 60, NEW = 6 };
    engine *g = limited_engine(small_model(512, TYPE_F16), MOST, 0),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    static float want[ROWS * V];
    int32_t list[N][ROWS];
    job *j[N], *all;
    for (size_t i = 0; i < N; i++) {
        random_tokens(list[i], ROWS);
        j[i] = open_behind(g, list[i], 1 + i, NEW, i);
    }
    cache_node *n = tiny_cache(g, list[0], ROWS);
    all = open_evaluation(g, WANT_LOGITS, n, 0, ROWS);
    for (;;) {
        engine_counts before = engine_stats(g), after;
        if (!engine_step(g)) break;
        after = engine_stats(g);
        assert_in_range(after.tokens - before.tokens + after.rerun - before.rerun, 1, MOST);
    }
    from_scratch(fresh, list[0], ROWS, 0, ROWS, want);
    assert_int_equal(job_state(all), JOB_DONE);
    assert_memory_equal(job_row(all, 0), want, sizeof want);
    job_close(all);
    node_release(n);
    for (size_t i = 0; i < N; i++) {
        check_alone(fresh, j[i], list[i], 1 + i, NEW, i);
        job_close(j[i]);
    }
    check_nothing_left(g);
    engine_close(g);
    engine_close(fresh);
}

/* ---- cancelling ---- */

TEST(a_job_that_is_closed_amid_a_step_leaves_no_block_and_the_others_tokens_as_they_are) {
    enum { N = 5, NEW = 12 };
    engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (size_t round = 0; round < 24; round++) {
        int32_t list[N][200];
        size_t n[N], which = round % N, after = round / N, others = 0;
        job *j[N];
        hold h;
        for (size_t i = 0; i < N; i++) {
            n[i] = i == which ? 1 + below(190) : 1 + below(18); /* with NEW in one block */
            random_tokens(list[i], n[i]);
            j[i] = open_behind(g, list[i], n[i], NEW, i);
        }
        for (size_t k = 0; k < after; k++) engine_step(g);
        hold_begin(&h, g);
        engine_poll(g, 0);
        assert_false(engine_ready(g));
        if (round % 2) job_finish(j[which], FINISH_CALLBACK);
        job_close(j[which]);
        hold_end(&h);
        engine_step(g); /* the rest of it */
        for (size_t i = 0; i < N; i++) others += i != which && processed(j[i]) > 0;
        assert_int_equal(used_blocks(g), others);
        while (engine_step(g)) {}
        for (size_t i = 0; i < N; i++) {
            if (i == which) continue;
            check_alone(fresh, j[i], list[i], n[i], NEW, i);
            job_close(j[i]);
        }
        check_nothing_left(g);
    }
    engine_close(g);
    engine_close(fresh);
}

TEST(a_prompt_that_is_cancelled_alone_abandons_its_step) {
    enum { LONG = 400, NEW = 4 };
    engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    int32_t list[LONG];
    pl_error e;
    hold h;
    random_tokens(list, LONG);
    for (int how = 0; how < 4; how++) {
        uint64_t before = engine_stats(g).tokens;
        job *j = open_behind(g, list, LONG, NEW, 0);
        hold_begin(&h, g);
        engine_poll(g, 0);
        assert_true(used_blocks(g) > 0);
        if (how == 0) job_stop(j);
        else if (how == 1) job_finish(j, FINISH_CANCELLED);
        else if (how == 2) assert_true(engine_interrupt());
        else job_close(j), j = NULL;
        hold_end(&h);
        engine_wait(g, EVER);
        assert_true(engine_ready(g));
        engine_poll(g, 0);
        assert_int_equal(engine_stats(g).tokens, before);
        if (how == 2) assert_false(engine_poll(g, 0)); /* notices what it was */
        assert_int_equal(used_blocks(g), 0);
        assert_false(engine_ready(g));
        if (how == 0) {
            assert_int_equal(job_state(j), JOB_STUCK);
            assert_int_equal(job_run(j, &e), PL_OK);
            check_alone(fresh, j, list, LONG, NEW, 0);
        } else if (j) {
            assert_int_equal(job_state(j), JOB_DONE);
            assert_int_equal(job_result(j).reason, FINISH_CANCELLED);
            assert_int_equal(new_tokens(j), 0);
        }
        job_close(j);
        check_nothing_left(g);
    }
    /* A step that computes something for somebody else goes on. */
    int32_t one = 5;
    uint64_t before = engine_stats(g).tokens;
    job *j = open_behind(g, list, LONG, NEW, 0), *other = open_behind(g, &one, 1, NEW, 0);
    hold_begin(&h, g);
    engine_poll(g, 0);
    job_close(j);
    hold_end(&h);
    engine_step(g); /* the rest of it */
    assert_true(engine_stats(g).tokens > before + 1);
    assert_int_equal(used_blocks(g), 1);
    assert_int_equal(new_tokens(other), 1);
    job_close(other);
    engine_close(g);
    engine_close(fresh);
}

static void *interrupting_thread(void *arg) {
    bool *noted = arg;
    *noted = engine_interrupt();
    return NULL;
}

static bool interrupt_elsewhere(void) {
    pthread_t thread;
    bool noted = false;
    assert_int_equal(pthread_create(&thread, NULL, interrupting_thread, &noted), 0);
    pthread_join(thread, NULL);
    return noted;
}

TEST(an_interrupt_reaches_what_computes_in_every_engine_and_no_job_that_is_opened_after_it) {
    enum { N = 2, LONG = 100, NEW = 6 };
    engine *g[N], *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    static float want[V];
    int32_t list[LONG];
    for (size_t i = 0; i < N; i++) g[i] = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (size_t round = 0; round < 6; round++) {
        job *before[N], *looks[N], *paused[N], *after[N];
        cache_node *n[N];
        hold h[N];
        pl_error e;
        random_tokens(list, LONG);
        assert_false(engine_interrupt()); /* no job is open */
        for (size_t i = 0; i < N; i++) {
            n[i] = tiny_cache(g[i], list, LONG);
            generate_options o = options(n[i], list, 9, NEW);
            o.pause = true;
            before[i] = open_behind(g[i], list + 1, 50, NEW, 0);
            paused[i] = open_generation(g[i], &o);
            for (size_t k = 0; k < round; k++) engine_step(g[i]);
            looks[i] = open_evaluation(g[i], WANT_LOGITS, n[i], LONG - 1, 1);
            hold_begin(&h[i], g[i]);
            engine_poll(g[i], 0);
        }
        assert_true(interrupt_elsewhere());
        assert_false(interrupt_elsewhere()); /* nobody has noticed it */
        for (size_t i = 0; i < N; i++) {
            after[i] = open_behind(g[i], list + 2, 40, NEW, round);
            hold_end(&h[i]);
            if (round % 2) while (engine_poll(g[i], 0)) engine_wait(g[i], EVER);
            else while (engine_step(g[i])) {}
            size_t had = new_tokens(before[i]);
            assert_int_equal(job_state(before[i]), JOB_DONE);
            assert_int_equal(job_result(before[i]).reason,
                             had == NEW ? FINISH_LENGTH : FINISH_CANCELLED);
            assert_int_equal(job_state(paused[i]), JOB_DONE);
            assert_int_equal(job_result(paused[i]).reason, FINISH_CANCELLED);
            assert_int_equal(job_state(after[i]), JOB_DONE);
            check_alone(fresh, after[i], list + 2, 40, NEW, round);
            assert_int_equal(job_state(looks[i]), JOB_STUCK);
            assert_int_equal(job_trouble(looks[i], &e), PL_ERR_CANCELLED);
            assert_int_equal(job_run(looks[i], &e), PL_OK);
            from_scratch(fresh, list, LONG, LONG - 1, 1, want);
            assert_memory_equal(job_row(looks[i], 0), want, sizeof want);
        }
        for (size_t i = 0; i < N; i++) {
            job_close(before[i]);
            job_close(looks[i]);
            job_close(paused[i]);
            job_close(after[i]);
            node_release(n[i]);
            check_nothing_left(g[i]);
        }
    }
    for (size_t i = 0; i < N; i++) engine_close(g[i]);
    engine_close(fresh);
}

/* ---- the end ---- */

TEST(an_engine_that_is_closed_amid_a_step_leaves_its_caches_and_nothing_else) {
    for (int how = 0; how < 12; how++) {
        engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1 + (uint32_t)(how & 1));
        int32_t list[300], found[300];
        hold h;
        random_tokens(list, 300);
        cache_node *n = tiny_cache(g, list, 300);
        job *j[2] = {open_evaluation(g, WANT_LOGITS, n, 100, 150), open_behind(g, list, 60, 5, 0)};
        for (int k = 0; k < how / 4; k++) {
            engine_wait(g, EVER);
            engine_poll(g, 0); /* in the midst of handing out, later */
        }
        if (how & 2) {
            hold_begin(&h, g);
            engine_poll(g, 0);
        } else {
            engine_poll(g, 0);
        }
        for (size_t i = 0; i < 2; i++) job_close(j[i]);
        if (how & 2) hold_end(&h);
        engine_close(g);
        assert_int_equal(node_length(n), 300);
        node_tokens(n, 0, 300, found);
        assert_memory_equal(found, list, sizeof list);
        node_release(n);
    }
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

TEST(an_idle_engine_uses_no_cpu) {
    engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 2);
    int32_t list[50];
    random_tokens(list, 50);
    job *done = open_behind(g, list, 50, 10, 0), *paused;
    cache_node *empty = tiny_cache(g, NULL, 0);
    generate_options o = options(empty, list, 20, 10);
    o.pause = true;
    paused = open_generation(g, &o);
    while (engine_poll(g, 0)) engine_wait(g, EVER);
    assert_int_equal(job_state(done), JOB_DONE);
    assert_int_equal(job_state(paused), JOB_WAITING);
    double before = cpu_seconds();
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    assert_true(cpu_seconds() - before < 0.05);
    job_close(done);
    job_close(paused);
    node_release(empty);
    engine_close(g);
}

/* ---- the same for several ---- */

TEST(the_same_tokens_behind_the_same_cache_are_computed_once_whoever_is_cancelled) {
    enum { BASE = 20, N = 150, NEW = 3, ASKERS = 3 };
    engine *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (size_t way = 0; way < 5;
         way++) { /* which of them is closed amid the first step, or none */
        for (size_t rows = 16; rows <= 512; rows *= 8) {
            engine *g = limited_engine(small_model(512, TYPE_F16), rows, 0);
            int32_t list[BASE + N];
            job *j[ASKERS];
            hold h;
            random_tokens(list, BASE + N);
            cache_node *base = tiny_cache(g, list, BASE);
            for (size_t i = 0; i < ASKERS; i++) {
                generate_options o = options(base, list + BASE, N, NEW);
                o.sampler.temperature = 1, o.sampler.seed = i + 1;
                j[i] = open_generation(g, &o);
            }
            hold_begin(&h, g);
            engine_poll(g, 0);
            if (way < ASKERS) {
                job_close(j[way]);
                j[way] = NULL;
            } else if (way == ASKERS) {
                job_stop(j[0]);
                job_retry(j[0]);
            }
            hold_end(&h);
            while (engine_step(g)) {}
            size_t left = 0;
            for (size_t i = 0; i < ASKERS; i++) {
                if (!j[i]) continue;
                left++;
                check_alone(fresh, j[i], list, BASE + N, NEW, i + 1);
                job_close(j[i]);
            }
            assert_int_equal(engine_stats(g).tokens, BASE + N + left * (NEW - 1));
            node_release(base);
            check_nothing_left(g);
            engine_close(g);
        }
    }
    engine_close(fresh);
}

TEST(one_cache_that_several_look_at_is_computed_once_whoever_is_cancelled) {
    enum { N = 120, LOOKERS = 3 };
    engine *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    static float want[N * V];
    for (size_t way = 0; way <= LOOKERS; way++) {
        engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1);
        int32_t list[N];
        job *j[LOOKERS];
        hold h;
        random_tokens(list, N);
        from_scratch(fresh, list, N, 0, N, want);
        cache_node *n = tiny_cache(g, list, N);
        for (size_t i = 0; i < LOOKERS; i++) j[i] = open_evaluation(g, WANT_LOGITS, n, 0, N);
        hold_begin(&h, g);
        engine_poll(g, 0);
        if (way < LOOKERS) job_close(j[way]), j[way] = NULL;
        hold_end(&h);
        while (engine_poll(g, 0)) engine_wait(g, EVER);
        for (size_t i = 0; i < LOOKERS; i++) {
            if (!j[i]) continue;
            assert_int_equal(job_state(j[i]), JOB_DONE);
            assert_memory_equal(job_row(j[i], 0), want, sizeof want);
            job_close(j[i]);
        }
        assert_int_equal(engine_stats(g).tokens, N);
        node_release(n);
        check_nothing_left(g);
        engine_close(g);
    }
    engine_close(fresh);
}

/* ---- attention over what sequences share ---- */

static const size_t fork_at[] = {1,   2,   16,  31,  32,  33,  48,  63,  64,  65,  95,  96, 97,
                                 127, 128, 129, 130, 159, 160, 161, 191, 192, 193, 199, 200};
#define FORKS (sizeof fork_at / sizeof *fork_at)
#define PREFIX 200
#define TURNS 3

/* Branches of one prefix, at each of these lengths two, all decoded in the same steps. */
static void check_forks(const char *path, const char *alone_path, kv_type kv, uint32_t threads) {
    enum { N = 2 * FORKS };
    static float want[V];
    engine_options o = {.model = {.path = path, .kv = kv, .threads = threads}};
    engine *g, *fresh;
    int32_t list[PREFIX], branch[N][PREFIX + TURNS];
    cache_node *n[N], *prefix, *next;
    job_part parts[N];
    pl_error e;
    if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
    o.model.path = alone_path, o.model.threads = 1;
    if (engine_open(&o, &fresh, &e)) fail_msg("%s", e.message);
    random_tokens(list, PREFIX);
    prefix = tiny_cache(g, list, PREFIX);
    job *j = open_evaluation(g, WANT_NOTHING, prefix, 0, 0);
    if (job_run(j, &e)) fail_msg("%s", e.message);
    job_close(j);
    for (size_t i = 0; i < N; i++) {
        memcpy(branch[i], list, sizeof list);
        assert_int_equal(node_truncate(prefix, fork_at[i / 2], &n[i], &e), PL_OK);
    }
    for (size_t turn = 0; turn < TURNS; turn++) {
        uint64_t tokens = engine_stats(g).tokens, steps = engine_stats(g).steps;
        for (size_t i = 0; i < N; i++) {
            size_t length = fork_at[i / 2] + turn;
            branch[i][length] = (int32_t)below(V);
            assert_int_equal(node_extend(n[i], &branch[i][length], 1, &next, &e), PL_OK);
            node_release(n[i]);
            n[i] = next;
            parts[i] = (job_part){n[i], length, 1};
        }
        if (job_evaluate(g, WANT_LOGITS, parts, N, &j, &e) || job_run(j, &e))
            fail_msg("%s", e.message);
        assert_int_equal(engine_stats(g).tokens - tokens, N);
        /* One more for branches that copy a block or a state. */
        assert_in_range(engine_stats(g).steps - steps, 1,
                        engine_model(g)->state_bytes && !turn ? FORKS : 2);
        for (size_t i = 0; i < N; i++) {
            from_scratch(fresh, branch[i], fork_at[i / 2] + turn + 1, fork_at[i / 2] + turn, 1,
                         want);
            if (memcmp(job_row(j, i), want, sizeof want))
                fail_msg("%s: a branch at %zu differs at turn %zu", kv_type_name(kv),
                         fork_at[i / 2], turn);
        }
        job_close(j);
    }
    for (size_t i = 0; i < N; i++) node_release(n[i]);
    node_release(prefix);
    check_nothing_left(g);
    engine_close(g);
    engine_close(fresh);
}

static const tiny_key wide_window[] = {{"attention.sliding_window", 'u', 40, NULL}, {0}};

TEST(sequences_that_share_a_prefix_are_decoded_together_as_each_is_alone) {
    static const struct {
        const char *hybrid, *arch;
        unsigned parts;
        uint32_t n_layer, n_head, n_head_kv;
    } models[] = {
        {NULL, NULL, 0, 2, 4, 2},
        {NULL, NULL, 0, 2, 4, 4},
        {NULL, NULL, 0, 1, 16, 1},
        {NULL, "gemma2", TINY_POST_NORMS, 2, 4, 2},
        {"gpt-oss", NULL, 0, 0, 0, 0},
        {"gemma4", NULL, 0, 0, 0, 0},
        {"qwen35", NULL, 0, 0, 0, 0},
        {"lfm2", NULL, 0, 0, 0, 0},
        {"granitehybrid", NULL, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        tiny_shape shape = models[i].hybrid ? tiny_hybrid(models[i].hybrid) : tiny_default();
        shape.context = PREFIX + TURNS;
        if (!models[i].hybrid) {
            shape.arch = models[i].arch, shape.parts = models[i].parts,
            shape.n_layer = models[i].n_layer;
            shape.n_head = models[i].n_head, shape.n_head_kv = models[i].n_head_kv;
            if (shape.arch) shape.keys = wide_window;
        }
        shape.type = TYPE_Q8_0;
        const char *path = tiny_model(&shape), *alone = tiny_model(&shape);
        if (models[i].hybrid)
            check_forks(path, alone, (kv_type)(i % KV_TYPES), 1 + (uint32_t)(i % 2));
        else
            for (int kv = 0; kv < KV_TYPES; kv++)
                check_forks(path, alone, (kv_type)kv, 1 + (uint32_t)(kv % 2));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define STEP_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        STEP_TEST(whatever_happens_while_a_step_computes_every_token_is_what_it_is_alone),
        STEP_TEST(a_job_that_is_stuck_keeps_its_trouble_until_it_is_retried),
        STEP_TEST(when_all_starve_only_the_last_is_stuck_and_what_it_had_lets_the_others_end),
        STEP_TEST(
            a_generation_that_starves_parks_while_others_go_on_and_then_is_stuck_with_what_it_has),
        STEP_TEST(every_step_decodes_every_sequence_beside_a_long_prompt),
        STEP_TEST(prompts_of_one_priority_share_a_step_and_a_higher_priority_goes_first),
        STEP_TEST(no_more_generations_take_part_than_the_limit_and_the_others_follow_in_order),
        STEP_TEST(no_step_has_more_rows_than_the_limit_and_all_jobs_come_to_their_end),
        STEP_TEST(
            a_job_that_is_closed_amid_a_step_leaves_no_block_and_the_others_tokens_as_they_are),
        STEP_TEST(a_prompt_that_is_cancelled_alone_abandons_its_step),
        STEP_TEST(
            an_interrupt_reaches_what_computes_in_every_engine_and_no_job_that_is_opened_after_it),
        STEP_TEST(an_engine_that_is_closed_amid_a_step_leaves_its_caches_and_nothing_else),
        STEP_TEST(an_idle_engine_uses_no_cpu),
        STEP_TEST(the_same_tokens_behind_the_same_cache_are_computed_once_whoever_is_cancelled),
        STEP_TEST(one_cache_that_several_look_at_is_computed_once_whoever_is_cancelled),
        STEP_TEST(sequences_that_share_a_prefix_are_decoded_together_as_each_is_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
