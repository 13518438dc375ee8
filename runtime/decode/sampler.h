/* sampler.h: from logits to a token: a chain of stages, and a draw.
 *
 * The chain is, in this order unless the options give another: logit bias; banned tokens;
 * repetition, presence and frequency penalties; DRY; top-n-sigma; top-k; typical; top-p; min-p;
 * XTC; temperature, which may be dynamic; mirostat. Each sees what the one before left,
 * renormalised (row.h says what each does, and its source). Temperature 0 takes the largest logit
 * after bias, bans, penalties and DRY. Ties go to the lower id everywhere.
 *
 * Draws are counter-based: the uniform number for a position is Philox4x32-10 of (seed, position)
 * and nothing else (random.h), so how a sequence is split into calls, or what runs beside it, does
 * not matter. XTC draws in the same way. Mirostat's state is not of the cache: it begins anew with
 * each sampler. */
#ifndef PERILUNE_DECODE_SAMPLER_H
#define PERILUNE_DECODE_SAMPLER_H

#include "base/error.h"
#include "decode/logits.h"
#include "decode/random.h"
#include "decode/stages.h"

typedef struct { int32_t id; float bias; } logit_bias;

typedef struct sampler_options {
    float temperature;          /* 0: greedy */
    float dynatemp_range;       /* 0: none */
    float dynatemp_exponent;
    uint32_t top_k;             /* 0: all */
    float top_p;                /* 1: all */
    float min_p;                /* 0: all */
    float typical_p;            /* 1: all */
    float top_n_sigma;          /* 0: all */
    float xtc_probability;      /* 0: never */
    float xtc_threshold;
    float repetition_penalty;   /* 1: none; divides positive logits, multiplies negative ones */
    float presence_penalty, frequency_penalty; /* 0: none; subtracted */
    size_t penalty_last_n; /* how many of the last tokens the penalties look at; SIZE_MAX: all */
    float dry_multiplier;       /* 0: none */
    float dry_base;
    size_t dry_allowed_length;
    size_t dry_last_n;          /* how many of the last tokens DRY looks at; SIZE_MAX: all */
    const uint64_t *dry_breakers; /* [(n_vocab + 63) / 64] bits, or NULL; copied */
    uint32_t mirostat;          /* 0: none; 1, 2 */
    uint32_t mirostat_m; /* of version 1: how many of the most probable tell Zipf's exponent */
    float mirostat_tau;         /* the surprise that it aims at, in bits */
    float mirostat_eta;         /* how fast it learns */
    const logit_bias *bias;     /* [n_bias]; copied */
    size_t n_bias;
    const int32_t *banned;      /* [n_banned]; copied */
    size_t n_banned;
    stage_name order[STAGES];   /* [n_order] */
    size_t n_order; /* 0: the default chain. Otherwise each stage stands there once at most */
    uint64_t seed;
} sampler_options;
sampler_options sampler_defaults(void); /* greedy, nothing filtered */
/* Does a stage look at the tokens before? */
bool sampler_reads_tokens(const sampler_options *o);

typedef struct sampler sampler;
pl_code sampler_new(const sampler_options *o, const kernels *math, size_t n_vocab, sampler **out,
                    pl_error *e);                                    /* copies o */
pl_code sampler_clone(const sampler *s, sampler **out, pl_error *e); /* with its state */
void sampler_free(sampler *s);

/* Puts a stage in front of the chain, and takes it over, failing or not: a constraint. */
pl_code sampler_add(sampler *s, stage *added, pl_error *e);
/* The chain alone, on a row over its vocabulary: afterwards softmax(r->l) is what is drawn from.
 * The seed counts that the sampler was made with. */
void sampler_apply(sampler *s, logits_row *r, const int32_t *tokens, size_t n, uint64_t position);
void sampler_accept(sampler *s, int32_t id); /* tells the stages what was taken */
/* All of it, for position `position` (0-based: its index in the cache) after tokens[0..n). Writes
 * to logits [n_vocab]. */
int32_t sampler_pick(sampler *s, float *logits, const int32_t *tokens, size_t n, uint64_t position);
int32_t sampler_pick_row(sampler *s, logits_row *r, const int32_t *tokens, size_t n,
                         uint64_t position);
row_scratch *sampler_scratch(sampler *s); /* for rows over its vocabulary */

#endif
