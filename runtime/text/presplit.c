/* presplit.c: how byte-level tokenizers cut a text into words before they merge. It owns one table,
 * tokenizer.ggml.pre to regexes, and runs them with PCRE2; it does not know tokens. The invariant:
 * the words, in order, are the text, and they are the same with PCRE2's JIT, without it, and when
 * its stack runs out.
 *
 * The regexes are the models' own, from the file that the row names. With several, each cuts the
 * pieces that the one before left: a match is a piece, so is what lies between two matches, and
 * lookarounds and `$` see one piece alone (Hugging Face tokenizers, Split with behaviour
 * "Isolated"; llama.cpp does the same).
 *
 * Two things are not taken over as they are. \s and \S: PCRE2 counts U+180E, a format character,
 * as space; the engines that these regexes were written for mean Unicode's White_Space, so that set
 * is spelled out when a regex is compiled. And a pattern that would take quadratic time on some
 * text is written in an equivalent form that does not; the row says which. (A run of n spaces costs
 * \s+(?!\S), \s*[\r\n]+ and the like O(n) once, because a match then takes the run: those stay.)
 *
 * llama.cpp runs some of them in an engine that knows less, and its ids differ there: in o200k_base
 * and Tekken, case beyond ASCII and marks (which cuts Hindi and Thai words at their vowel signs);
 * Han characters by blocks instead of the script, for Kimi K2. Here the regex counts, as in the
 * models' training.
 *
 * Which characters are letters, PCRE2's version of Unicode says: 14.0 in PCRE2 10.42. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>

#include "base/mem.h"
#include "text/internal.h"

#define MAX_REGEXES 8
#define MESSAGE_NAMES 420 /* bytes of a message that lists the rows */
#define JIT_STACK_MIN ((size_t)32 << 10)
/* Beyond this the interpreter takes over, whose frames are on the heap. */
#define JIT_STACK_MAX ((size_t)64 << 20)
/* Bytes around a text: PCRE2's JIT reads whole vectors, which may begin and end outside of it. */
#define PADDING 64

typedef struct {
    const char *names; /* separated by spaces */
    presplit_traits traits;
    const char *regexes[MAX_REGEXES]; /* up to the first NULL */
    size_t threes; /* which of them, counted from 1, finds digits to cut (cut_by_threes); 0: none */
} row;

/* openai-community/gpt2, encoder.py. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* What nearly all that came after cl100k_base have in common (openai/tiktoken, openai_public.py):
 * contractions in any case, words with a character in front, the given numbers, punctuation with
 * the given line ends behind, spaces. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K(numbers)                                                                            \
    CONTRACTION "|" LEAD "\\p{L}+|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES

/* Words of o200k_base (tiktoken again): upper case only at the front. Both runs of the first
 * alternative may take a letter without case: it backtracks to the last of them at most, over
 * upper-case letters that the next match takes at once. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_WORDS(ending)                                                                        \
    LEAD UPPER "*" LOWER "+" ending "|" LEAD UPPER "+" LOWER "*" ending
#define O200K(ending, numbers)                                                                     \
    O200K_WORDS(ending) "|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

/* moonshotai/Kimi-K2-Base, tokenization_kimi.py, has o200k_base's words with each class less the
 * Han characters, "[...&&[^\p{Han}]]", which PCRE2 cannot say in a class. As groups of a lookahead
 * and a class they would need a frame for each character to go back to, so they are written without
 * going back. UPPER*LOWER+ takes the run of UPPER, and then: lower case follows, which takes LOWER+
 * on; or it gives up characters until one is in LOWER, so that the match ends behind the last of
 * the run that has no case. UPPER+LOWER* is tried when there is none: all the run is upper case,
 * and nothing follows that LOWER would take. sc: \p{Han} would be script extensions in PCRE2. */
#define CASELESS "(?!\\p{sc:Han})[\\p{Lm}\\p{Lo}\\p{M}]"
#define UPPERCASE "[\\p{Lu}\\p{Lt}]"
#define NOT_HAN_WORDS                                                                              \
    LEAD "(?:(?:" UPPERCASE "|" CASELESS ")*+\\p{Ll}(?:\\p{Ll}|" CASELESS ")*+"                    \
         "|(?:" UPPERCASE "*+(?:" CASELESS ")++)++)" CONTRACTION "?"                               \
         "|" LEAD UPPERCASE "++" CONTRACTION "?"

/* deepseek-ai/DeepSeek-V3, tokenizer.json. */
#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define DEEPSEEK_WORDS                                                                             \
    "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"

/* Scripts without spaces, in llama.cpp's row for arcee-ai/Trinity-Tokenizer: ideographs, kana and
 * their half-width forms, Kangxi radicals, Thai, Lao, Khmer, Myanmar with its extensions,
 * Hangul. */
#define AFMOE_SCRIPTS                                                                              \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}"                \
    "\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}"                   \
    "\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}"                   \
    "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"

/* bigscience/bloom, tokenizer.json. */
#define BLOOM                                                                                      \
    " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

/* What is no end of a word behind a digit: Oniguruma's \w, which is UTS #18's: alphabetic
 * characters, marks, decimal digits and connectors. */
#define WORD                                                                                       \
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}"                                        \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"

/* The cased letters that deepseek-llm's tokenizer.json lists one by one. By their numbers, as
 * several of the characters do not survive a tool that normalizes text. */
#define CASED                                                                                      \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                  \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                       \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                 \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                 \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"                 \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"         \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}"                           \
    "\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}"                 \
    "\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}"          \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"                  \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"         \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}"                  \
    "\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"                 \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                 \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"         \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

/* Which name means which row: llama.cpp, src/llama-vocab.cpp, where these names are given out; so
 * are the flags. A model's own file is named where its regex was given a name of its own there. */
static const row rows[] = {
    {.names = "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 modern-bert gigachat "
              "mellum a.x-4.0 jina-es jina-de jina-v2-es jina-v2-de",
     .regexes = {GPT2}},
    {.names = "roberta-bpe jina-v1-en jina-v2-code",
     .traits = {.add_sep = true},
     .regexes = {GPT2}},

    /* bigcode/starcoder2-3b, CohereForAI/c4ai-command-r-v01, HuggingFaceTB/SmolLM-135M and others,
     * tokenizer.json: Digits (each alone), then ByteLevel, which is GPT-2's. */
    {.names = "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
     .regexes = {"\\p{N}", GPT2}},

    /* meta-llama/Meta-Llama-3-8B, tokenizer.json; its model has "ignore_merges": true. */
    {.names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     .traits = {.ignore_merges = true, .add_bos = true},
     .regexes = {CL100K("\\p{N}{1,3}")}},
    /* databricks/dbrx-base, THUDM/glm-4-9b-chat-hf: the same text, other flags. */
    {.names = "dbrx smaug-bpe glm4 chatglm-bpe", .regexes = {CL100K("\\p{N}{1,3}")}},

    /* inceptionai/Jais-2-8B-Chat, tokenizer.json: spaces in powers of two. A long run of them is
     * many matches, and each would look for its line breaks with \s*[\r\n]+ in vain. Behind a space
     * that is no line break none can be found: the match that ended there was one of the last
     * alternatives, which are tried when there are no line breaks in the rest of the run. */
    {.names = "jais-2",
     .regexes = {CONTRACTION "|" LEAD "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                             "|(?<!(?![\\r\\n])\\s)\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)"
                             "|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)"
                             "|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s"}},

    /* Qwen/Qwen2-7B, tokenizer.json. Its NFC normalizer is left out, as in llama.cpp: text comes
     * back as it went in. stabilityai/stablelm-2-zephyr-1_6b, tencent/Hunyuan-A13B-Instruct and
     * xai-org/grok-2 have the same. */
    {.names = "qwen2 deepseek-r1-qwen megrez kormo f2llmv2 stablelm2 hunyuan solar-open grok-2 "
              "openpangu",
     .regexes = {CL100K("\\p{N}")}},
    /* Qwen/Qwen3.5, tokenizer.json: marks belong to words. */
    {.names = "qwen35",
     .regexes = {CONTRACTION "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}"
                             "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
    {.names = "ufakzeka", /* Qwen2's without contractions */
     .regexes = {LEAD "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    {.names = "laguna", .regexes = {"[^\\n]+|[\\n]+", CL100K("\\p{N}")}},
    /* openbmb/MiniCPM5-1B, tokenizer.json. */
    {.names = "minicpm5",
     .traits = {.ignore_merges = true},
     .regexes = {"\\p{N}{1,3}", CL100K("\\p{N}+")}},
    /* inclusionAI/Ling-lite, tokenizer.json. */
    {.names = "bailingmoe bailingmoe2 llada-moe",
     .regexes = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                 "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    /* ByteDance-Seed/Seed-Coder-8B-Base, tokenizer.json; Seed-OSS has it too. */
    {.names = "seed-coder",
     .regexes = {CONTRACTION "|" LEAD "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}},
    /* LGAI-EXAONE/K-EXAONE-236B-A23B, tokenizer.json: words of a line are one piece. The words are
     * (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ there, one loop in another: the same strings, a letter with
     * its marks and then more of them with or without a space before each, and as a letter is
     * neither a mark nor a space, there is one way to read them and nothing to go back to. */
    {.names = "exaone-moe",
     .regexes = {CONTRACTION "|" LEAD "\\p{L}\\p{M}*+(?: ?\\p{L}\\p{M}*+)*+|\\p{N}"
                             "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},

    /* mistralai/Mistral-Nemo-Base-2407, tokenizer.json (Tekken). */
    {.names = "tekken",
     .traits = {.ignore_merges = true, .add_bos = true},
     .regexes = {O200K("", "\\p{N}")}},
    /* openai/tiktoken, o200k_base; meta-llama/Llama-4-Scout-17B-16E-Instruct, tokenizer.json. */
    {.names = "gpt-4o llama4 kanana2 talkie minimax-m2",
     .regexes = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.names = "granite-embed-multi-97m",
     .traits = {.ignore_merges = true},
     .regexes = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    /* tencent/Youtu-LLM-2B, tokenizer.json. */
    {.names = "youtu",
     .traits = {.ignore_merges = true},
     .regexes = {"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+"
                 "|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}"
                 "\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+"
                 "|[\\x{3105}-\\x{312f}]+|" DEEPSEEK_CJK,
                 O200K(CONTRACTION "?", "\\p{N}")}},
    /* CohereLabs/tiny-aya-base, tokenizer.json. The first is \d{1,3}(?=(?:\d{3})*\b) there, which
     * reads the rest of a number again for each of its groups. It finds nothing in a number with a
     * letter right behind it; any other it cuts into groups of three from its end, with one, two or
     * three digits in front. So: whole numbers that end a word, and then, in the pieces that are
     * digits throughout (none but those are: a number at the end of another piece would have been
     * found), their groups. */
    {.names = "tiny_aya cohere2moe",
     .regexes = {"(?<!\\d)\\d++(?!" WORD ")", "^\\d++\\z", O200K(CONTRACTION "?", "\\p{N}{1,3}")},
     .threes = 2},
    {.names = "kimi-k2",
     .regexes = {"\\p{sc:Han}+|" NOT_HAN_WORDS "|\\p{N}{1,3}"
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    /* UW/OLMo2-8B-SuperBPE-t180k, tokenizer.json. The second is (?=(\d{3})+(?!\d)) there: an empty
     * match, which cuts, wherever three, six, ... digits are left of a number. */
    {.names = "superbpe", .regexes = {"\\p{N}+", "\\d+"}, .threes = 2},

    {.names = "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     .regexes = {"\\p{N}{1,3}", DEEPSEEK_CJK,
                 DEEPSEEK_WORDS "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES}},
    {.names = "spark2_5",
     .regexes = {"\\p{N}{1,3}", DEEPSEEK_CJK,
                 DEEPSEEK_WORDS "| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+", "\\p{N}"}},
    /* arcee-ai/Trinity-Tokenizer, as llama.cpp cuts it (src/unicode.cpp): a cut behind a digit
     * where 0, 3, 6, ... digits are left of its number, (?<=\p{N})(?=(\p{N}{3})*(?!\p{N})), so that
     * what is in front of a number stays with its first digits until the last regex. To look for
     * that behind each digit would read the rest of a number again; so: a cut behind each number,
     * and then, of its digits but the first, the groups of three from its end. */
    {.names = "afmoe",
     .regexes = {"(?<=\\p{N})(?!\\p{N})", "(?<=\\p{N})\\p{N}+", AFMOE_SCRIPTS,
                 DEEPSEEK_WORDS "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES},
     .threes = 2},
    /* deepseek-ai/deepseek-coder-6.7b-base, tokenizer.json; the last is Digits there. */
    {.names = "deepseek-coder",
     .regexes = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
                 "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}"}},
    /* deepseek-ai/deepseek-llm-7b-base, tokenizer.json. The fourth is \s+$ there. Its leftmost
     * match begins at a space that no space precedes, or an earlier start would match too, and
     * takes the whole run, as $ is true behind a whole run only (the line breaks are pieces of
     * their own by then). */
    {.names = "deepseek-llm",
     .regexes = {"[\\r\\n]", "\\s?[" CASED "]+",
                 "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}"
                 "\\x{3000}-\\x{3002}]+",
                 "(?<!\\s)\\s++$", "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+",
                 "\\p{N}+"}},

    /* LumiOpen/Poro-34B-chat and TurkuNLP/gpt3-finnish-small have Bloom's; LumiOpen/Viking-7B has
     * it and Digits. */
    {.names = "bloom poro-chat gpt3-finnish", .regexes = {BLOOM}},
    {.names = "viking", .regexes = {BLOOM, "\\p{N}"}},

    /* facebook/chameleon-7b, tokenizer.json: sentinels, images, some spaces, Digits, Punctuation,
     * ByteLevel. */
    {.names = "chameleon",
     .traits = {.add_bos = true},
     .regexes = {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
                 "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},

    /* tiiuae/falcon-7b, tokenizer.json: Punctuation (Unicode's and ASCII's), ByteLevel, Digits, and
     * a Split, in the form that llama.cpp gives them. No token of the vocabulary has digits
     * beside other characters, so that what Digits would cut besides is never joined. */
    {.names = "falcon", .regexes = {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},

    /* google/gemma-4, tokenizer.json, and sarvamai: no words, as spaces are ordinary characters of
     * the vocabulary. No merge has a line break beside another character, so that lines can be
     * encoded one by one. Gemma 4's files may deny a BOS that it needs (llama.cpp, #21500). */
    {.names = "gemma4 granite-embed-multi-311m",
     .traits = {.add_bos = true, .always_bos = true, .spelled_as_text = true, .whole_breaks = true},
     .regexes = {"[^\\n]+|[\\n]+"}},
    /* jinaai/jina-embeddings-v2-base-zh, tokenizer.json: WhitespaceSplit. */
    {.names = "whitespace",
     .traits = {.spelled_as_text = true, .drops_spaces = true},
     .regexes = {"\\S+"}},
    {.names = "sarvam-moe", .traits = {.spelled_as_text = true}, .regexes = {"[^\\n]+|[\\n]+"}},

    /* What llama.cpp does with a file that names no type. */
    {.names = "default", .regexes = {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

/* Unicode's White_Space (PropList.txt), as the inside of a character class. */
#define WHITE_SPACE                                                                                \
    "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"   \
    "3000}"

typedef struct {
    pcre2_code *code;
    bool jit;
    bool may_open[256]; /* a match can begin with this byte */
} regex;

struct presplit {
    pcre2_general_context *memory;
    pcre2_match_context *limits; /* none: every text gets its exact answer */
    regex regexes[MAX_REGEXES];
    size_t n, threes;
};

static void *take(size_t bytes, void *unused) {
    (void)unused;
    return mem_alloc(bytes);
}

static void give(void *p, void *unused) {
    (void)unused;
    mem_free(p);
}

/* The regex with \s and \S spelled out; NULL: no memory. A class may hold \s, not \S. */
static char *spell_out_space(const char *pattern) {
    size_t size = 1;
    bool in_class = false;
    char *out, *to;
    for (const char *p = pattern; *p != '\0'; p++)
        size += p[0] == '\\' && (p[1] == 's' || p[1] == 'S') ? sizeof WHITE_SPACE + 4 : 1;
    out = to = mem_alloc(size);
    if (out == NULL) return NULL;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '\\' && (p[1] == 's' || p[1] == 'S')) {
            const char *open = in_class ? "" : p[1] == 's' ? "[" : "[^";
            to = stpcpy(stpcpy(stpcpy(to, open), WHITE_SPACE), in_class ? "" : "]");
            p++;
        } else if (p[0] == '\\' && p[1] != '\0') {
            *to++ = *p++;
            *to++ = *p;
        } else {
            in_class = in_class ? p[0] != ']' : p[0] == '[';
            *to++ = *p;
        }
    }
    *to = '\0';
    return out;
}

/* PL_ERR_MEMORY, or what else PCRE2 says; nothing else can be wrong with a regex of the table. */
static pl_code fail_pcre2(int number, const char *doing, pl_error *e) {
    char message[128] = "";
    if (number == PCRE2_ERROR_NOMEMORY || number == PCRE2_ERROR_HEAP_FAILED)
        return pl_fail(e, PL_ERR_MEMORY, "no memory to %s a pre-split regex", doing);
    pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
    return pl_fail(e, PL_ERR_UNSUPPORTED, "PCRE2 cannot %s a pre-split regex: %s", doing, message);
}

static pl_code compile(presplit *p, const char *pattern, pl_error *e) {
    regex *r = &p->regexes[p->n];
    int number = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at;
    const uint8_t *bitmap = NULL;
    uint32_t empty = 1;
    pcre2_compile_context *context = NULL;
    char *text = spell_out_space(pattern);
    if (text != NULL) context = pcre2_compile_context_create(p->memory);
    if (context != NULL)
        r->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                &number, &at, context);
    pcre2_compile_context_free(context);
    mem_free(text);
    if (r->code == NULL) return fail_pcre2(number, "compile", e);
    p->n++;
    /* Without a JIT (not built in, or the system forbids it) the interpreter gives the same words,
     * slower. */
    r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
    pcre2_pattern_info(r->code, PCRE2_INFO_FIRSTBITMAP, &bitmap);
    pcre2_pattern_info(r->code, PCRE2_INFO_MATCHEMPTY, &empty);
    for (size_t i = 0; i < 256; i++)
        r->may_open[i] = empty != 0 || bitmap == NULL || (bitmap[i / 8] >> i % 8 & 1) != 0;
    return PL_OK;
}

static const row *find_row(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (const char *p = rows[i].names; *p != '\0'; p += strcspn(p, " "), p += *p == ' ')
            if (strcspn(p, " ") == n && memcmp(p, name, n) == 0) return &rows[i];
    return NULL;
}

const char *presplit_name(size_t i, size_t *size) {
    if (i >= sizeof rows / sizeof *rows) return NULL;
    *size = strcspn(rows[i].names, " ");
    return rows[i].names;
}

static void list_names(char *out, size_t size) {
    const char *name;
    size_t at = 0, n;
    for (size_t i = 0; (name = presplit_name(i, &n)) != NULL && at + n + 3 <= size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%.*s", i != 0 ? ", " : "", (int)n, name);
}

pl_code presplit_new(const char *name, presplit **out, presplit_traits *traits, pl_error *e) {
    const row *found = find_row(name[0] != '\0' ? name : "default");
    presplit *p;
    pl_code code = PL_ERR_MEMORY;
    if (found == NULL) {
        char names[MESSAGE_NAMES] = "";
        list_names(names, sizeof names);
        return pl_fail(
            e, PL_ERR_UNSUPPORTED,
            "key 'tokenizer.ggml.pre': found \"%.64s\", expected one that this build knows: %s",
            name, names);
    }
    *traits = found->traits;
    p = mem_zalloc(sizeof *p);
    if (p == NULL) return pl_fail(e, PL_ERR_MEMORY, "no memory for the pre-split regexes");
    p->threes = found->threes;
    p->memory = pcre2_general_context_create(take, give, NULL);
    if (p->memory != NULL) p->limits = pcre2_match_context_create(p->memory);
    if (p->limits == NULL) {
        pl_fail(e, code, "no memory for the pre-split regexes");
        goto fail;
    }
    pcre2_set_match_limit(p->limits, UINT32_MAX);
    pcre2_set_depth_limit(p->limits, UINT32_MAX);
    pcre2_set_heap_limit(p->limits, UINT32_MAX);
    while (p->n < MAX_REGEXES && found->regexes[p->n] != NULL) {
        code = compile(p, found->regexes[p->n], e);
        if (code != PL_OK) goto fail;
    }
    *out = p;
    return PL_OK;
fail:
    presplit_free(p);
    return code;
}

void presplit_free(presplit *p) {
    if (p == NULL) return;
    for (size_t i = 0; i < p->n; i++) pcre2_code_free(p->regexes[i].code);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    mem_free(p);
}

void presplit_state_free(presplit_state *state) {
    pcre2_match_data_free(state->match_data);
    pcre2_match_context_free(state->match_context);
    pcre2_jit_stack_free(state->jit_stack);
    mem_free(state->text);
    *state = (presplit_state){.match_data = NULL};
}

typedef struct {
    const presplit *p;
    presplit_state *state;
    presplit_piece piece;
    void *context;
    pl_error *e;
} run;

/* A JIT stack of one's own, for the texts that need more than the 32 KiB of machine stack that
 * PCRE2 uses without. */
static bool grow_jit_stack(run *r) {
    presplit_state *s = r->state;
    if (s->jit_stack != NULL) return false;
    s->jit_stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, r->p->memory);
    if (s->jit_stack != NULL) s->match_context = pcre2_match_context_copy(r->p->limits);
    if (s->match_context == NULL) return false;
    pcre2_jit_stack_assign(s->match_context, NULL, s->jit_stack);
    return true;
}

/* The next match at or behind `from`; its bounds are in the match data. Returns PCRE2's number. */
static int match(run *r, const regex *x, const char *text, size_t n, size_t from) {
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (x->jit && !r->state->interpret) {
        do {
            pcre2_match_context *context =
                r->state->match_context != NULL ? r->state->match_context : r->p->limits;
            found = pcre2_jit_match(x->code, subject, n, from, 0, r->state->match_data, context);
        } while (found == PCRE2_ERROR_JIT_STACKLIMIT && grow_jit_stack(r));
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(x->code, subject, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            r->state->match_data, r->p->limits);
    return found;
}

static pl_code cut(run *r, size_t k, const char *text, size_t n);

/* Where a character ends that begins at text[at]; the text is UTF-8. */
static size_t behind(const char *text, size_t n, size_t at) {
    do at++;
    while (at < n && ((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}

/* Digits text[start..end): a cut before each group of three, counted from their end. What is in
 * front of the first group belongs to what lies before the digits; *done moves to the last cut. */
static pl_code cut_by_threes(run *r, size_t k, const char *text, size_t start, size_t end,
                             size_t *done) {
    size_t left = 0;
    pl_code code = PL_OK;
    for (size_t i = start; i < end; i = behind(text, end, i)) left++;
    for (size_t i = start; i < end && code == PL_OK; i = behind(text, end, i), left--) {
        if (left % 3 != 0) continue;
        code = cut(r, k + 1, text + *done, i - *done);
        *done = i;
    }
    return code;
}

/* Cuts text[0..n) with regex k, and the pieces with those behind it. Deep as the list of regexes is
 * long. */
static pl_code cut(run *r, size_t k, const char *text, size_t n) {
    const regex *x = &r->p->regexes[k];
    size_t done = 0, from = 0;
    if (n == 0) return PL_OK;
    if (k == r->p->n) return r->piece(r->context, text, n);
    while (from < n && !x->may_open[(unsigned char)text[from]]) from++;
    while (from < n) {
        pl_code code;
        size_t start, end;
        const PCRE2_SIZE *bounds;
        int found = match(r, x, text, n, from);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) return fail_pcre2(found, "run", r->e);
        bounds =
            pcre2_get_ovector_pointer(r->state->match_data); /* the next level writes there too */
        start = bounds[0];
        end = bounds[1];
        if (k + 1 == r->p->threes) {
            code = cut_by_threes(r, k, text, start, end, &done);
        } else {
            code = cut(r, k + 1, text + done, start - done);
            if (code == PL_OK) code = cut(r, k + 1, text + start, end - start);
            done = end;
        }
        if (code != PL_OK) return code;
        /* An empty match is a cut; the search goes on at the next character. */
        from = start == end ? behind(text, n, end) : end;
    }
    return cut(r, k + 1, text + done, n - done);
}

pl_code presplit_run(const presplit *p, presplit_state *state, const char *text, size_t n,
                     presplit_piece piece, void *context, pl_error *e) {
    run r = {p, state, piece, context, e};
    if (n == 0) return PL_OK;
    if (state->match_data == NULL) state->match_data = pcre2_match_data_create(1, p->memory);
    if (state->match_data == NULL ||
        mem_reserve(&state->text, &state->capacity, n + 2 * PADDING, 1) != 0)
        return fail_pcre2(PCRE2_ERROR_NOMEMORY, "run", e);
    memset(state->text, 0, PADDING);
    memcpy(state->text + PADDING, text, n);
    memset(state->text + PADDING + n, 0, PADDING);
    return cut(&r, 0, state->text + PADDING, n);
}
