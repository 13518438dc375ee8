"""Text to JSON: people, things for sale, and the commands of a text adventure.

Phrasings in PERSON_HELD_OUT, and one in twelve of the longer commands, are used by the evaluation
only.
"""

import json
from random import Random
from typing import Callable, Dict, List, Tuple

import world
from chat import SYSTEM, Message, chat_text
from phrase import lines, say
from world import article, capitalised

Names = Callable[[Random], str]
Record = Dict[str, object]

# {n} name, {a} age, {c} city
PERSON = lines(r"""
    {n} is {a} years old and lives in {c}.
    {n} is {a} years old and lives in {c}.
    {n} is {a} years old and lives in {c}.
    {n} is {a} and lives in {c}.
    {n} lives in {c} and is {a} years old.
    {n}, {a}, lives in {c}.
    {n}, {a} years old, lives in {c}.
    {n} from {c} is {a} years old.
    {n} is {a} years old. {n} lives in {c}.
    {n} is {a} years old. He lives in {c}.
    {n} is {a} years old. She lives in {c}.
    In {c} lives {n}, who is {a} years old.
    {n} is a {a} year old from {c}.
    My name is {n}. I am {a} years old and live in {c}.
    I am {n}, I am {a} and I live in {c}.
    At the age of {a}, {n} lives in {c}.
    {n} ({a}) lives in {c}.
    {n} comes from {c} and is {a} years old.
    {n} was born {a} years ago and lives in {c}.
    The age of {n} is {a}, and the home of {n} is {c}.
    {n} turned {a} [today|last week|yesterday] and lives in {c}.
    My friend {n} is {a} years old and lives in {c}.
    {a} years old and from {c}: that is {n}.
    {n} moved to {c} at the age of {a}.
    {n} is {a} and comes from {c}.
    This is {n}, [she|he] lives in {c} and is {a}.
    This is {n}, [she|he] lives in {c} and is {a} years old.
    This is {n}, [she|he] is {a} and lives in {c}.
    This is {n}. [She|He] is {a} years old and lives in {c}.
    This is {n}. [She|He] lives in {c} and is {a}.
    This is {n} from {c}, [she|he] is {a} years old.
    This is {n} from {c}, {a} years old.
    This is {n}, {a}, from {c}.
    This is my [friend|brother|sister|neighbour|cousin] {n}, {a}, from {c}.
    This is {n} ({a}) from {c}.
    Here is {n}, {a}, [of|from] {c}.
    Here is {n}, who lives in {c} and is {a} years old.
    Meet {n}, {a}, from {c}.
    Meet {n}. [She|He] is {a} and lives in {c}.
    Meet {n} from {c}, who is {a}.
    That is {n}, a {a} year old from {c}.
    {n}, who lives in {c}, is {a} years old.
    {n}, who comes from {c}, is {a}.
    {n}, who is from {c}, turned {a}.
    {n}, aged {a}, lives in {c}.
    {n}, aged {a}, [of|from] {c}.
    {n}, from {c}, is {a} years old.
    {n} of {c} is {a} years old.
    {n} is from {c}. [She|He] is {a} years old.
    {n} is from {c} and is {a} years old.
    {n} lives in {c}. [She|He] is {a}.
    {n} lives in {c}. {n} is {a} years old.
    {n} lives in {c}, and [she|he] is {a} years old.
    {n} lives in {c} at the age of {a}.
    {n} is {a}, [she|he] lives in {c}.
    {n} is {a}, lives in {c} and has {p}.
    {n} is {a} years old, lives in {c} and [likes to sing|works as a baker|has two sisters].
    {n} has {p}, is {a} years old and lives in {c}.
    {n} is {a} years old and was born in {c}.
    {n} has lived in {c} for years and is {a} now.
    {n} is at home in {c} and {a} years old.
    {n} will be {a} soon and lives in {c}.
    {n} celebrated [her|his] {a}th birthday in {c}.
    {n} is a {a}-year-old from {c}.
    {n} is a {a}-year-old who lives in {c}.
    {n} is a [man|woman|girl|boy] of {a} who lives in {c}.
    {n} is based in {c} and is {a}.
    The {a}-year-old {n} lives in {c}.
    {n} / {a} / {c}
    {n}; {a}; {c}
    {n}, {a}, {c}
    {c}, {n}, {a}
    Name: {n}, age: {a}, city: {c}
    Name: {n}. Age: {a}. City: {c}.
    Name: {n}\nAge: {a}\nCity: {c}
    City: {c}, name: {n}, age: {a}
    Age {a}, name {n}, city {c}.
    {c} is the home of {n}, who is {a}.
    {c} is where {n} lives, {a} years old.
    From {c} comes {n}, {a} years old.
    In {c} there lives a {a} year old [girl|boy|man|woman] called {n}.
    There is a {a} year old [girl|boy|man|woman] in {c} called {n}.
    A [girl|boy|man|woman] called {n} lives in {c}. [She|He] is {a}.
    A [girl|boy|man|woman] of {a} lives in {c}. [Her|His] name is {n}.
    [Yesterday|Today|Last week] I met {n} from {c}, who is {a}.
    I know {n}, who is {a} and lives in {c}.
    I have a friend called {n}, {a} years old, in {c}.
    My [brother|sister|neighbour|uncle|aunt|cousin|colleague] {n} is {a} and lives in {c}.
    My [brother|sister|friend|neighbour] is called {n}, is {a} and lives in {c}.
    Hi, I'm {n}, {a}, from {c}.
    Hello, my name is {n}, I'm {a} and I live in {c}.
    I'm {n} from {c} and I'm {a} years old.
    I live in {c}, my name is {n} and I am {a}.
    I am {a} years old, live in {c} and am called {n}.
    Though only {a}, {n} lives alone in {c}.
    At {a}, {n} still lives in {c}.
    {a} years old is {n}, who lives in {c}.
    {a}-year-old {n} lives in {c}.
    {a}-year-old {n} comes from {c}.
    [Mr|Mrs|Ms|Dr] {n} is {a} and lives in {c}.
    Our [teacher|doctor|neighbour|baker] {n} is {a} years old and lives in {c}.
""")
PERSON_HELD_OUT = lines(r"""
    {n}, who is {a} years old, lives in {c}.
    This is {n}, {a} years old, who lives in {c}.
    {n} is {a} years old and at home in {c}.
""")
# {x} is the text to be read.
EXTRACT = lines(r"""
    Extract as JSON: {x}
    Extract as JSON: {x}
    Extract as JSON: {x}
    As JSON: {x}
    JSON: {x}
    Turn this into JSON: {x}
    Extract JSON: {x}
    Write as JSON: {x}
    Extract the data as JSON: {x}
    Please extract as JSON: {x}
    Extract name, age and city as JSON: {x}
    Give me this as JSON: {x}
    Convert to JSON: {x}
    {x} Extract as JSON.
    {x} As JSON, please.
    Extract the person as JSON: {x}
    extract as json: {x}
    Extract as JSON:\n{x}
    Text: {x}\nJSON:
    Make JSON of this: {x}
    JSON, please: {x}
    Can you turn this into JSON? {x}
    Turn the following into JSON: {x}
    Extract the fields as JSON: {x}
    Give me JSON for: {x}
    Put this into JSON: {x}
    Parse this as JSON: {x}
    {x}\nExtract as JSON.
    Extract as JSON: "{x}"
""")
COMMAND = lines(r"""
    Command as JSON: {x}
    Turn this command into JSON: {x}
    Command: {x}
    Extract as JSON: {x}
    As JSON: {x}
    Command as JSON: {x}.
    JSON: {x}
    Convert the command to JSON: {x}
""")
STANDING = lines("""
    Turn every message into JSON.
    Extract as JSON.
    Answer in JSON.
    Answer only in JSON.
    You turn text into JSON.
    Extract the data as JSON.
""")
STANDING_COMMAND = lines("""
    Turn commands into JSON.
    Turn every command into JSON.
    Extract as JSON.
    You turn commands of a game into JSON.
    Answer in JSON.
""")


def as_json(record: Record) -> str:
    """The record on one line, as every answer of this kind is written."""
    return json.dumps(record, ensure_ascii=False)


def person(r: Random, name: Names = world.name, city: Names = world.city,
           ways: Tuple[str, ...] = PERSON) -> Tuple[str, Record]:
    """A sentence about a person and the record it says."""
    who = dict(n=name(r), a=r.randint(1, 99), c=city(r), p=article(r.choice(world.PETS)))
    if ways is PERSON:
        if r.random() < 0.14:
            who["n"] = world.full_name(r)
        roll = r.random()  # some records have fewer fields, or others
        if roll < 0.05:
            text = say(r, "{n} [lives in|comes from|is from] {c}.", **who)
            return text, dict(name=who["n"], city=who["c"])
        if roll < 0.10:
            return say(r, "{n} is {a}[ years old|].", **who), dict(name=who["n"], age=who["a"])
        if roll < 0.14:
            job = r.choice(world.PLAIN_JOBS)
            text = say(r, "{n} is {j} in {c}.", j=article(job), **who)
            return text, dict(name=who["n"], job=job, city=who["c"])
    return say(r, r.choice(ways), **who), dict(name=who["n"], age=who["a"], city=who["c"])


def selected(r: Random) -> Tuple[str, str]:
    """A request for some of the fields only, and its answer."""
    text, record = person(r, ways=PERSON[:8])
    keys = r.choice((("name",), ("age",), ("city",), ("name", "city"), ("name", "age"),
                     ("name", "age", "city")))
    listed = keys[0] if len(keys) == 1 else ", ".join(keys[:-1]) + " and " + keys[-1]
    ask = say(r, "[Extract {k} as JSON: {x}|Extract the {k} as JSON: {x}|Give me the {k} as JSON:"
                 " {x}]", k=listed, x=text)
    return ask, as_json({k: record[k] for k in keys})


def item(r: Random) -> Tuple[str, Record]:
    """Something for sale and its record."""
    thing = r.choice(world.OBJECTS) if r.random() < 0.7 else world.made_up_word(r)
    price, tint = r.randint(1, 99), r.choice(world.COLOURS)
    text = say(r, "[The {t} {o} costs {p} coins.|A {t} {o} for {p} coins.|{p} coins for the {t}"
                  " {o}.|I bought a {t} {o} for {p} coins.|The {o} is {t} and costs {p} coins.]",
               t=tint, o=thing, p=price)
    return text, dict(item=thing, color=tint, price=price)


def command_held_out(text: str) -> bool:
    """True for one in twelve of the commands of three words or more."""
    return text.count(" ") > 1 and world.held_out(text)


def command(r: Random) -> Tuple[str, Record]:
    """A command for training."""
    while True:
        text, record = any_command(r, world.name)
        if not command_held_out(text):
            return text, record


# share, phrasings, action, and which words go under which key: {d} direction, {q} place, {o} and
# {u} objects, {w} person, {m} a place that can be opened
ACTIONS: Tuple[Tuple[int, str, str, Dict[str, str]], ...] = (
    (22, "[go|walk|run|move|head|climb|please go|let us go|I go|go|go|I walk|I want to go] {d}",
     "go", {"direction": "d"}),
    (6, "[go to|enter|walk to|run to|go into|go back to|visit|I go to] the {q}", "go",
     {"place": "q"}),
    (15, "[take|get|pick up|grab|take|I take|please take|I want to take] [the|a|the] {o}", "take",
     {"object": "o"}),
    (8, "[drop|put down|leave|throw away|I drop] the {o}", "drop", {"object": "o"}),
    (5, "[open|open|unlock|I open|please open] the {m}", "open", {"object": "m"}),
    (3, "[close|shut] the {m}", "close", {"object": "m"}),
    (8, "[talk to|speak to|talk with|speak with|ask|say hello to|I talk to] {w}", "talk",
     {"person": "w"}),
    (6, "[give|hand|I give] the {o} to {w}", "give", {"object": "o", "person": "w"}),
    (4, "give {w} the {o}", "give", {"object": "o", "person": "w"}),
    (8, "[look at|examine|inspect|read|I look at] the {o}", "look", {"object": "o"}),
    (7, "[use|I use] the {o} [on|with] the {u}", "use", {"object": "o", "target": "u"}),
    (4, "[attack|fight|hit|kill] the {o}", "attack", {"object": "o"}),
    (2, "[look|look around]", "look", {}),
    (2, "[inventory|what do I have]", "inventory", {}),
    (1, "wait", "wait", {}),
)


def any_command(r: Random, name: Names) -> Tuple[str, Record]:
    """A command of a text adventure and what it means."""
    def thing() -> str:
        word = r.choice(world.OBJECTS) if r.random() < 0.8 else world.made_up_word(r)
        if r.random() < 0.75:
            return word
        return r.choice(world.COLOURS + world.OBJECT_ADJECTIVES) + " " + word
    _, ways, action, keys = r.choices(ACTIONS, [row[0] for row in ACTIONS])[0]
    place = r.choice(world.PLACES) if r.random() < 0.9 else world.made_up_word(r)
    if r.random() < 0.2:
        place = r.choice(world.COLOURS + world.OBJECT_ADJECTIVES) + " " + place
    job = r.choice(list(world.JOBS) + ["king", "guard", "old man", "queen", "stranger", "troll"])
    who, spoken = r.choice(((name(r),) * 2, (name(r),) * 2, (job, "the " + job)))
    words = dict(d=r.choice(world.DIRECTIONS), q=place, m=place, o=thing(), u=thing(), w=who)
    record: Record = dict(action=action)
    record.update((key, words[slot]) for key, slot in keys.items())
    return say(r, ways, **dict(words, w=spoken)), record


def extraction_chat(r: Random) -> str:
    """Requests for JSON, each with its own words or with the task in the system prompt."""
    messages: List[Message] = []
    kind = r.choices(("person", "command", "item", "mixed"), (11, 7, 1, 2))[0]
    standing = r.random() < 0.3
    if standing:
        messages.append(("system", r.choice(STANDING_COMMAND if kind == "command" else STANDING)))
    elif r.random() < 0.15:
        messages.append(("system", r.choice(SYSTEM)))
    for _ in range(r.choice((1, 1, 2, 3))):
        now = kind if kind != "mixed" else r.choice(("person", "command", "item"))
        if now == "person" and not standing and r.random() < 0.08:
            ask, answer = selected(r)
        else:
            text, record = {"person": person, "command": command, "item": item}[now](r)
            if now == "command" and r.random() < 0.2:
                text = capitalised(text) + "."
            ways = COMMAND if now == "command" else EXTRACT
            ask = text if standing else r.choice(ways).format(x=text)
            answer = as_json(record)
        messages += [("user", ask), ("assistant", answer)]
    return chat_text(messages)


TABLES = (("name", "age", "city"), ("name", "age", "city"), ("name", "age"), ("name", "city"),
          ("name", "age", "city", "pet"), ("name", "job"), ("name", "age", "job"))
PLAIN = ("Extract as JSON: {x}\n{y}", "Text: {x}\nJSON: {y}", "Extract as JSON: {x}\n{y}",
         "Input: {x}\nOutput: {y}")


def extraction_plain(r: Random) -> str:
    """The same without the marks of a chat."""
    roll, rows = r.random(), []
    if roll < 0.4:
        for _ in range(r.randint(1, 4)):
            text, record = command(r) if r.random() < 0.3 else person(r)
            rows.append(r.choice(PLAIN).format(x=text, y=as_json(record)))
        return r.choice(("\n", "\n\n")).join(rows)
    if roll < 0.75:  # a table of people, one record a line
        keys = r.choice(TABLES)
        for _ in range(r.randint(2, 8)):
            full: Record = dict(name=world.name(r), age=r.randint(1, 99), city=world.city(r),
                                pet=r.choice(world.PETS), job=r.choice(world.PLAIN_JOBS))
            rows.append(as_json({k: full[k] for k in keys}))
        return "\n".join(rows)
    for _ in range(r.randint(1, 5)):
        text, record = command(r)
        rows.append(f"Command: {text}\nJSON: {as_json(record)}")
    return "\n".join(rows)
