/* experts.c: the feed-forward block of a mixture of experts (Shazeer et al. 2017). A router chooses
 * k of X experts for each row; the rows of a step are sorted by expert, so that each chosen
 * expert's weights are read once, for all the rows that chose it; then every row adds up its own,
 * in order of rank.
 *
 * The router is computed in floats, and what it chooses depends on the row alone. */
#include <math.h>
#include <string.h>

#include "model/step.h"

/* ---- choosing ---- */

/* What choices go by, and weights are made of: probabilities [X] in place of logits. */
static void probabilities(const hparams *hp, float *p) {
    size_t X = hp->n_expert;
    if (hp->router == ROUTER_SIGMOID) {
        for (size_t i = 0; i < X; i++) p[i] = (float)(1 / (1 + exp(-(double)p[i])));
        return;
    }
    double max = (double)p[0], sum = 0;
    for (size_t i = 1; i < X; i++) max = fmax(max, (double)p[i]);
    for (size_t i = 0; i < X; i++) sum += exp((double)p[i] - max);
    for (size_t i = 0; i < X; i++) p[i] = (float)(exp((double)p[i] - max) / sum);
}

/* The k largest of p + bias, the largest first, ties to the lower index; NaN is never larger.
 * Insertion: k is small. */
static void choose_largest(const float *p, const float *bias, size_t n, expert_choice *out,
                           size_t k) {
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        float value = bias ? p[i] + bias[i] : p[i];
        size_t at = have;
        while (at > 0 && value > out[at - 1].weight) at--;
        if (at == k) continue;
        if (have < k) have++;
        memmove(out + at + 1, out + at, (have - 1 - at) * sizeof *out);
        out[at] = (expert_choice){.expert = (uint32_t)i, .weight = value};
    }
}

static void choose(const step *f, const layer *l, size_t row) {
    const hparams *hp = &f->m->hp;
    const expert_weights *x = &l->experts;
    size_t X = hp->n_expert, k = hp->n_expert_used;
    float *p = f->s->router + row * X, sum = 0;
    expert_choice *c = f->s->choices + row * k;
    add_bias(f->m, p, x->b_router, X);
    probabilities(hp, p);
    choose_largest(p, x->choice_bias, X, c, k);
    for (size_t j = 0; j < k; j++) sum += c[j].weight = p[c[j].expert];
    for (size_t j = 0; j < k; j++) {
        if (hp->router_renormalized) c[j].weight /= sum;
        c[j].weight *= hp->router_scale;
        if (x->scale) c[j].weight *= x->scale[c[j].expert];
    }
}

/* Gives every choice its place: experts in order, an expert's rows in order. */
static void sort_by_expert(const step *f) {
    forward_scratch *s = f->s;
    size_t X = f->m->hp.n_expert, n = f->b->n_rows * f->m->hp.n_expert_used, at = 0, used = 0;
    expert_group *g = s->expert_groups;
    for (size_t e = 0; e < X; e++) g[e] = (expert_group){.expert = (uint32_t)e};
    for (size_t i = 0; i < n; i++) g[s->choices[i].expert].count++;
    for (size_t e = 0; e < X; e++) g[e].first = at, at += g[e].count, g[e].count = 0;
    for (size_t i = 0; i < n; i++) {
        expert_group *of = &g[s->choices[i].expert];
        s->choices[i].place = (uint32_t)(of->first + of->count++);
        s->place_expert[s->choices[i].place] = of->expert;
    }
    for (size_t e = 0; e < X; e++)
        if (g[e].count) g[used++] = g[e];
    s->n_expert_groups = used;
}

/* ---- products ---- */

/* Each group's rows times its expert's matrix. */
typedef struct { const matrix *of; float *y; } expert_product;

/* One phase, barrier included. All of the products have n_out outputs and read x (or act, the same
 * quantized). */
static void multiply_experts(const step *f, team *t, size_t member, const expert_product *p,
                             size_t n, size_t n_in, size_t n_out, const float *x,
                             const uint8_t *act) {
    const forward_scratch *s = f->s;
    size_t chunk = chunk_of(s->n_expert_groups * n * n_out, team_size(t));
    size_t chunks = (n_out + chunk - 1) / chunk, each = n * chunks;
    for (size_t c; (c = team_claim(t)) < s->n_expert_groups * each;) {
        const expert_group *g = &s->expert_groups[c / each];
        const expert_product *q = &p[c % each / chunks];
        const matrix *w = &q->of[g->expert];
        size_t begin = c % chunks * chunk, end = begin + chunk < n_out ? begin + chunk : n_out;
        const void *from = wants_q8(w) ? (const void *)(act + g->first * act_q8_stride(n_in))
                                       : x + g->first * n_in;
        multiply_outputs(f, member, w, begin, end, from, n_in, g->count, q->y + g->first * n_out,
                         n_out);
    }
    team_barrier(t);
}

/* ---- the block ---- */

/* What the router and the experts read, where it is not what the dense part read. */
static void enter_experts(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    const expert_weights *x = &l->experts;
    size_t E = m->hp.n_embd;
    const float *stream = f->s->x + row * E;
    float *h = f->s->h + row * E, *router_h = f->s->router_h + row * E;
    normalize(m, x->router_norm, NULL, stream, E, router_h);
    m->math->scale(router_h, E, 1 / sqrtf((float)E));
    normalize(m, x->norm.weight, x->norm.bias, stream, E, h);
    prepare(f, experts_want_q8(l), h, E, row);
}

/* The row's operand, at the places of its choices. */
static void send(const step *f, const layer *l, size_t row) {
    forward_scratch *s = f->s;
    size_t E = f->m->hp.n_embd, k = f->m->hp.n_expert_used, stride = act_q8_stride(E);
    bool q8 = experts_want_q8(l), floats = !wants_q8(l->experts.gate) || !wants_q8(l->experts.up);
    for (size_t j = 0; j < k; j++) {
        size_t place = s->choices[row * k + j].place;
        if (floats) memcpy(s->expert_h + place * E, s->h + row * E, E * sizeof(float));
        if (q8) memcpy(s->expert_act + place * stride, s->act + row * stride, stride);
    }
}

static void activate(const step *f, const layer *l, uint32_t expert, size_t place) {
    const model *m = f->m;
    const expert_weights *x = &l->experts;
    size_t F = x->n_ff;
    float *gate = f->s->expert_gate + place * F, *up = f->s->expert_up + place * F;
    if (x->b_gate) m->math->add(gate, x->b_gate + expert * F, F);
    if (x->b_up) m->math->add(up, x->b_up + expert * F, F);
    gate_and_up(m, gate, up, F, gate);
    if (wants_q8(x->down))
        m->math->quantize_q8(gate, F, f->s->expert_act + place * act_q8_stride(F));
}

/* y, or what is added to it: the chosen experts' results times their weights, in order of rank. */
static void collect(const step *f, const layer *l, size_t row) {
    const model *m = f->m;
    const expert_weights *x = &l->experts;
    forward_scratch *s = f->s;
    size_t E = m->hp.n_embd, k = m->hp.n_expert_used;
    float *y = s->y + row * spaced(E), *sum = s->h + row * E; /* h has been read */
    for (size_t j = 0; j < k; j++) {
        const expert_choice *c = &s->choices[row * k + j];
        float *part = s->expert_y + c->place * E;
        if (x->b_down) m->math->add(part, x->b_down + c->expert * E, E);
        m->math->scale(part, E, c->weight);
        if (j == 0) memcpy(sum, part, E * sizeof *sum);
        else m->math->add(sum, part, E);
    }
    if (x->post_norm.weight) normalize(m, x->post_norm.weight, x->post_norm.bias, sum, E, sum);
    if (l->w_down.data) m->math->add(y, sum, E);
    else memcpy(y, sum, E * sizeof *y);
}

static void count(forward_scratch *s, const layer *l, const hparams *hp) {
    const expert_weights *x = &l->experts;
    s->experts.calls += s->n_expert_groups;
    for (size_t i = 0; i < s->n_expert_groups; i++) s->experts.rows += s->expert_groups[i].count;
    s->experts.bytes += s->n_expert_groups * ((x->gate->row_bytes + x->up->row_bytes) * x->n_ff +
                                              x->down->row_bytes * hp->n_embd);
}

void experts_block(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    const expert_weights *x = &l->experts;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, F = x->n_ff, k = m->hp.n_expert_used;
    const float *router_h = x->router_norm ? s->router_h : s->h;
    if (x->router_norm) {
        for (size_t r; (r = team_claim(t)) < R;) enter_experts(f, l, r);
        team_barrier(t);
    }
    multiply(f, t, member, &(product){&x->router, s->router, SIDE_BY_SIDE}, 1, router_h, E, NULL,
             R);
    for (size_t r; (r = team_claim(t)) < R;) choose(f, l, r);
    team_barrier(t);
    if (member == 0) {
        sort_by_expert(f);
        count(s, l, &m->hp);
    }
    team_barrier(t);
    for (size_t r; (r = team_claim(t)) < R;) send(f, l, r);
    team_barrier(t);
    multiply_experts(f, t, member,
                     (expert_product[]){{x->gate, s->expert_gate}, {x->up, s->expert_up}}, 2, E, F,
                     s->expert_h, s->expert_act);
    for (size_t p; (p = team_claim(t)) < R * k;) activate(f, l, s->place_expert[p], p);
    team_barrier(t);
    multiply_experts(f, t, member, &(expert_product){x->down, s->expert_y}, 1, F, E, s->expert_gate,
                     s->expert_act);
    for (size_t r; (r = team_claim(t)) < R;) collect(f, l, r);
    team_barrier(t);
}

bool experts_want_q8(const layer *l) {
    return l->experts.n_ff && (wants_q8(l->experts.gate) || wants_q8(l->experts.up));
}

expert_counts forward_expert_counts(const forward_scratch *s) { return s->experts; }
