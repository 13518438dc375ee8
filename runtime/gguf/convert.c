/* convert.c: writes a file's weights as other types. It owns the threads and the window of weights
 * under way; the writer owns the file. Blocks are whole within rows, so that a tensor is one
 * sequence of blocks, and any cut at a multiple of the largest block will do: the window moves over
 * it, its units are converted by whichever thread is free, and written in order. */
#include "gguf/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/team.h"

#define UNIT ((size_t)1 << 16) /* weights: a multiple of all blocks, some 50 ms of Q4_K */
#define UNITS_EACH 4           /* per thread in the window, so that none waits long */
#define COPIED ((size_t)4 << 20) /* bytes that are copied between two reports */
#define LARGEST_HALF 65504.0f

typedef struct {
    const gguf *g;
    const gguf_conversion *how;
    gguf_writer *w;
    team *workers;
    float *floats;       /* [team_size][UNIT] */
    uint8_t *window;     /* [team_size * UNITS_EACH][UNIT], at most 4 bytes a weight */
    size_t window_units;
    uint64_t done, all;  /* weights */

    const weight_format *from, *to; /* of the tensor under way: */
    const uint8_t *in;              /* what the window begins with, */
    size_t n;                       /* its weights, at most window_units * UNIT, */
    _Atomic bool misfit;            /* and whether one of them cannot be held */
} conversion;

static size_t n_weights(const gguf_tensor *t) {
    return (size_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]); /* the reader has checked it */
}

/* ---- what can be converted ---- */

static pl_code check(const gguf_tensor *t, uint32_t type, pl_error *e) {
    const weight_format *from = weight_format_of(t->type), *to = weight_format_of(type);
    if (type == t->type) return PL_OK;
    if (to == NULL || to->from_float == NULL)
        return pl_fail(e, PL_ERR_ARGUMENT, "tensor '%.80s': weights cannot be written as %s",
                       t->name, to != NULL ? to->name : "a type that does not exist");
    if (t->ne[0] % to->block != 0)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "tensor '%.80s': its rows of %" PRIu64 " weights do not divide into %s's "
                       "blocks of %zu", t->name, t->ne[0], to->name, to->block);
    if (from->to_float == NULL)
        return pl_fail(e, PL_ERR_UNSUPPORTED, "tensor '%.80s': weights of type %s cannot be read",
                       t->name, from->name);
    return PL_OK;
}

/* Whether every weight has a place in the format: a float's range, or that of the halves in which
 * all other types keep weights or scales. */
static bool fit(const weight_format *to, const float *x, size_t n) {
    float most = to == weight_format_of(TYPE_F32) || to == weight_format_of(TYPE_BF16)
                     ? INFINITY : nextafterf(LARGEST_HALF, INFINITY);
    bool all = true;
    for (size_t i = 0; i < n; i++) all &= fabsf(x[i]) < most; /* false for NaN */
    return all;
}

/* ---- converting ---- */

static size_t bytes_of(const weight_format *f, size_t n) { return n / f->block * f->bytes; }

static void convert_units(void *arg, team *t, size_t member) {
    conversion *c = arg;
    float *x = c->floats + member * UNIT;
    for (size_t i; (i = team_claim(t)) * UNIT < c->n;) {
        size_t at = i * UNIT, n = c->n - at < UNIT ? c->n - at : UNIT;
        c->from->to_float(c->in + bytes_of(c->from, at), x, n);
        if (!fit(c->to, x, n)) atomic_store_explicit(&c->misfit, true, memory_order_relaxed);
        c->to->from_float(x, c->window + bytes_of(c->to, at), n);
    }
}

static pl_code report(conversion *c, size_t n, pl_error *e) {
    double fraction;
    c->done += n;
    fraction = c->all != 0 ? (double)c->done / (double)c->all : 1;
    if (c->how->progress == NULL || c->how->progress(c->how->user, fraction)) return PL_OK;
    return pl_fail(e, PL_ERR_CANCELLED, "converting was cancelled");
}

static pl_code convert_tensor(conversion *c, const gguf_tensor *t, pl_error *e) {
    size_t n = n_weights(t), most = c->window_units * UNIT;
    pl_code code = PL_OK;
    for (size_t at = 0; at < n && code == PL_OK; at += most) {
        c->in = (const uint8_t *)t->data + bytes_of(c->from, at);
        c->n = n - at < most ? n - at : most;
        team_run(c->workers, convert_units, c);
        if (c->misfit)
            return pl_fail(e, PL_ERR_FORMAT,
                           "tensor '%.80s': found a weight that %s cannot hold: it is no number, "
                           "or too large", t->name, c->to->name);
        code = gguf_write_data(c->w, c->window, bytes_of(c->to, c->n), e);
        if (code == PL_OK) code = report(c, c->n, e);
    }
    return code;
}

static pl_code copy_tensor(conversion *c, const gguf_tensor *t, pl_error *e) {
    pl_code code = PL_OK;
    for (size_t at = 0; at < t->n_bytes && code == PL_OK; at += COPIED) {
        size_t size = t->n_bytes - at < COPIED ? t->n_bytes - at : COPIED;
        code = gguf_write_data(c->w, (const uint8_t *)t->data + at, size, e);
        if (code == PL_OK) code = report(c, at + size == t->n_bytes ? n_weights(t) : 0, e);
    }
    return code;
}

static pl_code convert_all(conversion *c, const char *path, pl_error *e) {
    pl_code code = gguf_write_begin(c->w, path, e);
    if (code == PL_OK) code = report(c, 0, e);
    for (size_t i = 0; i < gguf_n_tensors(c->g) && code == PL_OK; i++) {
        const gguf_tensor *t = gguf_tensor_at(c->g, i);
        c->from = weight_format_of(t->type);
        c->to = weight_format_of(c->how->types[i]);
        code = c->from == c->to ? copy_tensor(c, t, e) : convert_tensor(c, t, e);
    }
    return code == PL_OK ? gguf_write_end(c->w, e) : code;
}

pl_code gguf_convert(const gguf *g, const gguf_conversion *how, gguf_writer *w, const char *path,
                     pl_error *e) {
    conversion c = {.g = g, .how = how, .w = w};
    pl_code code = PL_OK;
    for (size_t i = 0; i < gguf_n_parts(g); i++)
        if (file_same(gguf_part_path(g, i), path))
            return pl_fail(e, PL_ERR_IO, "%s: cannot be written: it is the file that is read",
                           path);
    for (size_t i = 0; i < gguf_n_tensors(g) && code == PL_OK; i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        code = check(t, how->types[i], e);
        gguf_add_tensor(w, t->name, how->types[i], t->n_dims, t->ne, NULL);
        c.all += n_weights(t);
    }
    if (code != PL_OK) return code;

    code = team_open(how->threads != 0 ? how->threads : team_default_size(), &c.workers, e);
    if (code != PL_OK) return code;
    c.window_units = team_size(c.workers) * UNITS_EACH;
    c.floats = mem_array(team_size(c.workers), UNIT * sizeof *c.floats);
    c.window = mem_array(c.window_units, UNIT * sizeof(float));
    if (c.floats == NULL || c.window == NULL)
        code = pl_fail(e, PL_ERR_MEMORY, "no memory to convert weights with %zu threads",
                       team_size(c.workers));
    else
        code = convert_all(&c, path, e);
    mem_free(c.floats);
    mem_free(c.window);
    team_close(c.workers);
    return code;
}
