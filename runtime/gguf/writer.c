/* writer.c: writes GGUF files, version 3, for tests and tools. It owns keys, values and tensor
 * descriptions, as the bytes that the file will have, and the unfinished file while it is written;
 * tensor data stays the caller's. Once an error is noted, nothing more is added, and beginning to
 * write reports it without touching the file. */
#include "gguf/gguf.h"

#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"

#define VERSION 3
#define DEFAULT_ALIGNMENT 32

typedef struct {
    uint8_t *data; /* [size] */
    size_t size, capacity;
} buffer;

typedef struct {
    const void *data;
    size_t n_bytes;
    size_t info_end; /* in `infos`: where the description ends, all but the offset */
} content;

struct gguf_writer {
    pl_error error; /* code PL_OK: none so far */
    size_t alignment;
    uint64_t n_values;
    buffer values, infos; /* as they will be in the file, infos without the offsets */
    content *tensors;     /* [n_tensors] */
    size_t n_tensors, tensors_capacity;
    file_out *out;        /* from begin to end; NULL otherwise */
    size_t current, done; /* the tensor whose bytes come next, and how many have come */
};

gguf_writer *gguf_writer_new(void) {
    gguf_writer *w = mem_zalloc(sizeof *w);
    if (w != NULL) w->alignment = DEFAULT_ALIGNMENT;
    return w;
}

void gguf_writer_free(gguf_writer *w) {
    if (w == NULL) return;
    file_out_abort(w->out);
    mem_free(w->values.data);
    mem_free(w->infos.data);
    mem_free(w->tensors);
    mem_free(w);
}

/* ---- collecting ---- */

static void note_no_memory(gguf_writer *w) { pl_fail(&w->error, PL_ERR_MEMORY, "no memory"); }

static void put(gguf_writer *w, buffer *b, const void *bytes, size_t size) {
    size_t end;
    if (w->error.code != PL_OK || size == 0) return;
    if (!checked_add(b->size, size, &end) || mem_reserve(&b->data, &b->capacity, end, 1) != 0) {
        note_no_memory(w);
        return;
    }
    memcpy(b->data + b->size, bytes, size);
    b->size = end;
}

static void put32(gguf_writer *w, buffer *b, uint32_t v) { put(w, b, &v, sizeof v); }
static void put64(gguf_writer *w, buffer *b, uint64_t v) { put(w, b, &v, sizeof v); }

static void put_string(gguf_writer *w, buffer *b, const char *s, size_t n) {
    put64(w, b, n);
    put(w, b, s, n);
}

/* True when a value may be written to w; its key and type are. */
static bool begin_value(gguf_writer *w, const char *key, uint32_t type) {
    size_t n = strlen(key);
    if (w == NULL || w->error.code != PL_OK) return false;
    if (n == 0 || n > GGUF_MAX_KEY) {
        pl_fail(&w->error, PL_ERR_ARGUMENT, "key '%.80s': %zu bytes, expected 1 to %d", key, n,
                GGUF_MAX_KEY);
        return false;
    }
    put_string(w, &w->values, key, n);
    put32(w, &w->values, type);
    w->n_values++;
    return true;
}

void gguf_add_raw(gguf_writer *w, const char *key, uint32_t type, const void *bytes, size_t size) {
    if (begin_value(w, key, type)) put(w, &w->values, bytes, size);
}

/* Tensors behind it, and before it, will be aligned to v bytes. */
static void set_alignment(gguf_writer *w, int64_t v) {
    if (v >= 8 && v <= (int64_t)GGUF_MAX_ALIGNMENT && (v & (v - 1)) == 0) {
        w->alignment = (size_t)v;
        return;
    }
    pl_fail(&w->error, PL_ERR_ARGUMENT,
            "key 'general.alignment': found %lld, expected a power of two from 8 to %zu",
            (long long)v, GGUF_MAX_ALIGNMENT);
}

void gguf_add_value(gguf_writer *w, const gguf_value *v) {
    if (!begin_value(w, v->key, v->is_array ? (uint32_t)GGUF_ARRAY : (uint32_t)v->type)) return;
    if (v->is_array) {
        put32(w, &w->values, (uint32_t)v->type);
        put64(w, &w->values, v->n);
    } else if (strcmp(v->key, "general.alignment") == 0) {
        set_alignment(w, gguf_int_at(v, 0));
    }
    put(w, &w->values, v->data, gguf_value_bytes(v));
}

static void add_scalar(gguf_writer *w, const char *key, gguf_value_type type, const void *v) {
    gguf_add_value(w, &(gguf_value){.key = key, .type = type, .n = 1, .data = v});
}

void gguf_add_u32(gguf_writer *w, const char *key, uint32_t v) {
    add_scalar(w, key, GGUF_U32, &v);
}

void gguf_add_f32(gguf_writer *w, const char *key, float v) { add_scalar(w, key, GGUF_F32, &v); }

void gguf_add_bool(gguf_writer *w, const char *key, bool v) {
    uint8_t byte = v;
    add_scalar(w, key, GGUF_BOOL, &byte);
}

void gguf_add_string(gguf_writer *w, const char *key, const char *s, size_t n) {
    if (begin_value(w, key, GGUF_STRING)) put_string(w, &w->values, s, n);
}

void gguf_add_strings(gguf_writer *w, const char *key, const gguf_string *s, size_t n) {
    if (!begin_value(w, key, GGUF_ARRAY)) return;
    put32(w, &w->values, GGUF_STRING);
    put64(w, &w->values, n);
    for (size_t i = 0; i < n; i++) put_string(w, &w->values, s[i].data, s[i].size);
}

void gguf_add_numbers(gguf_writer *w, const char *key, gguf_value_type type, const void *data,
                      size_t n) {
    size_t size = gguf_element_size((uint32_t)type), bytes;
    if (w == NULL || w->error.code != PL_OK) return;
    if (size == 0 || !checked_mul(n, size, &bytes)) {
        pl_fail(&w->error, PL_ERR_ARGUMENT, "key '%.80s': found %zu of type %s, expected numbers",
                key, n, gguf_value_type_name((uint32_t)type));
        return;
    }
    gguf_add_value(w, &(gguf_value){key, type, true, n, data});
}

void gguf_add_tensor(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                     const uint64_t *ne, const void *data) {
    const weight_format *format = weight_format_of(type);
    size_t length = strlen(name), n = 1, bytes = 0;
    bool fits = format != NULL && n_dims >= 1 && n_dims <= GGUF_MAX_DIMS &&
                length >= 1 && length <= GGUF_MAX_TENSOR_NAME;
    if (w == NULL || w->error.code != PL_OK) return;
    for (uint32_t i = 0; fits && i < n_dims; i++)
        fits = ne[i] >= 1 && ne[i] <= SIZE_MAX && checked_mul(n, (size_t)ne[i], &n);
    fits = fits && ne[0] % format->block == 0 &&
           checked_mul(n / format->block, format->bytes, &bytes);
    if (!fits) {
        pl_fail(&w->error, PL_ERR_ARGUMENT,
                "tensor '%.80s': name, type %u or dimensions are not what the format allows",
                name, type);
        return;
    }
    if (mem_reserve(&w->tensors, &w->tensors_capacity, w->n_tensors + 1, sizeof *w->tensors) != 0) {
        note_no_memory(w);
        return;
    }
    put_string(w, &w->infos, name, length);
    put32(w, &w->infos, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put64(w, &w->infos, ne[i]);
    put32(w, &w->infos, type);
    w->tensors[w->n_tensors++] = (content){data, bytes, w->infos.size};
}

/* ---- writing ---- */

/* Zeros from byte `at` on, up to the next multiple of the alignment. */
static pl_code pad(file_out *out, uint64_t at, size_t alignment, pl_error *e) {
    static const uint8_t zeros[4096];
    size_t n = (alignment - (size_t)(at % alignment)) % alignment;
    pl_code code = PL_OK;
    while (n > 0 && code == PL_OK) {
        size_t step = n < sizeof zeros ? n : sizeof zeros;
        code = file_out_write(out, zeros, step, e);
        n -= step;
    }
    return code;
}

static pl_code write_header(const gguf_writer *w, file_out *out, pl_error *e) {
    uint32_t version = VERSION;
    uint64_t counts[2] = {w->n_tensors, w->n_values}, offset = 0;
    size_t begin = 0, size = 4 + sizeof version + sizeof counts + w->values.size + w->infos.size +
                             w->n_tensors * sizeof offset;
    pl_code code = file_out_write(out, "GGUF", 4, e);
    if (code == PL_OK) code = file_out_write(out, &version, sizeof version, e);
    if (code == PL_OK) code = file_out_write(out, counts, sizeof counts, e);
    if (code == PL_OK) code = file_out_write(out, w->values.data, w->values.size, e);
    for (size_t i = 0; i < w->n_tensors && code == PL_OK; i++) {
        const content *t = &w->tensors[i];
        code = file_out_write(out, w->infos.data + begin, t->info_end - begin, e);
        if (code == PL_OK) code = file_out_write(out, &offset, sizeof offset, e);
        begin = t->info_end;
        offset += t->n_bytes; /* of weights that lie in memory or a file: no overflow */
        offset += (w->alignment - offset % w->alignment) % w->alignment;
    }
    return code == PL_OK && w->n_tensors > 0 ? pad(out, size, w->alignment, e) : code;
}

pl_code gguf_write_begin(gguf_writer *w, const char *path, pl_error *e) {
    pl_code code;
    if (w == NULL) return pl_fail(e, PL_ERR_MEMORY, "%s: no memory to write it", path);
    if (w->error.code != PL_OK)
        return pl_fail(e, w->error.code, "%s: %s", path, w->error.message);
    file_out_abort(w->out);
    w->current = w->done = 0;
    code = file_out_open(path, &w->out, e);
    return code == PL_OK ? write_header(w, w->out, e) : code;
}

pl_code gguf_write_data(gguf_writer *w, const void *bytes, size_t size, pl_error *e) {
    const content *t = w->current < w->n_tensors ? &w->tensors[w->current] : NULL;
    pl_code code;
    if (w->out == NULL || t == NULL || size > t->n_bytes - w->done)
        return pl_fail(e, PL_ERR_ARGUMENT, "%zu bytes of data are more than tensor %zu of %zu has",
                       size, w->current + 1, w->n_tensors);
    code = file_out_write(w->out, bytes, size, e);
    w->done += size;
    if (code != PL_OK || w->done < t->n_bytes) return code;
    w->current++;
    w->done = 0;
    return pad(w->out, t->n_bytes, w->alignment, e);
}

pl_code gguf_write_end(gguf_writer *w, pl_error *e) {
    file_out *out = w->out;
    if (out == NULL || w->current < w->n_tensors)
        return pl_fail(e, PL_ERR_ARGUMENT, "the data of tensor %zu of %zu is not complete",
                       w->current + 1, w->n_tensors);
    w->out = NULL;
    return file_out_commit(out, e);
}

pl_code gguf_write(gguf_writer *w, const char *path, pl_error *e) {
    pl_code code;
    for (size_t i = 0; w != NULL && w->error.code == PL_OK && i < w->n_tensors; i++)
        if (w->tensors[i].data == NULL)
            return pl_fail(e, PL_ERR_ARGUMENT, "%s: tensor %zu has no data", path, i + 1);
    code = gguf_write_begin(w, path, e);
    for (size_t i = 0; code == PL_OK && i < w->n_tensors; i++)
        code = gguf_write_data(w, w->tensors[i].data, w->tensors[i].n_bytes, e);
    if (code == PL_OK) return gguf_write_end(w, e);
    if (w != NULL) {
        file_out_abort(w->out);
        w->out = NULL;
    }
    return code;
}
