/* forward.c: the decoder, read top to bottom: for every layer
 *
 *     x += attention(norm(x))      q, k, v = Wq h, Wk h, Wv h, normed and rotated by some models;
 *                                  or another mixer of tokens, with a state
 *     x += feed_forward(norm(x))   Wdown (act(Wgate h) * Wup h), or Wdown act(Wup h); or experts
 *     x += per_layer(x)            in models that have per-layer embeddings
 *
 * What varies stands in the architecture's row (model/arch.c) and in the layer (model/model.h): a
 * part that a model does not have is a NULL pointer, a matrix without data or a scale of 1. The
 * blocks have files of their own (model/step.h). */
#include <math.h>
#include <string.h>

#include "model/step.h"

/* ---- products ---- */

void multiply_outputs(const step *f, size_t member, const matrix *w, size_t begin, size_t end,
                      const void *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride) {
    const kernels *math = f->m->math;
    if (w->packed || !math->packs) {
        math->matmul(w, begin, end, x, x_stride, n_rows, y, y_stride);
        return;
    }
    matrix one = *w;
    one.packed = f->s->group + member * f->s->group_bytes;
    for (size_t o = begin; o < end; o += PACKED_ROWS) {
        matrix_pack(w, o / PACKED_ROWS, 1, f->s->group + member * f->s->group_bytes);
        one.n_out = end - o < PACKED_ROWS ? end - o : PACKED_ROWS;
        math->matmul(&one, 0, one.n_out, x, x_stride, n_rows, y + o, y_stride);
    }
}

void multiply(const step *f, team *t, size_t member, const product *p, size_t n, const float *x,
              size_t x_stride, const uint8_t *act, size_t n_rows) {
    size_t outputs = 0;
    for (size_t i = 0; i < n; i++) outputs += p[i].w->n_out;
    size_t chunk = chunk_of(outputs, team_size(t));
    for (size_t c; c = team_claim(t), true;) {
        size_t i = 0;
        for (; i < n && c >= (p[i].w->n_out + chunk - 1) / chunk; i++)
            c -= (p[i].w->n_out + chunk - 1) / chunk;
        if (i == n) break;
        size_t begin = c * chunk,
               end = begin + chunk < p[i].w->n_out ? begin + chunk : p[i].w->n_out;
        multiply_outputs(f, member, p[i].w, begin, end, wants_q8(p[i].w) ? (const void *)act : x,
                         x_stride, n_rows, p[i].y,
                         p[i].layout == SPACED ? spaced(p[i].w->n_out) : p[i].w->n_out);
    }
    team_barrier(t);
}

void prepare(const step *f, bool q8, const float *x, size_t n, size_t row) {
    if (q8) f->m->math->quantize_q8(x, n, f->s->act + row * act_q8_stride(n));
}

/* ---- the step ---- */

void normalize(const model *m, const float *w, const float *b, const float *x, size_t n, float *y) {
    if (m->hp.arch->norm == NORM_RMS) m->math->rms_norm(x, w, n, m->hp.norm_eps, y);
    else m->math->layer_norm(x, w, b, n, m->hp.norm_eps, y);
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
    scale_row(m, x, E, m->hp.embedding_scale);
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
static void per_layer_embed(const step *f, team *t, size_t member) {
    const model *m = f->m;
    forward_scratch *s = f->s;
    size_t R = f->b->n_rows, E = m->hp.n_embd, P = m->hp.n_per_layer, all = m->hp.n_layer * P;
    if (!P) return;
    for (size_t r; (r = team_claim(t)) < R;)
        prepare(f, wants_q8(&m->per_layer_proj), s->x + r * E, E, r);
    team_barrier(t);
    multiply(f, t, member, &(product){&m->per_layer_proj, s->per_layer, SIDE_BY_SIDE}, 1, s->x, E,
             s->act, R);
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
    float *y = f->s->y + row * spaced(E);
    add_bias(f->m, y, bias, E);
    if (norm->weight) normalize(f->m, norm->weight, norm->bias, y, E, y);
    scale_row(f->m, y, E, f->m->hp.residual_scale);
    f->m->math->add(f->s->x + row * E, y, E);
}

/* ---- the layers ---- */

static void run_layer(const step *f, const layer *l, team *t, size_t member) {
    const model *m = f->m;
    size_t R = f->b->n_rows, E = m->hp.n_embd;
    bool parallel = m->hp.arch->parallel, per_layer = l->per_layer_gate.data != NULL;
    const norm_weights none = {0};

    bool q8 = l->mixer.kind ? mixer_wants_q8(l) : attention_wants_q8(l);
    for (size_t r; (r = team_claim(t)) < R;) enter_block(f, r, &l->attn_norm, false, q8);
    team_barrier(t);
    if (l->mixer.kind) mixer_block(f, l, t, member);
    else attention_block(f, l, t, member);

    q8 = feed_forward_wants_q8(l);
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, l->bo, &l->attn_post_norm);
        enter_block(f, r, &l->ffn_norm, parallel, q8);
    }
    team_barrier(t);
    feed_forward_block(f, l, t, member);

    q8 = per_layer && wants_q8(&l->per_layer_gate);
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, l->b_down, &l->ffn_post_norm);
        if (per_layer) enter_block(f, r, &none, false, q8);
        else scale_row(m, f->s->x + r * E, E, l->output_scale);
    }
    team_barrier(t);
    if (!per_layer) return;
    per_layer_block(f, l, t, member);
    for (size_t r; (r = team_claim(t)) < R;) {
        leave_block(f, r, NULL, &l->per_layer_norm);
        scale_row(m, f->s->x + r * E, E, l->output_scale);
    }
    team_barrier(t);
}

static bool stops(const batch_stop *s) { return s->at && atomic_load(s->at) != s->seen; }

static void run_step(void *arg, team *t, size_t member) {
    step *f = arg;
    const model *m = f->m;
    size_t R = f->b->n_rows, E = m->hp.n_embd;
    for (size_t r; (r = team_claim(t)) < R;) embed(f, r);
    team_barrier(t);
    per_layer_embed(f, t, member);
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        if (member == 0 && (stops(&f->b->stop[0]) || stops(&f->b->stop[1])))
            atomic_store(&f->abandoned, true);
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

/* Whole sequences, each with its segments. */
static void link_chains(forward_scratch *s, const batch *b) {
    s->n_chains = 0;
    for (size_t i = 0; i < b->n_segments; i++) {
        const batch_segment *part = &b->segments[i];
        row_chain *c = s->n_chains ? &s->chains[s->n_chains - 1] : NULL;
        if (!c || b->rows[c->first].sequence != b->rows[part->first].sequence)
            *(c = &s->chains[s->n_chains++]) = (row_chain){.first = part->first, .segment = i};
        c->n_segments++;
        c->count += part->count;
        for (size_t r = part->first; r < part->first + part->count; r++)
            s->chain_of[r] = s->n_chains - 1;
    }
}

static const uint8_t *first_block(const batch *b, size_t row) {
    return b->tables[b->rows[row].sequence][0];
}

/* Rows whose sequences have their first block in common, ATTENTION_ROWS at most, attend together;
 * fewer, where there would not be work for all members. */
static void group_rows(const model *m, forward_scratch *s, const batch *b) {
    size_t n = b->n_rows, most = n * m->hp.n_head_kv / (2 * team_size(m->workers));
    most = most < 1 ? 1 : most < ATTENTION_ROWS ? most : ATTENTION_ROWS;
    size_t left = 0;
    for (size_t r = 0; r < n; r++) s->order[r] = (uint32_t)r;
    for (size_t at = 0; at < n;
         at += left) { /* brings those with the same first block as `at` up to it, in their order */
        const uint8_t *block = first_block(b, s->order[at]);
        left = 1;
        for (size_t i = at + 1; i < n; i++) {
            uint32_t row = s->order[i];
            if (first_block(b, row) != block) continue;
            if (i > at + left)
                memmove(&s->order[at + left + 1], &s->order[at + left],
                        (i - at - left) * sizeof row);
            s->order[at + left++] = row;
        }
    }
    s->n_groups = 0;
    for (size_t i = 0; i < n; i++) {
        row_group *g = s->n_groups ? &s->groups[s->n_groups - 1] : NULL;
        if (g && g->count < most &&
            first_block(b, s->order[g->first]) == first_block(b, s->order[i]))
            g->count++;
        else s->groups[s->n_groups++] = (row_group){i, 1};
    }
}

pl_code forward_run(const model *m, forward_scratch *s, const batch *b, pl_error *e) {
    step f = {.m = m, .s = s, .b = b};
    group_rows(m, s, b);
    link_chains(s, b);
    team_run(m->workers, run_step, &f);
    return atomic_load(&f.abandoned) ? pl_fail(e, PL_ERR_CANCELLED, "cancelled") : PL_OK;
}

/* ---- logits ---- */

typedef struct { step f; const float *hidden; size_t n; float *out; } head;

static void run_head(void *arg, team *t, size_t member) {
    head *a = arg;
    const model *m = a->f.m;
    size_t E = m->hp.n_embd;
    if (wants_q8(&m->output)) {
        for (size_t r; (r = team_claim(t)) < a->n;)
            m->math->quantize_q8(a->hidden + r * E, E, a->f.s->logit_act + r * act_q8_stride(E));
        team_barrier(t);
    }
    multiply(&a->f, t, member, &(product){&m->output, a->out, SIDE_BY_SIDE}, 1, a->hidden, E,
             a->f.s->logit_act, a->n);
    for (size_t r; (r = team_claim(t)) < a->n;) {
        float *l = a->out + r * m->hp.n_vocab;
        scale_row(m, l, m->hp.n_vocab, m->hp.logit_scale);
        if (m->hp.logit_softcap > 0) m->math->softcap(l, m->hp.n_vocab, m->hp.logit_softcap);
    }
}

void forward_logits(const model *m, forward_scratch *s, const float *hidden, size_t n, float *out) {
    team_run(m->workers, run_head, &(head){{.m = m, .s = s}, hidden, n, out});
}
