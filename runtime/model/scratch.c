/* scratch.c: the memory of a step: buffers for as many rows as any step so far had, wide enough for every layer. */
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/step.h"

/* Widths of a row's buffers: the widest of all layers. */
typedef struct {
    size_t q, k, v, att, ff;    /* H D, K D, K D, H D, F */
    size_t per_layer;           /* n_layer P */
    size_t operand;             /* of any product's input */
    size_t attention;           /* bytes that a member's attention needs */
    size_t mix, mix_gate, conv, heads;  /* of recurrent layers and gated queries */
    size_t expert_ff;           /* F of one expert */
} widths;

forward_scratch *forward_scratch_new(void) { return mem_zalloc(sizeof(forward_scratch)); }

static void free_rows(forward_scratch *s) {
    void *all[] = {s->x, s->h, s->y, s->q, s->k, s->v, s->att, s->gate, s->up, s->per_layer,
                   s->per_layer_token, s->cs[LAYER_FULL], s->cs[LAYER_WINDOW], s->act, s->groups,
                   s->router, s->router_h, s->choices, s->expert_groups, s->place_expert,
                   s->expert_h, s->expert_gate, s->expert_up, s->expert_y, s->expert_act,
                   s->mix, s->mix_gate, s->conv, s->alpha, s->beta, s->chains, s->chain_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    s->x = s->h = s->y = s->q = s->k = s->v = s->att = s->gate = s->up = NULL;
    s->cs[LAYER_FULL] = s->cs[LAYER_WINDOW] = s->per_layer = s->per_layer_token = NULL;
    s->act = NULL;
    s->groups = NULL;
    s->router = s->router_h = s->expert_h = s->expert_gate = s->expert_up = s->expert_y = NULL;
    s->choices = NULL;
    s->expert_groups = NULL;
    s->place_expert = NULL;
    s->expert_act = NULL;
    s->mix = s->mix_gate = s->conv = s->alpha = s->beta = NULL;
    s->chains = NULL;
    s->chain_of = NULL;
    s->rows = 0;
}

void forward_scratch_free(forward_scratch *s) {
    if (!s) return;
    free_rows(s);
    mem_free(s->hidden);
    mem_free(s->logit_act);
    mem_free(s->attention);
    mem_free(s->group);
    mem_free(s);
}

/* ---- memory ---- */

static void widen(size_t *width, size_t n) {
    if (n > *width) *width = n;
}

static widths widest(const model *m) {
    widths w = {.per_layer = (size_t)m->hp.n_layer * m->hp.n_per_layer, .operand = m->hp.n_embd};
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const layer *l = &m->layers[i];
        widen(&w.ff, l->n_ff);
        widen(&w.expert_ff, l->experts.n_ff);
        if (l->mixer.kind) {
            size_t inner = l->mixer.out.n_in;
            widen(&w.mix, l->mixer.in.n_out);
            widen(&w.mix_gate, inner);
            widen(&w.conv, l->mixer.n_channels);
            widen(&w.heads, m->hp.n_state_heads);
            widen(&w.att, inner);
            continue;
        }
        if (l->query_gate) {
            widen(&w.mix, 2 * q_width(l));
            widen(&w.mix_gate, q_width(l));
        }
        widen(&w.q, q_width(l));
        widen(&w.k, k_width(l));
        widen(&w.v, v_width(l));
        widen(&w.att, o_width(l));
        widen(&w.attention, attention_scratch(&l->attention));
    }
    widen(&w.ff, m->hp.n_per_layer); /* the per-layer block's gate lies there, too */
    widen(&w.operand, w.att);
    widen(&w.operand, w.ff);
    widen(&w.operand, w.expert_ff);
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

static bool reserve_experts(const model *m, forward_scratch *s, const widths *w, size_t n) {
    size_t E = m->hp.n_embd, X = m->hp.n_expert, F = w->expert_ff, f = sizeof(float), places;
    if (!X) return true;
    if (!checked_mul(n, m->hp.n_expert_used, &places)) return false;
    return take(&s->router, n, X, f) && take(&s->router_h, n, E, f) &&
           take(&s->choices, places, 1, sizeof *s->choices) &&
           take(&s->expert_groups, X, 1, sizeof *s->expert_groups) &&
           take(&s->place_expert, places, 1, sizeof *s->place_expert) &&
           take(&s->expert_h, places, E, f) && take(&s->expert_gate, places, F, f) &&
           take(&s->expert_up, places, F, f) && take(&s->expert_y, places, E, f) &&
           take(&s->expert_act, places, act_q8_stride(E > F ? E : F), 1);
}

static bool reserve_mixers(const model *m, forward_scratch *s, const widths *w, size_t n) {
    size_t f = sizeof(float);
    if (!take(&s->mix, n, w->mix, f) || !take(&s->mix_gate, n, w->mix_gate, f)) return false;
    if (!m->state_bytes) return true;
    return take(&s->conv, n, w->conv, f) && take(&s->alpha, n, w->heads, f) &&
           take(&s->beta, n, w->heads, f) && take(&s->chains, n, 1, sizeof *s->chains) &&
           take(&s->chain_of, n, 1, sizeof *s->chain_of);
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
        !take(&s->groups, n, 1, sizeof *s->groups) || !reserve_experts(m, s, w, n) ||
        !reserve_mixers(m, s, w, n)) {
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

/* The most bytes that a group of rows takes when it is packed: F32 is the widest. */
static size_t group_bytes(const model *m, const widths *w) {
    return m->packed || !m->math->packs ? 0 : w->operand * PACKED_ROWS * sizeof(float) + MEM_ALIGN;
}

static bool reserve_members(const model *m, forward_scratch *s, const widths *w) {
    size_t members = team_size(m->workers);
    if (s->members == members) return true;
    s->attention_bytes = w->attention;
    s->group_bytes = (group_bytes(m, w) + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    mem_free(s->attention);
    mem_free(s->group);
    s->attention = s->group = NULL;
    if (!take(&s->attention, members, s->attention_bytes, 1) || !take(&s->group, members, s->group_bytes, 1)) return false;
    s->members = members;
    return true;
}

pl_code forward_reserve(const model *m, forward_scratch *s, size_t n_rows, size_t n_hidden,
                        size_t n_logits, pl_error *e) {
    widths w = widest(m);
    if (reserve_rows(m, s, &w, n_rows) &&
        reserve(&s->hidden, &s->hidden_rows, n_hidden, m->hp.n_embd, sizeof(float)) &&
        reserve(&s->logit_act, &s->logit_rows, n_logits, act_q8_stride(m->hp.n_embd), 1) &&
        reserve_members(m, s, &w)) {
        return PL_OK;
    }
    return pl_fail(e, PL_ERR_MEMORY, "no memory for a step of %zu rows", n_rows);
}

float *forward_hidden(forward_scratch *s) { return s->hidden; }
