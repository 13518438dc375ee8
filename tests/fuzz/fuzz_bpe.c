/* fuzz_bpe.c: byte-level BPE; inputs as in words.h. Variants: pre-split types that differ in what
 * they ask of the tokenizer. */
#include "words.h"

static const char *const types[] = {NULL, "gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "tekken",
                                    "superbpe", "roberta-bpe"};

static void fill(vocabulary *v, size_t variant) {
    static const char *const pieces[] = {"th", "the", "\xC4\xA0the", "\xC4\xA0t",
        "\xC4\xA0\xC4\xA0", "'s", "12", "123", "\xC4\x8A\xC4\x8A", "\xC3\xA2\xC4\xA4",
        "\xC3\xA2\xC4\xA4\xC2\xAC", "aa",        "aaaa", "!!", NULL};
    static const char *const merges[] = {"t h", "th e", "\xC4\xA0 t", "\xC4\xA0t he",
        "\xC4\xA0 the", "\xC4\xA0 \xC4\xA0", "' s", "1 2", "12 3", "\xC4\x8A \xC4\x8A",
        "\xC3\xA2 \xC4\xA4",        "\xC3\xA2\xC4\xA4 \xC2\xAC", "a a", "aa aa", "! !", NULL};
    static const char *const control[] = {"<|endoftext|>", "<|im_end|>", NULL};
    static const char *const user[] = {"<user>", "  \n", NULL};
    v->model = "gpt2";
    v->pre = types[variant];
    words_add_byte_spellings(v);
    words_add_all(v, pieces, TOKEN_NORMAL);
    words_merge(v, merges);
    words_add_all(v, control, TOKEN_CONTROL);
    words_add_all(v, user, TOKEN_USER_DEFINED);
}

static promises own(size_t variant) {
    (void)variant;
    return (promises){.reversible = true, .marks_stay = true, .shorter = true};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return words_input(&(words_kind){fill, sizeof types / sizeof *types, own}, data, size);
}
