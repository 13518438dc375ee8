/* load.c: brings a model's weights into memory; see weights_load. Matrices are packed by all
 * members of the team, a slice at a time; after each, progress is reported and the file's pages are
 * let go, so that both copies are never there. */
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/weights.h"

#define SLICE ((size_t)32 << 20)    /* bytes between two reports */
#define PAGE 4096

static pl_code report(const model_options *o, double fraction, pl_error *e) {
    if (!o->progress || o->progress(o->user, fraction)) return PL_OK;
    return pl_fail(e, PL_ERR_CANCELLED, "loading was cancelled");
}

/* ---- every matrix that is multiplied with ---- */

typedef struct { matrix **list; size_t n, room; } matrices;

static pl_code note(matrices *all, matrix *w, pl_error *e) {
    if (!w->data) return PL_OK;
    if (mem_reserve(&all->list, &all->room, all->n + 1, sizeof *all->list))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a list of matrices");
    all->list[all->n++] = w;
    return PL_OK;
}

static pl_code note_layer(matrices *all, const hparams *hp, layer *l, pl_error *e) {
    matrix *w[] = {&l->wq,
                   &l->wk,
                   &l->wv,
                   &l->wo,
                   &l->w_gate,
                   &l->w_up,
                   &l->w_down,
                   &l->mixer.in,
                   &l->mixer.gate,
                   &l->mixer.alpha,
                   &l->mixer.beta,
                   &l->mixer.out,
                   &l->per_layer_gate,
                   &l->per_layer_proj,
                   &l->experts.router};
    matrix *experts[] = {l->experts.gate, l->experts.up, l->experts.down};
    pl_code rc = PL_OK;
    for (size_t i = 0; i < sizeof w / sizeof *w && !rc; i++) rc = note(all, w[i], e);
    for (size_t i = 0; i < 3 && l->experts.n_ff; i++)
        for (uint32_t x = 0; x < hp->n_expert && !rc; x++) rc = note(all, &experts[i][x], e);
    return rc;
}

static pl_code note_all(matrices *all, model *m, pl_error *e) {
    pl_code rc = note(all, &m->output, e);
    if (!rc) rc = note(all, &m->per_layer_proj, e);
    for (uint32_t i = 0; i < m->hp.n_layer && !rc; i++)
        rc = note_layer(all, &m->hp, &m->layers[i], e);
    return rc;
}

/* ---- packing ---- */

/* Groups [first, first + n) of a matrix, and where they go. */
typedef struct { const matrix *w; size_t first, n; uint8_t *out; } portion;

#define PORTION_BYTES ((size_t)1 << 20)

typedef struct { portion *list; size_t n, room; } slice;

static void pack_portions(void *arg, team *t, size_t member) {
    slice *s = arg;
    (void)member;
    for (size_t i; (i = team_claim(t)) < s->n;)
        matrix_pack(s->list[i].w, s->list[i].first, s->list[i].n, s->list[i].out);
}

static pl_code add_portions(slice *s, const matrix *w, uint8_t *out, pl_error *e) {
    size_t bytes = matrix_group_bytes(w), at_once = PORTION_BYTES / (bytes + 1) + 1;
    for (size_t g = 0, n; g < matrix_groups(w); g += n) {
        n = matrix_groups(w) - g < at_once ? matrix_groups(w) - g : at_once;
        if (mem_reserve(&s->list, &s->room, s->n + 1, sizeof *s->list))
            return pl_fail(e, PL_ERR_MEMORY, "no memory for packing");
        s->list[s->n++] = (portion){w, g, n, out + g * bytes};
    }
    return PL_OK;
}

/* The pages of the tensors that lie within [from, to). */
static void forget(const model *m, const uint8_t *from, const uint8_t *to) {
    for (size_t i = 0; i < gguf_n_tensors(m->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(m->file, i);
        if ((const uint8_t *)t->data >= from && (const uint8_t *)t->data < to)
            gguf_forget(m->file, t);
    }
}

static pl_code pack_all(model *m, const matrices *all, const model_options *o, pl_error *e) {
    slice s = {0};
    size_t total = 0, done = 0, pending = 0, bytes;
    pl_code rc = PL_OK;
    for (size_t i = 0; i < all->n; i++)
        if (!checked_mul(matrix_group_bytes(all->list[i]), matrix_groups(all->list[i]), &bytes) ||
            !checked_add(total, bytes, &total))
            return pl_fail(e, PL_ERR_MEMORY, "the weights take more memory than there can be");
    m->packed_bytes = total;
    m->packed = mem_pages(total);
    if (!m->packed)
        return pl_fail(e, PL_ERR_MEMORY,
                       "no memory for %zu bytes of weights; repack = false needs less", total);
    for (size_t i = 0; i < all->n && !rc; i++) {
        matrix *w = all->list[i];
        if ((rc = add_portions(&s, w, m->packed + done + pending, e))) break;
        w->packed = m->packed + done + pending;
        pending += matrix_group_bytes(w) * matrix_groups(w);
        if (pending < SLICE && i + 1 < all->n) continue;
        team_run(m->workers, pack_portions, &s);
        for (size_t k = 0; k < s.n; k++)
            forget(m, s.list[k].w->data,
                   (const uint8_t *)s.list[k].w->data +
                       s.list[k].w->n_out * s.list[k].w->row_bytes);
        s.n = 0;
        done += pending;
        pending = 0;
        rc = report(o, (double)done / (double)total, e);
    }
    mem_free(s.list);
    return rc;
}

/* ---- as they are ---- */

static pl_code touch_all(const model *m, const model_options *o, pl_error *e) {
    size_t done = 0;
    volatile uint8_t sink = 0;
    pl_code rc = PL_OK;
    for (size_t i = 0; i < gguf_n_tensors(m->file) && !rc; i++) {
        const gguf_tensor *t = gguf_tensor_at(m->file, i);
        if (weights_other_part(m, t->name)) continue;
        for (size_t at = 0; at < t->n_bytes && !rc; at += SLICE) {
            size_t n = t->n_bytes - at < SLICE ? t->n_bytes - at : SLICE;
            for (size_t k = 0; k < n; k += PAGE) sink = ((const uint8_t *)t->data)[at + k];
            done += n;
            rc = report(o, (double)done / (double)m->n_bytes, e);
        }
    }
    (void)sink;
    return rc;
}

pl_code weights_load(model *m, const model_options *o, pl_error *e) {
    matrices all = {0};
    pl_code rc = report(o, 0, e);
    if (rc) return rc;
    if (!m->math->packs || o->no_pack) return touch_all(m, o, e);
    if (!(rc = note_all(&all, m, e))) rc = pack_all(m, &all, o, e);
    mem_free(all.list);
    return rc;
}
