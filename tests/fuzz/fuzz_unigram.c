/* fuzz_unigram.c: SentencePiece's unigram model; inputs as in words.h. Variants: with a
 * normalization or without, with bytes or without, with spaces taken together or not. */
#include <string.h>

#include "words.h"

enum { MAP = 1, BYTES = 2, MERGE_SPACES = 4 };

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(x >> 8 * i);
}

/* A double array of two rules, "\t" to " " and "A" to "aa": a root with units 256 to 511 for its
 * children, whose values are in the units from 512 and 768 on. */
static void add_map(vocabulary *v) {
    static const char text[] = " \0aa";
    const uint32_t units = 1024, tab = 256 ^ '\t', letter = 256 ^ 'A';
    uint8_t *unit = v->map + 4;
    memset(v->map, 0, sizeof v->map);
    put32(v->map, units * 4);
    put32(unit, 256u << 10);
    put32(unit + 4 * tab, (tab ^ 512u) << 10 | 1u << 8 | '\t');
    put32(unit + 4 * 512, 1u << 31 | 0);
    put32(unit + 4 * letter, (letter ^ 768u) << 10 | 1u << 8 | 'A');
    put32(unit + 4 * 768, 1u << 31 | 2);
    memcpy(unit + 4 * units, text, sizeof text);
    v->map_size = 4 + 4 * units + sizeof text;
}

static void fill(vocabulary *v, size_t variant) {
    static const char *const pieces[] = {"\xE2\x96\x81", "a", "e", "t", "h", "\xE2\x96\x81t",
        "\xE2\x96\x81the", "the", "aa", "aaa", "\xE2\x96\x81\xE2\x96\x81", "1", "12", "\n",
        "\xC3\xA9", "\xEF\xBF\xBD", NULL};
    static const char *const user[] = {"<user>", NULL};
    v->model = "t5";
    words_add(v, "<unk>", 5, TOKEN_UNKNOWN, 0);
    words_add(v, "</s>", 4, TOKEN_CONTROL, 0);
    words_add(v, "<pad>", 5, TOKEN_CONTROL, 0);
    if (variant & BYTES) words_add_bytes(v);
    words_add_all(v, pieces, TOKEN_NORMAL);
    words_add_all(v, user, TOKEN_USER_DEFINED);
    if (variant & MAP) add_map(v);
    v->add_space = true;
    v->merge_spaces = variant & MERGE_SPACES;
    v->unknown = 0;
}

/* Not fewer ids than bytes: what is no UTF-8 becomes U+FFFD, three bytes for one. */
static promises own(size_t variant) {
    (void)variant;
    return (promises){.stable = true};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return words_input(&(words_kind){fill, 8, own}, data, size);
}
