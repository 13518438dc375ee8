/* loop.c: see loop.h. */
#include "decode/loop.h"

#include "base/mem.h"
#include "base/system.h"

void loop_free(loop *l) {
    mem_free(l->engines);
    *l = (loop){0};
}

pl_code loop_add(loop *l, engine *g, pl_error *e) {
    if (mem_reserve(&l->engines, &l->room, l->n + 1, sizeof *l->engines))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
    l->engines[l->n++] = g;
    return PL_OK;
}

void loop_remove(loop *l, engine *g) {
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->engines[i] != g) l->engines[kept++] = l->engines[i];
    l->n = kept;
}

bool loop_step(loop *l) {
    bool any = false;
    for (size_t i = 0; i < l->n; i++)
        if (engine_step(l->engines[i])) any = true;
    return any;
}

bool loop_poll(loop *l, double seconds) {
    double until = system_seconds() + seconds;
    bool any = false;
    for (size_t i = 0; i < l->n; i++) {
        double left = until - system_seconds();
        if (engine_poll(l->engines[i], left > 0 ? left : 0)) any = true;
    }
    return any;
}

bool loop_ready(loop *l) {
    for (size_t i = 0; i < l->n; i++)
        if (engine_ready(l->engines[i])) return true;
    return false;
}
