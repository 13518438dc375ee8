/* core.c: the module table of perilune.core. Everything in it is a
 * function of the files beside this one; what is said in Lua is in lua/perilune. */
#include "bind/bind.h"

#include "bind/perilune_lua.h"


__attribute__((visibility("default"))) int luaopen_perilune_core(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"load", bind_load}, {"logits", bind_logits_of}, {"rng", bind_rng},
        {"sampler", bind_sampler}, {"gguf", bind_gguf}, {"raise", bind_raise_from_lua},
        {NULL, NULL}};
    luaL_checkversion(L);
    bind_open_error(L);
    bind_open_args(L);
    bind_open_model(L);
    bind_open_cache(L);
    bind_open_floats(L);
    bind_open_logits(L);
    bind_open_probs(L);
    bind_open_hidden(L);
    bind_open_set(L);
    bind_open_rng(L);
    bind_open_sampler(L);
    bind_open_gguf(L);
    bind_open_request(L);
    bind_open_stream(L);
    bind_open_tasks(L);
    luaL_newlib(L, functions);
    bind_push_task_functions(L);
    bind_push_choose_functions(L);
    bind_push_trace_functions(L);
    lua_pushliteral(L, PL_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushstring(L, kernels_best()->name);
    lua_setfield(L, -2, "isa");
    bind_push_generate_options(L);
    lua_setfield(L, -2, "generate_options");
    bind_push_weight_types(L);
    lua_setfield(L, -2, "weight_types");
    return 1;
}
