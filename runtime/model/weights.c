/* weights.c: see weights.h. Matrices point into the file's view; vectors (norms, biases, frequency
 * factors), routers and convolutions are small, and are kept as floats whatever the file stores. */
#include "model/weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

struct owned { struct owned *next; };

typedef struct {
    model *m;
    bool *used;         /* [gguf_n_tensors] */
    pl_error *e;
} binder;

#define OWNED_HEADER MEM_ALIGN

/* Memory that lives as long as the model; NULL: none. */
static void *own(binder *b, size_t n, size_t size) {
    size_t bytes;
    struct owned *o = NULL;
    if (checked_mul(n, size, &bytes) && checked_add(bytes, OWNED_HEADER, &bytes))
        o = mem_aligned(bytes);
    if (!o) return NULL;
    o->next = b->m->owned;
    b->m->owned = o;
    return (char *)o + OWNED_HEADER;
}

void weights_free(struct owned *o) {
    for (struct owned *next; o; o = next) {
        next = o->next;
        mem_free(o);
    }
}

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
        at += (size_t)snprintf(out + at, size - at, "%s%llu", d ? ", " : "",
                               (unsigned long long)t->ne[d]);
}

typedef struct { uint64_t ne[3]; uint32_t n_dims; } shape;
static shape vector_of(uint64_t n) { return (shape){{n, 1, 1}, 1}; }
static shape matrix_of(uint64_t n_in, uint64_t n_out) { return (shape){{n_in, n_out, 1}, 2}; }

/* The tensor of that name and shape. *out is NULL when it is absent and not required. */
static pl_code find(binder *b, const char *name, bool required, shape want,
                    const gguf_tensor **out) {
    const gguf_tensor *t = gguf_find_tensor(b->m->file, name);
    uint64_t ne0 = want.ne[0];
    *out = t;
    if (!t)
        return required ? pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' is missing", name) : PL_OK;
    b->used[t - gguf_tensor_at(b->m->file, 0)] = true;
    if (t->ne[0] != ne0 || t->ne[1] != want.ne[1] || t->ne[2] != want.ne[2] || t->ne[3] != 1) {
        char found[100] = "", asked[100] = "";
        gguf_tensor expected = {.n_dims = want.n_dims, .ne = {ne0, want.ne[1], want.ne[2], 1}};
        print_shape(t, found, sizeof found);
        print_shape(&expected, asked, sizeof asked);
        return pl_fail(b->e, PL_ERR_FORMAT,
                       "the tensor '%s' has the shape [%s]; the hyper-parameters ask for [%s]",
                       name, found, asked);
    }
    const weight_format *f = weight_format_of(t->type);
    if (!f || !f->to_float)
        return pl_fail(b->e, PL_ERR_UNSUPPORTED,
                       "the tensor '%s' has the type %s, which is not supported", name,
                       f ? f->name : "?");
    if (ne0 % f->block)
        return pl_fail(b->e, PL_ERR_FORMAT,
                       "the tensor '%s' of type %s has rows of %llu weights, not a multiple of %zu",
                       name, f->name, (unsigned long long)ne0, f->block);
    return PL_OK;
}

/* All of a tensor's rows on top of one another. */
static pl_code matrix_from(binder *b, const gguf_tensor *t, matrix *out) {
    const weight_format *f = weight_format_of(t->type);
    if (!matrix_supported((weight_type)t->type))
        return pl_fail(b->e, PL_ERR_UNSUPPORTED,
                       "the tensor '%s' has the type %s, which is not supported", t->name, f->name);
    *out = (matrix){.type = (weight_type)t->type,
                    .n_in = t->ne[0],
                    .n_out = t->ne[1] * t->ne[2], /* the reader has checked the product */
                    .row_bytes = t->ne[0] / f->block * f->bytes,
                    .data = t->data};
    return PL_OK;
}

static pl_code bind_matrix(binder *b, int i, const char *part, bool required, size_t n_in,
                           size_t n_out, matrix *out) {
    const gguf_tensor *t;
    pl_code rc = find(b, name_of(i, part).s, required, matrix_of(n_in, n_out), &t);
    return rc || !t ? rc : matrix_from(b, t, out);
}

/* Rows [first, first + n) of a matrix that holds several on top of one another. */
static matrix rows_of(const matrix *w, size_t first, size_t n) {
    matrix part = *w;
    part.n_out = n;
    part.data = (const uint8_t *)w->data + first * w->row_bytes;
    return part;
}

static bool exists(const binder *b, int i, const char *part) {
    return gguf_find_tensor(b->m->file, name_of(i, part).s) != NULL;
}

/* n_rows x n floats; n_rows 1 is a vector. */
static pl_code bind_rows(binder *b, int i, const char *part, bool required, size_t n, size_t n_rows,
                         const float **out) {
    tensor_name name = name_of(i, part);
    const gguf_tensor *t;
    pl_code rc = find(b, name.s, required, n_rows > 1 ? matrix_of(n, n_rows) : vector_of(n), &t);
    if (rc || !t) return rc;
    float *x = own(b, n * n_rows, sizeof *x); /* the reader has checked the product */
    if (!x) return pl_fail(b->e, PL_ERR_MEMORY, "no memory for the tensor '%s'", name.s);
    weight_format_of(t->type)->to_float(t->data, x, n * n_rows);
    *out = x;
    return PL_OK;
}

static pl_code bind_vector(binder *b, int i, const char *part, bool required, size_t n,
                           const float **out) {
    return bind_rows(b, i, part, required, n, 1, out);
}

/* A norm's weight and bias. */
static pl_code bind_norm(binder *b, int i, const char *part, bool required, size_t n,
                         norm_weights *out) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", part);
    pl_code rc = bind_vector(b, i, name, required, n, &out->weight);
    if (rc || !out->weight) return rc;
    snprintf(name, sizeof name, "%s.bias", part);
    return bind_vector(b, i, name, false, n, &out->bias);
}

/* ---- layers ---- */

/* Queries, keys and values: three matrices, or one that holds them in this order. */
static pl_code bind_qkv(binder *b, int i) {
    layer *l = &b->m->layers[i];
    const attention_shape *a = &l->attention;
    const arch_row *arch = b->m->hp.arch;
    size_t E = b->m->hp.n_embd, q = a->n_head * a->d_k, k = a->n_head_kv * a->d_k,
           v = a->n_head_kv * a->d_v;
    if (l->query_gate) q *= 2;
    bool own = l->kv_layer == (uint32_t)i, bias = arch->qkv_bias;
    pl_code rc;
    if (exists(b, i, "attn_qkv.weight") && own) {
        matrix all = {0};
        const float *biases = NULL;
        if ((rc = bind_matrix(b, i, "attn_qkv.weight", true, E, q + k + v, &all)) ||
            (rc = bind_vector(b, i, "attn_qkv.bias", bias, q + k + v, &biases)))
            return rc;
        l->wq = rows_of(&all, 0, q);
        l->wk = rows_of(&all, q, k);
        l->wv = rows_of(&all, q + k, v);
        if (biases) l->bq = biases, l->bk = biases + q, l->bv = biases + q + k;
        return PL_OK;
    }
    if ((rc = bind_matrix(b, i, "attn_q.weight", true, E, q, &l->wq)) ||
        (rc = bind_vector(b, i, "attn_q.bias", bias, q, &l->bq)) || !own)
        return rc;
    bool optional = arch->values_from_keys && k == v;
    if ((rc = bind_matrix(b, i, "attn_k.weight", true, E, k, &l->wk)) ||
        (rc = bind_vector(b, i, "attn_k.bias", bias, k, &l->bk)) ||
        (rc = bind_matrix(b, i, "attn_v.weight", !optional, E, v, &l->wv)) || !l->wv.data)
        return rc;
    return bind_vector(b, i, "attn_v.bias", bias, v, &l->bv);
}

/* Norms of queries or keys: one weight row for all heads, a row for each, or one over all of
 * them. */
static pl_code bind_qk_norm(binder *b, int i, const char *part, size_t n_head, size_t d,
                            norm_weights *out, bool *rows) {
    const arch_row *arch = b->m->hp.arch;
    tensor_name name = name_of(i, part);
    const gguf_tensor *t = gguf_find_tensor(b->m->file, name.s);
    bool required = !arch->qk_norm_optional;
    if (arch->qk_norm == QK_NORM_ROW)
        return bind_vector(b, i, part, required, n_head * d, &out->weight);
    *rows = t && t->n_dims > 1;
    return bind_rows(b, i, part, required, d, *rows ? n_head : 1, &out->weight);
}

static pl_code bind_attention(binder *b, int i) {
    const hparams *hp = &b->m->hp;
    layer *l = &b->m->layers[i];
    const attention_shape *a = &l->attention;
    size_t E = hp->n_embd, o = a->n_head * a->d_v;
    pl_code rc;
    if ((!hp->arch->no_pre_norm && (rc = bind_norm(b, i, "attn_norm", true, E, &l->attn_norm))) ||
        (rc = bind_qkv(b, i)) ||
        (rc = bind_matrix(b, i, "attn_output.weight", true, o, E, &l->wo)) ||
        (rc = bind_vector(b, i, "attn_output.bias", false, E, &l->bo)))
        return rc;
    if (hp->arch->post_norm &&
        (rc = bind_norm(b, i, "post_attention_norm", true, E, &l->attn_post_norm)))
        return rc;
    if (hp->arch->sinks &&
        (rc = bind_vector(b, i, "attn_sinks.weight", true, a->n_head, &l->attention.sinks)))
        return rc;
    if (hp->arch->qk_norm == QK_NORM_NONE) return PL_OK;
    if ((rc = bind_qk_norm(b, i, "attn_q_norm.weight", a->n_head, a->d_k, &l->q_norm,
                           &l->q_norm_rows)) ||
        l->kv_layer != (uint32_t)i)
        return rc;
    return bind_qk_norm(b, i, "attn_k_norm.weight", a->n_head_kv, a->d_k, &l->k_norm,
                        &l->k_norm_rows);
}

/* The gate and the matrix beside it: two, or one that holds them in this order. */
static pl_code bind_gate_and_up(binder *b, int i, size_t E, size_t F) {
    layer *l = &b->m->layers[i];
    const gguf_tensor *up = gguf_find_tensor(b->m->file, name_of(i, "ffn_up.weight").s);
    pl_code rc;
    if (!b->m->hp.arch->ungated && !exists(b, i, "ffn_gate.weight") && up && up->ne[1] == 2 * F) {
        matrix both = {0};
        if ((rc = bind_matrix(b, i, "ffn_up.weight", true, E, 2 * F, &both))) return rc;
        l->w_gate = rows_of(&both, 0, F);
        l->w_up = rows_of(&both, F, F);
        return PL_OK;
    }
    if (!b->m->hp.arch->ungated &&
        ((rc = bind_matrix(b, i, "ffn_gate.weight", true, E, F, &l->w_gate)) ||
         (rc = bind_vector(b, i, "ffn_gate.bias", false, F, &l->b_gate))))
        return rc;
    if ((rc = bind_matrix(b, i, "ffn_up.weight", true, E, F, &l->w_up))) return rc;
    return bind_vector(b, i, "ffn_up.bias", false, F, &l->b_up);
}

/* What every token passes through. */
static pl_code bind_dense(binder *b, int i) {
    layer *l = &b->m->layers[i];
    size_t E = b->m->hp.n_embd, F = l->n_ff;
    pl_code rc;
    if (!F)
        return pl_fail(b->e, PL_ERR_FORMAT, "layer %d has no experts, and its "
                       "feed_forward_length is 0", i);
    if ((rc = bind_gate_and_up(b, i, E, F)) ||
        (rc = bind_matrix(b, i, "ffn_down.weight", true, F, E, &l->w_down)))
        return rc;
    return bind_vector(b, i, "ffn_down.bias", false, E, &l->b_down);
}

/* The expert that all tokens share, which is the layer's dense part then, and its gate. */
static pl_code bind_shared_expert(binder *b, int i) {
    layer *l = &b->m->layers[i];
    tensor_name name = name_of(i, "ffn_up_shexp.weight");
    const gguf_tensor *up = gguf_find_tensor(b->m->file, name.s);
    size_t E = b->m->hp.n_embd, F;
    pl_code rc;
    l->n_ff = 0;
    if (!up) return PL_OK;
    F = up->ne[1];
    if (F < 1 || F > UINT32_MAX / 2)
        return pl_fail(b->e, PL_ERR_FORMAT, "the tensor '%s' has %zu rows", name.s, F);
    l->n_ff = (uint32_t)F;
    if ((rc = bind_matrix(b, i, "ffn_gate_shexp.weight", true, E, F, &l->w_gate)) ||
        (rc = bind_matrix(b, i, "ffn_up_shexp.weight", true, E, F, &l->w_up)) ||
        (rc = bind_matrix(b, i, "ffn_down_shexp.weight", true, F, E, &l->w_down)))
        return rc;
    return bind_vector(b, i, "ffn_gate_inp_shexp.weight", false, E, &l->dense_gate);
}

/* The X experts' matrices [n_out][n_in]: rows [first, first + n_out) of `rows` each in one tensor,
 * or, in files from before there were such, a tensor for each ("ffn_up.7.weight"). */
static pl_code bind_expert_matrices(binder *b, int i, const char *all, const char *one,
                                    size_t n_in, size_t n_out, size_t first, size_t rows,
                                    matrix **out) {
    uint32_t X = b->m->hp.n_expert;
    matrix *w = own(b, X, sizeof *w);
    const gguf_tensor *t;
    char part[64], first_one[64];
    pl_code rc;
    if (!w) return pl_fail(b->e, PL_ERR_MEMORY, "no memory for a table of %u experts", X);
    *out = w;
    snprintf(part, sizeof part, "%s.weight", all);
    snprintf(first_one, sizeof first_one, "%s.0.weight", one);
    if (exists(b, i, part) || !exists(b, i, first_one)) {
        matrix stack;
        if ((rc = find(b, name_of(i, part).s, true, (shape){{n_in, rows, X}, 3}, &t)) ||
            (rc = matrix_from(b, t, &stack)))
            return rc;
        for (uint32_t x = 0; x < X; x++) w[x] = rows_of(&stack, x * rows + first, n_out);
        return PL_OK;
    }
    for (uint32_t x = 0; x < X; x++) {
        snprintf(part, sizeof part, "%s.%u.weight", one, x);
        if ((rc = bind_matrix(b, i, part, true, n_in, n_out, &w[x]))) return rc;
        if (w[x].type != w[0].type)
            return pl_fail(b->e, PL_ERR_UNSUPPORTED,
                           "the experts of layer %d have tensors '%s' of several types", i, one);
    }
    return PL_OK;
}

static pl_code bind_experts(binder *b, int i) {
    const hparams *hp = &b->m->hp;
    layer *l = &b->m->layers[i];
    expert_weights *x = &l->experts;
    size_t E = hp->n_embd, X = hp->n_expert, F = x->n_ff;
    const float *router = NULL;
    pl_code rc;
    bool fused = exists(b, i, "ffn_gate_up_exps.weight");
    const char *gate = fused ? "ffn_gate_up_exps" : "ffn_gate_exps",
               *up = fused ? gate : "ffn_up_exps";
    if ((rc = bind_rows(b, i, "ffn_gate_inp.weight", true, E, X, &router)) ||
        (rc = bind_vector(b, i, "ffn_gate_inp.bias", false, X, &x->b_router)) ||
        (rc = bind_vector(b, i, "exp_probs_b.bias", false, X, &x->choice_bias)) ||
        (rc = bind_expert_matrices(b, i, gate, "ffn_gate", E, F, 0, fused ? 2 * F : F, &x->gate)) ||
        (rc = bind_expert_matrices(b, i, up, "ffn_up", E, F, fused ? F : 0, fused ? 2 * F : F,
                                   &x->up)) ||
        (rc = bind_expert_matrices(b, i, "ffn_down_exps", "ffn_down", F, E, 0, E, &x->down)) ||
        (rc = bind_rows(b, i, "ffn_gate_exps.bias", false, F, X, &x->b_gate)) ||
        (rc = bind_rows(b, i, "ffn_up_exps.bias", false, F, X, &x->b_up)) ||
        (rc = bind_rows(b, i, "ffn_down_exps.bias", false, E, X, &x->b_down)) ||
        (rc = bind_vector(b, i, "ffn_down_exps.scale", false, X, &x->scale)))
        return rc;
    x->router = (matrix){
        .type = TYPE_F32, .n_in = E, .n_out = X, .row_bytes = E * sizeof(float), .data = router};
    if (!hp->arch->dense_beside_experts) return bind_shared_expert(b, i);
    if ((rc = bind_dense(b, i)) ||
        (rc = bind_vector(b, i, "ffn_gate_inp.scale", true, E, &x->router_norm)) ||
        (rc = bind_norm(b, i, "pre_ffw_norm_2", true, E, &x->norm)) ||
        (rc = bind_norm(b, i, "post_ffw_norm_1", true, E, &l->dense_post_norm)))
        return rc;
    return bind_norm(b, i, "post_ffw_norm_2", true, E, &x->post_norm);
}

static pl_code bind_feed_forward(binder *b, int i) {
    const arch_row *arch = b->m->hp.arch;
    layer *l = &b->m->layers[i];
    size_t E = b->m->hp.n_embd;
    const char *norm = arch->ffn_norm ? arch->ffn_norm : "ffn_norm";
    bool sparse = l->experts.n_ff && exists(b, i, "ffn_gate_inp.weight");
    pl_code rc;
    if (!arch->no_pre_norm && (rc = bind_norm(b, i, norm, !arch->parallel, E, &l->ffn_norm)))
        return rc;
    if (!sparse) l->experts.n_ff = 0;
    if ((rc = sparse ? bind_experts(b, i) : bind_dense(b, i))) return rc;
    return arch->post_norm ? bind_norm(b, i, "post_ffw_norm", true, E, &l->ffn_post_norm) : PL_OK;
}

/* ---- recurrent layers ---- */

/* The taps of a convolution: the file has a row for each channel; here channels lie side by
 * side. */
static pl_code bind_taps(binder *b, int i, const char *part, mixer_weights *w) {
    size_t C = b->m->hp.n_conv, W = w->n_channels;
    const float *rows = NULL;
    pl_code rc = bind_rows(b, i, part, true, C, W, &rows);
    if (rc) return rc;
    float *taps = own(b, C * W, sizeof *taps);
    if (!taps) return pl_fail(b->e, PL_ERR_MEMORY, "no memory for a convolution's %zu taps", C * W);
    for (size_t c = 0; c < W; c++)
        for (size_t j = 0; j < C; j++) taps[j * W + c] = rows[c * C + j];
    w->conv = taps;
    return PL_OK;
}

/* One number for each head, in one of the shapes that files have it in. */
static pl_code bind_of_heads(binder *b, int i, const char *part, size_t n, const float **out) {
    const gguf_tensor *t = gguf_find_tensor(b->m->file, name_of(i, part).s);
    return t && t->n_dims > 1 ? bind_rows(b, i, part, true, 1, n, out)
                              : bind_vector(b, i, part, true, n, out);
}

static pl_code bind_delta_net(binder *b, int i, mixer_weights *w) {
    const hparams *hp = &b->m->hp;
    size_t E = hp->n_embd, N = hp->n_state_heads, inner = N * hp->d_state_v;
    pl_code rc;
    if ((rc = bind_matrix(b, i, "attn_qkv.weight", true, E, w->n_channels, &w->in)) ||
        (rc = bind_matrix(b, i, "attn_gate.weight", true, E, inner, &w->gate)) ||
        (rc = bind_matrix(b, i, "ssm_alpha.weight", true, E, N, &w->alpha)) ||
        (rc = bind_matrix(b, i, "ssm_beta.weight", true, E, N, &w->beta)) ||
        (rc = bind_taps(b, i, "ssm_conv1d.weight", w)) ||
        (rc = bind_of_heads(b, i, "ssm_a", N, &w->a)) ||
        (rc = bind_vector(b, i, "ssm_dt.bias", true, N, &w->b_dt)) ||
        (rc = bind_vector(b, i, "ssm_norm.weight", true, hp->d_state_v, &w->norm)))
        return rc;
    return bind_matrix(b, i, "ssm_out.weight", true, inner, E, &w->out);
}

static pl_code bind_mamba2(binder *b, int i, mixer_weights *w) {
    const hparams *hp = &b->m->hp;
    size_t E = hp->n_embd, N = hp->n_state_heads, G = hp->n_state_groups, inner = N * hp->d_state_v;
    pl_code rc;
    if ((rc = bind_matrix(b, i, "ssm_in.weight", true, E, inner + w->n_channels + N, &w->in)) ||
        (rc = bind_taps(b, i, "ssm_conv1d.weight", w)) ||
        (rc = bind_vector(b, i, "ssm_conv1d.bias", false, w->n_channels, &w->b_conv)) ||
        (rc = bind_of_heads(b, i, "ssm_a", N, &w->a)) ||
        (rc = bind_of_heads(b, i, "ssm_d", N, &w->d)) ||
        (rc = bind_vector(b, i, "ssm_dt.bias", true, N, &w->b_dt)) ||
        (rc = bind_rows(b, i, "ssm_norm.weight", true, inner / G, G, &w->norm)))
        return rc;
    return bind_matrix(b, i, "ssm_out.weight", true, inner, E, &w->out);
}

static pl_code bind_short_conv(binder *b, int i, mixer_weights *w) {
    size_t E = b->m->hp.n_embd;
    pl_code rc;
    if ((rc = bind_matrix(b, i, "shortconv.in_proj.weight", true, E, 3 * E, &w->in)) ||
        (rc = bind_taps(b, i, "shortconv.conv.weight", w)))
        return rc;
    return bind_matrix(b, i, "shortconv.out_proj.weight", true, E, E, &w->out);
}

static pl_code bind_mixer(binder *b, int i) {
    layer *l = &b->m->layers[i];
    pl_code rc = bind_norm(b, i, "attn_norm", true, b->m->hp.n_embd, &l->attn_norm);
    if (rc) return rc;
    switch (l->mixer.kind) {
    case MIX_DELTA_NET: return bind_delta_net(b, i, &l->mixer);
    case MIX_MAMBA2: return bind_mamba2(b, i, &l->mixer);
    default: return bind_short_conv(b, i, &l->mixer);
    }
}

static pl_code bind_layer(binder *b, int i) {
    const hparams *hp = &b->m->hp;
    layer *l = &b->m->layers[i];
    const float *scale = NULL;
    pl_code rc;
    if ((rc = l->mixer.kind ? bind_mixer(b, i) : bind_attention(b, i)) ||
        (rc = bind_feed_forward(b, i)))
        return rc;
    if (!hp->arch->per_layer_embedding) return PL_OK;
    if ((rc = bind_vector(b, i, "layer_output_scale.weight", false, 1, &scale))) return rc;
    if (scale) l->output_scale = *scale;
    if (!hp->n_per_layer) return PL_OK;
    if ((rc = bind_matrix(b, i, "inp_gate.weight", true, hp->n_embd, hp->n_per_layer,
                          &l->per_layer_gate)) ||
        (rc = bind_matrix(b, i, "proj.weight", true, hp->n_per_layer, hp->n_embd,
                          &l->per_layer_proj)))
        return rc;
    return bind_norm(b, i, "post_norm", true, hp->n_embd, &l->per_layer_norm);
}

/* ---- RoPE ---- */

/* The frequencies' own factors: Llama 3's for any length, or LongRoPE's (Ding et al. 2024), the
 * longer set of which is for contexts beyond the original one. Decided by the context given at
 * load: a cache never changes its rotation. */
static pl_code bind_rope_factors(binder *b, size_t n, const float **factors) {
    model *m = b->m;
    const float *longer = NULL, *shorter = NULL;
    pl_code rc;
    *factors = NULL;
    if ((rc = bind_vector(b, -1, "rope_freqs.weight", false, n, factors)) ||
        (rc = bind_vector(b, -1, "rope_factors_long.weight", false, n, &longer)) ||
        (rc = bind_vector(b, -1, "rope_factors_short.weight", false, n, &shorter)))
        return rc;
    if (!*factors) *factors = m->context > m->hp.scaling.original ? longer : shorter;
    for (size_t i = 0; *factors && i < n; i++)
        if (!((*factors)[i] > 0))
            return pl_fail(
                b->e, PL_ERR_FORMAT,
                "a RoPE factor (rope_freqs.weight or rope_factors_*.weight) is %g at %zu: "
                "factors are positive",
                (double)(*factors)[i], i);
    return PL_OK;
}

/* YaRN's place, counted in frequencies, where a wave turns `turns` times within the original
 * positions. */
static double yarn_place(const rope_table *r, const rope_scaling *s, double turns) {
    return r->n_rot * log(s->original / (turns * 2 * 3.14159265358979323846)) /
           (2 * log((double)r->base));
}

/* theta_i = base^(-2i/n_rot) / factor_i, and / scale where scaling holds: linear for all i; with
 * YaRN (Peng et al. 2023) fully from the place of beta_slow on, not at all before that of
 * beta_fast, and in proportion between. */
static void compute_frequencies(rope_table *r, const rope_scaling *s, const float *factors) {
    double low = 0, high = 0, scale = r->scaled ? (double)s->factor : 1;
    bool yarn = r->scaled && s->yarn;
    r->magnitude = r->scaled ? (double)s->attention_factor : 1;
    if (yarn) {
        low = fmax(0, floor(yarn_place(r, s, (double)s->beta_fast)));
        high = fmin(r->n_rot - 1, ceil(yarn_place(r, s, (double)s->beta_slow)));
        if (scale > 1 && !s->magnitude_given)
            r->magnitude *=
                (0.1 * log(scale) + 1) / (0.1 * (double)s->log_multiplier * log(scale) + 1);
    }
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        double theta = pow((double)r->base, -2.0 * (double)i / r->n_rot),
               factor = factors ? (double)factors[i] : 1;
        double scaled = yarn ? fmin(1, fmax(0, ((double)i - low) / fmax(0.001, high - low))) : 1;
        r->freq[i] = scaled < 1 ? (theta * (1 - scaled) + theta / scale * scaled) / factor
                                : theta / scale / factor;
    }
}

static pl_code bind_rope(binder *b) {
    model *m = b->m;
    uint32_t n_rot = m->rope[LAYER_FULL].n_rot;
    const float *factors;
    pl_code rc;
    if (m->hp.rope == ROPE_NONE) return PL_OK;
    if ((rc = bind_rope_factors(b, n_rot / 2, &factors))) return rc;
    for (size_t k = 0; k < LAYER_KINDS; k++) {
        rope_table *r = &m->rope[k];
        if (r->scaled && factors && r->n_rot != n_rot)
            return pl_fail(
                b->e, PL_ERR_FORMAT,
                "the file has RoPE factors for %u frequencies; its layers with a window turn %u",
                n_rot / 2, r->n_rot / 2);
        r->freq = mem_array(r->n_rot / 2, sizeof *r->freq);
        if (!r->freq) return pl_fail(b->e, PL_ERR_MEMORY, "no memory for the RoPE frequencies");
        compute_frequencies(r, &m->hp.scaling, r->scaled ? factors : NULL);
    }
    return PL_OK;
}

/* ---- the rest ---- */

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

const char *weights_other_part(const model *m, const char *name) {
    static const struct { const char *prefix, *part; } parts[] = {
        {"mm.a.", "audio"}, {"a.", "audio"}, {"mm.", "vision"}, {"v.", "vision"},
        {"mtp.", "multi-token prediction"}, {"nextn.", "multi-token prediction"}};
    unsigned block;
    int end = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (begins(name, parts[i].prefix)) return parts[i].part;
    if (sscanf(name, "blk.%4u.%n", &block, &end) != 1 || !end) return NULL;
    if (block >= m->hp.n_layer)
        return block - m->hp.n_layer < m->hp.n_predict ? "multi-token prediction" : NULL;
    bool kv = begins(name + end, "attn_k") || begins(name + end, "attn_v");
    return kv && m->layers[block].kv_layer != block ? "keys and values of layers that share others'"
                                                    : NULL;
}

/* Counts the tensors that are used, notes the parts that are not, and refuses a tensor that nobody
 * knows. */
static pl_code account(binder *b) {
    model *m = b->m;
    for (size_t i = 0; i < gguf_n_tensors(m->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(m->file, i);
        if (b->used[i]) {
            m->n_params +=
                t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* the reader has checked the product */
            m->n_bytes += t->n_bytes;
            continue;
        }
        const char *part = weights_other_part(m, t->name);
        skipped_part *s = m->skipped;
        if (!part)
            return pl_fail(
                b->e, PL_ERR_UNSUPPORTED,
                "the tensor '%s' is not part of the architecture '%s' as it is supported", t->name,
                m->hp.arch->name);
        while (s->what && strcmp(s->what, part))
            s++; /* there are no more kinds than SKIPPED_PARTS */
        s->what = part;
        s->n_tensors++;
        s->n_bytes += t->n_bytes;
    }
    return PL_OK;
}

static pl_code bind_ends(binder *b) {
    model *m = b->m;
    size_t E = m->hp.n_embd, V = m->hp.n_vocab, P = m->hp.n_per_layer;
    pl_code rc;
    if ((rc = bind_matrix(b, -1, "token_embd.weight", true, E, V, &m->embedding))) return rc;
    m->output = m->embedding; /* tied, unless the file has its own */
    /* LFM2's first files have the last norm by another name. */
    const char *norm = exists(b, -1, "output_norm.weight") || m->hp.arch->mixer != MIX_SHORT_CONV
                           ? "output_norm" : "token_embd_norm";
    if ((rc = bind_matrix(b, -1, "output.weight", false, E, V, &m->output)) ||
        (rc = bind_norm(b, -1, norm, true, E, &m->output_norm)))
        return rc;
    if (m->hp.arch->learned_positions && (rc = bind_matrix(b, -1, "position_embd.weight", true, E,
                                                           m->hp.context_trained, &m->positions)))
        return rc;
    if (!P) return PL_OK;
    if ((rc = bind_matrix(b, -1, "per_layer_token_embd.weight", true, P * m->hp.n_layer, V,
                          &m->per_layer_embedding)) ||
        (rc = bind_matrix(b, -1, "per_layer_model_proj.weight", true, E, P * m->hp.n_layer,
                          &m->per_layer_proj)))
        return rc;
    return bind_norm(b, -1, "per_layer_proj_norm", true, P, &m->per_layer_norm);
}

pl_code weights_bind(model *m, pl_error *e) {
    binder b = {.m = m, .e = e};
    size_t n = gguf_n_tensors(m->file);
    pl_code rc;
    b.used = mem_zarray(n ? n : 1, sizeof *b.used);
    if (!b.used) return pl_fail(e, PL_ERR_MEMORY, "no memory for a list of %zu tensors", n);
    if ((rc = bind_ends(&b)) || (rc = bind_rope(&b))) goto done;
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        if ((rc = bind_layer(&b, (int)i))) goto done;
    rc = account(&b);
done:
    mem_free(b.used);
    return rc;
}
