/* rng.c: random numbers as a Lua value: a generator whose state is a key and a count
 * (decode/random.h), so that it can be saved, and forked into generators that are independent of
 * it. */
#include "bind/bind.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define STATE_FORMAT "philox4x32-10:%016" PRIx64 ":%016" PRIx64
#define STATE_MAX 64

uint64_t bind_random_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)time(NULL);
    return seed >> 11; /* a float holds it too: it may go through JSON and come back */
}

/* A float holds it too, as it does a random seed. */
uint64_t bind_rng_seed(rng *r) { return rng_bits(r) >> 11; }

rng *bind_test_rng(lua_State *L, int idx) { return luaL_testudata(L, idx, RNG_TYPE); }

rng *bind_check_rng(lua_State *L, int arg) {
    rng *r = bind_test_rng(L, arg);
    if (r == NULL) bind_arg_error(L, arg, "an rng expected, got %s", bind_describe(L, arg));
    return r;
}

static void push_rng(lua_State *L, rng value) {
    rng *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = value;
    luaL_setmetatable(L, RNG_TYPE);
}

/* perilune.rng([seed | state]) --> rng */
int bind_rng(lua_State *L) {
    char state[STATE_MAX], again[STATE_MAX];
    rng r = {0};
    int whole;
    if (lua_isnoneornil(L, 1)) {
        push_rng(L, rng_seeded(bind_random_seed()));
        return 1;
    }
    if (lua_type(L, 1) == LUA_TSTRING) {
        snprintf(state, sizeof state, "%s", lua_tostring(L, 1));
        if (sscanf(state, "philox4x32-10:%" SCNx64 ":%" SCNx64, &r.key, &r.n) == 2) {
            snprintf(again, sizeof again, STATE_FORMAT, r.key, r.n);
            if (strcmp(again, lua_tostring(L, 1)) == 0) {
                push_rng(L, r);
                return 1;
            }
        }
        bind_arg_error(L, 1, "%s is no state of an rng: what rng:state() gave is allowed",
                       bind_describe(L, 1));
    }
    lua_Integer seed = lua_tointegerx(L, 1, &whole);
    if (!whole)
        bind_arg_error(L, 1, "the seed is %s: a whole number, or a state, is allowed",
                       bind_describe(L, 1));
    push_rng(L, rng_seeded((uint64_t)seed));
    return 1;
}

/* rng(), rng:uniform() --> in [0, 1) */
static int rng_call(lua_State *L) {
    lua_pushnumber(L, rng_uniform(bind_check_rng(L, 1)));
    return 1;
}

/* rng:integer(n) --> 1..n; rng:integer(m, n) --> m..n: as math.random */
static int method_integer(lua_State *L) {
    rng *r = bind_check_rng(L, 1);
    lua_Integer low = 1, high;
    if (lua_isnoneornil(L, 3)) {
        high = bind_integer_arg(L, 2, 1, LUA_MAXINTEGER, "n");
    } else {
        low = bind_integer_arg(L, 2, LUA_MININTEGER, LUA_MAXINTEGER, "the lower end");
        high = bind_integer_arg(L, 3, low, LUA_MAXINTEGER, "the upper end");
    }
    uint64_t n = (uint64_t)high - (uint64_t)low + 1; /* 0: all integers */
    uint64_t value = n != 0 ? rng_below(r, n) : rng_bits(r);
    lua_pushinteger(L, (lua_Integer)((uint64_t)low + value));
    return 1;
}

static int method_fork(lua_State *L) {
    push_rng(L, rng_fork(bind_check_rng(L, 1)));
    return 1;
}

static int method_state(lua_State *L) {
    const rng *r = bind_check_rng(L, 1);
    char state[STATE_MAX];
    snprintf(state, sizeof state, STATE_FORMAT, r->key, r->n);
    lua_pushstring(L, state);
    return 1;
}

/* rng:subset(n, fraction) --> set: of the ids below n, that part, rounded */
static int method_subset(lua_State *L) {
    rng *r = bind_check_rng(L, 1);
    size_t n = (size_t)bind_integer_arg(L, 2, 1, INT32_MAX, "n");
    double fraction = bind_number_arg(L, 3, 0, 1, "a number from 0 to 1", "the fraction");
    id_set *s = bind_new_set(L, n);
    rng_subset(r, n, (size_t)floor(fraction * (double)n + 0.5), s->bits);
    bind_count_set(s);
    return 1;
}

static int rng_tostring(lua_State *L) {
    method_state(L);
    lua_pushfstring(L, "rng (%s)", lua_tostring(L, -1));
    return 1;
}

void bind_open_rng(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"uniform", rng_call}, {"integer", method_integer}, {"fork", method_fork},
        {"state", method_state}, {"subset", method_subset}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__call", rng_call}, {"__tostring", rng_tostring}, {NULL, NULL}};
    bind_open_type(L, RNG_TYPE, meta, methods, NULL, NULL);
}
