/* row.h: a row of logits on its way to a token: what the stages of a sampler (stages.c) and a
 * script's methods do to it. Masked ids stay masked, and all others finite, if they were; what a
 * filter takes away is masked. Every filter keeps at least one id, if there is one. Probabilities
 * are those of the ids that are left, renormalised. Ties go to the lower id.
 *
 * A row knows what is left in it after a filter that left few, so that what follows does not go
 * through the vocabulary again: a change from outside must be told with row_changed. */
#ifndef PERILUNE_DECODE_ROW_H
#define PERILUNE_DECODE_ROW_H

#include "base/error.h"
#include "decode/logits.h"

#define ROW_KEPT 256 /* ids that a row remembers */

/* Memory for one row at a time, of up to n ids. Zero-initialised is empty. */
typedef struct {
    size_t n;
    int32_t *order;         /* [n] candidates */
    float *keys;            /* [n] what candidates are ordered by */
    uint32_t *counts;       /* [n], all zero between uses */
} row_scratch;
pl_code row_scratch_reserve(row_scratch *s, size_t n, pl_error *e);
void row_scratch_free(row_scratch *s);

typedef struct {
    const kernels *math;
    float *l;               /* [n] */
    size_t n;
    row_scratch *scratch;   /* for at least n */
    size_t n_kept;          /* SIZE_MAX: not known which are left */
    int32_t kept[ROW_KEPT]; /* [n_kept], those that are not masked, best first */
} logits_row;

static inline void row_changed(logits_row *r) { r->n_kept = SIZE_MAX; }
static inline void row_open(logits_row *r, const kernels *math, float *l, size_t n,
                            row_scratch *s) {
    r->math = math, r->l = l, r->n = n, r->scratch = s;
    row_changed(r);
}

int32_t row_argmax(const logits_row *r);        /* 0 when all are masked */
float row_max(const logits_row *r);             /* -INFINITY when all are masked */
double row_logsumexp(const logits_row *r);
double row_entropy(const logits_row *r);        /* nats */
size_t row_count(const logits_row *r);          /* ids that are not masked */
/* By u in [0, 1): logits_draw. Nothing is changed. */
int32_t row_draw(const logits_row *r, double u);

/* ---- filters ---- */

void row_greedy(logits_row *r);                 /* keeps the argmax */
void row_top_k(logits_row *r, size_t k);        /* Fan et al. 2018: the k most probable; 0: all */
/* Holtzman et al. 2020 (nucleus): the fewest, most probable ones, whose probabilities sum to at
 * least p. */
void row_top_p(logits_row *r, double p);
/* Nguyen et al. 2024: those with at least p times the largest probability. */
void row_min_p(logits_row *r, double p);
/* Meister et al. 2022 (locally typical): the fewest whose probabilities sum to at least p, those
 * first whose information -log p is nearest to the entropy. */
void row_typical(logits_row *r, double p);
/* Tang et al. 2024 (top-n-sigma): logits of at least max - x * sigma, their standard deviation over
 * the ids that are left. */
void row_top_n_sigma(logits_row *r, double x);
/* XTC, "exclude top choices" (p-e-w 2024, as in llama.cpp): of the ids with a probability of at
 * least `threshold`, all but the last go. */
void row_xtc(logits_row *r, double threshold);
/* Mirostat 2 (Basu et al. 2021): ids whose surprise -log2 p is at most mu bits. */
void row_mirostat(logits_row *r, double mu);
/* Mirostat 1, over a vocabulary of n: estimates Zipf's exponent s from the m most probable, and
 * keeps the k most probable, k = (e 2^mu / (1 - n^-e))^(1/s), e = s - 1. */
void row_mirostat_zipf(logits_row *r, double mu, size_t m);

/* ---- arithmetic ---- */

void row_scale(logits_row *r, float a);
void row_shift(logits_row *r, double x);        /* l - x */
/* l / t; t of 0 is row_greedy. `zero`: (l - max) / t, the same probabilities, with all digits where
 * t is small. */
void row_temperature(logits_row *r, float t, bool zero);
/* Dynamic temperature (kalomaze 2023, as in llama.cpp): t within max(0, t - range) .. t + range, at
 * the part of the way that is (entropy / its largest value for so many ids) ^ exponent. */
void row_dynamic_temperature(logits_row *r, float t, float range, float exponent, bool zero);
void row_add_to(logits_row *r, int32_t id, float x); /* a bias: -INFINITY masks */

/* ---- what was said before ---- */

typedef struct {
    /* 1: none; divides positive logits, multiplies others (Keskar et al. 2019, CTRL) */
    float repetition;
    float presence,
        frequency; /* 0: none; subtracted once, and per occurrence (as in OpenAI's API) */
} row_penalties;
void row_penalize(logits_row *r, const int32_t *tokens, size_t n, row_penalties p);

/* DRY, "don't repeat yourself" (p-e-w 2024, text-generation-webui): where the last m >=
 * allowed_length tokens stand earlier in the text, the token that followed them there loses
 * multiplier * base^(m - allowed_length); the longest m counts, up to DRY_MATCH. Breakers are in no
 * match, and are never penalised. */
#define DRY_MATCH 50
typedef struct {
    float multiplier, base;
    size_t allowed_length;
    const uint64_t *breakers;   /* [(row's n + 63) / 64] bits; NULL: none */
} row_dry_options;
void row_dry(logits_row *r, const int32_t *tokens, size_t n, const row_dry_options *o);

/* ---- sets of ids, as [(n + 63) / 64] bits ---- */

static inline bool bit_at(const uint64_t *bits, size_t i) { return bits[i / 64] >> i % 64 & 1; }
void row_mask(logits_row *r, const uint64_t *bits);
void row_keep(logits_row *r, const uint64_t *bits);
void row_bias(logits_row *r, const uint64_t *bits, float x);

#endif
