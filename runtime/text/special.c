/* special.c: finds the tokens that a text may spell out: user-defined ones always, control and
 * unknown ones when the caller asks. It owns the trie inside struct tokenizer. The invariant: the
 * search is left to right, and at one place the longest token wins, so that no token is found
 * inside another. Time is the text's length, times the length of the longest such token where
 * tokens overlap. */
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

/* The edge from a node by a byte, or the free place for it. */
static trie_edge *edge(const tokenizer *t, uint32_t node, unsigned char byte) {
    const special_trie *trie = &t->special;
    size_t i = (size_t)hash_pair(t, node, byte) & trie->mask;
    while (trie->edges[i].child != 0 &&
           (trie->edges[i].node != node || trie->edges[i].byte != byte))
        i = (i + 1) & trie->mask;
    return &trie->edges[i];
}

pl_code special_build(tokenizer *t, pl_error *e) {
    special_trie *trie = &t->special;
    size_t n_nodes = 1, n_edges = 8;
    uint32_t last = 0;
    for (size_t id = 0; id < t->n; id++)
        if (kind_of(t, (int32_t)id) != 0) n_nodes += piece_of(t, (int32_t)id).size;
    while (n_edges < n_nodes + n_nodes / 2)
        n_edges *= 2; /* far from overflow: the pieces are in memory */
    trie->edges = mem_zarray(n_edges, sizeof *trie->edges);
    trie->token = mem_array(n_nodes, sizeof *trie->token);
    if (trie->edges == NULL || trie->token == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for the special tokens (%zu bytes of names)",
                       n_nodes);
    trie->mask = n_edges - 1;
    for (size_t i = 0; i < n_nodes; i++) trie->token[i] = NO_TOKEN;
    for (int32_t id = 0; (size_t)id < t->n; id++) {
        unsigned kind = kind_of(t, id);
        gguf_string name = piece_of(t, id);
        uint32_t node = 0;
        if (kind == 0 || name.size == 0) continue;
        trie->first[(unsigned char)name.data[0]] |= (uint8_t)kind;
        for (size_t i = 0; i < name.size; i++) {
            trie_edge *to = edge(t, node, (unsigned char)name.data[i]);
            if (to->child == 0) *to = (trie_edge){node, (unsigned char)name.data[i], ++last};
            node = to->child;
        }
        if (trie->token[node] == NO_TOKEN) trie->token[node] = id;
    }
    return PL_OK;
}

int32_t special_find(const tokenizer *t, const char *text, size_t n, unsigned kinds, size_t *at,
                     size_t *size) {
    const special_trie *trie = &t->special;
    for (size_t i = 0; i < n; i++) {
        uint32_t node = 0;
        int32_t found = NO_TOKEN;
        if ((trie->first[(unsigned char)text[i]] & kinds) == 0) continue;
        for (size_t k = i; k < n; k++) {
            node = edge(t, node, (unsigned char)text[k])->child;
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
