/* fuzz_model.c: the input is the front of a model file, whose weights follow as ones. Its
 * vocabulary is opened and encodes a text; then all of it is loaded, and when that succeeds, some
 * tokens are processed: whatever the hyper-parameters and shapes are, the steps fit them.
 *
 * A byte changed at random is mostly one of a length or a name. So that more of the files get past
 * the reader, one in two changes is that of a value, or of a tensor's shape or type, in place. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "decode/engine.h"
#include "fuzz.h"

#define WEIGHT_BYTES ((size_t)64 << 10) /* behind the input */
#define CACHE_BYTES ((size_t)4 << 20)
#define TOKENS 3

static const char text[] = "the <s>moon\xE2\x96\x81 \n\n 123\xFF\xC3\xA9</s>";

/* NULL if the engine refuses the file, which it does with an error that says why. */
static engine *open_or_refuse(const engine_options *o) {
    engine *g = NULL;
    pl_error e;
    pl_code code = engine_open(o, &g, &e);
    CHECK((code == PL_OK) == (g != NULL));
    if (code != PL_OK) fuzz_check_error(code, &e);
    return g;
}

static void check_vocabulary(const char *path) {
    engine_options o = {.model = {.path = path, .vocab_only = true, .no_map = true}};
    encode_options all = {.special = true, .bos = true, .start = true, .eos = true};
    engine *g = open_or_refuse(&o);
    id_list ids = {NULL, 0, 0};
    text_buffer back = {NULL, 0, 0};
    pl_error e;
    if (!g) return;
    const tokenizer *t = engine_model(g)->tok;
    tokenizer_info info = tokenizer_describe(t);
    const int32_t special[] = {info.bos, info.eos, info.unk, info.sep,
                               info.pad, info.eot, info.eom};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        CHECK(special[i] >= -1 && (special[i] < 0 || (size_t)special[i] < tokenizer_size(t)));
    CHECK(!(info.add_bos && info.bos < 0) && !(info.add_eos && info.eos < 0));
    CHECK(!(info.add_sep && info.sep < 0));
    for (size_t i = 0; i < info.n_eog; i++) {
        CHECK(i == 0 || info.eog[i] > info.eog[i - 1]);
        CHECK(tokenizer_is_eog(t, info.eog[i]));
    }
    CHECK(tokenizer_encode(t, text, sizeof text - 1, all, &ids, &e) == PL_OK);
    for (size_t i = 0; i < ids.n; i++)
        CHECK(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_size(t));
    CHECK(tokenizer_decode(t, ids.ids, ids.n, true, true, &back, &e) == PL_OK);
    id_list_free(&ids);
    text_free(&back);
    engine_close(g);
}

/* Logits after each of some tokens. */
static void run(engine *g) {
    int32_t tokens[TOKENS];
    cache_node *empty, *n;
    job *j;
    pl_error e;
    size_t vocabulary = engine_model(g)->hp.n_vocab, count = TOKENS;
    if (count > engine_model(g)->context) count = engine_model(g)->context;
    for (size_t i = 0; i < count; i++) tokens[i] = (int32_t)(i % vocabulary);
    CHECK(node_empty(engine_store(g), &empty, &e) == PL_OK);
    CHECK(node_extend(empty, tokens, count, &n, &e) == PL_OK);
    node_release(empty);
    CHECK(job_evaluate(g, WANT_LOGITS, &(job_part){n, 0, count}, 1, &j, &e) == PL_OK);
    CHECK(job_run(j, &e) == PL_OK && job_row(j, count - 1) != NULL);
    job_close(j);
    node_release(n);
}

static void load(const char *path, kv_type kv) {
    engine_options o = {.model = {.path = path, .threads = 1, .kv = kv, .no_map = true},
                        .cache_bytes = CACHE_BYTES};
    engine *g = open_or_refuse(&o);
    if (!g) return;
    run(g);
    engine_close(g);
}

/* ---- changes ---- */

static uint32_t next_random(uint32_t *state) { /* xorshift (Marsaglia 2003) */
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

static const uint64_t numbers[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64, 255, 256,
                                   4096, 1 << 20, (1 << 20) + 1, 1 << 30, INT32_MAX, UINT32_MAX,
                                   UINT64_MAX};
static const float fractions[] = {0, 1, -1, 0.5f, 1e-30f, 1e30f, 2, 100, INFINITY, NAN};
#define N(list) (sizeof(list) / sizeof *(list))

/* Another value for a number of `size` bytes. */
static void change_number(uint8_t *at, size_t size, bool is_float, uint32_t *state) {
    uint64_t x = 0;
    uint32_t way = next_random(state) % 4;
    memcpy(&x, at, size);
    if (is_float && size == 4) {
        float f = fractions[next_random(state) % N(fractions)];
        memcpy(at, &f, sizeof f);
        return;
    }
    x = way == 0 ? x + 1 : way == 1 ? x - 1 : way == 2 ? x * 2
        : numbers[next_random(state) % N(numbers)];
    memcpy(at, &x, size);
}

static bool change_value(const gguf *g, uint8_t *data, size_t size, uint32_t *state) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (gguf_n_values(g) == 0) return false;
    const gguf_value *first = gguf_value_at(g, 0);
    const gguf_value *v = gguf_value_at(g, next_random(state) % gguf_n_values(g));
    size_t before = 24 + 8 + strlen(first->key) + 4 + (first->is_array ? 12 : 0);
    size_t width = sizes[v->type], at = (size_t)(v->data - first->data) + before;
    if (width == 0 || v->n == 0) return false;
    at += width * (next_random(state) % (size_t)v->n);
    if (at + width > size) return false;
    if (v->type == GGUF_BOOL) data[at] ^= 1;
    else change_number(data + at, width, v->type == GGUF_F32, state);
    return true;
}

static bool change_tensor(const gguf *g, uint8_t *data, size_t size, uint32_t *state) {
    static const uint8_t types[] = {0, 1, 2, 3, 6, 7, 8, 10, 14, 20, 23, 24, 30, 39};
    if (gguf_n_tensors(g) == 0) return false;
    const gguf_tensor *t = gguf_tensor_at(g, next_random(state) % gguf_n_tensors(g));
    uint8_t *at = memmem(data, size, t->name, strlen(t->name));
    size_t n = at != NULL ? (size_t)(data + size - at) : 0, head = strlen(t->name) + 4;
    if (n < head + 8 * t->n_dims + 12) return false;
    at += head;
    if (next_random(state) % 2)
        change_number(at + 8 * (next_random(state) % t->n_dims), 8, false, state);
    else
        at[8 * t->n_dims] = types[next_random(state) % sizeof types];
    return true;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    const gguf_options options = {.map = false, .header_only = true};
    uint32_t state = seed | 1;
    gguf *g;
    bool changed = false;
    next_random(&state);
    if (next_random(&state) % 2 &&
        gguf_open(fuzz_file(data, size, 0), &options, &g, NULL) == PL_OK) {
        for (uint32_t n = 1 + next_random(&state) % 3; n > 0; n--)
            if (next_random(&state) % 4 ? change_value(g, data, size, &state)
                                        : change_tensor(g, data, size, &state))
                changed = true;
        gguf_close(g);
    }
    return changed ? size : LLVMFuzzerMutate(data, size, most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const kv_type types[] = {KV_F16, KV_F32, KV_Q8_0};
    if (size < 4 || memcmp(data, "GGUF", 4) != 0) return -1;
    long live = mem_live();
    const char *path = fuzz_file(data, size, WEIGHT_BYTES);
    check_vocabulary(path);
    load(path, types[data[size - 1] % (sizeof types / sizeof *types)]);
    CHECK(mem_live() == live);
    return 0;
}
