/* states.c: see states.h. */
#include "cache/states.h"

#include <string.h>

#include "base/mem.h"

/* How many lie at or before the position. */
static size_t count_before(const snapshots *s, size_t position) {
    size_t n = s->n;
    while (n > 0 && s->list[n - 1].position > position) n--;
    return n;
}

const snapshot *snapshots_before(const snapshots *s, size_t position) {
    size_t n = count_before(s, position);
    return n ? &s->list[n - 1] : NULL;
}

void snapshots_put(snapshots *s, kv_pool *p, size_t position, kv_block *state) {
    size_t at = count_before(s, position);
    bool there = at && s->list[at - 1].position == position;
    if (there || mem_reserve(&s->list, &s->room, s->n + 1, sizeof *s->list)) {
        pool_drop(p, state);
        return;
    }
    memmove(s->list + at + 1, s->list + at, (s->n - at) * sizeof *s->list);
    s->list[at] = (snapshot){position, state};
    s->n++;
}

kv_block *snapshots_remove(snapshots *s, size_t i) {
    kv_block *state = s->list[i].state;
    s->n--;
    memmove(s->list + i, s->list + i + 1, (s->n - i) * sizeof *s->list);
    return state;
}

void snapshots_cut(snapshots *s, kv_pool *p, size_t position) {
    while (s->n > 0 && s->list[s->n - 1].position > position)
        pool_drop(p, snapshots_remove(s, s->n - 1));
}

void snapshots_free(snapshots *s, kv_pool *p) {
    while (s->n > 0) pool_drop(p, snapshots_remove(s, s->n - 1));
    mem_free(s->list);
    *s = (snapshots){0};
}
