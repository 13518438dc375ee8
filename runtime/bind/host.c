/* host.c: a script beside a host: the state's engines are the host's, its tasks move along in the
 * host's poll, and models and caches go from one side to the other (perilune_lua.h). */
#include "bind/bind.h"

#include "bind/perilune_lua.h"
#include "host/host.h"

#define HOST_KEY "perilune.host"    /* the pl_engine, in the registry */

static pl_engine *host_of(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, HOST_KEY);
    pl_engine *h = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return h;
}

static int poll_protected(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)bind_poll(L, lua_tonumber(L, 1)));
    return 1;
}

static pl_code poll_scripts(void *user, double seconds, size_t *n_live, pl_error *e) {
    lua_State *L = user;
    pl_code rc = PL_OK;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, LUA_MINSTACK))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a script's stack");
    lua_pushcfunction(L, poll_protected);
    lua_pushnumber(L, seconds > 0 ? seconds : 0);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        *n_live = (size_t)lua_tointeger(L, -1);
    } else {
        const char *message = luaL_tolstring(L, -1, NULL);
        rc = pl_fail(e, PL_ERR_CALLBACK, "%s", message);
    }
    lua_settop(L, top);
    return rc;
}

/* The host's engine is gone: the state goes on by itself. */
static void detached(void *user) {
    lua_State *L = user;
    bind_share_loop(L, NULL);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, HOST_KEY);
}

void bind_leave_host(lua_State *L) {
    pl_engine *h = host_of(L);
    if (h != NULL) host_detach(h, L);
}

pl_code pl_open_lua(lua_State *L, pl_engine *h) {
    pl_error e;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main_thread = lua_tothread(L, -1);
    lua_pop(L, 1);
    luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
    lua_pop(L, 1);
    if (bind_loop(L)->n > 0 || host_of(L) != NULL) return PL_ERR_ARGUMENT;
    if (host_attach(h, poll_scripts, detached, main_thread, &e) != PL_OK) bind_fail(L, &e);
    lua_pushlightuserdata(L, h);
    lua_setfield(L, LUA_REGISTRYINDEX, HOST_KEY);
    bind_share_loop(L, host_loop(h));
    return PL_OK;
}

static int push_engine(lua_State *L, engine *g) {
    if (bind_push_known_model(L, g)) return 1;
    model_handle *m = bind_new_model(L);
    m->engine = engine_hold(g);
    bind_enter_model(L, m);
    return 1;
}

int pl_push_model(lua_State *L, pl_model *m) { return push_engine(L, host_model_engine(m)); }

int pl_push_cache(lua_State *L, const pl_cache *cache) {
    push_engine(L, host_cache_engine(cache));
    cache_handle *c = bind_new_cache(L, -1);
    c->node = node_retain(host_cache_node(cache));
    lua_remove(L, -2);
    return 1;
}

pl_model *pl_to_model(lua_State *L, int arg) {
    model_handle *m = luaL_testudata(L, arg, MODEL_TYPE);
    pl_engine *h = host_of(L);
    return m != NULL && m->engine != NULL && h != NULL ? host_model_of(h, m->engine) : NULL;
}

const pl_cache *pl_to_cache(lua_State *L, int arg) {
    cache_handle *c = bind_test_cache(L, arg);
    pl_engine *h = host_of(L);
    return c != NULL && c->node != NULL && c->model != NULL && h != NULL
               ? host_cache_of(h, c->model->engine, c->node)
               : NULL;
}
