/* feed_forward.c: the feed-forward block, and the block of a layer's own embedding of the token. */
#include "model/step.h"

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
void feed_forward_block(const step *f, const layer *l, team *t) {
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
void per_layer_block(const step *f, const layer *l, team *t) {
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

bool feed_forward_wants_q8(const layer *l) {
    return wants_q8(&l->w_up) || (l->w_gate.data && wants_q8(&l->w_gate));
}
