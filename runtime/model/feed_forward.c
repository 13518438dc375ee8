/* feed_forward.c: the feed-forward block: a dense part, experts (experts.c), or both; and the block
 * of a layer's own embedding of the token. */
#include <math.h>

#include "model/step.h"

void gate_and_up(const model *m, float *gate, const float *up, size_t n, bool gated) {
    const kernels *math = m->math;
    if (!gated) math->gelu(up, n, gate);
    else if (m->hp.arch->activation == ACTIVATION_GELU) math->geglu(gate, up, n, gate);
    else if (m->hp.arch->activation == ACTIVATION_CLAMPED) math->swiglu_clamped(gate, up, n, gate);
    else math->swiglu(gate, up, n, gate);
}

static void activate(const step *f, const layer *l, size_t row) {
    size_t F = l->n_ff;
    float *gate = f->s->gate + row * F, *up = f->s->up + row * F;
    add_bias(f->m, gate, l->b_gate, F);
    add_bias(f->m, up, l->b_up, F);
    gate_and_up(f->m, gate, up, F, l->w_gate.data != NULL);
}

/* Beside experts: y = norm(y), or y = sigmoid(w . h) y; and h's quantized form is there again. */
static void finish_dense(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    size_t E = m->hp.n_embd;
    float *y = f->s->y + row * E, *h = f->s->h + row * E;
    if (l->dense_gate) m->math->scale(y, E, 1 / (1 + expf(-m->math->dot(l->dense_gate, h, E))));
    if (l->dense_post_norm.weight)
        normalize(m, l->dense_post_norm.weight, l->dense_post_norm.bias, y, E, y);
    prepare(f, experts_want_q8(l), h, E, row);
}

/* y = Wdown (act(Wgate h) * Wup h) */
static void dense_part(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, F = l->n_ff;
    product up_gate[] = {{&l->w_up, s->up}, {&l->w_gate, s->gate}};
    multiply(f, t, member, up_gate, l->w_gate.data ? 2 : 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        activate(f, l, r);
        prepare(f, wants_q8(&l->w_down), s->gate + r * F, F, r);
    }
    team_barrier(t);
    multiply(f, t, member, &(product){&l->w_down, s->y}, 1, s->gate, F, s->act, R);
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
    multiply(f, t, member, &(product){&l->per_layer_gate, s->gate}, 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        m->math->geglu(s->gate + r * P, s->per_layer + (r * m->hp.n_layer + i) * P, P,
                       s->gate + r * P);
        prepare(f, wants_q8(&l->per_layer_proj), s->gate + r * P, P, r);
    }
    team_barrier(t);
    multiply(f, t, member, &(product){&l->per_layer_proj, s->y}, 1, s->gate, P, s->act, R);
}

bool feed_forward_wants_q8(const layer *l) {
    return (l->w_up.data && wants_q8(&l->w_up)) || (l->w_gate.data && wants_q8(&l->w_gate)) ||
           experts_want_q8(l);
}
