/* replay.c: runs a fuzz target on the inputs that corpus/NAME keeps, each of them a test; linked to
 * every target by `make test`. The program's own name says which: fuzz_NAME. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "../c/support.h"

#define MAX_INPUTS 1024

static char paths[MAX_INPUTS][512];

static void replay(void **state) {
    size_t size;
    char *bytes = read_whole(*state, &size);
    uint8_t *exact = malloc(size ? size : 1); /* so that reading on behind it is found */
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    free(bytes);
    assert_true(LLVMFuzzerTestOneInput(exact, size) <= 0);
    free(exact);
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[MAX_INPUTS];
    const char *name = strrchr(argv[0], '/'), *target = strstr(name ? name : argv[0], "fuzz_");
    char folder[256];
    size_t n = 0;
    (void)argc;
    if (target == NULL) return 1;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", target + strlen("fuzz_"));
    DIR *d = opendir(folder);
    if (d == NULL) {
        printf("no folder %s\n", folder);
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL && n < MAX_INPUTS;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(paths[n], sizeof *paths, "%s/%.200s", folder, entry->d_name);
        tests[n] = (struct CMUnitTest){paths[n], replay, NULL, NULL, paths[n]};
        n++;
    }
    closedir(d);
    if (n == 0) {
        printf("no inputs in %s\n", folder);
        return 1;
    }
    return _cmocka_run_group_tests(target, tests, n, NULL, NULL);
}
