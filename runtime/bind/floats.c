/* floats.c: where rows of logits and probabilities get their floats. A row takes them from its
 * state's pool and gives them back when it is closed or collected: a script that makes a row per
 * token reuses a few. Lua's collector does not see them, and is told of those that had to be
 * allocated (as if Lua had), so that rows which a script drops come back in time. */
#include "bind/bind.h"

#include "base/checked.h"
#include "base/mem.h"

#define POOL_BYTES ((size_t)64 << 20) /* most that lies idle in a state's pool */
#define POOL_SIZES 8                  /* lengths of rows that it keeps apart */

/* What lies in front of a row's floats, in its own cache line. */
typedef struct buffer buffer;
struct buffer {
    buffer *next;
};
#define HEADER MEM_ALIGN

struct float_pool {
    struct {
        size_t n; /* floats of a row; 0: free for another length */
        buffer *first;
    } sizes[POOL_SIZES];
    size_t idle;      /* bytes */
    row_handle *open; /* rows with floats of this pool */
    row_scratch scratch;
    bool closed;
};

static float *floats_of(buffer *b) { return (float *)(void *)((char *)b + HEADER); }
static buffer *buffer_of(float *l) { return (buffer *)(void *)((char *)l - HEADER); }

static void empty_size(float_pool *p, size_t i) {
    for (buffer *b = p->sizes[i].first, *next; b != NULL; b = next) {
        next = b->next;
        p->idle -= p->sizes[i].n * sizeof(float);
        mem_free(b);
    }
    p->sizes[i].first = NULL;
    p->sizes[i].n = 0;
}

static void close_row(row_handle *h);

/* Rows that finalizers make while their state is closing have none themselves: the pool, which goes
 * last, closes them. */
static int pool_gc(lua_State *L) {
    float_pool *p = luaL_testudata(L, 1, FLOATS_TYPE);
    if (p == NULL) return 0;
    while (p->open != NULL) close_row(p->open);
    for (size_t i = 0; i < POOL_SIZES; i++) empty_size(p, i);
    row_scratch_free(&p->scratch);
    p->closed = true;
    return 0;
}

static float *take_idle(float_pool *p, size_t n) {
    for (size_t i = 0; i < POOL_SIZES; i++) {
        buffer *b = p->sizes[i].first;
        if (p->sizes[i].n != n || b == NULL) continue;
        p->sizes[i].first = b->next;
        p->idle -= n * sizeof(float);
        return floats_of(b);
    }
    return NULL;
}

/* Beyond what may lie idle, other lengths go first: a script has changed to another model. */
static void give_back(float_pool *p, float *l, size_t n) {
    size_t bytes = n * sizeof(float), at = POOL_SIZES;
    for (size_t i = 0; i < POOL_SIZES; i++)
        if (p->sizes[i].n == n || (p->sizes[i].n == 0 && at == POOL_SIZES)) at = i;
    if (at == POOL_SIZES) at = 0;
    if (p->sizes[at].n != n) empty_size(p, at);
    for (size_t i = 0; i < POOL_SIZES && p->idle + bytes > POOL_BYTES; i++)
        if (i != at) empty_size(p, i);
    if (p->closed || p->idle + bytes > POOL_BYTES) {
        mem_free(buffer_of(l));
        return;
    }
    buffer_of(l)->next = p->sizes[at].first;
    p->sizes[at].first = buffer_of(l);
    p->sizes[at].n = n;
    p->idle += bytes;
}

static float *take(lua_State *L, float_pool *p, size_t n) {
    size_t bytes;
    float *l = take_idle(p, n);
    buffer *b;
    if (l != NULL) return l;
    if (p->closed) bind_raise(L, PL_ERR_CLOSED, "the Lua state is closing");
    if (!checked_mul(n, sizeof(float), &bytes) || !checked_add(bytes, HEADER, &bytes))
        bind_raise(L, PL_ERR_MEMORY, "a row of %I floats does not fit memory", (lua_Integer)n);
    bind_charge_bytes(L, bytes);
    if ((l = take_idle(p, n)) != NULL) return l; /* one was collected */
    if ((b = mem_aligned(bytes)) == NULL) {
        bind_collect(L);
        if ((l = take_idle(p, n)) != NULL) return l;
        if ((b = mem_aligned(bytes)) == NULL)
            bind_raise(L, PL_ERR_MEMORY, "no memory for a row of %I floats", (lua_Integer)n);
    }
    return floats_of(b);
}

/* ---- rows ---- */

/* Pushes a closed one. */
static row_handle *new_handle(lua_State *L, const char *type) {
    row_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->row.l = NULL;
    h->at = NULL;
    h->summed = h->lent = false;
    lua_getfield(L, LUA_REGISTRYINDEX, FLOATS_TYPE ".pool");
    h->pool = lua_touserdata(L, -1);
    lua_pop(L, 1);
    luaL_setmetatable(L, type);
    return h;
}

static void reserve_scratch(lua_State *L, float_pool *p, size_t n) {
    pl_error e;
    if (p->closed) bind_raise(L, PL_ERR_CLOSED, "the Lua state is closing");
    if (row_scratch_reserve(&p->scratch, n, &e) != PL_OK) bind_fail(L, &e);
}

row_handle *bind_new_row(lua_State *L, const char *type, const kernels *math, size_t n) {
    row_handle *h = new_handle(L, type);
    reserve_scratch(L, h->pool, n);
    row_open(&h->row, math, take(L, h->pool, n), n, &h->pool->scratch);
    h->next = h->pool->open;
    h->at = &h->pool->open;
    if (h->next != NULL) h->next->at = &h->next;
    h->pool->open = h;
    return h;
}

row_handle *bind_lend_logits(lua_State *L, const kernels *math, float *l, size_t n) {
    row_handle *h = new_handle(L, LOGITS_TYPE);
    reserve_scratch(L, h->pool, n);
    row_open(&h->row, math, l, n, &h->pool->scratch);
    h->lent = true;
    return h;
}

void bind_take_back(row_handle *h) { h->row.l = NULL; }

row_handle *bind_test_row(lua_State *L, int idx, const char *type) {
    return luaL_testudata(L, idx, type);
}

static const char *name_of(const char *type) { return type + sizeof "perilune." - 1; }

void bind_row_open(lua_State *L, const row_handle *h) {
    if (h->row.l != NULL) return;
    if (h->lent)
        bind_raise(L, PL_ERR_CLOSED,
                   "these logits were there for one call of a sampler: keep l:copy() of them");
    bind_raise(L, PL_ERR_CLOSED, "the row is closed");
}

row_handle *bind_check_row(lua_State *L, int arg, const char *type) {
    row_handle *h = luaL_testudata(L, arg, type);
    if (h == NULL)
        bind_arg_error(L, arg, "%s expected, got %s", name_of(type), bind_describe(L, arg));
    bind_row_open(L, h);
    return h;
}

static void close_row(row_handle *h) {
    float *l = h->row.l;
    if (h->at != NULL) {
        *h->at = h->next;
        if (h->next != NULL) h->next->at = h->at;
        h->at = NULL;
    }
    h->row.l = NULL;
    if (l != NULL && !h->lent) give_back(h->pool, l, h->row.n);
}

int bind_close_row(lua_State *L) {
    row_handle *h = luaL_testudata(L, 1, LOGITS_TYPE);
    if (h == NULL) h = luaL_testudata(L, 1, PROBS_TYPE);
    if (h == NULL) h = luaL_testudata(L, 1, HIDDEN_TYPE);
    if (h == NULL) bind_arg_error(L, 1, "a row expected, got %s", bind_describe(L, 1));
    close_row(h);
    return 0;
}

void bind_open_floats(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", pool_gc}, {NULL, NULL}};
    luaL_newmetatable(L, FLOATS_TYPE);
    luaL_setfuncs(L, meta, 0);
    lua_pop(L, 1);
    if (lua_getfield(L, LUA_REGISTRYINDEX, FLOATS_TYPE ".pool") == LUA_TNIL) {
        float_pool *p = lua_newuserdatauv(L, sizeof *p, 0);
        *p = (float_pool){0};
        luaL_setmetatable(L, FLOATS_TYPE);
        lua_setfield(L, LUA_REGISTRYINDEX, FLOATS_TYPE ".pool");
    }
    lua_pop(L, 1);
}
