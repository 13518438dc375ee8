/* forward.c: the decoder, read top to bottom: for every layer
 *
 *     x += attention(norm(x))      q, k, v = Wq h, Wk h, Wv h, normed and rotated by some models
 *     x += feed_forward(norm(x))   Wdown (act(Wgate h) * Wup h), or Wdown act(Wup h)
 *     x += per_layer(x)            in models that have per-layer embeddings
 *
 * What varies stands in the architecture's row (model/arch.c) and in the layer (model/model.h): a
 * part that a model does not have is a NULL pointer, a matrix without data or a scale of 1.
 *
 * All members of the team run the same code. A phase is either over rows (norms, rotations: cheap)
 * or over chunks of a matrix's outputs (where the time goes); a barrier ends it. What a row
 * computes depends on its own sequence alone: not on its place in the batch, the chunks, or the
 * number of members. */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

/* Widths of a row's buffers: the widest of all layers. */
typedef struct {
    size_t q, k, v, att, ff;    /* H D, K D, K D, H D, F */
    size_t per_layer;           /* n_layer P */
    size_t operand;             /* of any product's input */
    size_t attention;           /* bytes that a member's attention needs */
} widths;

/* Sizes in rows, and the buffers that hold them. R: rows of the batch. */
struct forward_scratch {
    size_t rows, hidden_rows, logit_rows, members;
    float *x;           /* [R][E] the residual stream */
    float *h;           /* [R][E] its norm: what a block reads */
    float *y;           /* [R][E] what a block adds to x */
    float *q, *k, *v;   /* [R][H D], [R][K D], [R][K D] */
    float *att;         /* [R][H D] */
    float *gate, *up;   /* [R][F] */
    float *cs[LAYER_KINDS];     /* [R][n_rot / 2][2] cos and sin of each row's position */
    float *per_layer, *per_layer_token; /* [R][n_layer P] */
    uint8_t *act;       /* [R][act stride]: the operand of the next product, quantized */
    float *hidden;      /* [hidden_rows][E] */
    uint8_t *logit_act; /* [logit_rows][act stride of E] */
    uint8_t *attention; /* [members][attention_bytes] */
    size_t attention_bytes;
    struct row_group *groups; /* [R] */
    size_t n_groups;
};

/* Rows of one sequence that attend together. */
struct row_group { size_t first, count; };

forward_scratch *forward_scratch_new(void) { return mem_zalloc(sizeof(forward_scratch)); }

static void free_rows(forward_scratch *s) {
    void *all[] = {s->x, s->h, s->y, s->q, s->k, s->v, s->att, s->gate, s->up, s->per_layer,
                   s->per_layer_token, s->cs[LAYER_FULL], s->cs[LAYER_WINDOW], s->act, s->groups};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    s->x = s->h = s->y = s->q = s->k = s->v = s->att = s->gate = s->up = NULL;
    s->cs[LAYER_FULL] = s->cs[LAYER_WINDOW] = s->per_layer = s->per_layer_token = NULL;
    s->act = NULL;
    s->groups = NULL;
    s->rows = 0;
}

void forward_scratch_free(forward_scratch *s) {
    if (!s) return;
    free_rows(s);
    mem_free(s->hidden);
    mem_free(s->logit_act);
    mem_free(s->attention);
    mem_free(s);
}

float *forward_hidden(forward_scratch *s) { return s->hidden; }

/* ---- memory ---- */

static void widen(size_t *width, size_t n) {
    if (n > *width) *width = n;
}

static size_t q_width(const layer *l) { return l->attention.n_head * l->attention.d_k; }
static size_t k_width(const layer *l) { return l->attention.n_head_kv * l->attention.d_k; }
static size_t v_width(const layer *l) { return l->attention.n_head_kv * l->attention.d_v; }
static size_t o_width(const layer *l) { return l->attention.n_head * l->attention.d_v; }

static widths widest(const model *m) {
    widths w = {.per_layer = (size_t)m->hp.n_layer * m->hp.n_per_layer, .operand = m->hp.n_embd};
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const layer *l = &m->layers[i];
        widen(&w.q, q_width(l));
        widen(&w.k, k_width(l));
        widen(&w.v, v_width(l));
        widen(&w.att, o_width(l));
        widen(&w.ff, l->n_ff);
        widen(&w.attention, attention_scratch(&l->attention));
    }
    widen(&w.ff, m->hp.n_per_layer); /* the per-layer block's gate lies there, too */
    widen(&w.operand, w.att);
    widen(&w.operand, w.ff);
    return w;
}

static bool take(void *p_to_pointer, size_t n, size_t width, size_t item) {
    size_t count, bytes;
    void *p = checked_mul(n, width, &count) && checked_mul(count, item, &bytes)
                  ? mem_aligned(bytes ? bytes : 1)
                  : NULL;
    memcpy(p_to_pointer, &p, sizeof p);
    return p != NULL;
}

static bool reserve_rows(const model *m, forward_scratch *s, const widths *w, size_t n) {
    size_t E = m->hp.n_embd, f = sizeof(float);
    if (n <= s->rows) return true;
    free_rows(s);
    if (!take(&s->x, n, E, f) || !take(&s->h, n, E, f) || !take(&s->y, n, E, f) ||
        !take(&s->q, n, w->q, f) || !take(&s->k, n, w->k, f) || !take(&s->v, n, w->v, f) ||
        !take(&s->att, n, w->att, f) || !take(&s->gate, n, w->ff, f) ||
        !take(&s->up, n, w->ff, f) || !take(&s->cs[LAYER_FULL], n, m->rope[LAYER_FULL].n_rot, f) ||
        !take(&s->cs[LAYER_WINDOW], n, m->rope[LAYER_WINDOW].n_rot, f) ||
        !take(&s->per_layer, n, w->per_layer, f) ||
        !take(&s->per_layer_token, n, w->per_layer, f) ||
        !take(&s->act, n, act_q8_stride(w->operand), 1) ||
        !take(&s->groups, n, 1, sizeof *s->groups)) {
        free_rows(s);
        return false;
    }
    s->rows = n;
    return true;
}

static bool reserve(void *p_to_pointer, size_t *have, size_t n, size_t width, size_t item) {
    void *old;
    if (n <= *have) return true;
    memcpy(&old, p_to_pointer, sizeof old);
    mem_free(old);
    *have = 0;
    if (!take(p_to_pointer, n, width, item)) return false;
    *have = n;
    return true;
}

pl_code forward_reserve(const model *m, forward_scratch *s, size_t n_rows, size_t n_hidden,
                        size_t n_logits, pl_error *e) {
    widths w = widest(m);
    if (reserve_rows(m, s, &w, n_rows) &&
        reserve(&s->hidden, &s->hidden_rows, n_hidden, m->hp.n_embd, sizeof(float)) &&
        reserve(&s->logit_act, &s->logit_rows, n_logits, act_q8_stride(m->hp.n_embd), 1) &&
        reserve(&s->attention, &s->members, team_size(m->workers), w.attention, 1)) {
        s->attention_bytes = w.attention;
        return PL_OK;
    }
    return pl_fail(e, PL_ERR_MEMORY, "no memory for a step of %zu rows", n_rows);
}

/* ---- products ---- */

/* Products of the same rows with several matrices, split into chunks of outputs that members
 * claim. */
typedef struct { const matrix *w; float *y; } product;

#define CHUNK_LANES 16     /* chunks begin at multiples of it */
#define CHUNKS_PER_MEMBER 8

static size_t chunk_outputs(const product *p, size_t n, size_t members) {
    size_t outputs = 0;
    for (size_t i = 0; i < n; i++) outputs += p[i].w->n_out;
    size_t chunk = outputs / (members * CHUNKS_PER_MEMBER) / CHUNK_LANES * CHUNK_LANES;
    return chunk < CHUNK_LANES ? CHUNK_LANES : chunk;
}

/* One phase, barrier included. x: [n_rows] rows x_stride floats apart; act: the same, quantized. */
static void multiply(const model *m, team *t, const product *p, size_t n, const float *x,
                     size_t x_stride, const uint8_t *act, size_t n_rows) {
    size_t chunk = chunk_outputs(p, n, team_size(t));
    for (size_t c; c = team_claim(t), true;) {
        size_t i = 0;
        for (; i < n && c >= (p[i].w->n_out + chunk - 1) / chunk; i++)
            c -= (p[i].w->n_out + chunk - 1) / chunk;
        if (i == n) break;
        size_t begin = c * chunk,
               end = begin + chunk < p[i].w->n_out ? begin + chunk : p[i].w->n_out;
        bool q8 = matrix_act_kind(p[i].w->type) == ACT_Q8;
        m->math->matmul(p[i].w, begin, end, q8 ? (const void *)act : x, x_stride, n_rows, p[i].y,
                        p[i].w->n_out);
    }
    team_barrier(t);
}

static bool wants_q8(const matrix *w) { return matrix_act_kind(w->type) == ACT_Q8; }

/* ---- the step ---- */

typedef struct {
    const model *m;
    forward_scratch *s;
    const batch *b;
    atomic_bool abandoned;
} step;

/* The operand of a product with matrices of which some want it quantized. */
static void prepare(const step *f, bool q8, const float *x, size_t n, size_t row) {
    if (q8) f->m->math->quantize_q8(x, n, f->s->act + row * act_q8_stride(n));
}

static void normalize(const model *m, const float *w, const float *b, const float *x, size_t n,
                      float *y) {
    if (m->hp.arch->norm == NORM_RMS) m->math->rms_norm(x, w, n, m->hp.norm_eps, y);
    else m->math->layer_norm(x, w, b, n, m->hp.norm_eps, y);
}

static void add_bias(const model *m, float *x, const float *bias, size_t n) {
    if (bias) m->math->add(x, bias, n);
}

static void scale(const model *m, float *x, size_t n, float by) {
    if (by != 1) m->math->scale(x, n, by);
}

static void matrix_row(const matrix *w, size_t row, float *out) {
    weight_format_of(w->type)->to_float((const uint8_t *)w->data + row * w->row_bytes, out,
                                        w->n_in);
}

/* ---- embedding ---- */

static void embed(const step *f, size_t row) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    const batch_row *r = &f->b->rows[row];
    size_t E = m->hp.n_embd;
    float *x = s->x + row * E;
    matrix_row(&m->embedding, (size_t)r->token, x);
    scale(m, x, E, m->hp.embedding_scale);
    if (m->positions.data) {
        matrix_row(&m->positions, r->position, s->h + row * E);
        m->math->add(x, s->h + row * E, E);
    }
    for (size_t k = 0; k < LAYER_KINDS; k++) {
        const rope_table *rope = &m->rope[k];
        float *cs = s->cs[k] + row * rope->n_rot;
        for (size_t i = 0; i < rope->n_rot / 2; i++) {
            double a = r->position * rope->freq[i];
            cs[2 * i] = (float)(cos(a) * rope->magnitude);
            cs[2 * i + 1] = (float)(sin(a) * rope->magnitude);
        }
    }
}

/* Each layer's own embedding of a row's token: (sqrt(P) token + norm(Wp x / sqrt(E))) / sqrt(2). */
static void per_layer_embed(const step *f, team *t) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, P = m->hp.n_per_layer, all = m->hp.n_layer * P;
    if (!P) return;
    for (size_t r; (r = team_claim(t)) < R;)
        prepare(f, wants_q8(&m->per_layer_proj), s->x + r * E, E, r);
    team_barrier(t);
    multiply(m, t, &(product){&m->per_layer_proj, s->per_layer}, 1, s->x, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        float *y = s->per_layer + r * all, *token = s->per_layer_token + r * all;
        m->math->scale(y, all, 1 / sqrtf((float)E));
        for (size_t i = 0; i < all; i += P)
            normalize(m, m->per_layer_norm.weight, NULL, y + i, P, y + i);
        matrix_row(&m->per_layer_embedding, (size_t)f->b->rows[r].token, token);
        m->math->scale(token, all, sqrtf((float)P));
        m->math->add(y, token, all);
        m->math->scale(y, all, sqrtf(0.5f));
    }
    team_barrier(t);
}

/* ---- blocks ---- */

/* h = norm(x), for the products of a block. Without a norm, the stream as it is; in a parallel
 * layer, the h that is there. */
static void enter_block(const step *f, size_t row, const norm_weights *norm, bool parallel,
                        bool q8) {
    size_t E = f->m->hp.n_embd;
    float *x = f->s->x + row * E, *h = f->s->h + row * E;
    if (norm->weight) normalize(f->m, norm->weight, norm->bias, x, E, h);
    else if (!parallel) memcpy(h, x, E * sizeof *h);
    prepare(f, q8, h, E, row);
}

/* x += norm(y + bias), scaled. */
static void leave_block(const step *f, size_t row, const float *bias, const norm_weights *norm) {
    size_t E = f->m->hp.n_embd;
    float *y = f->s->y + row * E;
    add_bias(f->m, y, bias, E);
    if (norm->weight) normalize(f->m, norm->weight, norm->bias, y, E, y);
    scale(f->m, y, E, f->m->hp.residual_scale);
    f->m->math->add(f->s->x + row * E, y, E);
}

/* ---- attention ---- */

/* Norms of n heads of d; rows: each has its own weights. */
static void norm_heads(const model *m, const norm_weights *w, bool rows, float *x, size_t n,
                       size_t d) {
    if (!w->weight) return;
    if (m->hp.arch->qk_norm == QK_NORM_ROW) normalize(m, w->weight, NULL, x, n * d, x);
    else
        for (size_t h = 0; h < n; h++)
            normalize(m, w->weight + (rows ? h * d : 0), NULL, x + h * d, d, x + h * d);
}

static void rotate(const step *f, const layer *l, float *x, size_t n_head, size_t row) {
    const rope_table *rope = &f->m->rope[l->kind];
    if (l->rotated)
        f->m->math->rope(x, n_head, l->attention.d_k, rope->n_rot,
                         f->s->cs[l->kind] + row * rope->n_rot, f->m->hp.rope == ROPE_INTERLEAVED);
}

/* Query heads that are longer the further on they are: 1 + t ln(1 + floor(position / original)). */
static float temperature_at(const hparams *hp, uint32_t position) {
    return (float)(1 + (double)hp->temperature *
                           log(1 + floor((double)position / hp->scaling.original)));
}

static void finish_queries(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    size_t n = q_width(l);
    float *q = f->s->q + row * n;
    add_bias(m, q, l->bq, n);
    norm_heads(m, &l->q_norm, l->q_norm_rows, q, l->attention.n_head, l->attention.d_k);
    rotate(f, l, q, l->attention.n_head, row);
    if (m->hp.temperature > 0)
        m->math->scale(q, n, temperature_at(&m->hp, f->b->rows[row].position));
}

/* The row's keys and values, which then go into the cache. */
static void finish_keys_and_values(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    const batch_row *r = &f->b->rows[row];
    const attention_shape *a = &l->attention;
    size_t n_k = k_width(l), n_v = v_width(l);
    float *k = f->s->k + row * n_k, *v = f->s->v + row * n_v;
    add_bias(m, k, l->bk, n_k);
    if (!l->wv.data) memcpy(v, k, n_v * sizeof *v);
    add_bias(m, v, l->bv, n_v);
    norm_heads(m, &l->k_norm, l->k_norm_rows, k, a->n_head_kv, a->d_k);
    for (size_t h = 0; m->hp.arch->v_norm && h < a->n_head_kv; h++)
        normalize(m, NULL, NULL, v + h * a->d_v, a->d_v, v + h * a->d_v);
    rotate(f, l, k, a->n_head_kv, row);
    if (r->store)
        m->math->kv_store(a, f->b->tables[r->sequence][r->position / KV_TILE],
                          r->position % KV_TILE, k, v);
}

static void attend(const step *f, const layer *l, size_t group, size_t kv_head, size_t member) {
    forward_scratch *s = f->s;
    struct row_group g = s->groups[group];
    size_t Q = q_width(l), O = o_width(l);
    uint32_t position[ATTENTION_ROWS];
    for (size_t i = 0; i < g.count; i++) position[i] = f->b->rows[g.first + i].position;
    f->m->math->attention(&l->attention,
                          (const uint8_t *const *)f->b->tables[f->b->rows[g.first].sequence],
                          position, g.count, kv_head, s->q + g.first * Q, Q, s->att + g.first * O,
                          O, s->attention + member * s->attention_bytes);
}

/* y = Wo attention(Wq h, keys, values) */
static void attention_block(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, O = o_width(l), K = l->attention.n_head_kv;
    product qkv[] = {{&l->wq, s->q}, {&l->wk, s->k}, {&l->wv, s->v}};
    multiply(m, t, qkv, l->wv.data ? 3 : l->wk.data ? 2 : 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        finish_queries(f, l, r);
        if (l->wk.data) finish_keys_and_values(f, l, r);
    }
    team_barrier(t);
    for (size_t i; (i = team_claim(t)) < s->n_groups * K;) attend(f, l, i / K, i % K, member);
    team_barrier(t);
    if (wants_q8(&l->wo)) {
        for (size_t r; (r = team_claim(t)) < R;) prepare(f, true, s->att + r * O, O, r);
        team_barrier(t);
    }
    multiply(m, t, &(product){&l->wo, s->y}, 1, s->att, O, s->act, R);
}

/* ---- feed-forward ---- */

/* gate = act(gate) * up, or act(up) without a gate */
static void activate(const step *f, const layer *l, size_t row) {
    const kernels *math = f->m->math;
    size_t F = l->n_ff;
    float *gate = f->s->gate + row * F, *up = f->s->up + row * F;
    bool gelu = f->m->hp.arch->activation == ACTIVATION_GELU;
    add_bias(f->m, gate, l->b_gate, F);
    add_bias(f->m, up, l->b_up, F);
    if (!l->w_gate.data) math->gelu(up, F, gate);
    else if (gelu) math->geglu(gate, up, F, gate);
    else math->swiglu(gate, up, F, gate);
}

/* y = Wdown (act(Wgate h) * Wup h) */
static void feed_forward_block(const step *f, const layer *l, team *t) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, F = l->n_ff;
    product up_gate[] = {{&l->w_up, s->up}, {&l->w_gate, s->gate}};
    multiply(m, t, up_gate, l->w_gate.data ? 2 : 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        activate(f, l, r);
        prepare(f, wants_q8(&l->w_down), s->gate + r * F, F, r);
    }
    team_barrier(t);
    multiply(m, t, &(product){&l->w_down, s->y}, 1, s->gate, F, s->act, R);
}

/* y = Wproj (gelu(Wgate h) * the layer's embedding of the token) */
static void per_layer_block(const step *f, const layer *l, team *t) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, P = m->hp.n_per_layer, i = (size_t)(l - m->layers);
    multiply(m, t, &(product){&l->per_layer_gate, s->gate}, 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        m->math->geglu(s->gate + r * P, s->per_layer + (r * m->hp.n_layer + i) * P, P,
                       s->gate + r * P);
        prepare(f, wants_q8(&l->per_layer_proj), s->gate + r * P, P, r);
    }
    team_barrier(t);
    multiply(m, t, &(product){&l->per_layer_proj, s->y}, 1, s->gate, P, s->act, R);
}

/* ---- the layers ---- */

static void run_layer(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    size_t R = f->b->n_rows, E = m->hp.n_embd;
    bool parallel = m->hp.arch->parallel, per_layer = l->per_layer_gate.data != NULL;
    const norm_weights none = {0};

    bool q8 =
        wants_q8(&l->wq) || (l->wk.data && wants_q8(&l->wk)) || (l->wv.data && wants_q8(&l->wv));
    for (size_t r; (r = team_claim(t)) < R;) enter_block(f, r, &l->attn_norm, false, q8);
    team_barrier(t);
    attention_block(f, l, t, member);

    q8 = wants_q8(&l->w_up) || (l->w_gate.data && wants_q8(&l->w_gate));
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, l->bo, &l->attn_post_norm);
        enter_block(f, r, &l->ffn_norm, parallel, q8);
    }
    team_barrier(t);
    feed_forward_block(f, l, t);

    q8 = per_layer && wants_q8(&l->per_layer_gate);
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, l->b_down, &l->ffn_post_norm);
        if (per_layer) enter_block(f, r, &none, false, q8);
        else scale(m, f->s->x + r * E, E, l->output_scale);
    }
    team_barrier(t);
    if (!per_layer) return;
    per_layer_block(f, l, t);
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, NULL, &l->per_layer_norm);
        scale(m, f->s->x + r * E, E, l->output_scale);
    }
    team_barrier(t);
}

static void run_step(void *arg, team *t, size_t member) {
    step *f = arg;
    const model *m = f->m;
    size_t R = f->b->n_rows, E = m->hp.n_embd;
    for (size_t r; (r = team_claim(t)) < R;) embed(f, r);
    team_barrier(t);
    per_layer_embed(f, t);
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        if (member == 0 && f->b->stop && atomic_load(f->b->stop)) atomic_store(&f->abandoned, true);
        team_barrier(t); /* all see the same answer */
        if (atomic_load(&f->abandoned)) return;
        run_layer(f, &m->layers[i], t, member);
    }
    if (member > 0) return;
    for (size_t r = 0, i = 0; r < R; r++)
        if (f->b->rows[r].hidden)
            normalize(m, m->output_norm.weight, m->output_norm.bias, f->s->x + r * E, E,
                      f->s->hidden + i++ * E);
}

/* Neighbouring rows of one sequence, ATTENTION_ROWS at most. */
static void group_rows(forward_scratch *s, const batch *b) {
    s->n_groups = 0;
    for (size_t r = 0; r < b->n_rows; r++) {
        struct row_group *g = s->n_groups ? &s->groups[s->n_groups - 1] : NULL;
        if (g && g->count < ATTENTION_ROWS && b->rows[g->first].sequence == b->rows[r].sequence)
            g->count++;
        else s->groups[s->n_groups++] = (struct row_group){r, 1};
    }
}

pl_code forward_run(const model *m, forward_scratch *s, const batch *b, pl_error *e) {
    step f = {.m = m, .s = s, .b = b};
    group_rows(s, b);
    team_run(m->workers, run_step, &f);
    return atomic_load(&f.abandoned) ? pl_fail(e, PL_ERR_CANCELLED, "cancelled") : PL_OK;
}

/* ---- logits ---- */

typedef struct {
    const model *m;
    forward_scratch *s;
    const float *hidden;
    size_t n;
    float *out;
} head;

static void run_head(void *arg, team *t, size_t member) {
    head *a = arg;
    size_t E = a->m->hp.n_embd;
    (void)member;
    if (wants_q8(&a->m->output)) {
        for (size_t r; (r = team_claim(t)) < a->n;)
            a->m->math->quantize_q8(a->hidden + r * E, E, a->s->logit_act + r * act_q8_stride(E));
        team_barrier(t);
    }
    multiply(a->m, t, &(product){&a->m->output, a->out}, 1, a->hidden, E, a->s->logit_act, a->n);
    for (size_t r; (r = team_claim(t)) < a->n;) {
        float *l = a->out + r * a->m->hp.n_vocab;
        scale(a->m, l, a->m->hp.n_vocab, a->m->hp.logit_scale);
        if (a->m->hp.logit_softcap > 0)
            a->m->math->softcap(l, a->m->hp.n_vocab, a->m->hp.logit_softcap);
    }
}

void forward_logits(const model *m, forward_scratch *s, const float *hidden, size_t n, float *out) {
    team_run(m->workers, run_head, &(head){m, s, hidden, n, out});
}
