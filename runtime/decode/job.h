/* job.h: inside decode/: what the step needs to know of a job. A job is a generation or an
 * evaluation; each kind says which rows it wants of the next step, and takes its results. */
#ifndef PERILUNE_DECODE_JOB_H
#define PERILUNE_DECODE_JOB_H

#include "decode/engine.h"
#include "decode/stops.h"
#include "model/forward.h"

/* The positions of one cache that a job wants in the next step. */
typedef struct {
    cache_node *node;       /* NULL: nothing */
    size_t length;          /* positions [0, length) are to be processed */
    /* what follows from the hidden states after these positions is wanted, in order, as many as
     * fit */
    size_t first, count;
    bool hidden;            /* those themselves, and no logits */
} job_wish;

typedef struct {
    size_t (*n_wishes)(const job *j);
    job_wish (*wish)(const job *j, size_t i);
    /* The logits [n_vocab] after a position that wish i wants, which the job may overwrite; or the
     * hidden state [n_embd], which it may not. */
    pl_code (*take)(job *j, size_t i, size_t position, float *row, pl_error *e);
    bool (*done)(job *j);       /* asked after every step */
    void (*cancel)(job *j);     /* an interrupt reached it */
    void (*free)(job *j);
} job_kind;

struct job {
    const job_kind *kind;
    engine *g;
    job *prev, *next;   /* by priority, then in the order of their beginning */
    job_status status;
    int priority;
    bool waits;         /* for a place among the sequences that are computed: has none yet */
    bool placed;        /* has one */
    bool prompts;       /* wants more of this step than a token to be decoded */
    /* why it got no rows, or could not take its results, in the last step; of JOB_STUCK: why it
     * is */
    pl_code failed;
    pl_error error;
    unsigned interrupts; /* before it was opened: not meant for it */
    size_t rows;        /* of its own that the last step processed */
};

/* For the constructors: enters a zeroed job of the given kind into the engine's list. */
void job_enter(job *j, engine *g, const job_kind *kind);
/* The only way that a status changes: an interrupt goes to jobs that are not done. */
void job_set_status(job *j, job_status status);
/* Whatever a step under way computes for it is not handed out; a step that computes nothing else is
 * abandoned. */
void engine_forget(engine *g, job *j);
void engine_count_sampled(engine *g);

#endif
