/* scratch.c: the memory of a step: buffers for as many rows as any step so far had, wide enough for
 * every layer. */
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/step.h"

/* Widths of a row's buffers: the widest of all layers. */
typedef struct {
    size_t q, k, v, att;        /* H D, K D, K D, H D */
    size_t inner, inner_act;    /* F, where the matrix behind wants floats, and where it does not */
    size_t chunk;               /* of F, at a time */
    size_t per_layer;           /* n_layer P */
    size_t act;                 /* of what a block reads */
    size_t operand;             /* of any product's input */
    size_t attention;           /* bytes that a member's attention needs */
    size_t parts;               /* of a span that is attended to apart; 0: none ever is */
    size_t mix, mix_gate, conv, heads;  /* of recurrent layers and gated queries */
    size_t expert_ff;           /* F of one expert */
} widths;

forward_scratch *forward_scratch_new(void) { return mem_zalloc(sizeof(forward_scratch)); }

static void free_rows(forward_scratch *s) {
    void *all[] = {s->blocks,
                   s->x,
                   s->h,
                   s->y,
                   s->per_layer,
                   s->per_layer_token,
                   s->cs[LAYER_FULL],
                   s->cs[LAYER_WINDOW],
                   s->act,
                   s->order,
                   s->groups,
                   s->choices,
                   s->expert_groups,
                   s->place_expert,
                   s->chains,
                   s->chain_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    s->blocks = s->act = NULL;
    s->x = s->h = s->y = s->cs[LAYER_FULL] = s->cs[LAYER_WINDOW] = s->per_layer =
        s->per_layer_token = NULL;
    s->order = NULL;
    s->groups = NULL;
    s->choices = NULL;
    s->expert_groups = NULL;
    s->place_expert = NULL;
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
    mem_free(s->parts);
    mem_free(s->group);
    mem_free(s);
}

/* ---- memory ---- */

static void widen(size_t *width, size_t n) {
    if (n > *width) *width = n;
}

static widths widest(const model *m) {
    size_t members = team_size(m->workers);
    widths w = {.per_layer = (size_t)m->hp.n_layer * m->hp.n_per_layer, .act = m->hp.n_embd};
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const layer *l = &m->layers[i];
        if (l->w_down.data) {
            size_t chunk = inner_chunk(l->n_ff, members);
            widen(wants_q8(&l->w_down) ? &w.inner_act : &w.inner, l->n_ff);
            widen(&w.chunk, l->n_ff < chunk ? l->n_ff : chunk);
        }
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
        if (l->attention.n_head_kv < members)
            widen(&w.parts, l->attention.n_head * attention_part_floats(&l->attention));
    }
    widen(&w.inner, m->hp.n_per_layer); /* the per-layer block's gate lies there, too */
    widen(&w.act, m->hp.n_per_layer);
    widen(&w.act, w.att);
    w.operand = w.act;
    widen(&w.operand, w.inner);
    widen(&w.operand, w.inner_act);
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

/* Memory that is cut into buffers: without a base, only counted. */
typedef struct { uint8_t *base; size_t bytes; bool overflow; } region;

static void cut(region *r, void *p_to_pointer, size_t n, size_t width, size_t item) {
    size_t count, bytes;
    uint8_t *p = r->base ? r->base + r->bytes : NULL;
    memcpy(p_to_pointer, &p, sizeof p);
    r->overflow = r->overflow || !checked_mul(n, width, &count) ||
                  !checked_mul(count, item, &bytes) ||
                  !checked_round_up(bytes, MEM_ALIGN, &bytes) ||
                  !checked_add(r->bytes, bytes, &r->bytes);
}

static void cut_mixers(const model *m, forward_scratch *s, const widths *w, size_t n, region *r) {
    size_t f = sizeof(float);
    cut(r, &s->q, n, spaced(w->q), f);
    cut(r, &s->k, n, spaced(w->k), f);
    cut(r, &s->v, n, spaced(w->v), f);
    cut(r, &s->att, n, w->att, f);
    cut(r, &s->mix, n, w->mix, f);
    cut(r, &s->mix_gate, n, w->mix_gate, f);
    if (!m->state_bytes) return;
    cut(r, &s->conv, n, w->conv, f);
    cut(r, &s->alpha, n, w->heads, f);
    cut(r, &s->beta, n, w->heads, f);
}

/* What a member has of gate and up, [2][n][chunk], on cache lines of its own. */
static void cut_chunks(const model *m, forward_scratch *s, const widths *w, size_t n, region *r) {
    size_t floats, line = MEM_ALIGN / sizeof(float);
    r->overflow = r->overflow || !checked_mul(n, w->chunk, &floats) ||
                  !checked_mul(floats, 2, &floats) || !checked_round_up(floats, line, &floats);
    s->chunk_floats = r->overflow ? 0 : floats;
    cut(r, &s->chunks, team_size(m->workers), s->chunk_floats, sizeof(float));
}

static void cut_feed_forward(const model *m, forward_scratch *s, const widths *w, size_t n,
                             size_t places, region *r) {
    size_t E = m->hp.n_embd, F = w->expert_ff, f = sizeof(float);
    cut(r, &s->inner, n, w->inner, f);
    cut(r, &s->inner_act, n, act_q8_stride(w->inner_act), 1);
    cut_chunks(m, s, w, n, r);
    if (!m->hp.n_expert) return;
    cut(r, &s->router, n, m->hp.n_expert, f);
    cut(r, &s->router_h, n, E, f);
    cut(r, &s->expert_h, places, E, f);
    cut(r, &s->expert_gate, places, F, f);
    cut(r, &s->expert_up, places, F, f);
    cut(r, &s->expert_y, places, E, f);
    cut(r, &s->expert_act, places, act_q8_stride(E > F ? E : F), 1);
}

static bool reserve_blocks(const model *m, forward_scratch *s, const widths *w, size_t n,
                           size_t places) {
    region mixers = {0}, ff = {0};
    cut_mixers(m, s, w, n, &mixers);
    cut_feed_forward(m, s, w, n, places, &ff);
    if (mixers.overflow || ff.overflow) return false;
    if (!take(&s->blocks, mixers.bytes > ff.bytes ? mixers.bytes : ff.bytes, 1, 1)) return false;
    cut_mixers(m, s, w, n, &(region){.base = s->blocks});
    cut_feed_forward(m, s, w, n, places, &(region){.base = s->blocks});
    return true;
}

static bool reserve_lists(const model *m, forward_scratch *s, size_t n, size_t places) {
    return take(&s->order, n, 1, sizeof *s->order) && take(&s->groups, n, 1, sizeof *s->groups) &&
           take(&s->choices, places, 1, sizeof *s->choices) &&
           take(&s->place_expert, places, 1, sizeof *s->place_expert) &&
           take(&s->expert_groups, m->hp.n_expert, 1, sizeof *s->expert_groups) &&
           take(&s->chains, n, 1, sizeof *s->chains) &&
           take(&s->chain_of, n, 1, sizeof *s->chain_of);
}

static bool reserve_rows(const model *m, forward_scratch *s, const widths *w, size_t n) {
    size_t E = m->hp.n_embd, f = sizeof(float), places;
    if (n <= s->rows) return true;
    free_rows(s);
    if (!checked_mul(n, m->hp.n_expert ? m->hp.n_expert_used : 0, &places) ||
        !take(&s->x, n, E, f) || !take(&s->h, n, E, f) || !take(&s->y, n, spaced(E), f) ||
        !reserve_blocks(m, s, w, n, places) ||
        !take(&s->cs[LAYER_FULL], n, m->rope[LAYER_FULL].n_rot, f) ||
        !take(&s->cs[LAYER_WINDOW], n, m->rope[LAYER_WINDOW].n_rot, f) ||
        !take(&s->per_layer, n, w->per_layer, f) ||
        !take(&s->per_layer_token, n, w->per_layer, f) ||
        !take(&s->act, n, act_q8_stride(w->act), 1) || !reserve_lists(m, s, n, places)) {
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
    if (!take(&s->attention, members, s->attention_bytes, 1) ||
        !take(&s->group, members, s->group_bytes, 1))
        return false;
    s->members = members;
    return true;
}

/* Where few rows have fewer key/value heads than there are members, spans are computed apart. */
#define SPLIT_ROWS 16

static bool reserve_parts(forward_scratch *s, const widths *w, size_t n_rows, size_t positions) {
    size_t spans = (positions + KV_SPAN - 1) / KV_SPAN, width;
    s->n_spans = w->parts && n_rows <= SPLIT_ROWS && spans > 1 ? spans : 1;
    return s->n_spans == 1 || (checked_mul(w->parts, spans, &width) &&
                               checked_mul(width, n_rows, &width) &&
                               reserve(&s->parts, &s->part_room, width, 1, sizeof(float)));
}

pl_code forward_reserve(const model *m, forward_scratch *s, size_t n_rows, size_t positions,
                        size_t n_hidden, size_t n_logits, pl_error *e) {
    widths w = widest(m);
    if (reserve_rows(m, s, &w, n_rows) && reserve_parts(s, &w, n_rows, positions) &&
        reserve(&s->hidden, &s->hidden_rows, n_hidden, m->hp.n_embd, sizeof(float)) &&
        reserve(&s->logit_act, &s->logit_rows, n_logits, act_q8_stride(m->hp.n_embd), 1) &&
        reserve_members(m, s, &w)) {
        return PL_OK;
    }
    return pl_fail(e, PL_ERR_MEMORY, "no memory for a step of %zu rows", n_rows);
}

float *forward_hidden(forward_scratch *s) { return s->hidden; }
