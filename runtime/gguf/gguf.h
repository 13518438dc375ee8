/* gguf.h: GGUF files, versions 2 and 3, little-endian (ggml/docs/gguf.md): reading with every
 * count, length, offset and type checked against the file, and writing for tests and tools.
 *
 * A gguf owns its file view and its index (names, tensor infos); values and tensor data are
 * pointers into the view, valid until gguf_close. Opening costs memory in proportion to the index,
 * which the file's size bounds. Nothing here knows what a key means. */
#ifndef PERILUNE_GGUF_GGUF_H
#define PERILUNE_GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/types.h"

#define GGUF_MAX_DIMS 4
#define GGUF_MAX_STRING ((size_t)64 << 20)   /* bytes of one string value */
#define GGUF_MAX_KEY 65535                   /* bytes of a key; the format's own limit */
#define GGUF_MAX_TENSOR_NAME 255             /* bytes */
#define GGUF_MAX_ALIGNMENT ((size_t)1 << 20)
#define GGUF_MAX_ARRAY ((uint64_t)1 << 28)   /* elements of one array */
#define GGUF_MAX_VALUES ((uint64_t)1 << 16)  /* keys of one file */
#define GGUF_MAX_TENSORS ((uint64_t)1 << 17) /* tensors of one file */

typedef enum {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_VALUE_TYPES
} gguf_value_type;

typedef struct { const char *data; size_t size; } gguf_string; /* not NUL-terminated */

typedef struct {
    const char *key;         /* NUL-terminated */
    gguf_value_type type;    /* of the value, or of the elements when is_array */
    bool is_array;           /* nested arrays are refused */
    uint64_t n;              /* elements; 1 for a scalar */
    const uint8_t *data;     /* first element, in the file's bytes: unaligned */
} gguf_value;

typedef struct {
    const char *name;                 /* NUL-terminated */
    uint32_t n_dims;
    uint64_t ne[GGUF_MAX_DIMS];       /* elements per dimension, fastest first; 1 beyond n_dims */
    uint32_t type;                    /* a weight_type, or another number that the format defines */
    const void *data;                 /* n_bytes, 8-aligned; NULL: not there (header_only) */
    size_t n_bytes;
} gguf_tensor;

typedef struct gguf gguf;

typedef struct {
    bool map;          /* map the file instead of reading it */
    bool header_only;  /* index and metadata; tensor data need not be there (vocab_only) */
} gguf_options;

/* Of a file that is split into parts (NAME-00001-of-0000N.gguf), `path` is the first, and the
 * others are opened with it (not when header_only): their tensors join the index. A part that is
 * missing is an error that names it. */
pl_code gguf_open(const char *path, const gguf_options *options, gguf **out, pl_error *e);
void gguf_close(gguf *g); /* NULL is fine */

const char *gguf_path(const gguf *g);
uint32_t gguf_version(const gguf *g);
size_t gguf_n_parts(const gguf *g);   /* files that it lies in; 1 when it is not split */
const char *gguf_part_path(const gguf *g, size_t i); /* of part i, from 0 */
size_t gguf_file_size(const gguf *g); /* of all parts */

size_t gguf_n_values(const gguf *g);
const gguf_value *gguf_value_at(const gguf *g, size_t i); /* in file order */
const gguf_value *gguf_find(const gguf *g, const char *key); /* NULL: absent */
size_t gguf_n_tensors(const gguf *g);
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i);
/* A tensor's data will not be needed for some time. */
void gguf_forget(const gguf *g, const gguf_tensor *t);
const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name);

/* Element i of a value; the caller has checked the type. Integers of any width widen; a u64 beyond
 * INT64_MAX is INT64_MAX. */
int64_t gguf_int_at(const gguf_value *v, uint64_t i);
double gguf_float_at(const gguf_value *v, uint64_t i);
/* Elements of a string array are variable in size: walk them in order. *cursor starts at 0. */
gguf_string gguf_string_next(const gguf_value *v, size_t *cursor);
/* Bytes of v->data, all elements; strings are walked. */
size_t gguf_value_bytes(const gguf_value *v);

/* Typed lookups of a scalar. A key that is absent leaves *out as it is and returns PL_OK when
 * `required` is false; a key of another type, or out of [min, max], is PL_ERR_FORMAT and named. */
pl_code gguf_get_u32(const gguf *g, const char *key, bool required, uint32_t min, uint32_t max,
                     uint32_t *out, pl_error *e); /* of any integer type */
pl_code gguf_get_f32(const gguf *g, const char *key, bool required, float min, float max,
                     float *out, pl_error *e); /* f32 or f64; NaN is out of every range */
pl_code gguf_get_bool(const gguf *g, const char *key, bool required, bool *out, pl_error *e);
pl_code gguf_get_string(const gguf *g, const char *key, bool required, gguf_string *out,
                        pl_error *e);
/* An array of the given element type (strings: GGUF_STRING; integers: any integer type when
 * GGUF_I32 is asked for; floats: F32 or F64 when GGUF_F32 is). *out is NULL when absent. */
pl_code gguf_get_array(const gguf *g, const char *key, bool required, gguf_value_type type,
                       const gguf_value **out, pl_error *e);

const char *gguf_value_type_name(uint32_t type); /* "u32", "string", ...; "?" */
size_t gguf_element_size(uint32_t type); /* bytes of one element; 0: varies, or no such type */

/* ---- writing ---- */

/* Collects keys and tensors, then writes the file whole or not at all, as version 3. Keys and names
 * are copied; tensor data is not, and must stay until gguf_write returns. The first error of the
 * add functions is kept and returned by gguf_write, so a caller may check once; all of them, and
 * gguf_write, take a NULL writer for one that found no memory. Tensors are aligned to 32 bytes, or
 * to the "general.alignment" that was added. That nothing is added twice is for the caller to see
 * to. */
typedef struct gguf_writer gguf_writer;
gguf_writer *gguf_writer_new(void); /* NULL: no memory */
void gguf_writer_free(gguf_writer *w); /* NULL is fine */
void gguf_add_u32(gguf_writer *w, const char *key, uint32_t v);
void gguf_add_f32(gguf_writer *w, const char *key, float v);
void gguf_add_bool(gguf_writer *w, const char *key, bool v);
void gguf_add_string(gguf_writer *w, const char *key, const char *s, size_t n);
void gguf_add_strings(gguf_writer *w, const char *key, const gguf_string *s, size_t n);
/* An array; n elements of a type that is neither string nor array, as they lie in memory. */
void gguf_add_numbers(gguf_writer *w, const char *key, gguf_value_type type, const void *data,
                      size_t n);
/* A value of another file, or one that was put together like it, under its own key. */
void gguf_add_value(gguf_writer *w, const gguf_value *v);
/* A value as it is in the file: for scalars of the other types, and for tests of bad files. */
void gguf_add_raw(gguf_writer *w, const char *key, uint32_t type, const void *bytes, size_t size);
void gguf_add_tensor(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                     const uint64_t *ne, const void *data);
pl_code gguf_write(gguf_writer *w, const char *path, pl_error *e);

/* The same in steps, for tensors whose data does not lie in memory all at once (their `data` may be
 * NULL then, and is not looked at). After gguf_write_begin, the bytes of the tensors are given in
 * the order in which those were added, in pieces of any size that end where a tensor ends at the
 * latest. Only gguf_write_end makes it the file at `path`; until then it lies beside it, and goes
 * when the writer is freed. Without a tensor, end follows begin. */
pl_code gguf_write_begin(gguf_writer *w, const char *path, pl_error *e);
pl_code gguf_write_data(gguf_writer *w, const void *bytes, size_t size, pl_error *e);
pl_code gguf_write_end(gguf_writer *w, pl_error *e);

#endif
