---@meta perilune
-- meta.lua: the types of the core, for editors that read LuaCATS annotations. Nothing loads it.
-- Positions count from 1; token ids are the model's own numbers, from 0.

---@class perilune.LoadOptions
---@field context? integer most tokens of one cache; default: what the model was trained for
---@field threads? integer default: the physical cores that this process may use
---@field kv_type? "f16"|"f32"|"q8_0" how keys and values are kept; default "f16"
---@field cache_bytes? integer most memory of all caches of the model
---@field state_interval? integer tokens between the states that caches of models with recurrent layers keep; default 256
---@field preload? boolean false: leave the weights on disk until they are first used
---@field deterministic? boolean the same answer whichever way, for float weights too
---@field mmap? boolean false: read the file instead of mapping it
---@field repack? boolean false: leave the weights as they lie in the file: less memory, slower
---@field step_rows? integer most rows of one step; default 512
---@field sequences? integer most generations that are computed side by side; default 256
---@field vocab_only? boolean the tokenizer alone
---@field progress? fun(fraction: number): boolean? called while loading; false ends it

---@class perilune.WeightType
---@field block integer weights of a block
---@field bytes integer of a block
---@field bits number per weight
---@field reads boolean this build computes with it, and converts from it
---@field writes boolean and to it

---@class perilune.FileInfo
---@field path string
---@field parts string[] the paths of all parts; one when the file is not split
---@field version integer of the format
---@field n_bytes integer of all parts
---@field n_values integer
---@field n_tensors integer
---@field n_params integer

---@class perilune.FileValue
---@field key string
---@field type string "u32", "string", ..., or "array"
---@field value any of an array, a list
---@field of? string the type of an array's elements
---@field n? integer how many an array has; `value` may have fewer

---@class perilune.FileTensor
---@field name string
---@field type string
---@field shape integer[] beginning with the length of a row
---@field n_params integer
---@field n_bytes integer

---@class perilune.ConvertOptions
---@field types? table<string, string> weight types by the names of tensors; the others keep theirs
---@field metadata? table<string, any> values to change or to add
---@field drop? string[] keys to leave out
---@field threads? integer default: the physical cores that this process may use
---@field progress? fun(fraction: number): boolean? false ends it

---@alias perilune.Parts (integer|string)[] ids are control, strings are only text
---@alias perilune.Input string|integer|perilune.Parts

--- Called for every token, outside of the core: it may yield, or generate itself. false ends the
--- generation; a cache: go on from there.
---@alias perilune.OnToken fun(id: integer, piece: string, cache: perilune.Cache): false|perilune.Cache|nil

---@alias perilune.FinishReason "length"|"stop"|"eog"|"context"|"callback"|"cancelled"

--- The stages of a sampler, in the order of the default chain.
---@alias perilune.Stage "logit_bias"|"banned_tokens"|"penalties"|"dry"|"top_n_sigma"|"top_k"|"typical_p"|"top_p"|"min_p"|"xtc"|"temperature"|"mirostat"

---@alias perilune.Ids perilune.Set|integer[]|integer

---@class perilune.SamplingOptions
---@field temperature? number 0, the default, is greedy
---@field dynatemp_range? number 0: none; temperature goes that far up and down, with the entropy
---@field dynatemp_exponent? number default 1
---@field top_k? integer 0: all
---@field top_p? number 1: all
---@field min_p? number 0: all
---@field typical_p? number 1: all
---@field top_n_sigma? number 0: all
---@field xtc_probability? number 0: never
---@field xtc_threshold? number default 0.1
---@field repetition_penalty? number 1: none; divides positive logits, multiplies negative ones
---@field repeat_penalty? number the same
---@field presence_penalty? number 0: none; subtracted once from every token that occurred
---@field frequency_penalty? number 0: none; subtracted for each time a token occurred
---@field penalty_last_n? integer how many of the last tokens the penalties look at; default: all
---@field dry_multiplier? number 0: none
---@field dry_base? number default 1.75
---@field dry_allowed_length? integer tokens that may be repeated; default 2
---@field dry_penalty_last_n? integer how many of the last tokens DRY looks at; default: all
---@field dry_breakers? perilune.Set|(integer|string)[] what no repetition goes across; default {"\n", ":", "\"", "*"}
---@field mirostat? 0|1|2 0: none; its version
---@field mirostat_tau? number the surprise that it aims at, in bits; default 5
---@field mirostat_eta? number how fast it learns; default 0.1
---@field mirostat_m? integer of version 1; default 100
---@field logit_bias? table<integer, number> added to the logits; -math.huge forbids a token
---@field banned_tokens? perilune.Ids
---@field samplers? perilune.Stage[] the order of the stages
---@field seed? integer default: a random one, reported in info.seed
---@field rng? perilune.Rng gives the seed, and moves on

---@class perilune.GenerateOptions: perilune.SamplingOptions
---@field input? perilune.Input
---@field input_ids? integer[] the same, ids alone
---@field cache? perilune.Cache what to go on from; it is not changed. Default: the empty cache
---@field max_new_tokens? integer default: until a stop condition
---@field stop? string|string[] texts that end the generation
---@field stop_tokens? integer[] ids that end it
---@field stop_at_eog? boolean an end-of-generation token ends it
---@field prefix? string what the new tokens begin by spelling; it is not in info.text, and stops are searched behind it
---@field banned_phrases? string|string[] texts that never occur in info.text: what completes one is taken back
---@field logprobs? boolean keep the model's own log-probability of each new token
---@field on_token? perilune.OnToken
---@field sampler? fun(l: perilune.Logits, cache: perilune.Cache, ...: perilune.Logits): integer|perilune.Logits|perilune.Cache|false|nil chooses each token
---@field beside? perilune.Cache[] caches that take the same new tokens; their logits are the sampler's further arguments

---@class perilune.Timings
---@field prompt_tokens integer processed before the first new token
---@field prompt_seconds number
---@field new_tokens integer
---@field seconds number for the tokens after the first

---@class perilune.Info
---@field finish_reason perilune.FinishReason? nil while under way
---@field text string of the new tokens, without the prefix and the stop
---@field stop string|integer|nil the stop string, or the token, that ended it
---@field before perilune.Cache the cache that ends exactly with `text`, behind the prefix
---@field seed integer?
---@field logprobs number[]?
---@field timings perilune.Timings

---@class perilune.Error
---@field code string "argument", "context", "pool", "memory", "closed", "cancelled", "callback", "banned", ...
---@field message string
---@field where string "script.lua:12: ", or ""
---@field tokens integer[]? the new tokens of the generation that failed
---@field cache perilune.Cache? the cache with them
---@field cause any what on_token raised
---@field traceback string? and the way there

--- What a file says of its tokenizer. Ids that it does not have are nil.
---@class perilune.TokenizerInfo
---@field model string "llama", "gpt2", "gemma4", "whitespace", "bert", "t5"
---@field pre string the pre-split type, "" when none is given
---@field add_bos boolean
---@field add_eos boolean
---@field add_sep boolean
---@field add_space_prefix boolean SentencePiece's leading space
---@field eog integer[] the tokens that end a generation, ascending
---@field bos integer?
---@field eos integer?
---@field eot integer? end of a turn
---@field eom integer? end of a message
---@field unk integer?
---@field sep integer?
---@field pad integer?
---@field mask integer?
---@field cls integer?
---@field fim_pre integer? filling in the middle: prefix, suffix, middle, padding, repository, file
---@field fim_suf integer?
---@field fim_mid integer?
---@field fim_pad integer?
---@field fim_rep integer?
---@field fim_sep integer?

---@class perilune.Model
local Model = {}

--- Text to ids. Text never turns into control tokens, unless `special`. `bos` and `eos` put the
--- token there that the model wants in front and behind, if it wants one.
---@param text string
---@param options? {special?: boolean, bos?: boolean, eos?: boolean}
---@return integer[]
function Model:encode(text, options) end

--- Ids to text. Control tokens have none, unless `special`.
---@param ids integer[]
---@param options? {special?: boolean}
---@return string
function Model:decode(ids, options) end

--- The bytes of one token; of a control token, its name.
---@param id integer
---@return string
function Model:piece(id) end

--- The id of a token by its bytes or name.
---@param piece string
---@return integer?
function Model:id(piece) end

---@param id integer
---@return boolean
function Model:is_eog(id) end

--- What the model is: arch, context, n_params, weight_types, chat_template, ...; `tokenizer` is a
--- perilune.TokenizerInfo.
---@return table
function Model:info() end

---@return table
function Model:stats() end

--- The empty cache.
---@return perilune.Cache
function Model:cache() end

--- Of ids, or of all tokens in whose text a Lua pattern matches; control tokens have none.
---@param ids perilune.Ids|string
---@return perilune.Set
function Model:set(ids) end

--- Reads a cache file. `recompute` accepts one of other weights or another build, for its tokens.
---@param path string
---@param options? {recompute?: boolean}
---@return perilune.Cache?, string?, string?
function Model:restore(path, options) end

--- Returns the new tokens alone, the cache that holds everything, and what there is to know. Short
--- form: `input_ids, max_new_tokens, cache`.
---@param options perilune.GenerateOptions
---@return integer[] new_tokens, perilune.Cache cache, perilune.Info info
---@overload fun(self, input?: perilune.Input, max_new_tokens: integer, cache?: perilune.Cache)
function Model:generate(options) end

--- Log-probabilities of continuations behind the cache, in one step: sums, the caches that end with them, and token by token.
---@param cache perilune.Cache
---@param continuations (string|integer[])[]
---@return number[] sums
---@return perilune.Cache[] caches
---@return number[][] per_token
function Model:score(cache, continuations) end

--- The most probable of several continuations: its place, the cache that ends with it, and what was compared.
---@param cache perilune.Cache
---@param choices (string|integer[])[]
---@param options? {by?: "total"|"mean"|"calibrated", without?: perilune.Cache}
---@return integer index
---@return perilune.Cache cache
---@return number[] logprobs
function Model:select(cache, choices, options) end

--- The same, pulled token by token: `for id, piece in stream do`.
---@param options perilune.GenerateOptions
---@return perilune.Stream
function Model:stream(options) end

--- Ends the model's streams, closes its caches, and lets go of its memory. Also <close>.
function Model:close() end

---@class perilune.Stream
---@field cache perilune.Cache what it has come to; assign it to go on from elsewhere
---@field tokens integer[]
---@field info perilune.Info
---@overload fun(): integer?, string?
local Stream = {}

--- Ends the generation; cache, tokens and info stay. Also <close>.
function Stream:close() end

---@class perilune.Cache
---@operator len: integer
---@operator concat(perilune.Input): perilune.Cache
local Cache = {}

---@param i? integer negative: from the end
---@param j? integer
---@return integer[]
function Cache:tokens(i, j) end

---@param i? integer
---@param j? integer
---@return string
function Cache:text(i, j) end

--- Another cache, with more tokens; they are processed when something needs them.
---@param input perilune.Input
---@return perilune.Cache
function Cache:extend(input) end

--- Processes what is pending.
---@return perilune.Cache self
function Cache:ready() end

--- Its first n tokens.
---@param n integer
---@return perilune.Cache
function Cache:truncate(n) end

--- An independent handle on the same value.
---@return perilune.Cache
function Cache:fork() end

--- Without its last tokens, when what they spell is the beginning of a longer token's text; and that
--- text, which is for option `prefix`. The same cache and "" when it is not.
---@return perilune.Cache
---@return string
function Cache:heal() end

--- After the last token; with positions, a list: after each of those.
---@param i? integer
---@param j? integer
---@return perilune.Logits
function Cache:logits(i, j) end

--- The final hidden state after the last token; with positions, a list: after each of those.
---@param i? integer
---@param j? integer
---@return perilune.Hidden | perilune.Hidden[]
function Cache:hidden(i, j) end

--- Log-probabilities of its own tokens given those before, from the second on.
---@param i? integer
---@param j? integer
---@return number[]
function Cache:logprobs(i, j) end

--- How many of their first tokens are the same.
---@param other perilune.Cache
---@return integer
function Cache:common_prefix(other) end

--- Where the ids stand first, from `init` on.
---@param ids integer|integer[]
---@param init? integer
---@return integer?
function Cache:find(ids, init) end

---@param path string
---@return true?, string?, string?
function Cache:save(path) end

--- Lets go of this handle. Also <close>.
function Cache:close() end

--- Over the vocabulary, by token id. -math.huge is masked, and stays so.
---@class perilune.Logits
---@operator len: integer
---@operator add(perilune.Logits): perilune.Logits
---@operator sub(perilune.Logits): perilune.Logits
---@operator mul(number): perilune.Logits
---@field [integer] number
local Logits = {}

---@return perilune.Logits
function Logits:copy() end

--- New logits: log-probabilities.
---@return perilune.Logits
function Logits:logprobs() end

---@return perilune.Probs
function Logits:probs() end

---@return integer id
function Logits:argmax() end

--- The k most likely, sorted; ties to the lower id. Fewer when fewer are not masked.
---@param k integer
---@return integer[] ids, number[] logprobs
function Logits:top(k) end

---@param id integer
---@return number
function Logits:logprob(id) end

---@return number
function Logits:logsumexp() end

--- In nats.
---@return number
function Logits:entropy() end

--- The Kullback-Leibler divergence from m, in nats.
---@param m perilune.Logits
---@return number
function Logits:kl(m) end

--- By the probabilities; takes one number of the generator.
---@param rng perilune.Rng
---@return integer id
function Logits:sample(rng) end

--- In place, as all that follow: l + weight * m.
---@param m perilune.Logits
---@param weight? number default 1
---@return perilune.Logits self
function Logits:add(m, weight) end

---@param x number
---@return perilune.Logits self
function Logits:scale(x) end

---@param ids perilune.Ids
---@param x number -math.huge masks
---@return perilune.Logits self
function Logits:bias(ids, x) end

---@param ids perilune.Ids
---@return perilune.Logits self
function Logits:mask(ids) end

--- Masks all others.
---@param ids perilune.Ids
---@return perilune.Logits self
function Logits:keep(ids) end

---@param t number 0 keeps the most probable alone
---@return perilune.Logits self
function Logits:temperature(t) end

--- Dynamic temperature: t - range to t + range, with the entropy.
---@param t number
---@param range number
---@param exponent? number default 1
---@return perilune.Logits self
function Logits:dynatemp(t, range, exponent) end

---@param k integer 0: all
---@return perilune.Logits self
function Logits:top_k(k) end

---@param p number
---@return perilune.Logits self
function Logits:top_p(p) end

---@param p number
---@return perilune.Logits self
function Logits:min_p(p) end

---@param p number
---@return perilune.Logits self
function Logits:typical_p(p) end

---@param n number
---@return perilune.Logits self
function Logits:top_n_sigma(n) end

---@param threshold number
---@param probability? number default 1
---@param rng? perilune.Rng decides, when there is a probability
---@return perilune.Logits self
function Logits:xtc(threshold, probability, rng) end

--- Version 2; with m, version 1.
---@param mu number bits
---@param m? integer
---@return perilune.Logits self
function Logits:mirostat(mu, m) end

--- Repetition, presence and frequency penalties.
---@param tokens perilune.Cache|integer[]
---@param options? perilune.SamplingOptions
---@return perilune.Logits self
function Logits:penalties(tokens, options) end

---@param tokens perilune.Cache|integer[]
---@param options? perilune.SamplingOptions
---@return perilune.Logits self
function Logits:dry(tokens, options) end

--- Lets go of its memory now. Also <close>.
function Logits:close() end

--- Plain numbers over the vocabulary.
---@class perilune.Probs
---@operator len: integer
---@operator add(perilune.Probs): perilune.Probs
---@operator sub(perilune.Probs): perilune.Probs
---@operator mul(number): perilune.Probs
---@field [integer] number
local Probs = {}

---@return number
function Probs:sum() end

--- In place.
---@param least number
---@param most? number
---@return perilune.Probs self
function Probs:clamp(least, most) end

--- Normalises; takes one number of the generator.
---@param rng perilune.Rng
---@return integer id
function Probs:sample(rng) end

--- Their logarithms, normalised.
---@return perilune.Logits
function Probs:logits() end

--- Lets go of its memory now. Also <close>.
function Probs:close() end

--- A final hidden state: #h numbers.
---@class perilune.Hidden
---@field [integer] number
local Hidden = {}

--- Of a list: a list of numbers.
---@param other perilune.Hidden | perilune.Hidden[]
---@return number | number[]
function Hidden:dot(other) end

--- Of a list: a list of numbers.
---@param other perilune.Hidden | perilune.Hidden[]
---@return number | number[]
function Hidden:cosine(other) end

---@return number
function Hidden:norm() end

--- Lets go of its memory now. Also <close>.
function Hidden:close() end

--- A set of token ids; it does not change. `for id in set do` goes through it.
---@class perilune.Set
---@operator len: integer
---@operator band(perilune.Ids): perilune.Set
---@operator bor(perilune.Ids): perilune.Set
---@operator bxor(perilune.Ids): perilune.Set
---@operator bnot: perilune.Set
---@field [integer] boolean
---@overload fun(): integer?
local Set = {}

---@param id integer
---@return boolean
function Set:contains(id) end

--- Ascending.
---@return integer[]
function Set:ids() end

--- A generator of random numbers: Philox4x32-10.
---@class perilune.Rng
---@overload fun(): number
local Rng = {}

--- In [0, 1), as rng() is.
---@return number
function Rng:uniform() end

--- 1 to m, or m to n.
---@param m integer
---@param n? integer
---@return integer
function Rng:integer(m, n) end

--- Independent of this one, which has moved on by one number.
---@return perilune.Rng
function Rng:fork() end

--- Of the ids below n, that part, at random.
---@param n integer
---@param fraction number
---@return perilune.Set
function Rng:subset(n, fraction) end

--- What perilune.rng goes on from.
---@return string
function Rng:state() end

--- filter(l, cache): a sampler's chain as a function, which changes l.
---@class perilune.Sampler
---@overload fun(l: perilune.Logits, cache?: perilune.Cache): perilune.Logits
local Sampler = {}

--- With the same state.
---@return perilune.Sampler
function Sampler:clone() end

--- The id that generate would take behind the cache, with these options and this seed.
---@param l perilune.Logits changed
---@param cache perilune.Cache
---@return integer
function Sampler:pick(l, cache) end

---@class perilune.File
local File = {}

---@return perilune.FileInfo
function File:info() end

--- In the file's order. `limit`: most elements of an array that are listed.
---@param options? {limit?: integer}
---@return perilune.FileValue[]
function File:metadata(options) end

---@param key string
---@return any value nil: there is no such key
function File:get(key) end

---@return perilune.FileTensor[]
function File:tensors() end

--- Writes a copy, with other types of weights and other metadata.
---@param path string
---@param options? perilune.ConvertOptions
---@return true?, string?, string?
function File:convert(path, options) end

--- Also <close>.
function File:close() end

--- Forced text with holes; callable, as fill.
---@class perilune.Template
---@field names string[] of its holes, in order
---@overload fun(model: perilune.Model, options?: perilune.FillOptions): table<string, string>, perilune.Cache, table<string, perilune.Info>
local Template = {}

---@class perilune.FillOptions: perilune.GenerateOptions
---@field values? table<string, string> texts by name that are forced, not generated
---@field on_field? fun(name: string, text: string) called with every hole's text, in order
---@field decode? fun(model: perilune.Model, options: perilune.GenerateOptions): integer[], perilune.Cache, perilune.Info in the place of model:generate

--- Fills the holes, one after the other: their texts by name, the cache that ends with the template's
--- text, and what there is to know of each hole, by name.
---@param model perilune.Model
---@param options? perilune.FillOptions
---@return table<string, string> fields
---@return perilune.Cache cache
---@return table<string, perilune.Info> info
function Template:fill(model, options) end

--- A coroutine that runs beside everything else.
---@class perilune.Task
---@field status "running"|"done"|"failed"|"cancelled"
---@field error any why it failed
---@field priority integer of its requests: higher ones go first; may be assigned
local Task = {}

--- Waits for it: its results. Raises its error, with a traceback.
---@return any ...
function Task:join() end

--- Ends it at once; what it had under way is abandoned.
function Task:cancel() end
