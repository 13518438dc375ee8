/* attention.c: the attention block: queries, keys and values of every row, normed and rotated by
 * some models; keys and values go into the cache, and attention reads them from there, as
 * stored. */
#include <math.h>
#include <string.h>

#include "model/step.h"

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
    size_t n = q_width(l), D = l->attention.d_k;
    float *q = f->s->q + row * spaced(n);
    if (l->query_gate) {
        const float *both = f->s->mix + row * 2 * n;
        for (size_t h = 0; h < l->attention.n_head; h++) {
            memcpy(q + h * D, both + 2 * h * D, D * sizeof *q);
            memcpy(f->s->mix_gate + row * n + h * D, both + (2 * h + 1) * D, D * sizeof *q);
        }
    }
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
    float *k = f->s->k + row * spaced(n_k), *v = f->s->v + row * spaced(n_v);
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

/* The rows of a group, as the kernels take them: how many. */
static size_t rows_of(const step *f, const layer *l, size_t group,
                      attention_row rows[ATTENTION_ROWS]) {
    forward_scratch *s = f->s;
    row_group g = s->groups[group];
    size_t Q = q_width(l), O = o_width(l);
    for (size_t i = 0; i < g.count; i++) {
        size_t r = s->order[g.first + i];
        const batch_row *row = &f->b->rows[r];
        rows[i] = (attention_row){(const uint8_t *const *)f->b->tables[row->sequence],
                                  row->position, s->q + r * spaced(Q), s->att + r * O};
    }
    return g.count;
}

/* Each group of rows and key/value head by itself. With fewer of those than members, and many
 * positions, their spans too, which are then put together in order: the same bits. */
static void attend(const step *f, const layer *l, team *t, size_t member) {
    const attention_shape *a = &l->attention;
    const kernels *math = f->m->math;
    forward_scratch *s = f->s;
    attention_row rows[ATTENTION_ROWS];
    void *own = s->attention + member * s->attention_bytes;
    size_t K = a->n_head_kv, n = s->n_groups * K, i;
    if (s->n_spans == 1 || n >= team_size(t)) {
        while ((i = team_claim(t)) < n)
            math->attention(a, rows, rows_of(f, l, i / K, rows), i % K, own);
        return;
    }
    size_t head = a->n_head / K * attention_part_floats(a); /* floats of a row and span */
    while ((i = team_claim(t)) < n * s->n_spans) {
        size_t group = i / s->n_spans / K, kv_head = i / s->n_spans % K, span = i % s->n_spans;
        size_t count = rows_of(f, l, group, rows);
        float *parts =
            s->parts + (s->groups[group].first * K + kv_head * count) * s->n_spans * head;
        math->attention_span(a, rows, count, kv_head, span, parts + span * count * head, own);
    }
    team_barrier(t);
    while ((i = team_claim(t)) < n) {
        size_t count = rows_of(f, l, i / K, rows);
        float *parts =
            s->parts + (s->groups[i / K].first * K + i % K * count) * s->n_spans * head;
        math->attention_merge(a, rows, count, i % K, s->n_spans, parts, own);
    }
}

/* y = Wo attention(Wq h, keys, values) */
void attention_block(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, O = o_width(l);
    product qkv[] = {{&l->wq, s->q, SPACED}, {&l->wk, s->k, SPACED}, {&l->wv, s->v, SPACED}};
    if (l->query_gate) qkv[0] = (product){&l->wq, s->mix, SIDE_BY_SIDE};
    multiply(f, t, member, qkv, l->wv.data ? 3 : l->wk.data ? 2 : 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        finish_queries(f, l, r);
        if (l->wk.data) finish_keys_and_values(f, l, r);
    }
    team_barrier(t);
    attend(f, l, t, member);
    team_barrier(t);
    if (wants_q8(&l->wo) || l->query_gate) {
        for (size_t r; (r = team_claim(t)) < R;) {
            if (l->query_gate) m->math->sigmoid_gate(s->mix_gate + r * O, O, s->att + r * O);
            prepare(f, wants_q8(&l->wo), s->att + r * O, O, r);
        }
        team_barrier(t);
    }
    multiply(f, t, member, &(product){&l->wo, s->y, SPACED}, 1, s->att, O, s->act, R);
}

bool attention_wants_q8(const layer *l) {
    return wants_q8(&l->wq) || (l->wk.data && wants_q8(&l->wk)) || (l->wv.data && wants_q8(&l->wv));
}
