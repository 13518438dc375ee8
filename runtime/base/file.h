/* file.h: reading a whole file, mapped or not, and writing one whole or not at all. */
#ifndef PERILUNE_BASE_FILE_H
#define PERILUNE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
    const uint8_t *data; /* size bytes, read-only; NULL when size is 0 */
    size_t size;
    bool mapped;
} file_view;

/* The file's content, memory-mapped or read into memory. Fails with PL_ERR_IO on what is not a
 * regular file. Owned by the caller until file_view_close. */
pl_code file_view_open(const char *path, bool map, file_view *out, pl_error *e);
void file_view_close(file_view *view);
/* The pages that lie within [p, p + size) of the view need not stay in memory: they are read again
 * when they are used. */
void file_view_forget(const file_view *view, const void *p, size_t size);

/* Whether both paths lead to one file that exists. */
bool file_same(const char *a, const char *b);

/* Writes beside `path` and renames over it at the end, so that a reader sees the old file or the
 * whole new one. After a failed write, commit fails too; abort removes what was written. */
typedef struct file_out file_out;
pl_code file_out_open(const char *path, file_out **out, pl_error *e);
pl_code file_out_write(file_out *out, const void *data, size_t size, pl_error *e);
pl_code file_out_commit(file_out *out, pl_error *e); /* syncs, renames; frees `out` either way */
void file_out_abort(file_out *out);                  /* NULL is fine */

#endif
