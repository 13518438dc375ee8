/* error.h: how every fallible function of the runtime reports.
 *
 * A function that can fail returns PL_OK or a pl_code and fills the pl_error it was given: what was
 * found, what was allowed, where. Nothing in the core prints or exits. The types are the public
 * ones. */
#ifndef PERILUNE_BASE_ERROR_H
#define PERILUNE_BASE_ERROR_H

#include "perilune.h"

/* Fills *e (which may be NULL) and returns code, so that `return pl_fail(e, ...)` reads well. */
pl_code pl_fail(pl_error *e, pl_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message that is already there, and returns its code (PL_ERR_ARGUMENT
 * when e is NULL, and the code is not known). */
pl_code pl_error_prefix(pl_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
