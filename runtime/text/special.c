/* special.c: finds the tokens that a text may spell out: user-defined ones always, control and
 * unknown ones when the caller asks. It owns the trie of these inside struct tokenizer, and builds
 * the other kinds' tries. The invariant: the search is left to right, and at one place the longest
 * token wins, so that no token is found inside another. Time is the text's length, times the length
 * of the longest such token where tokens overlap. */
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
