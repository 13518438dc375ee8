/* convert.h: the weights of a GGUF file, written as other types. */
#ifndef PERILUNE_GGUF_CONVERT_H
#define PERILUNE_GGUF_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

typedef struct {
    const uint32_t *types; /* [gguf_n_tensors(g)]: what each tensor is written as */
    size_t threads;        /* 0: team_default_size */
    bool (*progress)(void *user, double fraction); /* false: PL_ERR_CANCELLED; NULL: none */
    void *user;
} gguf_conversion;

/* Writes the tensors of g, in their order, behind the keys that w has been given. A tensor that
 * keeps its type is copied bit for bit; another goes through float, each block rounded by its
 * format's from_float, so the result does not depend on the number of threads. Memory: a window of
 * some hundred thousand weights for each thread, however large the tensors are.
 *
 * PL_ERR_ARGUMENT: a type that has no from_float, or whose block does not divide a row.
 * PL_ERR_UNSUPPORTED: a tensor of a type that this build cannot read. PL_ERR_FORMAT: a weight that
 * the type cannot hold. PL_ERR_IO: also when `path` is one of the files that g reads. After
 * any of them `path` is as it was. w is for freeing afterwards. */
pl_code gguf_convert(const gguf *g, const gguf_conversion *how, gguf_writer *w, const char *path,
                     pl_error *e);

#endif
