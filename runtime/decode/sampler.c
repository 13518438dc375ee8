/* sampler.c: the chain: which stages the options ask for, and in which order. What each does is in
 * stages.c and row.c. */
#include "decode/sampler.h"

#include <string.h>

#include "base/mem.h"

struct sampler {
    const kernels *math;
    size_t n_vocab;
    uint64_t seed;
    bool greedy;            /* then only stages that change more than the shape are in the chain */
    stage **stages;         /* [n_stages] */
    size_t n_stages, room;
    row_scratch scratch;
};

sampler_options sampler_defaults(void) {
    return (sampler_options){.top_p = 1,
                             .typical_p = 1,
                             .repetition_penalty = 1,
                             .penalty_last_n = SIZE_MAX,
                             .dynatemp_exponent = 1,
                             .xtc_threshold = 0.1f,
                             .dry_base = 1.75f,
                             .dry_allowed_length = 2,
                             .dry_last_n = SIZE_MAX,
                             .mirostat_m = 100,
                             .mirostat_tau = 5,
                             .mirostat_eta = 0.1f};
}

bool sampler_reads_tokens(const sampler_options *o) {
    return stage_wanted(STAGE_PENALTIES, o) || stage_wanted(STAGE_DRY, o);
}

/* Does it count at temperature 0? */
static bool always(stage_name s) { return s <= STAGE_DRY; }

static pl_code insert(sampler *s, size_t at, stage *added, pl_error *e) {
    if (mem_reserve(&s->stages, &s->room, s->n_stages + 1, sizeof *s->stages)) {
        stage_free(added);
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", s->n_vocab);
    }
    memmove(s->stages + at + 1, s->stages + at, (s->n_stages - at) * sizeof *s->stages);
    s->stages[at] = added;
    s->n_stages++;
    return PL_OK;
}

static pl_code add_wanted(sampler *s, const sampler_options *o, stage_name name, bool zero,
                          pl_error *e) {
    stage *added;
    pl_code rc;
    if (!stage_wanted(name, o) || (s->greedy && !always(name))) return PL_OK;
    if ((rc = stage_new(name, o, s->n_vocab, zero, &added, e)) ||
        (rc = insert(s, s->n_stages, added, e)))
        return rc;
    return PL_OK;
}

/* The repetition penalty asks for a logit's sign: before it a temperature must leave zero where it
 * is. */
static pl_code build(sampler *s, const sampler_options *o, pl_error *e) {
    pl_code rc = PL_OK;
    bool zero = true;
    for (size_t i = 0; i < o->n_order; i++)
        if (o->order[i] == STAGE_PENALTIES) zero = false;
    size_t n = o->n_order ? o->n_order : STAGES;
    for (size_t i = 0; i < n && !rc; i++) {
        stage_name name = o->n_order ? o->order[i] : (stage_name)i;
        if (name == STAGE_PENALTIES) zero = true;
        rc = add_wanted(s, o, name, zero || o->n_order == 0, e);
    }
    return rc;
}

pl_code sampler_new(const sampler_options *o, const kernels *math, size_t n_vocab, sampler **out,
                    pl_error *e) {
    pl_code rc;
    sampler *s = mem_zalloc(sizeof *s);
    if (!s) return pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", n_vocab);
    s->math = math, s->n_vocab = n_vocab, s->seed = o->seed;
    s->greedy = !(o->temperature > 0);
    if ((rc = row_scratch_reserve(&s->scratch, n_vocab, e)) || (rc = build(s, o, e))) {
        sampler_free(s);
        return rc;
    }
    *out = s;
    return PL_OK;
}

pl_code sampler_clone(const sampler *s, sampler **out, pl_error *e) {
    pl_code rc;
    sampler *copy = mem_zalloc(sizeof *copy);
    if (!copy)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", s->n_vocab);
    copy->math = s->math, copy->n_vocab = s->n_vocab, copy->seed = s->seed,
    copy->greedy = s->greedy;
    rc = row_scratch_reserve(&copy->scratch, s->n_vocab, e);
    for (size_t i = 0; i < s->n_stages && !rc; i++) {
        stage *twin = s->stages[i]->kind->clone(s->stages[i]);
        rc = twin
                 ? insert(copy, i, twin, e)
                 : pl_fail(e, PL_ERR_MEMORY, "no memory for a sampler over %zu tokens", s->n_vocab);
    }
    if (rc) {
        sampler_free(copy);
        return rc;
    }
    *out = copy;
    return PL_OK;
}

void sampler_free(sampler *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_stages; i++) stage_free(s->stages[i]);
    mem_free(s->stages);
    row_scratch_free(&s->scratch);
    mem_free(s);
}

pl_code sampler_add(sampler *s, stage *added, pl_error *e) { return insert(s, 0, added, e); }

row_scratch *sampler_scratch(sampler *s) { return &s->scratch; }

/* ---- picking ---- */

static void run_stages(sampler *s, logits_row *r, const int32_t *tokens, size_t n,
                       uint64_t position) {
    sampler_moment at = {tokens, n, position, s->seed};
    for (size_t i = 0; i < s->n_stages; i++) s->stages[i]->kind->apply(s->stages[i], r, &at);
}

void sampler_apply(sampler *s, logits_row *r, const int32_t *tokens, size_t n, uint64_t position) {
    run_stages(s, r, tokens, n, position);
    if (s->greedy) row_greedy(r);
}

void sampler_accept(sampler *s, int32_t id) {
    for (size_t i = 0; i < s->n_stages; i++)
        if (s->stages[i]->kind->accept) s->stages[i]->kind->accept(s->stages[i], id);
}

int32_t sampler_pick_row(sampler *s, logits_row *r, const int32_t *tokens, size_t n,
                         uint64_t position) {
    int32_t id;
    run_stages(s, r, tokens, n, position);
    id = s->greedy ? row_argmax(r) : row_draw(r, philox_uniform(s->seed, position));
    sampler_accept(s, id);
    return id;
}

int32_t sampler_pick(sampler *s, float *logits, const int32_t *tokens, size_t n,
                     uint64_t position) {
    logits_row r;
    row_open(&r, s->math, logits, s->n_vocab, &s->scratch);
    return sampler_pick_row(s, &r, tokens, n, position);
}
