/* trace.c: what lua/perilune/trace.lua and replay.lua need of the types below them. These functions
 * are in the core's table, not among the methods: no script sees them. */
#include "bind/bind.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <unistd.h>

/* core.cache_model(cache) --> the model that it is of */
static int cache_model(lua_State *L) {
    bind_check_cache(L, 1);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

/* core.rng_seed(rng) --> the seed that option `rng` takes from it; it moves on, as it does there */
static int take_rng_seed(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)bind_rng_seed(bind_check_rng(L, 1)));
    return 1;
}

/* core.is_terminal(file) --> whether it is an open file that is one */
static int is_terminal(lua_State *L) {
    const luaL_Stream *file = luaL_testudata(L, 1, LUA_FILEHANDLE);
    lua_pushboolean(L, file != NULL && file->closef != NULL && isatty(fileno(file->f)));
    return 1;
}

void bind_push_trace_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"cache_model", cache_model},
                                         {"rng_seed", take_rng_seed},
                                         {"is_terminal", is_terminal},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_getmetatable(L, CACHE_TYPE);
    lua_setfield(L, -2, "cache_meta");
    luaL_getmetatable(L, LOGITS_TYPE);
    lua_getfield(L, -1, "__index"); /* a closure over the methods */
    lua_getupvalue(L, -1, 1);
    lua_setfield(L, -4, "logits_methods");
    lua_pop(L, 1);
    lua_setfield(L, -2, "logits_meta");
}
