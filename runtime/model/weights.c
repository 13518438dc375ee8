/* weights.c: see weights.h. Matrices point into the file's view; vectors (norms, biases, frequency factors) are small, and
 * are kept as floats whatever the file stores. */
#include "model/weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

typedef struct {
    model *m;
    bool *used;         /* [gguf_n_tensors] */
    float *vectors;     /* where the next converted vector goes */
    size_t room;        /* floats left there */
    pl_error *e;
} binder;

typedef struct { char s[GGUF_MAX_TENSOR_NAME + 1]; } tensor_name;

static tensor_name name_of(int i, const char *part) {
    tensor_name n;
    if (i < 0) snprintf(n.s, sizeof n.s, "%s", part);
    else snprintf(n.s, sizeof n.s, "blk.%d.%s", i, part);
    return n;
}

/* "[2048, 32]": a tensor's dimensions, fastest first, as the file has them. */
static void print_shape(const gguf_tensor *t, char *out, size_t size) {
    size_t at = 0;
    for (uint32_t d = 0; d < t->n_dims && at < size; d++)
        at += (size_t)snprintf(out + at, size - at, "%s%llu", d ? ", " : "", (unsigned long long)t->ne[d]);
}

/* The tensor of that name, of n_dims dimensions ne0 x ne1. *out is NULL when it is absent and not required. */
static pl_code find(binder *b, const char *name, bool required, uint32_t n_dims, uint64_t ne0, uint64_t ne1,
                    const gguf_tensor **out) {
    const gguf_tensor *t = gguf_find_tensor(b->m->file, name);
    *out = t;
    if (!t) return required ? pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' is missing", name) : PL_OK;
    b->used[t - gguf_tensor_at(b->m->file, 0)] = true;
    uint64_t want[2] = {ne0, n_dims > 1 ? ne1 : 1};
    if (t->ne[0] != want[0] || t->ne[1] != want[1] || t->ne[2] != 1 || t->ne[3] != 1) {
        char found[100] = "";
        print_shape(t, found, sizeof found);
        return n_dims > 1
            ? pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' has the shape [%s]; the hyper-parameters ask for [%llu, %llu]",
                      name, found, (unsigned long long)ne0, (unsigned long long)ne1)
            : pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' has the shape [%s]; the hyper-parameters ask for [%llu]",
                      name, found, (unsigned long long)ne0);
    }
    const weight_format *f = weight_format_of(t->type);
    if (!f || !f->to_float)
        return pl_fail(b->e, PL_ERR_UNSUPPORTED, "the tensor '%s' has the type %s, which is not supported", name,
                       f ? f->name : "?");
    if (ne0 % f->block)
        return pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' of type %s has rows of %llu weights, not a multiple of %zu",
                       name, f->name, (unsigned long long)ne0, f->block);
    return PL_OK;
}

static pl_code bind_matrix(binder *b, int i, const char *part, bool required, size_t n_in, size_t n_out, matrix *out) {
    tensor_name name = name_of(i, part);
    const gguf_tensor *t;
    pl_code rc = find(b, name.s, required, 2, n_in, n_out, &t);
    if (rc || !t) return rc;
    const weight_format *f = weight_format_of(t->type);
    if (!matrix_supported((weight_type)t->type))
        return pl_fail(b->e, PL_ERR_UNSUPPORTED, "the tensor '%s' has the type %s, which is not supported", name.s,
                       f->name);
    *out = (matrix){.type = (weight_type)t->type, .n_in = n_in, .n_out = n_out, .row_bytes = n_in / f->block * f->bytes,
                    .data = t->data};
    return PL_OK;
}

static pl_code bind_vector(binder *b, int i, const char *part, bool required, size_t n, const float **out) {
    tensor_name name = name_of(i, part);
    const gguf_tensor *t;
    pl_code rc = find(b, name.s, required, 1, n, 1, &t);
    if (rc || !t) return rc;
    if (n > b->room) return pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' does not fit what the file says of itself", name.s);
    weight_format_of(t->type)->to_float(t->data, b->vectors, n);
    *out = b->vectors;
    b->vectors += n;
    b->room -= n;
    return PL_OK;
}

static pl_code bind_layer(binder *b, int i) {
    const hparams *hp = &b->m->hp;
    layer *l = &b->m->layers[i];
    size_t E = hp->n_embd, F = hp->n_ff;
    size_t q = (size_t)hp->n_head * hp->d_k, k = (size_t)hp->n_head_kv * hp->d_k;
    size_t v = (size_t)hp->n_head_kv * hp->d_v, o = (size_t)hp->n_head * hp->d_v;
    pl_code rc;
    if ((rc = bind_vector(b, i, "attn_norm.weight", true, E, &l->attn_norm)) ||
        (rc = bind_matrix(b, i, "attn_q.weight", true, E, q, &l->wq)) ||
        (rc = bind_matrix(b, i, "attn_k.weight", true, E, k, &l->wk)) ||
        (rc = bind_matrix(b, i, "attn_v.weight", true, E, v, &l->wv)) ||
        (rc = bind_matrix(b, i, "attn_output.weight", true, o, E, &l->wo)) ||
        (rc = bind_vector(b, i, "attn_q.bias", false, q, &l->bq)) ||
        (rc = bind_vector(b, i, "attn_k.bias", false, k, &l->bk)) ||
        (rc = bind_vector(b, i, "attn_v.bias", false, v, &l->bv)) ||
        (rc = bind_vector(b, i, "attn_output.bias", false, E, &l->bo)) ||
        (rc = bind_vector(b, i, "ffn_norm.weight", true, E, &l->ffn_norm)) ||
        (rc = bind_matrix(b, i, "ffn_gate.weight", true, E, F, &l->w_gate)) ||
        (rc = bind_matrix(b, i, "ffn_up.weight", true, E, F, &l->w_up)) ||
        (rc = bind_matrix(b, i, "ffn_down.weight", true, F, E, &l->w_down)))
        return rc;
    return PL_OK;
}

/* theta_i = base^(-2i/n_rot) / scale / factor_i: the factors are Llama 3's, as a tensor. */
static pl_code bind_rope(binder *b) {
    model *m = b->m;
    size_t half = m->hp.n_rot / 2;
    const float *factors = NULL;
    pl_code rc = bind_vector(b, -1, "rope_freqs.weight", false, half, &factors);
    if (rc) return rc;
    m->rope_freq = mem_array(half, sizeof *m->rope_freq);
    if (!m->rope_freq) return pl_fail(b->e, PL_ERR_MEMORY, "no memory for the RoPE frequencies");
    for (size_t i = 0; i < half; i++) {
        double factor = factors ? (double)factors[i] : 1;
        if (!(factor > 0))
            return pl_fail(b->e, PL_ERR_FORMAT, "the tensor 'rope_freqs.weight' holds %g at %zu: factors are positive",
                           factor, i);
        m->rope_freq[i] = pow((double)m->hp.rope_base, -2.0 * (double)i / m->hp.n_rot) / (double)m->hp.rope_scale / factor;
    }
    return PL_OK;
}

pl_code weights_bind(model *m, pl_error *e) {
    binder b = {.m = m, .e = e};
    size_t n = gguf_n_tensors(m->file), floats = 0;
    pl_code rc;
    b.used = mem_zarray(n ? n : 1, sizeof *b.used);
    m->layers = mem_zarray(m->hp.n_layer, sizeof *m->layers);
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor *t = gguf_tensor_at(m->file, i);
        uint64_t count = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* the reader has checked the product */
        if (t->ne[1] * t->ne[2] * t->ne[3] == 1) floats += count;
        m->n_params += count;
        m->n_bytes += t->n_bytes;
    }
    m->owned = mem_array(floats ? floats : 1, sizeof(float));
    if (!b.used || !m->layers || !m->owned) {
        rc = pl_fail(e, PL_ERR_MEMORY, "no memory for %u layers", m->hp.n_layer);
        goto done;
    }
    b.vectors = m->owned;
    b.room = floats;

    size_t E = m->hp.n_embd, V = m->hp.n_vocab;
    if ((rc = bind_matrix(&b, -1, "token_embd.weight", true, E, V, &m->embedding))) goto done;
    m->output = m->embedding; /* tied, unless the file has its own */
    if ((rc = bind_matrix(&b, -1, "output.weight", false, E, V, &m->output)) ||
        (rc = bind_vector(&b, -1, "output_norm.weight", true, E, &m->output_norm)) || (rc = bind_rope(&b)))
        goto done;
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        if ((rc = bind_layer(&b, (int)i))) goto done;
    for (size_t i = 0; i < n; i++)
        if (!b.used[i]) {
            rc = pl_fail(e, PL_ERR_UNSUPPORTED, "the tensor '%s' is not part of the architecture '%s' as it is supported",
                         gguf_tensor_at(m->file, i)->name, m->hp.arch->name);
            goto done;
        }
    rc = PL_OK;
done:
    mem_free(b.used);
    return rc;
}
