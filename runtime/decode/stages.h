/* stages.h: what a sampler is made of: a stage changes a row of logits, and is told of the token
 * that was taken. A stage knows nothing of those beside it; its state is its own, and is copied by
 * clone. */
#ifndef PERILUNE_DECODE_STAGES_H
#define PERILUNE_DECODE_STAGES_H

#include "decode/row.h"

/* Where a row stands: behind tokens [n], of which the last is at position - 1; `position` is the
 * next token's index in its cache. */
typedef struct {
    const int32_t *tokens;
    size_t n;
    uint64_t position, seed;
} sampler_moment;

typedef struct stage stage;
typedef struct {
    stage *(*clone)(const stage *s);                            /* NULL: no memory */
    void (*apply)(stage *s, logits_row *r, const sampler_moment *at);
    void (*accept)(stage *s, int32_t id);                       /* NULL: it does not care */
    void (*free)(stage *s);
} stage_kind;
struct stage { const stage_kind *kind; }; /* what each kind's memory begins with */

/* The stages there are, in the order of the default chain. */
typedef enum {
    STAGE_LOGIT_BIAS,
    STAGE_BANNED_TOKENS,
    STAGE_PENALTIES,
    STAGE_DRY,
    STAGE_TOP_N_SIGMA,
    STAGE_TOP_K,
    STAGE_TYPICAL_P,
    STAGE_TOP_P,
    STAGE_MIN_P,
    STAGE_XTC,
    STAGE_TEMPERATURE,
    STAGE_MIROSTAT,
    STAGES
} stage_name;
const char *stage_named(stage_name s); /* "logit_bias", "banned_tokens", "penalties", ... */

struct sampler_options;
/* Does an option ask for it? */
bool stage_wanted(stage_name s, const struct sampler_options *o);
/* A stage as the options say, over a vocabulary of n. `zero`: a temperature may move the logits,
 * too. */
pl_code stage_new(stage_name s, const struct sampler_options *o, size_t n, bool zero, stage **out,
                  pl_error *e);
static inline void stage_free(stage *s) {
    if (s) s->kind->free(s);
}

#endif
