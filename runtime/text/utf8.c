/* utf8.c: UTF-8, as RFC 3629 and table 3-7 of the Unicode standard define it. It owns no memory.
 * The invariant: exactly the well-formed sequences are characters, so what utf8_decode accepts,
 * PCRE2 accepts too, and re-encoding a decoded character gives the same bytes. */
#include "text/utf8.h"

#include <stdbool.h>

/* How long a character that opens with `first` is, 0 when none does, and what its second byte may
 * be: narrower than 80..BF where the plain range would allow an overlong form (E0, F0), a surrogate
 * (ED) or a number beyond U+10FFFF (F4). */
static size_t lead(unsigned char first, unsigned char *low, unsigned char *high) {
    *low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return 2;
    if (first < 0xF0) return 3;
    return first < 0xF5 ? 4 : 0;
}

static bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

size_t utf8_decode(const char *s, size_t n, uint32_t *point) {
    const unsigned char *p = (const unsigned char *)s;
    unsigned char low, high;
    size_t length = lead(p[0], &low, &high);
    if (length == 1) {
        *point = p[0];
        return 1;
    }
    if (length == 0 || length > n || p[1] < low || p[1] > high) goto bad;
    *point = p[0] & (0x7Fu >> length);
    *point = *point << 6 | (p[1] & 0x3Fu);
    for (size_t i = 2; i < length; i++) {
        if (!continues(p[i])) goto bad;
        *point = *point << 6 | (p[i] & 0x3Fu);
    }
    return length;
bad:
    *point = UTF8_BAD;
    return 1;
}

size_t utf8_encode(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if ((point >= 0xD800 && point <= 0xDFFF) || point > 0x10FFFF) return 0;
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

size_t utf8_incomplete_tail(const char *s, size_t n) {
    const unsigned char *end = (const unsigned char *)s + n;
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        unsigned char low, high;
        const unsigned char *p = end - k;
        if (continues(*p)) continue; /* the character opens further back, if one does */
        if (lead(*p, &low, &high) <= k) return 0;
        return k == 1 || (p[1] >= low && p[1] <= high) ? k : 0;
    }
    return 0;
}
