/* fuzz_spm.c: SentencePiece's BPE; inputs as in words.h. Variants: words apart or not, with bytes
 * or without, with a space in front of a text or not. */
#include "words.h"

enum { NO_BYTES = 1, TOGETHER = 2, NO_SPACE = 4 };

static void fill(vocabulary *v, size_t variant) {
    static const char *const pieces[] = {"\xE2\x96\x81", "\xE2\x96\x81t", "he", "\xE2\x96\x81the",
        "\xE2\x96\x81\xE2\x96\x81", "t", "h", "e", "oo", "ooo", "\xE2\x82\xAC", "\n", "12", NULL};
    static const char *const across[] = {"e\xE2\x96\x81t", "o\xE2\x96\x81", NULL};
    static const char *const user[] = {"<user>", " m", "  ", NULL};
    v->model = "llama";
    v->add_space = !(variant & NO_SPACE);
    words_add(v, "<unk>", 5, TOKEN_UNKNOWN, 0);
    words_add(v, "<s>", 3, TOKEN_CONTROL, 0);
    words_add(v, "</s>", 4, TOKEN_CONTROL, 0);
    if (!(variant & NO_BYTES)) words_add_bytes(v);
    words_add_all(v, pieces, TOKEN_NORMAL);
    if (variant & TOGETHER) words_add_all(v, across, TOKEN_NORMAL);
    words_add_all(v, user, TOKEN_USER_DEFINED);
}

static promises own(size_t variant) {
    return (promises){.reversible = !(variant & NO_BYTES), .shorter = true};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return words_input(&(words_kind){fill, 8, own}, data, size);
}
