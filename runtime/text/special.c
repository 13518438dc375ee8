/* special.c: finds the tokens that a text may spell out: user-defined ones always, control and
 * unknown ones when the caller asks. It owns the trie of these inside struct tokenizer, and builds
 * the other kinds' tries. The invariant: the search is left to right, and at one place the longest
 * token wins, so that no token is found inside another. Time is the text's length, times the length
 * of the longest such token where tokens overlap.
 *
 * Some of these tokens take the white space beside them out of the text ("lstrip" and "rstrip" in
 * tokenizer.json). GGUF files do not say which; llama.cpp goes by the names below, and so do its
 * ids. */
#include <ctype.h>

#include "base/mem.h"
#include "text/internal.h"

static unsigned kind_of(const tokenizer *t, int32_t id) {
    switch (t->type[id]) {
    case TOKEN_USER_DEFINED: return SPECIAL_USER;
    case TOKEN_CONTROL:
    case TOKEN_UNKNOWN: return SPECIAL_CONTROL;
    default: return 0;
    }
}

pl_code trie_new(piece_trie *trie, size_t bytes, pl_error *e) {
    size_t n_nodes = bytes + 1, n_edges = 8;
    while (n_edges < n_nodes + n_nodes / 2)
        n_edges *= 2; /* far from overflow: the pieces are in memory */
    trie->edges = mem_zarray(n_edges, sizeof *trie->edges);
    trie->token = mem_array(n_nodes, sizeof *trie->token);
    if (trie->edges == NULL || trie->token == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a trie of tokens (%zu bytes of names)",
                       bytes);
    trie->mask = n_edges - 1;
    for (size_t i = 0; i < n_nodes; i++) trie->token[i] = NO_TOKEN;
    return PL_OK;
}

void trie_free(piece_trie *trie) {
    mem_free(trie->edges);
    mem_free(trie->token);
}

void trie_add(const tokenizer *t, piece_trie *trie, gguf_string piece, int32_t id) {
    uint32_t node = 0;
    for (size_t i = 0; i < piece.size; i++) {
        unsigned char byte = (unsigned char)piece.data[i];
        trie_edge *to = trie_step(t, trie, node, byte);
        if (to->child == 0) *to = (trie_edge){node, byte, ++trie->last};
        node = to->child;
    }
    if (trie->token[node] == NO_TOKEN) trie->token[node] = id;
}

pl_code special_build(tokenizer *t, pl_error *e) {
    special_trie *special = &t->special;
    size_t bytes = 0;
    pl_code code;
    for (size_t id = 0; id < t->n; id++)
        if (kind_of(t, (int32_t)id) != 0) bytes += piece_of(t, (int32_t)id).size;
    code = trie_new(&special->trie, bytes, e);
    for (int32_t id = 0; (size_t)id < t->n && code == PL_OK; id++) {
        unsigned kind = kind_of(t, id);
        gguf_string name = piece_of(t, id);
        if (kind == 0 || name.size == 0) continue;
        special->first[(unsigned char)name.data[0]] |= (uint8_t)kind;
        trie_add(t, &special->trie, name, id);
    }
    return code;
}

int32_t special_find(const tokenizer *t, const char *text, size_t n, unsigned kinds, size_t *at,
                     size_t *size) {
    const piece_trie *trie = &t->special.trie;
    for (size_t i = 0; i < n; i++) {
        uint32_t node = 0;
        int32_t found = NO_TOKEN;
        if ((t->special.first[(unsigned char)text[i]] & kinds) == 0) continue;
        for (size_t k = i; k < n; k++) {
            node = trie_step(t, trie, node, (unsigned char)text[k])->child;
            if (node == 0) break;
            if (trie->token[node] != NO_TOKEN && (kind_of(t, trie->token[node]) & kinds) != 0) {
                found = trie->token[node];
                *size = k - i + 1;
            }
        }
        if (found != NO_TOKEN) {
            *at = i;
            return found;
        }
    }
    return NO_TOKEN;
}

/* ---- white space beside them ---- */

/* Is one of the names in the value of the key, in any case? */
static bool names_any(const gguf *g, const char *key, const char *const *names) {
    gguf_string s = {NULL, 0};
    if (gguf_get_string(g, key, false, &s, NULL) != PL_OK) return false;
    for (; *names != NULL; names++) {
        size_t n = strlen(*names);
        for (size_t i = 0; i + n <= s.size; i++) {
            size_t k = 0;
            while (k < n && tolower((unsigned char)s.data[i + k]) == (*names)[k]) k++;
            if (k == n) return true;
        }
    }
    return false;
}

void special_load_strips(tokenizer *t, const gguf *g) {
    static const char *const jina[] = {"jina-v2-de", "jina-v2-es", "jina-v2-code", NULL};
    static const char *const masked[] = {"nomic-bert-moe", "jina-bert-v3", NULL};
    static const char *const phi[] = {"phi-3", "phi3", NULL};
    static const char *const modern[] = {"modern-bert", NULL};
    t->strips_front = NO_TOKEN;
    if (names_any(g, "tokenizer.ggml.pre", jina) || names_any(g, "general.architecture", masked))
        t->strips_front = piece_find(t, &t->names, "<mask>", 6);
    else if (names_any(g, "general.name", phi))
        t->strip_behind = true;
    else if (names_any(g, "general.name", modern))
        t->strips_front = piece_find(t, &t->names, "[MASK]", 6);
}

/* C's isspace, in any locale. */
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

size_t special_strip_front(const tokenizer *t, int32_t id, const char *text, size_t n) {
    if (id == NO_TOKEN || id != t->strips_front) return n;
    while (n != 0 && is_space(text[n - 1])) n--;
    return n;
}

size_t special_strip_behind(const tokenizer *t, int32_t id, const char *text, size_t n) {
    static const char *const not_these[] = {"<unk>", "<s>", "<|endoftext|>"};
    gguf_string name;
    size_t i = 0;
    if (!t->strip_behind || id == NO_TOKEN) return 0;
    name = piece_of(t, id);
    for (size_t k = 0; k < sizeof not_these / sizeof *not_these; k++)
        if (name.size == strlen(not_these[k]) && memcmp(name.data, not_these[k], name.size) == 0)
            return 0;
    while (i < n && is_space(text[i])) i++;
    return i;
}
