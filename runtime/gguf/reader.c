/* reader.c: opens GGUF files (ggml/docs/gguf.md, versions 2 and 3) and answers from their index. It
 * owns the file view, the copies of keys and names, and the tables that find them; it does not know
 * what any key means, but for general.alignment, which the format itself uses.
 *
 * The invariant: nothing is read from the file but through the cursor, which never passes the end;
 * and once gguf_open has returned, every pointer in the index has as many bytes behind it as its
 * type and count need. Memory is taken for what was read, never for what a count promises. */
#include "gguf/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#define DEFAULT_ALIGNMENT 32
#define MIN_ALIGNMENT 8 /* "must be a multiple of 8" */
#define KEY_SHOWN 80    /* bytes of a key or name that a message shows */

/* The least bytes that one takes in the file: a count of more than fit is refused at once. */
#define MIN_VALUE_BYTES (8 + 1 + 4 + 1)          /* key length, key, type, value */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8) /* name length, name, n_dims, ne, type, offset */

/* Open addressing: a slot holds 1 + the index of a key or tensor, 0 when it is free. */
typedef struct {
    uint32_t *slots; /* [mask + 1], a power of two, at least twice the entries */
    size_t mask;
    const char *(*name_at)(const gguf *g, size_t i);
} name_table;

struct gguf {
    char *path;
    file_view view;
    gguf **parts;       /* [n_parts]: the files behind the first, which own the rest of `tensors` */
    size_t n_parts, n_own_tensors;
    uint32_t version;
    size_t alignment;
    size_t n_values, values_capacity, n_tensors, tensors_capacity;
    gguf_value *values;   /* [n_values] */
    gguf_tensor *tensors; /* [n_tensors] */
    name_table value_table, tensor_table;
    uint64_t seed; /* of the tables, so that a file cannot be made to collide in every process */
};

/* ---- the cursor ---- */

typedef struct {
    const uint8_t *data; /* [size] */
    size_t size, at;     /* at <= size */
} cursor;

static size_t left(const cursor *c) { return c->size - c->at; }

static uint32_t load32(const uint8_t *p) {
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static uint64_t load64(const uint8_t *p) {
    uint64_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* The next n bytes, or NULL: `what` needs them and the file ends before. */
static const uint8_t *take(cursor *c, size_t n, const char *what, pl_error *e) {
    const uint8_t *p = c->data + c->at;
    if (n > left(c)) {
        pl_fail(e, PL_ERR_FORMAT, "cut off: %s needs %zu bytes at byte %zu, found %zu", what, n,
                c->at, left(c));
        return NULL;
    }
    c->at += n;
    return p;
}

static pl_code take32(cursor *c, const char *what, uint32_t *out, pl_error *e) {
    const uint8_t *p = take(c, 4, what, e);
    if (p == NULL) return PL_ERR_FORMAT;
    *out = load32(p);
    return PL_OK;
}

static pl_code take64(cursor *c, const char *what, uint64_t *out, pl_error *e) {
    const uint8_t *p = take(c, 8, what, e);
    if (p == NULL) return PL_ERR_FORMAT;
    *out = load64(p);
    return PL_OK;
}

/* For a count of things that cannot all be in what is left of the file. */
static pl_code count_fail(const cursor *c, uint64_t n, const char *what, pl_error *e) {
    return pl_fail(e, PL_ERR_FORMAT,
                   "cut off: found a count of %" PRIu64 " %s with %zu bytes left at byte %zu", n,
                   what, left(c), c->at);
}

/* A length and as many bytes, `most` at most. */
static pl_code take_string(cursor *c, const char *what, size_t most, gguf_string *out,
                           pl_error *e) {
    size_t at = c->at;
    uint64_t size;
    const uint8_t *p;
    if (take64(c, what, &size, e) != PL_OK) return PL_ERR_FORMAT;
    if (size > most)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s at byte %zu: found a length of %" PRIu64 " bytes, expected at most %zu",
                       what, at, size, most);
    p = take(c, (size_t)size, what, e);
    if (p == NULL) return PL_ERR_FORMAT;
    *out = (gguf_string){(const char *)p, (size_t)size};
    return PL_OK;
}

/* A key or tensor name, copied and NUL-terminated; owned by the caller. */
static pl_code take_name(cursor *c, const char *what, size_t most, char **out, pl_error *e) {
    size_t at = c->at;
    gguf_string s;
    pl_code code = take_string(c, what, most, &s, e);
    if (code != PL_OK) return code;
    if (s.size == 0)
        return pl_fail(e, PL_ERR_FORMAT, "%s at byte %zu: found an empty one", what, at);
    if (memchr(s.data, '\0', s.size) != NULL)
        return pl_fail(e, PL_ERR_FORMAT, "%s at byte %zu: found a zero byte in it", what, at);
    *out = mem_string(s.data, s.size);
    return *out != NULL ? PL_OK : pl_fail(e, PL_ERR_MEMORY, "no memory for the index");
}

/* ---- values ---- */

/* Bytes of one element, 0 where that varies; with the name that messages use. */
static const struct { const char *name; uint8_t size; } value_types[GGUF_VALUE_TYPES] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},         [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2}, [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},     [GGUF_STRING] = {"string", 0},
    [GGUF_U64] = {"u64", 8}, [GGUF_ARRAY] = {"array", 0},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_value_type_name(uint32_t type) {
    return type < GGUF_VALUE_TYPES ? value_types[type].name : "?";
}

size_t gguf_element_size(uint32_t type) {
    return type < GGUF_VALUE_TYPES ? value_types[type].size : 0;
}

static pl_code take_type(cursor *c, const char *what, gguf_value_type *out, pl_error *e) {
    uint32_t type;
    pl_code code = take32(c, what, &type, e);
    if (code != PL_OK) return code;
    if (type >= GGUF_VALUE_TYPES)
        return pl_fail(e, PL_ERR_FORMAT, "%s: found the number %u, expected 0 to %d", what, type,
                       GGUF_VALUE_TYPES - 1);
    *out = (gguf_value_type)type;
    return PL_OK;
}

/* Passes over the elements of v, whose type and count are known, and checks each one that can be
 * wrong: this is what gguf_string_next relies on. */
static pl_code take_elements(cursor *c, gguf_value *v, pl_error *e) {
    pl_code code = PL_OK;
    size_t size = value_types[v->type].size;
    v->data = c->data + c->at;
    if (v->type == GGUF_STRING) {
        gguf_string s;
        if (v->n > left(c) / sizeof(uint64_t)) return count_fail(c, v->n, "strings", e);
        for (uint64_t i = 0; i < v->n && code == PL_OK; i++)
            code = take_string(c, "a string", GGUF_MAX_STRING, &s, e);
        return code;
    }
    if (v->n > left(c) / size) return count_fail(c, v->n, value_types[v->type].name, e);
    c->at += (size_t)v->n * size;
    if (v->type == GGUF_BOOL) {
        for (uint64_t i = 0; i < v->n; i++)
            if (v->data[i] > 1)
                return pl_fail(e, PL_ERR_FORMAT, "found the bool %u, expected 0 or 1", v->data[i]);
    }
    return PL_OK;
}

static pl_code take_value(cursor *c, gguf_value *v, pl_error *e) {
    pl_code code = take_type(c, "the value's type", &v->type, e);
    if (code != PL_OK) return code;
    v->is_array = v->type == GGUF_ARRAY;
    v->n = 1;
    if (v->is_array) {
        code = take_type(c, "the elements' type", &v->type, e);
        if (code != PL_OK) return code;
        if (v->type == GGUF_ARRAY)
            return pl_fail(e, PL_ERR_UNSUPPORTED,
                           "found an array of arrays, expected one of numbers or strings");
        code = take64(c, "the array's length", &v->n, e);
        if (code != PL_OK) return code;
        if (v->n > GGUF_MAX_ARRAY)
            return pl_fail(e, PL_ERR_FORMAT,
                           "found an array of %" PRIu64 " elements, expected at most %" PRIu64,
                           v->n, GGUF_MAX_ARRAY);
    }
    return take_elements(c, v, e);
}

static pl_code take_values(gguf *g, cursor *c, uint64_t n, pl_error *e) {
    for (uint64_t i = 0; i < n; i++) {
        gguf_value v = {0};
        char *key = NULL;
        pl_code code = take_name(c, "a key", GGUF_MAX_KEY, &key, e);
        if (code != PL_OK) return code;
        code = take_value(c, &v, e);
        if (code == PL_OK &&
            mem_reserve(&g->values, &g->values_capacity, g->n_values + 1, sizeof v) != 0)
            code = pl_fail(e, PL_ERR_MEMORY, "no memory for the index");
        if (code != PL_OK) {
            pl_error_prefix(e, "key '%.*s'", KEY_SHOWN, key);
            mem_free(key);
            return code;
        }
        v.key = key;
        g->values[g->n_values++] = v;
    }
    return PL_OK;
}

/* ---- tensors ---- */

/* One tensor's description; *offset from the start of the data, which is not known yet. */
static pl_code take_tensor(cursor *c, size_t alignment, gguf_tensor *t, uint64_t *offset,
                           pl_error *e) {
    const weight_format *format;
    size_t n = 1;
    pl_code code = take32(c, "the number of dimensions", &t->n_dims, e);
    if (code != PL_OK) return code;
    if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS)
        return pl_fail(e, PL_ERR_FORMAT, "found %u dimensions, expected 1 to %d", t->n_dims,
                       GGUF_MAX_DIMS);
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->ne[i] = 1;
        if (i >= t->n_dims) continue;
        code = take64(c, "a dimension", &t->ne[i], e);
        if (code != PL_OK) return code;
        if (t->ne[i] == 0)
            return pl_fail(e, PL_ERR_FORMAT, "dimension %u: found 0, expected at least 1", i + 1);
        if (t->ne[i] > SIZE_MAX || !checked_mul(n, (size_t)t->ne[i], &n))
            return pl_fail(e, PL_ERR_FORMAT,
                           "dimension %u: found %" PRIu64 ", and the product overflows", i + 1,
                           t->ne[i]);
    }
    code = take32(c, "the weight type", &t->type, e);
    if (code != PL_OK) return code;
    format = weight_format_of(t->type);
    if (format == NULL)
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "found weight type %u, expected one of the format's types, 0 to %d", t->type,
                       TYPE_COUNT - 1);
    if (t->ne[0] % format->block != 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "dimension 1: found %" PRIu64 ", expected a multiple of %s's block, %zu",
                       t->ne[0], format->name, format->block);
    if (!checked_mul(n / format->block, format->bytes, &t->n_bytes))
        return pl_fail(e, PL_ERR_FORMAT, "found %zu weights of type %s: their size overflows", n,
                       format->name);
    code = take64(c, "the data's offset", offset, e);
    if (code != PL_OK) return code;
    if (*offset % alignment != 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "found data at offset %" PRIu64 ", expected a multiple of %zu", *offset,
                       alignment);
    return PL_OK;
}

/* Where a tensor lies, kept while opening: its data pointer may be NULL with header_only. */
typedef struct { uint64_t offset; size_t tensor; } place;

static int by_offset(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

static pl_code check_overlaps(const gguf *g, place *places, pl_error *e) {
    qsort(places, g->n_tensors, sizeof *places, by_offset);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const place *p = &places[i - 1], *q = &places[i];
        const gguf_tensor *before = &g->tensors[p->tensor];
        if (q->offset - p->offset < before->n_bytes)
            return pl_fail(e, PL_ERR_FORMAT,
                           "tensor '%.*s': its data at offset %" PRIu64 " overlaps that of tensor "
                           "'%.*s', %zu bytes at offset %" PRIu64, KEY_SHOWN,
                           g->tensors[q->tensor].name, q->offset, KEY_SHOWN, before->name,
                           before->n_bytes, p->offset);
    }
    return PL_OK;
}

/* Points every tensor at its data, which begins `start` bytes into the file. */
static pl_code place_tensors(gguf *g, const place *places, size_t start, bool header_only,
                             pl_error *e) {
    for (size_t i = 0; i < g->n_tensors; i++) {
        gguf_tensor *t = &g->tensors[i];
        size_t room = start < g->view.size ? g->view.size - start : 0;
        bool inside = places[i].offset <= room && t->n_bytes <= room - (size_t)places[i].offset;
        if (inside) t->data = g->view.data + start + (size_t)places[i].offset;
        else if (!header_only)
            return pl_fail(e, PL_ERR_FORMAT,
                           "cut off: tensor '%.*s' needs %zu bytes of data at offset %" PRIu64
                           ", found %zu bytes of data", KEY_SHOWN, t->name, t->n_bytes,
                           places[i].offset, room);
    }
    return PL_OK;
}

static pl_code take_tensors(gguf *g, cursor *c, uint64_t n, bool header_only, pl_error *e) {
    pl_code code = PL_OK;
    place *places = NULL;
    size_t n_places = 0, start;

    for (uint64_t i = 0; i < n; i++) {
        gguf_tensor t = {0};
        uint64_t offset = 0;
        char *name = NULL;
        code = take_name(c, "a tensor's name", GGUF_MAX_TENSOR_NAME, &name, e);
        if (code != PL_OK) goto done;
        code = take_tensor(c, g->alignment, &t, &offset, e);
        if (code == PL_OK &&
            (mem_reserve(&g->tensors, &g->tensors_capacity, g->n_tensors + 1, sizeof t) != 0 ||
             mem_reserve(&places, &n_places, g->n_tensors + 1, sizeof *places) != 0))
            code = pl_fail(e, PL_ERR_MEMORY, "no memory for the index");
        if (code != PL_OK) {
            pl_error_prefix(e, "tensor '%.*s'", KEY_SHOWN, name);
            mem_free(name);
            goto done;
        }
        t.name = name;
        places[g->n_tensors] = (place){offset, g->n_tensors};
        g->tensors[g->n_tensors++] = t;
        g->n_own_tensors++;
    }
    if (g->n_tensors == 0) goto done;
    if (!checked_round_up(c->at, g->alignment, &start)) {
        code = pl_fail(e, PL_ERR_FORMAT, "the start of the tensor data overflows");
        goto done;
    }
    code = place_tensors(g, places, start, header_only, e);
    if (code == PL_OK) code = check_overlaps(g, places, e); /* sorts places: last */

done:
    mem_free(places);
    return code;
}

/* ---- finding by name ---- */

static const char *key_at(const gguf *g, size_t i) { return g->values[i].key; }
static const char *tensor_name_at(const gguf *g, size_t i) { return g->tensors[i].name; }

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *slot_of(const gguf *g, const name_table *t, const char *name) {
    size_t i = (size_t)hash_bytes(name, strlen(name), g->seed) & t->mask;
    while (t->slots[i] != 0 && strcmp(t->name_at(g, t->slots[i] - 1), name) != 0)
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

/* Fills the table with n names; `what` names them when one is there twice. */
static pl_code index_names(const gguf *g, name_table *t, size_t n, const char *what, pl_error *e) {
    size_t size = 4;
    while (size < 2 * n) size *= 2; /* n is at most GGUF_MAX_TENSORS */
    t->slots = mem_zarray(size, sizeof *t->slots);
    if (t->slots == NULL) return pl_fail(e, PL_ERR_MEMORY, "no memory for the index");
    t->mask = size - 1;
    for (size_t i = 0; i < n; i++) {
        const char *name = t->name_at(g, i);
        uint32_t *slot = slot_of(g, t, name);
        if (*slot != 0)
            return pl_fail(e, PL_ERR_FORMAT, "%s '%.*s': found twice, expected once", what,
                           KEY_SHOWN, name);
        *slot = (uint32_t)i + 1;
    }
    return PL_OK;
}

const gguf_value *gguf_find(const gguf *g, const char *key) {
    uint32_t i = *slot_of(g, &g->value_table, key);
    return i != 0 ? &g->values[i - 1] : NULL;
}

void gguf_forget(const gguf *g, const gguf_tensor *t) {
    const file_view *view = &g->view;
    const uint8_t *p = t->data;
    for (size_t i = 0; i < g->n_parts; i++) {
        const file_view *part = &g->parts[i]->view;
        if (p >= part->data && p < part->data + part->size) view = part;
    }
    file_view_forget(view, t->data, t->n_bytes);
}

const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name) {
    uint32_t i = *slot_of(g, &g->tensor_table, name);
    return i != 0 ? &g->tensors[i - 1] : NULL;
}

/* ---- opening ---- */

/* Magic and version. */
static pl_code take_start(gguf *g, cursor *c, pl_error *e) {
    uint32_t swapped;
    if (c->size == 0)
        return pl_fail(e, PL_ERR_FORMAT, "not a GGUF file: found nothing in it, expected a model");
    if (memcmp(c->data, "GGUF", c->size < 4 ? c->size : 4) != 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "not a GGUF file: found the first byte 0x%02x, expected the letters GGUF",
                       c->data[0]);
    if (take(c, 4, "the magic number", e) == NULL) return PL_ERR_FORMAT;
    if (take32(c, "the version", &g->version, e) != PL_OK) return PL_ERR_FORMAT;
    swapped = __builtin_bswap32(g->version);
    if (g->version < 2 || g->version > 3) {
        if (swapped >= 1 && swapped <= 3)
            return pl_fail(e, PL_ERR_UNSUPPORTED,
                           "found a big-endian file (version %u), expected a little-endian one",
                           swapped);
        return pl_fail(e, PL_ERR_UNSUPPORTED, "found GGUF version %u, expected 2 or 3", g->version);
    }
    return PL_OK;
}

static pl_code check_count(const cursor *c, uint64_t n, uint64_t most, size_t least,
                           const char *what, pl_error *e) {
    if (n > most)
        return pl_fail(e, PL_ERR_FORMAT,
                       "found a count of %" PRIu64 " %s, expected at most %" PRIu64, n, what, most);
    return n > left(c) / least ? count_fail(c, n, what, e) : PL_OK;
}

static pl_code find_alignment(gguf *g, pl_error *e) {
    uint32_t alignment = DEFAULT_ALIGNMENT;
    pl_code code = gguf_get_u32(g, "general.alignment", false, MIN_ALIGNMENT,
                                (uint32_t)GGUF_MAX_ALIGNMENT, &alignment, e);
    if (code != PL_OK) return code;
    if ((alignment & (alignment - 1)) != 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key 'general.alignment': found %u, expected a power of two", g->path,
                       alignment);
    g->alignment = alignment;
    return PL_OK;
}

static pl_code parse(gguf *g, bool header_only, pl_error *e) {
    cursor c = {g->view.data, g->view.size, 0};
    uint64_t n_tensors = 0, n_values = 0;
    pl_code code = take_start(g, &c, e);
    if (code == PL_OK) code = take64(&c, "the number of tensors", &n_tensors, e);
    if (code == PL_OK) code = take64(&c, "the number of keys", &n_values, e);
    if (code == PL_OK)
        code = check_count(&c, n_values, GGUF_MAX_VALUES, MIN_VALUE_BYTES, "keys", e);
    if (code == PL_OK)
        code = check_count(&c, n_tensors, GGUF_MAX_TENSORS, MIN_TENSOR_BYTES, "tensors", e);
    if (code == PL_OK) code = take_values(g, &c, n_values, e);
    if (code == PL_OK) code = index_names(g, &g->value_table, g->n_values, "key", e);
    if (code != PL_OK) return pl_error_prefix(e, "%s", g->path);

    code = find_alignment(g, e); /* names the file itself */
    if (code != PL_OK) return code;

    code = take_tensors(g, &c, n_tensors, header_only, e);
    return code == PL_OK ? code : pl_error_prefix(e, "%s", g->path);
}

static pl_code index_tensors(gguf *g, pl_error *e) {
    pl_code code = index_names(g, &g->tensor_table, g->n_tensors, "tensor", e);
    return code == PL_OK ? code : pl_error_prefix(e, "%s", g->path);
}

static pl_code open_one(const char *path, const gguf_options *options, gguf **out, pl_error *e);

/* ---- split files ---- */

/* A model may be split into NAME-00001-of-0000N.gguf and so on (llama.cpp, gguf-split): each part
 * is a GGUF file with its own tensors and the keys split.no (from 0), split.count and
 * split.tensors.count; the first has the model's keys. */
#define SPLIT_DIGITS 5
#define SPLIT_MAX 99999u
#define SPLIT_ENDING ((size_t)(2 * SPLIT_DIGITS + 10)) /* of "-00001-of-00002.gguf" */

/* The path of part `no` (from 1) of a split file one of whose parts lies at `path`; *out is the
 * caller's. */
static pl_code part_path(const char *path, uint32_t no, uint32_t count, char **out, pl_error *e) {
    size_t size = strlen(path);
    uint32_t of = 0;
    char ending[SPLIT_ENDING + 1];
    if (size <= SPLIT_ENDING || sscanf(path + size - SPLIT_ENDING, "-%*5u-of-%5u.gguf", &of) != 1 ||
        of != count || strcmp(path + size - 5, ".gguf") != 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: the file is one of %u parts, whose names must end in "
                       "-00001-of-%05u.gguf and so on",
                       path, count, count);
    *out = mem_string(path, size);
    if (*out == NULL) return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the index", path);
    snprintf(ending, sizeof ending, "-%05u-of-%05u.gguf", no % (SPLIT_MAX + 1),
             count % (SPLIT_MAX + 1));
    memcpy(*out + size - SPLIT_ENDING, ending, SPLIT_ENDING);
    return PL_OK;
}

static pl_code add_part(gguf *g, uint32_t no, uint32_t count, const gguf_options *options,
                        pl_error *e) {
    uint32_t says_no = 0, says_count = 0;
    char *path = NULL;
    gguf *part = NULL;
    size_t n;
    pl_code code = part_path(g->path, no, count, &path, e);
    if (code == PL_OK) code = open_one(path, options, &part, e);
    if (code == PL_OK) code = gguf_get_u32(part, "split.no", true, 0, SPLIT_MAX, &says_no, e);
    if (code == PL_OK) code = gguf_get_u32(part, "split.count", true, 0, SPLIT_MAX, &says_count, e);
    if (code == PL_OK && (says_no + 1 != no || says_count != count))
        code = pl_fail(e, PL_ERR_FORMAT, "%s: found part %u of %u in it, expected part %u of %u",
                       path, says_no + 1, says_count, no, count);
    if (code != PL_OK) {
        pl_error_prefix(e, "part %u of %u", no, count);
        goto done;
    }
    if (!checked_add(g->n_tensors, part->n_tensors, &n) || n > GGUF_MAX_TENSORS) {
        code = pl_fail(e, PL_ERR_FORMAT, "%s: its parts hold more than %" PRIu64 " tensors",
                       g->path, GGUF_MAX_TENSORS);
        goto done;
    }
    if (mem_reserve(&g->tensors, &g->tensors_capacity, n, sizeof *g->tensors) != 0) {
        code = pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the index", g->path);
        goto done;
    }
    if (part->n_tensors > 0)
        memcpy(g->tensors + g->n_tensors, part->tensors, part->n_tensors * sizeof *g->tensors);
    g->n_tensors = n;
    g->parts[g->n_parts++] = part;
    part = NULL;
done:
    gguf_close(part);
    mem_free(path);
    return code;
}

/* Opens the other parts of a split file and takes their tensors over. */
static pl_code open_parts(gguf *g, const gguf_options *options, pl_error *e) {
    uint32_t count = 0, no = 0, n_tensors = 0;
    char *first = NULL;
    pl_code code = gguf_get_u32(g, "split.count", false, 0, SPLIT_MAX, &count, e);
    if (code != PL_OK || count < 2) return code;
    code = gguf_get_u32(g, "split.no", true, 0, count - 1, &no, e);
    if (code == PL_OK)
        code = gguf_get_u32(g, "split.tensors.count", true, 0, (uint32_t)GGUF_MAX_TENSORS,
                            &n_tensors, e);
    if (code == PL_OK) code = part_path(g->path, 1, count, &first, e);
    if (code != PL_OK) return code;
    if (no > 0 || strcmp(first, g->path) != 0) {
        code = pl_fail(e, PL_ERR_FORMAT, "%s: the file is part %u of %u; open the first, %s",
                       g->path, no + 1, count, first);
        mem_free(first);
        return code;
    }
    mem_free(first);
    if (options->header_only) return PL_OK;
    g->parts = mem_zarray(count, sizeof *g->parts);
    if (g->parts == NULL) return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the index", g->path);
    for (uint32_t i = 2; i <= count && code == PL_OK; i++) code = add_part(g, i, count, options, e);
    if (code == PL_OK && g->n_tensors != n_tensors)
        code = pl_fail(e, PL_ERR_FORMAT,
                       "%s: key 'split.tensors.count': found %u, but the %u parts hold %zu tensors",
                       g->path, n_tensors, count, g->n_tensors);
    return code;
}

/* One file, without its index of tensors. */
static pl_code open_one(const char *path, const gguf_options *options, gguf **out, pl_error *e) {
    pl_code code;
    gguf *g;

    *out = NULL;
    g = mem_zalloc(sizeof *g);
    if (g == NULL) return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the index", path);
    g->seed = (uint64_t)(uintptr_t)g;
    g->value_table.name_at = key_at;
    g->tensor_table.name_at = tensor_name_at;
    g->path = mem_string(path, strlen(path));
    if (g->path == NULL) {
        code = pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the index", path);
        goto fail;
    }
    code = file_view_open(path, options->map, &g->view, e);
    if (code != PL_OK) goto fail;
    code = parse(g, options->header_only, e);
    if (code != PL_OK) goto fail;
    *out = g;
    return PL_OK;

fail:
    gguf_close(g);
    return code;
}

pl_code gguf_open(const char *path, const gguf_options *options, gguf **out, pl_error *e) {
    pl_error unseen; /* messages are built by prefixing, which needs one */
    gguf *g;
    if (e == NULL) e = &unseen;
    pl_code code = open_one(path, options, out, e);
    if (code != PL_OK) return code;
    g = *out;
    code = open_parts(g, options, e);
    if (code == PL_OK) code = index_tensors(g, e);
    if (code != PL_OK) {
        gguf_close(g);
        *out = NULL;
    }
    return code;
}

void gguf_close(gguf *g) {
    if (g == NULL) return;
    for (size_t i = 0; i < g->n_values; i++) mem_free((void *)(uintptr_t)g->values[i].key);
    for (size_t i = 0; i < g->n_own_tensors; i++) mem_free((void *)(uintptr_t)g->tensors[i].name);
    for (size_t i = 0; i < g->n_parts; i++) gguf_close(g->parts[i]);
    mem_free(g->parts);
    mem_free(g->values);
    mem_free(g->tensors);
    mem_free(g->value_table.slots);
    mem_free(g->tensor_table.slots);
    file_view_close(&g->view);
    mem_free(g->path);
    mem_free(g);
}

const char *gguf_path(const gguf *g) { return g->path; }
uint32_t gguf_version(const gguf *g) { return g->version; }
size_t gguf_n_parts(const gguf *g) { return 1 + g->n_parts; }

const char *gguf_part_path(const gguf *g, size_t i) {
    return i == 0 ? g->path : g->parts[i - 1]->path;
}

size_t gguf_file_size(const gguf *g) {
    size_t size = g->view.size; /* all of them are in memory: no overflow */
    for (size_t i = 0; i < g->n_parts; i++) size += g->parts[i]->view.size;
    return size;
}

size_t gguf_n_values(const gguf *g) { return g->n_values; }
size_t gguf_n_tensors(const gguf *g) { return g->n_tensors; }
const gguf_value *gguf_value_at(const gguf *g, size_t i) { return &g->values[i]; }
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i) { return &g->tensors[i]; }

/* ---- elements ---- */

static bool is_integer(gguf_value_type type) {
    return value_types[type].size != 0 && type != GGUF_F32 && type != GGUF_F64 && type != GGUF_BOOL;
}

static bool is_float(gguf_value_type type) { return type == GGUF_F32 || type == GGUF_F64; }

int64_t gguf_int_at(const gguf_value *v, uint64_t i) {
    const uint8_t *p = v->data + i * value_types[v->type].size;
    switch (v->type) {
    case GGUF_U8: case GGUF_BOOL: return *p;
    case GGUF_I8: return (int8_t)*p;
    case GGUF_U16: return (uint16_t)(p[0] | p[1] << 8);
    case GGUF_I16: return (int16_t)(uint16_t)(p[0] | p[1] << 8);
    case GGUF_U32: return load32(p);
    case GGUF_I32: return (int32_t)load32(p);
    case GGUF_U64: return load64(p) > INT64_MAX ? INT64_MAX : (int64_t)load64(p);
    case GGUF_I64: return (int64_t)load64(p);
    case GGUF_F32: case GGUF_F64: case GGUF_STRING: case GGUF_ARRAY: case GGUF_VALUE_TYPES: break;
    }
    return 0;
}

double gguf_float_at(const gguf_value *v, uint64_t i) {
    const uint8_t *p = v->data + i * value_types[v->type].size;
    float f;
    double d;
    if (v->type == GGUF_F32) {
        memcpy(&f, p, sizeof f);
        return (double)f;
    }
    if (v->type != GGUF_F64) return (double)gguf_int_at(v, i);
    memcpy(&d, p, sizeof d);
    return d;
}

gguf_string gguf_string_next(const gguf_value *v, size_t *at) {
    const uint8_t *p = v->data + *at;
    gguf_string s = {(const char *)p + 8, (size_t)load64(p)};
    *at += 8 + s.size;
    return s;
}

size_t gguf_value_bytes(const gguf_value *v) {
    size_t at = 0;
    if (v->type != GGUF_STRING) return (size_t)v->n * value_types[v->type].size;
    for (uint64_t i = 0; i < v->n; i++) gguf_string_next(v, &at);
    return at;
}

/* ---- typed look-ups ---- */

/* What a value is, as messages say it: "a string", "an array of 3 i32". */
static const char *kind_of(const gguf_value *v, char text[64]) {
    const char *name = value_types[v->type].name;
    if (v->is_array) snprintf(text, 64, "an array of %" PRIu64 " %s", v->n, name);
    else snprintf(text, 64, "%s %s", name[0] == 'i' || name[0] == 'f' ? "an" : "a", name);
    return text;
}

static pl_code wrong_type(const gguf *g, const gguf_value *v, const char *expected, pl_error *e) {
    char text[64];
    return pl_fail(e, PL_ERR_FORMAT, "%s: key '%.*s': found %s, expected %s", g->path, KEY_SHOWN,
                   v->key, kind_of(v, text), expected);
}

/* PL_OK with *out NULL: absent, and allowed to be. */
static pl_code look_up(const gguf *g, const char *key, bool required, const char *expected,
                       const gguf_value **out, pl_error *e) {
    *out = gguf_find(g, key);
    if (*out != NULL || !required) return PL_OK;
    return pl_fail(e, PL_ERR_FORMAT, "%s: key '%.*s': not found, expected %s", g->path, KEY_SHOWN,
                   key, expected);
}

pl_code gguf_get_u32(const gguf *g, const char *key, bool required, uint32_t min, uint32_t max,
                     uint32_t *out, pl_error *e) {
    const gguf_value *v;
    int64_t x;
    pl_code code = look_up(g, key, required, "an integer", &v, e);
    if (code != PL_OK || v == NULL) return code;
    if (v->is_array || !is_integer(v->type)) return wrong_type(g, v, "an integer", e);
    x = gguf_int_at(v, 0);
    if (x < (int64_t)min || x > (int64_t)max)
        return pl_fail(e, PL_ERR_FORMAT, "%s: key '%.*s': found %lld, expected %u to %u", g->path,
                       KEY_SHOWN, key, (long long)x, min, max);
    *out = (uint32_t)x;
    return PL_OK;
}

pl_code gguf_get_f32(const gguf *g, const char *key, bool required, float min, float max,
                     float *out, pl_error *e) {
    const gguf_value *v;
    double x;
    pl_code code = look_up(g, key, required, "a float", &v, e);
    if (code != PL_OK || v == NULL) return code;
    if (v->is_array || !is_float(v->type)) return wrong_type(g, v, "a float", e);
    x = gguf_float_at(v, 0);
    if (!(x >= (double)min && x <= (double)max))
        return pl_fail(e, PL_ERR_FORMAT, "%s: key '%.*s': found %g, expected %g to %g", g->path,
                       KEY_SHOWN, key, x, (double)min, (double)max);
    *out = (float)x;
    return PL_OK;
}

pl_code gguf_get_bool(const gguf *g, const char *key, bool required, bool *out, pl_error *e) {
    const gguf_value *v;
    pl_code code = look_up(g, key, required, "a bool", &v, e);
    if (code != PL_OK || v == NULL) return code;
    if (v->is_array || v->type != GGUF_BOOL) return wrong_type(g, v, "a bool", e);
    *out = v->data[0] != 0;
    return PL_OK;
}

pl_code gguf_get_string(const gguf *g, const char *key, bool required, gguf_string *out,
                        pl_error *e) {
    const gguf_value *v;
    size_t at = 0;
    pl_code code = look_up(g, key, required, "a string", &v, e);
    if (code != PL_OK || v == NULL) return code;
    if (v->is_array || v->type != GGUF_STRING) return wrong_type(g, v, "a string", e);
    *out = gguf_string_next(v, &at);
    return PL_OK;
}

pl_code gguf_get_array(const gguf *g, const char *key, bool required, gguf_value_type type,
                       const gguf_value **out, pl_error *e) {
    char expected[64];
    const gguf_value *v;
    bool fits;
    pl_code code;
    snprintf(expected, sizeof expected, "an array of %s", type == GGUF_I32 ? "integers"
             : type == GGUF_F32 ? "floats" : type == GGUF_STRING ? "strings"
             : gguf_value_type_name((uint32_t)type));
    *out = NULL;
    code = look_up(g, key, required, expected, &v, e);
    if (code != PL_OK || v == NULL) return code;
    fits = type == GGUF_I32 ? is_integer(v->type) : type == GGUF_F32 ? is_float(v->type)
         : v->type == type;
    if (!v->is_array || !fits) return wrong_type(g, v, expected, e);
    *out = v;
    return PL_OK;
}
