/* bundled.c: where the bundled model lies; see model.h. */
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/model.h"

#define LEVELS 6 /* folders above this code's own that are searched */

static bool is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* The folder of the file that this code was loaded from: a program or a library. */
static bool find_home(char folder[PATH_MAX]) {
    static const char here;
    struct link_map *map = NULL;
    Dl_info info;
    const char *name = "";
    if (dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map && map->l_name)
        name = map->l_name;
    if (!realpath(*name ? name : "/proc/self/exe", folder))
        return false; /* the program has no name */
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    return slash;
}

bool bundled_model(char *path, size_t room) {
    static const char *const places[] = {"scripts/demo/demo.gguf", "share/perilune/demo.gguf"};
    const char *given = getenv("PERILUNE_DEMO");
    char folder[PATH_MAX];
    if (given && *given) return snprintf(path, room, "%s", given) < (int)room;
    if (!find_home(folder)) return false;
    for (int level = 0; level <= LEVELS; level++) {
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            if (snprintf(path, room, "%s/%s", folder, places[i]) < (int)room && is_file(path))
                return true;
        char *slash = strrchr(folder, '/');
        if (!slash) break;
        *slash = '\0';
    }
    return false;
}
