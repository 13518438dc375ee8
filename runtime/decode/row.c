/* row.c: see row.h. Two paths throughout: over the few ids that are known to be left, or over the
 * whole vocabulary, with the vector kernels. */
#include "decode/row.h"

#include <float.h>
#include <string.h>

#include "base/mem.h"

pl_code row_scratch_reserve(row_scratch *s, size_t n, pl_error *e) {
    row_scratch more = {.n = n};
    if (n <= s->n) return PL_OK;
    more.order = mem_array(n, sizeof *more.order);
    more.keys = mem_array(n, sizeof *more.keys);
    more.counts = mem_zarray(n, sizeof *more.counts);
    if (!more.order || !more.keys || !more.counts) {
        row_scratch_free(&more);
        return pl_fail(e, PL_ERR_MEMORY, "no memory to sample from %zu tokens", n);
    }
    row_scratch_free(s);
    *s = more;
    return PL_OK;
}

void row_scratch_free(row_scratch *s) {
    mem_free(s->order);
    mem_free(s->keys);
    mem_free(s->counts);
    *s = (row_scratch){0};
}

static bool known(const logits_row *r) { return r->n_kept != SIZE_MAX; }
static bool is_masked(float x) { return !(x > -INFINITY); }
static float within(float x) { return !(x > -FLT_MAX) ? -FLT_MAX : x < FLT_MAX ? x : FLT_MAX; }

/* ---- reductions ---- */

int32_t row_argmax(const logits_row *r) {
    if (!known(r)) return logits_argmax(r->math, r->l, r->n);
    return r->n_kept ? r->kept[0] : 0;
}

float row_max(const logits_row *r) {
    if (!known(r)) return r->math->max(r->l, r->n);
    return r->n_kept ? r->l[r->kept[0]] : -INFINITY;
}

double row_logsumexp(const logits_row *r) {
    double max = (double)row_max(r), sum = 0;
    if (!known(r)) return logits_logsumexp(r->math, r->l, r->n);
    if (isinf(max)) return max;
    for (size_t i = 0; i < r->n_kept; i++) sum += exp((double)r->l[r->kept[i]] - max);
    return max + log(sum);
}

double row_entropy(const logits_row *r) {
    double z, h = 0;
    if (!known(r)) return logits_entropy(r->math, r->l, r->n);
    z = row_logsumexp(r);
    for (size_t i = 0; i < r->n_kept; i++) {
        double lp = (double)r->l[r->kept[i]] - z;
        h -= exp(lp) * lp;
    }
    return h > 0 ? h : 0;
}

size_t row_count(const logits_row *r) {
    size_t n = 0;
    if (known(r)) return r->n_kept;
    for (size_t i = 0; i < r->n; i++) n += !is_masked(r->l[i]);
    return n;
}

/* ids[0..n) ascending: few of them, in any order. */
static void sort_ids(int32_t *ids, size_t n) {
    for (size_t i = 1; i < n; i++) {
        int32_t id = ids[i];
        size_t j = i;
        for (; j > 0 && ids[j - 1] > id; j--) ids[j] = ids[j - 1];
        ids[j] = id;
    }
}

int32_t row_draw(const logits_row *r, double u) {
    int32_t ids[ROW_KEPT];
    if (!known(r) || r->n_kept == 0) return logits_draw(r->math, r->l, r->n, NULL, 0, u);
    memcpy(ids, r->kept, r->n_kept * sizeof *ids);
    sort_ids(ids, r->n_kept);
    return logits_draw(r->math, r->l, r->n, ids, r->n_kept, u);
}

/* ---- what is left ---- */

/* Of those that are left, only the first n of kept. */
static void cut_kept(logits_row *r, size_t n) {
    for (size_t i = n; i < r->n_kept; i++) r->l[r->kept[i]] = -INFINITY;
    r->n_kept = n;
}

/* Keeps ids [n], sorted, and notes them; masked ones at the end fall out. */
static void keep_only(logits_row *r, const int32_t *ids, size_t n) {
    float l[ROW_KEPT];
    while (n > 0 && is_masked(r->l[ids[n - 1]])) n--;
    for (size_t i = 0; i < n; i++) l[i] = r->l[ids[i]];
    r->math->logits_keep(r->l, r->n, NAN);
    for (size_t i = 0; i < n; i++) r->l[ids[i]] = l[i];
    memmove(r->kept, ids, n * sizeof *ids);
    r->n_kept = n;
}

/* Keeps the ids that `last` does not come before, in the order of key. */
static void keep_through(logits_row *r, const float *key, int32_t last) {
    for (size_t i = 0; i < r->n; i++)
        if ((int32_t)i != last && !logits_before(key, (int32_t)i, last)) r->l[i] = -INFINITY;
    row_changed(r);
}

/* Sorts kept again after arithmetic: it is nearly in order. */
static void sort_kept(logits_row *r) {
    for (size_t i = 1; i < r->n_kept; i++) {
        int32_t id = r->kept[i];
        size_t j = i;
        for (; j > 0 && logits_before(r->l, id, r->kept[j - 1]); j--) r->kept[j] = r->kept[j - 1];
        r->kept[j] = id;
    }
}

/* The least float that is at least x. */
static float float_above(double x) {
    float f = (float)x;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

/* Keeps logits of at least x, and the largest. */
static void keep_from(logits_row *r, double x) {
    float max = row_max(r), least = float_above(x);
    if (!known(r)) {
        r->math->logits_keep(r->l, r->n, least < max ? least : max);
        return;
    }
    size_t n = r->n_kept ? 1 : 0;
    while (n < r->n_kept && r->l[r->kept[n]] >= least) n++;
    cut_kept(r, n);
}

/* ---- filters by rank ---- */

void row_greedy(logits_row *r) {
    int32_t id = row_argmax(r);
    if (known(r)) cut_kept(r, r->n_kept ? 1 : 0);
    else keep_only(r, &id, 1);
}

void row_top_k(logits_row *r, size_t k) {
    int32_t *ids = r->scratch->order;
    if (k == 0 || k >= r->n) return;
    if (known(r)) {
        if (k < r->n_kept) cut_kept(r, k);
        return;
    }
    logits_best(r->math, r->l, r->n, k, ids);
    if (k <= ROW_KEPT) keep_only(r, ids, k);
    else keep_through(r, r->l, ids[k - 1]);
}

/* A logit that all of the ids reach which can be among the fewest whose probabilities sum to p.
 * What is below (1 - p) / count each sums to less than 1 - p. */
static double least_probable(const logits_row *r, double p, double z) {
    double least = (1 - p) / (double)r->n;
    return least > 0 ? z + log(least) - 1e-3 : -INFINITY;
}

/* Keeps the fewest whose probabilities sum to p, in the order of key, which is l or scratch->keys;
 * z is the logsumexp. Candidates have a logit of at least `cut`. */
static void keep_mass(logits_row *r, const float *key, double p, double z, double cut) {
    int32_t *heap = r->scratch->order, first[ROW_KEPT], last = -1;
    size_t n = 0, popped = 0;
    if (known(r)) {
        n = r->n_kept;
        memcpy(heap, r->kept, n * sizeof *heap);
    } else {
        for (size_t i = 0; i < r->n; i++)
            if ((double)r->l[i] >= cut && !is_masked(r->l[i])) heap[n++] = (int32_t)i;
    }
    logits_heapify(key, heap, n, false);
    for (double mass = 0; n > 0 && mass < p;) {
        last = heap[0];
        if (popped < ROW_KEPT) first[popped] = last;
        popped++;
        mass += exp((double)r->l[last] - z);
        heap[0] = heap[--n];
        if (n > 0) logits_sift(key, heap, n, 0, false);
    }
    if (last < 0 || !(z > -INFINITY)) return;
    if (popped <= ROW_KEPT) {
        keep_only(r, first, popped);
        if (key != r->l) sort_kept(r);
    } else {
        keep_through(r, key, last);
    }
}

void row_top_p(logits_row *r, double p) {
    double z, mass = 0;
    size_t n = 0;
    if (!(p < 1)) return;
    z = row_logsumexp(r);
    if (!isfinite(z)) return;
    if (!known(r)) {
        keep_mass(r, r->l, p, z, least_probable(r, p, z));
        return;
    }
    while (n < r->n_kept && mass < p) mass += exp((double)r->l[r->kept[n++]] - z);
    cut_kept(r, n > 0 ? n : r->n_kept);
}

void row_typical(logits_row *r, double p) {
    float *key = r->scratch->keys;
    double z, h;
    if (!(p < 1)) return;
    z = row_logsumexp(r), h = row_entropy(r);
    if (!isfinite(z)) return;
    if (known(r)) {
        for (size_t i = 0; i < r->n_kept; i++) {
            int32_t id = r->kept[i];
            key[id] = -(float)fabs(z - (double)r->l[id] - h);
        }
    } else {
        for (size_t i = 0; i < r->n; i++)
            key[i] = is_masked(r->l[i]) ? -INFINITY : -(float)fabs(z - (double)r->l[i] - h);
    }
    keep_mass(r, key, p, z, -INFINITY);
}

void row_min_p(logits_row *r, double p) {
    if (p > 0) keep_from(r, (double)row_max(r) + log(p));
}

void row_top_n_sigma(logits_row *r, double x) {
    double sum = 0, squares = 0, mean;
    size_t n = row_count(r), m = known(r) ? r->n_kept : r->n;
    if (n == 0) return;
    for (size_t i = 0; i < m; i++) {
        float l = r->l[known(r) ? (size_t)r->kept[i] : i];
        if (!is_masked(l)) sum += (double)l;
    }
    mean = sum / (double)n;
    for (size_t i = 0; i < m; i++) {
        float l = r->l[known(r) ? (size_t)r->kept[i] : i];
        if (!is_masked(l)) squares += ((double)l - mean) * ((double)l - mean);
    }
    keep_from(r, (double)row_max(r) - x * sqrt(squares / (double)n));
}

void row_xtc(logits_row *r, double threshold) {
    double least = row_logsumexp(r) + log(threshold);
    int32_t last = -1;
    size_t n = 0, m = known(r) ? r->n_kept : r->n;
    for (size_t i = 0; i < m; i++) {
        int32_t id = known(r) ? r->kept[i] : (int32_t)i;
        if (is_masked(r->l[id]) || !((double)r->l[id] >= least)) continue;
        if (last < 0 || logits_before(r->l, last, id)) last = id;
        n++;
    }
    if (n < 2) return;
    for (size_t i = 0; i < m; i++) {
        int32_t id = known(r) ? r->kept[i] : (int32_t)i;
        if (id != last && (double)r->l[id] >= least) r->l[id] = -INFINITY;
    }
    if (!known(r)) return;
    /* those were the first */
    memmove(r->kept, r->kept + n - 1, (r->n_kept - (n - 1)) * sizeof *r->kept);
    r->n_kept -= n - 1;
}

void row_mirostat(logits_row *r, double mu) {
    double z = row_logsumexp(r), least = z - mu * log(2);
    if (!isfinite(z)) return;
    if ((double)row_max(r) < least) row_greedy(r); /* none is: the best */
    else keep_from(r, least);
}

void row_mirostat_zipf(logits_row *r, double mu, size_t m) {
    int32_t *ids = r->scratch->order;
    double tb = 0, tt = 0, n = (double)r->n;
    if (known(r)) {
        m = m < r->n_kept ? m : r->n_kept;
        memcpy(ids, r->kept, m * sizeof *ids);
    } else {
        m = logits_best(r->math, r->l, r->n, m, ids);
        while (m > 0 && is_masked(r->l[ids[m - 1]])) m--;
    }
    if (m < 2) return;
    for (size_t i = 0; i + 1 < m; i++) { /* b of the paper: log of p(i) / p(i + 1) */
        double t = log((double)(i + 2) / (double)(i + 1)),
               b = (double)r->l[ids[i]] - (double)r->l[ids[i + 1]];
        tb += t * b, tt += t * t;
    }
    double s = tb / tt, e = s - 1;
    double part = fabs(e) > 1e-9 ? e / (1 - pow(n, -e)) : 1 / log(n); /* its limit at 0 */
    double k = s > 0 ? pow(part * pow(2, mu), 1 / s) : n;
    row_top_k(r, k < n ? k >= 1 ? (size_t)k : 1 : 0);
}

/* ---- arithmetic ---- */

void row_scale(logits_row *r, float a) {
    if (!known(r)) {
        r->math->logits_scale(r->l, r->n, a);
        return;
    }
    for (size_t i = 0; i < r->n_kept; i++) r->l[r->kept[i]] = within(r->l[r->kept[i]] * a);
    sort_kept(r);
}

/* (l - x) / t, with x in two parts: to the last digit of a double. */
static void shift(logits_row *r, double x, float t) {
    float high = (float)x, low = (float)(x - (double)high);
    if (!known(r)) {
        r->math->logits_shift(r->l, r->n, high, low, t);
        return;
    }
    for (size_t i = 0; i < r->n_kept; i++)
        r->l[r->kept[i]] = within((r->l[r->kept[i]] - high - low) / t);
    sort_kept(r);
}

void row_shift(logits_row *r, double x) {
    if (isfinite(x)) shift(r, x, 1);
}

void row_temperature(logits_row *r, float t, bool zero) {
    float max = row_max(r);
    if (!(t > 0)) row_greedy(r);
    else if (isfinite(max)) shift(r, zero ? (double)max : 0, t);
}

void row_dynamic_temperature(logits_row *r, float t, float range, float exponent, bool zero) {
    size_t n = row_count(r);
    float low = t > range ? t - range : 0;
    double part = n > 1 ? row_entropy(r) / log((double)n) : 0;
    if (n < 2) return;
    row_temperature(r, low + (t + range - low) * (float)pow(part, (double)exponent), zero);
}

void row_add_to(logits_row *r, int32_t id, float x) {
    if (!is_masked(r->l[id])) r->l[id] = isinf(x) ? x : within(r->l[id] + x);
    row_changed(r);
}

/* ---- what was said before ---- */

void row_penalize(logits_row *r, const int32_t *tokens, size_t n, row_penalties p) {
    uint32_t *counts = r->scratch->counts;
    for (size_t i = 0; i < n; i++) counts[tokens[i]]++;
    for (size_t i = 0; i < n; i++) {
        int32_t id = tokens[i];
        float l = r->l[id];
        if (!counts[id]) continue; /* seen before, and done */
        l = l > 0 ? l / p.repetition : l * p.repetition;
        l -= p.presence + p.frequency * (float)counts[id];
        if (!is_masked(r->l[id])) r->l[id] = within(l);
        counts[id] = 0;
    }
    row_changed(r);
}

void row_dry(logits_row *r, const int32_t *tokens, size_t n, const row_dry_options *o) {
    uint32_t *longest = r->scratch->counts; /* of the matches before each token */
    size_t own = 0; /* of the last tokens, those after the last breaker: what can match */
    while (own < n && own < DRY_MATCH &&
           !(o->breakers && bit_at(o->breakers, (size_t)tokens[n - 1 - own])))
        own++;
    for (size_t i = 0; i + 1 < n && own > 0;
         i++) { /* tokens[i] would be the last one's counterpart */
        size_t m = 0;
        while (m < own && m <= i && tokens[i - m] == tokens[n - 1 - m]) m++;
        if (m > longest[tokens[i + 1]]) longest[tokens[i + 1]] = (uint32_t)m;
    }
    for (size_t i = 1; i < n; i++) {
        int32_t id = tokens[i];
        size_t m = longest[id];
        longest[id] = 0;
        if (m == 0 || m < o->allowed_length || (o->breakers && bit_at(o->breakers, (size_t)id)))
            continue;
        double loss = (double)o->multiplier * pow((double)o->base, (double)(m - o->allowed_length));
        if (!is_masked(r->l[id])) r->l[id] = within((float)((double)r->l[id] - loss));
    }
    row_changed(r);
}

/* ---- sets of ids ---- */

/* The bits of word w that are ids. */
static uint64_t word_of(const logits_row *r, const uint64_t *bits, size_t w) {
    size_t n = r->n - 64 * w;
    return n < 64 ? bits[w] & (((uint64_t)1 << n) - 1) : bits[w];
}

void row_mask(logits_row *r, const uint64_t *bits) {
    for (size_t w = 0; 64 * w < r->n; w++)
        for (uint64_t left = word_of(r, bits, w); left; left &= left - 1)
            r->l[64 * w + (size_t)__builtin_ctzll(left)] = -INFINITY;
    row_changed(r);
}

void row_keep(logits_row *r, const uint64_t *bits) {
    for (size_t w = 0; 64 * w < r->n; w++) {
        uint64_t kept = word_of(r, bits, w);
        size_t m = r->n - 64 * w < 64 ? r->n - 64 * w : 64;
        if (kept == 0) r->math->logits_keep(r->l + 64 * w, m, NAN);
        else
            for (size_t i = 0; i < m; i++)
                if (!(kept >> i & 1)) r->l[64 * w + i] = -INFINITY;
    }
    row_changed(r);
}

void row_bias(logits_row *r, const uint64_t *bits, float x) {
    for (size_t w = 0; 64 * w < r->n; w++)
        for (uint64_t left = word_of(r, bits, w); left; left &= left - 1)
            row_add_to(r, (int32_t)(64 * w + (size_t)__builtin_ctzll(left)), x);
    row_changed(r);
}
