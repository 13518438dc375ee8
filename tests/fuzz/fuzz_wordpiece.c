/* fuzz_wordpiece.c: BERT's tokenizer; inputs as in words.h. Variants: in lower case and without
 * accents, or as it is. */
#include "words.h"

static void fill(vocabulary *v, size_t variant) {
    static const char *const pieces[] = {"\xE2\x96\x81the", "\xE2\x96\x81t", "he", "e", "s",
        "\xE2\x96\x81" "a", "a", "aa", "\xE2\x96\x81" "e", "\xE2\x96\x81.", "\xE2\x96\x81" "1", "1",
        "\xE2\x96\x81\xE6\xBC\xA2", "\xE2\x96\x81\xE1\x84\x92", "\xE1\x85\xA1", "\xE1\x86\xAB",
        "\xE2\x96\x81\xCE\xB1", "\xCE\xB1", "\xE2\x96\x81T", "\xC3\xA9", NULL};
    static const char *const user[] = {"<user>", NULL};
    v->model = "bert";
    words_add(v, "[UNK]", 5, TOKEN_UNKNOWN, 0);
    words_add(v, "[CLS]", 5, TOKEN_CONTROL, 0);
    words_add(v, "[SEP]", 5, TOKEN_CONTROL, 0);
    words_add_all(v, pieces, TOKEN_NORMAL);
    words_add_all(v, user, TOKEN_USER_DEFINED);
    v->add_space = true;
    v->unknown = 0;
    v->cased = variant != 0;
}

static promises own(size_t variant) {
    (void)variant;
    return (promises){.stable = true};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return words_input(&(words_kind){fill, 2, own}, data, size);
}
