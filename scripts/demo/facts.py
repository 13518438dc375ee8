"""Questions about the world and their answers, in many phrasings.

A fact is asked in one topic (capitals, colours, ...) about one thing.  `ask` gives a question
and its answer; `follow` asks the same about another thing in words that need the turn before
("And of Spain?").  Phrasings in HELD_OUT are used by the evaluation only.
"""

from random import Random
from typing import List, NamedTuple, Optional, Tuple

import world
from phrase import lines, say
from world import article, capitalised


class Fact(NamedTuple):
    """A question, its answer, and what is needed to ask on."""

    topic: str
    key: str
    question: str
    answer: str


CAPITAL_QUESTIONS = lines("""
    What is the capital of {c}?
    What is the capital of {c}?
    What's the capital of {c}?
    What is the capital city of {c}?
    Which city is the capital of {c}?
    [Tell me|Give me|Name|Say] the capital of {c}.
    [Do you know|Can you tell me] the capital of {c}?
    [Do you know|Can you tell me|Please tell me|Tell me] what the capital of {c} is[.|?]
    The capital of {c}?
    Capital of {c}?
    {c} has which capital?
    What is {c}'s capital?
    I [want|would like|need] to know the capital of {c}.
    What city is the capital of {c}?
    [And|So|Now|OK, so][,|] what is the capital of {c}?
    The capital of {c} is what?
    Where is the government of {c}?
    What is the name of the capital of {c}?
""")
CAPITAL_HELD_OUT = lines("""
    Please name the capital city of {c}.
    Could you tell me the capital of {c}?
    Which is the capital of {c}?
    My question: what is the capital of {c}?
""")


def _country(r: Random, name: Optional[str]) -> Tuple[str, str, str]:
    """The country of that name, or any."""
    if name is None:
        return r.choice(world.COUNTRIES)
    return next(row for row in world.COUNTRIES if row[0] == name)


def _is(country: str) -> str:
    return "are" if country in world.PLURAL_COUNTRIES else "is"


def capital(r: Random, key: Optional[str] = None) -> Fact:
    """The capital of a country."""
    country, city, _ = _country(r, key)
    question = say(r, r.choice(CAPITAL_QUESTIONS), c=country)
    return Fact("capital", country, capitalised(question),
                f"The capital of {country} is {city}.")


def capital_back(r: Random) -> Fact:
    """The country of a capital."""
    country, city, _ = _country(r, None)
    if r.random() < 0.33:
        question = say(r, "[In which country is {t}?|Where is {t}?]", t=city)
        return Fact("country", city, question, f"{city} is in {country}.")
    question = say(r, "[{t} is the capital of which country?|Of which country is {t} the capital?|"
                      "What country has the capital {t}?|Which country has {t} as its capital?]",
                   t=city)
    return Fact("country", city, question, f"{city} is the capital of {country}.")


def continent(r: Random, key: Optional[str] = None) -> Fact:
    """Where in the world a country lies."""
    country, _, where = _country(r, key)
    question = say(r, "[Where {v} {c}?|Which continent {v} {c} in?|On which continent {v} {c}?|"
                      "Where in the world {v} {c}?|Where can I find {c}?]",
                   c=country, v=_is(country))
    answer = capitalised(f"{country} {_is(country)} in {where}.")
    return Fact("continent", country, question, answer)


def colour(r: Random, key: Optional[str] = None) -> Fact:
    """The colour of a thing."""
    thing = key or r.choice(list(world.COLOUR_OF))
    question = say(r, "[What colour is {t}?|What colour is {t}?|What is the colour of {t}?|Which"
                      " colour is {t}?|What colour does {t} have?|Tell me the colour of {t}.|Do you"
                      " know what colour {t} is?|What color is {t}?]", t=thing)
    return Fact("colour", thing, question, capitalised(f"{thing} is {world.COLOUR_OF[thing]}."))


# What can be asked of an animal: {a} with its article, {b} without, {p} more than one.
ANIMAL_QUESTIONS = {
    "sound": "[What does {a} say?|What sound does {a} make?|Which sound does {a} make?|What noise"
             " does {a} make?]",
    "home": "[Where does {a} live?|Where do {p} live?|What is the home of {a}?|Where can I find"
            " {a}?]",
    "food": "[What does {a} eat?|What do {p} eat?|What is the food of {a}?]",
    "young": "[What is a young {b} called?|What is a baby {b} called?|What do you call a young"
             " {b}?|What is the young of {a}?]",
    "kind": "[What kind of animal is {a}?|What is {a}?|What sort of animal is {a}?]",
    "legs": "[How many legs does {a} have?|How many legs do {p} have?|How many legs has {a}?]",
}
LEGS = {0: "no", 2: "two", 4: "four", 6: "six", 8: "eight"}


def animal(r: Random, key: Optional[str] = None, topic: Optional[str] = None) -> Fact:
    """What an animal says, where it lives, what it eats, its young, kind or legs."""
    beast = key or r.choice(list(world.ANIMALS))
    sound, home, food, young, kind, legs, plural = world.ANIMALS[beast]
    a_beast, topic = article(beast), topic or r.choice(list(ANIMAL_QUESTIONS))
    question = say(r, ANIMAL_QUESTIONS[topic], a=a_beast, b=beast, p=plural)
    answer = {
        "sound": f"{a_beast} says {sound}." if sound else f"{a_beast} makes no sound.",
        "home": f"{a_beast} lives in {home}.",
        "food": f"{a_beast} eats {food}.",
        "young": f"a young {beast} is called {young}.",
        "kind": f"{a_beast} is {article(kind)}.",
        "legs": f"{a_beast} has {LEGS[legs]} legs.",
    }[topic]
    if question == f"What is {a_beast}?":
        answer = world.WHAT_IS.get(a_beast, answer)
    return Fact(topic, beast, question, capitalised(answer))


def _calculated(a: int, b: int, sign: str) -> str:
    """The sum as a sentence when the sign is a word, as an equation when it is not."""
    result = {"+": a + b, "plus": a + b, "-": a - b, "minus": a - b}.get(sign, a * b)
    return f"{a} {sign} {b} is {result}." if sign.isalpha() else f"{a} {sign} {b} = {result}."


def total(r: Random) -> Fact:
    """A small sum, difference or product."""
    sign, word, largest = r.choices((("+", "plus", 12), ("-", "minus", 20), ("*", "times", 10)),
                                    (60, 25, 15))[0]
    a, b = r.randint(0, largest), r.randint(0, min(largest, 12))
    if sign == "-":
        a, b = max(a, b), min(a, b)
    sign = r.choice((sign, word))
    question = say(r, "[What is {x}?|What is {x}?|How much is {x}?|{x}?|What does {x} make?|{x} =]",
                   x=f"{a} {sign} {b}")
    return Fact("sum", f"{a} {sign} {b}", question, _calculated(a, b, sign))


def season(r: Random) -> Fact:
    """Seasons, and how the year is divided."""
    name, weather, sign, months = r.choice(world.SEASONS)
    month = r.choice(months)
    question, answer = r.choice((
        (f"When is {name}?", f"{name} is from {months[0]} to {months[2]}."),
        (f"How is the weather in {name}?", f"In {name} the weather is {weather}."),
        (f"What is the weather like in {name}?", f"In {name} the weather is {weather}."),
        (f"What happens in {name}?", f"In {name} {sign}."),
        (f"Which months are in {name}?", f"{', '.join(months[:2])} and {months[2]} are in {name}."),
        ("How many seasons are there?", "There are four seasons."),
        ("What are the seasons?", "The seasons are spring, summer, autumn and winter."),
        ("Name the four seasons.", "The seasons are spring, summer, autumn and winter."),
        (f"Which season has {month}?", f"{month} is in {name}."),
        (f"Which season is {weather}?", f"{name} is {weather}."),
        ("How many days are in a week?", "There are seven days in a week."),
        ("How many months are in a year?", "There are twelve months in a year."),
    ))
    return Fact("season", name, question, capitalised(answer))


def order(r: Random, topic: Optional[str] = None, names: Optional[List[str]] = None) -> Fact:
    """What comes after or before a day or a month."""
    topic = topic or r.choice(("after", "after", "before"))
    names = names or r.choice((world.DAYS, world.MONTHS))
    i = r.randrange(len(names))
    other = names[(i + 1) % len(names)] if topic == "after" else names[i - 1]
    verb = "[comes after|is after|follows]" if topic == "after" else "[comes|is] before"
    question = say(r, "[What|Which] {u} " + verb + " {n}?", n=names[i],
                   u="day" if names is world.DAYS else "month")
    return Fact(topic, names[i], question, f"{other} comes {topic} {names[i]}.")


def definition(r: Random, key: Optional[str] = None) -> Fact:
    """What a common thing is."""
    thing = key or r.choice(list(world.WHAT_IS) + world.ASKED_MOST)
    question = say(r, "[What is {t}?|What is {t}?|What is {t}?|What's {t}?|Do you know what {t}"
                      " is?|Tell me what {t} is.|Can you explain what {t} is?|Explain {t}.|"
                      "What does the word {w} mean?]", t=thing, w=thing.split(" ", 1)[-1])
    return Fact("what", thing, question, world.WHAT_IS[thing])


def opposite(r: Random) -> Fact:
    """The opposite of a word."""
    a, b = r.sample(r.choice(list(world.OPPOSITES.items())), 2)
    question = say(r, "[What is the opposite of {a}?|Which word is the opposite of {a}?|Tell me the"
                      " opposite of {a}.|The opposite of {a}?]", a=a)
    return Fact("opposite", a, question, f"The opposite of {a} is {b}.")


def country_or_city(r: Random) -> Fact:
    """What a country or a capital is, and countries of a continent."""
    country, city, where = _country(r, None)
    roll, is_country = r.random(), capitalised(f"{country} {_is(country)} a country in {where}.")
    if roll < 0.4:
        question = say(r, "What [is|kind of thing is] {c}?", c=country)
        return Fact("continent", country, question, is_country)
    if roll < 0.75 and city not in country:
        return Fact("country", city, f"What is {city}?", f"{city} is the capital of {country}.")
    question = say(r, "[Name|Tell me|Give me] a country in {w}.", w=where)
    return Fact("list", where, question, is_country)


def yes_or_no(r: Random) -> Fact:
    """A question that is answered by yes, or by no and what is true."""
    topic = r.choices(("capital", "continent", "colour"), (50, 20, 30))[0]
    country, city, where = _country(r, None)
    thing, other = r.choice(list(world.COLOUR_OF)), r.random() < 0.5
    if topic == "capital":
        key, true, said = country, city, _country(r, None)[1]
        ways = ("[Is {s} the capital of {k}?|Is the capital of {k} {s}?|The capital of {k} is {s},"
                " right?|Is it true that {s} is the capital of {k}?]")
        answer = f"the capital of {country} is {city}."
    elif topic == "continent":
        key, true, said = country, where, r.choice(("Asia", "Africa", "Europe", "South America"))
        ways, answer = "{v} {k} in {s}?", f"{country} {_is(country)} in {where}."
    else:
        key, true, said = thing, world.COLOUR_OF[thing], r.choice(world.COLOURS)
        ways, answer = "Is {k} {s}?", f"{thing} is {world.COLOUR_OF[thing]}."
    said = said if other else true
    question = say(r, ways, k=key, s=said, v=capitalised(_is(country)))
    return Fact(topic, key, question, ("Yes, " if said == true else "No, ") + answer)


def compared(r: Random) -> Fact:
    """Which of two numbers is more."""
    a, b = r.sample(range(100), 2)
    if r.random() < 0.5:
        question = say(r, "[Which|What] is [bigger|more|larger]: {a} or {b}?", a=a, b=b)
        return Fact("compare", "", question, f"{max(a, b)} is more than {min(a, b)}.")
    question = say(r, "[Which|What] is [smaller|less]: {a} or {b}?", a=a, b=b)
    return Fact("compare", "", question, f"{min(a, b)} is less than {max(a, b)}.")


def several(r: Random) -> Fact:
    """Lists: examples of a kind, numbers in order."""
    roll = r.random()
    if roll < 0.4:
        first = r.choice((1, 1, 1, r.randint(2, 20)))
        last = first + r.randint(2, 9)
        question = say(r, "Count [from 1 to|to] {b}." if first == 1 else "Count from {a} to {b}.",
                       a=first, b=last)
        return Fact("list", "", question, ", ".join(map(str, range(first, last + 1))) + ".")
    kind = r.choice([k for k, examples in world.EXAMPLES.items() if len(examples) > 2])
    one, two, three = r.sample(world.EXAMPLES[kind], 3)
    if roll < 0.7:
        question = say(r, "[Name|Give me|Tell me] {k}.", k=kind)
        return Fact("example", kind, question, capitalised(f"{one} is {kind}."))
    word = kind.split(" ", 1)[1]
    plural = {"fish": "fish", "country": "countries", "city": "cities"}.get(word, word + "s")
    question = say(r, "[Name|Give me|Tell me|List] three {p}.", p=plural)
    return Fact("list", kind, question, capitalised(f"{one}, {two} and {three}."))


JOKES = lines("""
    Why did the hen read a book? It wanted to find an egg.
    What does a cloud wear? A rain coat.
    Why was the clock tired? It ran all day.
    What is an owl after a long night? Half asleep.
""")


def joke(r: Random) -> Fact:
    """One of a few jokes."""
    question = say(r, "[Tell me a joke.|Do you know a joke?|A joke, please.|Make me laugh.|Can you"
                      " tell me a joke?]")
    return Fact("joke", "", question, r.choice(JOKES))


# {t} a town, {n} a name, {w} a made-up word, {T} a title
NOBODY_KNOWS = lines("""
    What is the capital of {t}?
    Where is {t}?
    Who is {n}?
    What is a {w}?
    Who wrote {T}?
    What colour is {n}'s hat?
    How old is {n}?
    Where does {n} live?
    What does {n} like?
    What will happen tomorrow?
    How many people live in {t}?
    Who is the king of {t}?
    What is in my pocket?
    What did I eat today?
    What is {w}?
    How tall is {n}?
    When was {n} born?
    Who won the game?
    How far is {t}?
    What time is it?
    What day is it today?
    What is the weather like in {t}?
    What is my number?
    What am I thinking of?
    Is {n} here?
    Who lives in {t}?
    How many fish are in the sea?
    What is the name of my teacher?
    Who is the president of {t}?
    What does {w} mean?
    Which language do they speak in {t}?
    Who painted {T}?
    What is the price of a {w}?
    What is {n}'s job?
""")


def unknown(r: Random) -> Fact:
    """Something that nobody has said and that is in no list."""
    question = say(r, r.choice(NOBODY_KNOWS), t=world.town(r), n=world.name(r),
                   w=world.made_up_word(r), T=f"{world.name(r)} and the {r.choice(world.OBJECTS)}")
    return Fact("unknown", "", question, "I don't know.")


MAKERS = ((capital, 38), (definition, 24), (colour, 8), (animal, 14), (total, 12), (season, 4),
          (order, 3), (opposite, 4), (capital_back, 5), (continent, 5), (unknown, 6),
          (country_or_city, 5), (yes_or_no, 7), (compared, 1.5), (several, 4), (joke, 0.6))
_MAKERS, _WEIGHTS = zip(*MAKERS)


def ask(r: Random) -> Fact:
    """A fact of any topic."""
    return r.choices(_MAKERS, _WEIGHTS)[0](r)


# Short questions that need the one before: {c} is the other thing, {v} is or are, {i} it or they.
AND = "[And|What about|How about|And what about|Now|OK, and|So what about] {c}?"
AND_CAPITAL = lines("""
    And of {c}?
    And of {c}?
    And {c}?
    [And|What about|How about|And what about|Now|OK, and|So what about] {c}?
    [And|What about|How about|And what about|Now|OK, and] the capital of {c}?
    And the capital of {c}?
    The same for {c}?
    And for {c}?
    And that of {c}?
    {c}?
    And now {c}?
    What about that of {c}?
    And what is that of {c}?
""")
AND_WHERE = ("[Where {v} {i}?|And where {v} {i}?|Which continent {v} {i} in?|Where in the world {v}"
             " {i}?]")
AND_ITS_CAPITAL = (
    "[What is its capital?|And its capital?|And what is its capital?|What is the capital?|And the"
    " capital?|Which city is its capital?|Do you know its capital?]")
AN_EXAMPLE = (
    "[Give me an example.|Give me an example.|Can you give me an example?|An example, please.|For"
    " example?|Such as?|Name one.|Do you have an example?|Give an example.|Tell me one.|Give me"
    " one.|Show me an example.|What is an example?|And an example?|Can you name one?|Like what?|"
    "Such as what?]")
ANOTHER = ("[Another one?|Give me another one.|And another example?|One more.|Another, please.]")


def _example(r: Random, kind: str, ways: str) -> Fact:
    one = r.choice(world.EXAMPLES[kind])
    return Fact("example", kind, say(r, ways), capitalised(f"{one} is {kind}."))


def follow(r: Random, before: Fact) -> Optional[Fact]:
    """A short question that needs the one before; None where there is none to ask."""
    topic = before.topic
    if topic == "example":
        return _example(r, before.key, ANOTHER)
    if topic == "what" and before.key in world.EXAMPLES and r.random() < 0.75:
        return _example(r, before.key, AN_EXAMPLE)
    ways = r.choice((AND, "And {c}?"))
    if topic in ("capital", "continent") and r.random() < 0.2:  # of the same country
        fact = (continent if topic == "capital" else capital)(r, before.key)
        ways = AND_WHERE if topic == "capital" else AND_ITS_CAPITAL
    elif topic == "capital":
        fact, ways = capital(r), r.choice(AND_CAPITAL)
    elif topic == "continent":
        fact = continent(r)
    elif topic in ("colour", "opposite"):
        fact = colour(r) if topic == "colour" else opposite(r)
        ways = r.choice((ways, "And of {c}?"))
    elif topic in ("sound", "home", "food", "young", "legs"):
        fact = animal(r, topic=topic)
        return fact._replace(question=say(r, ways, c=article(fact.key)))
    elif topic in ("after", "before"):
        fact = order(r, topic, world.DAYS if before.key in world.DAYS else world.MONTHS)
        ways = r.choice((ways, f"And {topic} {{c}}?"))
    elif topic == "sum":
        a, b, sign = r.randint(0, 10), r.randint(0, 10), before.key.split()[1]
        sign = {"-": "+", "minus": "plus"}.get(sign, sign)
        fact = Fact("sum", f"{a} {sign} {b}", "", _calculated(a, b, sign))
    elif topic == "what":
        fact, ways = definition(r), "[And|What about|And what is] {c}?"
    else:
        return None
    plural = _is(before.key) == "are"
    question = say(r, ways, c=fact.key, v=_is(before.key), i="they" if plural else "it")
    return fact._replace(question=question)


_PROPER = {country.split()[0] for country, _, _ in world.COUNTRIES if country[:4] != "the "}
CONTRASTED = "capital continent colour sound home food young legs opposite".split()


def contrast(r: Random, fact: Fact) -> str:
    """A sentence that begins with "However," and stays true after the given fact."""
    other = None
    if fact.topic in CONTRASTED:
        for _ in range(4):
            other = follow(r, fact)
            if other and other.answer.split()[-2:] != fact.answer.split()[-2:]:
                break
        else:
            other = None
    if other is not None and r.random() < 0.85:
        answer = other.answer
        proper = answer.split()[0] in _PROPER
        return "However, " + (answer if proper else answer[0].lower() + answer[1:])
    return say(r, "However, [there is more to say about it|not everybody knows that|that is not"
                  " all|I may be wrong|I do not know more about it].")


def statement_fact(r: Random) -> Fact:
    """A fact whose answer stands for itself."""
    while True:
        fact = ask(r)
        yes_no = fact.answer.startswith(("Yes,", "No,"))
        if fact.topic not in ("unknown", "list", "joke", "compare") and not yes_no:
            return fact


CAPITAL_STATEMENTS = lines("""
    The capital of {c} is {t}.
    The capital of {c} is {t}.
    The capital of {c} is {t}.
    {t} is the capital of {c}.
    {c} has the capital {t}.
    {c} is a country, and its capital is {t}.
    The capital city of {c} is {t}.
""")


def statement(r: Random) -> str:
    """A true sentence without a question, for plain text; every second is about a capital."""
    if r.random() < 0.5:
        country, city, _ = _country(r, None)
        return capitalised(say(r, r.choice(CAPITAL_STATEMENTS), c=country, t=city))
    while True:
        fact = statement_fact(r)
        if fact.topic != "capital":
            return fact.answer


def article_text(r: Random) -> str:
    """A few related true sentences as running text, sometimes with a contrast."""
    if r.random() < 0.5:
        told = [statement(r) for _ in range(r.randint(1, 5))]
        return ("\n" if r.random() < 0.15 else " ").join(told)
    first = statement_fact(r)
    told = [first.answer]
    if r.random() < 0.5:
        told.append(contrast(r, first))
    for _ in range(r.randint(0, 2)):
        more = follow(r, first)
        if more is not None:
            told.append(more.answer)
    return " ".join(told)


def question_and_answer(r: Random) -> str:
    """Plain-text questions with their answers."""
    pairs = [ask(r)]
    while len(pairs) < r.randint(1, 4):
        more = follow(r, pairs[-1]) if r.random() < 0.5 else None
        pairs.append(more or ask(r))
    q, a = r.choice((("Q: ", "A: "), ("Q: ", "A: "), ("Question: ", "Answer: "), ("", "")))
    gap = r.choice(("\n", "\n", "\n\n"))
    return gap.join(f"{q}{p.question}\n{a}{p.answer}" for p in pairs)
