/* engine.h: which rows run in the next step. One engine per loaded model: it owns the store of the
 * model's caches and the list of jobs. A job is something to be computed: a generation, or hidden
 * states and logits of caches. A step gathers the rows that its jobs want next, runs the model
 * once, and hands every job its results.
 *
 * A step is begun and ended by the engine's owner, one thread at a time; in between it computes, on
 * the owner's thread and the team's (engine_step), or on the team's and one more of the engine's
 * own, while the owner does something else (engine_poll). Jobs and nodes may be opened, extended
 * and closed meanwhile. Only engine_interrupt may be called from other threads. Whatever fails,
 * every node that the caller holds stays usable. */
#ifndef PERILUNE_DECODE_ENGINE_H
#define PERILUNE_DECODE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cache/node.h"
#include "decode/sampler.h"
#include "model/forward.h"

typedef struct engine engine;

typedef struct {
    model_options model;
    /* most memory of all caches; 0: at least one full context, at most half of what is free */
    size_t cache_bytes;
    /* tokens between the states that are kept of recurrent layers; 0: STATE_INTERVAL */
    size_t state_interval;
    size_t step_rows;       /* most rows of a step, up to STEP_ROWS_MAX; 0: that many */
    /* most generations that are computed side by side, the others wait; 0: SEQUENCES_DEFAULT */
    size_t sequences;
} engine_options;

#define STEP_ROWS_MAX 512
#define SEQUENCES_DEFAULT 256

pl_code engine_open(const engine_options *o, engine **out, pl_error *e);
/* An engine is counted: opened with one holder, each of whom closes it. With the last, all jobs
 * must have been closed; nodes may live on. */
engine *engine_hold(engine *g);
size_t engine_holders(const engine *g);
void engine_close(engine *g);
model *engine_model(engine *g);
cache_store *engine_store(engine *g);

typedef struct {
    uint64_t tokens;        /* rows processed into caches */
    uint64_t rerun;         /* rows computed again, read-only, for logits that were not kept */
    uint64_t steps;         /* passes over the model */
    uint64_t sampled;       /* tokens generated */
    expert_counts experts;  /* what experts' weights were read for */
} engine_counts;
engine_counts engine_stats(const engine *g);

/* Asks whatever is being computed in this process to stop: a step is abandoned between layers;
 * generations that are under way end as cancelled, other jobs are stuck with PL_ERR_CANCELLED; jobs
 * that are opened after it go on. Safe in a signal handler. Returns false when no job is open, or
 * the last interrupt has not been noticed by any yet. */
bool engine_interrupt(void);

/* Has none of a cache's first `length` tokens text? Then SentencePiece's leading space is still to
 * come. */
bool engine_silent(engine *g, const cache_node *n, size_t length);

/* ---- jobs ---- */

typedef struct job job;

typedef enum {
    JOB_RUNNING, /* wants steps */
    /* a generation that pauses: job_token is new; go on with job_resume. Or its owner is to choose:
     * job_choice */
    JOB_WAITING,
    /* it could not go on: job_trouble says why; go on with job_retry (after PL_ERR_POOL: when
     * memory was freed) */
    JOB_STUCK,
    JOB_DONE
} job_status;

job_status job_state(const job *j);
pl_code job_trouble(const job *j, pl_error *e); /* of a job that is stuck */
void job_retry(job *j);                         /* JOB_STUCK to JOB_RUNNING; otherwise nothing */

/* Jobs with a higher priority come first: with their prompts' rows, and into the sequences that are
 * computed. 0 unless set. */
void job_set_priority(job *j, int priority);

/* Runs steps, for all of the engine's jobs, until this one is no longer JOB_RUNNING. A job that was
 * stuck is retried. On an error the job is JOB_STUCK, as it was, and may be run again or closed; a
 * generation's tokens so far are there. */
pl_code job_run(job *j, pl_error *e);
/* A running job is stuck, cancelled, until it is retried. Results that are under way are
 * dropped. */
void job_stop(job *j);
/* Abandons what is under way. NULL is fine. */
void job_close(job *j);

/* ---- steps ---- */

/* One whole step for all running jobs, on this thread and the team's; first whatever is left of one
 * that engine_poll began. False: no job is running. A job that lacks memory of the pool waits while
 * others go on; when nobody can, the last of them by priority and age is stuck. */
bool engine_step(engine *g);

/* The owner's part of a step, for so many seconds at most, save the one result or the one gathering
 * that is under way: takes results, or gathers the next step and has it computed elsewhere. Never
 * waits for that. Returns when all results are taken, so that jobs which paused can be resumed
 * before the next step is gathered. False: no job is running. */
bool engine_poll(engine *g, double seconds);
/* Whether engine_poll would find something to do. */
bool engine_ready(engine *g);
/* Waits until it would, for so many seconds at most. */
void engine_wait(engine *g, double seconds);

/* -- logits, hidden states, log-probabilities, or processing alone -- */

typedef enum {
    WANT_NOTHING,       /* the nodes' tokens are processed */
    WANT_LOGITS,        /* after each of the positions: n_vocab floats per row */
    WANT_LOGPROBS,      /* of the token that follows each of the positions: one float per row */
    WANT_HIDDEN         /* the final hidden state, after the output norm: n_embd floats per row */
} job_want;

/* One node's part: rows after positions first .. first + count - 1 (0-based index of the token that
 * a row follows; for WANT_LOGPROBS the next token must exist). WANT_NOTHING: count is 0. */
typedef struct { cache_node *node; size_t first, count; } job_part;

/* Retains the nodes. */
pl_code job_evaluate(engine *g, job_want want, const job_part *parts, size_t n_parts, job **out,
                     pl_error *e);
/* Row i of all parts' rows in order, when done: as many floats as job_want says; valid until the
 * job is closed. */
const float *job_row(const job *j, size_t i);

/* -- generations -- */

#define GENERATE_UNLIMITED SIZE_MAX

typedef enum {
    FINISH_NONE,
    FINISH_LENGTH,
    FINISH_STOP,
    FINISH_EOG,
    FINISH_CONTEXT,
    FINISH_CALLBACK,
    FINISH_CANCELLED
} finish_reason;
const char *finish_name(finish_reason r); /* "length", ... ; NULL for FINISH_NONE */

typedef struct {
    cache_node *cache;              /* retained while needed */
    const int32_t *input;           /* [n_input]; copied */
    size_t n_input;
    size_t max_new_tokens;          /* or GENERATE_UNLIMITED */
    sampler_options sampler;        /* copied */
    const gguf_string *stops;       /* [n_stops], none empty; copied */
    size_t n_stops;
    const int32_t *stop_tokens;     /* [n_stop_tokens]; copied */
    size_t n_stop_tokens;
    bool stop_at_eog;
    /* [n_prefix] what the new tokens begin by spelling; it is not in the result's text, and stops
     * are searched after it; copied */
    const char *prefix;
    size_t n_prefix;
    bool logprobs;                  /* keep the model's own log-probability of each new token */
    bool pause;                     /* JOB_WAITING after every token, the last one included */
    bool choose;                    /* JOB_WAITING before every token: the owner chooses it */
    bool fed;                       /* it computes nothing: tokens come by job_push */
    int priority;
} generate_options;

/* Checks everything that promise 1 calls an error (PL_ERR_ARGUMENT, PL_ERR_CONTEXT), computes
 * nothing. A prefix that the vocabulary cannot spell is PL_ERR_ARGUMENT. */
pl_code job_generate(engine *g, const generate_options *o, job **out, pl_error *e);

typedef struct {
    const int32_t *tokens;          /* the new tokens: what the cache holds beyond the input */
    size_t n_tokens;
    /* [n_tokens], or NULL; NaN for tokens that were forced in by job_resume_from */
    const float *logprobs;
    /* of the new tokens, without the prefix and the stop; not NUL-terminated */
    const char *text;
    size_t n_text;
    size_t n_certain;               /* of its bytes: no stop can begin before their end */
    finish_reason reason;           /* FINISH_NONE while under way */
    size_t stop;                    /* FINISH_STOP by a string: its index in stops; else SIZE_MAX */
    size_t prompt_rows;             /* rows processed before the first new token */
    double prompt_seconds, decode_seconds;
} generate_result;
generate_result job_result(const job *j); /* pointers valid until the job runs, resumes or closes */

/* The token that a waiting job reports: its id, and the text that became certain with it: whole
 * UTF-8 characters, empty while they could still begin a stop; with the last token whatever was
 * held back. */
typedef struct { int32_t id; const char *piece; size_t n_piece; } generate_token;
generate_token job_token(const job *j);

/* With `choose`: the logits [n_vocab] of a job that waits for its owner to choose the next token;
 * the owner may change them; tokens that do not spell the prefix are masked in them. NULL: it does
 * not. Valid until it is chosen, or the job runs or closes. */
float *job_choice(job *j);
/* Chooses that token, or (by_sampler) what the job's own sampler makes of the logits. The job then
 * waits with the token, or goes on, as if it had picked it itself. A token of the owner's that does
 * not spell the prefix ends that. */
pl_code job_choose(job *j, bool by_sampler, int32_t id, pl_error *e);

/* With `fed`: the next token, as if it had been picked. The job stays JOB_WAITING with it, or is
 * done. PL_ERR_ARGUMENT: it is done already, or the id is not one of the model's. */
pl_code job_push(job *j, int32_t id, pl_error *e);
/* With `fed`: what was pushed stands in this cache, which begins with all of it and may be longer;
 * from now on the job's caches are its. PL_ERR_ARGUMENT: it does not. */
pl_code job_rest_on(job *j, cache_node *cache, pl_error *e);

/* Goes on after JOB_WAITING: to JOB_RUNNING, or to JOB_DONE when that token was the last. */
void job_resume(job *j);
/* The same, from another cache of this model: new tokens are what it holds beyond the old cache and
 * the input when it begins with those, and otherwise count from its end. A generation that had
 * finished may go on that way, if its limit allows. Stops that are complete in the text of those
 * tokens do not end it; one may still begin there. */
pl_code job_resume_from(job *j, cache_node *cache, pl_error *e);
/* Ends a generation that is not done. */
void job_finish(job *j, finish_reason r);

/* The cache so far: all tokens of the input and the new ones; one reference for the caller. */
pl_code job_cache(job *j, cache_node **out, pl_error *e);
/* The cache that ends exactly with the result's text: what stands behind it is left out; where text
 * ends inside a token, that token is replaced by ones that spell the rest. One reference for the
 * caller. */
pl_code job_cache_before(job *j, cache_node **out, pl_error *e);

#endif
