/* probs.c: probabilities as a Lua value: l:probs(), and what arithmetic makes of them. They are
 * plain numbers, negative ones too: (p - q):clamp(0):sample(rng) says what it does. Sampling
 * normalises; nothing else does. */
#include "bind/bind.h"

#include <float.h>
#include <string.h>

static row_handle *check_probs(lua_State *L, int arg) { return bind_check_row(L, arg, PROBS_TYPE); }

int bind_probs(lua_State *L) {
    row_handle *l = bind_check_row(L, 1, LOGITS_TYPE);
    row_handle *p = bind_new_row(L, PROBS_TYPE, l->row.math, l->row.n);
    bind_row_open(L, l);
    logits_probs(l->row.math, l->row.l, l->row.n, p->row.l);
    return 1;
}

/* p[id], and the methods, which a closed one has, too */
static int probs_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER || bind_test_row(L, 1, PROBS_TYPE) == NULL) {
        const logits_row *r = &check_probs(L, 1)->row;
        lua_pushnumber(L, (lua_Number)r->l[bind_id_arg(L, 2, r->n)]);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int probs_newindex(lua_State *L) {
    return bind_raise(L, PL_ERR_ARGUMENT,
                      "probabilities cannot be assigned: + - * and clamp make new ones (%s)",
                      bind_describe(L, 2));
}

static int probs_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_probs(L, 1)->row.n);
    return 1;
}

static int probs_tostring(lua_State *L) {
    row_handle *h = bind_test_row(L, 1, PROBS_TYPE);
    if (h == NULL || h->row.l == NULL)
        lua_pushliteral(L, "probs (closed)");
    else
        lua_pushfstring(L, "probs (%I tokens)", (lua_Integer)h->row.n);
    return 1;
}

static int probs_add(lua_State *L) { return bind_sum_rows(L, PROBS_TYPE, "+", 1, 0); }
static int probs_sub(lua_State *L) { return bind_sum_rows(L, PROBS_TYPE, "-", -1, 0); }

static int probs_mul(lua_State *L) {
    float by;
    row_handle *copy = bind_copy_for_product(L, PROBS_TYPE, &by);
    copy->row.math->logits_scale(copy->row.l, copy->row.n, by);
    return 1;
}

/* p:clamp(least [, most]): in place */
static int method_clamp(lua_State *L) {
    logits_row *r = &check_probs(L, 1)->row;
    const char *allowed = "a finite number";
    float least = (float)bind_number_arg(L, 2, -FLT_MAX, FLT_MAX, allowed, "the least");
    float most = lua_isnoneornil(L, 3)
                     ? FLT_MAX
                     : (float)bind_number_arg(L, 3, -FLT_MAX, FLT_MAX, allowed, "the most");
    for (size_t i = 0; i < r->n; i++)
        r->l[i] = r->l[i] < least ? least : r->l[i] > most ? most : r->l[i];
    lua_settop(L, 1);
    return 1;
}

static int method_sum(lua_State *L) {
    const logits_row *r = &check_probs(L, 1)->row;
    int32_t negative;
    lua_pushnumber(L, probs_sum(r->l, r->n, &negative));
    return 1;
}

/* The sum, of probabilities that there can be a distribution of. */
static double check_sum(lua_State *L, const logits_row *r) {
    int32_t negative;
    double sum = probs_sum(r->l, r->n, &negative);
    if (negative >= 0)
        bind_raise(L, PL_ERR_ARGUMENT, "token %I has the probability %f: clamp(0) makes it 0",
                   (lua_Integer)negative, (lua_Number)r->l[negative]);
    if (!(sum > 0))
        bind_raise(L, PL_ERR_ARGUMENT, "all probabilities are 0: there is no token to sample");
    return sum;
}

/* p:sample(rng) --> id: takes one number of it */
static int method_sample(lua_State *L) {
    const logits_row *r = &check_probs(L, 1)->row;
    rng *random = bind_check_rng(L, 2);
    double sum = check_sum(L, r);
    lua_pushinteger(L, probs_draw(r->l, r->n, sum, rng_uniform(random)));
    return 1;
}

/* p:logits() --> their logarithms, normalised; what is 0 is masked */
static int method_logits(lua_State *L) {
    row_handle *p = check_probs(L, 1);
    double z = log(check_sum(L, &p->row));
    row_handle *l = bind_new_row(L, LOGITS_TYPE, p->row.math, p->row.n);
    bind_row_open(L, p);
    for (size_t i = 0; i < p->row.n; i++)
        l->row.l[i] = p->row.l[i] > 0 ? (float)(log((double)p->row.l[i]) - z) : -INFINITY;
    return 1;
}

void bind_open_probs(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"clamp", method_clamp}, {"sum", method_sum}, {"sample", method_sample},
        {"logits", method_logits}, {"close", bind_close_row}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", bind_close_row}, {"__close", bind_close_row}, {"__len", probs_len},
        {"__newindex", probs_newindex}, {"__add", probs_add}, {"__sub", probs_sub},
        {"__mul", probs_mul}, {"__tostring", probs_tostring}, {NULL, NULL}};
    bind_open_type(L, PROBS_TYPE, meta, methods, probs_index, NULL);
}
