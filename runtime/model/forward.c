/* forward.c: the decoder, read top to bottom: for every layer
 *
 *     x += Wo attention(rope(Wq norm(x)), rope(Wk norm(x)), Wv norm(x))
 *     x += Wdown (silu(Wgate norm(x)) * Wup norm(x))
 *
 * All members of the team run the same code. A phase is either over rows (norms, rotations: cheap) or over chunks of a
 * matrix's outputs (where the time goes); a barrier ends it. What a row computes depends on its own sequence alone: not on
 * its place in the batch, the chunks, or the number of members. */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

/* Sizes in rows, and the buffers that hold them. R: rows of the batch. */
struct forward_scratch {
    size_t rows, hidden_rows, logit_rows, members;
    float *x;           /* [R][E] the residual stream */
    float *h;           /* [R][E] its norm, and what a block adds to x */
    float *q, *k, *v;   /* [R][H D], [R][K D], [R][K D] */
    float *att;         /* [R][H D] */
    float *gate, *up;   /* [R][F] */
    float *cs;          /* [R][n_rot / 2][2] cos and sin of each row's position */
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
    void *all[] = {s->x, s->h, s->q, s->k, s->v, s->att, s->gate, s->up, s->cs, s->act, s->groups};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    s->x = s->h = s->q = s->k = s->v = s->att = s->gate = s->up = s->cs = NULL;
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

static size_t max3(size_t a, size_t b, size_t c) {
    size_t m = a > b ? a : b;
    return m > c ? m : c;
}

static size_t q_width(const hparams *hp) { return (size_t)hp->n_head * hp->d_k; }
static size_t o_width(const hparams *hp) { return (size_t)hp->n_head * hp->d_v; }

/* The widest row that a product takes. */
static size_t widest(const hparams *hp) { return max3(hp->n_embd, o_width(hp), hp->n_ff); }

static bool take(void *p_to_pointer, size_t n, size_t width, size_t item) {
    size_t count, bytes;
    void *p = checked_mul(n, width, &count) && checked_mul(count, item, &bytes) ? mem_aligned(bytes ? bytes : 1) : NULL;
    memcpy(p_to_pointer, &p, sizeof p);
    return p != NULL;
}

static bool reserve_rows(const model *m, forward_scratch *s, size_t n) {
    const hparams *hp = &m->hp;
    if (n <= s->rows) return true;
    free_rows(s);
    if (!take(&s->x, n, hp->n_embd, sizeof(float)) || !take(&s->h, n, hp->n_embd, sizeof(float)) ||
        !take(&s->q, n, q_width(hp), sizeof(float)) ||
        !take(&s->k, n, (size_t)hp->n_head_kv * hp->d_k, sizeof(float)) ||
        !take(&s->v, n, (size_t)hp->n_head_kv * hp->d_v, sizeof(float)) ||
        !take(&s->att, n, o_width(hp), sizeof(float)) || !take(&s->gate, n, hp->n_ff, sizeof(float)) ||
        !take(&s->up, n, hp->n_ff, sizeof(float)) || !take(&s->cs, n, hp->n_rot, sizeof(float)) ||
        !take(&s->act, n, act_q8_stride(widest(hp)), 1) || !take(&s->groups, n, 1, sizeof *s->groups)) {
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

pl_code forward_reserve(const model *m, forward_scratch *s, size_t n_rows, size_t n_hidden, size_t n_logits, pl_error *e) {
    size_t bytes = attention_scratch(&m->layers[0].attention);
    if (reserve_rows(m, s, n_rows) && reserve(&s->hidden, &s->hidden_rows, n_hidden, m->hp.n_embd, sizeof(float)) &&
        reserve(&s->logit_act, &s->logit_rows, n_logits, act_q8_stride(m->hp.n_embd), 1) &&
        reserve(&s->attention, &s->members, team_size(m->workers), bytes, 1)) {
        s->attention_bytes = bytes;
        return PL_OK;
    }
    return pl_fail(e, PL_ERR_MEMORY, "no memory for a step of %zu rows", n_rows);
}

/* ---- products ---- */

/* Products of the same rows with several matrices, split into chunks of outputs that members claim. */
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
static void multiply(const model *m, team *t, const product *p, size_t n, const float *x, size_t x_stride,
                     const uint8_t *act, size_t n_rows) {
    size_t chunk = chunk_outputs(p, n, team_size(t));
    for (size_t c; c = team_claim(t), true;) {
        size_t i = 0;
        for (; i < n && c >= (p[i].w->n_out + chunk - 1) / chunk; i++) c -= (p[i].w->n_out + chunk - 1) / chunk;
        if (i == n) break;
        size_t begin = c * chunk, end = begin + chunk < p[i].w->n_out ? begin + chunk : p[i].w->n_out;
        bool q8 = matrix_act_kind(p[i].w->type) == ACT_Q8;
        m->math->matmul(p[i].w, begin, end, q8 ? (const void *)act : x, x_stride, n_rows, p[i].y, p[i].w->n_out);
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

static void prepare(const model *m, forward_scratch *s, const float *x, size_t n, size_t row) {
    m->math->quantize_q8(x, n, s->act + row * act_q8_stride(n));
}

static void embed(const step *f, size_t row) {
    const model *m = f->m;
    const matrix *w = &m->embedding;
    const batch_row *r = &f->b->rows[row];
    weight_format_of(w->type)->to_float((const uint8_t *)w->data + (size_t)r->token * w->row_bytes,
                                        f->s->x + row * m->hp.n_embd, m->hp.n_embd);
    float *cs = f->s->cs + row * m->hp.n_rot;
    for (size_t i = 0; i < m->hp.n_rot / 2; i++) {
        double a = r->position * m->rope_freq[i];
        cs[2 * i] = (float)cos(a);
        cs[2 * i + 1] = (float)sin(a);
    }
}

static void add_bias(const model *m, float *x, const float *bias, size_t n) {
    if (bias) m->math->add(x, bias, n);
}

/* Biases and RoPE; then the row's keys and values go into the cache. */
static void rotate_and_store(const step *f, const layer *l, size_t row) {
    const hparams *hp = &f->m->hp;
    forward_scratch *s = f->s;
    const batch_row *r = &f->b->rows[row];
    size_t nq = q_width(hp), nk = (size_t)hp->n_head_kv * hp->d_k, nv = (size_t)hp->n_head_kv * hp->d_v;
    float *q = s->q + row * nq, *k = s->k + row * nk, *v = s->v + row * nv, *cs = s->cs + row * hp->n_rot;
    add_bias(f->m, q, l->bq, nq);
    add_bias(f->m, k, l->bk, nk);
    add_bias(f->m, v, l->bv, nv);
    f->m->math->rope(q, hp->n_head, hp->d_k, hp->n_rot, cs, hp->arch->rope_interleaved);
    f->m->math->rope(k, hp->n_head_kv, hp->d_k, hp->n_rot, cs, hp->arch->rope_interleaved);
    if (r->store)
        f->m->math->kv_store(&l->attention, f->b->tables[r->sequence][r->position / KV_TILE], r->position % KV_TILE, k, v);
}

static void attend(const step *f, const layer *l, size_t group, size_t kv_head, size_t member) {
    const hparams *hp = &f->m->hp;
    forward_scratch *s = f->s;
    struct row_group g = s->groups[group];
    uint32_t position[ATTENTION_ROWS];
    for (size_t i = 0; i < g.count; i++) position[i] = f->b->rows[g.first + i].position;
    f->m->math->attention(&l->attention, (const uint8_t *const *)f->b->tables[f->b->rows[g.first].sequence], position,
                          g.count, kv_head, s->q + g.first * q_width(hp), q_width(hp), s->att + g.first * o_width(hp),
                          o_width(hp), s->attention + member * s->attention_bytes);
}

static void run_layer(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, F = m->hp.n_ff, O = o_width(&m->hp);

    bool q8 = wants_q8(&l->wq) || wants_q8(&l->wk) || wants_q8(&l->wv);
    for (size_t r; (r = team_claim(t)) < R;) {
        m->math->rms_norm(s->x + r * E, l->attn_norm, E, m->hp.rms_eps, s->h + r * E);
        if (q8) prepare(m, s, s->h + r * E, E, r);
    }
    team_barrier(t);
    product qkv[] = {{&l->wq, s->q}, {&l->wk, s->k}, {&l->wv, s->v}};
    multiply(m, t, qkv, 3, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) rotate_and_store(f, l, r);
    team_barrier(t);
    for (size_t i, K = m->hp.n_head_kv; (i = team_claim(t)) < s->n_groups * K;) attend(f, l, i / K, i % K, member);
    team_barrier(t);
    if (wants_q8(&l->wo)) {
        for (size_t r; (r = team_claim(t)) < R;) prepare(m, s, s->att + r * O, O, r);
        team_barrier(t);
    }
    multiply(m, t, &(product){&l->wo, s->h}, 1, s->att, O, s->act, R);

    q8 = wants_q8(&l->w_gate) || wants_q8(&l->w_up);
    for (size_t r; (r = team_claim(t)) < R;) {
        add_bias(m, s->h + r * E, l->bo, E);
        m->math->add(s->x + r * E, s->h + r * E, E);
        m->math->rms_norm(s->x + r * E, l->ffn_norm, E, m->hp.rms_eps, s->h + r * E);
        if (q8) prepare(m, s, s->h + r * E, E, r);
    }
    team_barrier(t);
    multiply(m, t, (product[]){{&l->w_gate, s->gate}, {&l->w_up, s->up}}, 2, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        m->math->swiglu(s->gate + r * F, s->up + r * F, F, s->gate + r * F);
        if (wants_q8(&l->w_down)) prepare(m, s, s->gate + r * F, F, r);
    }
    team_barrier(t);
    multiply(m, t, &(product){&l->w_down, s->h}, 1, s->gate, F, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) m->math->add(s->x + r * E, s->h + r * E, E);
    team_barrier(t);
}

static void run_step(void *arg, team *t, size_t member) {
    step *f = arg;
    const model *m = f->m;
    size_t R = f->b->n_rows, E = m->hp.n_embd;
    for (size_t r; (r = team_claim(t)) < R;) embed(f, r);
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        if (member == 0 && f->b->stop && atomic_load(f->b->stop)) atomic_store(&f->abandoned, true);
        team_barrier(t); /* all see the same answer */
        if (atomic_load(&f->abandoned)) return;
        run_layer(f, &m->layers[i], t, member);
    }
    if (member > 0) return;
    for (size_t r = 0, i = 0; r < R; r++)
        if (f->b->rows[r].hidden) m->math->rms_norm(f->s->x + r * E, m->output_norm, E, m->hp.rms_eps, f->s->hidden + i++ * E);
}

/* Neighbouring rows of one sequence, ATTENTION_ROWS at most. */
static void group_rows(forward_scratch *s, const batch *b) {
    s->n_groups = 0;
    for (size_t r = 0; r < b->n_rows; r++) {
        struct row_group *g = s->n_groups ? &s->groups[s->n_groups - 1] : NULL;
        if (g && g->count < ATTENTION_ROWS && b->rows[g->first].sequence == b->rows[r].sequence) g->count++;
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

typedef struct { const model *m; forward_scratch *s; const float *hidden; size_t n; float *out; } head;

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
}

void forward_logits(const model *m, forward_scratch *s, const float *hidden, size_t n, float *out) {
    team_run(m->workers, run_head, &(head){m, s, hidden, n, out});
}
