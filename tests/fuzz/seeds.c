/* seeds.c: writes the inputs that fuzzing begins with into FOLDER/NAME/..., for every target: files
 * that the writer and the tests' tiny models give, small texts, vocabularies in words.h's lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../c/support.h"
#include "../c/tiny.h"

static const char *folder;

static void put(const char *target, const char *name, const void *data, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    write_whole(path, data, size);
}

/* ---- GGUF ---- */

static const float weights[256] = {1, -2, 3.5f};

static char *written(gguf_writer *w, size_t *size) {
    const char *path = temp_path(".gguf");
    pl_error e;
    if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_writer_free(w);
    return read_whole(path, size);
}

static void put_everything(void) {
    static const gguf_string strings[] = {{"one", 3}, {"", 0}, {"a\0b", 3}};
    static const struct { uint32_t type; size_t block; } types[] = {
        {TYPE_F32, 1}, {TYPE_F16, 1}, {TYPE_BF16, 1}, {TYPE_Q4_0, 32}, {TYPE_Q4_1, 32},
        {TYPE_Q5_0, 32}, {TYPE_Q5_1, 32}, {TYPE_Q8_0, 32}, {TYPE_Q2_K, 256}, {TYPE_Q3_K, 256},
        {TYPE_Q4_K, 256}, {TYPE_Q5_K, 256}, {TYPE_Q6_K, 256}, {TYPE_IQ4_NL, 32},
        {TYPE_IQ4_XS, 256}};
    gguf_writer *w = gguf_writer_new();
    size_t size;
    gguf_add_u32(w, "general.alignment", 8);
    gguf_add_string(w, "name", "small", 5);
    gguf_add_strings(w, "list", strings, 3);
    gguf_add_bool(w, "flag", true);
    gguf_add_numbers(w, "flags", GGUF_BOOL, "\1\0\1", 3);
    for (uint32_t type = 0; type < GGUF_VALUE_TYPES; type++) {
        char name[32];
        if (type == GGUF_STRING || type == GGUF_ARRAY || type == GGUF_BOOL) continue;
        snprintf(name, sizeof name, "all.%s", gguf_value_type_name(type));
        gguf_add_numbers(w, name, (gguf_value_type)type, weights, 2);
    }
    gguf_add_raw(w, "f64", GGUF_F64, weights, 8);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%zu", i);
        gguf_add_tensor(w, name, types[i].type, i % 4 + 1, (uint64_t[]){types[i].block, 1, 1, 1},
                        weights);
    }
    char *file = written(w, &size);
    put("gguf", "everything", file, size);
    free(file);
}

static void put_split(void) {
    char all[4096];
    size_t n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        gguf_writer *w = gguf_writer_new();
        char name[2] = {(char)('a' + i), '\0'};
        size_t size;
        gguf_add_raw(w, "split.no", GGUF_U16, &i, 2);
        gguf_add_raw(w, "split.count", GGUF_U16, &(uint16_t){3}, 2);
        gguf_add_raw(w, "split.tensors.count", GGUF_I32, &(int32_t){2}, 4);
        if (i > 0) gguf_add_tensor(w, name, TYPE_F32, 1, (uint64_t[]){8}, weights);
        char *file = written(w, &size);
        assert_true(n + size <= sizeof all);
        memcpy(all + n, file, size);
        n += size;
        free(file);
    }
    put("gguf", "split", all, n);
}

/* ---- models ---- */

#define VOCABULARY 8 /* tokens */

/* The first of a kind has all the keys, the others what they cannot do without. */
static void add_words(gguf_writer *w, const char *kind) {
    static char seen[64];
    bool first = strstr(seen, kind) == NULL;
    static const char *const tokens[VOCABULARY] = {"<unk>", "<s>", "</s>", "\xE2\x96\x81t",
                                                   "h", "e", "he", "<0x0A>"};
    gguf_string strings[VOCABULARY], merges[] = {{"h e", 3}, {"\xE2\x96\x81t he", 7}};
    static const int32_t types[VOCABULARY] = {2, 3, 3, 1, 1, 1, 1, 1};
    static const float scores[VOCABULARY] = {0, 0, 0, -1, -2, -3, -1, 0};
    for (size_t i = 0; i < VOCABULARY; i++)
        strings[i] = (gguf_string){tokens[i], strlen(tokens[i])};
    gguf_add_string(w, "tokenizer.ggml.model", kind, strlen(kind));
    gguf_add_strings(w, "tokenizer.ggml.tokens", strings, VOCABULARY);
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, types, VOCABULARY);
    if (strcmp(kind, "llama") == 0 || strcmp(kind, "t5") == 0)
        gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, scores, VOCABULARY);
    if (strcmp(kind, "gpt2") == 0 || strcmp(kind, "gemma4") == 0)
        gguf_add_strings(w, "tokenizer.ggml.merges", merges, 2);
    if (!first) return;
    gguf_add_string(w, "tokenizer.chat_template", "{{x}}", 5);
    strcat(strcat(seen, kind), " ");
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_add_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_add_u32(w, "tokenizer.ggml.seperator_token_id", 2);
    gguf_add_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", false);
    if (strcmp(kind, "t5") == 0)
        gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8,
                         "\4\0\0\0\0\0\0\0a", 10);
}

/* A scalar or an array as another writer has it. */
static void copy_value(gguf_writer *w, const gguf_value *v) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    size_t at = 0;
    if (v->type == GGUF_STRING) {
        gguf_string s = gguf_string_next(v, &at);
        gguf_add_string(w, v->key, s.data, s.size);
    } else if (v->is_array) {
        gguf_add_numbers(w, v->key, v->type, v->data, (size_t)v->n);
    } else {
        gguf_add_raw(w, v->key, (uint32_t)v->type, v->data, sizes[v->type]);
    }
}

/* The model with a vocabulary of VOCABULARY tokens, up to its weights. */
static void put_model(const char *name, const tiny_shape *s, const char *kind) {
    gguf_writer *w = gguf_writer_new();
    const char *path = tiny_model(s);
    size_t size, front = SIZE_MAX;
    gguf *g;
    pl_error e;
    if (gguf_open(path, &(gguf_options){.map = true}, &g, &e) != PL_OK) fail_msg("%s", e.message);
    for (size_t i = 0; i < gguf_n_values(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        if (strncmp(v->key, "tokenizer.", 10) != 0 && strcmp(v->key, "general.name") != 0)
            copy_value(w, v);
    }
    add_words(w, kind);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        uint64_t ne[2] = {t->ne[0], t->ne[1] == s->n_vocab ? VOCABULARY : t->ne[1]};
        gguf_add_tensor(w, t->name, t->type, t->n_dims, ne, t->data);
    }
    path = temp_path(".gguf");
    if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_writer_free(w);
    gguf_close(g);
    if (gguf_open(path, &(gguf_options){.map = true}, &g, &e) != PL_OK) fail_msg("%s", e.message);
    char *file = read_whole(path, &size);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) { /* tensors end where the file ends */
        const gguf_tensor *t = gguf_tensor_at(g, i), *first = gguf_tensor_at(g, 0);
        size_t from_first = (size_t)((const char *)t->data - (const char *)first->data);
        size_t padded = (t->n_bytes + 31) / 32 * 32;
        if (i + 1 == gguf_n_tensors(g)) front = size - from_first - padded;
    }
    put("model", name, file, front);
    free(file);
    gguf_close(g);
}

/* Numbers that are given for each layer, and keys that few files have. */
static void per_layer(gguf_writer *w) {
    gguf_add_numbers(w, "llama.attention.head_count_kv", GGUF_I32, (int32_t[]){2, 2}, 2);
    gguf_add_u32(w, "llama.expert_count", 0);
    gguf_add_string(w, "llama.rope.scaling.type", "none", 4);
}
static const tiny_edit layers = {.key = "llama.attention.head_count_kv", .more = per_layer};

static void put_models(void) {
    static const struct {
        const char *name, *arch, *kind;
        unsigned parts;
        tiny_key keys[8];
        const char *window_layers;
        uint32_t n_layer, n_shared, n_per_layer, head_size;
        weight_type type;
        const tiny_edit *edit;
    } models[] = {
        {"llama", "llama", "llama", 0, {{"vocab_size", 'u', VOCABULARY, 0}}, .n_layer = 1},
        {"q8", "llama", "llama", 0, {{"rope.scaling.type", 's', 0, "linear"},
                                     {"rope.scaling.factor", 'f', 4, 0}}, .type = TYPE_Q8_0},
        {"mistral3", "mistral3", "gpt2", 0, {{"rope.scaling.type", 's', 0, "yarn"},
            {"rope.scaling.factor", 'f', 4, 0},
            {"rope.scaling.original_context_length", 'u', 24, 0},
            {"rope.scaling.yarn_log_multiplier", 'f', 1, 0},
            {"attention.temperature_scale", 'f', 0.3, 0}}, .n_layer = 1},
        {"qwen2vl", "qwen2vl", "gpt2", TINY_QKV_BIAS,
         {{"rope.dimension_sections", 'i', 0, "2,3,3,0"}}, .n_layer = 1},
        {"gemma2", "gemma2", "llama", TINY_POST_NORMS, {{"attention.sliding_window", 'u', 11, 0},
            {"attn_logit_softcapping", 'f', 5, 0}, {"final_logit_softcapping", 'f', 3, 0}},
         .n_layer = 2},
        {"gemma4", "gemma4", "gemma4", TINY_POST_NORMS | TINY_HEAD_NORMS | TINY_OUTPUT_SCALE |
         TINY_VALUES_FROM_KEYS, {{"attention.sliding_window", 'u', 11, 0}},
         .n_layer = 2, .n_shared = 1, .n_per_layer = 8, .head_size = 16, .window_layers = "0,0"},
        {"phi3", "phi3", "t5", TINY_FUSED_QKV | TINY_FUSED_UP | TINY_LONG_FACTORS,
         {{"rope.scaling.original_context_length", 'u', 64, 0}}, .n_layer = 1},
        {"gpt2", "gpt2", "bert", TINY_LAYER_NORM | TINY_FUSED_QKV | TINY_QKV_BIAS | TINY_O_BIAS |
         TINY_FFN_BIAS | TINY_UNGATED | TINY_POSITIONS, {{0}}, .n_layer = 1},
        {"olmo2", "olmo2", "llama", TINY_POST_NORMS | TINY_NO_PRE_NORMS | TINY_ROW_NORMS, {{0}},
         .n_layer = 1},
        {"granite", "granite", "llama", 0, {{"embedding_scale", 'f', 12, 0},
            {"residual_scale", 'f', 0.22, 0}, {"logit_scale", 'f', 8, 0}}, .n_layer = 1},
        {"stablelm", "stablelm", "llama", TINY_LAYER_NORM | TINY_NO_FFN_NORM | TINY_HEAD_NORM_ROWS,
         {{0}}, .n_layer = 1},
        {"layers", "llama", "llama", 0, {{0}}, .n_layer = 2, .edit = &layers},
        {"parts", "llama", "llama", TINY_VISION, {{"nextn_predict_layers", 'u', 1, 0}},
         .n_layer = 2},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        tiny_shape s = tiny_default();
        s.arch = models[i].arch;
        s.parts = models[i].parts;
        s.keys = models[i].keys;
        s.type = models[i].type;
        s.edit = models[i].edit;
        s.n_layer = models[i].n_layer ? models[i].n_layer : 2;
        s.n_embd = s.n_ff = 32;
        s.n_head = s.n_head_kv = 2;
        s.n_vocab = 300;
        s.context = 16;
        s.tied = true;
        s.rope_factors = !strcmp(s.arch, "gemma4");
        s.window_layers = models[i].window_layers;
        s.head_size_window = 16;
        s.head_size = models[i].head_size;
        s.n_shared = models[i].n_shared;
        s.n_per_layer = models[i].n_per_layer;
        put_model(models[i].name, &s, models[i].kind);
    }
}

/* ---- cache files ---- */

static void put_cache(const char *name, uint8_t flags, uint64_t tokens, uint64_t done) {
    const uint64_t state = flags & 8 ? 24 : 0, states = flags & 8 && done > 3 ? 2 : 0;
    const uint64_t numbers[] = {0x1234, 7, tokens, done, 64, state, states};
    uint8_t file[4096] = {flags};
    size_t n = 1;
    memcpy(file + n, "PLCACHE2", 8);
    memcpy(file + n + 8, numbers, sizeof numbers);
    memcpy(file + n + 64, "f16", 3);
    memcpy(file + n + 80, "0.1.0 fuzz", 10);
    n += 128;
    for (uint32_t i = 0; i < tokens; i++, n += 4) memcpy(file + n, &(uint32_t){i % 7}, 4);
    n += (done + 31) / 32 * 64;
    for (uint64_t i = 0; i < states; i++, n += 8 + state)
        memcpy(file + n, &(uint64_t){done - 2 * i}, 8);
    n += 8;
    put("restore", name, file, n);
}

/* ---- texts ---- */

static void put_texts(void) {
    static const char *const targets[] = {"spm", "bpe", "gemma4", "unigram", "wordpiece",
                                          "presplit"};
    static const char *const texts[] = {
        "the moon's <user>  12345 \n\n !!!! don't", "\xE2\x96\x81the\xE2\x82\xAC \xF0\x9F\xA6\x99",
        "aaaaaaaa</s><s><|im_end|>",
        "\xC3\xA9\x65\xCC\x81\xE6\xBC\xA2\xE5\xAD\x97\xED\x95\x9C\t\r\n",
        "\xFF\xC3 \xED\xA0\x80\xF4\x90", "ABCdef\xC7\x85\xCE\xA3 X12y_z\xE0\xA5\xAA",
        "n5abc\nn4ab\nn6bc\nma b\nmab c\nu5<x>\nc5<y>\nb5<0x61>\nx5q\n\nabcabc<x><y>q",
        "n5\xE2\x96\x81x y\nk5<unk>\nd5dd\nf7\ni0\n\nx y dd", "t30\ns00\x10\n\nA\tA",
        "f3\n\n  a  A \t ", "* a"};
    static const uint8_t flags[] = {0x00, 0x05, 0x0F, 0x10, 0x25, 0x45,
                                    0x65, 0x85, 0xA5, 0xC5, 0x1F, 0xF5};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        for (size_t k = 0; k < 12; k++) {
            char data[256], name[16];
            const char *text = texts[k % (sizeof texts / sizeof *texts)];
            data[0] = (char)flags[k];
            memcpy(data + 1, text, strlen(text));
            snprintf(name, sizeof name, "%zu", k);
            put(targets[i], name, data, 1 + strlen(text));
        }
}

static void write_seeds(void **state) {
    (void)state;
    put_everything();
    put_split();
    put_models();
    for (uint8_t flags = 0; flags < 16; flags++) {
        char name[16];
        snprintf(name, sizeof name, "%u", flags);
        put_cache(name, flags, flags * 12, flags * 11);
    }
    put_texts();
}

int main(int argc, char **argv) {
    const struct CMUnitTest all[] = {cmocka_unit_test(write_seeds)};
    if (argc != 2) return 2;
    folder = argv[1];
    mkdir(folder, 0777);
    return cmocka_run_group_tests(all, NULL, NULL);
}
