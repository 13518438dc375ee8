/* test_sampler.c: every stage of the sampler against its definition, written down here once more in
 * double precision and by sorting everything: alone, behind a filter that left few, and in chains;
 * what is drawn; the arithmetic of logits. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "decode/sampler.h"
#include "support.h"
#include "tiny.h"

#define MOST 6000           /* largest vocabulary here */
#define BORDER 1e-6         /* nearer to a limit, rounding may decide */
#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t seed = 11;
static size_t below(size_t n) { return (size_t)(tiny_random(&seed) % n); }
static double uniform(void) { return (double)(tiny_random(&seed) >> 11) * 0x1p-53; }

/* ---- the definitions ---- */

/* Candidates, best first. */
typedef struct { double l; int32_t id; } candidate;
typedef struct {
    candidate c[MOST];
    size_t n, vocab;
    bool clear;             /* rounding could not have decided */
    bool rounded;           /* there was arithmetic: what ties here need not tie in floats */
} candidates;

static int best_first(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->l > y->l) return -1;
    if (x->l < y->l) return 1;
    return x->id < y->id ? -1 : 1;
}

static void sort(candidates *s) { qsort(s->c, s->n, sizeof *s->c, best_first); }

static candidates *read_row(const float *l, size_t n) {
    static candidates s;
    s.n = 0, s.vocab = n, s.clear = true, s.rounded = false;
    for (size_t i = 0; i < n; i++)
        if (l[i] > -INFINITY) s.c[s.n++] = (candidate){(double)l[i], (int32_t)i};
    sort(&s);
    return &s;
}

/* p[i] of candidate i. */
static void softmax(const candidates *s, double *p) {
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) sum += p[i] = exp(s->c[i].l - s->c[0].l);
    for (size_t i = 0; i < s->n; i++) p[i] /= sum;
}

static bool near(double a, double b) { return fabs(a - b) < BORDER * (1 + fabs(b)); }

/* The first n alone are kept. */
static void cut(candidates *s, size_t n) {
    if (n == 0 || n >= s->n) return;
    if (s->rounded && near(s->c[n - 1].l, s->c[n].l)) s->clear = false;
    s->n = n;
}

/* Keeps those with keep[i]. */
static void keep(candidates *s, const bool *kept) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (kept[i]) s->c[n++] = s->c[i];
    s->n = n;
}

static void define_top_k(candidates *s, size_t k) {
    cut(s, k);
}

static void define_top_p(candidates *s, double top_p) {
    static double p[MOST];
    double mass = 0;
    size_t n = 0;
    if (top_p >= 1) return;
    softmax(s, p);
    while (n < s->n && mass < top_p) {
        mass += p[n++];
        if (near(mass, top_p)) s->clear = false;
    }
    cut(s, n);
}

static void define_min_p(candidates *s, double min_p) {
    static double p[MOST];
    static bool kept[MOST];
    softmax(s, p);
    for (size_t i = 0; i < s->n; i++) {
        kept[i] = i == 0 || p[i] >= min_p * p[0];
        if (i > 0 && fabs(log(p[i] / p[0]) - log(min_p)) < 1e-5) s->clear = false;
    }
    keep(s, kept);
}

static void define_typical(candidates *s, double mass) {
    static double p[MOST];
    static candidate by_distance[MOST];
    static bool kept[MOST];
    double h = 0, sum = 0;
    size_t n = 0;
    if (mass >= 1) return;
    softmax(s, p);
    for (size_t i = 0; i < s->n; i++)
        if (p[i] > 0) h -= p[i] * log(p[i]);
    for (size_t i = 0; i < s->n; i++) {
        by_distance[i] = (candidate){-fabs(s->c[0].l - s->c[i].l - log(p[0]) - h), (int32_t)i};
        kept[i] = false;
    }
    qsort(by_distance, s->n, sizeof *by_distance, best_first);
    while (n < s->n && sum < mass) {
        size_t i = (size_t)by_distance[n].id;
        kept[i] = true;
        sum += p[i];
        if (near(sum, mass)) s->clear = false;
        n++;
    }
    if (n < s->n && n > 0 && fabs(by_distance[n - 1].l - by_distance[n].l) < 1e-4)
        s->clear = false; /* a tie, but for rounding */
    keep(s, kept);
}

static void define_top_n_sigma(candidates *s, double x) {
    static bool kept[MOST];
    double mean = 0, variance = 0, max = s->c[0].l;
    for (size_t i = 0; i < s->n; i++) mean += s->c[i].l / (double)s->n;
    for (size_t i = 0; i < s->n; i++) variance += pow(s->c[i].l - mean, 2) / (double)s->n;
    for (size_t i = 0; i < s->n; i++) {
        kept[i] = i == 0 || s->c[i].l >= max - x * sqrt(variance);
        if (i > 0 && near(s->c[i].l, max - x * sqrt(variance))) s->clear = false;
    }
    keep(s, kept);
}

static void define_xtc(candidates *s, double threshold) {
    static double p[MOST];
    size_t n = 0;
    softmax(s, p);
    while (n < s->n && p[n] >= threshold) n++;
    for (size_t i = 0; i < s->n; i++)
        if (fabs(log(p[i]) - log(threshold)) < 1e-5) s->clear = false;
    if (n < 2) return;
    if (s->rounded && near(s->c[n - 2].l, s->c[n - 1].l)) s->clear = false;
    memmove(s->c, s->c + n - 1, (s->n - (n - 1)) * sizeof *s->c);
    s->n -= n - 1;
}

static void define_temperature(candidates *s, double t) {
    s->rounded = true;
    for (size_t i = 0; i < s->n; i++) s->c[i].l /= t;
}

static void define_dynatemp(candidates *s, double t, double range, double exponent) {
    static double p[MOST];
    double h = 0, low = t > range ? t - range : 0, high = t + range;
    if (s->n < 2) return;
    softmax(s, p);
    for (size_t i = 0; i < s->n; i++)
        if (p[i] > 0) h -= p[i] * log(p[i]);
    define_temperature(s, low + (high - low) * pow(h / log((double)s->n), exponent));
}

static void define_mirostat_2(candidates *s, double mu) {
    static double p[MOST];
    size_t n = 0;
    softmax(s, p);
    while (n < s->n && (n == 0 || -log2(p[n]) <= mu)) n++;
    for (size_t i = 1; i < s->n; i++)
        if (near(-log2(p[i]), mu)) s->clear = false;
    cut(s, n);
}

static void define_mirostat_1(candidates *s, double mu, size_t m) {
    static double p[MOST];
    double sum_tb = 0, sum_t2 = 0, n = (double)s->vocab;
    softmax(s, p);
    if (m > s->n) m = s->n;
    if (m < 2) return;
    for (size_t i = 1; i < m; i++) {
        double t = log((double)(i + 1) / (double)i), b = log(p[i - 1]) - log(p[i]);
        sum_tb += t * b, sum_t2 += t * t;
    }
    double zipf = sum_tb / sum_t2, e = zipf - 1;
    if (!(zipf > 1e-3) || fabs(e) < 1e-6) {
        s->clear = false;
        return;
    }
    double k = pow(e * pow(2, mu) / (1 - pow(n, -e)), 1 / zipf);
    if (fabs(k - round(k)) < 1e-4 * k) s->clear = false;
    define_top_k(s, k < 1 ? 1 : k >= n ? 0 : (size_t)k);
}

/* ---- rows ---- */

static row_scratch scratch;

static float *random_row(size_t n) {
    static float l[MOST];
    double scale = pow(10, 2 * uniform() - 1), step = below(2) ? 0.5 : 0;
    size_t masked = below(3) ? 0 : below(n + 1);
    for (size_t i = 0; i < n; i++) {
        double x = 2 * scale * (uniform() + uniform() + uniform() + uniform() - 2);
        l[i] = (float)(step > 0 ? step * round(x / step) : x); /* ties, now and then */
    }
    for (size_t i = 0; i < masked; i++) l[below(n)] = -INFINITY;
    l[below(n)] = (float)scale;
    return l;
}

static const kernels *some_kernels(size_t i) {
    return kernels_at(i % 4) ? kernels_at(i % 4) : kernels_at(0);
}

/* The row's probabilities are the candidates', to 1e-5; all others are masked; and the row knows
 * what it says it knows. */
static void check_row(const logits_row *r, const candidates *s, const char *what) {
    static double p[MOST];
    double sum = 0, max = -INFINITY;
    size_t left = 0;
    for (size_t i = 0; i < r->n; i++) {
        assert_false(isnan(r->l[i]) || (isinf(r->l[i]) && r->l[i] > 0));
        left += r->l[i] > -INFINITY;
        max = fmax(max, (double)r->l[i]);
    }
    if (left != s->n) fail_msg("%s of %zu: %zu are left, not %zu", what, r->n, left, s->n);
    for (size_t i = 0; i < r->n; i++) sum += exp((double)r->l[i] - max);
    if (s->n) softmax(s, p);
    for (size_t i = 0; i < s->n; i++) {
        double q = exp((double)r->l[s->c[i].id] - max) / sum;
        if (!(r->l[s->c[i].id] > -INFINITY) || fabs(q - p[i]) > 1e-5)
            fail_msg("%s of %zu: token %d has %g, not %g", what, r->n, s->c[i].id, q, p[i]);
    }
    if (r->n_kept == SIZE_MAX) return;
    assert_int_equal(r->n_kept, s->n);
    for (size_t i = 0; i < r->n_kept; i++) {
        assert_true(r->l[r->kept[i]] > -INFINITY);
        if (i > 0) assert_true(logits_before(r->l, r->kept[i - 1], r->kept[i]));
    }
}

typedef enum {
    TOP_K,
    TOP_P,
    MIN_P,
    TYPICAL,
    SIGMA,
    XTC,
    TEMPERATURE,
    DYNATEMP,
    MIROSTAT_1,
    MIROSTAT_2,
    FILTERS
} filter;
static const char *const filter_names[FILTERS] = {
    "top-k",       "top-p",     "min-p",       "typical",
    "top-n-sigma", "XTC",       "temperature", "dynamic temperature",
    "mirostat 1",  "mirostat 2"};

/* The same filter, with the same random numbers, by row.h and by its definition. */
static void filter_both(filter f, logits_row *r, candidates *s) {
    static const float parts[] = {0.95f, 0.5f, 0.1f, 1e-4f, 0.999f, 1};
    float part = parts[below(COUNT(parts))], t = (float)(0.2 + 2 * uniform()),
          range = (float)uniform(), x = (float)(3 * uniform());
    size_t k = 1 + below(below(2) ? 10 : r->n);
    double mu = 10 * uniform();
    switch (f) {
    case TOP_K: row_top_k(r, k), define_top_k(s, k); break;
    case TOP_P: row_top_p(r, (double)part), define_top_p(s, (double)part); break;
    case MIN_P: row_min_p(r, (double)part), define_min_p(s, (double)part); break;
    case TYPICAL: row_typical(r, (double)part), define_typical(s, (double)part); break;
    case SIGMA: row_top_n_sigma(r, (double)x), define_top_n_sigma(s, (double)x); break;
    case XTC: row_xtc(r, (double)part / 10), define_xtc(s, (double)part / 10); break;
    case TEMPERATURE: row_temperature(r, t, k % 2), define_temperature(s, (double)t); break;
    case DYNATEMP:
        row_dynamic_temperature(r, t, range, x, k % 2);
        define_dynatemp(s, (double)t, (double)range, (double)x);
        break;
    case MIROSTAT_1: row_mirostat_zipf(r, mu, 100), define_mirostat_1(s, mu, 100); break;
    case MIROSTAT_2: row_mirostat(r, mu), define_mirostat_2(s, mu); break;
    default: fail();
    }
}

TEST(each_filter_leaves_what_its_definition_says) {
    static const size_t sizes[] = {1, 2, 3, 17, 100, 127, 300, 1025, 2500, 6000};
    size_t checked[FILTERS] = {0};
    for (size_t round = 0; round < 6000; round++) {
        filter f = (filter)(round % FILTERS);
        size_t n = sizes[below(round % 7 ? 7 : 10)];
        float *l = random_row(n);
        candidates *s = read_row(l, n);
        logits_row r;
        row_open(&r, some_kernels(round / FILTERS), l, n, &scratch);
        if (below(3) == 0)
            /* behind another that left fewer */
            row_top_k(&r, 1 + n / 2), define_top_k(s, 1 + n / 2);
        filter_both(f, &r, s);
        if (!s->clear) continue;
        check_row(&r, s, filter_names[f]);
        checked[f]++;
    }
    for (size_t f = 0; f < FILTERS; f++)
        if (checked[f] < 250) fail_msg("%s: %zu checked", filter_names[f], checked[f]);
}

TEST(filters_in_any_order_leave_what_their_definitions_say) {
    size_t checked = 0;
    for (size_t round = 0; round < 3000; round++) {
        size_t n = 1 + below(below(5) ? 200 : MOST), stages = 2 + below(5);
        float *l = random_row(n);
        candidates *s = read_row(l, n);
        logits_row r;
        row_open(&r, some_kernels(round), l, n, &scratch);
        for (size_t i = 0; i < stages; i++) filter_both((filter)below(FILTERS), &r, s);
        if (!s->clear) continue;
        check_row(&r, s, "a chain");
        checked++;
    }
    assert_true(checked > 800);
}

/* ---- by hand ---- */

static void check_kept(const float *l, size_t n, const int32_t *ids, size_t m) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) left += l[i] > -INFINITY;
    assert_int_equal(left, m);
    for (size_t i = 0; i < m; i++) assert_true(l[ids[i]] > -INFINITY);
}
#define CHECK_KEPT(...) \
    check_kept(l, 5, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

TEST(filters_on_probabilities_that_add_up_in_the_head) {
    const double p[5] = {0.1, 0.4, 0.05, 0.25, 0.2}; /* entropy 1.4150 nats, 2.0414 bits */
    float l[5];
    logits_row r;
#define FRESH() \
    for (size_t i = 0; i < 5; i++) l[i] = (float)log(p[i]); \
    row_open(&r, kernels_best(), l, 5, &scratch)
    FRESH();
    row_top_k(&r, 2);
    CHECK_KEPT(1, 3);
    FRESH();
    row_top_p(&r, 0.64); /* 0.4 + 0.25 */
    CHECK_KEPT(1, 3);
    FRESH();
    row_top_p(&r, 0.66);
    CHECK_KEPT(1, 3, 4);
    FRESH();
    row_min_p(&r, 0.3); /* 0.12 */
    CHECK_KEPT(1, 3, 4);
    /* -log p: 2.303 0.916 2.996 1.386 1.609; from the entropy: 0.888 0.499 1.581 0.029 0.194 */
    FRESH();
    assert_true(fabs(row_entropy(&r) - 1.41505) < 1e-4);
    row_typical(&r, 0.44);
    CHECK_KEPT(3, 4);
    FRESH();
    row_typical(&r, 0.46);
    CHECK_KEPT(1, 3, 4);
    FRESH();
    row_xtc(&r, 0.15); /* 0.4, 0.25 and 0.2 reach it: the last stays */
    CHECK_KEPT(0, 2, 4);
    FRESH();
    row_xtc(&r, 0.3); /* one alone */
    CHECK_KEPT(0, 1, 2, 3, 4);
    FRESH(); /* bits: 3.32 1.32 4.32 2 2.32 */
    row_mirostat(&r, 2.1);
    CHECK_KEPT(1, 3);
    FRESH();
    row_mirostat(&r, 0.5); /* none, and the best stays */
    CHECK_KEPT(1);
    FRESH(); /* logs: mean -1.8422, standard deviation 0.7301; largest -0.9163 */
    row_top_n_sigma(&r, 1);
    CHECK_KEPT(1, 3, 4);
    FRESH();
    row_top_n_sigma(&r, 0.6); /* from -1.354 on */
    CHECK_KEPT(1);
    FRESH();
    row_temperature(&r, 0, false);
    CHECK_KEPT(1);
    FRESH();
    row_temperature(&r, 0.5f, false);
    for (size_t i = 0; i < 5; i++) assert_true(fabs((double)l[i] - 2 * log(p[i])) < 1e-5);
    FRESH(); /* 1.41505 / log 5 = 0.87923; its square 0.77304; t = 0.5 + 0.77304 = 1.27304 */
    row_dynamic_temperature(&r, 1, 0.5f, 2, false);
    for (size_t i = 0; i < 5; i++) assert_true(fabs((double)l[i] - log(p[i]) / 1.27304) < 1e-4);
#undef FRESH
}

/* ---- penalties and DRY ---- */

TEST(penalties_touch_what_occurred_and_leave_masked_alone) {
    const int32_t tokens[] = {3, 0, 0, 1, 0, 4};
    float l[6] = {2, -2, 0.5f, -INFINITY, -1, FLT_MAX};
    const double want[6] = {2 / 1.5 - 0.5 - 0.75, -2 * 1.5 - 0.75, 0.5, -INFINITY,
                            -1 * 1.5 - 0.75,      (double)FLT_MAX};
    logits_row r;
    row_open(&r, kernels_best(), l, 6, &scratch);
    row_penalize(&r, tokens, 6, (row_penalties){1.5f, 0.5f, 0.25f});
    for (size_t i = 0; i < 6; i++)
        assert_true((double)l[i] == want[i] || fabs((double)l[i] - want[i]) < 1e-6);
    row_penalize(&r, (const int32_t[]){5, 3}, 2,
                 (row_penalties){1e-30f, -FLT_MAX, -FLT_MAX}); /* too much for a float */
    assert_true(l[5] == FLT_MAX && l[3] == -INFINITY);
}

TEST(dry_by_hand) {
    /* a b c x  a b c y  a b c: the last three stand twice before, followed by x and y. */
    const int32_t tokens[] = {1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3};
    float l[10] = {0};
    uint64_t breakers = (uint64_t)1 << 2;
    logits_row r;
    row_open(&r, kernels_best(), l, 10, &scratch);
    row_dry(&r, tokens, 11, &(row_dry_options){0.8f, 1.75f, 2, NULL});
    for (size_t i = 0; i < 10; i++)
        assert_true(fabs((double)l[i] + (i == 7 || i == 8 ? 0.8 * 1.75 : 0)) < 1e-6);
    memset(l, 0, sizeof l);
    row_dry(&r, tokens, 11, &(row_dry_options){0.8f, 1.75f, 4, NULL}); /* three are allowed */
    for (size_t i = 0; i < 10; i++) assert_true(fabsf(l[i]) <= 0);
    /* b breaks: only c matches */
    row_dry(&r, tokens, 11, &(row_dry_options){0.8f, 1.75f, 1, &breakers});
    for (size_t i = 0; i < 10; i++)
        assert_true(fabs((double)l[i] + (i == 7 || i == 8 ? 0.8 : 0)) < 1e-6);
}

/* From the definition: for every earlier place, how many tokens before it equal those at the
 * end. */
static void define_dry(double *l, size_t n_vocab, const int32_t *tokens, size_t n,
                       const row_dry_options *o) {
    for (size_t id = 0; id < n_vocab; id++) {
        size_t longest = 0;
        for (size_t at = 1; at < n; at++) {
            size_t m = 0;
            if (tokens[at] != (int32_t)id) continue;
            while (m < at && m < DRY_MATCH && tokens[at - 1 - m] == tokens[n - 1 - m] &&
                   !(o->breakers && bit_at(o->breakers, (size_t)tokens[n - 1 - m])))
                m++;
            if (m > longest) longest = m;
        }
        if (longest > 0 && longest >= o->allowed_length &&
            !(o->breakers && bit_at(o->breakers, id)))
            l[id] -= (double)o->multiplier *
                     pow((double)o->base, (double)(longest - o->allowed_length));
    }
}

TEST(dry_matches_a_search_of_every_place) {
    for (size_t round = 0; round < 2000; round++) {
        enum { V = 70 };
        int32_t tokens[150];
        size_t n = below(150), letters = 1 + below(4);
        float l[V];
        double want[V];
        uint64_t breakers[2] = {tiny_random(&seed) & tiny_random(&seed), 0};
        row_dry_options o = {(float)uniform(), (float)(1 + uniform() / 10), 1 + below(5),
                             below(2) ? breakers : NULL};
        logits_row r;
        for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)below(letters);
        for (size_t i = 0; i < V; i++) want[i] = (double)(l[i] = (float)uniform());
        row_open(&r, kernels_best(), l, V, &scratch);
        row_dry(&r, tokens, n, &o);
        define_dry(want, V, tokens, n, &o);
        for (size_t i = 0; i < V; i++)
            assert_true(fabs((double)l[i] - want[i]) < 1e-4 * (1 + fabs(want[i])));
        for (size_t i = 0; i < V; i++) assert_int_equal(scratch.counts[i], 0);
    }
}

/* ---- whole chains ---- */

static sampler *open_sampler(const sampler_options *o, const kernels *math, size_t n) {
    sampler *s;
    pl_error e;
    assert_int_equal(sampler_new(o, math, n, &s, &e), PL_OK);
    return s;
}

static void define_stage(stage_name name, const sampler_options *o, candidates *s,
                         const int32_t *tokens, size_t n, uint64_t position) {
    static double l[MOST];
    for (size_t i = 0; i < s->vocab; i++) l[i] = NAN;
    for (size_t i = 0; i < s->n; i++) l[s->c[i].id] = s->c[i].l;
    if (s->n == 0) return;
    switch (name) {
    case STAGE_LOGIT_BIAS:
        for (size_t i = 0; i < o->n_bias; i++) l[o->bias[i].id] += (double)o->bias[i].bias;
        break;
    case STAGE_BANNED_TOKENS:
        for (size_t i = 0; i < o->n_banned; i++) l[o->banned[i]] = -INFINITY;
        break;
    case STAGE_PENALTIES:
        for (size_t id = 0; id < s->vocab; id++) {
            double count = 0;
            for (size_t i = 0; i < n; i++)
                count += tokens[i] == (int32_t)id && n - i <= o->penalty_last_n;
            if (count <= 0) continue;
            l[id] = l[id] > 0 ? l[id] / (double)o->repetition_penalty
                              : l[id] * (double)o->repetition_penalty;
            l[id] -= (double)o->presence_penalty + count * (double)o->frequency_penalty;
        }
        break;
    case STAGE_DRY: {
        row_dry_options d = {o->dry_multiplier, o->dry_base, o->dry_allowed_length,
                             o->dry_breakers};
        size_t first = n > o->dry_last_n ? n - o->dry_last_n : 0;
        define_dry(l, s->vocab, tokens + first, n - first, &d);
        break;
    }
    case STAGE_TOP_N_SIGMA: define_top_n_sigma(s, (double)o->top_n_sigma); return;
    case STAGE_TOP_K: define_top_k(s, o->top_k); return;
    case STAGE_TYPICAL_P: define_typical(s, (double)o->typical_p); return;
    case STAGE_TOP_P: define_top_p(s, (double)o->top_p); return;
    case STAGE_MIN_P: define_min_p(s, (double)o->min_p); return;
    case STAGE_XTC:
        if (philox_uniform_of(o->seed, position, STREAM_XTC) < (double)o->xtc_probability)
            define_xtc(s, (double)o->xtc_threshold);
        return;
    case STAGE_TEMPERATURE:
        if (o->dynatemp_range > 0)
            define_dynatemp(s, (double)o->temperature, (double)o->dynatemp_range,
                            (double)o->dynatemp_exponent);
        else
            define_temperature(s, (double)o->temperature);
        return;
    case STAGE_MIROSTAT:
        if (o->mirostat == 1) define_mirostat_1(s, 2 * (double)o->mirostat_tau, o->mirostat_m);
        else define_mirostat_2(s, 2 * (double)o->mirostat_tau);
        return;
    default: fail();
    }
    size_t left = 0;
    for (size_t i = 0; i < s->n; i++) {
        int32_t id = s->c[i].id;
        if (l[id] > -INFINITY) s->c[left++] = (candidate){l[id], id};
    }
    s->n = left;
    s->rounded = true;
    sort(s);
}

TEST(chains_of_all_stages_leave_what_their_definitions_say) {
    size_t checked = 0;
    for (size_t round = 0; round < 4000; round++) {
        enum { N_TOKENS = 40 };
        size_t n = 30 + below(round % 5 ? 100 : 3000), m = below(N_TOKENS);
        float *l = random_row(n);
        int32_t tokens[N_TOKENS], banned[3] = {(int32_t)below(n), (int32_t)below(n), 5};
        logit_bias bias[2] = {{(int32_t)below(n), 1.5f}, {(int32_t)below(n), -INFINITY}};
        uint64_t position = below(1000), breakers[100] = {0x10};
        sampler_options o = sampler_defaults();
        candidates *s = read_row(l, n);
        logits_row r;
        for (size_t i = 0; i < m; i++) tokens[i] = (int32_t)below(12);
        o.temperature = (float)(0.3 + uniform());
        o.seed = round;
        if (below(3) == 0) o.dynatemp_range = 0.4f, o.dynatemp_exponent = 1.5f;
        if (below(2)) o.top_k = (uint32_t)(1 + below(60));
        if (below(2)) o.top_p = (float)(0.3 + 0.69 * uniform());
        if (below(2)) o.min_p = (float)(0.1 * uniform());
        if (below(3) == 0) o.typical_p = (float)(0.3 + 0.69 * uniform());
        if (below(3) == 0) o.top_n_sigma = (float)(0.5 + 2 * uniform());
        if (below(3) == 0) o.xtc_probability = 0.7f, o.xtc_threshold = 0.05f;
        if (below(2))
            o.repetition_penalty = 1.3f, o.presence_penalty = 0.2f, o.frequency_penalty = 0.1f,
            o.penalty_last_n = 9;
        if (below(2))
            o.dry_multiplier = 0.8f, o.dry_last_n = 30, o.dry_breakers = below(2) ? breakers : NULL;
        if (below(4) == 0) o.mirostat = (uint32_t)(1 + below(2)), o.mirostat_tau = 2;
        if (below(2)) o.bias = bias, o.n_bias = 2;
        if (below(2)) o.banned = banned, o.n_banned = 3;
        if (round % 2) { /* another order; mirostat stays the last */
            o.n_order = STAGES;
            for (size_t i = 0; i < STAGES; i++) o.order[i] = (stage_name)i;
            for (size_t i = STAGES - 1; i > 1; i--) {
                size_t k = below(i);
                stage_name swap = o.order[i - 1];
                o.order[i - 1] = o.order[k];
                o.order[k] = swap;
            }
        }
        for (size_t i = 0; i < STAGES; i++) {
            stage_name name = o.n_order ? o.order[i] : (stage_name)i;
            if (stage_wanted(name, &o)) define_stage(name, &o, s, tokens, m, position);
        }
        if (!s->clear) continue;
        sampler *chain = open_sampler(&o, some_kernels(round), n);
        row_open(&r, some_kernels(round), l, n, sampler_scratch(chain));
        sampler_apply(chain, &r, tokens, m, position);
        check_row(&r, s, "a sampler");
        sampler_free(chain);
        checked++;
    }
    assert_true(checked > 2000);
}

TEST(temperature_zero_keeps_the_largest_after_bias_bans_and_penalties) {
    float l[4] = {1, 5, 4, 3};
    const int32_t banned[] = {1}, tokens[] = {2};
    sampler_options o = sampler_defaults();
    logits_row r;
    o.banned = banned, o.n_banned = 1, o.presence_penalty = 2, o.top_k = 1, o.xtc_probability = 1,
    o.mirostat = 2;
    sampler *s = open_sampler(&o, kernels_best(), 4);
    row_open(&r, kernels_best(), l, 4, sampler_scratch(s));
    sampler_apply(s, &r, tokens, 1, 1);
    assert_true(l[3] == 3 && l[0] == -INFINITY && l[1] == -INFINITY && l[2] == -INFINITY);
    sampler_free(s);
}

TEST(a_repetition_penalty_behind_a_temperature_sees_the_logits_signs) {
    float l[3] = {4, 2, -2};
    const int32_t tokens[] = {0, 2};
    sampler_options o = sampler_defaults();
    logits_row r;
    o.temperature = 2, o.repetition_penalty = 4;
    o.order[0] = STAGE_TEMPERATURE, o.order[1] = STAGE_PENALTIES, o.n_order = 2;
    sampler *s = open_sampler(&o, kernels_best(), 3);
    row_open(&r, kernels_best(), l, 3, sampler_scratch(s));
    sampler_apply(s, &r, tokens, 2, 2);
    assert_true(l[0] == 0.5f && l[1] == 1 && l[2] == -4);
    sampler_free(s);
}

/* ---- state ---- */

TEST(mirostat_follows_the_surprise_of_what_was_taken) {
    for (uint32_t version = 1; version <= 2; version++) {
        enum { V = 400 };
        sampler_options o = sampler_defaults();
        double mu = 6;
        o.temperature = 1, o.mirostat = version, o.mirostat_tau = 3, o.mirostat_eta = 0.2f;
        sampler *s = open_sampler(&o, kernels_best(), V), *twin;
        pl_error e;
        for (uint64_t position = 0; position < 200; position++) {
            float *l = random_row(V), copy[V];
            for (size_t i = 0; i < V; i++) l[i] = l[i] > -INFINITY ? l[i] / 4 : -INFINITY;
            candidates *all = read_row(l, V);
            double p[V], surprise = NAN;
            softmax(all, p);
            memcpy(copy, l, sizeof copy);
            int32_t id = sampler_pick(s, l, NULL, 0, position);
            for (size_t i = 0; i < all->n; i++)
                if (all->c[i].id == id) surprise = -log2(p[i]);
            if (version == 1) define_mirostat_1(all, mu, 100);
            else define_mirostat_2(all, mu);
            bool there = false;
            for (size_t i = 0; i < all->n; i++) there |= all->c[i].id == id;
            if (all->clear) assert_true(there);
            mu -= 0.2 * (surprise - 3);
            if (position % 50 != 49) continue;
            /* A clone has the state, and from then on its own. */
            assert_int_equal(sampler_clone(s, &twin, &e), PL_OK);
            float again[V];
            memcpy(again, copy, sizeof copy);
            logits_row r;
            row_open(&r, kernels_best(), again, V, sampler_scratch(twin));
            candidates *here = read_row(copy, V);
            if (version == 1) define_mirostat_1(here, mu, 100);
            else define_mirostat_2(here, mu);
            sampler_apply(twin, &r, NULL, 0, position + 1);
            if (here->clear) check_row(&r, here, "a clone");
            sampler_accept(twin, row_argmax(&r));
            sampler_free(twin);
        }
        sampler_free(s);
    }
}

TEST(draws_and_xtc_depend_on_the_seed_and_the_position_alone) {
    enum { V = 300 };
    sampler_options o = sampler_defaults();
    o.temperature = 1, o.xtc_probability = 0.5f, o.xtc_threshold = 0.01f, o.seed = 8, o.top_k = 50;
    sampler *a = open_sampler(&o, kernels_best(), V);
    int32_t first[64];
    float l[V], copy[V];
    size_t excluded = 0;
    memcpy(l, random_row(V), sizeof l);
    for (uint64_t i = 0; i < 64; i++) {
        memcpy(copy, l, sizeof l);
        first[i] = sampler_pick(a, copy, NULL, 0, i);
        excluded += !(copy[logits_argmax(kernels_best(), l, V)] > -INFINITY);
    }
    assert_true(excluded > 16 && excluded < 48); /* by chance, at some positions */
    sampler *b = open_sampler(&o, kernels_best(), V);
    for (uint64_t i = 64; i-- > 0;) {
        memcpy(copy, l, sizeof l);
        assert_int_equal(sampler_pick(b, copy, NULL, 0, i), first[i]);
    }
    sampler_free(a);
    sampler_free(b);
}

/* A stage of a test: masks all but one id, and counts. */
typedef struct { stage base; int32_t only, *accepted; } forcing;
static stage *clone_forcing(const stage *s) {
    forcing *copy = mem_alloc(sizeof *copy);
    if (!copy) return NULL;
    *copy = *(const forcing *)s;
    return &copy->base;
}
static void apply_forcing(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    for (size_t i = 0; i < r->n; i++)
        if ((int32_t)i != ((forcing *)s)->only) r->l[i] = -INFINITY;
    row_changed(r);
}
static void accept_forcing(stage *s, int32_t id) { *((forcing *)s)->accepted = id; }
static void free_forcing(stage *s) { mem_free(s); }
static const stage_kind forcing_kind = {clone_forcing, apply_forcing, accept_forcing, free_forcing};

TEST(a_stage_from_outside_stands_in_front_of_the_chain) {
    for (int greedy = 0; greedy < 2; greedy++) {
        float l[8] = {0};
        int32_t accepted = -1;
        sampler_options o = sampler_defaults();
        pl_error e;
        o.temperature = greedy ? 0 : 0.7f, o.top_k = 3;
        sampler *s = open_sampler(&o, kernels_best(), 8), *twin;
        forcing *f = mem_alloc(sizeof *f);
        *f = (forcing){{&forcing_kind}, 6, &accepted};
        assert_int_equal(sampler_add(s, &f->base, &e), PL_OK);
        assert_int_equal(sampler_clone(s, &twin, &e), PL_OK);
        assert_int_equal(sampler_pick(twin, l, NULL, 0, 3), 6);
        assert_int_equal(accepted, 6);
        sampler_free(s);
        sampler_free(twin);
    }
}

TEST(a_sampler_whose_memory_fails_leaves_none_behind) {
    uint64_t breakers[2] = {1, 0};
    const logit_bias bias = {1, 2};
    const int32_t banned = 3;
    sampler_options o = sampler_defaults();
    pl_error e;
    o.temperature = 1, o.top_k = 3, o.top_p = 0.9f, o.min_p = 0.1f, o.typical_p = 0.9f,
    o.top_n_sigma = 1;
    o.xtc_probability = 0.5f, o.repetition_penalty = 2, o.dry_multiplier = 1,
    o.dry_breakers = breakers, o.mirostat = 2;
    o.bias = &bias, o.n_bias = 1, o.banned = &banned, o.n_banned = 1;
    for (long nth = 1, failed = 1; failed; nth++) {
        long live = mem_live();
        sampler *s = NULL, *twin = NULL;
        mem_fail_at(nth);
        pl_code rc = sampler_new(&o, kernels_best(), 80, &s, &e);
        if (!rc) {
            rc = sampler_clone(s, &twin, &e);
            sampler_free(s);
            if (!rc) sampler_free(twin);
        }
        mem_fail_at(0);
        failed = rc != PL_OK;
        if (failed) assert_int_equal(e.code, PL_ERR_MEMORY);
        assert_int_equal(mem_live(), live);
        assert_true(nth < 100);
    }
}

/* ---- arithmetic ---- */

TEST(masked_stays_masked_and_all_else_finite) {
    static const float values[] = {0,        1,         -1,   1e-30f, FLT_MAX,
                                   -FLT_MAX, -INFINITY, 3.5f, -2e38f, 1e20f};
    static const float weights[] = {1, -1, 0, 0.5f, -3e38f, 1e30f, -0.0f};
    for (size_t t = 0; kernels_at(t); t++) {
        const kernels *k = kernels_at(t);
        for (size_t round = 0; round < 3000; round++) {
            size_t n = 1 + below(70);
            float x[71], y[71], z[71], w = weights[below(COUNT(weights))];
            for (size_t i = 0; i < n; i++)
                x[i] = values[below(COUNT(values))], y[i] = values[below(COUNT(values))];
            x[n] = y[n] = z[n] = 42; /* what lies behind is not touched */
            memcpy(z, x, sizeof z);
            k->logits_add(z, y, n, w);
            for (size_t i = 0; i < n; i++) {
                double want = fmin(fmax((double)x[i] + (double)(w * y[i]), -(double)FLT_MAX),
                                   (double)FLT_MAX);
                if (isinf(x[i]) || isinf(y[i])) assert_true(z[i] == -INFINITY);
                else assert_true(isfinite(z[i]) && fabs((double)z[i] - want) <= 1e-6 * fabs(want));
            }
            memcpy(z, x, sizeof z);
            k->logits_scale(z, n, w);
            for (size_t i = 0; i < n; i++) {
                double want = fmin(fmax((double)x[i] * (double)w, -(double)FLT_MAX),
                                   (double)FLT_MAX);
                if (isinf(x[i])) assert_true(z[i] == -INFINITY);
                else
                    assert_true(isfinite(z[i]) &&
                                fabs((double)z[i] - want) <= 1e-6 * fabs(want) + 1e-40);
            }
            memcpy(z, x, sizeof z);
            k->logits_shift(z, n, 2, 1e-8f, 0.25f);
            for (size_t i = 0; i < n; i++) {
                double want = fmin(fmax(((double)x[i] - 2 - 1e-8) * 4, -(double)FLT_MAX),
                                   (double)FLT_MAX);
                if (isinf(x[i])) assert_true(z[i] == -INFINITY);
                else assert_true(isfinite(z[i]) && fabs((double)z[i] - want) <= 1e-6 * fabs(want));
            }
            memcpy(z, x, sizeof z);
            k->logits_keep(z, n, 1);
            for (size_t i = 0; i < n; i++) assert_true(z[i] == (x[i] >= 1 ? x[i] : -INFINITY));
            k->logits_keep(z, n, NAN);
            for (size_t i = 0; i < n; i++) assert_true(z[i] == -INFINITY);
            for (size_t i = 0; i < n; i++) x[i] = (float)(-50 * uniform());
            k->exp(x, n, -1, z);
            for (size_t i = 0; i < n; i++)
                assert_true(fabs((double)z[i] - exp((double)x[i] + 1)) <=
                            4e-7 * exp((double)x[i] + 1));
            assert_true(x[n] == 42 && y[n] == 42 && z[n] == 42);
        }
        float nothing[3] = {NAN, INFINITY, 1}, one[3] = {1, -FLT_MAX, NAN};
        k->logits_add(nothing, one, 3, 1);
        assert_true(nothing[0] == -INFINITY && nothing[1] == FLT_MAX && nothing[2] == -INFINITY);
    }
}

TEST(divergence_and_entropy_match_float64) {
    for (size_t round = 0; round < 1500; round++) {
        size_t n = 1 + below(round % 5 ? 60 : 3000);
        float l[3000], m[3000];
        double zl = 0, zm = 0, kl = 0, h = 0;
        const kernels *k = some_kernels(round);
        memcpy(l, random_row(n), n * sizeof *l);
        memcpy(m, random_row(n), n * sizeof *m);
        if (below(2))
            for (size_t i = 0; i < n; i++) m[i] = m[i] > -INFINITY ? m[i] : 0; /* without holes */
        double max_l = (double)k->max(l, n), max_m = (double)k->max(m, n);
        for (size_t i = 0; i < n; i++)
            zl += exp((double)l[i] - max_l), zm += exp((double)m[i] - max_m);
        zl = max_l + log(zl), zm = max_m + log(zm);
        for (size_t i = 0; i < n; i++) {
            double p = exp((double)l[i] - zl);
            if (p <= 0) continue;
            h -= p * ((double)l[i] - zl);
            kl += p * ((double)l[i] - zl - ((double)m[i] - zm));
        }
        double found = logits_kl(k, l, n, m, n);
        assert_true(found >= 0);
        /* What float's exponential calls 0 has no part in it. */
        if (isinf(found) || isinf(kl)) assert_true(kl > 1e30 || isinf(found));
        else assert_true(fabs(found - kl) < 1e-5 * (1 + fabs(kl)));
        assert_true(logits_kl(k, l, n, l, n) < 1e-12);
        assert_true(fabs(logits_entropy(k, l, n) - h) < 1e-5);
        float p[3000];
        int32_t negative;
        logits_probs(k, l, n, p);
        assert_true(fabs(probs_sum(p, n, &negative) - 1) < 1e-6);
        assert_int_equal(negative, -1);
        for (size_t i = 0; i < n; i++)
            assert_true(fabs((double)p[i] - exp((double)l[i] - zl)) < 1e-6);
    }
    float a[2] = {0, 0}, b[1] = {0};
    assert_true(isinf(logits_kl(kernels_best(), a, 2, b, 1)) &&
                logits_kl(kernels_best(), b, 1, a, 2) > 0);
}

TEST(few_that_are_known_are_drawn_from_as_all_are) {
    for (size_t round = 0; round < 2000; round++) {
        size_t n = 1 + below(MOST);
        float *l = random_row(n);
        logits_row r;
        double u = uniform();
        row_open(&r, some_kernels(round), l, n, &scratch);
        row_top_k(&r, 1 + below(n < 255 ? n : 255));
        if (r.n_kept == SIZE_MAX) continue; /* k was n: nothing was filtered */
        int32_t id = row_draw(&r, u);
        assert_true(l[id] > -INFINITY);
        row_changed(&r);
        assert_int_equal(row_draw(&r, u), id); /* the same bits */
    }
}

TEST(sets_of_ids_are_kept_masked_and_biased) {
    for (size_t round = 0; round < 500; round++) {
        size_t n = 1 + below(300);
        float l[300], copy[300];
        uint64_t bits[5];
        logits_row r;
        memcpy(l, random_row(n), n * sizeof *l);
        for (size_t w = 0; w < 5; w++)
            bits[w] = below(3) ? tiny_random(&seed) : below(2) ? 0 : ~(uint64_t)0;
        for (int way = 0; way < 3; way++) {
            memcpy(copy, l, n * sizeof *l);
            row_open(&r, kernels_best(), copy, n, &scratch);
            if (way == 0) row_mask(&r, bits);
            if (way == 1) row_keep(&r, bits);
            if (way == 2) row_bias(&r, bits, 2);
            for (size_t i = 0; i < n; i++) {
                bool in = bit_at(bits, i);
                float want = way == 0   ? in ? -INFINITY : l[i]
                               : way == 1 ? in ? l[i] : -INFINITY
                             : in       ? l[i] + 2
                                        : l[i];
                assert_true(copy[i] == want);
            }
        }
    }
}

/* ---- generators ---- */

TEST(generators_and_their_forks_are_uniform_and_independent) {
    enum { BINS = 16, N = 64000 };
    double pairs[BINS][BINS] = {{0}}, sum = 0;
    rng a = rng_seeded(5), b = rng_fork(&a), c = rng_fork(&a);
    assert_int_equal(a.n, 2);
    assert_true(b.key != c.key && b.n == 0);
    for (size_t i = 0; i < N; i++) {
        double x = rng_uniform(&a), y = rng_uniform(&b);
        assert_true(x >= 0 && x < 1);
        pairs[(size_t)(x * BINS)][(size_t)(y * BINS)]++;
    }
    for (size_t i = 0; i < BINS * BINS; i++)
        sum += pow(pairs[i / BINS][i % BINS] - (double)N / (BINS * BINS), 2) * BINS * BINS / N;
    assert_true(sum < 255 + 5 * sqrt(2 * 255.0));
    rng copy = a;
    assert_true(rng_bits(&copy) == rng_bits(&a));
    /* Another stream than that of the tokens of the same seed. */
    a = rng_seeded(5);
    assert_true(rng_uniform(&a) != philox_uniform(5, 0));
}

TEST(whole_numbers_below_n_are_equally_likely) {
    static const uint64_t ns[] = {1, 2, 3, 7, 1000, (uint64_t)1 << 63, UINT64_MAX};
    rng r = rng_seeded(1);
    for (size_t k = 0; k < COUNT(ns); k++)
        for (size_t i = 0; i < 100; i++) assert_true(rng_below(&r, ns[k]) < ns[k]);
    double found[7] = {0}, sum = 0;
    for (size_t i = 0; i < 70000; i++) found[rng_below(&r, 7)]++;
    for (size_t i = 0; i < 7; i++) sum += pow(found[i] - 10000, 2) / 10000;
    assert_true(sum < 6 + 5 * sqrt(12.0));
}

TEST(subsets_have_their_size_and_every_id_its_chance) {
    enum { V = 130, M = 40, N = 4000 };
    double found[V] = {0}, sum = 0;
    rng r = rng_seeded(3);
    for (size_t i = 0; i < N; i++) {
        uint64_t bits[3], before = r.n;
        size_t count = 0;
        rng_subset(&r, V, M, bits);
        assert_int_equal(r.n, before + 1);
        for (size_t k = 0; k < 192; k++) {
            count += bit_at(bits, k);
            if (k < V) found[k] += bit_at(bits, k);
        }
        assert_int_equal(count, M);
    }
    for (size_t k = 0; k < V; k++)
        sum += pow(found[k] - (double)N * M / V, 2) / ((double)N * M / V * (1 - (double)M / V));
    assert_true(sum < V + 5 * sqrt(2.0 * V));
    uint64_t bits[3];
    rng_subset(&r, V, 0, bits);
    assert_true(bits[0] == 0 && bits[1] == 0 && bits[2] == 0);
    rng_subset(&r, V, V, bits);
    assert_true(bits[0] == ~(uint64_t)0 && bits[1] == ~(uint64_t)0 && bits[2] == 3);
}

static int make_scratch(void **state) {
    pl_error e;
    (void)state;
    return row_scratch_reserve(&scratch, MOST, &e) == PL_OK ? 0 : -1;
}

static int free_scratch(void **state) {
    (void)state;
    row_scratch_free(&scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_leaves_what_its_definition_says),
        cmocka_unit_test(filters_in_any_order_leave_what_their_definitions_say),
        cmocka_unit_test(filters_on_probabilities_that_add_up_in_the_head),
        cmocka_unit_test(penalties_touch_what_occurred_and_leave_masked_alone),
        cmocka_unit_test(dry_by_hand),
        cmocka_unit_test(dry_matches_a_search_of_every_place),
        cmocka_unit_test(chains_of_all_stages_leave_what_their_definitions_say),
        cmocka_unit_test(temperature_zero_keeps_the_largest_after_bias_bans_and_penalties),
        cmocka_unit_test(a_repetition_penalty_behind_a_temperature_sees_the_logits_signs),
        cmocka_unit_test(mirostat_follows_the_surprise_of_what_was_taken),
        cmocka_unit_test(draws_and_xtc_depend_on_the_seed_and_the_position_alone),
        cmocka_unit_test(a_stage_from_outside_stands_in_front_of_the_chain),
        cmocka_unit_test(a_sampler_whose_memory_fails_leaves_none_behind),
        cmocka_unit_test(masked_stays_masked_and_all_else_finite),
        cmocka_unit_test(divergence_and_entropy_match_float64),
        cmocka_unit_test(few_that_are_known_are_drawn_from_as_all_are),
        cmocka_unit_test(sets_of_ids_are_kept_masked_and_biased),
        cmocka_unit_test(generators_and_their_forks_are_uniform_and_independent),
        cmocka_unit_test(whole_numbers_below_n_are_equally_likely),
        cmocka_unit_test(subsets_have_their_size_and_every_id_its_chance),
    };
    return cmocka_run_group_tests(tests, make_scratch, free_scratch);
}
