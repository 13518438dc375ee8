/* logits.h: what is computed over one row of logits, [n] floats: reductions, and the choice of the
 * best. -INFINITY means masked. Ties go to the lower id, everywhere; a NaN comes last. Nothing here
 * is changed, nothing allocated. */
#ifndef PERILUNE_DECODE_LOGITS_H
#define PERILUNE_DECODE_LOGITS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/math.h"

/* Does candidate a come before b? */
static inline bool logits_before(const float *l, int32_t a, int32_t b) {
    if (l[a] > l[b]) return true;
    if (l[a] < l[b]) return false;
    if (l[a] == l[b]) return a < b;
    return isnan(l[b]) && (!isnan(l[a]) || a < b);
}

int32_t logits_argmax(const kernels *math, const float *l, size_t n);
double logits_logsumexp(const kernels *math, const float *l, size_t n); /* all masked: -INFINITY */
double logits_entropy(const kernels *math, const float *l, size_t n);   /* nats; all masked: 0 */
/* Kullback-Leibler divergence of l's distribution from m's, in nats, at least 0: the sum of p (log
 * p - log q). An id that m masks, or that is not among its n_m, has q = 0: INFINITY, unless p =
 * 0. */
double logits_kl(const kernels *math, const float *l, size_t n, const float *m, size_t n_m);
/* The k largest, sorted: ids [min(k, n)]; returns how many. */
size_t logits_best(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids);
/* The same with log-probabilities [min(k, n)]. */
size_t logits_top(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids,
                  float *logprobs);
/* The id that u, in [0, 1), falls on when the ids stand side by side in order, each as wide as its
 * probability; the argmax when there are no probabilities. ids [n_ids], ascending: all that are not
 * masked, to be faster; NULL: not known. */
int32_t logits_draw(const kernels *math, const float *l, size_t n, const int32_t *ids, size_t n_ids,
                    double u);

/* ---- probabilities [n], which need not sum to 1 ---- */

/* exp(l) normalised; masked ids, or all when all are masked, get 0. */
void logits_probs(const kernels *math, const float *l, size_t n, float *p);
/* Their sum; *negative: the first id below 0, or -1. */
double probs_sum(const float *p, size_t n, int32_t *negative);
/* The id that u, in [0, 1), falls on; the sum is above 0, and none is negative. */
int32_t probs_draw(const float *p, size_t n, double sum, double u);

/* Heaps of candidates over l: the worst at the root when `worst` is set (to keep the best), else
 * the best. */
void logits_sift(const float *l, int32_t *heap, size_t n, size_t i, bool worst);
void logits_heapify(const float *l, int32_t *heap, size_t n, bool worst);

#endif
