/* test_generate.c: what a generation says of itself while it runs and when it ends: pauses, stops
 * and the cache before them, going on from elsewhere, interrupts; and a real model's published
 * text. Models are random, so expectations come from the tokens that a plain generation gives. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "decode/engine.h"
#include "decode/prefix.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

#define V 320
#define CONTEXT 512
#define MOST 64 /* new tokens */

static uint64_t seed = 5;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }

static engine *open_tiny(weight_type type, uint32_t threads) {
    tiny_shape shape = tiny_default();
    shape.type = type;
    return tiny_engine(tiny_model(&shape), 0, threads);
}

/* Sampled, so that random models do not repeat themselves. */
static generate_options options(cache_node *cache, const int32_t *input, size_t n_input,
                                size_t max_new, uint64_t draw) {
    generate_options o = {.cache = cache,
                          .input = input,
                          .n_input = n_input,
                          .max_new_tokens = max_new,
                          .sampler = sampler_defaults()};
    o.sampler.temperature = 1.2f;
    o.sampler.seed = draw;
    return o;
}

static job *begin(engine *g, const generate_options *o) {
    job *j;
    pl_error e;
    if (job_generate(g, o, &j, &e)) fail_msg("%s", e.message);
    return j;
}

static void run(job *j) {
    pl_error e;
    if (job_run(j, &e)) fail_msg("%s", e.message);
}

static cache_node *cache_of(job *j) {
    cache_node *n;
    pl_error e;
    if (job_cache(j, &n, &e)) fail_msg("%s", e.message);
    return n;
}

static void check_tokens(cache_node *n, const int32_t *tokens, size_t count) {
    int32_t found[CONTEXT];
    assert_int_equal(node_length(n), count);
    node_tokens(n, 0, count, found);
    assert_memory_equal(found, tokens, count * sizeof *tokens);
}

/* What the tokens say behind a prompt that has text, or (start) behind one that has none. */
static text_buffer spell(engine *g, const int32_t *ids, size_t n, bool start) {
    text_buffer b = {0};
    pl_error e;
    assert_int_equal(tokenizer_decode(engine_model(g)->tok, ids, n, false, start, &b, &e), PL_OK);
    return b;
}

/* The tokens of a generation that only its length ends, and their text. */
static text_buffer said_by(engine *g, const generate_options *o, int32_t *tokens) {
    job *j = begin(g, o);
    run(j);
    memcpy(tokens, job_result(j).tokens, o->max_new_tokens * sizeof *tokens);
    job_close(j);
    return spell(g, tokens, o->max_new_tokens, false);
}

static void check_text(engine *g, const int32_t *ids, size_t n, bool start, const char *text,
                       size_t n_text) {
    text_buffer b = spell(g, ids, n, start);
    assert_int_equal(b.n, n_text);
    if (n_text) assert_memory_equal(b.data, text, n_text);
    text_free(&b);
}

/* ---- pauses ---- */

TEST(a_generation_that_pauses_hands_out_every_token_and_all_of_the_text) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    for (size_t round = 0; round < 40; round++) {
        int32_t list[32], plain[MOST];
        char text[1024];
        size_t n = 1 + below(20), n_text = 0, seen = 0, max_new = below(30);
        tiny_tokens(&seed, list, n, V);
        if (round % 4 == 0) list[0] = 1, n = 1; /* BOS alone: no text before */
        cache_node *prompt = tiny_cache(g, list, n), *cache;
        generate_options o = options(prompt, NULL, 0, max_new, round);
        job *j = begin(g, &o);
        run(j);
        generate_result r = job_result(j);
        assert_int_equal(r.n_tokens, max_new);
        if (max_new) memcpy(plain, r.tokens, max_new * sizeof *plain);
        check_text(g, r.tokens, r.n_tokens, n == 1 && list[0] == 1, r.text, r.n_text);
        job_close(j);

        o.pause = true;
        j = begin(g, &o);
        for (run(j); job_state(j) == JOB_WAITING; job_resume(j), run(j)) {
            generate_token t = job_token(j);
            assert_true(seen < max_new && t.id == plain[seen]);
            seen++;
            memcpy(text + n_text, t.piece, t.n_piece);
            n_text += t.n_piece;
            cache = cache_of(j); /* true at any moment */
            assert_int_equal(node_length(cache), n + seen);
            assert_true(node_processed(cache) == n + seen - 1);
            node_release(cache);
        }
        assert_int_equal(seen, max_new);
        r = job_result(j);
        assert_int_equal(n_text, r.n_text);
        if (n_text) assert_memory_equal(text, r.text, n_text);
        assert_int_equal(r.reason, FINISH_LENGTH);
        job_close(j);
        node_release(prompt);
    }
    engine_close(g);
}

TEST(a_pausing_generation_can_be_ended_and_keeps_what_it_had) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[16];
    tiny_tokens(&seed, list, 16, V);
    cache_node *prompt = tiny_cache(g, list, 10), *cache;
    generate_options o = options(prompt, list + 10, 3, 20, 1);
    o.pause = true;
    job *j = begin(g, &o);
    run(j), job_resume(j), run(j);
    job_finish(j, FINISH_CALLBACK);
    assert_int_equal(job_state(j), JOB_DONE);
    assert_int_equal(job_result(j).reason, FINISH_CALLBACK);
    assert_int_equal(job_result(j).n_tokens, 2);
    cache = cache_of(j);
    assert_int_equal(node_length(cache), 15);
    job_close(j);
    node_release(cache);
    j = begin(g, &o); /* closed in the middle, before and after its first step */
    job_close(j);
    j = begin(g, &o);
    run(j);
    job_close(j);
    check_tokens(prompt, list, 10);
    node_release(prompt);
    assert_int_equal(cache_store_nodes(engine_store(g)), 0);
    engine_close(g);
}

/* ---- stops ---- */

/* By brute force: how many tokens there are when a stop is complete, which, and where the text
 * ends. */
static bool find_stop(engine *g, const int32_t *ids, size_t n, const gguf_string *stops,
                      size_t n_stops, size_t *n_tokens, size_t *which, size_t *cut) {
    for (size_t k = 1; k <= n; k++) {
        text_buffer b = spell(g, ids, k, false);
        for (size_t at = 0; at < b.n; at++)
            for (size_t i = 0; i < n_stops; i++)
                if (at + stops[i].size <= b.n &&
                    !memcmp(b.data + at, stops[i].data, stops[i].size)) {
                    *n_tokens = k, *which = i, *cut = at;
                    text_free(&b);
                    return true;
                }
        text_free(&b);
    }
    return false;
}

TEST(a_stop_ends_the_text_before_it_and_the_cache_before_ends_with_the_text) {
    engine *g = open_tiny(TYPE_Q4_0, 1);
    size_t inside = 0, stopped = 0;
    for (size_t round = 0; round < 300; round++) {
        int32_t list[16 + MOST], plain[MOST], rest[CONTEXT];
        size_t n = 5, n_stops = 1 + below(3), n_tokens = 0, which = 0, cut = 0;
        pl_error e;
        tiny_tokens(&seed, list, n, V);
        list[n - 1] = 265; /* a letter: there is text before */
        cache_node *prompt = tiny_cache(g, list, n), *cache, *before;
        generate_options o = options(prompt, NULL, 0, 30, round);
        text_buffer all = said_by(g, &o, plain);
        job *j;

        gguf_string stops[3];
        for (size_t i = 0; i < n_stops; i++) {
            size_t at = below(all.n), most = all.n - at < 6 ? all.n - at : 6;
            stops[i] = (gguf_string){all.data + at, 1 + below(most)};
        }
        o.stops = stops, o.n_stops = n_stops;
        assert_true(find_stop(g, plain, 30, stops, n_stops, &n_tokens, &which, &cut));
        j = begin(g, &o);
        run(j);
        generate_result r = job_result(j);
        assert_int_equal(r.reason, FINISH_STOP);
        assert_int_equal(r.n_tokens, n_tokens); /* the token that completes it counts */
        assert_memory_equal(r.tokens, plain, n_tokens * sizeof *plain);
        assert_int_equal(r.stop, which);
        assert_int_equal(r.n_text, cut);
        if (cut) assert_memory_equal(r.text, all.data, cut);
        cache = cache_of(j);
        assert_int_equal(node_length(cache), n + n_tokens);
        assert_int_equal(job_cache_before(j, &before, &e), PL_OK);
        size_t kept = node_common_prefix(cache, before), length = node_length(before);
        assert_true(kept >= n && length >= n);
        node_tokens(before, n, length - n, rest);
        check_text(g, rest, length - n, false, all.data, cut);
        inside += length > kept; /* the text ends inside a token */
        stopped++;
        node_release(before);
        node_release(cache);
        job_close(j);
        text_free(&all);
        node_release(prompt);
    }
    assert_true(stopped == 300 && inside > 10);
    engine_close(g);
}

TEST(stop_tokens_and_the_end_token_count_and_have_no_text) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[8], plain[20];
    tiny_tokens(&seed, list, 8, V);
    list[7] = 265;
    cache_node *prompt = tiny_cache(g, list, 8), *before;
    generate_options o = options(prompt, NULL, 0, 20, 3);
    job *j = begin(g, &o);
    pl_error e;
    run(j);
    memcpy(plain, job_result(j).tokens, sizeof plain);
    job_close(j);
    size_t first = 0; /* where the token at 9 is first seen */
    while (plain[first] != plain[9]) first++;
    int32_t stops[] = {plain[9], -5};
    o.stop_tokens = stops, o.n_stop_tokens = 2;
    j = begin(g, &o);
    run(j);
    generate_result r = job_result(j);
    assert_int_equal(r.reason, FINISH_STOP);
    assert_true(r.stop == SIZE_MAX);
    assert_int_equal(r.n_tokens, first + 1);
    check_text(g, plain, first, false, r.text, r.n_text);
    assert_int_equal(job_cache_before(j, &before, &e), PL_OK);
    assert_int_equal(node_length(before), 8 + first);
    node_release(before);
    job_close(j);

    logit_bias eos = {2, 1e6f};
    o = options(prompt, NULL, 0, 20, 3);
    o.sampler.bias = &eos, o.sampler.n_bias = 1;
    for (int stop = 0; stop < 2; stop++) {
        o.stop_at_eog = stop;
        j = begin(g, &o);
        run(j);
        r = job_result(j);
        assert_int_equal(r.reason, stop ? FINISH_EOG : FINISH_LENGTH);
        assert_int_equal(r.n_tokens, stop ? 1 : 20);
        assert_int_equal(r.n_text, 0);
        assert_int_equal(job_cache_before(j, &before, &e), PL_OK);
        assert_int_equal(node_length(before), stop ? 8 : 28);
        node_release(before);
        job_close(j);
    }
    node_release(prompt);
    engine_close(g);
}

/* ---- going on from elsewhere ---- */

/* A generation of 12 tokens behind list[0..8), paused after its fifth. */
static job *paused(engine *g, const int32_t *list, cache_node **prompt, bool penalties) {
    *prompt = tiny_cache(g, list, 8);
    generate_options o = options(*prompt, NULL, 0, 12, 77);
    o.pause = o.logprobs = true;
    if (penalties) o.sampler.repetition_penalty = 1.5f;
    job *j = begin(g, &o);
    for (int i = 0; i < 5; i++) {
        if (i) job_resume(j);
        run(j);
        assert_int_equal(job_state(j), JOB_WAITING);
    }
    return j;
}

/* To the end; the result must be `have` new tokens, then what a generation from `cache` gives until
 * there are 12. */
static void check_rest(engine *g, job *j, cache_node *cache, const int32_t *have, size_t n_have,
                       bool penalties) {
    generate_options o = options(cache, NULL, 0, 12 - n_have, 77);
    if (penalties) o.sampler.repetition_penalty = 1.5f;
    job *k = begin(g, &o);
    run(k);
    for (run(j); job_state(j) == JOB_WAITING; run(j)) job_resume(j);
    generate_result r = job_result(j), want = job_result(k);
    assert_int_equal(r.reason, FINISH_LENGTH);
    assert_int_equal(r.n_tokens, 12);
    assert_memory_equal(r.tokens, have, n_have * sizeof *have);
    assert_memory_equal(r.tokens + n_have, want.tokens, want.n_tokens * sizeof *have);
    check_text(g, r.tokens, 12, false, r.text, r.n_text);
    cache_node *a = cache_of(j), *b = cache_of(k);
    assert_int_equal(node_length(a), node_length(b));
    assert_int_equal(node_common_prefix(a, b), node_length(b));
    node_release(a);
    node_release(b);
    job_close(k);
}

TEST(a_generation_goes_on_from_a_cache_that_was_forced_rewound_or_is_another) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    for (size_t way = 0; way < 16; way++) {
        bool penalties = way % 2, done = way / 2 % 2;
        int32_t list[8], have[32];
        cache_node *prompt, *cache, *other = NULL;
        pl_error e;
        tiny_tokens(&seed, list, 8, V);
        list[7] = 265;
        job *j = paused(g, list, &prompt, penalties);
        if (done)
            for (job_resume(j), run(j); job_state(j) == JOB_WAITING; run(j)) job_resume(j);
        cache = cache_of(j);
        size_t n_have = 0;
        memcpy(have, job_result(j).tokens, 5 * sizeof *have);
        switch (way / 4) {
        case 0: /* rewound */
            assert_int_equal(node_truncate(cache, 10, &other, &e), PL_OK);
            n_have = 2;
            break;
        case 1: /* rewound and forced */
            node_release(cache);
            assert_int_equal(node_truncate(prompt, 8, &cache, &e), PL_OK);
            tiny_tokens(&seed, have + 3, 4, V);
            assert_int_equal(node_extend(cache, have, 7, &other, &e), PL_OK);
            n_have = 7;
            break;
        case 2: /* another, shorter than the prompt: new tokens count from its end */
            assert_int_equal(node_truncate(prompt, 3, &other, &e), PL_OK);
            break;
        case 3: /* where it stood */
            assert_int_equal(node_truncate(cache, 13, &other, &e), PL_OK);
            n_have = 5;
            break;
        }
        assert_int_equal(job_resume_from(j, other, &e), PL_OK);
        generate_result r = job_result(j);
        assert_int_equal(r.n_tokens, n_have);
        assert_int_equal(job_state(j), JOB_RUNNING);
        for (size_t i = 0; i < n_have; i++)
            assert_true(!isnan(r.logprobs[i]) ==
                        (way / 4 != 1 || i < 3 || (i < 5 && have[i] == 0)));
        check_rest(g, j, other, have, n_have, penalties);
        job_close(j);
        node_release(other);
        node_release(cache);
        node_release(prompt);
    }
    assert_int_equal(cache_store_nodes(engine_store(g)), 0);
    engine_close(g);
}

TEST(going_on_from_a_cache_stops_at_the_limits) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[CONTEXT];
    cache_node *prompt, *empty = tiny_cache(g, NULL, 0), *longer, *full;
    pl_error e;
    tiny_tokens(&seed, list, CONTEXT, V);
    job *j = paused(g, list, &prompt, false);
    assert_int_equal(job_resume_from(j, empty, &e), PL_ERR_ARGUMENT);
    assert_int_equal(job_state(j), JOB_WAITING); /* as it was */
    assert_int_equal(job_result(j).n_tokens, 5);
    longer = tiny_cache(g, list, 8 + 13);
    assert_int_equal(job_resume_from(j, longer, &e), PL_OK);
    assert_int_equal(job_state(j), JOB_DONE);
    assert_int_equal(job_result(j).reason, FINISH_LENGTH);
    assert_int_equal(job_result(j).n_tokens, 13);
    full = tiny_cache(g, list + 1, 511); /* another; one more fits */
    assert_int_equal(job_resume_from(j, full, &e), PL_OK);
    assert_int_equal(job_state(j), JOB_RUNNING);
    for (run(j); job_state(j) == JOB_WAITING; run(j)) job_resume(j);
    assert_int_equal(job_result(j).n_tokens, 1);
    assert_int_equal(job_result(j).reason, FINISH_CONTEXT);
    job_close(j);
    node_release(full);
    node_release(longer);
    node_release(prompt);
    node_release(empty);
    engine_close(g);
}

/* ---- texts that new tokens begin by spelling ---- */

#define WORDS_MOST 48

/* A vocabulary of words over few letters, with SentencePiece's leading space (or without). Some
 * tokens are control or user-defined ones; id 1 ends a generation. */
static tokenizer *random_words(bool leading_space) {
    static const char *const letters[] = {"a", "b", "\xE2\x96\x81", "\xC3\xA9", "c"};
    static char text[WORDS_MOST][32];
    gguf_string words[WORDS_MOST];
    int32_t types[WORDS_MOST];
    float scores[WORDS_MOST];
    size_t n = 6 + below(WORDS_MOST - 6);
    const char *path = temp_path(".gguf");
    const gguf_options how = {.map = true, .header_only = true};
    gguf_writer *w = gguf_writer_new();
    gguf *file;
    tokenizer *t = NULL;
    pl_error e;
    for (size_t i = 0; i < n; i++) {
        text[i][0] = 0;
        for (size_t k = below(4) ? 1 + below(2) : 1 + below(6); k > 0; k--)
            strcat(text[i], letters[below(5)]);
        types[i] = below(8) ? TOKEN_NORMAL : below(2) ? TOKEN_USER_DEFINED : TOKEN_CONTROL;
        if (i < 2) snprintf(text[i], sizeof text[i], i ? "</s>" : "<s>"), types[i] = TOKEN_CONTROL;
        if (i == 2) strcpy(text[i], letters[2]), types[i] = TOKEN_NORMAL;
        words[i] = (gguf_string){text[i], strlen(text[i])};
        scores[i] = 0;
    }
    gguf_add_string(w, "tokenizer.ggml.model", "llama", 5);
    gguf_add_strings(w, "tokenizer.ggml.tokens", words, n);
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, scores, n);
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, types, n);
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 0);
    gguf_add_u32(w, "tokenizer.ggml.eos_token_id", 1);
    gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", leading_space);
    if (gguf_write(w, path, &e)) fail_msg("%s", e.message);
    gguf_writer_free(w);
    if (gguf_open(path, &how, &file, &e) || tokenizer_new(file, &t, &e)) fail_msg("%s", e.message);
    gguf_close(file);
    return t;
}

/* A prefix and how it may be spelled, by trying every token at every place. */
typedef struct {
    const tokenizer *t;
    const char *text;
    size_t n;
    const int32_t *barred;
    size_t n_barred;
} brute;

/* How far the text is spelled when the token follows what spells text[0..at): beyond n when the
 * token goes on behind it; SIZE_MAX: it does not. `first`: it is the first one with text. */
static size_t brute_step(const brute *b, int32_t id, size_t at, bool first) {
    text_buffer piece = {0};
    for (size_t i = 0; i < b->n_barred; i++)
        if (b->barred[i] == id) return SIZE_MAX;
    assert_int_equal(tokenizer_decode(b->t, &id, 1, false, first, &piece, NULL), PL_OK);
    gguf_string raw = tokenizer_piece(b->t, id);
    /* The natural way to begin: a leading space, or a token that is written out. */
    bool fine = tokenizer_has_text(b->t, id) &&
                (!first || !tokenizer_describe(b->t).add_space || raw.data[0] == ' ' ||
                 tokenizer_type(b->t, id) == TOKEN_USER_DEFINED);
    size_t left = b->n - at, k = piece.n < left ? piece.n : left, end = at + piece.n;
    fine = fine && (k == 0 || !memcmp(b->text + at, piece.data, k));
    text_free(&piece);
    return fine ? end : SIZE_MAX;
}

static bool brute_spells(const brute *b, size_t at, bool first) {
    if (at >= b->n && !first) return true;
    for (size_t id = 0; id < tokenizer_size(b->t); id++) {
        size_t end = brute_step(b, (int32_t)id, at, first);
        if (end == SIZE_MAX) continue;
        if (end >= b->n || brute_spells(b, end, false)) return true;
    }
    return false;
}

static bool brute_may_come(const brute *b, int32_t id, size_t at, bool first) {
    size_t end = brute_step(b, id, at, first);
    return end != SIZE_MAX && (end >= b->n || brute_spells(b, end, false));
}

TEST(a_prefix_leaves_the_tokens_that_lead_to_its_end) {
    size_t refused = 0, spelled = 0, beyond = 0, ways = 0;
    for (size_t round = 0; round < 3000; round++) {
        tokenizer *t = random_words(round % 3 > 0);
        size_t n_vocab = tokenizer_size(t), n = 1 + below(10), used = 0;
        bool silent = below(2);
        char text[64] = "";
        prefix p = {0};
        pl_error e;
        int32_t barred[2] = {(int32_t)below(n_vocab), 1};
        static const char *const letters[] = {"a", "b", " ", "\xC3\xA9"};
        while (strlen(text) < n) strcat(text, letters[below(4)]);
        if (below(4) == 0) text[strlen(text) - 1] = '\xC3'; /* not UTF-8 */
        n = strlen(text);
        brute b = {t, text, n, barred, 2};
        bool can = brute_spells(&b, 0, silent);
        pl_code rc = prefix_new(&p, t, text, n, silent, barred, 1, true, &e);
        assert_int_equal(rc, can ? PL_OK : PL_ERR_ARGUMENT);
        if (rc) {
            assert_non_null(strstr(e.message, "byte"));
            refused++;
        }
        bool first = silent;
        while (!rc && p.open) {
            float logits[WORDS_MOST];
            size_t allowed = 0, size;
            int32_t id = -1;
            for (size_t i = 0; i < n_vocab; i++) logits[i] = (float)i;
            prefix_mask(&p, logits);
            for (size_t i = 0; i < n_vocab; i++) {
                bool may = brute_may_come(&b, (int32_t)i, used, first);
                if ((logits[i] == (float)i) != may)
                    fail_msg("token %zu at %zu of '%s': %d, not %d", i, used, text, !may, may);
                if (may && below(++allowed) == 0) id = (int32_t)i;
            }
            assert_true(allowed > 0);
            ways += allowed > 1;
            assert_int_equal(prefix_insist(&p, id), id);
            for (size_t i = 0; i < n_vocab; i++) /* in spite of all masks: one that may come */
                assert_true(logits[prefix_insist(&p, (int32_t)i)] > -INFINITY);
            size_t end = brute_step(&b, id, used, first);
            size = end < n ? end - used : n - used;
            assert_int_equal(prefix_take(&p, id), size);
            used += size, first = false;
            assert_int_equal(prefix_spelled(&p, 0).size, used);
            assert_true(p.open == (used < n));
            beyond += end > n;
            if (used == n) spelled++;
        }
        if (!rc) { /* again; and a token that does not spell it ends it */
            prefix_restart(&p);
            assert_true(p.open && prefix_spelled(&p, 0).size == 0);
            assert_int_equal(prefix_take(&p, 0), 0);
            assert_false(p.open);
        }
        prefix_free(&p);
        tokenizer_free(t);
    }
    assert_true(refused > 200 && spelled > 500 && beyond > 50 && ways > 500);
}

TEST(a_prefix_that_cannot_be_spelled_says_from_where) {
    tokenizer *t = random_words(false);
    prefix p = {0};
    pl_error e;
    assert_int_equal(prefix_new(&p, t, " zz", 3, false, NULL, 0, false, &e), PL_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "byte 2 of 3"));
    prefix_free(&p);
    tokenizer_free(t);
}

TEST(a_generation_with_a_prefix_begins_or_says_that_there_is_no_memory) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[4] = {1, 270, 265, 266};
    cache_node *prompt = tiny_cache(g, list, 4);
    generate_options o = options(prompt, NULL, 0, 12, 3);
    pl_code rc = PL_ERR_MEMORY;
    size_t failed = 0;
    o.prefix = "e tx", o.n_prefix = 4;
    for (long nth = 1; rc; nth++) {
        job *j;
        pl_error e;
        mem_fail_at(nth);
        rc = job_generate(g, &o, &j, &e);
        mem_fail_at(0);
        failed += rc != PL_OK;
        if (rc) assert_int_equal(rc, PL_ERR_MEMORY);
        else job_close(j);
    }
    assert_true(failed > 8);
    node_release(prompt);
    engine_close(g);
}

/* By hand: the logits after each token, every token that does not lead to the prefix's end masked,
 * and the job's own sampler. */
static size_t generate_by_hand(engine *g, const cache_node *prompt, const generate_options *o,
                               const char *text, size_t n_text, bool silent, int32_t *out) {
    brute b = {engine_model(g)->tok, text, n_text, NULL, 0};
    int32_t all[CONTEXT];
    size_t n = node_length(prompt), spelled = 0;
    sampler *s;
    pl_error e;
    node_tokens(prompt, 0, n, all);
    assert_int_equal(sampler_new(&o->sampler, engine_model(g)->math, V, &s, &e), PL_OK);
    for (size_t i = 0; i < o->max_new_tokens; i++) {
        cache_node *c = tiny_cache(g, all, n);
        float logits[V];
        job *j;
        assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){c, n - 1, 1}, 1, &j, &e), PL_OK);
        run(j);
        memcpy(logits, job_row(j, 0), sizeof logits);
        job_close(j);
        node_release(c);
        for (int32_t id = 0; id < V && spelled < n_text; id++)
            if (!brute_may_come(&b, id, spelled, silent)) logits[id] = -INFINITY;
        out[i] = sampler_pick(s, logits, all, n, n);
        if (spelled < n_text) spelled = brute_step(&b, out[i], spelled, silent);
        silent = false;
        all[n++] = out[i];
    }
    sampler_free(s);
    return spelled >= n_text;
}

TEST(a_generation_spells_its_prefix_first_and_its_text_is_what_follows) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    size_t silent_rounds = 0, inside = 0, stopped = 0, unfinished = 0;
    for (size_t round = 0; round < 200; round++) {
        int32_t list[8], spelling[8], plain[MOST];
        size_t n = 5, max_new = 4 + below(8);
        bool silent = round % 3 == 0;
        pl_error e;
        tiny_tokens(&seed, list, n, V);
        list[n - 1] = 265;
        if (silent) list[0] = 1, n = 1;
        silent_rounds += silent;
        for (size_t i = 0; i < 8; i++) spelling[i] = 259 + (int32_t)below(V - 259);
        size_t n_spelling = 1 + below(4);
        if (below(8) == 0) spelling[0] = 3 + (int32_t)below(256); /* a byte */
        text_buffer text = spell(g, spelling, n_spelling, silent);
        if (text.n == 0) assert_int_equal(text_append(&text, "x", 1, &e), PL_OK);
        cache_node *prompt = tiny_cache(g, list, n), *before;
        generate_options o = options(prompt, NULL, 0, max_new, round);
        o.prefix = text.data, o.n_prefix = text.n;
        if (round % 2) o.sampler.temperature = 0;
        if (round % 5 == 0) o.sampler.repetition_penalty = 1.4f;
        if (round % 7 == 0) o.sampler.top_k = 3;
        o.logprobs = round % 4 == 0;
        bool whole = generate_by_hand(g, prompt, &o, text.data, text.n, silent, plain);
        unfinished += !whole;

        o.pause = round % 2;
        job *j = begin(g, &o);
        char told[1024];
        size_t n_told = 0;
        for (run(j); job_state(j) == JOB_WAITING; job_resume(j), run(j)) {
            memcpy(told + n_told, job_token(j).piece, job_token(j).n_piece);
            n_told += job_token(j).n_piece;
        }
        generate_result r = job_result(j);
        assert_int_equal(r.n_tokens, max_new);
        assert_memory_equal(r.tokens, plain, max_new * sizeof *plain);
        text_buffer all = spell(g, plain, max_new, silent);
        size_t hidden = whole ? text.n : all.n;
        assert_memory_equal(all.data, text.data, hidden);
        assert_int_equal(r.n_text, all.n - hidden);
        if (r.n_text) assert_memory_equal(r.text, all.data + hidden, r.n_text);
        if (o.pause) {
            assert_int_equal(n_told, r.n_text);
            if (n_told) assert_memory_equal(told, r.text, n_told);
        }
        if (o.logprobs) { /* the model's own, of logits that nothing has changed */
            job *k;
            cache_node *cache = cache_of(j);
            assert_int_equal(job_evaluate(g, WANT_LOGPROBS, &(job_part){cache, n - 1, max_new}, 1,
                                          &k, &e),
                             PL_OK);
            run(k);
            for (size_t i = 0; i < max_new; i++)
                assert_float_equal(*job_row(k, i), r.logprobs[i], 1e-4);
            job_close(k);
            node_release(cache);
        }

        /* A stop is searched behind the prefix; the cache before it ends with both. */
        if (whole && r.n_text > 1) {
            char stop_text[8];
            size_t at = below(r.n_text), size = r.n_text - at < 3 ? r.n_text - at : 3;
            memcpy(stop_text, r.text + at, size);
            gguf_string stop = {stop_text, size};
            job_close(j);
            o.stops = &stop, o.n_stops = 1;
            j = begin(g, &o);
            for (run(j); job_state(j) == JOB_WAITING; run(j)) job_resume(j);
            r = job_result(j);
            assert_int_equal(r.reason, FINISH_STOP);
            assert_true(r.n_text <= at);
            assert_memory_equal(all.data + text.n, r.text, r.n_text);
            stopped++;
        }
        assert_int_equal(job_cache_before(j, &before, &e), PL_OK);
        int32_t rest[CONTEXT];
        size_t length = node_length(before) - n;
        node_tokens(before, n, length, rest);
        text_buffer back = spell(g, rest, length, silent);
        assert_int_equal(back.n, hidden + r.n_text);
        assert_memory_equal(back.data, all.data, back.n);
        inside += length > 0 && rest[length - 1] != plain[length - 1];
        text_free(&back);
        node_release(before);
        job_close(j);
        text_free(&all);
        text_free(&text);
        node_release(prompt);
    }
    assert_true(silent_rounds > 50 && stopped > 60 && inside > 5);
    assert_true(unfinished > 0);
    assert_int_equal(cache_store_nodes(engine_store(g)), 0);
    engine_close(g);
}

TEST(a_prefix_comes_before_what_the_sampler_forbids_and_ends_with_what_the_owner_chooses) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[4] = {1, 270, 265, 266}, banned[V];
    cache_node *prompt = tiny_cache(g, list, 4), *cache, *cut;
    pl_error e;
    for (int32_t i = 0; i < V; i++) banned[i] = i;
    generate_options o = options(prompt, NULL, 0, 12, 3);
    o.prefix = "e tx", o.n_prefix = 4;
    o.sampler.banned = banned, o.sampler.n_banned = V;
    job *j = begin(g, &o);
    run(j);
    text_buffer all = spell(g, job_result(j).tokens, 12, false);
    assert_memory_equal(all.data, "e tx", 4);
    text_free(&all);
    job_close(j);

    /* Rewound into it, it goes on; from elsewhere, and behind other tokens, it does not. */
    o.sampler.n_banned = 0;
    o.pause = o.choose = true;
    j = begin(g, &o);
    run(j);
    for (size_t i = 0; i < V; i++) {
        gguf_string piece = tokenizer_piece(engine_model(g)->tok, (int32_t)i);
        bool spells = piece.size && piece.size <= 4 && !memcmp(piece.data, "e tx", piece.size);
        assert_true((job_choice(j)[i] > -INFINITY) == spells);
    }
    assert_int_equal(job_choose(j, false, 260, &e), PL_OK); /* "e" */
    job_resume(j), run(j);
    assert_int_equal(job_choose(j, true, 0, &e), PL_OK); /* " " or " t" */
    cache = cache_of(j);
    int32_t second = job_token(j).id;
    assert_true(second == 259 || second == 35 || second == 287);
    assert_int_equal(node_truncate(cache, 5, &cut, &e), PL_OK);
    assert_int_equal(job_resume_from(j, cut, &e), PL_OK);
    run(j);
    assert_true(job_choice(j)[287] > -INFINITY && job_choice(j)[260] == -INFINITY);
    assert_int_equal(job_choose(j, false, 300, &e), PL_OK);
    job_resume(j), run(j);
    size_t free_ones = 0;
    for (size_t i = 0; i < V; i++) free_ones += job_choice(j)[i] > -INFINITY;
    assert_int_equal(free_ones, V);
    check_text(g, (int32_t[]){300}, 1, false, job_result(j).text, job_result(j).n_text);
    node_release(cut);
    assert_int_equal(node_truncate(prompt, 2, &cut, &e), PL_OK);
    assert_int_equal(job_resume_from(j, cut, &e), PL_OK);
    run(j);
    free_ones = 0;
    for (size_t i = 0; i < V; i++) free_ones += job_choice(j)[i] > -INFINITY;
    assert_int_equal(free_ones, V);
    job_close(j);
    node_release(cut);
    node_release(cache);
    node_release(prompt);
    engine_close(g);
}

/* What stays of a text that is rewound may begin a stop, and what was handed out of it stays so. */
TEST(behind_a_rewind_stops_span_the_cut_and_pieces_add_up) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    size_t spans = 0;
    for (size_t round = 0; round < 200; round++) {
        int32_t list[4] = {1, 270, 265, 266}, plain[MOST];
        char told[2048];
        size_t n_told = 0;
        pl_error e;
        cache_node *prompt = tiny_cache(g, list, 4), *cache, *cut;
        generate_options o = options(prompt, NULL, 0, 16, round);
        text_buffer all = said_by(g, &o, plain);
        job *j;
        size_t keep = 1 + below(8), seen = keep + 1 + below(4);
        text_buffer stays = spell(g, plain, keep, false);
        /* What the draws say again spans the cut, from a byte of it on. */
        size_t from = stays.n ? stays.n - 1 - below(stays.n < 3 ? stays.n : 3) : 0;
        size_t size = stays.n - from + 1 + below(2);
        gguf_string stop = {all.data + from, from + size <= all.n ? size : all.n - from};
        o.stops = &stop, o.n_stops = 1, o.pause = true;
        j = begin(g, &o);
        size_t drawn = 0;
        for (run(j); job_state(j) == JOB_WAITING && ++drawn < seen; job_resume(j), run(j)) continue;
        if (drawn >= keep) { /* back to where nothing but `keep` tokens are; then to the end */
            cache = cache_of(j);
            assert_int_equal(node_truncate(cache, 4 + keep, &cut, &e), PL_OK);
            assert_int_equal(job_resume_from(j, cut, &e), PL_OK);
            generate_result r = job_result(j);
            bool complete = false; /* then it was said, and ends nothing any more */
            for (size_t at = 0; at + stop.size <= stays.n; at++)
                complete = complete || !memcmp(stays.data + at, stop.data, stop.size);
            assert_int_equal(r.n_text, stays.n);
            size_t held = r.n_text - r.n_certain;
            assert_true(held <= stop.size + 3);
            for (run(j); job_state(j) == JOB_WAITING; job_resume(j), run(j)) {
                memcpy(told + n_told, job_token(j).piece, job_token(j).n_piece);
                n_told += job_token(j).n_piece;
            }
            r = job_result(j);
            size_t at = 0; /* the first that ends behind what stays */
            while (at + stop.size <= all.n &&
                   (at + stop.size <= stays.n || memcmp(all.data + at, stop.data, stop.size)))
                at++;
            if (at + stop.size <= all.n) {
                assert_int_equal(r.reason, FINISH_STOP);
                assert_int_equal(r.n_text, at);
                spans += at < stays.n;
            }
            assert_memory_equal(all.data, r.text, r.n_text);
            /* pieces go on where those before had come to, at the latest at the cut */
            assert_true(n_told <= r.n_text || r.n_text < stays.n);
            if (n_told)
                assert_memory_equal(told, r.text + r.n_text - n_told, n_told);
            node_release(cut);
            node_release(cache);
        }
        job_close(j);
        text_free(&stays);
        text_free(&all);
        node_release(prompt);
    }
    assert_true(spans > 50);
    engine_close(g);
}

/* ---- interrupts ---- */

static void *interrupt_later(void *microseconds) {
    long us = *(const long *)microseconds;
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
    for (int i = 0; i < 1000 && !engine_interrupt(); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
    return NULL;
}

TEST(an_interrupted_prefill_gives_its_claims_back_and_ends_the_same_when_run_again) {
    engine *g = open_tiny(TYPE_Q8_0, 2), *calm = open_tiny(TYPE_Q8_0, 1);
    int32_t list[500];
    float want[V];
    job *j;
    pl_error e;
    size_t cancelled = 0;
    tiny_tokens(&seed, list, 500, V);
    cache_node *n = tiny_cache(calm, list, 500);
    assert_int_equal(job_evaluate(calm, WANT_LOGITS, &(job_part){n, 499, 1}, 1, &j, &e), PL_OK);
    run(j);
    memcpy(want, job_row(j, 0), sizeof want);
    job_close(j);
    node_release(n);
    assert_false(engine_interrupt()); /* nobody is there */
    for (size_t round = 0; round < 60; round++) {
        pthread_t thread;
        long us = (long)below(6000);
        n = tiny_cache(g, list, 500);
        assert_int_equal(job_evaluate(g, WANT_LOGITS, &(job_part){n, 499, 1}, 1, &j, &e), PL_OK);
        if (round == 0) assert_true(engine_interrupt()); /* one at least is in time */
        else assert_int_equal(pthread_create(&thread, NULL, interrupt_later, &us), 0);
        pl_code rc = job_run(j, &e);
        if (round > 0) pthread_join(thread, NULL);
        if (rc) {
            assert_int_equal(rc, PL_ERR_CANCELLED);
            assert_int_equal(node_processed(n), 0); /* one step: all or nothing */
            assert_int_equal(cache_store_pool(engine_store(g))->of[POOL_BLOCKS].n_used, 0);
            cancelled++;
            rc = job_run(j, &e);
            if (rc == PL_ERR_CANCELLED) rc = job_run(j, &e); /* one that came in between */
        }
        assert_int_equal(rc, PL_OK);
        assert_memory_equal(job_row(j, 0), want, sizeof want);
        job_close(j);
        node_release(n);
    }
    assert_true(cancelled > 0);
    engine_close(g);
    engine_close(calm);
}

TEST(an_interrupted_generation_keeps_its_tokens_and_can_go_on) {
    engine *g = open_tiny(TYPE_Q8_0, 2);
    int32_t list[100], plain[200];
    size_t cancelled = 0;
    pl_error e;
    tiny_tokens(&seed, list, 100, V);
    cache_node *prompt = tiny_cache(g, list, 100), *cache;
    generate_options o = options(prompt, NULL, 0, 200, 8);
    job *j = begin(g, &o);
    run(j);
    memcpy(plain, job_result(j).tokens, sizeof plain);
    job_close(j);
    for (size_t round = 0; round < 20; round++) {
        pthread_t thread;
        long us = (long)below(20000);
        j = begin(g, &o);
        if (round == 0) assert_true(engine_interrupt()); /* one at least is in time */
        else assert_int_equal(pthread_create(&thread, NULL, interrupt_later, &us), 0);
        run(j);
        if (round > 0) pthread_join(thread, NULL);
        generate_result r = job_result(j);
        assert_memory_equal(r.tokens, plain, r.n_tokens * sizeof *plain);
        cache = cache_of(j);
        assert_int_equal(node_length(cache), 100 + r.n_tokens);
        if (r.reason == FINISH_CANCELLED) {
            cancelled++;
            assert_int_equal(job_resume_from(j, cache, &e), PL_OK);
            run(j);
        }
        assert_int_equal(job_result(j).reason, FINISH_LENGTH);
        assert_int_equal(job_result(j).n_tokens, 200);
        assert_memory_equal(job_result(j).tokens, plain, sizeof plain);
        job_close(j);
        node_release(cache);
    }
    assert_true(cancelled > 0);
    node_release(prompt);
    engine_close(g);
}

TEST(an_interrupt_reaches_a_generation_that_waits_and_one_that_processes_its_input_only) {
    engine *g = open_tiny(TYPE_Q8_0, 1);
    int32_t list[8];
    tiny_tokens(&seed, list, 8, V);
    cache_node *empty = tiny_cache(g, NULL, 0);
    generate_options o = options(empty, list, 8, 5, 8);
    pl_error e;
    o.pause = true;
    job *j = begin(g, &o);
    run(j);
    assert_true(engine_interrupt());
    assert_false(engine_interrupt()); /* not noticed yet */
    job_resume(j);
    run(j);
    assert_int_equal(job_state(j), JOB_DONE);
    assert_int_equal(job_result(j).reason, FINISH_CANCELLED);
    assert_int_equal(job_result(j).n_tokens, 1);
    job_close(j);
    assert_false(engine_interrupt());
    o.pause = false, o.max_new_tokens = 0;
    j = begin(g, &o);
    assert_true(engine_interrupt());
    run(j);
    assert_int_equal(job_result(j).reason, FINISH_CANCELLED);
    cache_node *cache = cache_of(j);
    assert_int_equal(node_length(cache), 8);
    assert_int_equal(node_processed(cache), 0);
    job_close(j);
    assert_int_equal(job_evaluate(g, WANT_NOTHING, &(job_part){cache, 0, 0}, 1, &j, &e), PL_OK);
    run(j);
    assert_int_equal(node_processed(cache), 8);
    job_close(j);
    node_release(cache);
    node_release(empty);
    engine_close(g);
}

/* ---- a real model ---- */

/* A text's end that a longer piece begins with is taken off, and spelled by tokens that are drawn
 * evenly from those which may come. */
static void check_healing(const tokenizer *t, const char *text, size_t n, bool silent,
                          size_t *healed) {
    const pieces *p;
    id_list ids = {0};
    text_buffer head = {0}, rest = {0}, all = {0};
    prefix wanted = {0};
    pl_error e;
    size_t n_vocab = tokenizer_size(t);
    float *logits = malloc(n_vocab * sizeof *logits);
    encode_options how = {.start = silent};
    assert_int_equal(tokenizer_encode(t, text, n, how, &ids, &e), PL_OK);
    assert_int_equal(tokenizer_pieces(t, &p, &e), PL_OK);
    size_t run = pieces_unfinished(p, ids.ids, ids.n), kept = ids.n - run;
    if (run == ids.n && ids.n > 0 && !silent) run--, kept++;
    bool still_silent = silent && kept == 0;
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, false, silent, &all, &e), PL_OK);
    assert_int_equal(tokenizer_decode(t, ids.ids, kept, false, silent, &head, &e), PL_OK);
    assert_int_equal(
        tokenizer_decode(t, ids.ids + kept, run, false, still_silent, &rest, &e), PL_OK);
    assert_int_equal(head.n + rest.n, all.n);
    if (head.n) assert_memory_equal(head.data, all.data, head.n);
    if (rest.n) assert_memory_equal(rest.data, all.data + head.n, rest.n);
    if (rest.n) {
        if (prefix_new(&wanted, t, rest.data, rest.n, still_silent, NULL, 0, true, &e))
            fail_msg("%s", e.message);
        (*healed)++;
    }
    ids.n = 0;
    while (rest.n && wanted.open) {
        size_t may = 0;
        int32_t id = -1;
        memset(logits, 0, n_vocab * sizeof *logits);
        prefix_mask(&wanted, logits);
        for (size_t i = 0; i < n_vocab; i++)
            if (logits[i] > -INFINITY && below(++may) == 0) id = (int32_t)i;
        assert_true(id >= 0);
        prefix_take(&wanted, id);
        assert_int_equal(id_list_push(&ids, id, &e), PL_OK);
    }
    head.n = 0;
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, false, still_silent, &head, &e), PL_OK);
    assert_true(head.n >= rest.n);
    if (rest.n) assert_memory_equal(head.data, rest.data, rest.n);
    prefix_free(&wanted);
    id_list_free(&ids);
    text_free(&head);
    text_free(&rest);
    text_free(&all);
    free(logits);
}

TEST(texts_of_real_vocabularies_are_healed_and_spelled_again) {
    static const char *const names[] = {"deepseek-llm", "falcon", "gpt-2",
                                        "llama-bpe", "llama-spm", "qwen2"};
    const char *folder;
    SHARED_OR_SKIP(folder, "vocab");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        const gguf_options how = {.map = true, .header_only = true};
        gguf *file;
        tokenizer *t = NULL;
        pl_error e;
        size_t size, healed = 0;
        snprintf(path, sizeof path, "%s/cases.inp", folder);
        char *cases = read_whole(path, &size);
        snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder, names[i]);
        if (gguf_open(path, &how, &file, &e) || tokenizer_new(file, &t, &e))
            fail_msg("%s", e.message);
        gguf_close(file);
        for (size_t round = 0; round < 600; round++) {
            char text[64];
            size_t n = 1 + below(40), at = below(size - n);
            memcpy(text, cases + at, n);
            if (round % 4 == 0) /* bytes that are not UTF-8, or not yet */
                for (size_t k = 0; k < n; k++)
                    if (below(6) == 0) text[k] = (char)below(256);
            if (round % 4 == 1) memcpy(text, "\xF0\x9F\x98\x80", n < 4 ? n : 4);
            check_healing(t, text, n, round % 3 == 0, &healed);
        }
        assert_true(healed > 250);
        tokenizer_free(t);
        free(cases);
    }
}

TEST(stories260k_tells_its_published_story) {
    const char *path;
    SHARED_OR_SKIP(path, "models/stories260K.gguf");
    char *story = read_whole(shared_path("models/stories260K.greedy.txt"), NULL);
    int32_t bos = 1;
    for (size_t i = 0; kernels_at(i); i++) {
        pl_error e;
        engine *g;
        engine_options eo = {
            .model = {
                .path = path, .isa = kernels_at(i)->name, .kv = (kv_type)(i % 2), .threads = 2}};
        if (engine_open(&eo, &g, &e)) fail_msg("%s", e.message);
        for (size_t way = 0; way < 3;
             way++) { /* at once; in calls of 7; token by token, streamed */
            cache_node *cache = tiny_cache(g, NULL, 0), *next;
            static char text[4096];
            size_t n = 0, done = 0;
            while (done < 200) {
                size_t step = way == 1 ? (200 - done < 7 ? 200 - done : 7) : 200;
                generate_options o = {.cache = cache,
                                      .input = &bos,
                                      .n_input = done == 0,
                                      .max_new_tokens = step,
                                      .sampler = sampler_defaults(),
                                      .pause = way == 2};
                job *j = begin(g, &o);
                for (run(j); job_state(j) == JOB_WAITING; job_resume(j), run(j)) {
                    memcpy(text + n, job_token(j).piece, job_token(j).n_piece);
                    n += job_token(j).n_piece;
                }
                if (way < 2) {
                    memcpy(text + n, job_result(j).text, job_result(j).n_text);
                    n += job_result(j).n_text;
                }
                done += step;
                next = cache_of(j);
                node_release(cache);
                cache = next;
                job_close(j);
            }
            node_release(cache);
            text[n] = 0;
            assert_string_equal(text, story);
        }
        engine_close(g);
    }
    free(story);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define GENERATE_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        GENERATE_TEST(a_generation_that_pauses_hands_out_every_token_and_all_of_the_text),
        GENERATE_TEST(a_pausing_generation_can_be_ended_and_keeps_what_it_had),
        GENERATE_TEST(a_stop_ends_the_text_before_it_and_the_cache_before_ends_with_the_text),
        GENERATE_TEST(stop_tokens_and_the_end_token_count_and_have_no_text),
        GENERATE_TEST(a_generation_goes_on_from_a_cache_that_was_forced_rewound_or_is_another),
        GENERATE_TEST(going_on_from_a_cache_stops_at_the_limits),
        GENERATE_TEST(a_prefix_leaves_the_tokens_that_lead_to_its_end),
        GENERATE_TEST(a_prefix_that_cannot_be_spelled_says_from_where),
        GENERATE_TEST(a_generation_with_a_prefix_begins_or_says_that_there_is_no_memory),
        GENERATE_TEST(a_generation_spells_its_prefix_first_and_its_text_is_what_follows),
        GENERATE_TEST(
            a_prefix_comes_before_what_the_sampler_forbids_and_ends_with_what_the_owner_chooses),
        GENERATE_TEST(behind_a_rewind_stops_span_the_cut_and_pieces_add_up),
        GENERATE_TEST(
            an_interrupted_prefill_gives_its_claims_back_and_ends_the_same_when_run_again),
        GENERATE_TEST(an_interrupted_generation_keeps_its_tokens_and_can_go_on),
        GENERATE_TEST(
            an_interrupt_reaches_a_generation_that_waits_and_one_that_processes_its_input_only),
        GENERATE_TEST(texts_of_real_vocabularies_are_healed_and_spelled_again),
        GENERATE_TEST(stories260k_tells_its_published_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
