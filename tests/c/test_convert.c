/* test_convert.c: copies of GGUF files with their weights as other types. What a tensor should
 * become is made here row by row; the conversion cuts it elsewhere. A copy that changes nothing is
 * the same file, byte for byte. */
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "gguf/convert.h"
#include "support.h"
#include "tiny.h"

#define COLUMNS 512
#define ROWS 350 /* more than two units of weights, and no whole number of them */

static const gguf_options mapped = {.map = true};
static uint64_t seed = 3;

static float uniform(void) { return (float)(tiny_random(&seed) >> 40) * 0x1p-23f - 1; }

static gguf *open_file(const char *path) {
    gguf *g;
    pl_error e;
    if (gguf_open(path, &mapped, &g, &e) != PL_OK) fail_msg("%s", e.message);
    return g;
}

/* All keys of g in a new writer. */
static gguf_writer *writer_like(const gguf *g) {
    gguf_writer *w = gguf_writer_new();
    for (size_t i = 0; i < gguf_n_values(g); i++) gguf_add_value(w, gguf_value_at(g, i));
    return w;
}

/* Every tensor of the file at `in` that has the name, or all (NULL), as `type`. */
static pl_code convert(const char *in, const char *out, const char *name, uint32_t type,
                       size_t threads, pl_error *e) {
    gguf *g = open_file(in);
    uint32_t *types = malloc((gguf_n_tensors(g) + 1) * sizeof *types);
    assert_non_null(types);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        types[i] = !name || !strcmp(name, t->name) ? type : t->type;
    }
    gguf_writer *w = writer_like(g);
    pl_code code = gguf_convert(g, &(gguf_conversion){.types = types, .threads = threads}, w, out,
                                e);
    gguf_writer_free(w);
    gguf_close(g);
    free(types);
    return code;
}

static size_t n_files(void) {
    size_t n = 0;
    DIR *d = opendir(temp_folder());
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void check_same_files(const char *a, const char *b) {
    size_t m, n;
    char *x = read_whole(a, &m), *y = read_whole(b, &n);
    assert_int_equal(m, n);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* A file with a matrix of each float type, a short row, a vector, and values of many kinds. */
static const char *floats_file(void) {
    static const char *path;
    static float x[ROWS][COLUMNS];
    static uint8_t half[2 * ROWS * COLUMNS], bfloat[2 * ROWS * COLUMNS];
    static const uint64_t wide[2] = {COLUMNS, ROWS}, narrow[2] = {40, 3},
                          three[3] = {COLUMNS, 5, 2};
    static const gguf_string words[] = {{"", 0}, {"a\0b", 3}, {"\xE6\x97\xA5", 3}};
    static const uint64_t big[2] = {UINT64_MAX, 1};
    if (path) return path;
    path = temp_path(".gguf");
    for (size_t i = 0; i < ROWS; i++)
        for (size_t k = 0; k < COLUMNS; k++) x[i][k] = uniform() * ldexpf(1, (int)(k / 32 % 5) - 3);
    weight_format_of(TYPE_F16)->from_float(x[0], half, ROWS * COLUMNS);
    weight_format_of(TYPE_BF16)->from_float(x[0], bfloat, ROWS * COLUMNS);
    gguf_writer *w = gguf_writer_new();
    pl_error e;
    gguf_add_string(w, "general.architecture", "llama", 5);
    gguf_add_u32(w, "general.alignment", 64);
    gguf_add_strings(w, "words", words, 3);
    gguf_add_strings(w, "no words", NULL, 0);
    gguf_add_numbers(w, "big", GGUF_U64, big, 2);
    gguf_add_numbers(w, "flags", GGUF_BOOL, "\1\0\1", 3);
    gguf_add_numbers(w, "shorts", GGUF_I16, big, 3);
    gguf_add_raw(w, "byte", GGUF_U8, "\xF0", 1);
    gguf_add_raw(w, "long", GGUF_I64, big, 8);
    gguf_add_raw(w, "not a number", GGUF_F64, big, 8);
    gguf_add_tensor(w, "f32", TYPE_F32, 2, wide, x);
    gguf_add_tensor(w, "narrow", TYPE_F32, 2, narrow, x);
    gguf_add_tensor(w, "f16", TYPE_F16, 2, wide, half);
    gguf_add_tensor(w, "three", TYPE_F32, 3, three, x[7]);
    gguf_add_tensor(w, "bf16", TYPE_BF16, 2, wide, bfloat);
    if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_writer_free(w);
    return path;
}

/* ---- what is written ---- */

TEST(a_converted_tensor_is_its_rows_rounded_one_by_one) {
    static const char *const names[] = {"f32", "f16", "bf16", "three"};
    gguf *in = open_file(floats_file());
    for (uint32_t type = 0; type < TYPE_COUNT; type++) {
        const weight_format *to = weight_format_of(type);
        if (!to || !to->from_float) continue;
        const char *path = temp_path(".gguf");
        pl_error e;
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            const gguf_tensor *a = gguf_find_tensor(in, names[n]);
            if (convert(floats_file(), path, names[n], type, 1 + n % 3, &e))
                fail_msg("%s", e.message);
            gguf *out = open_file(path);
            const gguf_tensor *b = gguf_find_tensor(out, names[n]);
            assert_int_equal(b->type, type);
            assert_memory_equal(b->ne, a->ne, sizeof a->ne);
            size_t from = COLUMNS / weight_format_of(a->type)->block *
                          weight_format_of(a->type)->bytes;
            size_t row = COLUMNS / to->block * to->bytes;
            for (size_t i = 0; i < a->ne[1] * a->ne[2]; i++) {
                float x[COLUMNS];
                uint8_t want[4 * COLUMNS];
                weight_format_of(a->type)->to_float((const uint8_t *)a->data + i * from, x,
                                                    COLUMNS);
                to->from_float(x, want, COLUMNS);
                assert_memory_equal((const uint8_t *)b->data + i * row, want, row);
            }
            gguf_close(out);
        }
        remove(path);
    }
    gguf_close(in);
}

TEST(the_number_of_threads_changes_no_byte) {
    const char *one = temp_path(".gguf"), *many = temp_path(".gguf");
    pl_error e;
    for (size_t threads = 2; threads <= 7; threads += 5) {
        if (convert(floats_file(), one, "f32", TYPE_Q4_K, 1, &e) ||
            convert(floats_file(), many, "f32", TYPE_Q4_K, threads, &e))
            fail_msg("%s", e.message);
        check_same_files(one, many);
    }
}

TEST(a_copy_that_changes_nothing_is_the_same_file) {
    const char *path = temp_path(".gguf");
    pl_error e;
    if (convert(floats_file(), path, "none", TYPE_F16, 2, &e)) fail_msg("%s", e.message);
    check_same_files(floats_file(), path);
}

TEST(from_f16_to_f32_and_back_nothing_is_lost) {
    const char *wide = temp_path(".gguf"), *back = temp_path(".gguf");
    pl_error e;
    if (convert(floats_file(), wide, "f16", TYPE_F32, 2, &e) ||
        convert(wide, back, "f16", TYPE_F16, 2, &e))
        fail_msg("%s", e.message);
    check_same_files(floats_file(), back);
}

TEST(a_vocabulary_without_tensors_is_copied) {
    const char *in = temp_path(".gguf"), *out = temp_path(".gguf");
    gguf_writer *w = gguf_writer_new();
    pl_error e;
    gguf_add_u32(w, "a", 1);
    assert_int_equal(gguf_write(w, in, &e), PL_OK);
    gguf_writer_free(w);
    if (convert(in, out, NULL, TYPE_F16, 2, &e)) fail_msg("%s", e.message);
    check_same_files(in, out);
}

TEST(the_parts_of_a_split_file_become_one) {
    static const char *const names[] = {"a", "b"};
    char path[2][300];
    const char *out = temp_path(".gguf"), *stem = temp_path("");
    float x[64];
    pl_error e;
    for (size_t i = 0; i < 64; i++) x[i] = uniform();
    for (uint16_t i = 0; i < 2; i++) {
        gguf_writer *w = gguf_writer_new();
        snprintf(path[i], sizeof path[i], "%s-%05u-of-00002.gguf", stem, i + 1u);
        gguf_add_raw(w, "split.no", GGUF_U16, &i, 2);
        gguf_add_raw(w, "split.count", GGUF_U16, "\2", 2);
        gguf_add_raw(w, "split.tensors.count", GGUF_I32, "\2\0\0", 4);
        gguf_add_tensor(w, names[i], TYPE_F32, 1, (uint64_t[]){32}, x + 32 * i);
        if (gguf_write(w, path[i], &e)) fail_msg("%s", e.message);
        gguf_writer_free(w);
    }
    gguf *g = open_file(path[0]);
    assert_int_equal(gguf_n_parts(g), 2);
    assert_string_equal(gguf_part_path(g, 1), path[1]);
    for (size_t i = 0; i < 2; i++) { /* neither part is overwritten */
        gguf_writer *w = gguf_writer_new();
        uint32_t types[2] = {TYPE_F16, TYPE_F16};
        assert_int_equal(gguf_convert(g, &(gguf_conversion){.types = types}, w, path[i], &e),
                         PL_ERR_IO);
        gguf_writer_free(w);
    }
    gguf_writer *w = gguf_writer_new();
    uint32_t types[2] = {TYPE_F32, TYPE_Q8_0};
    if (gguf_convert(g, &(gguf_conversion){.types = types}, w, out, &e)) fail_msg("%s", e.message);
    gguf_writer_free(w);
    gguf_close(g);
    uint8_t want[34];
    weight_format_of(TYPE_Q8_0)->from_float(x + 32, want, 32);
    g = open_file(out);
    assert_memory_equal(gguf_find_tensor(g, "a")->data, x, 32 * sizeof *x);
    assert_memory_equal(gguf_find_tensor(g, "b")->data, want, sizeof want);
    gguf_close(g);
}

/* ---- what is refused ---- */

static void check_refused(const char *in, const char *out, const char *name, uint32_t type,
                          pl_code code, const char *says) {
    size_t files = n_files();
    long live = mem_live();
    pl_error e = {0};
    pl_code found = convert(in, out, name, type, 2, &e);
    if (found != code || !strstr(e.message, says))
        fail_msg("%s '%s', not '%s'", pl_code_name(found), e.message, says);
    assert_int_equal(n_files(), files); /* nothing was left behind */
    assert_int_equal(mem_live(), live);
}

TEST(types_that_cannot_be_written_or_read_are_named) {
    const char *out = temp_path(".gguf"), *strange = temp_path(".gguf");
    check_refused(floats_file(), out, "f32", 22, PL_ERR_ARGUMENT,
                  "'f32': weights cannot be written as IQ2_S");
    check_refused(floats_file(), out, "f32", 4, PL_ERR_ARGUMENT, "a type that does not exist");
    check_refused(floats_file(), out, "narrow", TYPE_Q8_0, PL_ERR_ARGUMENT,
                  "rows of 40 weights do not divide into Q8_0's blocks of 32");
    check_refused(floats_file(), out, NULL, TYPE_Q4_K, PL_ERR_ARGUMENT, "'narrow'");
    uint8_t blocks[82] = {0};
    gguf_writer *w = gguf_writer_new();
    pl_error e;
    gguf_add_tensor(w, "odd", 22, 1, (uint64_t[]){256}, blocks);
    assert_int_equal(gguf_write(w, strange, &e), PL_OK);
    gguf_writer_free(w);
    check_refused(strange, out, "odd", TYPE_F16, PL_ERR_UNSUPPORTED,
                  "'odd': weights of type IQ2_S cannot be read");
    assert_int_equal(convert(strange, out, "none", 0, 1, &e), PL_OK); /* copied, it need not be */
}

TEST(weights_that_a_type_cannot_hold_are_refused) {
    static const float bad[] = {NAN, INFINITY, -INFINITY, 65536, -1e30f};
    const char *in = temp_path(".gguf"), *out = temp_path(".gguf");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float x[256] = {1, 2, 65504};
        pl_error e;
        x[255] = bad[i];
        gguf_writer *w = gguf_writer_new();
        gguf_add_tensor(w, "x", TYPE_F32, 1, (uint64_t[]){256}, x);
        assert_int_equal(gguf_write(w, in, &e), PL_OK);
        gguf_writer_free(w);
        check_refused(in, out, "x", TYPE_F16, PL_ERR_FORMAT,
                      "'x': found a weight that F16 cannot hold");
        check_refused(in, out, "x", TYPE_Q4_K, PL_ERR_FORMAT, "Q4_K");
        if (isfinite(bad[i])) assert_int_equal(convert(in, out, "x", TYPE_BF16, 1, &e), PL_OK);
        else check_refused(in, out, "x", TYPE_BF16, PL_ERR_FORMAT, "BF16");
        remove(out);
    }
}

TEST(the_file_that_is_read_is_not_written) {
    const char *soft = temp_path(".gguf"), *hard = temp_path(".gguf");
    check_refused(floats_file(), floats_file(), "f32", TYPE_F16, PL_ERR_IO,
                  "it is the file that is read");
    assert_int_equal(symlink(floats_file(), soft), 0);
    check_refused(floats_file(), soft, "f32", TYPE_F16, PL_ERR_IO, "it is the file that is read");
    assert_int_equal(link(floats_file(), hard), 0);
    check_refused(floats_file(), hard, "f32", TYPE_F16, PL_ERR_IO, "it is the file that is read");
    check_refused(floats_file(), "/nonexistent/folder/x.gguf", "f32", TYPE_F16, PL_ERR_IO,
                  "cannot create");
}

TEST(a_disk_that_is_full_leaves_the_old_file) {
    const char *out = temp_path(".gguf");
    struct rlimit before, small;
    write_whole(out, "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 300000; /* the file would be larger, its first tensor already is */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    check_refused(floats_file(), out, "f16", TYPE_Q8_0, PL_ERR_IO, "cannot write");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    char *left = read_whole(out, NULL);
    assert_string_equal(left, "old");
    free(left);
}

/* ---- progress ---- */

typedef struct { long calls, stop_at; double last; } progress;

static bool note_progress(void *user, double fraction) {
    progress *p = user;
    assert_true(fraction >= p->last && fraction <= 1);
    p->last = fraction;
    return ++p->calls != p->stop_at;
}

static pl_code convert_until(long stop_at, const char *out, progress *p, pl_error *e) {
    gguf *g = open_file(floats_file());
    uint32_t types[] = {TYPE_Q4_0, TYPE_F32, TYPE_F32, TYPE_Q6_K, TYPE_BF16};
    gguf_writer *w = writer_like(g);
    *p = (progress){.stop_at = stop_at};
    pl_code code = gguf_convert(g, &(gguf_conversion){types, 1, note_progress, p}, w, out, e);
    gguf_writer_free(w);
    gguf_close(g);
    return code;
}

TEST(a_conversion_that_is_cancelled_leaves_no_file) {
    const char *out = temp_path(".gguf");
    size_t files = n_files();
    progress p;
    pl_error e;
    assert_int_equal(convert_until(0, out, &p, &e), PL_OK);
    assert_true(p.last == 1 && p.calls >= 6);
    remove(out);
    for (long n = 1; n <= p.calls; n++) {
        progress q;
        assert_int_equal(convert_until(n, out, &q, &e), PL_ERR_CANCELLED);
        assert_int_equal(q.calls, n);
        assert_int_equal(n_files(), files);
    }
}

/* ---- without memory ---- */

TEST(every_failing_allocation_of_a_conversion_is_an_error_without_a_leak) {
    const char *out = temp_path(".gguf");
    gguf *g = open_file(floats_file());
    const uint32_t types[] = {TYPE_Q4_0, TYPE_F32, TYPE_Q8_0, TYPE_F32, TYPE_BF16};
    long live = mem_live(), n;
    size_t files = n_files();
    for (n = 1;; n++) {
        pl_error e;
        mem_fail_at(n);
        gguf_writer *w = writer_like(g);
        pl_code code = w ? gguf_convert(g, &(gguf_conversion){.types = types, .threads = 2}, w, out,
                                        &e)
                         : PL_ERR_MEMORY;
        bool reached = mem_asked() >= n;
        mem_fail_at(0);
        gguf_writer_free(w);
        assert_int_equal(mem_live(), live);
        assert_int_equal(code, reached ? PL_ERR_MEMORY : PL_OK);
        if (!reached) break;
        assert_int_equal(n_files(), files);
    }
    assert_true(n > 8);
    gguf_close(g);
}

/* ---- the writer in steps ---- */

TEST(data_that_comes_in_pieces_makes_the_same_file) {
    const char *whole = temp_path(".gguf"), *pieces = temp_path(".gguf");
    static const uint64_t ne[1] = {33};
    float x[33], y[33];
    pl_error e;
    for (size_t i = 0; i < 33; i++) x[i] = uniform(), y[i] = uniform();
    for (int steps = 0; steps < 2; steps++) {
        gguf_writer *w = gguf_writer_new();
        gguf_add_u32(w, "key", 5);
        gguf_add_tensor(w, "x", TYPE_F32, 1, ne, steps ? NULL : x);
        gguf_add_tensor(w, "y", TYPE_F32, 1, ne, steps ? NULL : y);
        if (!steps) {
            assert_int_equal(gguf_write(w, whole, &e), PL_OK);
        } else {
            assert_int_equal(gguf_write_data(w, x, 1, &e), PL_ERR_ARGUMENT); /* not begun */
            assert_int_equal(gguf_write_end(w, &e), PL_ERR_ARGUMENT);
            assert_int_equal(gguf_write_begin(w, pieces, &e), PL_OK);
            assert_int_equal(gguf_write_data(w, x, 100, &e), PL_OK);
            assert_int_equal(gguf_write_begin(w, pieces, &e), PL_OK); /* anew */
            assert_int_equal(gguf_write_data(w, x, sizeof x + 1, &e), PL_ERR_ARGUMENT);
            for (size_t i = 0; i < sizeof x; i += 11)
                assert_int_equal(gguf_write_data(w, (const uint8_t *)x + i, 11, &e), PL_OK);
            assert_int_equal(gguf_write_data(w, y, 4, &e), PL_OK);
            assert_int_equal(gguf_write_end(w, &e), PL_ERR_ARGUMENT); /* y is not complete */
            assert_int_equal(gguf_write_data(w, y + 1, sizeof y - 4, &e), PL_OK);
            assert_int_equal(gguf_write_data(w, y, 1, &e), PL_ERR_ARGUMENT);
            assert_int_equal(access(pieces, F_OK), -1);
            assert_int_equal(gguf_write_end(w, &e), PL_OK);
        }
        gguf_writer_free(w);
    }
    check_same_files(whole, pieces);
}

TEST(a_tensor_without_data_is_refused_by_a_write_that_has_no_steps) {
    gguf_writer *w = gguf_writer_new();
    pl_error e;
    gguf_add_tensor(w, "x", TYPE_F32, 1, (uint64_t[]){3}, NULL);
    assert_int_equal(gguf_write(w, temp_path(".gguf"), &e), PL_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "tensor 1 has no data"));
    gguf_writer_free(w);
}

TEST(an_alignment_that_the_format_does_not_know_is_refused) {
    static const uint32_t bad[] = {0, 4, 24, 2u << 20};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_writer *w = gguf_writer_new();
        pl_error e;
        gguf_add_u32(w, "general.alignment", bad[i]);
        assert_int_equal(gguf_write(w, temp_path(".gguf"), &e), PL_ERR_ARGUMENT);
        assert_non_null(strstr(e.message, "expected a power of two"));
        gguf_writer_free(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_converted_tensor_is_its_rows_rounded_one_by_one),
        cmocka_unit_test(the_number_of_threads_changes_no_byte),
        cmocka_unit_test(a_copy_that_changes_nothing_is_the_same_file),
        cmocka_unit_test(from_f16_to_f32_and_back_nothing_is_lost),
        cmocka_unit_test(a_vocabulary_without_tensors_is_copied),
        cmocka_unit_test(the_parts_of_a_split_file_become_one),
        cmocka_unit_test(types_that_cannot_be_written_or_read_are_named),
        cmocka_unit_test(weights_that_a_type_cannot_hold_are_refused),
        cmocka_unit_test(the_file_that_is_read_is_not_written),
        cmocka_unit_test(a_disk_that_is_full_leaves_the_old_file),
        cmocka_unit_test(a_conversion_that_is_cancelled_leaves_no_file),
        cmocka_unit_test(every_failing_allocation_of_a_conversion_is_an_error_without_a_leak),
        cmocka_unit_test(data_that_comes_in_pieces_makes_the_same_file),
        cmocka_unit_test(a_tensor_without_data_is_refused_by_a_write_that_has_no_steps),
        cmocka_unit_test(an_alignment_that_the_format_does_not_know_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
