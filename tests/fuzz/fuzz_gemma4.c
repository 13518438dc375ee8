/* fuzz_gemma4.c: BPE over characters with tokens for bytes, as Gemma 4 has it; inputs as in
 * words.h. Variants: with bytes or without. */
#include "words.h"

enum { NO_BYTES = 1 };

static void fill(vocabulary *v, size_t variant) {
    static const char *const pieces[] = {"\xE2\x96\x81", "a", "b", "t", "h", "e", "\n", "\n\n",
        "\n\n\n", "th", "the", "\xE2\x96\x81the", "\xE2\x96\x81\xE2\x96\x81", "aa", "aaaa",
        "\xC3\xA9", "\xC3\xA9\xC3\xA9", NULL};
    static const char *const merges[] = {"t h", "th e", "\xE2\x96\x81 the", "\n \n", "a a", "aa aa",
        "\xE2\x96\x81 \xE2\x96\x81", "\xC3\xA9 \xC3\xA9", "b x", NULL};
    static const char *const control[] = {"<pad>", "<eos>", "<bos>", "<turn|>", NULL};
    static const char *const user[] = {"<user>", "  \n", NULL};
    v->model = "gemma4";
    words_add_all(v, control, TOKEN_CONTROL);
    words_add(v, "<unk>", 5, TOKEN_UNKNOWN, 0);
    if (!(variant & NO_BYTES)) words_add_bytes(v);
    words_add_all(v, pieces, TOKEN_NORMAL);
    words_merge(v, merges);
    words_add_all(v, user, TOKEN_USER_DEFINED);
    v->unknown = 4;
}

static promises own(size_t variant) {
    return (promises){.reversible = !(variant & NO_BYTES), .shorter = true};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return words_input(&(words_kind){fill, 2, own}, data, size);
}
