/* prefix.c: see prefix.h. */
#include "decode/prefix.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static size_t words(const tokenizer *t) { return (tokenizer_size(t) + 63) / 64; }
static bool bit(const uint64_t *bits, int32_t id) { return bits[id / 64] >> (id % 64) & 1; }
static void set_bit(uint64_t *bits, int32_t id) { bits[id / 64] |= UINT64_C(1) << (id % 64); }

/* User-defined tokens are text as they are written: none has a leading space in front. */
typedef enum { ALL_TOKENS, USER_DEFINED, NOT_USER_DEFINED } which_tokens;

/* Calls visit for every token that may stand at byte `at` of the text, with the byte behind it (n
 * for those that go on beyond the text), until that returns true; returns whether it did. */
typedef bool (*visitor)(prefix *p, int32_t id, size_t end);
static bool visit_these(prefix *p, size_t at, which_tokens which, visitor visit) {
    piece_range r = pieces_all(p->pieces);
    while (at < p->n && r.n != 0) {
        r = pieces_step(p->pieces, r, p->text[at++]);
        size_t n = at < p->n ? pieces_exact(p->pieces, r) : r.n;
        for (size_t i = 0; i < n; i++) {
            int32_t id = pieces_id(p->pieces, r.first + i);
            bool user = tokenizer_type(p->tok, id) == TOKEN_USER_DEFINED;
            if (bit(p->barred, id) || (which != ALL_TOKENS && user != (which == USER_DEFINED)))
                continue;
            if (visit(p, id, at)) return true;
        }
    }
    return false;
}

static bool visit_next(prefix *p, size_t at, visitor visit) {
    if (at >= p->lead) return visit_these(p, at, ALL_TOKENS, visit);
    return visit_these(p, at, NOT_USER_DEFINED, visit) ||
           visit_these(p, p->lead, USER_DEFINED, visit);
}

static bool leads_on(prefix *p, int32_t id, size_t end) {
    (void)id;
    return p->spells[end];
}

static bool may_come(prefix *p, int32_t id, size_t end) {
    if (p->spells[end]) set_bit(p->next, id);
    return false;
}

/* For the message alone: the bytes that can be reached from the beginning. */
static bool reaches(prefix *p, int32_t id, size_t end) {
    (void)id;
    p->spells[end] = true;
    return false;
}

static pl_code cannot_spell(prefix *p, pl_error *e) {
    size_t farthest = 0;
    memset(p->spells, 0, p->n + 1);
    p->spells[0] = true;
    for (size_t at = 0; at < p->n; at++)
        if (p->spells[at]) {
            farthest = at;
            visit_next(p, at, reaches);
        }
    if (farthest < p->lead) farthest = p->lead;
    return pl_fail(e, PL_ERR_ARGUMENT,
                   "the vocabulary has no tokens that spell the prefix from byte %zu of %zu on",
                   farthest - p->lead + 1, p->n - p->lead);
}

pl_code prefix_new(prefix *p, const tokenizer *t, const char *text, size_t n, bool silent,
                   const int32_t *stop_tokens, size_t n_stop_tokens, bool eog, pl_error *e) {
    tokenizer_info info = tokenizer_describe(t);
    pl_code rc = tokenizer_pieces(t, &p->pieces, e);
    if (rc) return rc;
    p->tok = t;
    p->lead = silent && info.add_space;
    p->n = n + p->lead;
    p->text = mem_array(p->n, 1);
    p->spells = mem_zarray(p->n + 1, sizeof *p->spells);
    p->barred = mem_zarray(words(t), sizeof *p->barred);
    p->next = mem_array(words(t), sizeof *p->next);
    if (!p->text || !p->spells || !p->barred || !p->next)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a prefix of %zu bytes", n);
    if (p->lead) p->text[0] = ' ';
    memcpy(p->text + p->lead, text, n);
    for (size_t i = 0; i < n_stop_tokens; i++)
        if (stop_tokens[i] >= 0 && (size_t)stop_tokens[i] < tokenizer_size(t))
            set_bit(p->barred, stop_tokens[i]);
    for (size_t i = 0; i < info.n_eog && eog; i++) set_bit(p->barred, info.eog[i]);
    p->spells[p->n] = true;
    for (size_t at = p->n; at-- > 0;) p->spells[at] = visit_next(p, at, leads_on);
    if (!p->spells[0]) return cannot_spell(p, e);
    prefix_restart(p);
    return PL_OK;
}

void prefix_free(prefix *p) {
    mem_free(p->text);
    mem_free(p->spells);
    mem_free(p->barred);
    mem_free(p->next);
    *p = (prefix){0};
}

void prefix_restart(prefix *p) {
    p->spelled = 0;
    p->open = p->n > p->lead;
}

void prefix_end(prefix *p) {
    p->spelled = 0;
    p->open = false;
}

void prefix_mask(prefix *p, float *logits) {
    if (!p->open) return;
    size_t n = tokenizer_size(p->tok);
    memset(p->next, 0, words(p->tok) * sizeof *p->next);
    visit_next(p, p->spelled, may_come);
    for (size_t id = 0; id < n; id++)
        if (!bit(p->next, (int32_t)id)) logits[id] = -INFINITY;
}

int32_t prefix_insist(prefix *p, int32_t id) {
    size_t left = p->n - p->spelled, longest = 0, shortest = SIZE_MAX;
    if (!p->open || bit(p->next, id)) return id;
    for (size_t i = 0; i < pieces_count(p->pieces); i++) {
        int32_t other = pieces_id(p->pieces, i);
        size_t size = tokenizer_piece(p->tok, other).size, spells = size < left ? size : left;
        if (!bit(p->next, other)) continue;
        if (spells < longest || (spells == longest && size >= shortest)) continue;
        id = other, longest = spells, shortest = size;
    }
    return id;
}

size_t prefix_take(prefix *p, int32_t id) {
    if (!p->open) return 0;
    gguf_string piece = tokenizer_piece(p->tok, id);
    size_t at = p->spelled, left, n;
    if (at < p->lead && piece.size != 0 &&
        (piece.data[0] != ' ' || tokenizer_type(p->tok, id) == TOKEN_USER_DEFINED))
        at = p->lead;
    left = p->n - at;
    n = piece.size < left ? piece.size : left;
    if (!tokenizer_has_text(p->tok, id) || bit(p->barred, id) ||
        memcmp(p->text + at, piece.data, n) != 0) {
        p->open = false;
        return 0;
    }
    if (at < p->lead) n -= p->lead;
    p->spelled = at + piece.size < p->n ? at + piece.size : p->n;
    p->open = p->spelled < p->n && p->spells[p->spelled];
    return n;
}

gguf_string prefix_spelled(const prefix *p, size_t from) {
    size_t end = p->spelled > p->lead ? p->spelled - p->lead : 0;
    if (from > end) from = end;
    return (gguf_string){.data = p->text ? p->text + p->lead + from : "", .size = end - from};
}
