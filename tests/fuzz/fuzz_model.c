/* fuzz_model.c: the input is the front of a model file, whose weights follow as ones. Its vocabulary
 * is opened and encodes a text; then all of it is loaded, and when that succeeds, some tokens are
 * processed: whatever the hyper-parameters and shapes are, the steps fit them. */
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "decode/engine.h"
#include "fuzz.h"

#define WEIGHT_BYTES ((size_t)64 << 10) /* behind the input */
#define CACHE_BYTES ((size_t)4 << 20)
#define TOKENS 3

static const char text[] = "the <s>moon\xE2\x96\x81 \n\n 123\xFF\xC3\xA9</s>";

static void check_vocabulary(const char *path) {
    engine_options o = {.model = {.path = path, .vocab_only = true, .no_map = true}};
    encode_options all = {.special = true, .bos = true, .start = true, .eos = true};
    engine *g = NULL;
    id_list ids = {NULL, 0, 0};
    text_buffer back = {NULL, 0, 0};
    pl_error e;
    pl_code code = engine_open(&o, &g, &e);
    CHECK((code == PL_OK) == (g != NULL));
    if (code != PL_OK) {
        fuzz_check_error(code, &e);
        return;
    }
    const tokenizer *t = engine_model(g)->tok;
    tokenizer_info info = tokenizer_describe(t);
    const int32_t special[] = {info.bos, info.eos, info.unk, info.sep, info.pad, info.eot, info.eom};
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
    engine *g = NULL;
    pl_error e;
    pl_code code = engine_open(&o, &g, &e);
    CHECK((code == PL_OK) == (g != NULL));
    if (code != PL_OK) {
        fuzz_check_error(code, &e);
        return;
    }
    run(g);
    engine_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const kv_type types[] = {KV_F16, KV_F32};
    if (size < 4 || memcmp(data, "GGUF", 4) != 0) return -1;
    long live = mem_live();
    const char *path = fuzz_file(data, size, WEIGHT_BYTES);
    check_vocabulary(path);
    load(path, types[data[size - 1] % (sizeof types / sizeof *types)]);
    CHECK(mem_live() == live);
    return 0;
}
