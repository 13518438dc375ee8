/* test_jobs.c: many jobs of one engine at once, opened, run, paused, sent elsewhere, ended and
 * interrupted in any order, with a pool that fills up and allocations that fail: what each
 * generation picked is what a sampler picks from logits that a fresh cache computes, whoever ran
 * beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "decode/engine.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

#define V 320
#define CONTEXT 96
#define JOBS 6
#define CACHES 6

static uint64_t seed = 6;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }

typedef struct {
    job *j;
    job_part part;          /* an evaluation's; node NULL: a generation */
    sampler_options sampler;
    size_t picked_from;     /* its cache's tokens from here on were picked */
} open_job;

typedef struct {
    engine *g, *fresh;
    open_job jobs[JOBS];
    cache_node *caches[CACHES];
    size_t n_jobs, n_caches;
    size_t picks, evaluated, pool, memory, interrupts, elsewhere;
} world;

static void from_scratch(engine *g, const int32_t *tokens, size_t n, size_t first, size_t count,
                         float *out) {
    cache_node *node = tiny_cache(g, tokens, n);
    pl_error e;
    job *j;
    assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){node, first, count}, 1, &j, &e),
                     PL_OK);
    pl_code rc = job_run(j, &e);
    if (rc == PL_ERR_CANCELLED)
        rc = job_run(j, &e); /* an interrupt is for whoever notices it first */
    assert_int_equal(rc, PL_OK);
    memcpy(out, job_row(j, 0), count * V * sizeof *out);
    job_close(j);
    node_release(node);
}

static void check_generation(world *w, const open_job *o) {
    static float logits[CONTEXT * V];
    int32_t list[CONTEXT];
    cache_node *cache;
    sampler *s;
    pl_error e;
    assert_int_equal(job_cache(o->j, &cache, &e), PL_OK);
    size_t n = node_length(cache), n_new = job_result(o->j).n_tokens;
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
    size_t n = node_length(o->part.node);
    node_tokens(o->part.node, 0, n, list);
    from_scratch(w->fresh, list, n, o->part.first, o->part.count, want);
    assert_memory_equal(want, job_row(o->j, 0), o->part.count * V * sizeof *want);
    w->evaluated += o->part.count;
}

static void close_job(world *w, size_t i) {
    open_job *o = &w->jobs[i];
    if (!o->part.node) check_generation(w, o);
    else if (job_state(o->j) == JOB_DONE) check_evaluation(w, o);
    job_close(o->j);
    *o = w->jobs[--w->n_jobs];
}

static void open_one(world *w) {
    open_job *o = &w->jobs[w->n_jobs];
    cache_node *cache = w->caches[below(w->n_caches)];
    int32_t input[40];
    size_t n = node_length(cache), n_input = below(40);
    pl_error e;
    if (w->n_jobs == JOBS) return;
    *o = (open_job){.sampler = sampler_defaults()};
    if (n && below(3) == 0) {
        o->part = (job_part){.node = cache, .first = below(n)};
        o->part.count = 1 + below(n - o->part.first);
        if (job_evaluate(w->g, WANT_LOGITS, &o->part, 1, &o->j, &e)) return;
        w->n_jobs++;
        return;
    }
    tiny_tokens(&seed, input, n_input, V);
    generate_options go = {.cache = cache,
                           .input = input,
                           .n_input = n_input,
                           .max_new_tokens = below(20),
                           .pause = below(2),
                           .logprobs = below(2)};
    if (below(2)) o->sampler.temperature = 0.9f, o->sampler.top_k = 30;
    if (below(3) == 0) o->sampler.frequency_penalty = 0.4f;
    o->sampler.seed = below(1000);
    go.sampler = o->sampler;
    o->picked_from = n + n_input;
    if (!job_generate(w->g, &go, &o->j, &e)) w->n_jobs++;
}

static void run_one(world *w) {
    open_job *o = &w->jobs[below(w->n_jobs)];
    pl_error e;
    pl_code rc = job_run(o->j, &e);
    mem_fail_at(0);
    if (rc == PL_ERR_MEMORY) w->memory++;
    else if (rc == PL_ERR_POOL) w->pool++;
    else if (rc) assert_int_equal(rc, PL_ERR_CANCELLED);
    if (job_state(o->j) == JOB_WAITING && below(4)) job_resume(o->j);
}

static void send_elsewhere(world *w) {
    open_job *o = &w->jobs[below(w->n_jobs)];
    cache_node *cache = w->caches[below(w->n_caches)];
    pl_error e;
    if (o->part.node || job_state(o->j) == JOB_RUNNING || node_length(cache) == 0) return;
    if (job_resume_from(o->j, cache, &e)) return;
    o->picked_from = node_length(cache);
    w->elsewhere++;
}

static void change_caches(world *w) {
    cache_node *from = w->caches[below(w->n_caches)], *out;
    int32_t ids[20];
    size_t n = below(20);
    pl_error e;
    if (w->n_caches == CACHES || below(3) == 0) {
        size_t i = below(w->n_caches);
        for (size_t k = 0; k < w->n_jobs; k++)
            if (w->jobs[k].part.node == w->caches[i]) return; /* it is compared later */
        if (w->n_caches == 1) return;
        node_release(w->caches[i]);
        w->caches[i] = w->caches[--w->n_caches];
        return;
    }
    tiny_tokens(&seed, ids, n, V);
    pl_code rc = below(2) ? node_extend(from, ids, n, &out, &e)
                          : node_truncate(from, below(node_length(from) + 1), &out, &e);
    if (!rc) w->caches[w->n_caches++] = out;
}

TEST(jobs_that_are_open_together_never_disturb_one_another) {
    static world w;
    static const char *const hybrids[] = {NULL, NULL, "qwen35moe", "lfm2"};
    for (size_t round = 0; round < 1200; round++) {
        if (round % 300 == 0) {
            const char *hybrid = hybrids[round / 300];
            tiny_shape shape = hybrid ? tiny_hybrid(hybrid) : tiny_default();
            shape.context = CONTEXT;
            if (!hybrid) shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64;
            shape.type = round ? TYPE_F16 : TYPE_Q8_0;
            const char *path = tiny_model(&shape);
            engine_close(w.g);
            engine_close(w.fresh);
            w.fresh = tiny_engine(path, 0, 1);
            w.g = tiny_engine_for(path, 5, 9, 1);
        }
        w.caches[0] = tiny_cache(w.g, NULL, 0);
        w.n_caches = 1;
        for (size_t step = 0; step < 60; step++) {
            size_t what = below(20);
            if (round % 2) mem_fail_at((long)below(20));
            if (what < 5) open_one(&w);
            else if (what < 8) change_caches(&w);
            else if (!w.n_jobs) {}
            else if (what < 16) run_one(&w);
            else if (what < 17) send_elsewhere(&w);
            else if (what < 18) w.interrupts += engine_interrupt();
            else {
                mem_fail_at(0);
                close_job(&w, below(w.n_jobs));
            }
            mem_fail_at(0);
        }
        mem_fail_at(0);
        while (w.n_jobs > 0) close_job(&w, below(w.n_jobs));
        while (w.n_caches > 0) node_release(w.caches[--w.n_caches]);
        assert_int_equal(cache_store_nodes(engine_store(w.g)), 0);
        assert_int_equal(pool_used_bytes(cache_store_pool(engine_store(w.g))), 0);
    }
    engine_close(w.g);
    engine_close(w.fresh);
    print_message("%zu tokens picked, %zu rows compared; %zu times elsewhere, %zu interrupts; "
                  "refused: %zu by the pool, %zu by "
                  "memory\n",
                  w.picks, w.evaluated, w.elsewhere, w.interrupts, w.pool, w.memory);
    assert_true(w.picks > 5000 && w.evaluated > 5000 && w.elsewhere > 300 && w.interrupts > 300 &&
                w.pool > 100 && w.memory > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(jobs_that_are_open_together_never_disturb_one_another,
                                        note_live, check_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
