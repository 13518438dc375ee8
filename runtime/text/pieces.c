/* pieces.c: see pieces.h. It owns a sorted list of ids; the bytes are the tokenizer's. */
#include "text/pieces.h"

#include <stdlib.h>

#include "base/mem.h"
#include "text/internal.h"

struct pieces {
    const tokenizer *t;
    int32_t *ids; /* [n] by their pieces' bytes, then by themselves */
    size_t n, longest;
};

typedef struct {
    gguf_string piece;
    int32_t id;
} entry;

static int by_bytes(const void *left, const void *right) {
    const entry *a = left, *b = right;
    size_t n = a->piece.size < b->piece.size ? a->piece.size : b->piece.size;
    int order = memcmp(a->piece.data, b->piece.data, n);
    if (order == 0) order = (a->piece.size > b->piece.size) - (a->piece.size < b->piece.size);
    return order != 0 ? order : (a->id > b->id) - (a->id < b->id);
}

static pl_code build(const tokenizer *t, pieces **out, pl_error *e) {
    pieces *p = mem_zalloc(sizeof *p);
    entry *list = mem_array(t->n, sizeof *list);
    if (p != NULL) p->ids = mem_array(t->n, sizeof *p->ids);
    if (p == NULL || list == NULL || p->ids == NULL) {
        mem_free(list);
        pieces_free(p);
        return pl_fail(e, PL_ERR_MEMORY, "no memory to sort %zu pieces", t->n);
    }
    p->t = t;
    for (size_t i = 0; i < t->n; i++) {
        gguf_string piece = piece_of(t, (int32_t)i);
        if (!tokenizer_has_text(t, (int32_t)i)) continue;
        list[p->n++] = (entry){piece, (int32_t)i};
        if (piece.size > p->longest) p->longest = piece.size;
    }
    qsort(list, p->n, sizeof *list, by_bytes);
    for (size_t i = 0; i < p->n; i++) p->ids[i] = list[i].id;
    mem_free(list);
    *out = p;
    return PL_OK;
}

/* The threads that share a model may all be the first: one index stays. */
pl_code tokenizer_pieces(const tokenizer *t, const pieces **out, pl_error *e) {
    pieces *known = atomic_load_explicit(&t->index->made, memory_order_acquire), *made = NULL;
    if (known == NULL) {
        pl_code code = build(t, &made, e);
        if (code != PL_OK) return code;
        if (atomic_compare_exchange_strong(&t->index->made, &known, made)) known = made;
        else pieces_free(made);
    }
    *out = known;
    return PL_OK;
}

void pieces_free(pieces *p) {
    if (p == NULL) return;
    mem_free(p->ids);
    mem_free(p);
}

size_t pieces_count(const pieces *p) { return p->n; }
size_t pieces_longest(const pieces *p) { return p->longest; }
int32_t pieces_id(const pieces *p, size_t place) { return p->ids[place]; }
piece_range pieces_all(const pieces *p) { return (piece_range){0, p->n, 0}; }

/* The byte of a piece at `depth`, or -1 behind its end. */
static int byte_at(const pieces *p, size_t place, size_t depth) {
    gguf_string piece = piece_of(p->t, p->ids[place]);
    return depth < piece.size ? (unsigned char)piece.data[depth] : -1;
}

/* The first place of the range whose byte there is at least this one. */
static size_t lower_bound(const pieces *p, piece_range r, int byte) {
    size_t low = r.first, high = r.first + r.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (byte_at(p, middle, r.depth) < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

piece_range pieces_step(const pieces *p, piece_range r, char byte) {
    int at = (unsigned char)byte;
    size_t first = lower_bound(p, r, at), end = lower_bound(p, r, at + 1);
    return (piece_range){first, end - first, r.depth + 1};
}

size_t pieces_exact(const pieces *p, piece_range r) { return lower_bound(p, r, 0) - r.first; }

size_t pieces_unfinished(const pieces *p, const int32_t *ids, size_t n) {
    size_t run = 0, bytes = 0;
    for (size_t k = 1; k <= n && tokenizer_has_text(p->t, ids[n - k]); k++) {
        piece_range r = pieces_all(p);
        if ((bytes += piece_of(p->t, ids[n - k]).size) >= p->longest) break;
        for (size_t i = n - k; i < n && r.n != 0; i++) {
            gguf_string piece = piece_of(p->t, ids[i]);
            for (size_t b = 0; b < piece.size && r.n != 0; b++)
                r = pieces_step(p, r, piece.data[b]);
        }
        if (r.n > pieces_exact(p, r)) run = k;
    }
    return run;
}
