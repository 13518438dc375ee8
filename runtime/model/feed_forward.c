/* feed_forward.c: the feed-forward block: a dense part, experts (experts.c), or both; and the block
 * of a layer's own embedding of the token. */
#include <math.h>

#include "model/step.h"

void gate_and_up(const model *m, const float *gate, const float *up, size_t n, float *y) {
    const kernels *math = m->math;
    if (!gate) math->gelu(up, n, y);
    else if (m->hp.arch->activation == ACTIVATION_GELU) math->geglu(gate, up, n, y);
    else if (m->hp.arch->activation == ACTIVATION_CLAMPED) math->swiglu_clamped(gate, up, n, y);
    else math->swiglu(gate, up, n, y);
}

/* Outputs [begin, end) of a matrix that reads h: y [R][end - begin]. */
static void multiply_h(const step *f, size_t member, const matrix *w, size_t begin, size_t end,
                       float *y) {
    const matrix part = matrix_outputs(w, begin, end);
    const forward_scratch *s = f->s;
    multiply_outputs(f, member, &part, 0, part.n_out, wants_q8(w) ? (const void *)s->act : s->h,
                     f->m->hp.n_embd, f->b->n_rows, y, part.n_out);
}

/* act(Wgate h) * Wup h, of the outputs [begin, end) and every row, as Wdown wants it. */
static void inner_part(const step *f, const layer *l, size_t member, size_t begin, size_t end) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, F = l->n_ff, n = end - begin;
    bool gated = l->w_gate.data != NULL, q8 = wants_q8(&l->w_down);
    float *up = s->chunks + member * s->chunk_floats, *gate = up + R * n;
    multiply_h(f, member, &l->w_up, begin, end, up);
    if (gated) multiply_h(f, member, &l->w_gate, begin, end, gate);
    for (size_t r = 0; r < R; r++, up += n, gate += n) {
        float *y = !q8 ? s->inner + r * F + begin : gated ? gate : up;
        if (gated) add_bias(m, gate, l->b_gate ? l->b_gate + begin : NULL, n);
        add_bias(m, up, l->b_up ? l->b_up + begin : NULL, n);
        gate_and_up(m, gated ? gate : NULL, up, n, y);
        if (q8)
            m->math->quantize_q8(
                y, n, s->inner_act + r * act_q8_stride(F) + begin / ACT_BLOCK * sizeof(act_block));
    }
}

/* Beside experts: y = norm(y), or y = sigmoid(w . h) y; and h's quantized form is there again. */
static void finish_dense(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    size_t E = m->hp.n_embd;
    float *y = f->s->y + row * spaced(E), *h = f->s->h + row * E;
    if (l->dense_gate) m->math->scale(y, E, 1 / (1 + expf(-m->math->dot(l->dense_gate, h, E))));
    if (l->dense_post_norm.weight)
        normalize(m, l->dense_post_norm.weight, l->dense_post_norm.bias, y, E, y);
    prepare(f, experts_want_q8(l), h, E, row);
}

/* y = Wdown (act(Wgate h) * Wup h) */
static void dense_part(const step *f, const layer *l, team *t, size_t member) {
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, F = l->n_ff, chunk = inner_chunk(F, team_size(t));
    for (size_t c; (c = team_claim(t) * chunk) < F;)
        inner_part(f, l, member, c, F - c < chunk ? F : c + chunk);
    team_barrier(t);
    multiply(f, t, member, &(product){&l->w_down, s->y, SPACED}, 1, s->inner, F, s->inner_act, R);
    if (!l->experts.n_ff) return;
    for (size_t r; (r = team_claim(t)) < R;) finish_dense(f, l, r);
    team_barrier(t);
}

void feed_forward_block(const step *f, const layer *l, team *t, size_t member) {
    if (l->w_down.data) dense_part(f, l, t, member);
    if (l->experts.n_ff) experts_block(f, l, t, member);
}

/* y = Wproj (gelu(Wgate h) * the layer's embedding of the token) */
void per_layer_block(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, P = m->hp.n_per_layer, i = (size_t)(l - m->layers);
    multiply(f, t, member, &(product){&l->per_layer_gate, s->inner, SIDE_BY_SIDE}, 1, s->h, E,
             s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        m->math->geglu(s->inner + r * P, s->per_layer + (r * m->hp.n_layer + i) * P, P,
                       s->inner + r * P);
        prepare(f, wants_q8(&l->per_layer_proj), s->inner + r * P, P, r);
    }
    team_barrier(t);
    multiply(f, t, member, &(product){&l->per_layer_proj, s->y, SPACED}, 1, s->inner, P, s->act, R);
}

bool feed_forward_wants_q8(const layer *l) {
    return (l->w_up.data && wants_q8(&l->w_up)) || (l->w_gate.data && wants_q8(&l->w_gate)) ||
           experts_want_q8(l);
}
