/* error.h: how every fallible function of the runtime reports.
 *
 * A function that can fail returns PL_OK or a pl_code and fills the pl_error it was given: what was
 * found, what was allowed, where. Nothing in the core prints or exits. */
#ifndef PERILUNE_BASE_ERROR_H
#define PERILUNE_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

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

/* Fills *e (which may be NULL) and returns code, so that `return pl_fail(e, ...)` reads well. */
pl_code pl_fail(pl_error *e, pl_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message that is already there, and returns its code (PL_ERR_ARGUMENT
 * when e is NULL, and the code is not known). */
pl_code pl_error_prefix(pl_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "memory", "io", ...: the `code` that a script sees. */
const char *pl_code_name(pl_code code);

#endif
