/* stages.c: the stages there are, each a few numbers and a call of row.h. */
#include "decode/stages.h"

#include <string.h>

#include "base/mem.h"
#include "decode/sampler.h"

const char *stage_named(stage_name s) {
    static const char *const names[STAGES] = {
        "logit_bias", "banned_tokens", "penalties", "dry", "top_n_sigma", "top_k",
        "typical_p",  "top_p",         "min_p",     "xtc", "temperature", "mirostat"};
    return names[s];
}

/* ---- stages that are numbers ---- */

typedef struct {
    stage base;
    size_t last_n;          /* tokens that are looked at */
    float a, b, c;
    bool zero;
} numbers;

static void *copy_of(const void *p, size_t bytes) {
    void *copy = mem_alloc(bytes);
    return copy ? memcpy(copy, p, bytes) : NULL;
}

static stage *clone_numbers(const stage *s) { return copy_of(s, sizeof(numbers)); }
static void free_stage(stage *s) { mem_free(s); }

static const int32_t *last_tokens(const sampler_moment *at, size_t last_n, size_t *n) {
    *n = at->n < last_n ? at->n : last_n;
    return at->tokens + (at->n - *n);
}

static void apply_penalties(stage *s, logits_row *r, const sampler_moment *at) {
    const numbers *v = (const numbers *)s;
    size_t n;
    const int32_t *tokens = last_tokens(at, v->last_n, &n);
    if (n) row_penalize(r, tokens, n, (row_penalties){v->a, v->b, v->c});
}

static void apply_top_n_sigma(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    row_top_n_sigma(r, (double)((const numbers *)s)->a);
}

static void apply_top_k(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    row_top_k(r, ((const numbers *)s)->last_n);
}

static void apply_typical(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    row_typical(r, (double)((const numbers *)s)->a);
}

static void apply_top_p(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    row_top_p(r, (double)((const numbers *)s)->a);
}

static void apply_min_p(stage *s, logits_row *r, const sampler_moment *at) {
    (void)at;
    row_min_p(r, (double)((const numbers *)s)->a);
}

static void apply_xtc(stage *s, logits_row *r, const sampler_moment *at) {
    const numbers *v = (const numbers *)s;
    if (philox_uniform_of(at->seed, at->position, STREAM_XTC) < (double)v->a)
        row_xtc(r, (double)v->b);
}

static void apply_temperature(stage *s, logits_row *r, const sampler_moment *at) {
    const numbers *v = (const numbers *)s;
    (void)at;
    if (v->b > 0) row_dynamic_temperature(r, v->a, v->b, v->c, v->zero);
    else row_temperature(r, v->a, v->zero);
}

static const stage_kind penalties_kind = {clone_numbers, apply_penalties, NULL, free_stage};
static const stage_kind top_n_sigma_kind = {clone_numbers, apply_top_n_sigma, NULL, free_stage};
static const stage_kind top_k_kind = {clone_numbers, apply_top_k, NULL, free_stage};
static const stage_kind typical_kind = {clone_numbers, apply_typical, NULL, free_stage};
static const stage_kind top_p_kind = {clone_numbers, apply_top_p, NULL, free_stage};
static const stage_kind min_p_kind = {clone_numbers, apply_min_p, NULL, free_stage};
static const stage_kind xtc_kind = {clone_numbers, apply_xtc, NULL, free_stage};
static const stage_kind temperature_kind = {clone_numbers, apply_temperature, NULL, free_stage};

static stage *new_numbers(numbers v) { return copy_of(&v, sizeof v); }

/* ---- biases and bans ---- */

typedef struct {
    stage base;
    size_t n;
    logit_bias list[]; /* [n] */
} biases;

static stage *clone_biases(const stage *s) {
    return copy_of(s, sizeof(biases) + ((const biases *)s)->n * sizeof(logit_bias));
}

static void apply_biases(stage *s, logits_row *r, const sampler_moment *at) {
    const biases *v = (const biases *)s;
    (void)at;
    for (size_t i = 0; i < v->n; i++) row_add_to(r, v->list[i].id, v->list[i].bias);
}

static const stage_kind biases_kind = {clone_biases, apply_biases, NULL, free_stage};

static stage *new_biases(const logit_bias *list, const int32_t *banned, size_t n) {
    biases *v = mem_alloc(sizeof *v + n * sizeof *v->list);
    if (!v) return NULL;
    v->base.kind = &biases_kind;
    v->n = n;
    for (size_t i = 0; i < n; i++) v->list[i] = list ? list[i] : (logit_bias){banned[i], -INFINITY};
    return &v->base;
}

/* ---- DRY ---- */

typedef struct {
    stage base;
    size_t last_n, n_words;
    row_dry_options o;
    uint64_t breakers[]; /* [n_words] */
} dry;

static stage *clone_dry(const stage *s) {
    const dry *v = (const dry *)s;
    dry *copy = copy_of(v, sizeof *v + v->n_words * sizeof *v->breakers);
    if (copy && copy->n_words) copy->o.breakers = copy->breakers;
    return copy ? &copy->base : NULL;
}

static void apply_dry(stage *s, logits_row *r, const sampler_moment *at) {
    const dry *v = (const dry *)s;
    size_t n;
    const int32_t *tokens = last_tokens(at, v->last_n, &n);
    if (n) row_dry(r, tokens, n, &v->o);
}

static const stage_kind dry_kind = {clone_dry, apply_dry, NULL, free_stage};

static stage *new_dry(const sampler_options *o, size_t n_vocab) {
    size_t n_words = o->dry_breakers ? (n_vocab + 63) / 64 : 0;
    dry *v = mem_zalloc(sizeof *v + n_words * sizeof *v->breakers);
    if (!v) return NULL;
    v->base.kind = &dry_kind;
    v->last_n = o->dry_last_n, v->n_words = n_words;
    v->o = (row_dry_options){o->dry_multiplier, o->dry_base, o->dry_allowed_length,
                             n_words ? v->breakers : NULL};
    if (n_words) memcpy(v->breakers, o->dry_breakers, n_words * sizeof *v->breakers);
    return &v->base;
}

/* ---- mirostat (Basu et al. 2021) ---- */

/* mu, how surprising a token may be, follows the surprise of those that are taken, in the
 * distribution as it came here: mu -= eta (surprise - tau), from 2 tau on. */
typedef struct {
    stage base;
    uint32_t version, m;
    double tau, eta, mu;
    size_t n;
    double z;           /* logsumexp of seen */
    bool applied;       /* seen is of the last row */
    float seen[];       /* [n] the last row, as it came */
} mirostat;

static stage *clone_mirostat(const stage *s) {
    return copy_of(s, sizeof(mirostat) + ((const mirostat *)s)->n * sizeof(float));
}

static void apply_mirostat(stage *s, logits_row *r, const sampler_moment *at) {
    mirostat *v = (mirostat *)s;
    (void)at;
    memcpy(v->seen, r->l, v->n * sizeof *v->seen);
    v->z = row_logsumexp(r);
    v->applied = true;
    if (v->version == 1) row_mirostat_zipf(r, v->mu, v->m);
    else row_mirostat(r, v->mu);
}

static void accept_mirostat(stage *s, int32_t id) {
    mirostat *v = (mirostat *)s;
    double surprise = (v->z - (double)v->seen[id]) / log(2);
    if (v->applied && isfinite(surprise)) v->mu -= v->eta * (surprise - v->tau);
    v->applied = false;
}

static const stage_kind mirostat_kind = {clone_mirostat, apply_mirostat, accept_mirostat,
                                         free_stage};

static stage *new_mirostat(const sampler_options *o, size_t n_vocab) {
    mirostat *v = mem_zalloc(sizeof *v + n_vocab * sizeof *v->seen);
    if (!v) return NULL;
    v->base.kind = &mirostat_kind;
    v->version = o->mirostat, v->m = o->mirostat_m, v->n = n_vocab;
    v->tau = (double)o->mirostat_tau, v->eta = (double)o->mirostat_eta, v->mu = 2 * v->tau;
    return &v->base;
}

/* ---- what options ask for ---- */

bool stage_wanted(stage_name s, const sampler_options *o) {
    switch (s) {
    case STAGE_LOGIT_BIAS: return o->n_bias > 0;
    case STAGE_BANNED_TOKENS: return o->n_banned > 0;
    case STAGE_PENALTIES:
        return o->repetition_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
    case STAGE_DRY: return o->dry_multiplier != 0;
    case STAGE_TOP_N_SIGMA: return o->top_n_sigma > 0;
    case STAGE_TOP_K: return o->top_k > 0;
    case STAGE_TYPICAL_P: return o->typical_p < 1;
    case STAGE_TOP_P: return o->top_p < 1;
    case STAGE_MIN_P: return o->min_p > 0;
    case STAGE_XTC: return o->xtc_probability > 0;
    case STAGE_TEMPERATURE: return true;
    case STAGE_MIROSTAT: return o->mirostat != 0;
    default: return false;
    }
}

pl_code stage_new(stage_name s, const sampler_options *o, size_t n, bool zero, stage **out,
                  pl_error *e) {
    switch (s) {
    case STAGE_LOGIT_BIAS: *out = new_biases(o->bias, NULL, o->n_bias); break;
    case STAGE_BANNED_TOKENS: *out = new_biases(NULL, o->banned, o->n_banned); break;
    case STAGE_PENALTIES:
        *out = new_numbers((numbers){.base.kind = &penalties_kind,
                                     .last_n = o->penalty_last_n,
                                     .a = o->repetition_penalty,
                                     .b = o->presence_penalty,
                                     .c = o->frequency_penalty});
        break;
    case STAGE_DRY: *out = new_dry(o, n); break;
    case STAGE_TOP_N_SIGMA:
        *out = new_numbers((numbers){.base.kind = &top_n_sigma_kind, .a = o->top_n_sigma});
        break;
    case STAGE_TOP_K:
        *out = new_numbers((numbers){.base.kind = &top_k_kind, .last_n = o->top_k});
        break;
    case STAGE_TYPICAL_P:
        *out = new_numbers((numbers){.base.kind = &typical_kind, .a = o->typical_p});
        break;
    case STAGE_TOP_P: *out = new_numbers((numbers){.base.kind = &top_p_kind, .a = o->top_p}); break;
    case STAGE_MIN_P: *out = new_numbers((numbers){.base.kind = &min_p_kind, .a = o->min_p}); break;
    case STAGE_XTC:
        *out = new_numbers(
            (numbers){.base.kind = &xtc_kind, .a = o->xtc_probability, .b = o->xtc_threshold});
        break;
    case STAGE_TEMPERATURE:
        *out = new_numbers((numbers){.base.kind = &temperature_kind,
                                     .a = o->temperature,
                                     .b = o->dynatemp_range,
                                     .c = o->dynatemp_exponent,
                                     .zero = zero});
        break;
    case STAGE_MIROSTAT: *out = new_mirostat(o, n); break;
    default: return pl_fail(e, PL_ERR_ARGUMENT, "there is no stage %d", (int)s);
    }
    return *out ? PL_OK : pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", n);
}
