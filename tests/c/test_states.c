/* test_states.c: the states of recurrent layers as cache values see them: which are kept, what is
 * run again where none is, and that forks, rewinds and files give the bits that a fresh cache
 * gives. Models with experts go the same way. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/store.h"
#include "decode/engine.h"
#include "support.h"
#include "tiny.h"
#include "ways.h"

#define V 320
#define N 300

static const char *const hybrids[] = {"qwen35",        "qwen35moe", "lfm2",   "lfm2moe",
                                      "granitehybrid", "mixtral",   "gpt-oss"};
#define EACH_HYBRID(name)                        \
    for (const char *const *h_ = hybrids, *name; \
         h_ < hybrids + sizeof hybrids / sizeof *hybrids && (name = *h_) != NULL; h_++)

static uint64_t seed = 21;

static const char *model_of(const char *name) {
    tiny_shape s = tiny_hybrid(name);
    s.type = TYPE_Q8_0;
    return tiny_model(&s);
}

static cache_node *truncated(cache_node *n, size_t length) {
    cache_node *out;
    pl_error e;
    if (node_truncate(n, length, &out, &e)) fail_msg("%s", e.message);
    return out;
}

static cache_node *extended(cache_node *n, const int32_t *ids, size_t count) {
    cache_node *out;
    pl_error e;
    if (node_extend(n, ids, count, &out, &e)) fail_msg("%s", e.message);
    return out;
}

/* The logits after a node's last token. */
static void last_logits(engine *g, cache_node *n, float out[V]) {
    job *j;
    pl_error e;
    if (job_evaluate(g, WANT_LOGITS, &(job_part){n, node_length(n) - 1, 1}, 1, &j, &e) ||
        job_run(j, &e))
        fail_msg("%s", e.message);
    memcpy(out, job_row(j, 0), V * sizeof *out);
    job_close(j);
}

static void process(engine *g, cache_node *n) {
    job *j;
    pl_error e;
    if (job_evaluate(g, WANT_NOTHING, &(job_part){n, 0, 0}, 1, &j, &e) || job_run(j, &e))
        fail_msg("%s", e.message);
    job_close(j);
}

static const pool_shelf *states_of(engine *g) {
    return &cache_store_pool(engine_store(g))->of[POOL_STATES];
}

TEST(a_rewind_to_every_position_of_300_tokens_says_the_same) {
    EACH_HYBRID(name) {
        engine *g = tiny_engine(model_of(name), 0, 2), *fresh = tiny_engine(model_of(name), 0, 2);
        int32_t list[N + 1];
        float got[V], *want;
        tiny_tokens(&seed, list, N + 1, V);
        want = logits_in_chunks(fresh, list, N, N);
        cache_node *all = tiny_cache(g, list, N);
        process(g, all);
        for (size_t p = 1; p < N; p++) {
            uint64_t before = engine_stats(g).rerun, tokens = engine_stats(g).tokens;
            cache_node *view = truncated(all, p), *on = extended(view, list + p, 1), *other;
            last_logits(g, on, got); /* the next token, as a branch of its own or adopted */
            assert_memory_equal(got, want + p * V, sizeof got);
            last_logits(g, view, got);
            assert_memory_equal(got, want + (p - 1) * V, sizeof got);
            uint64_t again = engine_stats(g).rerun - before;
            if (again > 2 * STATE_INTERVAL)
                fail_msg("%s: rewinding to %zu runs %zu rows again", name, p, (size_t)again);
            assert_true(engine_stats(g).tokens - tokens <= 1);
            if (p % 37 == 0) { /* another continuation */
                int32_t two[2] = {list[p] ^ 1, list[p]}, ids[N + 2];
                float alone[V];
                other = extended(view, two, 2);
                last_logits(g, other, got);
                memcpy(ids, list, p * sizeof *ids);
                memcpy(ids + p, two, sizeof two);
                cache_node *scratch = tiny_cache(fresh, ids, p + 2);
                last_logits(fresh, scratch, alone);
                assert_memory_equal(got, alone, sizeof got);
                node_release(scratch);
                node_release(other);
            }
            node_release(on);
            node_release(view);
        }
        node_release(all);
        assert_int_equal(states_of(g)->n_used, 0);
        free(want);
        engine_close(g);
        engine_close(fresh);
    }
}

/* 300 tokens, state_interval 8: what is kept is at multiples of 8 and at the end. */
TEST(a_rewind_runs_no_more_rows_again_than_lie_behind_the_nearest_state) {
    engine *g = tiny_engine_for(model_of("qwen35"), 40, 100, 1);
    int32_t list[N], next = 5;
    tiny_tokens(&seed, list, N, V);
    cache_node *all = tiny_cache(g, list, N);
    process(g, all);
    assert_int_equal(states_of(g)->n_used, N / 8 + 1);
    for (size_t p = N; p > 0; p--) {
        cache_node *view = truncated(all, p), *on = extended(view, &next, 1);
        uint64_t before = engine_stats(g).rerun;
        process(g, on);
        assert_int_equal(engine_stats(g).rerun - before, p == N ? 0 : p % 8);
        node_release(on);
        before = engine_stats(g).rerun; /* the view keeps what was computed for it */
        on = extended(view, &next, 1);
        process(g, on);
        assert_int_equal(engine_stats(g).rerun - before, 0);
        node_release(on);
        node_release(view);
    }
    node_release(all);
    engine_close(g);
}

TEST(a_fork_copies_no_state_until_it_writes_and_64_forks_hold_64) {
    engine *g = tiny_engine(model_of("qwen35"), 0, 1);
    int32_t list[200];
    cache_node *fork[64], *written[64];
    tiny_tokens(&seed, list, 200, V);
    cache_node *prefix = tiny_cache(g, list, 200);
    process(g, prefix);
    size_t blocks = cache_store_pool(engine_store(g))->of[POOL_BLOCKS].n_used;
    assert_int_equal(states_of(g)->n_used, 1);
    for (size_t i = 0; i < 64; i++) fork[i] = truncated(prefix, 200);
    assert_int_equal(states_of(g)->n_used, 1);
    for (int32_t i = 0; i < 64; i++) written[i] = extended(fork[i], &i, 1);
    assert_int_equal(states_of(g)->n_used, 1);
    for (size_t i = 0; i < 64; i++) process(g, written[i]);
    assert_int_equal(states_of(g)->n_used, 1 + 64);
    /* one goes in place */
    assert_int_equal(cache_store_pool(engine_store(g))->of[POOL_BLOCKS].n_used, blocks + 63);
    assert_int_equal(engine_stats(g).tokens, 200 + 64);
    assert_int_equal(engine_stats(g).rerun, 0);
    for (size_t i = 0; i < 64; i++) {
        node_release(fork[i]);
        node_release(written[i]);
    }
    assert_int_equal(states_of(g)->n_used, 1);
    node_release(prefix);
    assert_int_equal(states_of(g)->n_used, 0);
    engine_close(g);
}

TEST(many_branches_of_a_rewound_cache_find_its_state_once) {
    engine *g = tiny_engine(model_of("granitehybrid"), 0, 1);
    int32_t list[200];
    cache_node *branch[30];
    job *j;
    pl_error e;
    job_part parts[30];
    tiny_tokens(&seed, list, 200, V);
    cache_node *all = tiny_cache(g, list, 200), *view = truncated(all, 150);
    process(g, all);
    for (int32_t i = 0; i < 30; i++) {
        branch[i] = extended(view, &i, 1);
        parts[i] = (job_part){branch[i], 150, 1};
    }
    if (job_evaluate(g, WANT_LOGITS, parts, 30, &j, &e) || job_run(j, &e))
        fail_msg("%s", e.message);
    assert_int_equal(engine_stats(g).rerun, 150);
    for (int32_t i = 0; i < 30; i++) {
        float want[V];
        engine *fresh = tiny_engine(model_of("granitehybrid"), 0, 1);
        list[150] = i;
        cache_node *scratch = tiny_cache(fresh, list, 151);
        last_logits(fresh, scratch, want);
        assert_memory_equal(want, job_row(j, (size_t)i), sizeof want);
        node_release(scratch);
        engine_close(fresh);
        node_release(branch[i]);
    }
    job_close(j);
    node_release(view);
    node_release(all);
    engine_close(g);
}

/* Room for few states: those at multiples go first, then states are overwritten in place; what is
 * said is the same. */
TEST(without_room_for_states_the_interval_grows_and_the_answer_stays) {
    for (size_t room = 2; room < 12; room++) {
        engine *g = tiny_engine_for(model_of("qwen35"), 12, room, 1),
               *fresh = tiny_engine(model_of("qwen35"), 0, 1);
        int32_t list[N];
        float got[V], *want;
        tiny_tokens(&seed, list, N, V);
        want = logits_in_chunks(fresh, list, N, N);
        cache_node *at = tiny_cache(g, list, 1);
        for (size_t p = 1; p < N; p++) {
            last_logits(g, at, got);
            assert_memory_equal(got, want + (p - 1) * V, sizeof got);
            cache_node *next = extended(at, list + p, 1);
            node_release(at);
            at = next;
        }
        assert_true(states_of(g)->n_used <= room + 12);
        if (room == 2) assert_true(cache_store_interval(engine_store(g)) > 8);
        node_release(at);
        free(want);
        engine_close(g);
        engine_close(fresh);
    }
}

TEST(a_restored_cache_goes_on_from_its_state) {
    EACH_HYBRID(name) {
        engine *g = tiny_engine(model_of(name), 0, 1);
        model *m = engine_model(g);
        int32_t list[N];
        float want[V], got[V];
        pl_error e;
        const char *path = temp_path(".cache");
        cache_identity id = {.n_vocab = m->hp.n_vocab,
                             .kv = "f16",
                             .build = "test",
                             .clear = model_clear_slots,
                             .user = m};
        assert_int_equal(model_fingerprint(m, &id.weights, &e), PL_OK);
        tiny_tokens(&seed, list, N, V);
        cache_node *all = tiny_cache(g, list, N - 1), *back, *on = NULL, *view;
        process(g, all);
        if (cache_save(all, &id, path, &e)) fail_msg("%s", e.message);
        on = extended(all, list + N - 1, 1);
        last_logits(g, on, want);
        node_release(on);
        node_release(all);
        assert_int_equal(states_of(g)->n_used, 0);
        engine_counts before = engine_stats(g);
        if (cache_restore(engine_store(g), &id, path, false, &back, &e)) fail_msg("%s", e.message);
        on = extended(back, list + N - 1, 1);
        last_logits(g, on, got);
        assert_memory_equal(got, want, sizeof got);
        assert_int_equal(engine_stats(g).tokens - before.tokens, 1);
        assert_int_equal(engine_stats(g).rerun, before.rerun);
        view = truncated(back, N - 10); /* behind the state at the interval */
        node_release(on);
        on = extended(view, list, 1);
        process(g, on);
        assert_true(engine_stats(g).rerun - before.rerun <= STATE_INTERVAL);
        node_release(view);
        node_release(on);
        node_release(back);
        engine_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rewind_to_every_position_of_300_tokens_says_the_same),
        cmocka_unit_test(a_rewind_runs_no_more_rows_again_than_lie_behind_the_nearest_state),
        cmocka_unit_test(a_fork_copies_no_state_until_it_writes_and_64_forks_hold_64),
        cmocka_unit_test(many_branches_of_a_rewound_cache_find_its_state_once),
        cmocka_unit_test(without_room_for_states_the_interval_grows_and_the_answer_stays),
        cmocka_unit_test(a_restored_cache_goes_on_from_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
