/* test_decode.c: the sampler against a plain float64 reading of its definition, its random numbers
 * against the published ones, and the stop strings against a brute-force search. Generations are in
 * test_engine.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "decode/sampler.h"
#include "decode/stops.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

static uint64_t seed = 3;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }
static double uniform(void) { return (double)(tiny_random(&seed) >> 11) * 0x1p-53; }

/* ---- random numbers ---- */

/* Philox4x32-10 as the paper's figure has it, 64-bit products by hand. */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4], k[2] = {key[0], key[1]};
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++) {
        unsigned long long p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k[0];
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k[1];
        c[3] = (uint32_t)p0;
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

TEST(draws_are_philox_of_seed_and_position) {
    /* Random123's kat_vectors, philox4x32 10. */
    static const struct { uint32_t counter[4], key[2], want[4]; } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];
    for (size_t i = 0; i < 3; i++) {
        philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].want, sizeof out);
    }
    uint64_t bits = (uint64_t)0xe169c58d << 32 | 0x6627e8d5;
    assert_true(philox_uniform(0, 0) == (double)(bits >> 11) * 0x1p-53);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t s = tiny_random(&seed), position = tiny_random(&seed);
        philox((uint32_t[]){(uint32_t)position, (uint32_t)(position >> 32), 0, 0},
               (uint32_t[]){(uint32_t)s, (uint32_t)(s >> 32)}, out);
        assert_true(philox_uniform(s, position) ==
                    (double)(((uint64_t)out[1] << 32 | out[0]) >> 11) * 0x1p-53);
    }
}

static double chi_square(const double *found, const double *expected, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (expected[i] > 0) sum += pow(found[i] - expected[i], 2) / expected[i];
    return sum;
}

TEST(draws_are_uniform_over_positions_and_over_seeds) {
    for (int over_seeds = 0; over_seeds < 2; over_seeds++) {
        enum { BINS = 64, N = 64000 };
        double found[BINS] = {0}, expected[BINS];
        for (uint64_t i = 0; i < N; i++) {
            double u = over_seeds ? philox_uniform(i, 17) : philox_uniform(42, i);
            assert_true(u >= 0 && u < 1);
            found[(size_t)(u * BINS)]++;
        }
        for (size_t i = 0; i < BINS; i++) expected[i] = (double)N / BINS;
        assert_true(chi_square(found, expected, BINS) <
                    63 + 5 * sqrt(2 * 63.0)); /* 5 sigma over 63 degrees */
    }
}

/* ---- filters ---- */

static const float *sorted_by;
static int by_logit(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sorted_by[x] != sorted_by[y]) return sorted_by[x] > sorted_by[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

/* The probabilities [n] that the options leave, by their definition. False when rounding could
 * decide about a candidate. */
static bool reference(const float *l, size_t n, const sampler_options *o, double *p) {
    int32_t *ids = malloc(n * sizeof *ids);
    double *q = malloc(n * sizeof *q), sum = 0, mass = 0, least;
    bool clear = true;
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        p[i] = 0;
        if (l[i] > -INFINITY) ids[m++] = (int32_t)i;
    }
    sorted_by = l;
    qsort(ids, m, sizeof *ids, by_logit);
    if (o->top_k && o->top_k < m) m = o->top_k;
    for (size_t i = 0; i < m; i++) sum += q[i] = exp((double)l[ids[i]] - (double)l[ids[0]]);
    for (size_t i = 0; i < m; i++) q[i] /= sum;
    if (o->top_p < 1) {
        size_t k = 0;
        while (k < m) {
            mass += q[k++];
            if (fabs(mass - (double)o->top_p) < 1e-6) clear = false;
            if (mass >= (double)o->top_p) break;
        }
        m = k;
    }
    least = (double)o->min_p * q[0];
    if (o->min_p > 0)
        for (size_t i = 1; i < m; i++) {
            if (fabs(q[i] / q[0] - (double)o->min_p) < 1e-6 * (double)o->min_p) clear = false;
            if (q[i] < least) m = i;
        }
    sum = 0;
    for (size_t i = 0; i < m; i++)
        sum += q[i] = exp(((double)l[ids[i]] - (double)l[ids[0]]) / (double)o->temperature);
    for (size_t i = 0; i < m; i++) p[ids[i]] = q[i] / sum;
    free(ids);
    free(q);
    return clear;
}

/* Where u falls when the candidates stand side by side in order of ids; *margin: how far from the
 * next border. */
static int32_t fall(const double *p, size_t n, double u, double *margin) {
    double sum = 0;
    int32_t last = -1;
    for (size_t i = 0; i < n; i++) {
        if (p[i] <= 0) continue;
        last = (int32_t)i;
        *margin = fmin(u - sum, sum + p[i] - u);
        sum += p[i];
        if (sum > u) break;
    }
    return last;
}

static sampler *open_sampler(const sampler_options *o, const kernels *math, size_t n) {
    sampler *s;
    pl_error e;
    assert_int_equal(sampler_new(o, math, n, &s, &e), PL_OK);
    return s;
}

static void random_logits(float *l, size_t n) {
    double scale = pow(10, 2 * uniform() - 1), step = below(2) ? 0.5 : 0;
    size_t masked = below(3) ? 0 : below(n + 1);
    for (size_t i = 0; i < n; i++) {
        double x = scale * (uniform() + uniform() + uniform() + uniform() - 2) * 2;
        l[i] = (float)(step > 0 ? step * round(x / step) : x); /* ties, now and then */
    }
    for (size_t i = 0; i < masked; i++) l[below(n)] = -INFINITY;
    l[below(n)] = (float)scale;
}

TEST(filters_leave_what_their_definitions_say) {
    static const size_t sizes[] = {1, 2, 7, 100, 1024, 1025, 5000};
    static const float temperatures[] = {1, 0.8f, 0.1f, 1e-6f, 1e-38f, 5, 100, 1e30f};
    static const float top_ps[] = {1, 1, 0.95f, 0.5f, 0.1f, 1e-6f, 0.999f, 1.1754944e-38f};
    static const float min_ps[] = {0, 0, 0.05f, 0.5f, 1, 1e-9f};
    size_t checked = 0;
    for (size_t round = 0; round < 6000; round++) {
        size_t n = sizes[below(round % 10 ? 5 : 7)], t = round % 8;
        float *l = malloc(n * sizeof *l), *copy = malloc(n * sizeof *l);
        double *p = malloc(n * sizeof *p), margin = 1;
        const kernels *math = kernels_at(kernels_at(1) ? round % 2 : 0);
        sampler_options o = sampler_defaults();
        random_logits(l, n);
        o.temperature = temperatures[t];
        o.top_k = below(2) ? 0 : (uint32_t)(1 + below(below(2) ? 5 : n + 3));
        o.top_p = top_ps[below(8)];
        o.min_p = min_ps[below(6)];
        o.seed = tiny_random(&seed);
        sampler *s = open_sampler(&o, math, n);
        bool clear = reference(l, n, &o, p);
        for (uint64_t position = 0; position < 8 && clear; position++) {
            memcpy(copy, l, n * sizeof *l);
            int32_t id = sampler_pick(s, copy, NULL, 0, position),
                    want = fall(p, n, philox_uniform(o.seed, position), &margin);
            assert_true(id >= 0 && (size_t)id < n && p[id] > 0);
            if (margin < 1e-5) continue; /* float rounding may decide */
            if (id != want)
                fail_msg("n %zu, T %g, k %u, p %g, min %g: %d, not %d", n, (double)o.temperature,
                         o.top_k, (double)o.top_p, (double)o.min_p, id, want);
            checked++;
        }
        sampler_free(s);
        free(l);
        free(copy);
        free(p);
    }
    assert_true(checked > 30000);
}

TEST(temperature_zero_takes_the_largest_and_ties_go_to_the_lower_id) {
    float l[] = {1, 3, -INFINITY, 3, 2}, nothing[] = {-INFINITY, -INFINITY},
          one[] = {-INFINITY, INFINITY, 3};
    sampler_options o = sampler_defaults();
    sampler *s = open_sampler(&o, kernels_best(), 5);
    assert_int_equal(sampler_pick(s, l, NULL, 0, 0), 1);
    sampler_free(s);
    o.temperature = 1;
    s = open_sampler(&o, kernels_best(), 2);
    assert_in_range(sampler_pick(s, nothing, NULL, 0, 0), 0, 1);
    sampler_free(s);
    s = open_sampler(&o, kernels_best(), 3);
    assert_int_equal(sampler_pick(s, one, NULL, 0, 0), 1);
    sampler_free(s);
}

TEST(not_a_number_among_the_logits_is_survived_and_not_drawn) {
    for (size_t k = 0; k < 64; k++) {
        float l[100];
        sampler_options o = sampler_defaults();
        random_logits(l, 100);
        for (size_t i = 0; i < (k % 4 == 3 ? 100 : 5); i++) l[k % 4 == 3 ? i : below(100)] = NAN;
        o.temperature = (float)(k % 2);
        o.top_k = k & 2 ? 10 : 0;
        o.top_p = k & 4 ? 0.9f : 1;
        o.min_p = k & 8 ? 0.1f : 0;
        sampler *s = open_sampler(&o, kernels_best(), 100);
        float copy[100];
        memcpy(copy, l, sizeof l);
        int32_t id = sampler_pick(s, copy, NULL, 0, k);
        assert_in_range(id, 0, 99);
        assert_true(k % 4 == 3 ? id == 0 : l[id] > -INFINITY);
        sampler_free(s);
    }
}

TEST(draws_follow_the_probabilities) {
    enum { V = 40, N = 200000 };
    for (size_t round = 0; round < 4; round++) {
        float l[V], copy[V];
        double p[V], found[V] = {0}, degrees = -1;
        sampler_options o = sampler_defaults();
        for (size_t i = 0; i < V; i++) l[i] = (float)(3 * uniform());
        o.temperature = 0.8f;
        o.top_k = round == 1 ? 12 : 0;
        o.top_p = round == 2 ? 0.8f : 1;
        o.min_p = round == 3 ? 0.2f : 0;
        o.seed = 99;
        assert_true(reference(l, V, &o, p));
        sampler *s = open_sampler(&o, kernels_best(), V);
        for (uint64_t i = 0; i < N; i++) {
            memcpy(copy, l, sizeof l);
            found[sampler_pick(s, copy, NULL, 0, i)]++;
        }
        for (size_t i = 0; i < V; i++) {
            p[i] *= N;
            degrees += p[i] > 0;
            assert_true(p[i] > 0 || found[i] <= 0);
        }
        assert_true(chi_square(found, p, V) < degrees + 5 * sqrt(2 * degrees));
        sampler_free(s);
    }
}

/* ---- bias and penalties ---- */

TEST(bias_and_penalties_change_the_logits_as_defined) {
    const int32_t tokens[] = {3, 0, 0, 1, 0, 4};
    const logit_bias bias[] = {{2, 1.5f}, {5, -INFINITY}, {2, 0.25f}, {1, -0.5f}};
    const float l[] = {2, -2, 0.5f, 0, -1, 9};
    /* With all tokens: 0 three times, 1, 3 and 4 once. Bias first, then / 2 or * 2, then - 0.5 -
     * 0.25 * count. */
    const float all[] = {2.0f / 2 - 0.5f - 0.75f, -2.5f * 2 - 0.75f, 0.5f + 1.75f, 0 - 0.75f,
                         -1.0f * 2 - 0.75f,       -INFINITY};
    /* With the last three, 1 0 4: each once. */
    const float three[] = {2.0f / 2 - 0.75f,  -2.5f * 2 - 0.75f, 2.25f, 0,
                           -1.0f * 2 - 0.75f, -INFINITY};
    sampler_options o = sampler_defaults();
    float x[6];
    o.repetition_penalty = 2, o.presence_penalty = 0.5f, o.frequency_penalty = 0.25f;
    o.bias = bias, o.n_bias = 4;
    sampler *s = open_sampler(&o, kernels_best(), 6);
    for (int twice = 0; twice < 2; twice++) { /* nothing stays from one pick to the next */
        memcpy(x, l, sizeof l);
        assert_int_equal(sampler_pick(s, x, tokens, 6, 6), 2);
        for (size_t i = 0; i < 6; i++) assert_true(x[i] == all[i]);
    }
    sampler_free(s);
    o.penalty_last_n = 3;
    s = open_sampler(&o, kernels_best(), 6);
    memcpy(x, l, sizeof l);
    assert_int_equal(sampler_pick(s, x, tokens, 6, 6), 2);
    for (size_t i = 0; i < 6; i++) assert_true(x[i] == three[i]);
    sampler_free(s);
    o.penalty_last_n = 0; /* none at all */
    s = open_sampler(&o, kernels_best(), 6);
    memcpy(x, l, sizeof l);
    sampler_pick(s, x, tokens, 6, 6);
    assert_true(x[0] == l[0] && x[4] == l[4]);
    sampler_free(s);
}

/* ---- rows of logits ---- */

TEST(top_argmax_entropy_and_logsumexp_match_float64) {
    for (size_t round = 0; round < 2000; round++) {
        size_t n = 1 + below(below(10) ? 70 : 3000), k = below(n + 4);
        float *l = malloc(n * sizeof *l), *logprobs = malloc((k + 1) * sizeof *l);
        int32_t *order = malloc(n * sizeof *order), *ids = malloc((k + 1) * sizeof *ids);
        double max = -INFINITY, sum = 0, entropy = 0;
        random_logits(l, n);
        for (size_t i = 0; i < n; i++) order[i] = (int32_t)i, max = fmax(max, (double)l[i]);
        for (size_t i = 0; i < n; i++) sum += exp((double)l[i] - max);
        double z = max + log(sum);
        for (size_t i = 0; i < n; i++)
            if (l[i] > -INFINITY) entropy -= exp((double)l[i] - z) * ((double)l[i] - z);
        sorted_by = l;
        qsort(order, n, sizeof *order, by_logit);
        for (size_t m = 0; kernels_at(m); m++) {
            const kernels *math = kernels_at(m);
            assert_true(fabs(logits_logsumexp(math, l, n) - z) < 1e-5);
            assert_true(fabs(logits_entropy(math, l, n) - entropy) < 1e-4);
            assert_int_equal(logits_top(math, l, n, k, ids, logprobs), k < n ? k : n);
            for (size_t i = 0; i < k && i < n; i++) {
                assert_int_equal(ids[i], order[i]);
                double want = (double)l[order[i]] - z;
                assert_true((isinf(want) && isinf(logprobs[i])) ||
                            fabs((double)logprobs[i] - want) < 1e-5 * (1 + fabs(want)));
            }
        }
        assert_int_equal(logits_argmax(kernels_best(), l, n), order[0]);
        free(l);
        free(logprobs);
        free(order);
        free(ids);
    }
}

/* ---- stops ---- */

static bool occurs_at(const char *text, size_t n, size_t at, const char *stop, size_t size) {
    return at + size <= n && !memcmp(text + at, stop, size);
}

/* Where the text ends by a stop: the least begin, then the first listed. SIZE_MAX: by none. */
static size_t brute_cut(const char *text, size_t n, const gguf_string *stops, size_t n_stops,
                        size_t *which) {
    for (size_t at = 0; at < n; at++)
        for (size_t i = 0; i < n_stops; i++)
            if (occurs_at(text, n, at, stops[i].data, stops[i].size)) {
                *which = i;
                return at;
            }
    return SIZE_MAX;
}

/* How many bytes at the end of the text a stop may begin with. */
static size_t brute_held(const char *text, size_t n, const gguf_string *stops, size_t n_stops) {
    size_t held = 0;
    for (size_t i = 0; i < n_stops; i++)
        for (size_t k = held + 1; k < stops[i].size && k <= n; k++)
            if (!memcmp(text + n - k, stops[i].data, k)) held = k;
    return held;
}

/* The end of the last whole character of valid UTF-8. */
static size_t whole(const char *text, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if (c < 0x80) return n;
        if (c >= 0xC0) return (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) > back ? n - back : n;
    }
    return n;
}

static size_t random_text(char *out, size_t characters, size_t alphabet) {
    static const char *const letters[] = {
        "a", "b", "ab", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC3\xA8", "\n"};
    size_t n = 0;
    for (size_t i = 0; i < characters; i++) {
        const char *s = letters[below(alphabet)];
        memcpy(out + n, s, strlen(s));
        n += strlen(s);
    }
    return n;
}

TEST(stops_are_found_and_held_back_as_a_brute_force_search_says) {
    size_t stopped = 0, ran_out = 0;
    for (size_t round = 0; round < 20000; round++) {
        char text[512], stop_text_[8][64], out[512];
        gguf_string stops[8];
        size_t n_stops = below(5), alphabet = 1 + below(8),
               n = random_text(text, below(40), alphabet), n_out = 0, fed = 0;
        stop_text t = {0};
        pl_error e;
        for (size_t i = 0; i < n_stops; i++)
            stops[i] = (gguf_string){stop_text_[i],
                                     random_text(stop_text_[i], 1 + below(8), alphabet)};
        assert_int_equal(stops_new(&t, stops, n_stops, &e), PL_OK);
        for (size_t i = 0; i < n_stops; i++)
            memset(stop_text_[i] + stops[i].size, 'x', 4); /* they were copied */
        while (fed < n && t.found == SIZE_MAX) {
            size_t piece = below(6) < 5 ? below(5) : below(20), which = SIZE_MAX;
            if (piece > n - fed) piece = n - fed;
            assert_int_equal(stops_feed(&t, text + fed, piece, &e), PL_OK);
            fed += piece;
            size_t cut = brute_cut(text, fed, stops, n_stops, &which);
            assert_true(t.found == which);
            gguf_string got = stops_release(&t, cut != SIZE_MAX);
            memcpy(out + n_out, got.data, got.size);
            n_out += got.size;
            size_t end = cut != SIZE_MAX ? cut
                                         : whole(text, fed - brute_held(text, fed, stops, n_stops));
            if (n_out != end) fail_msg("%zu bytes released, not %zu", n_out, end);
            assert_memory_equal(out, text, n_out);
            assert_true(cut == SIZE_MAX || t.text.n == cut);
        }
        if (t.found == SIZE_MAX) {
            gguf_string got = stops_release(&t, true);
            memcpy(out + n_out, got.data, got.size);
            n_out += got.size;
            assert_int_equal(n_out, n);
            assert_memory_equal(out, text, n);
            ran_out++;
        } else {
            stopped++;
        }
        assert_int_equal(stops_release(&t, true).size, 0);
        stops_free(&t);
    }
    assert_true(stopped > 3000 && ran_out > 3000);
}

/* The same as brute_cut, of stops that end behind `said` alone. */
static size_t brute_cut_behind(const char *text, size_t n, size_t said, const gguf_string *stops,
                               size_t n_stops, size_t *which) {
    for (size_t at = 0; at < n; at++)
        for (size_t i = 0; i < n_stops; i++)
            if (at + stops[i].size > said &&
                occurs_at(text, n, at, stops[i].data, stops[i].size)) {
                *which = i;
                return at;
            }
    return SIZE_MAX;
}

TEST(what_a_restarted_text_says_holds_no_stop_but_may_begin_one) {
    size_t across = 0, passed = 0;
    for (size_t round = 0; round < 20000; round++) {
        char text[512], stop_texts[8][64];
        gguf_string stops[8];
        size_t n_stops = 1 + below(4), alphabet = 1 + below(4),
               n = random_text(text, 1 + below(30), alphabet), said = below(n + 1), fed = 0;
        stop_text t;
        pl_error e;
        for (size_t i = 0; i < n_stops; i++)
            stops[i] =
                (gguf_string){stop_texts[i], random_text(stop_texts[i], 1 + below(6), alphabet)};
        assert_int_equal(stops_new(&t, stops, n_stops, &e), PL_OK);
        assert_int_equal(stops_feed(&t, text, below(n + 1), &e), PL_OK);
        size_t released = stops_release(&t, false).size;
        assert_true(released <= n);
        stops_restart(&t);
        while (fed < said) {
            size_t piece = 1 + below(said - fed);
            stops_pass(&t, text + fed, piece);
            fed += piece;
        }
        assert_true(t.found == SIZE_MAX && t.text.n == said);
        size_t held = 0, which = SIZE_MAX; /* whatever is complete is no reason to hold back */
        for (size_t i = 0; i < n_stops; i++)
            for (size_t k = held + 1; k < stops[i].size && k <= said; k++)
                if (!memcmp(text + said - k, stops[i].data, k)) held = k;
        assert_int_equal(stops_certain(&t, false), whole(text, said - held));
        while (fed < n && t.found == SIZE_MAX) {
            size_t piece = 1 + below(n - fed);
            assert_int_equal(stops_feed(&t, text + fed, piece, &e), PL_OK);
            fed += piece;
        }
        size_t cut = brute_cut_behind(text, fed, said, stops, n_stops, &which);
        assert_true(t.found == which && t.text.n == (cut == SIZE_MAX ? fed : cut));
        across += cut < said;
        passed += said > 0 && which == SIZE_MAX;
        stops_free(&t);
    }
    assert_true(across > 1000 && passed > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_philox_of_seed_and_position),
        cmocka_unit_test(draws_are_uniform_over_positions_and_over_seeds),
        cmocka_unit_test(filters_leave_what_their_definitions_say),
        cmocka_unit_test(temperature_zero_takes_the_largest_and_ties_go_to_the_lower_id),
        cmocka_unit_test(not_a_number_among_the_logits_is_survived_and_not_drawn),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(bias_and_penalties_change_the_logits_as_defined),
        cmocka_unit_test(top_argmax_entropy_and_logsumexp_match_float64),
        cmocka_unit_test(stops_are_found_and_held_back_as_a_brute_force_search_says),
        cmocka_unit_test(what_a_restarted_text_says_holds_no_stop_but_may_begin_one),
    };
    return cmocka_run_group_tests(tests, note_live, check_live);
}
