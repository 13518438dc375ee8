/* unicode.c: what BERT's tokenizer asks about characters: their class, lower case, decomposition.
 * It owns nothing; the tables are unicode_data.h's. The invariant: every code point, assigned or
 * not, has an answer. */
#include "text/internal.h"
#include "text/unicode_data.h"

#define N(table) (sizeof(table) / sizeof *(table))

static bool is_in(const unicode_range *ranges, size_t n, uint32_t point) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && point >= ranges[low].first;
}

bool unicode_is_space(uint32_t point) { return is_in(spaces, N(spaces), point); }
bool unicode_is_control(uint32_t point) { return is_in(controls, N(controls), point); }
bool unicode_is_accent(uint32_t point) { return is_in(accents, N(accents), point); }
bool unicode_is_punctuation(uint32_t point) { return is_in(punctuation, N(punctuation), point); }

uint32_t unicode_lower(uint32_t point) {
    size_t low = 0, high = N(lower);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > lower[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == N(lower) || point < lower[low].first ||
        (point - lower[low].first) % lower[low].step != 0)
        return point;
    return (uint32_t)((int64_t)point + lower[low].add);
}

/* The Unicode standard, 3.12: syllables are numbered leading consonant by vowel by trailing one. */
static size_t decompose_hangul(uint32_t syllable, uint32_t *out) {
    out[0] = 0x1100 + syllable / (21 * 28);
    out[1] = 0x1161 + syllable / 28 % 21;
    out[2] = 0x11A7 + syllable % 28;
    return syllable % 28 == 0 ? 2 : 3;
}

/* Only the first character of a pair decomposes again. */
size_t unicode_decompose(uint32_t point, uint32_t *out) {
    uint32_t behind[DECOMPOSED_MAX];
    size_t n = 0, n_behind = 0;
    if (point >= 0xAC00 && point < 0xAC00 + 19 * 21 * 28)
        return decompose_hangul(point - 0xAC00, out);
    for (;;) {
        size_t low = 0, high = N(decompositions);
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (point > decompositions[middle].from)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == N(decompositions) || decompositions[low].from != point) break;
        point = decompositions[low].to[0];
        if (decompositions[low].to[1] != 0 && n_behind < DECOMPOSED_MAX - 1)
            behind[n_behind++] = decompositions[low].to[1];
    }
    out[n++] = point;
    while (n_behind != 0) out[n++] = behind[--n_behind];
    return n;
}
