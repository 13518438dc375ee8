/* fuzz.h: what the fuzz targets share. A target is a file fuzz_NAME.c that defines
 * LLVMFuzzerTestOneInput; `make fuzz` links it with libFuzzer, `make test` with replay.c, which
 * runs the inputs that corpus/NAME keeps. Neither the targets nor this know cmocka: what does not
 * hold ends the process, which is how libFuzzer takes note of an input. */
#ifndef PERILUNE_TESTS_FUZZ_H
#define PERILUNE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* libFuzzer's entry (llvm.org/docs/LibFuzzer.html): 0, or -1 for an input not worth keeping. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target's own way to change an input, in place, and libFuzzer's (NULL in the tests, which change
 * none): its new size, `most` at most. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

#define CHECK(x) ((x) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #x))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

/* An error says what it is, and in one line what happened. */
void fuzz_check_error(pl_code code, const pl_error *e);

/* The path of a file in memory with these bytes in it, and behind them `more` bytes that are floats
 * of 1.0 wherever they are read as such. There is one such file: the next call replaces its
 * content. */
const char *fuzz_file(const void *data, size_t size, size_t more);

/* A folder of this process for files that need names, removed when the process ends; in memory
 * where the system has /dev/shm. */
const char *fuzz_folder(void);
/* Writes a file of this name there. */
void fuzz_named_file(const char *name, const void *data, size_t size);

/* The bytes of an input, from the front; behind the last there are zeros. */
typedef struct { const uint8_t *data; size_t size; } fuzz_bytes;
uint8_t fuzz_u8(fuzz_bytes *b);
/* What lies in front of the next `end`, which is passed over; all that is left when it is not
 * there. */
fuzz_bytes fuzz_until(fuzz_bytes *b, const char *end);

#endif
