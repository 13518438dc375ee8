/* perilune.h: the public C API. A host program loads models, submits generations, and polls:
 * pl_poll takes results, calls the callbacks and has the next step computed on other threads; it
 * never waits for one.
 *
 *     pl_error e;
 *     pl_engine *engine = pl_engine_new(0, &e);
 *     pl_model *model;
 *     pl_load_options what = {sizeof what, .path = "demo"};
 *     if (pl_model_load(engine, &what, &model, &e)) ...
 *     pl_job_options how = {sizeof how, .text = "Once", .text_bytes = 4, .max_new_tokens = 20,
 *                           .on_token = hear, .on_done = done, .user = me};
 *     if (pl_submit(engine, model, &how, &job, &e)) ...
 *     while (running) pl_poll(engine, milliseconds_left_in_frame, &live, &e);
 *
 * An engine belongs to one thread, which calls everything here; only pl_cache_retain,
 * pl_cache_release, pl_model_retain, pl_model_release, pl_loading_progress and pl_loading_cancel
 * may be called from any. Functions that can fail return PL_OK or a code, and say in *e (which may
 * be NULL) what was found and what was allowed. Option structs begin with their size, so that they
 * can grow: what a program does not know of is zero, which is the default. Ids are the model's own
 * token numbers, from 0; texts are UTF-8. */
#ifndef PERILUNE_H
#define PERILUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PL_API __attribute__((visibility("default")))
#else
#define PL_API
#endif

typedef enum {
    PL_OK = 0,
    PL_ERR_MEMORY,      /* an allocation failed */
    PL_ERR_IO,          /* the system refused: no such file, disk full, ... */
    PL_ERR_FORMAT,      /* a file's content is not what its format allows */
    PL_ERR_UNSUPPORTED, /* well-formed, but of a kind this build does not know; named */
    PL_ERR_ARGUMENT,    /* the caller's fault */
    PL_ERR_CONTEXT,     /* the sequence would be longer than the model's context */
    PL_ERR_POOL,        /* the caches' memory (cache_bytes) is used up */
    PL_ERR_CLOSED,      /* a handle that was closed */
    PL_ERR_CANCELLED,   /* the owner asked for it */
    PL_ERR_MISMATCH,    /* a cache file or handle of another model, type or build */
    PL_ERR_CALLBACK     /* raised inside a script's function */
} pl_code;

#define PL_ERROR_MESSAGE_MAX 512

typedef struct {
    pl_code code;
    char message[PL_ERROR_MESSAGE_MAX]; /* UTF-8, one line, NUL-terminated; cut if longer */
} pl_error;

/* "memory", "io", ...: what a script sees as an error's `code`. */
PL_API const char *pl_code_name(pl_code code);
PL_API const char *pl_version(void);

typedef struct pl_engine pl_engine;
typedef struct pl_model pl_model;       /* reference-counted */
typedef struct pl_loading pl_loading;
/* an immutable value: tokens, and what the model has computed of them; reference-counted */
typedef struct pl_cache pl_cache;
typedef struct pl_job pl_job;           /* a generation; reference-counted */

/* threads: what models are loaded with unless they say otherwise; 0: the physical cores that this
 * process may use. NULL on an error. */
PL_API pl_engine *pl_engine_new(uint32_t threads, pl_error *e);
/* Cancels all jobs, without calling their callbacks. What the host still holds of it can be
 * released afterwards, its caches' tokens still be read, and nothing else be done with it. */
PL_API void pl_engine_free(pl_engine *engine);

/* ---- models ---- */

typedef struct {
    uint32_t size;          /* sizeof(pl_load_options) */
    const char *path;       /* of a GGUF file; "demo": the bundled model */
    uint32_t context;       /* most tokens of a cache; 0: what the model was trained for */
    uint32_t threads;       /* 0: the engine's */
    /* most memory of all caches; 0: at least one full context, at most half of what is free */
    uint64_t cache_bytes;
    bool (*progress)(void *user, double fraction);  /* on the loading thread; false cancels */
    void *user;
    const char *kv_type;    /* "f32", "f16" (the default, also NULL), "q8_0" */
    uint32_t step_rows;     /* most rows of one step; 0: 512 */
    uint32_t sequences;     /* most generations that are computed side by side; 0: 256 */
} pl_load_options;

/* Loads, and returns when it is loaded. One reference for the caller. */
PL_API pl_code pl_model_load(pl_engine *engine, const pl_load_options *options, pl_model **model,
                             pl_error *e);

/* The same on a thread of its own. Options are copied, the path too. */
PL_API pl_code pl_model_load_begin(pl_engine *engine, const pl_load_options *options,
                                   pl_loading **loading, pl_error *e);
PL_API double pl_loading_progress(const pl_loading *loading);   /* 0 to 1 */
PL_API void pl_loading_cancel(pl_loading *loading);
PL_API bool pl_loading_done(const pl_loading *loading);         /* pl_loading_end would not wait */
/* Waits where it must; frees the loading, whatever came of it. model may be NULL: then it is
 * dropped. */
PL_API pl_code pl_loading_end(pl_loading *loading, pl_model **model, pl_error *e);

PL_API pl_model *pl_model_retain(pl_model *model);
PL_API void pl_model_release(pl_model *model);                  /* NULL is fine */

typedef struct {
    uint32_t size;          /* sizeof(pl_model_stats) */
    uint32_t context, vocab_size;
    uint64_t tokens, steps, sampled;            /* processed; passes over the model; generated */
    uint64_t cache_bytes, cache_bytes_used;     /* the limit; of all caches now */
} pl_model_stats;
PL_API pl_code pl_model_get_stats(const pl_model *model, pl_model_stats *stats, pl_error *e);

/* Tokens of a text into ids[0 .. room); *n is how many there are, also when they are more than
 * room. special: names of control tokens stand for them. */
PL_API pl_code pl_encode(const pl_model *model, const char *text, size_t text_bytes, bool special,
                         int32_t *ids, size_t room, size_t *n, pl_error *e);
/* The same for the text of tokens; nothing is appended to it. */
PL_API pl_code pl_decode(const pl_model *model, const int32_t *ids, size_t n_ids, char *text,
                         size_t room, size_t *n, pl_error *e);

/* ---- caches ---- */

PL_API pl_cache *pl_cache_retain(const pl_cache *cache);
PL_API void pl_cache_release(const pl_cache *cache);            /* NULL is fine */
PL_API size_t pl_cache_length(const pl_cache *cache);           /* tokens */
/* Tokens [first, first + n), which must be there. */
PL_API pl_code pl_cache_tokens(const pl_cache *cache, size_t first, size_t n, int32_t *ids,
                               pl_error *e);
/* A cache of the first `length` tokens; one reference. */
PL_API pl_code pl_cache_truncate(const pl_cache *cache, size_t length, pl_cache **out, pl_error *e);

/* ---- jobs ---- */

typedef struct {
    uint32_t size;                      /* sizeof(pl_job_options) */
    const pl_cache *cache;              /* to continue; NULL: empty */
    const char *text;                   /* the input: a text, or ids, or neither; copied */
    size_t text_bytes;
    const int32_t *ids;
    size_t n_ids;
    uint32_t max_new_tokens;            /* 0: until a stop condition, of which there must be one */
    float temperature;                  /* 0: greedy */
    float top_p;                        /* 0: 1 */
    uint64_t seed;
    const char *const *stop;            /* [n_stop] texts; copied */
    size_t n_stop;
    bool stop_at_eog;
    bool special;                       /* in text, names of control tokens stand for them */
    int priority;                       /* higher ones first */
    /* Inside pl_poll only, on the thread that calls it. piece: the text that became certain with
     * the token: whole characters, not NUL-terminated, nothing while it may still be the beginning
     * of a stop. false: this was the last token. */
    bool (*on_token)(void *user, int32_t id, const char *piece, size_t bytes);
    void (*on_done)(void *user, pl_job *job);
    void *user;
    uint32_t top_k;                     /* 0: all */
    float min_p;
    /* What the new tokens begin by spelling, in whatever tokens suit the model; copied. It is not
     * in the job's text, and stops are searched after it; its tokens count as new ones. */
    const char *prefix;
    size_t prefix_bytes;
} pl_job_options;

/* One reference for the caller; the engine holds one until the job is done and on_done has been
 * called. */
PL_API pl_code pl_submit(pl_engine *engine, pl_model *model, const pl_job_options *options,
                         pl_job **job, pl_error *e);

/* At most so many milliseconds on this thread, save for what a callback takes: takes results, calls
 * callbacks, and has the next step computed on other threads. *n_live (which may be NULL): jobs
 * that are not done, and tasks of scripts. It fails with what a script raised, and everything goes
 * on at the next call; and inside one of its own callbacks (PL_ERR_ARGUMENT), where it does
 * nothing. */
PL_API pl_code pl_poll(pl_engine *engine, double milliseconds, size_t *n_live, pl_error *e);
/* Waits until pl_poll would find something to do, for so many milliseconds at most. */
PL_API void pl_wait(pl_engine *engine, double milliseconds);

/* Ends it where it is: what it has so far stays; on_done is called at the next poll. A step that
 * computes nothing else is abandoned. */
PL_API void pl_cancel(pl_job *job);
/* NULL while it is under way; else "length", "stop", "eog", "context", "callback", "cancelled", or
 * "failed". */
PL_API const char *pl_job_finish(const pl_job *job);
PL_API pl_code pl_job_error(const pl_job *job, pl_error *e); /* why it failed; PL_OK: it did not */
/* Valid until the job is polled or released: the new tokens, and their text without the stop, not
 * NUL-terminated. */
PL_API const int32_t *pl_job_tokens(const pl_job *job, size_t *n);
PL_API const char *pl_job_text(const pl_job *job, size_t *bytes);
/* The cache so far: all of the input and the new tokens. The job's own: valid until this is called
 * again, or the job is released. NULL: there is no memory for one. */
PL_API const pl_cache *pl_job_cache(const pl_job *job);
PL_API void pl_job_set_priority(pl_job *job, int priority);
PL_API void pl_job_release(pl_job *job); /* NULL is fine; a job under way goes on */

#ifdef __cplusplus
}
#endif

#endif
