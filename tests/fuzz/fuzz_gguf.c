/* fuzz_gguf.c: the input is a GGUF file, or, where the letters GGUF come again in it, the parts of
 * a split one. It is opened mapped and read, whole and for its index alone; all of them agree, and
 * what opens can be read to its end. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "gguf/gguf.h"

#define MAX_PARTS 4
#define WEIGHTS ((size_t)1 << 14) /* of a tensor that are converted to floats */

static volatile uint64_t sink; /* so that reading is not left out */

static void read_value(const gguf *g, const gguf_value *v) {
    uint64_t sum = 0;
    size_t at = 0;
    CHECK(gguf_find(g, v->key) == v);
    CHECK(v->type != GGUF_ARRAY && v->type < GGUF_VALUE_TYPES && (v->is_array || v->n == 1));
    for (uint64_t i = 0; i < v->n; i++) {
        if (v->type == GGUF_STRING) {
            gguf_string s = gguf_string_next(v, &at);
            for (size_t k = 0; k < s.size; k++) sum += (uint8_t)s.data[k];
        } else {
            sum += (uint64_t)gguf_int_at(v, i) + (gguf_float_at(v, i) > 0);
        }
    }
    sink += sum;
}

/* Every typed look-up of every key: it gives a value in range, or an error that is one. */
static void look_up(const gguf *g, const gguf_value *v) {
    static const gguf_value_type types[] = {GGUF_STRING, GGUF_I32, GGUF_F32, GGUF_BOOL};
    uint32_t u = 5;
    float f = 0.5f;
    bool yes;
    gguf_string s = {"", 0};
    const gguf_value *array;
    pl_error e;
    pl_code code = gguf_get_u32(g, v->key, true, 3, 1000, &u, &e);
    if (code != PL_OK) fuzz_check_error(code, &e);
    CHECK(u >= 3 && u <= 1000);
    code = gguf_get_f32(g, v->key, true, -2, 2, &f, &e);
    if (code != PL_OK) fuzz_check_error(code, &e);
    CHECK(f >= -2 && f <= 2);
    code = gguf_get_bool(g, v->key, true, &yes, &e);
    CHECK((code == PL_OK) == (!v->is_array && v->type == GGUF_BOOL));
    code = gguf_get_string(g, v->key, true, &s, &e);
    CHECK((code == PL_OK) == (!v->is_array && v->type == GGUF_STRING));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        code = gguf_get_array(g, v->key, true, types[i], &array, &e);
        CHECK(code == PL_OK ? array == v && v->is_array : array == NULL);
    }
}

static void read_tensor(const gguf *g, const gguf_tensor *t) {
    static float floats[WEIGHTS];
    const weight_format *f = weight_format_of(t->type);
    const uint8_t *p = t->data;
    uint64_t n = 1, sum = 0;
    CHECK(gguf_find_tensor(g, t->name) == t);
    CHECK(f != NULL && t->n_dims >= 1 && t->n_dims <= GGUF_MAX_DIMS);
    for (size_t i = 0; i < GGUF_MAX_DIMS; i++) {
        CHECK(t->ne[i] >= 1 && (i < t->n_dims || t->ne[i] == 1));
        n *= t->ne[i];
    }
    CHECK(t->ne[0] % f->block == 0 && n / f->block * f->bytes == t->n_bytes);
    if (p == NULL) return;
    CHECK((uintptr_t)p % 8 == 0);
    for (size_t k = 0; k < t->n_bytes; k++) sum += p[k];
    sink += sum;
    if (f->to_float == NULL) return;
    if (n > WEIGHTS) n = WEIGHTS / f->block * f->block;
    f->to_float(p, floats, (size_t)n);
}

static void read_all(const gguf *g) {
    for (size_t i = 0; i < gguf_n_values(g); i++) {
        read_value(g, gguf_value_at(g, i));
        look_up(g, gguf_value_at(g, i));
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) read_tensor(g, gguf_tensor_at(g, i));
}

static pl_code open_with(const char *path, bool map, bool header_only, pl_error *e) {
    const gguf_options options = {.map = map, .header_only = header_only};
    gguf *g = NULL;
    pl_code code = gguf_open(path, &options, &g, e);
    CHECK((code == PL_OK) == (g != NULL));
    if (code != PL_OK) {
        fuzz_check_error(code, e);
        return code;
    }
    read_all(g);
    for (size_t i = 0; i < gguf_n_tensors(g) && !header_only; i++)
        CHECK(gguf_tensor_at(g, i)->data != NULL);
    gguf_close(g);
    return code;
}

static void open_all_ways(const char *path) {
    pl_error e, e2;
    pl_code code = open_with(path, false, false, &e);
    CHECK(open_with(path, true, false, &e2) == code);
    if (code != PL_OK) CHECK(strcmp(e.message, e2.message) == 0);
    pl_code index = open_with(path, false, true, &e2);
    CHECK(code != PL_OK || index == PL_OK);
}

/* The parts of a split file: each begins with the letters GGUF. */
static bool open_parts(fuzz_bytes all) {
    size_t begins[MAX_PARTS + 1], n = 0;
    char name[64];
    for (size_t i = 0; i + 4 <= all.size && n < MAX_PARTS; i++)
        if (memcmp(all.data + i, "GGUF", 4) == 0) begins[n++] = i;
    if (n < 2 || begins[0] != 0) return false;
    begins[n] = all.size;
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "p-%05zu-of-%05zu.gguf", i + 1, n);
        fuzz_named_file(name, all.data + begins[i], begins[i + 1] - begins[i]);
    }
    char path[256];
    snprintf(path, sizeof path, "%s/p-00001-of-%05zu.gguf", fuzz_folder(), n);
    open_all_ways(path);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    long live = mem_live();
    if (!open_parts((fuzz_bytes){data, size})) open_all_ways(fuzz_file(data, size, 0));
    CHECK(mem_live() == live);
    return 0;
}
