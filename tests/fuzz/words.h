/* words.h: what the targets of the tokenizers share: small vocabularies that an input adds to, and
 * what holds for the ids of any text.
 *
 * An input is a byte of flags, lines that add to the vocabulary (words.c says which), an empty
 * line, and a text. Without lines the target's own vocabulary is used, which stays open between
 * inputs. */
#ifndef PERILUNE_TESTS_FUZZ_WORDS_H
#define PERILUNE_TESTS_FUZZ_WORDS_H

#include <stdbool.h>

#include "fuzz.h"
#include "text/tokenizer.h"

#define WORDS_MAX 1024 /* tokens, and merges, of one vocabulary */
#define MAP_MAX 8192   /* bytes of its precompiled_charsmap */

typedef struct {
    const char *model, *pre; /* pre NULL: no such key */
    gguf_string tokens[WORDS_MAX];
    int32_t types[WORDS_MAX];
    float scores[WORDS_MAX];
    size_t n;
    gguf_string merges[WORDS_MAX];
    size_t n_merges;
    uint8_t map[MAP_MAX];
    size_t map_size; /* 0: none */
    bool add_space, merge_spaces, cased;
    int32_t unknown; /* -1: the kind's default */
} vocabulary;

void words_add(vocabulary *v, const char *piece, size_t n, token_type type, float score);
/* Strings, the last of which is NULL; scores go down by 1. */
void words_add_all(vocabulary *v, const char *const *pieces, token_type type);
void words_add_bytes(vocabulary *v);         /* <0x00> to <0xFF> */
void words_add_byte_spellings(vocabulary *v); /* as byte-level vocabularies spell them */
void words_merge(vocabulary *v, const char *const *lines);

/* Adds what the lines say. */
void words_add_lines(vocabulary *v, fuzz_bytes lines);
/* The tokenizer of it; NULL when it is refused. */
tokenizer *words_open(const vocabulary *v);

/* The flags of an input. With all of FLAG_LONG, a text that opens with '*' is repeated until time
 * that is not linear would show: seldom, as it takes long. */
enum { FLAG_SPECIAL = 1, FLAG_BOS = 2, FLAG_START = 4, FLAG_EOS = 8, FLAG_LONG = 31 };

typedef struct {
    bool reversible; /* decoded, the ids are the text, but for U+2581, which is a space */
    bool marks_stay; /* and not even that */
    bool stable;     /* what they decode to encodes to the same ids: if none is unknown, and there
                        was no U+2581 in the text */
    bool shorter;    /* a text has no more ids than bytes */
} promises;

/* Encodes and decodes the text in the ways that the flags say, and checks the result. */
void words_check(const tokenizer *t, const promises *p, uint8_t flags, fuzz_bytes text);

/* A whole input for one kind of tokenizer: `fill` makes its own vocabulary, `variant` of which is
 * chosen by the flags' upper bits, below n_variants. What `own` promises holds for those; of others
 * only that they do no harm. */
typedef struct {
    void (*fill)(vocabulary *v, size_t variant);
    size_t n_variants; /* at most 8 */
    promises (*own)(size_t variant);
} words_kind;
int words_input(const words_kind *kind, const uint8_t *data, size_t size);

#endif
