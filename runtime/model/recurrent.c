/* recurrent.c: layers that mix tokens through a state instead of attention: gated DeltaNet (Yang et
 * al. 2024, Gated Delta Networks), Mamba-2 (Dao & Gu 2024), short convolutions (LFM2). Each is a
 * causal convolution over channels, whose state is its last inputs, and, but for the last kind, a
 * matrix for every head that a token updates and then reads.
 *
 * Prefill runs the same recurrence as decode, token after token: heads of one sequence and
 * sequences are independent, and members share those. States are read and written where the batch's
 * segments say (model/forward.h). */
#include <math.h>
#include <string.h>

#include "model/step.h"

/* ---- the convolution ---- */

static const float *state_in(const batch_segment *g, size_t at) {
    return g->in ? (const float *)(const void *)g->in + at : NULL;
}
static float *state_out(const batch_segment *g, size_t at) { return (float *)(void *)g->out + at; }

/* The convolution's input `back` rows before `row`: of this batch, or what the chain's state
 * remembers; NULL: zeros, from before the beginning. x: [R][stride]. */
static const float *input_before(const step *f, const mixer_weights *w, size_t row, size_t back,
                                 const float *x, size_t stride) {
    const row_chain *c = &f->s->chains[f->s->chain_of[row]];
    if (row - c->first >= back) return x + (row - back) * stride;
    const float *state = state_in(&f->b->segments[c->segment], w->conv_at);
    size_t before = back - (row - c->first); /* 1: the last one that it remembers */
    return state ? state + (f->m->hp.n_conv - 1 - before) * w->n_channels : NULL;
}

/* conv = sum over taps, from the oldest. */
static void convolve(const step *f, const mixer_weights *w, size_t row, const float *x,
                     size_t stride) {
    size_t W = w->n_channels, C = f->m->hp.n_conv;
    float *y = f->s->conv + row * W;
    memset(y, 0, W * sizeof *y);
    add_bias(f->m, y, w->b_conv, W);
    for (size_t j = 0; j < C; j++) {
        const float *input = input_before(f, w, row, C - 1 - j, x, stride);
        if (input) f->m->math->mul_add(y, w->conv + j * W, input, W);
    }
}

/* What the convolution remembers behind each segment; from the last one, because the first may be
 * in place. */
static void remember(const step *f, const mixer_weights *w, size_t chain, const float *x,
                     size_t stride) {
    const row_chain *c = &f->s->chains[chain];
    size_t W = w->n_channels, C = f->m->hp.n_conv;
    for (size_t i = c->n_segments; i-- > 0;) {
        const batch_segment *g = &f->b->segments[c->segment + i];
        float *out = state_out(g, w->conv_at);
        for (size_t j = 0; j + 1 < C; j++) {
            const float *input = input_before(f, w, g->first + g->count - 1, C - 2 - j, x, stride);
            if (input) memmove(out + j * W, input, W * sizeof *out);
            else memset(out + j * W, 0, W * sizeof *out);
        }
    }
}

/* ---- heads ---- */

static double softplus(double x) { return x > 30 ? x : log1p(exp(x)); }

/* x = x / max(|x|, eps) * scale */
static void normalize_length(const model *m, float *x, size_t n, float scale) {
    float length = sqrtf(m->math->dot(x, x, n));
    m->math->scale(x, n, scale / (length > m->hp.norm_eps ? length : m->hp.norm_eps));
}

/* One head of a chain: the update of every row in turn, from segment to segment. */
typedef void update(const step *f, const mixer_weights *w, size_t row, size_t head, const float *in,
                    float *out);

static void run_head(const step *f, const mixer_weights *w, size_t chain, size_t head, update *u) {
    const row_chain *c = &f->s->chains[chain];
    size_t at = w->state_at + head * f->m->hp.d_state_k * f->m->hp.d_state_v;
    for (size_t i = 0; i < c->n_segments; i++) {
        const batch_segment *g = &f->b->segments[c->segment + i];
        const float *in = state_in(g, at);
        float *out = state_out(g, at);
        for (size_t r = g->first; r < g->first + g->count; r++, in = out) u(f, w, r, head, in, out);
    }
}

/* Convolution states and all heads; barrier included. */
static void run_heads(const step *f, const mixer_weights *w, team *t, const float *x, size_t stride,
                      update *u) {
    size_t N = f->m->hp.n_state_heads, each = N + 1;
    for (size_t i; (i = team_claim(t)) < f->s->n_chains * each;) {
        if (i % each == N) remember(f, w, i / each, x, stride);
        else run_head(f, w, i / each, i % each, u);
    }
    team_barrier(t);
}

/* ---- gated DeltaNet ---- */

/* A row of conv is queries [groups][d], keys [groups][d], values [heads][d]. */
static void delta_update(const step *f, const mixer_weights *w, size_t row, size_t head,
                         const float *in, float *out) {
    const hparams *hp = &f->m->hp;
    size_t d = hp->d_state_k, N = hp->n_state_heads, G = hp->n_state_groups;
    const float *q = f->s->conv + row * w->n_channels + head % G * d, *k = q + G * d;
    const float *v = f->s->conv + row * w->n_channels + (2 * G + head) * d;
    double step_size = softplus((double)f->s->alpha[row * N + head] + (double)w->b_dt[head]);
    float decay = (float)exp((double)w->a[head] * step_size);
    float beta = (float)(1 / (1 + exp(-(double)f->s->beta[row * N + head])));
    f->m->math->delta_step(d, d, in, out, q, k, v, decay, beta, f->s->att + (row * N + head) * d);
}

static void delta_net_block(const step *f, const mixer_weights *w, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, W = w->n_channels, d = m->hp.d_state_v;
    size_t N = m->hp.n_state_heads, G = m->hp.n_state_groups;
    product in[] = {{&w->in, s->mix, SIDE_BY_SIDE},
                    {&w->gate, s->mix_gate, SIDE_BY_SIDE},
                    {&w->alpha, s->alpha, SIDE_BY_SIDE},
                    {&w->beta, s->beta, SIDE_BY_SIDE}};
    multiply(f, t, member, in, 4, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        float *c = s->conv + r * W;
        convolve(f, w, r, s->mix, W);
        m->math->sigmoid_gate(c, W, c);
        for (size_t g = 0; g < 2 * G; g++)
            normalize_length(m, c + g * d, d, g < G ? 1 / sqrtf((float)d) : 1);
    }
    team_barrier(t);
    run_heads(f, w, t, s->mix, W, delta_update);
    for (size_t r; (r = team_claim(t)) < R;) {
        float *o = s->att + r * N * d;
        for (size_t h = 0; h < N; h++)
            m->math->rms_norm(o + h * d, w->norm, d, m->hp.norm_eps, o + h * d);
        m->math->swiglu(s->mix_gate + r * N * d, o, N * d, o);
        prepare(f, wants_q8(&w->out), o, N * d, r);
    }
    team_barrier(t);
}

/* ---- Mamba-2 ---- */

/* A row of mix is gates [heads][d], then the convolution's input, then step sizes [heads]; of conv
 * it is values [heads][d], what is written by [groups][n], what is read by [groups][n]. */
static void mamba2_update(const step *f, const mixer_weights *w, size_t row, size_t head,
                          const float *in, float *out) {
    const hparams *hp = &f->m->hp;
    size_t d = hp->d_state_v, n = hp->d_state_k, N = hp->n_state_heads, G = hp->n_state_groups;
    const float *c = f->s->conv + row * w->n_channels, *x = c + head * d;
    const float *b = c + N * d + head / (N / G) * n, *read = b + G * n;
    const float *steps = f->s->mix + row * w->in.n_out + N * d + w->n_channels;
    double step_size = softplus((double)steps[head] + (double)w->b_dt[head]);
    float *scaled = f->s->mix_gate + (row * N + head) * d, *y = f->s->att + (row * N + head) * d;
    memcpy(scaled, x, d * sizeof *x);
    f->m->math->scale(scaled, d, (float)step_size);
    f->m->math->ssm_step(n, d, in, out, scaled, b, read, (float)exp(step_size * (double)w->a[head]),
                         y);
    for (size_t i = 0; i < d; i++) y[i] += w->d[head] * x[i];
}

static void mamba2_block(const step *f, const mixer_weights *w, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, W = w->n_channels, inner = w->out.n_in, stride = w->in.n_out;
    size_t group = inner / m->hp.n_state_groups;
    const float *x = s->mix + inner;
    multiply(f, t, member, &(product){&w->in, s->mix, SIDE_BY_SIDE}, 1, s->h, m->hp.n_embd,
             s->act, R);
    for (size_t r; (r = team_claim(t)) < R;) {
        convolve(f, w, r, x, stride);
        m->math->sigmoid_gate(s->conv + r * W, W, s->conv + r * W);
    }
    team_barrier(t);
    run_heads(f, w, t, x, stride, mamba2_update);
    for (size_t r; (r = team_claim(t)) < R;) {
        float *y = s->att + r * inner;
        m->math->swiglu(s->mix + r * stride, y, inner, y);
        for (size_t i = 0; i < inner; i += group)
            m->math->rms_norm(y + i, w->norm + i, group, m->hp.norm_eps, y + i);
        prepare(f, wants_q8(&w->out), y, inner, r);
    }
    team_barrier(t);
}

/* ---- short convolutions ---- */

/* A row of mix is b, c, x: conv runs over b x, and c gates what it gives. */
static void short_conv_block(const step *f, const mixer_weights *w, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, stride = 3 * E;
    multiply(f, t, member, &(product){&w->in, s->mix, SIDE_BY_SIDE}, 1, s->h, E, s->act, R);
    for (size_t r; (r = team_claim(t)) < R;)
        m->math->mul(s->mix + r * stride, s->mix + r * stride + 2 * E, E);
    team_barrier(t);
    for (size_t r; (r = team_claim(t)) < R;) {
        float *y = s->conv + r * E;
        convolve(f, w, r, s->mix, stride);
        m->math->mul(y, s->mix + r * stride + E, E);
        memcpy(s->att + r * E, y, E * sizeof *y);
        prepare(f, wants_q8(&w->out), y, E, r);
    }
    team_barrier(t);
    for (size_t c; (c = team_claim(t)) < s->n_chains;) remember(f, w, c, s->mix, stride);
    team_barrier(t);
}

/* ---- the block ---- */

void mixer_block(const step *f, const layer *l, team *t, size_t member) {
    const mixer_weights *w = &l->mixer;
    if (w->kind == MIX_DELTA_NET) delta_net_block(f, w, t, member);
    else if (w->kind == MIX_MAMBA2) mamba2_block(f, w, t, member);
    else short_conv_block(f, w, t, member);
    multiply(f, t, member, &(product){&w->out, f->s->y, SPACED}, 1, f->s->att, w->out.n_in,
             f->s->act, f->b->n_rows);
}

bool mixer_wants_q8(const layer *l) {
    const mixer_weights *w = &l->mixer;
    const matrix *all[] = {&w->in, &w->gate, &w->alpha, &w->beta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->data && wants_q8(all[i])) return true;
    return false;
}
