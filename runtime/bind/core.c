/* core.c: the module table of perilune.core, and where its code lies. Everything in it is a
 * function of the files beside this one; what is said in Lua is in lua/perilune. */
#include "bind/bind.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "perilune_lua.h"

/* Notes the folder of the file that this code was loaded from: the program, or core.so. */
static void find_home(lua_State *L) {
    struct link_map *map = NULL;
    Dl_info info;
    char path[PATH_MAX], *slash;
    const char *name = "";
    void *here = (void *)(uintptr_t)&luaopen_perilune_core;
    if (dladdr1(here, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map != NULL &&
        map->l_name != NULL)
        name = map->l_name;
    if (realpath(*name != '\0' ? name : "/proc/self/exe", path) == NULL)
        return; /* the program has no name */
    slash = strrchr(path, '/');
    if (slash == NULL) return;
    lua_pushlstring(L, path, (size_t)(slash - path));
    lua_setfield(L, LUA_REGISTRYINDEX, HOME_KEY);
}

__attribute__((visibility("default"))) int luaopen_perilune_core(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"load", bind_load}, {"logits", bind_logits_of}, {"rng", bind_rng},
        {"sampler", bind_sampler}, {"gguf", bind_gguf}, {NULL, NULL}};
    luaL_checkversion(L);
    bind_open_error(L);
    bind_open_args(L);
    bind_open_model(L);
    bind_open_cache(L);
    bind_open_floats(L);
    bind_open_logits(L);
    bind_open_probs(L);
    bind_open_set(L);
    bind_open_rng(L);
    bind_open_sampler(L);
    bind_open_gguf(L);
    bind_open_request(L);
    bind_open_stream(L);
    find_home(L);
    luaL_newlib(L, functions);
    lua_pushliteral(L, PL_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushstring(L, kernels_best()->name);
    lua_setfield(L, -2, "isa");
    bind_push_weight_types(L);
    lua_setfield(L, -2, "weight_types");
    return 1;
}
