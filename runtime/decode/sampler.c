/* sampler.c: see sampler.h for the filters and their order.
 *
 * Top-k, top-p and min-p each keep the first so many of the candidates sorted by (logit descending, id ascending). So the
 * chain only looks for the last candidate that all of them keep; the draw then walks the vocabulary in order of ids, and
 * does not depend on which filters were asked for when they removed nothing. */
#include "decode/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct sampler {
    sampler_options o;
    const kernels *math;
    size_t n_vocab;
    logit_bias *bias;       /* [o.n_bias] */
    uint32_t *counts;       /* [n_vocab], all zero between picks */
    int32_t *order;         /* [n_vocab] candidates */
};

sampler_options sampler_defaults(void) {
    return (sampler_options){.top_p = 1, .repetition_penalty = 1, .penalty_last_n = SIZE_MAX};
}

pl_code sampler_new(const sampler_options *o, const kernels *math, size_t n_vocab, sampler **out, pl_error *e) {
    sampler *s = mem_zalloc(sizeof *s);
    if (!s) goto fail;
    s->o = *o;
    s->math = math;
    s->n_vocab = n_vocab;
    s->bias = mem_array(o->n_bias ? o->n_bias : 1, sizeof *s->bias);
    s->counts = mem_zarray(n_vocab, sizeof *s->counts);
    s->order = mem_array(n_vocab, sizeof *s->order);
    if (!s->bias || !s->counts || !s->order) goto fail;
    if (o->n_bias) memcpy(s->bias, o->bias, o->n_bias * sizeof *o->bias);
    s->o.bias = s->bias;
    *out = s;
    return PL_OK;
fail:
    sampler_free(s);
    return pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", n_vocab);
}

void sampler_free(sampler *s) {
    if (!s) return;
    mem_free(s->bias);
    mem_free(s->counts);
    mem_free(s->order);
    mem_free(s);
}

/* ---- Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") ---- */

static void philox4x32(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof next);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

double philox_uniform(uint64_t seed, uint64_t position) {
    uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), 0, 0};
    philox4x32(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    uint64_t bits = ((uint64_t)c[1] << 32 | c[0]) >> 11;
    return (double)bits * 0x1p-53;
}

/* ---- over a row of logits ---- */

/* Does candidate a come before b? A NaN comes last. */
static bool before(const float *l, int32_t a, int32_t b) {
    if (l[a] != l[b]) return l[a] > l[b] || l[b] != l[b];
    return a < b;
}

int32_t logits_argmax(const float *l, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (l[i] > l[best] || (l[best] != l[best] && l[i] == l[i])) best = i;
    return (int32_t)best;
}

double logits_logsumexp(const kernels *math, const float *l, size_t n) {
    float max = math->max(l, n);
    if (isinf(max)) return (double)max;
    return (double)max + log(math->sum_exp(l, n, max));
}

double logits_entropy(const kernels *math, const float *l, size_t n) {
    double z = logits_logsumexp(math, l, n), h = 0;
    for (size_t i = 0; i < n; i++) {
        double lp = (double)l[i] - z, p = exp(lp);
        if (p > 0) h -= p * lp;
    }
    return h;
}

/* A heap of candidates over l: `last` at the root when `worst` is set (to keep the k best), else the best. */
static void sift(const float *l, int32_t *heap, size_t n, size_t i, bool worst) {
    int32_t x = heap[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(l, heap[c + 1], heap[c]) != worst) c++;
        if (before(l, x, heap[c]) != worst) break;
        heap[i] = heap[c];
    }
    heap[i] = x;
}

static void heapify(const float *l, int32_t *heap, size_t n, bool worst) {
    for (size_t i = n / 2; i-- > 0;) sift(l, heap, n, i, worst);
}

/* The k best of l[0..n) into ids, sorted; k <= n. */
static void best_k(const float *l, size_t n, size_t k, int32_t *ids) {
    if (!k) return;
    for (size_t i = 0; i < k; i++) ids[i] = (int32_t)i;
    heapify(l, ids, k, true);
    for (size_t i = k; i < n; i++)
        if (before(l, (int32_t)i, ids[0])) {
            ids[0] = (int32_t)i;
            sift(l, ids, k, 0, true);
        }
    for (size_t m = k; m-- > 1;) { /* the worst goes to the end */
        int32_t worst = ids[0];
        ids[0] = ids[m];
        ids[m] = worst;
        sift(l, ids, m, 0, true);
    }
}

size_t logits_top(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids, float *logprobs) {
    if (k > n) k = n;
    double z = logits_logsumexp(math, l, n);
    best_k(l, n, k, ids);
    for (size_t i = 0; i < k; i++) logprobs[i] = (float)((double)l[ids[i]] - z);
    return k;
}

/* ---- the chain ---- */

static void apply_penalties(sampler *s, float *l, const int32_t *tokens, size_t n) {
    const sampler_options *o = &s->o;
    if (o->repetition_penalty == 1 && o->presence_penalty == 0 && o->frequency_penalty == 0) return;
    size_t first = n > o->penalty_last_n ? n - o->penalty_last_n : 0;
    for (size_t i = first; i < n; i++) s->counts[tokens[i]]++;
    for (size_t i = first; i < n; i++) {
        int32_t id = tokens[i];
        if (!s->counts[id]) continue; /* seen before, and done */
        l[id] = l[id] > 0 ? l[id] / o->repetition_penalty : l[id] * o->repetition_penalty;
        l[id] -= o->presence_penalty + o->frequency_penalty * (float)s->counts[id];
        s->counts[id] = 0;
    }
}

/* The candidates that top-p and min-p can keep at all, best first in a heap: the others are too improbable. z is the
 * logsumexp of all candidates, n_all how many there are. Returns their number. */
static size_t probable(sampler *s, const float *l, double z, size_t n_all, int32_t *heap) {
    /* What is below (1 - top_p) / n_all each sums to less than 1 - top_p. */
    double least = s->o.top_p < 1 ? (1 - (double)s->o.top_p) / (double)n_all : 0;
    double cut = least > 0 ? z + log(least) - 1e-3 : -INFINITY;
    size_t n = 0;
    for (size_t i = 0; i < s->n_vocab; i++)
        if ((double)l[i] >= cut && l[i] > -INFINITY) heap[n++] = (int32_t)i;
    heapify(l, heap, n, false);
    return n;
}

/* The last candidate that all filters keep; -1: there is none, since the logits have a NaN. */
static int32_t last_kept(sampler *s, const float *l, float max) {
    const sampler_options *o = &s->o;
    size_t n = 0;
    double z;
    bool heap = !(o->top_k && o->top_k < s->n_vocab);
    if (heap) {
        z = logits_logsumexp(s->math, l, s->n_vocab);
        n = probable(s, l, z, s->n_vocab, s->order);
    } else {
        n = o->top_k;
        best_k(l, s->n_vocab, n, s->order);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += exp((double)l[s->order[i]] - (double)max);
        z = (double)max + log(sum);
    }
    double mass = 0, least = o->min_p > 0 ? log((double)o->min_p) + (double)max : -INFINITY;
    int32_t last = -1;
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        if (heap) { /* pop the best */
            id = s->order[0];
            s->order[0] = s->order[n - 1 - i];
            if (n - 1 - i > 0) sift(l, s->order, n - 1 - i, 0, false);
        } else {
            id = s->order[i];
        }
        if (!(l[id] > -INFINITY) || (last >= 0 && (double)l[id] < least)) break;
        last = id;
        mass += exp((double)l[id] - z);
        if (mass >= (double)o->top_p && o->top_p < 1) break;
    }
    return last;
}

#define DRAW_CHUNK 1024

/* Draws from exp(l), l <= 0: walks sums of chunks, then the entries of one. */
static int32_t draw(const sampler *s, const float *l, double u) {
    double total = 0, sum = 0, part;
    size_t n = s->n_vocab, at = 0, last = 0;
    for (size_t i = 0; i < n; i += DRAW_CHUNK)
        total += s->math->sum_exp(l + i, n - i < DRAW_CHUNK ? n - i : DRAW_CHUNK, 0);
    if (!(total > 0)) return logits_argmax(l, n); /* a NaN among them */
    double goal = u * total;
    for (; at + DRAW_CHUNK < n; at += DRAW_CHUNK, sum += part) {
        part = s->math->sum_exp(l + at, DRAW_CHUNK, 0);
        if (sum + part > goal) break;
    }
    for (size_t i = at; i < n; i++) {
        if (!(l[i] > -INFINITY)) continue;
        last = i;
        sum += s->math->sum_exp(l + i, 1, 0);
        if (sum > goal) return (int32_t)i;
        if (i - at >= DRAW_CHUNK) break; /* rounding: the chunk's sum said it ends in here */
    }
    if (l[last] > -INFINITY) return (int32_t)last;
    return logits_argmax(l, n);
}

int32_t sampler_pick(sampler *s, float *l, const int32_t *tokens, size_t n, uint64_t position) {
    const sampler_options *o = &s->o;
    for (size_t i = 0; i < o->n_bias; i++) l[o->bias[i].id] += o->bias[i].bias;
    apply_penalties(s, l, tokens, n);
    float max = s->math->max(l, s->n_vocab);
    if (o->temperature <= 0 || !isfinite(max)) return logits_argmax(l, s->n_vocab);

    bool all = (o->top_k == 0 || o->top_k >= s->n_vocab) && o->top_p >= 1 && o->min_p <= 0;
    int32_t last = all ? -1 : last_kept(s, l, max);
    if (!all && last < 0) return logits_argmax(l, s->n_vocab); /* a NaN among them: there are no probabilities */
    float lowest = all ? -INFINITY : l[last];
    for (size_t i = 0; i < s->n_vocab; i++) {
        bool kept = all || l[i] > lowest || (l[i] == lowest && (int32_t)i <= last);
        l[i] = kept ? (l[i] - max) / o->temperature : -INFINITY;
    }
    return draw(s, l, philox_uniform(o->seed, position));
}
