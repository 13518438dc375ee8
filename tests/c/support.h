/* support.h: what several test programs share: where the test data lies, temporary files, whole
 * files. It knows nothing of the runtime. */
#ifndef PERILUNE_TESTS_SUPPORT_H
#define PERILUNE_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A test: TEST(greedy_decoding_repeats_itself) { ... }, listed with cmocka_unit_test. */
#define TEST(name) static void name(void **state __attribute__((unused)))

/* The path of a file or folder of the shared test data, which lies where PERILUNE_SHARED says, or
 * else in ../shared. NULL when that folder is not there: the caller skips (SHARED_OR_SKIP). With
 * CI=true in the environment that is a failure instead. Lives until the program ends. */
const char *shared_path(const char *relative);

/* How a test that needs the data begins: const char *folder; SHARED_OR_SKIP(folder, "parity"); */
#define SHARED_OR_SKIP(path, relative)                  \
    do {                                                \
        if (((path) = shared_path(relative)) == NULL) { \
            skip();                                     \
            return;                                     \
        }                                               \
    } while (0)

/* A path in a temporary folder of this process, unused so far, which ends in `suffix`. The folder
 * and its files are removed when the program ends. The path lives until then. */
char *temp_path(const char *suffix);
/* The temporary folder itself. */
const char *temp_folder(void);

/* The whole file, and a NUL that *size (may be NULL) does not count. free() it. Fails the test when
 * the file cannot be read. */
char *read_whole(const char *path, size_t *size);
/* Fails the test when it cannot be written. */
void write_whole(const char *path, const void *data, size_t size);

#endif
