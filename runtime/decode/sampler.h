/* sampler.h: from logits to a token.
 *
 * The filters apply in this order: logit bias; repetition (Keskar et al. 2019, CTRL), presence and frequency penalties
 * (as in OpenAI's API); top-k; top-p (Holtzman et al. 2020); min-p (Nguyen et al. 2024); temperature; draw. Each sees
 * what the one before left, renormalised. Temperature 0 takes the largest logit after bias and penalties. Ties go to the
 * lower id everywhere.
 *
 * Draws are counter-based: the uniform number for a position is Philox4x32-10 (Salmon et al. 2011) of (seed, position)
 * and nothing else, so how a sequence is split into calls, or what runs beside it, does not matter. */
#ifndef PERILUNE_DECODE_SAMPLER_H
#define PERILUNE_DECODE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "math/math.h"

typedef struct { int32_t id; float bias; } logit_bias;

typedef struct {
    float temperature;          /* 0: greedy */
    uint32_t top_k;             /* 0: all */
    float top_p;                /* 1: all */
    float min_p;                /* 0: all */
    float repetition_penalty;   /* 1: none; divides positive logits, multiplies negative ones */
    float presence_penalty, frequency_penalty; /* 0: none; subtracted */
    size_t penalty_last_n;      /* how many of the last tokens the penalties look at; SIZE_MAX: all */
    const logit_bias *bias;     /* [n_bias] */
    size_t n_bias;
    uint64_t seed;
} sampler_options;
sampler_options sampler_defaults(void); /* greedy, nothing filtered */

typedef struct sampler sampler;
pl_code sampler_new(const sampler_options *o, const kernels *math, size_t n_vocab, sampler **out, pl_error *e); /* copies o */
void sampler_free(sampler *s);
/* Picks the token for position `position` (0-based: its index in the cache) after tokens[0..n). Writes to logits [n_vocab]. */
int32_t sampler_pick(sampler *s, float *logits, const int32_t *tokens, size_t n, uint64_t position);

/* Uniform in [0, 1), 53 bits: Philox4x32-10 with key `seed` and counter `position`. */
double philox_uniform(uint64_t seed, uint64_t position);

/* ---- over one row of logits [n], ties to the lower id ---- */
int32_t logits_argmax(const float *l, size_t n);
double logits_logsumexp(const kernels *math, const float *l, size_t n);
double logits_entropy(const kernels *math, const float *l, size_t n);   /* nats */
/* The k largest, sorted: ids and log-probabilities [min(k, n)]; returns how many. */
size_t logits_top(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids, float *logprobs);

#endif
