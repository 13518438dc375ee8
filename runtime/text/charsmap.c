/* charsmap.c: SentencePiece's normalization, as the model file carries it compiled
 * (tokenizer.ggml.precompiled_charsmap; google/sentencepiece, src/normalizer.cc): a map from
 * strings to strings, of which the longest that fits is replaced at each place. It owns a copy of
 * the map. The invariant: no unit and no string is read that lies outside of it, whatever the file
 * says; what leads out of it is no match.
 *
 * Its form: the number of bytes of the trie in 32 bits, the trie, and the replacements, each with a
 * NUL behind. The trie is a double array (darts-clone; S. Kanda calls it XCDA): 32-bit units, the
 * root at 0. The child of the node at p by byte b is the unit at p ^ offset(p) ^ b, if that unit's
 * label is b. A node that ends a key says so in bit 8, and the key's value is in the unit at
 * p ^ offset(p): there the label is none and the lower 31 bits are the value, where the replacement
 * begins. offset(unit) is its bits from 10 on, times 256 when bit 9 is set. */
#include "base/mem.h"
#include "text/internal.h"

/* Bytes of a key and of a replacement, many times what any model has (33: the one ligature that
 * NFKC spells out in 18 letters). A trie whose links lead in a circle has keys without end, and a
 * text would grow by as much as a replacement is long: these keep time and memory in proportion. */
#define KEY_MAX 256
#define REPLACEMENT_MAX 1024

struct charsmap {
    size_t n;            /* units */
    size_t n_text;       /* bytes of the replacements, the last of which is NUL */
    const char *text;
    unsigned char bytes[]; /* the units and the replacements */
};

static uint32_t load32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t longest_string(const unsigned char *s, size_t n) {
    size_t longest = 0, start = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '\0') continue;
        if (i - start > longest) longest = i - start;
        start = i + 1;
    }
    return longest;
}

pl_code charsmap_load(const gguf *g, charsmap **out, pl_error *e) {
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const gguf_value *v;
    size_t trie, text, longest;
    charsmap *map;
    pl_code code = gguf_get_array(g, key, false, GGUF_I32, &v, e);
    *out = NULL;
    if (code != PL_OK || v == NULL || v->n == 0) return code;
    if (v->type != GGUF_U8 && v->type != GGUF_I8)
        return pl_fail(e, PL_ERR_FORMAT, "%s: key '%s': found an array of %s, expected bytes",
                       gguf_path(g), key, gguf_value_type_name(v->type));
    trie = v->n < 4 ? SIZE_MAX : load32(v->data);
    if (trie % 4 != 0 || trie == 0 || trie >= v->n - 4 || v->data[v->n - 1] != '\0')
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key '%s': found %llu bytes that are no trie and strings behind it",
                       gguf_path(g), key, (unsigned long long)v->n);
    text = (size_t)v->n - 4 - trie;
    longest = longest_string(v->data + 4 + trie, text);
    if (longest > REPLACEMENT_MAX)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key '%s': found a replacement of %zu bytes, expected at most %d",
                       gguf_path(g), key, longest, REPLACEMENT_MAX);
    map = mem_alloc(sizeof *map + trie + text); /* an array of the file */
    if (map == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for key '%s'", gguf_path(g), key);
    memcpy(map->bytes, v->data + 4, trie + text);
    map->n = trie / 4;
    map->n_text = text;
    map->text = (const char *)map->bytes + trie;
    *out = map;
    return PL_OK;
}

void charsmap_free(charsmap *map) { mem_free(map); }

/* 0 outside of the array: neither a label that is looked for nor a value. */
static uint32_t unit_at(const charsmap *map, uint32_t p) {
    return p < map->n ? load32(map->bytes + (size_t)p * 4) : 0;
}
static uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
static uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xFF); }

gguf_string charsmap_find(const charsmap *map, const char *s, size_t n, size_t *used) {
    uint32_t p = offset_of(unit_at(map, 0));
    gguf_string found = {NULL, 0};
    *used = 0;
    for (size_t i = 0; i < n && i < KEY_MAX && s[i] != '\0'; i++) {
        uint32_t unit, value;
        p ^= (unsigned char)s[i];
        unit = unit_at(map, p);
        if (label_of(unit) != (unsigned char)s[i]) break;
        p ^= offset_of(unit);
        if ((unit >> 8 & 1) == 0) continue;
        value = unit_at(map, p);
        if (value >> 31 == 0 || (value &= ~(1u << 31)) >= map->n_text) continue;
        found = (gguf_string){map->text + value, strlen(map->text + value)};
        *used = i + 1;
    }
    return found;
}
