/* fuzz_presplit.c: the input is a byte and a text, which every pre-split type cuts, with PCRE2's
 * JIT and without. The words of both are the same, none is empty, and together they are the text.
 * A text that opens with '*' is repeated until time that is not linear would show, for the one
 * type that the byte says. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "text/internal.h"
#include "text/utf8.h"

#define MAX_ROWS 64
#define LONG_TEXT ((size_t)32 << 10) /* where quadratic time would show */

typedef struct {
    const char *text;
    size_t at, n;
    uint32_t *ends; /* where words end: compared, or, in the first run, noted */
    size_t n_ends, used;
    bool compare;
} cuts;

static pl_code take(void *context, const char *s, size_t n) {
    cuts *c = context;
    CHECK(n != 0 && n <= c->n - c->at && memcmp(c->text + c->at, s, n) == 0);
    c->at += n;
    if (c->compare) CHECK(c->used < c->n_ends && c->ends[c->used] == c->at);
    else c->ends[c->used] = (uint32_t)c->at;
    c->used++;
    return PL_OK;
}

static void check(const presplit *p, const char *text, size_t n) {
    presplit_state jit = {.match_data = NULL}, without = {.interpret = true};
    cuts c = {.text = text, .n = n, .ends = malloc((n + 1) * sizeof *c.ends)};
    CHECK(c.ends != NULL);
    CHECK(presplit_run(p, &jit, text, n, take, &c, NULL) == PL_OK && c.at == n);
    c.n_ends = c.used;
    c.at = c.used = 0;
    c.compare = true;
    CHECK(presplit_run(p, &without, text, n, take, &c, NULL) == PL_OK);
    CHECK(c.at == n && c.used == c.n_ends);
    presplit_state_free(&jit);
    presplit_state_free(&without);
    free(c.ends);
}

static presplit *rows[MAX_ROWS];
static size_t n_rows;

static void open_rows(void) {
    const char *name;
    size_t size;
    presplit_traits traits;
    for (; (name = presplit_name(n_rows, &size)) != NULL; n_rows++) {
        char copy[64] = "";
        CHECK(n_rows < MAX_ROWS && size < sizeof copy);
        memcpy(copy, name, size);
        CHECK(presplit_new(copy, &rows[n_rows], &traits, NULL) == PL_OK);
    }
}

/* The valid characters of the input. */
static size_t keep_utf8(const uint8_t *data, size_t size, char *out) {
    size_t n = 0, length;
    for (size_t i = 0; i < size; i += length) {
        uint32_t point;
        length = utf8_decode((const char *)data + i, size - i, &point);
        if (point == UTF8_BAD) continue;
        memcpy(out + n, data + i, length);
        n += length;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (n_rows == 0) open_rows();
    if (size < 2) return -1;
    long live = mem_live();
    char *text = malloc(size + LONG_TEXT);
    CHECK(text != NULL);
    size_t n = keep_utf8(data + 1, size - 1, text), one = n;
    if (n != 0 && text[0] == '*') {
        for (; n < LONG_TEXT; n += one) memcpy(text + n, text, one);
        check(rows[data[0] % n_rows], text, n);
    } else {
        for (size_t i = 0; i < n_rows; i++) check(rows[i], text, n);
    }
    free(text);
    CHECK(mem_live() == live);
    return 0;
}
