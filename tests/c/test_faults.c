/* test_faults.c: what goes wrong around a model: every allocation on the way from loading to a
 * saved cache fails once, in turn; and files whose tensors or hyper-parameters are not what they
 * should be are refused by name. Tiny random models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/team.h"
#include "cache/store.h"
#include "decode/engine.h"
#include "live.h"
#include "support.h"
#include "tiny.h"

#define V 300
#define TOKENS 8    /* generated */
#define ROWS 40     /* of logits */

static tiny_shape small_shape(weight_type type) {
    tiny_shape shape = tiny_default();
    shape.type = type;
    shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 32, shape.n_vocab = V,
    shape.context = 128;
    return shape;
}

/* ---- loading ---- */

TEST(every_allocation_of_a_load_fails_once_and_leaves_nothing_behind) {
    for (int way = 0; way < 3; way++) {
        tiny_shape shape = small_shape(way ? TYPE_Q8_0 : TYPE_F32);
        shape.rope_factors = true;
        engine_options o = {.model = {.path = tiny_model(&shape),
                                      .threads = 2,
                                      .no_map = way == 1,
                                      .vocab_only = way == 2}};
        long before = mem_live(), n = 0;
        for (bool failed = true; failed;) {
            engine *g = NULL;
            uint64_t print;
            pl_error e;
            mem_fail_at(++n);
            pl_code rc = engine_open(&o, &g, &e);
            if (!rc && way < 2) {
                rc = model_fingerprint(engine_model(g), &print, &e);
                if (rc) assert_int_equal(model_fingerprint(engine_model(g), &print, &e), PL_OK);
            }
            failed = mem_asked() >= n;
            if (rc) {
                assert_true(failed);
                assert_int_equal(rc, PL_ERR_MEMORY);
                assert_int_equal(e.code, PL_ERR_MEMORY);
            }
            engine_close(g);
            if (mem_live() != before)
                fail_msg("allocation %ld: %ld blocks too many", n, mem_live() - before);
        }
        mem_fail_at(0);
        print_message("%ld allocations\n", n - 1);
        assert_true(n > 20);
    }
}

/* ---- using ---- */

typedef struct {
    int32_t tokens[TOKENS], continued[TOKENS];
    float logprobs[TOKENS], logits[ROWS * V];
    size_t n_restored, n_processed, n_before;
} outcome;

static size_t refused;

/* The one failure that was asked for may hit this call; then it works when it is made again. */
#define AGAIN(call)                                     \
    do {                                                \
        pl_error e_;                                    \
        pl_error *e = &e_;                              \
        pl_code rc_ = (call);                           \
        if (rc_) {                                      \
            refused++;                                  \
            if (rc_ != PL_ERR_MEMORY) fail_msg("%s", e->message); \
            assert_int_equal(e->code, PL_ERR_MEMORY);   \
            if ((call)) fail_msg("again: %s", e->message); \
        }                                               \
    } while (0)

static cache_identity identity_of(engine *g) {
    return (cache_identity){.weights = 7,
                            .n_vocab = V,
                            .kv = "f16",
                            .build = "test",
                            .clear = model_clear_slots,
                            .user = engine_model(g)};
}

/* A session that goes through all of the engine, on a fresh engine. */
static void use(engine *g, const char *path, outcome *out) {
    static const int32_t list[50] = {1, 270, 280, 290, 265, 12, 44, 299, 280, 281};
    static const logit_bias bias = {280, 2};
    static const gguf_string stops[] = {{"never, ever", 11}, {"\x01\x02\x03\x04", 4}};
    cache_node *empty, *prompt, *cache, *shorter, *longer, *other, *back, *before;
    cache_identity id = identity_of(g);
    job *j;

    AGAIN(node_empty(engine_store(g), &empty, e));
    AGAIN(node_extend(empty, list, 10, &prompt, e));
    generate_options o = {.cache = prompt,
                          .input = list + 10,
                          .n_input = 30,
                          .max_new_tokens = TOKENS,
                          .sampler = sampler_defaults(),
                          .logprobs = true,
                          .stops = stops,
                          .n_stops = 2,
                          .pause = true,
                          .stop_tokens = (int32_t[]){-1},
                          .n_stop_tokens = 1};
    o.sampler.temperature = 1.5f, o.sampler.seed = 5, o.sampler.repetition_penalty = 1.2f;
    o.sampler.bias = &bias, o.sampler.n_bias = 1;
    AGAIN(job_generate(g, &o, &j, e));
    for (;;) {
        AGAIN(job_run(j, e));
        if (job_state(j) == JOB_DONE) break;
        job_resume(j);
    }
    generate_result r = job_result(j);
    assert_int_equal(r.n_tokens, TOKENS);
    memcpy(out->tokens, r.tokens, sizeof out->tokens);
    memcpy(out->logprobs, r.logprobs, sizeof out->logprobs);
    AGAIN(job_cache(j, &cache, e));
    AGAIN(job_cache_before(j, &before, e));
    out->n_before = node_length(before);

    AGAIN(node_truncate(cache, 37, &shorter, e));
    AGAIN(node_extend(shorter, list, 5, &longer, e));
    AGAIN(node_extend(shorter, list + 2, 6, &other, e));
    AGAIN(job_resume_from(j, longer, e)); /* shorter than the prompt: it begins anew */
    for (;;) {
        AGAIN(job_run(j, e));
        if (job_state(j) == JOB_DONE) break;
        job_resume(j);
    }
    r = job_result(j);
    assert_int_equal(r.n_tokens, TOKENS);
    memcpy(out->continued, r.tokens, sizeof out->continued);
    job_close(j);

    AGAIN(job_evaluate(g, WANT_LOGITS,
                       (job_part[]){{other, 20, ROWS / 2}, {longer, 42 - ROWS / 2, ROWS / 2}}, 2,
                       &j, e));
    AGAIN(job_run(j, e));
    memcpy(out->logits, job_row(j, 0), sizeof out->logits);
    job_close(j);

    AGAIN(cache_save(other, &id, path, e));
    AGAIN(cache_restore(engine_store(g), &id, path, false, &back, e));
    out->n_restored = node_common_prefix(back, other);
    out->n_processed = node_processed(back);

    cache_node *all[] = {empty, prompt, cache, shorter, longer, other, back, before};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) node_release(all[i]);
    assert_int_equal(cache_store_nodes(engine_store(g)), 0);
    assert_int_equal(cache_store_pool(engine_store(g))->of[POOL_BLOCKS].n_used, 0);
}

TEST(every_allocation_of_a_session_fails_once_and_nothing_is_lost) {
    tiny_shape shape = small_shape(TYPE_Q8_0);
    const char *file = tiny_model(&shape), *path = temp_path(".cache");
    static outcome want, got;
    engine *g = tiny_engine(file, 0, 1);
    use(g, path, &want);
    engine_close(g);
    assert_int_equal(want.n_restored, 43);
    assert_int_equal(want.n_processed, 43 - 3); /* rows 20 to 39 were asked for */
    assert_int_equal(want.n_before, 10 + 30 + TOKENS);
    long before = mem_live(), n = 0;
    refused = 0;
    for (bool failed = true; failed;) {
        g = tiny_engine(file, 0, 1);
        mem_fail_at(++n);
        use(g, path, &got);
        failed = mem_asked() >= n;
        mem_fail_at(0);
        engine_close(g);
        if (mem_live() != before)
            fail_msg("allocation %ld: %ld blocks too many", n, mem_live() - before);
        if (memcmp(&want, &got, sizeof got)) fail_msg("allocation %ld changes what is computed", n);
    }
    print_message("%ld allocations, %zu calls refused\n", n - 1, refused);
    assert_true(n > 60 && refused > 50);
}

TEST(a_generation_that_cannot_be_stored_leaves_its_cache_and_can_go_on) {
    tiny_shape shape = small_shape(TYPE_Q8_0);
    engine *wide = tiny_engine(tiny_model(&shape), 0, 1);
    engine *g = tiny_engine(tiny_model(&shape), 2 * engine_model(wide)->block_bytes, 1);
    int32_t list[70];
    uint64_t seed = 9;
    pl_error e;
    job *j, *k;
    tiny_tokens(&seed, list, 70, V);
    cache_node *held = tiny_cache(g, list, 30), *prompt = tiny_cache(g, list + 5, 28),
               *free_prompt = tiny_cache(wide, list + 5, 28);
    cache_node *cache;
    assert_int_equal(job_evaluate(g, WANT_NOTHING, &(job_part){held, 0, 0}, 1, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_OK);
    job_close(j);
    generate_options o = {.cache = prompt, .max_new_tokens = 20, .sampler = sampler_defaults()},
                     want = o;
    want.cache = free_prompt;
    assert_int_equal(job_generate(wide, &want, &k, &e), PL_OK);
    assert_int_equal(job_run(k, &e), PL_OK);
    assert_int_equal(job_generate(g, &o, &j, &e), PL_OK);
    assert_int_equal(job_run(j, &e), PL_ERR_POOL); /* its second block is one too many */
    assert_non_null(strstr(e.message, "cache_bytes"));
    assert_int_equal(job_result(j).n_tokens, 5);
    assert_memory_equal(job_result(j).tokens, job_result(k).tokens, 5 * sizeof(int32_t));
    assert_int_equal(job_cache(j, &cache, &e), PL_OK);
    assert_int_equal(node_length(cache), 33);
    assert_int_equal(job_run(j, &e), PL_ERR_POOL);
    node_release(held);
    assert_int_equal(job_run(j, &e), PL_OK);
    assert_int_equal(job_result(j).n_tokens, 20);
    assert_memory_equal(job_result(j).tokens, job_result(k).tokens, 20 * sizeof(int32_t));
    job_close(j);
    job_close(k);
    node_release(cache);
    node_release(prompt);
    node_release(free_prompt);
    engine_close(g);
    engine_close(wide);
}

/* ---- models that are refused ---- */

static void check_refused(const engine_options *o, pl_code code, const char *what) {
    engine *g = NULL;
    pl_error e = {0};
    long before = mem_live();
    pl_code rc = engine_open(o, &g, &e);
    if (rc != code || !strstr(e.message, what))
        fail_msg("%s '%s', not %s '%s'", pl_code_name(rc), e.message, pl_code_name(code), what);
    const char *named = strstr(e.message, o->model.path);
    assert_true(!named || !strstr(named + 1, o->model.path)); /* once is enough */
    assert_null(g);
    assert_int_equal(mem_live(), before);
}

static void check_edit(const tiny_edit *edit, pl_code code, const char *what) {
    tiny_shape shape = small_shape(TYPE_F32);
    shape.edit = edit;
    shape.rope_factors = edit->tensor && !strcmp(edit->tensor, "rope_freqs.weight");
    const char *path = tiny_model(&shape);
    engine_options o = {.model = {.path = path, .threads = 1}};
    check_refused(&o, code, what);
    check_refused(&o, code, path); /* the file is named */
}

TEST(a_tensor_that_is_missing_is_named) {
    static const char *const names[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",      "blk.1.attn_k.weight",   "blk.0.attn_v.weight",
        "blk.1.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight",
        "blk.1.ffn_up.weight",      "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char want[100];
        snprintf(want, sizeof want, "the tensor '%s' is missing", names[i]);
        check_edit(&(tiny_edit){.tensor = names[i]}, PL_ERR_FORMAT, want);
    }
}

TEST(a_tensor_of_another_shape_or_type_is_named_with_both) {
    check_edit(
        &(tiny_edit){.tensor = "blk.0.attn_k.weight", .ne = {32, 17}}, PL_ERR_FORMAT,
        "'blk.0.attn_k.weight' has the shape [32, 17]; the hyper-parameters ask for [32, 16]");
    check_edit(&(tiny_edit){.tensor = "blk.0.ffn_norm.weight", .ne = {31, 1}}, PL_ERR_FORMAT,
               "'blk.0.ffn_norm.weight' has the shape [31]; the hyper-parameters ask for [32]");
    check_edit(&(tiny_edit){.tensor = "blk.1.ffn_norm.weight", .ne = {32, 2}}, PL_ERR_FORMAT,
               "'blk.1.ffn_norm.weight' has the shape [32, 2]; the hyper-parameters ask for [32]");
    check_edit(
        &(tiny_edit){.tensor = "token_embd.weight", .ne = {32, 299}}, PL_ERR_FORMAT,
        "'token_embd.weight' has the shape [32, 299]; the hyper-parameters ask for [32, 300]");
    check_edit(&(tiny_edit){.tensor = "output.weight", .ne = {64, 300}}, PL_ERR_FORMAT,
               "'output.weight' has the shape [64, 300]");
    check_edit(&(tiny_edit){.tensor = "rope_freqs.weight", .ne = {7, 1}}, PL_ERR_FORMAT,
               "'rope_freqs.weight' has the shape [7]; the hyper-parameters ask for [8]");
    check_edit(&(tiny_edit){.tensor = "rope_freqs.weight", .ne = {8, 1}}, PL_ERR_FORMAT,
               "factors are positive"); /* zeros */
    check_edit(&(tiny_edit){.tensor = "blk.0.attn_q.weight", .type = 28}, PL_ERR_UNSUPPORTED,
               "'blk.0.attn_q.weight' has the type F64, which is not supported");
    check_edit(&(tiny_edit){.tensor = "output_norm.weight", .type = 26}, PL_ERR_UNSUPPORTED,
               "'output_norm.weight' has the type I32, which is not supported");
    check_edit(&(tiny_edit){.extra = "blk.0.ffn_gate_inp.weight"}, PL_ERR_UNSUPPORTED,
               "'blk.0.ffn_gate_inp.weight' is not part of the architecture 'llama'");
    check_edit(&(tiny_edit){.extra = "blk.2.attn_norm.weight"}, PL_ERR_UNSUPPORTED,
               "'blk.2.attn_norm.weight' is not part");
}

/* Arrays of other than one number for each of the two layers, or of a number that cannot be. */
static void heads_of_three_layers(gguf_writer *w) {
    gguf_add_numbers(w, "llama.attention.head_count_kv", GGUF_U32, (uint32_t[]){1, 1, 1}, 3);
}
static void no_heads_in_layer_1(gguf_writer *w) {
    gguf_add_numbers(w, "llama.attention.head_count_kv", GGUF_U32, (uint32_t[]){1, 0}, 2);
}
static void other_arch(gguf_writer *w) { gguf_add_string(w, "general.architecture", "mamba", 5); }
static void arch_number(gguf_writer *w) { gguf_add_u32(w, "general.architecture", 3); }
static void dynamic(gguf_writer *w) { gguf_add_string(w, "llama.rope.scaling.type", "dynamic", 7); }
static void epsilon_word(gguf_writer *w) {
    gguf_add_string(w, "llama.attention.layer_norm_rms_epsilon", "small", 5);
}
static void epsilon_nan(gguf_writer *w) {
    gguf_add_raw(w, "llama.attention.layer_norm_rms_epsilon", GGUF_F32,
                 (uint8_t[]){0, 0, 0xC0, 0x7F}, 4);
}

/* Keys with a number each, for edits: the name and value are set before. */
static const char *number_key;
static uint32_t number;
static void add_number(gguf_writer *w) { gguf_add_u32(w, number_key, number); }
static void check_number(const char *key, uint32_t value, pl_code code, const char *what) {
    number_key = key;
    number = value;
    check_edit(&(tiny_edit){.key = key, .more = add_number}, code, what);
}

static float real;
static void add_float(gguf_writer *w) { gguf_add_f32(w, number_key, real); }
static void check_float(const char *key, float value) {
    number_key = key;
    real = value;
    check_edit(&(tiny_edit){.key = key, .more = add_float}, PL_ERR_FORMAT, key);
}

TEST(hyper_parameters_of_no_size_or_an_absurd_one_are_named) {
    static const char *const counts[] = {"block_count",          "embedding_length",
                                         "feed_forward_length",  "context_length",
                                         "attention.head_count", "attention.head_count_kv",
                                         "attention.key_length", "attention.value_length",
                                         "rope.dimension_count", "vocab_size"};
    static const char *const floats[] = {"attention.layer_norm_rms_epsilon",
                                         "rope.freq_base",
                                         "rope.scale_linear",
                                         "rope.scaling.factor",
                                         "rope.scaling.attn_factor",
                                         "attention.scale",
                                         "rope.scaling.yarn_beta_fast",
                                         "attn_logit_softcapping"};
    char key[80];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        snprintf(key, sizeof key, "llama.%s", counts[i]);
        check_number(key, 0, PL_ERR_FORMAT, key);
        check_number(key, UINT32_MAX, PL_ERR_FORMAT, key);
    }
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        snprintf(key, sizeof key, "llama.%s", floats[i]);
        check_float(key, NAN);
        check_float(key, INFINITY);
        check_float(key, -1);
    }
    check_float("llama.rope.freq_base", 0);
    /* The largest that each may be alone asks for tensors that no file holds. */
    check_number("llama.embedding_length", 1 << 20, PL_ERR_FORMAT,
                 "'token_embd.weight' has the shape [32, 300]");
    check_number("llama.feed_forward_length", 1 << 20, PL_ERR_FORMAT, "'blk.0.ffn_gate.weight'");
    check_number("llama.attention.key_length", 1 << 20, PL_ERR_FORMAT, "'blk.0.attn_q.weight'");
    check_number("llama.block_count", 4096, PL_ERR_FORMAT, "'blk.2.attn_norm.weight' is missing");
}

TEST(hyper_parameters_that_are_missing_out_of_range_or_contradict_one_another_are_named) {
    static const char *const needed[] = {"general.architecture",
                                         "llama.context_length",
                                         "llama.embedding_length",
                                         "llama.block_count",
                                         "llama.feed_forward_length",
                                         "llama.attention.head_count",
                                         "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        check_edit(&(tiny_edit){.key = needed[i]}, PL_ERR_FORMAT, needed[i]);
    check_edit(&(tiny_edit){.key = needed[0], .more = other_arch}, PL_ERR_UNSUPPORTED,
               "the architecture 'mamba' is not supported");
    check_edit(&(tiny_edit){.key = needed[0], .more = arch_number}, PL_ERR_FORMAT,
               "general.architecture");
    check_edit(&(tiny_edit){.key = needed[6], .more = epsilon_word}, PL_ERR_FORMAT, needed[6]);
    check_edit(&(tiny_edit){.key = needed[6], .more = epsilon_nan}, PL_ERR_FORMAT, needed[6]);
    check_edit(&(tiny_edit){.more = dynamic}, PL_ERR_UNSUPPORTED, "RoPE scaling of type 'dynamic'");
    check_edit(&(tiny_edit){.key = "llama.attention.head_count_kv", .more = heads_of_three_layers},
               PL_ERR_FORMAT, "llama.attention.head_count_kv has 3 entries for 2 layers");
    check_edit(&(tiny_edit){.key = "llama.attention.head_count_kv", .more = no_heads_in_layer_1},
               PL_ERR_FORMAT, "llama.attention.head_count_kv holds 0 at 1");
    check_number("llama.block_count", 0, PL_ERR_FORMAT, "llama.block_count");
    check_number("llama.block_count", 4097, PL_ERR_FORMAT, "llama.block_count");
    check_number("llama.block_count", 3, PL_ERR_FORMAT, "'blk.2.attn_norm.weight' is missing");
    check_number("llama.block_count", 1, PL_ERR_UNSUPPORTED, "'blk.1.");
    check_number("llama.embedding_length", 33, PL_ERR_FORMAT,
                 "an embedding of 33 does not divide into 2 heads");
    check_number("llama.embedding_length", 64, PL_ERR_FORMAT,
                 "'token_embd.weight' has the shape [32, 300]");
    check_number("llama.embedding_length", 1u << 31, PL_ERR_FORMAT, "llama.embedding_length");
    check_number("llama.feed_forward_length", 64, PL_ERR_FORMAT,
                 "'blk.0.ffn_gate.weight' has the shape [32, 32]");
    check_number("llama.attention.head_count", 0, PL_ERR_FORMAT, "llama.attention.head_count");
    check_number("llama.attention.head_count", 3, PL_ERR_FORMAT,
                 "an embedding of 32 does not divide into 3 heads");
    /* heads of one number cannot be rotated */
    check_number("llama.attention.head_count", 32, PL_ERR_FORMAT, "");
    check_number("llama.attention.head_count_kv", 0, PL_ERR_FORMAT,
                 "llama.attention.head_count_kv");
    check_number("llama.attention.head_count_kv", 3, PL_ERR_FORMAT,
                 "2 query heads cannot share 3 key/value heads");
    check_number("llama.attention.head_count_kv", 2, PL_ERR_FORMAT,
                 "'blk.0.attn_k.weight' has the shape [32, 16]");
    check_number("llama.attention.key_length", 8, PL_ERR_FORMAT,
                 "'blk.0.attn_q.weight' has the shape [32, 32]");
    check_number("llama.attention.value_length", 24, PL_ERR_FORMAT,
                 "'blk.0.attn_v.weight' has the shape [32, 16]");
    check_number("llama.rope.dimension_count", 15, PL_ERR_FORMAT,
                 "llama.rope.dimension_count is 15");
    check_number("llama.rope.dimension_count", 18, PL_ERR_FORMAT, "at most the head size, 16");
    check_number("llama.vocab_size", 299, PL_ERR_FORMAT,
                 "llama.vocab_size is 299, but tokenizer.ggml.tokens has 300");
    check_number("llama.expert_count", 8, PL_ERR_FORMAT, "llama.expert_used_count");
    check_number("llama.context_length", 0, PL_ERR_FORMAT, "llama.context_length");
}

static bool refuse(void *user, double fraction) {
    (void)user;
    return fraction < 0.9;
}

TEST(options_that_cannot_be_met_are_refused) {
    tiny_shape shape = small_shape(TYPE_F32);
    const char *path = tiny_model(&shape);
    engine_options o = {.model = {.path = path, .threads = TEAM_MAX + 1}};
    check_refused(&o, PL_ERR_ARGUMENT, "threads");
    o = (engine_options){.model = {.path = path, .isa = "mmx"}};
    check_refused(&o, PL_ERR_ARGUMENT, "'mmx'");
    o = (engine_options){.model = {.path = path, .threads = 1}, .cache_bytes = 100};
    check_refused(&o, PL_ERR_ARGUMENT, "cache_bytes is 100");
    o = (engine_options){.model = {.path = path, .threads = 1, .progress = refuse}};
    check_refused(&o, PL_ERR_CANCELLED, "cancelled");
    o = (engine_options){.model = {.path = temp_path(".none"), .threads = 1}};
    check_refused(&o, PL_ERR_IO, o.model.path);
}

TEST(a_vocabulary_alone_is_loaded_whatever_the_tensors_are) {
    tiny_shape shape = small_shape(TYPE_F32);
    shape.edit = &(tiny_edit){.tensor = "token_embd.weight"};
    engine_options o = {.model = {.path = tiny_model(&shape), .vocab_only = true}};
    engine *g;
    pl_error e;
    assert_int_equal(engine_open(&o, &g, &e), PL_OK);
    assert_int_equal(engine_model(g)->hp.n_vocab, V);
    assert_int_equal(tokenizer_id(engine_model(g)->tok, "e", 1), 260);
    assert_null(engine_store(g));
    engine_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define FAULT_TEST(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)
        FAULT_TEST(every_allocation_of_a_load_fails_once_and_leaves_nothing_behind),
        FAULT_TEST(every_allocation_of_a_session_fails_once_and_nothing_is_lost),
        FAULT_TEST(a_generation_that_cannot_be_stored_leaves_its_cache_and_can_go_on),
        FAULT_TEST(a_tensor_that_is_missing_is_named),
        FAULT_TEST(a_tensor_of_another_shape_or_type_is_named_with_both),
        FAULT_TEST(
            hyper_parameters_that_are_missing_out_of_range_or_contradict_one_another_are_named),
        FAULT_TEST(hyper_parameters_of_no_size_or_an_absurd_one_are_named),
        FAULT_TEST(options_that_cannot_be_met_are_refused),
        FAULT_TEST(a_vocabulary_alone_is_loaded_whatever_the_tensors_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
