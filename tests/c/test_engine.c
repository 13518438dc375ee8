/* test_engine.c: the engine on tiny random models: generations and evaluations against logits that
 * a fresh cache computes from scratch, and against plain lists of tokens. Everything is compared
 * bit for bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/store.h"
#include "decode/engine.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

static uint64_t seed = 4;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }

/* ---- a small engine, and what a fresh cache says ---- */

#define V 320
#define CONTEXT 512 /* room for tokens in these tests' lists */

static const char *small_model(uint32_t context, weight_type type) {
    tiny_shape shape = tiny_default();
    shape.context = context;
    shape.type = type;
    shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64;
    return tiny_model(&shape);
}

/* Logits after positions [first, first + count) of a node, into out. */
static pl_code evaluate(engine *g, cache_node *n, size_t first, size_t count, float *out,
                        pl_error *e) {
    job *j;
    pl_code rc = job_evaluate(g, WANT_LOGITS, &(job_part){n, first, count}, 1, &j, e);
    if (rc) return rc;
    rc = job_run(j, e);
    if (!rc) memcpy(out, job_row(j, 0), count * V * sizeof *out);
    job_close(j);
    return rc;
}

/* The same of a list of tokens, all at once, in a cache that is made for it and goes. */
static void from_scratch(engine *g, const int32_t *tokens, size_t n, size_t first, size_t count,
                         float *out) {
    cache_node *node = tiny_cache(g, tokens, n);
    pl_error e;
    if (evaluate(g, node, first, count, out, &e)) fail_msg("%s", e.message);
    node_release(node);
}

static void random_tokens(int32_t *out, size_t n) { tiny_tokens(&seed, out, n, V); }

static generate_options options(cache_node *cache, const int32_t *input, size_t n_input,
                                size_t max_new) {
    return (generate_options){.cache = cache,
                              .input = input,
                              .n_input = n_input,
                              .max_new_tokens = max_new,
                              .sampler = sampler_defaults()};
}

/* Runs a generation to its end: the new tokens into out, the cache handed out. */
static size_t generate(engine *g, const generate_options *o, int32_t *out, cache_node **cache) {
    job *j;
    pl_error e;
    if (job_generate(g, o, &j, &e) || job_run(j, &e)) fail_msg("%s", e.message);
    assert_int_equal(job_state(j), JOB_DONE);
    generate_result r = job_result(j);
    if (r.n_tokens) memcpy(out, r.tokens, r.n_tokens * sizeof *out);
    assert_int_equal(job_cache(j, cache, &e), PL_OK);
    size_t n = r.n_tokens;
    job_close(j);
    return n;
}

static void check_tokens(cache_node *n, const int32_t *tokens, size_t count) {
    int32_t found[CONTEXT];
    assert_int_equal(node_length(n), count);
    node_tokens(n, 0, count, found);
    assert_memory_equal(found, tokens, count * sizeof *tokens);
}

/* ---- promise 1 ---- */

TEST(a_generation_returns_what_it_put_behind_the_input) {
    engine *g = tiny_engine(small_model(64, TYPE_F32), 0, 1);
    int32_t list[128], out[64];
    cache_node *empty = tiny_cache(g, NULL, 0), *prompt, *next;
    generate_options o;
    random_tokens(list, 128);
    prompt = tiny_cache(g, list, 5);
    for (size_t n_input = 0; n_input < 4; n_input++)
        for (size_t max_new = 0; max_new < 4; max_new++) {
            o = options(prompt, list + 5, n_input, max_new);
            assert_int_equal(generate(g, &o, out, &next), max_new);
            memcpy(list + 64, list, (5 + n_input) * sizeof *list);
            memcpy(list + 64 + 5 + n_input, out, max_new * sizeof *out);
            check_tokens(next, list + 64, 5 + n_input + max_new);
            check_tokens(prompt, list, 5);
            assert_true(node_processed(next) >=
                        5 + n_input + max_new - (max_new > 0)); /* max_new 0 processes the input */
            node_release(next);
        }
    o = options(empty, NULL, 0, 0); /* nothing of nothing */
    assert_int_equal(generate(g, &o, out, &next), 0);
    assert_int_equal(node_length(next), 0);
    node_release(next);
    node_release(prompt);
    node_release(empty);
    engine_close(g);
}

static void check_refused(engine *g, const generate_options *o, pl_code code, const char *what) {
    job *j = NULL;
    pl_error e;
    assert_int_equal(job_generate(g, o, &j, &e), code);
    assert_null(j);
    if (!strstr(e.message, what)) fail_msg("'%s' does not say '%s'", e.message, what);
}

TEST(what_promise_1_calls_an_error_is_one) {
    engine *g = tiny_engine(small_model(64, TYPE_F32), 0, 1);
    int32_t list[128], out[128];
    cache_node *empty = tiny_cache(g, NULL, 0), *full, *next;
    random_tokens(list, 128);
    generate_options o = options(empty, NULL, 0, 1);
    check_refused(g, &o, PL_ERR_ARGUMENT, "nothing to continue from");
    o = options(empty, list, 3, GENERATE_UNLIMITED);
    check_refused(g, &o, PL_ERR_ARGUMENT, "a stop condition");
    o = options(empty, list, 65, 1);
    check_refused(g, &o, PL_ERR_CONTEXT, "the context of 64 tokens");
    o = options(empty, list, 64, 0);
    assert_int_equal(generate(g, &o, out, &full), 0);
    assert_int_equal(node_processed(full), 64);
    o = options(full, list, 1, 0);
    check_refused(g, &o, PL_ERR_CONTEXT, "the context of 64 tokens");
    o = options(full, NULL, 0, 5); /* full already */
    job *j;
    pl_error e;
    assert_int_equal(job_generate(g, &o, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    assert_int_equal(job_result(j).reason, FINISH_CONTEXT);
    assert_int_equal(job_result(j).n_tokens, 0);
    job_close(j);
    o = options(empty, list, 60, GENERATE_UNLIMITED);
    o.stop_at_eog = true;
    assert_int_equal(job_generate(g, &o, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    if (job_result(j).reason == FINISH_CONTEXT) assert_int_equal(job_result(j).n_tokens, 4);
    else assert_int_equal(job_result(j).reason, FINISH_EOG);
    assert_int_equal(job_cache(j, &next, &e), PL_OK);
    assert_int_equal(node_length(next), 60 + job_result(j).n_tokens);
    job_close(j);
    node_release(next);
    node_release(full);
    node_release(empty);
    engine_close(g);
}

/* ---- promise 4 ---- */

static sampler_options random_sampler(void) {
    sampler_options s = sampler_defaults();
    s.temperature = below(2) ? 0 : 0.5f + (float)below(10) / 8;
    s.top_k = below(2) ? 0 : (uint32_t)below(40);
    s.top_p = below(2) ? 1 : 0.9f;
    s.min_p = below(2) ? 0 : 0.05f;
    s.repetition_penalty = below(3) ? 1 : 1.3f;
    s.frequency_penalty = below(3) ? 0 : 0.3f;
    s.penalty_last_n = below(2) ? SIZE_MAX : below(20);
    s.seed = tiny_random(&seed);
    return s;
}

/* list[n_before..n) is what the sampler picks from logits that were computed from scratch. */
static void check_picks(engine *fresh, const int32_t *list, size_t n_before, size_t n,
                        const sampler_options *o) {
    sampler *s;
    pl_error e;
    float *logits = malloc((n - n_before) * V * sizeof *logits);
    from_scratch(fresh, list, n, n_before - 1, n - n_before, logits);
    assert_int_equal(sampler_new(o, engine_model(fresh)->math, V, &s, &e), PL_OK);
    for (size_t i = n_before; i < n; i++)
        assert_int_equal(sampler_pick(s, logits + (i - n_before) * V, list, i, i), list[i]);
    sampler_free(s);
    free(logits);
}

TEST(one_call_of_ten_is_ten_calls_of_one_is_two_of_five) {
    static const size_t ways[][10] = {{10}, {5, 5}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {3, 7}};
    for (size_t round = 0; round < 60; round++) {
        static engine *g[2];
        int32_t list[CONTEXT], whole[10], out[10];
        size_t n = 1 + below(70);
        if (round % 20 == 0)
            for (size_t i = 0; i < 2; i++) {
                if (round) engine_close(g[i]);
                g[i] = tiny_engine(small_model(512, round < 20   ? TYPE_F32
                                                    : round < 40 ? TYPE_Q8_0
                                                                 : TYPE_Q4_0),
                                   0, 1);
            }
        random_tokens(list, n);
        sampler_options s = random_sampler();
        for (size_t w = 0; w < 4; w++) {
            cache_node *cache = tiny_cache(g[0], NULL, 0), *next;
            size_t done = 0;
            for (size_t k = 0; k < 10 && ways[w][k]; k++) {
                generate_options o = options(cache, list, k ? 0 : n, ways[w][k]);
                o.sampler = s;
                done += generate(g[0], &o, out + done, &next);
                node_release(cache);
                cache = next;
            }
            assert_int_equal(done, 10);
            if (w == 0) memcpy(whole, out, sizeof out);
            assert_memory_equal(whole, out, sizeof out);
            memcpy(list + n, out, sizeof out);
            check_tokens(cache, list, n + 10);
            node_release(cache);
        }
        check_picks(g[1], list, n, n + 10, &s);
        if (round == 59) engine_close(g[0]), engine_close(g[1]);
    }
}

/* ---- the property test ---- */

#define SMALL_CONTEXT 96
#define HANDLES 12

typedef struct {
    cache_node *node;
    size_t n;
    int32_t tokens[SMALL_CONTEXT];
    uint32_t births[SMALL_CONTEXT];
} value;

typedef struct {
    engine *g, *fresh;
    value v[HANDLES];
    size_t n;
    uint32_t born;
    uint8_t processed[1 << 16];
    uint64_t tokens;    /* processed so far, by the engine's count */
    size_t generated, pool_errors, context_errors, memory_errors, compared;
} world;

/* A call that one failed allocation may hit; then it works when it is made again. */
static bool hit(world *w, pl_code rc) {
    mem_fail_at(0);
    w->memory_errors += rc == PL_ERR_MEMORY;
    return rc == PL_ERR_MEMORY;
}

static void drop(world *w, size_t i) {
    node_release(w->v[i].node);
    w->v[i] = w->v[--w->n];
}

static void add_value(world *w, const value *from, size_t keep, const int32_t *more, size_t n_more,
                      cache_node *node) {
    value *to = &w->v[w->n++];
    if (to != from) memcpy(to, from, sizeof *to);
    to->node = node;
    to->n = keep;
    for (size_t i = 0; i < n_more; i++) {
        assert_true(to->n < SMALL_CONTEXT && w->born < sizeof w->processed);
        to->tokens[to->n] = more[i];
        to->births[to->n++] = w->born++;
    }
}

static const char *hybrid_model(const char *name, weight_type type) {
    tiny_shape shape = tiny_hybrid(name);
    shape.context = SMALL_CONTEXT;
    shape.type = type;
    return tiny_model(&shape);
}

/* The engine has processed exactly the tokens that became processed for some cache, each once. */
static void check_count(world *w) {
    uint64_t now = engine_stats(w->g).tokens, marked = 0;
    for (size_t i = 0; i < w->n; i++) {
        const value *v = &w->v[i];
        size_t done = node_processed(v->node);
        check_tokens(v->node, v->tokens, v->n);
        for (size_t p = 0; p < v->n; p++) {
            if (p < done && !w->processed[v->births[p]]) w->processed[v->births[p]] = 1, marked++;
            assert_int_equal(w->processed[v->births[p]], p < done);
        }
    }
    if (now - w->tokens != marked)
        fail_msg("%llu tokens in place of %llu", (unsigned long long)(now - w->tokens),
                 (unsigned long long)marked);
    w->tokens = now;
}

static void op_generate(world *w) {
    value from = w->v[below(w->n)];
    int32_t input[64];
    size_t n_input = below(3) ? below(4) : below(64), max_new = below(8);
    pl_error e;
    job *j;
    if (w->n == HANDLES) return;
    random_tokens(input, n_input);
    generate_options o = options(from.node, input, n_input, max_new);
    o.sampler = random_sampler();
    pl_code rc = job_generate(w->g, &o, &j, &e);
    if (rc == PL_ERR_MEMORY && hit(w, rc)) rc = job_generate(w->g, &o, &j, &e);
    if (from.n + n_input > SMALL_CONTEXT) {
        assert_int_equal(rc, PL_ERR_CONTEXT);
        w->context_errors++;
        return;
    }
    if (from.n + n_input == 0 && max_new > 0) {
        assert_int_equal(rc, PL_ERR_ARGUMENT);
        return;
    }
    assert_int_equal(rc, PL_OK);
    bool pool = false;
    rc = job_run(j, &e);
    if (hit(w, rc)) rc = job_run(j, &e);
    if (rc) {
        assert_int_equal(rc, PL_ERR_POOL);
        w->pool_errors++;
        if (w->n > 1 && below(2))
            drop(w, below(w->n)); /* may be the one that the generation began from */
        rc = job_run(j, &e);
        assert_true(rc == PL_OK || rc == PL_ERR_POOL);
        pool = rc != PL_OK;
    }
    generate_result r = job_result(j);
    size_t before = from.n + n_input,
           want = before + max_new > SMALL_CONTEXT ? SMALL_CONTEXT - before : max_new;
    if (pool) assert_true(r.n_tokens <= want); /* what it had is handed over */
    else assert_int_equal(r.n_tokens, want);
    if (!pool) assert_int_equal(r.reason, want < max_new ? FINISH_CONTEXT : FINISH_LENGTH);
    if (want < max_new) w->context_errors++;
    cache_node *node;
    assert_int_equal(job_cache(j, &node, &e), PL_OK);
    add_value(w, &from, from.n, input, n_input, node);
    value *v = &w->v[w->n - 1];
    for (size_t i = 0; i < r.n_tokens; i++) {
        v->tokens[v->n] = r.tokens[i];
        v->births[v->n++] = w->born++;
    }
    w->generated += r.n_tokens;
    if (r.n_tokens) check_picks(w->fresh, v->tokens, before, before + r.n_tokens, &o.sampler);
    job_close(j);
}

static void op_compare(world *w) {
    static float a[SMALL_CONTEXT * V], b[SMALL_CONTEXT * V];
    value *v = &w->v[below(w->n)];
    size_t first = below(2) ? below(v->n + 1) : v->n - (v->n > 0), count;
    pl_error e;
    if (first >= v->n) return;
    count = 1 + below(below(2) ? v->n - first : 1);
    pl_code rc = evaluate(w->g, v->node, first, count, a, &e);
    if (hit(w, rc)) rc = evaluate(w->g, v->node, first, count, a, &e);
    if (rc) {
        assert_int_equal(rc, PL_ERR_POOL);
        w->pool_errors++;
        return;
    }
    from_scratch(w->fresh, v->tokens, v->n, first, count, b);
    assert_memory_equal(a, b, count * V * sizeof *a);
    w->compared += count;
}

/* Several caches at once. */
static void op_together(world *w) {
    job_part parts[4];
    size_t n = 0, rows = 0, which[4];
    static float a[V];
    job *j;
    pl_error e;
    for (size_t k = 0; k < 4; k++) {
        which[n] = below(w->n);
        const value *v = &w->v[which[n]];
        if (v->n == 0) continue;
        parts[n] = (job_part){v->node, v->n - 1, 1};
        n++;
    }
    pl_code rc = job_evaluate(w->g, WANT_LOGITS, parts, n, &j, &e);
    if (rc && hit(w, rc)) rc = job_evaluate(w->g, WANT_LOGITS, parts, n, &j, &e);
    assert_int_equal(rc, PL_OK);
    rc = job_run(j, &e);
    if (hit(w, rc)) rc = job_run(j, &e);
    if (rc) {
        assert_int_equal(rc, PL_ERR_POOL);
        w->pool_errors++;
    }
    for (size_t k = 0; k < n && !rc; k++, rows++) {
        const value *v = &w->v[which[k]];
        from_scratch(w->fresh, v->tokens, v->n, v->n - 1, 1, a);
        assert_memory_equal(a, job_row(j, rows), sizeof a);
        w->compared++;
    }
    job_close(j);
}

static void op_value(world *w, size_t what) {
    value *from = &w->v[below(w->n)];
    int32_t ids[64];
    size_t n = below(3) ? below(4) : below(64),
           length = below(2) ? below(from->n + 1) : from->n - below(from->n < 4 ? from->n + 1 : 4);
    cache_node *node;
    pl_error e;
    if (w->n == HANDLES) return;
    random_tokens(ids, n);
    if (what == 0) {
        pl_code rc = node_extend(from->node, ids, n, &node, &e);
        if (hit(w, rc)) rc = node_extend(from->node, ids, n, &node, &e);
        assert_int_equal(rc, from->n + n > SMALL_CONTEXT ? PL_ERR_CONTEXT : PL_OK);
        if (!rc) add_value(w, from, from->n, ids, n, node);
    } else if (what == 1) {
        pl_code rc = node_truncate(from->node, length, &node, &e);
        if (hit(w, rc)) rc = node_truncate(from->node, length, &node, &e);
        assert_int_equal(rc, PL_OK);
        add_value(w, from, length, NULL, 0, node);
    } else {
        add_value(w, from, from->n, NULL, 0, node_retain(from->node));
    }
}

TEST(random_branches_say_what_a_fresh_cache_says) {
    /* a plain model of a weight type, or one with experts or recurrent layers, or both */
    static const struct { weight_type type; const char *hybrid;
    } models[] = {{TYPE_Q8_0, NULL},      {TYPE_F32, NULL},           {TYPE_Q4_0, NULL},
                  {TYPE_F16, NULL},       {TYPE_F32, "qwen35"},       {TYPE_Q8_0, "mixtral"},
                  {TYPE_Q8_0, "lfm2moe"}, {TYPE_F32, "granitehybrid"}};
    static world w;
    for (size_t round = 0; round < 2400; round++) {
        if (round % 300 == 0) {
            size_t which = round / 300;
            const char *path = models[which].hybrid
                                   ? hybrid_model(models[which].hybrid, models[which].type)
                                   : small_model(SMALL_CONTEXT, models[which].type);
            engine_close(w.g);
            engine_close(w.fresh);
            w.fresh = tiny_engine(path, 0, 1);
            w.g = tiny_engine_for(path, 5, 9, 1); /* one cache of full length and some more */
            w.tokens = 0;
        }
        w.n = 0;
        memset(w.processed, 0, w.born);
        w.born = 0;
        add_value(&w, &w.v[0], 0, NULL, 0, tiny_cache(w.g, NULL, 0));
        for (size_t step = 0; step < 40; step++) {
            size_t what = below(16);
            if (round % 2) mem_fail_at((long)below(30)); /* in every other round; 0: none */
            if (what < 5) op_generate(&w);
            else if (what < 8) op_value(&w, 0);
            else if (what < 10) op_value(&w, 1);
            else if (what < 11) op_value(&w, 2);
            else if (what < 13) op_compare(&w);
            else if (what < 14) op_together(&w);
            else if (w.n > 1) drop(&w, below(w.n));
            mem_fail_at(0);
            if (what < 5 || (what >= 11 && what < 14)) check_count(&w);
        }
        while (w.n > 0) drop(&w, below(w.n));
        assert_int_equal(cache_store_nodes(engine_store(w.g)), 0);
        assert_int_equal(pool_used_bytes(cache_store_pool(engine_store(w.g))), 0);
    }
    engine_close(w.g);
    engine_close(w.fresh);
    print_message("%zu tokens generated, %zu rows compared; refused: %zu by the pool, %zu by the "
                  "context, %zu by memory\n",
                  w.generated, w.compared, w.pool_errors, w.context_errors, w.memory_errors);
    assert_true(w.generated > 5000 && w.compared > 5000 && w.pool_errors > 50 &&
                w.context_errors > 50 && w.memory_errors > 50);
}

/* ---- steps ---- */

TEST(what_many_caches_wait_for_is_processed_in_one_step_and_once) {
    enum { N = 20 };
    static const size_t prefixes[] = {32, 64, 40, 1, 500};
    for (size_t k = 0; k < 5; k++) {
        engine *g = tiny_engine(small_model(512, TYPE_Q8_0), 0, 1),
               *fresh = tiny_engine(small_model(512, TYPE_Q8_0), 0, 1);
        int32_t list[CONTEXT];
        size_t n = prefixes[k];
        cache_node *prefix, *branch[N];
        job_part parts[N];
        float want[V];
        pl_error e;
        job *j;
        random_tokens(list, n);
        prefix = tiny_cache(g, list, n);
        for (int32_t i = 0; i < N; i++) {
            assert_int_equal(node_extend(prefix, &i, 1, &branch[i], &e), PL_OK);
            parts[i] = (job_part){branch[i], n, 1};
        }
        assert_int_equal(engine_stats(g).steps, 0);
        assert_int_equal(job_evaluate(g, WANT_LOGITS, parts, N, &j, &e), PL_OK);
        assert_int_equal(job_run(j, &e), PL_OK);
        assert_int_equal(engine_stats(g).tokens, n + N);
        assert_int_equal(engine_stats(g).rerun, 0);
        /* 512 rows to a step; a branch that copies a block waits until that is written */
        assert_in_range(engine_stats(g).steps, 1, n % 32 || n + N > 512 ? 2 : 1);
        for (int32_t i = 0; i < N; i++) {
            list[n] = i;
            from_scratch(fresh, list, n + 1, n, 1, want);
            assert_memory_equal(job_row(j, (size_t)i), want, sizeof want);
        }
        job_close(j);
        /* Their hidden states were kept: asking again runs nothing. */
        assert_int_equal(job_evaluate(g, WANT_LOGITS, parts, N, &j, &e), PL_OK);
        assert_int_equal(job_run(j, &e), PL_OK);
        assert_in_range(engine_stats(g).steps, 1, 2);
        assert_memory_equal(job_row(j, N - 1), want, sizeof want);
        job_close(j);
        for (size_t i = 0; i < N; i++) node_release(branch[i]);
        node_release(prefix);
        engine_close(g);
        engine_close(fresh);
    }
}

TEST(generations_that_are_open_together_share_steps_and_do_not_disturb_one_another) {
    enum { N = 6, TOKENS = 12 };
    engine *g = tiny_engine(small_model(512, TYPE_Q4_0), 0, 1);
    int32_t list[100], alone[N][TOKENS];
    cache_node *prompt, *next;
    generate_options o[N];
    job *j[N];
    pl_error e;
    random_tokens(list, 100);
    prompt = tiny_cache(g, list, 50);
    for (size_t i = 0; i < N; i++) {
        o[i] = options(prompt, list + 50, i * 3, TOKENS);
        o[i].sampler = random_sampler();
        assert_int_equal(generate(g, &o[i], alone[i], &next), TOKENS);
        node_release(next);
    }
    uint64_t steps = engine_stats(g).steps;
    for (size_t i = 0; i < N; i++) assert_int_equal(job_generate(g, &o[i], &j[i], &e), PL_OK);
    assert_int_equal(job_run(j[0], &e), PL_OK);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(job_run(j[i], &e), PL_OK);
        assert_int_equal(job_result(j[i]).n_tokens, TOKENS);
        assert_memory_equal(job_result(j[i]).tokens, alone[i], sizeof alone[i]);
        job_close(j[i]);
    }
    assert_true(engine_stats(g).steps - steps <= TOKENS + 2);
    node_release(prompt);
    engine_close(g);
}

TEST(logprobs_are_those_of_the_model_and_rows_that_were_not_kept_run_again) {
    enum { N = 70 };
    engine *g = tiny_engine(small_model(512, TYPE_F32), 0, 1);
    int32_t list[N];
    float *logits = malloc(N * V * sizeof *logits);
    cache_node *n;
    job *j;
    pl_error e;
    random_tokens(list, N);
    n = tiny_cache(g, list, N);
    assert_int_equal(job_evaluate(g, WANT_NOTHING, &(job_part){n, 0, 0}, 1, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    job_close(j);
    assert_int_equal(engine_stats(g).tokens, N);
    assert_int_equal(engine_stats(g).rerun, 0);
    assert_int_equal(evaluate(g, n, 0, N, logits, &e), PL_OK);
    assert_int_equal(engine_stats(g).tokens, N);
    assert_int_equal(engine_stats(g).rerun, N);
    assert_int_equal(job_evaluate(g, WANT_LOGPROBS, &(job_part){n, 0, N - 1}, 1, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    for (size_t i = 0; i + 1 < N; i++) {
        double sum = 0;
        const float *l = logits + i * V;
        for (size_t k = 0; k < V; k++) sum += exp((double)l[k]);
        assert_true(fabs((double)job_row(j, i)[0] - ((double)l[list[i + 1]] - log(sum))) < 1e-5);
    }
    job_close(j);
    generate_options o = options(n, NULL, 0, 5);
    o.logprobs = true;
    o.sampler.temperature = 0.7f, o.sampler.top_k = 20,
    o.sampler.presence_penalty = 1; /* which the model's own know nothing of */
    assert_int_equal(job_generate(g, &o, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    generate_result r = job_result(j);
    cache_node *cache;
    job *k;
    assert_int_equal(job_cache(j, &cache, &e), PL_OK);
    assert_int_equal(job_evaluate(g, WANT_LOGPROBS, &(job_part){cache, N - 1, 5}, 1, &k, &e),
                     PL_OK);
    assert_int_equal(job_run(k, &e), PL_OK);
    for (size_t i = 0; i < 5; i++)
        assert_true(r.logprobs[i] == *job_row(k, i)); /* the same expression, the same bits */
    job_close(k);
    job_close(j);
    node_release(cache);
    node_release(n);
    free(logits);
    engine_close(g);
}

/* One key/value head and several threads: spans of attention are computed apart. */
TEST(long_caches_say_the_same_on_any_number_of_threads) {
    enum { N = 2600, BRANCHES = 5, NEW = 6, CUT = 2040 };
    tiny_shape shape = tiny_default();
    shape.context = 4096;
    shape.n_embd = 64, shape.n_head = 4, shape.n_head_kv = 1, shape.n_ff = 64;
    const char *path = tiny_model(&shape);
    int32_t *list = malloc(N * sizeof *list), *said = NULL;
    random_tokens(list, N);
    for (uint32_t threads = 1; threads <= 5; threads += 2) {
        int32_t out[(BRANCHES + 1) * NEW];
        engine_options eo = {.model = {.path = path, .kv = KV_Q8_0, .threads = threads}};
        engine *g;
        job *j[BRANCHES];
        pl_error e;
        if (engine_open(&eo, &g, &e)) fail_msg("%s", e.message);
        cache_node *whole = tiny_cache(g, list, N), *base, *next;
        assert_int_equal(node_truncate(whole, CUT, &base, &e), PL_OK);
        generate_options o = options(whole, NULL, 0, NEW);
        o.sampler.temperature = 1;
        assert_int_equal(generate(g, &o, out, &next), NEW);
        for (size_t i = 0; i < BRANCHES; i++) { /* across the border between spans */
            o = options(base, list, 3 * i, NEW);
            o.sampler.temperature = 1, o.sampler.seed = i;
            assert_int_equal(job_generate(g, &o, &j[i], &e), PL_OK);
        }
        for (size_t i = 0; i < BRANCHES; i++) {
            assert_int_equal(job_run(j[i], &e), PL_OK);
            memcpy(out + (i + 1) * NEW, job_result(j[i]).tokens, NEW * sizeof *out);
            job_close(j[i]);
        }
        if (!said) said = memcpy(malloc(sizeof out), out, sizeof out);
        assert_memory_equal(out, said, sizeof out);
        node_release(next);
        node_release(base);
        node_release(whole);
        engine_close(g);
    }
    free(list);
    free(said);
}

/* The output matrix makes logits of hidden states, whatever else the same step hands out. */
TEST(hidden_states_are_what_the_logits_are_made_of) {
    enum { N = 70 };
    engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1),
           *fresh = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    const model *m = engine_model(g);
    size_t E = m->hp.n_embd;
    int32_t list[N];
    float *want = malloc(N * V * sizeof *want), *got = malloc(N * V * sizeof *got);
    cache_node *n, *same;
    forward_scratch *scratch;
    job *states, *logits, *again;
    pl_error e;
    random_tokens(list, N);
    n = tiny_cache(g, list, N);
    same = tiny_cache(fresh, list, N);
    assert_int_equal(evaluate(fresh, same, 0, N, want, &e), PL_OK);
    assert_non_null(scratch = forward_scratch_new());
    assert_int_equal(forward_reserve(m, scratch, 1, 1, 1, N, &e), PL_OK);
    /* Of the same rows, in the same steps: states, logits, states of some. */
    assert_int_equal(job_evaluate(g, WANT_HIDDEN, &(job_part){n, 0, N}, 1, &states, &e), PL_OK);
    assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){n, 10, N - 10}, 1, &logits, &e),
                     PL_OK);
    assert_int_equal(job_evaluate(g, WANT_HIDDEN, &(job_part){n, 30, 5}, 1, &again, &e), PL_OK);
    assert_int_equal(job_run(states, &e), PL_OK);
    assert_int_equal(job_run(logits, &e), PL_OK);
    assert_int_equal(job_run(again, &e), PL_OK);
    forward_logits(m, scratch, job_row(states, 0), N, got);
    assert_memory_equal(got, want, N * V * sizeof *got);
    assert_memory_equal(job_row(logits, 0), want + 10 * V, (N - 10) * V * sizeof *want);
    assert_memory_equal(job_row(again, 0), job_row(states, 30), 5 * E * sizeof(float));
    job_close(again);
    /* The last one was kept with its node. */
    uint64_t rerun = engine_stats(g).rerun;
    assert_int_equal(job_evaluate(g, WANT_HIDDEN, &(job_part){n, N - 1, 1}, 1, &again, &e), PL_OK);
    assert_int_equal(job_run(again, &e), PL_OK);
    assert_memory_equal(job_row(again, 0), job_row(states, N - 1), E * sizeof(float));
    assert_int_equal(engine_stats(g).rerun, rerun);
    job_close(states);
    job_close(logits);
    job_close(again);
    forward_scratch_free(scratch);
    node_release(n);
    node_release(same);
    free(want);
    free(got);
    engine_close(g);
    engine_close(fresh);
}

/* ---- tokens that are pushed ---- */

TEST(a_generation_that_is_fed_says_what_one_that_picked_the_same_says) {
    engine *g = tiny_engine(small_model(512, TYPE_F16), 0, 1);
    for (size_t round = 0; round < 200; round++) {
        int32_t list[30], out[20];
        size_t n = 1 + below(30), most = below(20);
        cache_node *prompt, *picked, *next, *rest, *before[2];
        generate_options o;
        job *j, *fed;
        pl_error e;
        random_tokens(list, n);
        prompt = tiny_cache(g, list, n);
        o = options(prompt, NULL, 0, most);
        o.sampler.temperature = 1, o.sampler.seed = round;
        o.stop_tokens = list, o.n_stop_tokens = n / 4;
        assert_int_equal(job_generate(g, &o, &j, &e), PL_OK);
        assert_int_equal(job_run(j, &e), PL_OK);
        o.fed = true;
        assert_int_equal(job_generate(g, &o, &fed, &e), PL_OK);
        uint64_t steps = engine_stats(g).steps;
        generate_result want = job_result(j);
        for (size_t i = 0; i < want.n_tokens; i++) {
            assert_int_equal(job_state(fed), JOB_WAITING);
            assert_int_equal(job_push(fed, -1, &e), PL_ERR_ARGUMENT);
            assert_int_equal(job_push(fed, V, &e), PL_ERR_ARGUMENT);
            assert_int_equal(job_push(fed, want.tokens[i], &e), PL_OK);
            assert_int_equal(job_token(fed).id, want.tokens[i]);
        }
        assert_int_equal(job_state(fed), JOB_DONE);
        assert_int_equal(job_push(fed, 0, &e), PL_ERR_ARGUMENT);
        assert_int_equal(engine_stats(g).steps, steps);
        assert_int_equal(job_result(fed).n_tokens, want.n_tokens);
        assert_int_equal(job_result(fed).reason, want.reason);
        assert_int_equal(job_result(fed).n_text, want.n_text);
        assert_memory_equal(job_result(fed).text, want.text, want.n_text);
        /* On a longer cache of the same beginning; not on one that differs. */
        assert_int_equal(job_cache(j, &picked, &e), PL_OK);
        random_tokens(out, 3);
        assert_int_equal(node_extend(picked, out, 3, &next, &e), PL_OK);
        assert_int_equal(job_rest_on(fed, next, &e), PL_OK);
        assert_int_equal(job_cache(fed, &rest, &e), PL_OK);
        assert_int_equal(node_length(rest), node_length(picked));
        assert_int_equal(node_processed(rest), node_processed(picked));
        assert_int_equal(node_common_prefix(rest, picked), node_length(picked));
        assert_int_equal(job_cache_before(j, &before[0], &e), PL_OK);
        assert_int_equal(job_cache_before(fed, &before[1], &e), PL_OK);
        assert_int_equal(node_length(before[0]), node_length(before[1]));
        if (want.n_tokens) assert_int_equal(job_rest_on(fed, prompt, &e), PL_ERR_ARGUMENT);
        node_release(before[0]);
        node_release(before[1]);
        node_release(rest);
        node_release(next);
        node_release(picked);
        job_close(j);
        job_close(fed);
        node_release(prompt);
    }
    engine_close(g);
}

/* ---- what is kept ---- */

TEST(a_prompt_that_is_processed_serves_any_number_of_generations) {
    engine *g = tiny_engine(small_model(512, TYPE_Q8_0), 0, 1);
    int32_t list[100], out[3];
    pl_error e;
    random_tokens(list, 100);
    cache_node *prompt = tiny_cache(g, list, 100), *same, *next;
    for (size_t i = 0; i < 10; i++) {
        generate_options o = options(prompt, NULL, 0, 3);
        o.sampler.temperature = 2, o.sampler.seed = i;
        assert_int_equal(generate(g, &o, out, &next), 3);
        node_release(next);
        /* the last of three is not processed yet */
        assert_int_equal(engine_stats(g).tokens, 100 + (i + 1) * 2);
        assert_int_equal(engine_stats(g).rerun, 0);
    }
    same = tiny_cache(g, list, 100); /* noted anew: equal tokens are found */
    float a[V], b[V];
    assert_int_equal(evaluate(g, same, 99, 1, a, &e), PL_OK);
    assert_int_equal(engine_stats(g).tokens, 120);
    assert_int_equal(evaluate(g, prompt, 99, 1, b, &e), PL_OK);
    assert_memory_equal(a, b, sizeof a);
    node_release(same);
    node_release(prompt);
    engine_close(g);
}

TEST(a_restored_cache_goes_on_with_the_same_bits_and_processes_nothing_again) {
    const char *model_path = small_model(512, TYPE_Q4_0),
               *path[2] = {temp_path(".cache"), temp_path(".cache")};
    engine *g = tiny_engine(model_path, 0, 1), *g2 = tiny_engine(model_path, 0, 1);
    int32_t list[110], out[2][20];
    pl_error e;
    random_tokens(list, 110);
    cache_identity id = {.weights = 1,
                         .n_vocab = V,
                         .kv = "f16",
                         .build = "test",
                         .clear = model_clear_slots,
                         .user = engine_model(g)};
    cache_node *n = tiny_cache(g, list, 75), *longer, *back, *next;
    static float a[75 * V], b[75 * V];
    assert_int_equal(evaluate(g, n, 0, 75, a, &e), PL_OK);
    assert_int_equal(cache_save(n, &id, path[0], &e), PL_OK);
    assert_int_equal(node_extend(n, list + 75, 10, &longer, &e), PL_OK);
    assert_int_equal(evaluate(g, longer, 84, 1, b, &e), PL_OK); /* writes into the same block */
    assert_int_equal(cache_save(n, &id, path[1], &e), PL_OK);
    size_t size[2];
    char *file[2] = {read_whole(path[0], &size[0]), read_whole(path[1], &size[1])};
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(file[0], file[1], size[0]); /* what others wrote is not in it */
    free(file[0]);
    free(file[1]);

    assert_int_equal(cache_restore(engine_store(g2), &id, path[0], false, &back, &e), PL_OK);
    assert_int_equal(node_processed(back), 75);
    assert_int_equal(evaluate(g2, back, 0, 75, b, &e), PL_OK);
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 0; i < 2; i++) {
        generate_options o = options(i ? back : n, list + 80, 7, 20);
        assert_int_equal(generate(i ? g2 : g, &o, out[i], &next), 20);
        node_release(next);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    assert_int_equal(engine_stats(g2).tokens, 7 + 19);
    node_release(back);
    node_release(longer);
    node_release(n);
    engine_close(g);
    engine_close(g2);
}

/* ---- shapes ---- */

TEST(models_of_unusual_shape_say_the_same_in_any_chunks_and_on_any_kernels) {
    static const struct { uint32_t embd, head, head_kv, size, ff; weight_type type;
    } shapes[] = {
        {32, 1, 1, 0, 32, TYPE_F32},   {32, 4, 4, 2, 48, TYPE_F32},   {36, 3, 1, 0, 33, TYPE_F16},
        {50, 5, 5, 0, 7, TYPE_BF16},   {40, 6, 2, 20, 100, TYPE_F32}, {64, 7, 7, 34, 65, TYPE_F16},
        {32, 8, 1, 80, 32, TYPE_F32},  {64, 3, 1, 64, 96, TYPE_Q8_0}, {96, 2, 2, 16, 32, TYPE_Q4_0},
        {32, 9, 3, 32, 64, TYPE_Q4_0}, {32, 33, 1, 4, 32, TYPE_F32},
    };
    static float first[70 * V], all[70 * V], some[70 * V];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        tiny_shape shape = tiny_default();
        shape.n_embd = shapes[i].embd, shape.n_head = shapes[i].head,
        shape.n_head_kv = shapes[i].head_kv;
        shape.head_size = shapes[i].size, shape.n_ff = shapes[i].ff, shape.type = shapes[i].type;
        const char *path = tiny_model(&shape);
        int32_t list[70];
        random_tokens(list, 70);
        for (size_t k = 0; kernels_at(k); k++) {
            engine_options o = {.model = {.path = path,
                                          .kv = (kv_type)(i % KV_TYPES),
                                          .isa = kernels_at(k)->name,
                                          .threads = 1}};
            engine *g;
            pl_error e;
            if (engine_open(&o, &g, &e)) fail_msg("%s", e.message);
            from_scratch(g, list, 70, 0, 70, all);
            cache_node *n = tiny_cache(g, list, 70);
            for (size_t at = 0; at < 70; at += 10)
                assert_int_equal(evaluate(g, n, at, 10, some + at * V, &e), PL_OK);
            assert_memory_equal(all, some, sizeof all);
            double error = 0, power = 0;
            if (k == 0) memcpy(first, all, sizeof all);
            for (size_t x = 0; x < 70 * V; x++) {
                error += pow((double)all[x] - (double)first[x], 2);
                power += pow((double)first[x], 2);
            }
            /* To rounding; that of an activation to 8 bits, or to the cache's bits, may fall the
             * other way. */
            bool q8 = shape.type == TYPE_Q8_0 || shape.type == TYPE_Q4_0 || o.model.kv == KV_Q8_0;
            if (!(error <= (q8 ? 1e-4 : o.model.kv == KV_F16 ? 1e-6 : 1e-9) * power))
                fail_msg("shape %zu, %s: %g", i, kernels_at(k)->name, error / power);
            node_release(n);
            engine_close(g);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define ENGINE_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        ENGINE_TEST(a_generation_returns_what_it_put_behind_the_input),
        ENGINE_TEST(what_promise_1_calls_an_error_is_one),
        ENGINE_TEST(one_call_of_ten_is_ten_calls_of_one_is_two_of_five),
        ENGINE_TEST(random_branches_say_what_a_fresh_cache_says),
        ENGINE_TEST(what_many_caches_wait_for_is_processed_in_one_step_and_once),
        ENGINE_TEST(generations_that_are_open_together_share_steps_and_do_not_disturb_one_another),
        ENGINE_TEST(logprobs_are_those_of_the_model_and_rows_that_were_not_kept_run_again),
        ENGINE_TEST(long_caches_say_the_same_on_any_number_of_threads),
        ENGINE_TEST(hidden_states_are_what_the_logits_are_made_of),
        ENGINE_TEST(a_generation_that_is_fed_says_what_one_that_picked_the_same_says),
        ENGINE_TEST(a_prompt_that_is_processed_serves_any_number_of_generations),
        ENGINE_TEST(a_restored_cache_goes_on_with_the_same_bits_and_processes_nothing_again),
        ENGINE_TEST(models_of_unusual_shape_say_the_same_in_any_chunks_and_on_any_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
