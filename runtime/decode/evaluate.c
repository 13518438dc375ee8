/* evaluate.c: jobs that process caches and look at what the model says of their tokens: logits,
 * log-probabilities, hidden states, or nothing but the processing. All parts that one call names are
 * wished for at once, so they share steps. */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "decode/job.h"

typedef struct {
    cache_node *node;
    size_t first, count;    /* rows wanted */
    size_t taken;           /* of them delivered */
    float *out;             /* [count][row_size] */
} part;

typedef struct {
    job job;
    job_want want;
    size_t row_size, n_parts;
    part *parts;
    float *rows;            /* all parts' rows */
} evaluation;

static size_t n_wishes(const job *j) { return ((const evaluation *)j)->n_parts; }

static job_wish wish(const job *j, size_t i) {
    const evaluation *v = (const evaluation *)j;
    const part *p = &v->parts[i];
    return (job_wish){.node = p->node,
                      .length = v->want == WANT_NOTHING ? node_length(p->node)
                                                        : p->first + p->count,
                      .first = p->first + p->taken,
                      .count = p->count - p->taken,
                      .hidden = v->want == WANT_HIDDEN};
}

static pl_code take(job *j, size_t i, size_t position, float *row, pl_error *e) {
    evaluation *v = (evaluation *)j;
    part *p = &v->parts[i];
    const model *m = engine_model(j->g);
    float *out = p->out + p->taken * v->row_size;
    (void)e;
    assert(position == p->first + p->taken);
    if (v->want != WANT_LOGPROBS) {
        memcpy(out, row, v->row_size * sizeof *out);
    } else {
        int32_t id;
        node_tokens(p->node, position + 1, 1, &id);
        *out = (float)((double)row[id] - logits_logsumexp(m->math, row, m->hp.n_vocab));
    }
    p->taken++;
    return PL_OK;
}

static bool done(job *j) {
    const evaluation *v = (const evaluation *)j;
    for (size_t i = 0; i < v->n_parts; i++)
        if (v->parts[i].taken < v->parts[i].count ||
            node_processed(v->parts[i].node) < wish(j, i).length)
            return false;
    return true;
}

static void cancel(job *j) {
    if (j->status != JOB_RUNNING) return;
    j->failed = pl_fail(&j->error, PL_ERR_CANCELLED, "cancelled");
    job_set_status(j, JOB_STUCK);
}

static void free_evaluation(job *j) {
    evaluation *v = (evaluation *)j;
    for (size_t i = 0; i < v->n_parts; i++) node_release(v->parts[i].node);
    mem_free(v->parts);
    mem_free(v->rows);
    mem_free(v);
}

static const job_kind kind = {n_wishes, wish, take, done, cancel, free_evaluation};

pl_code job_evaluate(engine *g, job_want want, const job_part *parts, size_t n_parts, job **out,
                     pl_error *e) {
    evaluation *v = mem_zalloc(sizeof *v);
    size_t rows = 0, floats, at = 0;
    if (!v) return pl_fail(e, PL_ERR_MEMORY, "no memory for an evaluation");
    v->want = want;
    const hparams *hp = &engine_model(g)->hp;
    v->row_size = want == WANT_LOGITS ? hp->n_vocab : want == WANT_HIDDEN ? hp->n_embd : 1;
    job_enter(&v->job, g, &kind);
    for (size_t i = 0; i < n_parts; i++) rows += parts[i].count;
    v->parts = mem_zarray(n_parts, sizeof *v->parts);
    if (checked_mul(rows, v->row_size, &floats)) v->rows = mem_array(floats, sizeof *v->rows);
    if (!v->parts || !v->rows) {
        size_t row_size = v->row_size;
        job_close(&v->job);
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu rows of %zu floats", rows, row_size);
    }
    for (; v->n_parts < n_parts; v->n_parts++) {
        const job_part *p = &parts[v->n_parts];
        v->parts[v->n_parts] = (part){.node = node_retain(p->node),
                                      .first = p->first,
                                      .count = p->count,
                                      .out = v->rows + at * v->row_size};
        at += p->count;
    }
    *out = &v->job;
    return PL_OK;
}

const float *job_row(const job *j, size_t i) {
    const evaluation *v = (const evaluation *)j;
    return v->rows + i * v->row_size;
}
