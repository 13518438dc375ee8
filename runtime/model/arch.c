/* arch.c: the architectures, one row each. A row says where an architecture departs from the common decoder layer
 * (model/forward.c); an architecture of known parts is a new row. */
#include <string.h>

#include "model/model.h"

static const arch_row rows[] = {
    /* Llama (Touvron et al. 2023) and what is stored as it: Mistral 7B, TinyLlama, SmolLM2, Llama 3.x */
    {.name = "llama", .rope_interleaved = true},
};

const arch_row *arch_find(gguf_string name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].name) == name.size && !memcmp(rows[i].name, name.data, name.size)) return &rows[i];
    return NULL;
}
