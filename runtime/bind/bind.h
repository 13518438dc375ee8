/* bind.h: what the files of this room share: the handles behind Lua's values, errors as Lua sees
 * them, and what scripts pass in. Nothing outside bind/ and main.c knows Lua, and nothing of the
 * core calls into it, but for a progress function.
 *
 * Three rules keep every call safe, whatever a script does.
 *   - Userdata first, resource second: a handle is created closed and anchored in the state, and
 *     only then opened.
 *   - Any call of Lua's that allocates may run a finalizer, and a finalizer may close anything. So
 *     what belongs to the core (an engine, a node, a job and its results) is fetched from its
 *     handle, checked, after the last such call before its use.
 *   - Closing and collecting share one function, which may run more than once.
 *
 * A model's handle lists its caches and requests, because closing it closes them; they keep it
 * alive through their first user value. That makes any order of collection fine, lua_close
 * included. */
#ifndef PERILUNE_BIND_H
#define PERILUNE_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/error.h"
#include "cache/node.h"
#include "cache/store.h"
#include "decode/engine.h"
#include "decode/loop.h"
#include "decode/random.h"
#include "decode/row.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

/* Metatables, by their names in the registry. */
#define MODEL_TYPE "perilune.model"
#define CACHE_TYPE "perilune.cache"
#define LOGITS_TYPE "perilune.logits"
#define PROBS_TYPE "perilune.probs"
#define HIDDEN_TYPE "perilune.hidden"
#define SET_TYPE "perilune.set"
#define RNG_TYPE "perilune.rng"
#define SAMPLER_TYPE "perilune.sampler"
#define FLOATS_TYPE "perilune.floats"       /* the pool of rows; no script sees it */
#define STREAM_TYPE "perilune.stream"
#define FILE_TYPE "perilune.file"
#define WRITER_TYPE "perilune.writer"       /* of a conversion; no script sees it */
#define REQUEST_TYPE "perilune.request"     /* a request that no script sees */
#define TASK_TYPE "perilune.task"
/* a request whose tokens a script chooses or gives; no script sees it */
#define CHOSEN_TYPE "perilune.chosen"
#define ERROR_TYPE "perilune.error"
#define SCRATCH_TYPE "perilune.scratch"

typedef struct cache_handle cache_handle;
typedef struct request request;

/* A row of logits or probabilities, or a hidden state. It needs no model: it outlives its own. */
typedef struct float_pool float_pool;
typedef struct row_handle row_handle;
struct row_handle {
    logits_row row;             /* row.l NULL: closed */
    float_pool *pool;           /* of its state, where its floats come from */
    row_handle *next, **at;     /* in the pool's list of open ones; at is NULL outside of it */
    double logsumexp;
    bool summed;                /* logsumexp is known */
    bool lent;                  /* its floats are somebody else's */
};

/* A set of token ids. */
typedef struct {
    size_t n;                   /* ids are below it */
    size_t count;               /* ids in it */
    uint64_t bits[];            /* [(n + 63) / 64], none set from n on */
} id_set;

typedef struct model_handle model_handle;
struct model_handle {
    engine *engine;             /* NULL: closed */
    model_handle *next, **at; /* in the scheduler's list of open models; at is NULL outside of it */
    loop **loop;                /* the scheduler's, of this moment */
    uint64_t charged; /* bytes of blocks in use when Lua's collector was last told of them */
    cache_handle *caches;       /* open ones */
    request *requests;
};

struct cache_handle {
    cache_node *node;           /* one reference; NULL: closed */
    model_handle *model;        /* NULL when it was closed with its model */
    cache_handle *next, **at;   /* in the model's list; at is NULL outside of it */
};

/* A job and what the script said about it. REQUEST_END: what a stream was when it was closed. */
struct request {
    job *job;                   /* NULL: closed */
    model_handle *model;
    request *next, **at;
    uint64_t seed;
    bool seeded;                /* the seed means something: this generation draws */
    bool wants_cache;           /* on_token has a third parameter */
    bool delivered;             /* a stream has handed out the token that its job waits with */
    bool wrapped;               /* the error of on_token has been made an error object already */
    row_handle *lent;           /* the logits that a sampler in Lua looks at now; anchored */
    bool collected; /* for lack of memory the collector has run while this was waited for */
    bool retry;                 /* and it is to be tried once more */
};
/* Its user values. */
enum {
    REQUEST_MODEL = 1,
    REQUEST_STOPS,
    REQUEST_ON_TOKEN,
    REQUEST_END,
    REQUEST_LENT,
    REQUEST_VALUES = 5
};

/* ---- error.c ---- */

/* Raises an error object; the format is that of lua_pushfstring. Declared int, as lua_error is. */
int bind_raise(lua_State *L, pl_code code, const char *format, ...);
int bind_fail(lua_State *L, const pl_error *e);
/* "bad argument #2 to 'truncate' (...)", counting as the script's author does. */
int bind_arg_error(lua_State *L, int arg, const char *format, ...);
/* The same for a closed handle, "cache" or another, with its own code. */
int bind_closed_arg(lua_State *L, int arg, const char *what);
/* core.raise(code, message): for what is said in Lua; it says where the script called that. */
int bind_raise_from_lua(lua_State *L);
/* Replaces the message on the top by an error object. */
void bind_error_object(lua_State *L, pl_code code);
/* What the world did: pushes nil, the message and the code; returns 3. */
int bind_refused(lua_State *L, const pl_error *e);
void bind_open_error(lua_State *L); /* these make the metatables */

/* ---- args.c ---- */

/* Makes a metatable by its name: meta's functions, and as __index the table of the methods or, if
 * it is not NULL, a function that has it as its upvalue. `fields` (may be NULL; NULL-terminated):
 * names that the function knows besides; they stand in the table for who looks for names, as
 * completion does. */
void bind_open_type(lua_State *L, const char *type, const luaL_Reg *meta, const luaL_Reg *methods,
                    lua_CFunction index, const char *const *fields);

/* Pushes a short description of the value at idx for a message: a number as it is, a string in
 * quotes, else its type. */
const char *bind_describe(lua_State *L, int idx);

/* Raises when the table at t has a key that is not in the NULL-terminated list. `what` names the
 * function. */
void bind_check_options(lua_State *L, int t, const char *what, const char *const *allowed);
/* An optional second argument such as {bos = true}; leaves a table, or nothing, at idx. Returns
 * whether there is one. */
bool bind_options_at(lua_State *L, int idx, const char *what, const char *const *allowed);
/* Options of the table at t: false, and *out as it was, when absent. Out of [min, max], or of
 * another type: raised. */
bool bind_integer_option(lua_State *L, int t, const char *key, lua_Integer min, lua_Integer max,
                         lua_Integer *out);
bool bind_number_option(lua_State *L, int t, const char *key, double min, double max,
                        const char *allowed, double *out);
bool bind_boolean_option(lua_State *L, int t, const char *key, bool absent);

/* A whole number that is an argument by itself, in [min, max]. */
lua_Integer bind_integer_arg(lua_State *L, int arg, lua_Integer min, lua_Integer max,
                             const char *what);
/* A number that is an argument by itself; `allowed` as for an option. */
double bind_number_arg(lua_State *L, int arg, double min, double max, const char *allowed,
                       const char *what);
/* A token id as an argument, below n_vocab. */
int32_t bind_id_arg(lua_State *L, int arg, size_t n_vocab);
/* A range of positions [*first, *last] of 1..n from the arguments arg and arg + 1, negative ones
 * counted from the end. With clip, cut to 1..n as string.sub does; otherwise positions outside
 * min..n are raised. Empty: *first > *last. */
void bind_range_args(lua_State *L, int arg, size_t n, size_t min, bool clip, size_t *first,
                     size_t *last);
/* A path: raises when it holds a NUL. */
const char *bind_path_arg(lua_State *L, int arg);

/* Memory of one call, anchored on the stack and given back by hand or by the collector. */
typedef struct { id_list ids; text_buffer text; } scratch;
scratch *bind_scratch(lua_State *L); /* pushes it */
void bind_scratch_clear(scratch *s);
void bind_open_args(lua_State *L);

/* Appends what the value at idx stands for to s->ids: an id, a list of ids, and with `texts`, a
 * text or a list that mixes ids and texts. `empty`: nothing stands before it, so that a text which
 * comes first is given BOS when the model wants one, and SentencePiece's leading space. `name` is
 * what messages call the value. */
void bind_ids(lua_State *L, int idx, const char *name, model_handle *m, bool texts, bool empty,
              scratch *s);
/* Fills the list on the top with ids; runs no finalizer. */
void bind_push_ids(lua_State *L, const int32_t *ids, size_t n);

/* What the core needs to report progress to a script's function. */
typedef struct {
    lua_State *L;
    int function;   /* its index */
    bool raised;    /* it raised the value on the top of the stack */
} bind_progress;
/* Puts option 'progress' of the table at t, a function, in place of the value at idx, if there is
 * one. */
void bind_progress_option(lua_State *L, int t, int idx);
/* For the core: false when the function returned false, or raised. */
bool bind_call_progress(void *user, double fraction);

/* ---- model.c ---- */

model_handle *bind_check_model(lua_State *L, int arg);
engine *bind_engine(lua_State *L, model_handle *m);     /* raises when the model is closed */
engine *bind_computing(lua_State *L, model_handle *m);  /* and when it is a vocabulary alone */
size_t bind_vocab(lua_State *L, model_handle *m);       /* ids are below it */
/* Tells Lua's collector by how much the blocks in use have grown since the last time. May run
 * finalizers. */
void bind_charge(lua_State *L, model_handle *m);
/* The same for bytes of another kind that it does not see. */
void bind_charge_bytes(lua_State *L, uint64_t bytes);
/* Before reporting that the pool is full: whatever the collector can free. */
void bind_collect(lua_State *L);
/* What a cache file of this model must match; it points into `build`. */
#define BIND_BUILD_MAX 64
pl_code bind_identity(engine *g, char build[BIND_BUILD_MAX], cache_identity *out, pl_error *e);
/* Pushes the handle of a new model, closed; enters it, when its engine is there, into the state's
 * list and loop. */
model_handle *bind_new_model(lua_State *L);
void bind_enter_model(lua_State *L, model_handle *m);
/* Pushes the state's open handle of that engine: false, and nothing, when there is none. */
bool bind_push_known_model(lua_State *L, const engine *g);
/* Puts the bundled model's path, which stays on the stack, in place of "demo". Not 0: that many
 * results say that there is none. */
int bind_model_path(lua_State *L, const char **path);
int bind_load(lua_State *L);
void bind_open_model(lua_State *L);

/* ---- cache.c ---- */

cache_handle *bind_check_cache(lua_State *L, int arg);
cache_handle *bind_test_cache(lua_State *L, int idx);   /* NULL: something else; may be closed */
cache_node *bind_node(lua_State *L, const cache_handle *c); /* raises when closed */
/* Pushes a closed handle of the model at model_idx. */
cache_handle *bind_new_cache(lua_State *L, int model_idx);
void bind_close_cache(cache_handle *c);
/* Puts n rows of one float each, of a finished request, which is closed, into the list at `list`,
 * which has room for them. */
void bind_fill_logprobs(lua_State *L, request *r, int list, lua_Integer n);
void bind_open_cache(lua_State *L);

/* ---- floats.c ---- */

/* Pushes an open row of n floats, whose values are up to the caller. May run finalizers. */
row_handle *bind_new_row(lua_State *L, const char *type, const kernels *math, size_t n);
/* Pushes logits over floats [n] that belong to the caller, so that a script may read and change
 * them in place, until bind_take_back; afterwards they are closed for the script. The row knows
 * what is left. */
row_handle *bind_lend_logits(lua_State *L, const kernels *math, float *l, size_t n);
void bind_take_back(row_handle *h);
row_handle *bind_check_row(lua_State *L, int arg, const char *type); /* an open one */
row_handle *bind_test_row(lua_State *L, int idx, const char *type);  /* NULL: something else */
void bind_row_open(lua_State *L, const row_handle *h);  /* raises when closed */
int bind_close_row(lua_State *L);                       /* their close, __gc and __close */
void bind_open_floats(lua_State *L);

/* ---- logits.c, probs.c, hidden.c ---- */

/* Pushes the logits that are row i of a finished request. */
void bind_push_logits(lua_State *L, request *r, size_t i);
int bind_logits_of(lua_State *L);       /* perilune.logits */
void bind_open_logits(lua_State *L);
int bind_probs(lua_State *L);           /* l:probs() */
void bind_open_probs(lua_State *L);
/* Pushes the hidden state that is row i of a finished request. */
void bind_push_hidden(lua_State *L, request *r, size_t i);
void bind_open_hidden(lua_State *L);
/* a + weight b for two rows of `type` at 1 and 2: pushes the sum, as long as the longer one. With a
 * `missing` of -INFINITY, ids that one of them lacks are masked in it. */
int bind_sum_rows(lua_State *L, const char *type, const char *operation, float weight,
                  float missing);
/* x * a or a * x: pushes a copy, and says by what it is to be multiplied. */
row_handle *bind_copy_for_product(lua_State *L, const char *type, float *by);

/* ---- set.c ---- */

id_set *bind_new_set(lua_State *L, size_t n);           /* pushes an empty one */
void bind_count_set(id_set *s);                         /* after its bits were set */
/* The bits of the set, id, or list of ids at arg, all below n: [(n + 63) / 64], anchored on the
 * stack. */
const uint64_t *bind_bits(lua_State *L, int arg, const char *name, size_t n);
int bind_set(lua_State *L);             /* model:set */
void bind_open_set(lua_State *L);

/* ---- rng.c ---- */

uint64_t bind_random_seed(void);        /* from the system; fits a float */
uint64_t bind_rng_seed(rng *r);         /* what option `rng` takes from it */
rng *bind_check_rng(lua_State *L, int arg);
rng *bind_test_rng(lua_State *L, int idx);
int bind_rng(lua_State *L);             /* perilune.rng */
void bind_open_rng(lua_State *L);

/* ---- sampler.c ---- */

/* Options that say how to sample: those that are numbers, and all. */
#define BIND_SAMPLING_NUMBERS                                                                     \
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "min_p", "typical_p", \
        "top_n_sigma", "xtc_probability", "xtc_threshold", "repetition_penalty",                  \
        "repeat_penalty", "presence_penalty", "frequency_penalty", "penalty_last_n",              \
        "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "mirostat",     \
        "mirostat_tau", "mirostat_eta", "mirostat_m", "seed"
#define BIND_SAMPLING_KEYS \
    BIND_SAMPLING_NUMBERS, "dry_breakers", "logit_bias", "banned_tokens", "samplers", "rng"
/* Reads them from the table at t, over a vocabulary of n_vocab (0: not known yet; then ids are not
 * looked at). Memory that *o points into stays on the stack. m knows the pieces of dry_breakers; it
 * may be NULL. Returns whether the seed means something: one was given, or is needed, and then
 * made. */
bool bind_read_sampling(lua_State *L, int t, model_handle *m, size_t n_vocab, sampler_options *o);
int bind_sampler(lua_State *L);         /* perilune.sampler */
int bind_penalties(lua_State *L);       /* l:penalties, l:dry */
int bind_dry(lua_State *L);
void bind_open_sampler(lua_State *L);

/* ---- gguf.c ---- */

int bind_gguf(lua_State *L);            /* perilune.gguf */
void bind_push_weight_types(lua_State *L);
void bind_open_gguf(lua_State *L);

/* ---- generate.c ---- */

/* Pushes a closed request of the model at model_idx. */
request *bind_new_request(lua_State *L, int model_idx, const char *type);
void bind_close_request(request *r);
job *bind_job(lua_State *L, const request *r);          /* raises when closed */
/* After bind_wait: raises what the request at idx ran into, with the tokens and the cache so
 * far. */
void bind_check_run(lua_State *L, int idx);
/* Rows after `count` positions from `first` on, from 0, as job_part has it. */
typedef struct { size_t first, count; } bind_rows;
/* Begins an evaluation of those rows of n caches; pushes its request. Then bind_wait, then
 * bind_evaluated, which raises what it ran into. */
void bind_evaluate(lua_State *L, int model_idx, job_want want, cache_handle *const *caches,
                   const bind_rows *rows, size_t n);
request *bind_evaluated(lua_State *L, int idx);
/* Makes the generation that arguments 2 and on describe, for the model at 1: pushes its request.
 * `what`: the function that was called. */
typedef enum {
    START_GENERATE,
    START_STREAM,   /* of STREAM_TYPE: pauses after every token */
    START_CHOSEN,   /* of CHOSEN_TYPE: a script chooses the tokens */
    START_FED       /* of CHOSEN_TYPE: they are given to it, and it computes nothing */
} start_kind;
request *bind_start(lua_State *L, start_kind kind, const char *what);
void bind_push_tokens(lua_State *L, int request_idx);
void bind_push_cache(lua_State *L, int request_idx);
void bind_push_info(lua_State *L, int request_idx);
/* Calls on_token for the token that the request at idx reports; k is called, with idx, where it
 * would have returned, if the callback yielded. The status, and on the top what it returned or
 * raised, are for bind_after_on_token. */
int bind_call_on_token(lua_State *L, int idx, lua_KFunction k);
/* Does what on_token said: nil and true change nothing, false ends the generation, a cache is gone
 * on from. An error is raised with the tokens and the cache so far. */
void bind_after_on_token(lua_State *L, int idx, int status);
/* Raises what a callback of the request at idx raised, the value at `cause`, with the tokens and
 * the cache so far. */
int bind_raise_callback(lua_State *L, int idx, int cause, const char *what);
/* Goes on from the cache at cache_idx. `what` begins the message when it is none. */
void bind_redirect(lua_State *L, int idx, int cache_idx, const char *what);
/* Pushes a table of generate's options by name: "number" and "sampling" say how to sample, the
 * others are "generate". */
void bind_push_generate_options(lua_State *L);
int bind_generate(lua_State *L);
void bind_open_request(lua_State *L);

/* ---- task.c ---- */

/* Waits for the request at idx until its job is no longer running. In a task the coroutine is
 * suspended meanwhile, and this does not return: k is called, with ctx, where it would have. */
void bind_wait(lua_State *L, int idx, lua_KFunction k, lua_KContext ctx);
loop *bind_loop(lua_State *L);          /* that this state's models are run by */
/* the state's models are run by that one now; NULL: by its own */
void bind_share_loop(lua_State *L, loop *engines);
/* the list of open ones; where the loop is noted */
model_handle **bind_models(lua_State *L, loop ***engines);
int bind_priority(lua_State *L);        /* of the task that runs; 0 outside */
/* What perilune.poll does: at most so many seconds. The number of live tasks. */
size_t bind_poll(lua_State *L, double seconds);
void bind_push_task_functions(lua_State *L); /* into the table on the top */
void bind_open_tasks(lua_State *L);

/* ---- host.c ---- */

void bind_leave_host(lua_State *L);     /* the state ends */

/* ---- choose.c ---- */

/* For generate and stream: with options `sampler`, `beside` or `banned_phrases`, what is said in
 * Lua of them; -1: without. */
int bind_choose(lua_State *L, bool stream);
void bind_push_choose_functions(lua_State *L); /* into the table on the top */

/* ---- trace.c ---- */

void bind_push_trace_functions(lua_State *L); /* into the table on the top */

/* ---- stream.c ---- */

int bind_stream(lua_State *L);
void bind_open_stream(lua_State *L);

#endif
