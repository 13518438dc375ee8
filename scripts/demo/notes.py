"""Things of any kind that a user tells and asks for: codes, places, favourites, days, numbers.

A note is told in one sentence.  It comes with the questions that it answers, so that a dialog can
ask them later.
"""

from random import Random
from typing import Callable, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

import world
from phrase import say
from world import article, capitalised

Names = Callable[[Random], str]


class Kind(NamedTuple):
    """How something is told, asked for, and answered; `asks` and `answers` go in pairs."""

    tell: str
    asks: Tuple[str, ...]
    answers: Tuple[str, ...]


class Told(NamedTuple):
    """One note: the sentence, its (question, answer) pairs, and what it is about (kind, k)."""

    text: str
    asks: List[Tuple[str, str]]
    about: FrozenSet[Tuple[str, str]]


# {k} is what the note is about, {v} its value.
KINDS: Dict[str, Kind] = {
    "favourite": Kind(
        "[My favourite {k} is {v}.|My favourite {k} is {v}.|{V} is my favourite {k}.|The {k} I"
        " like best is {v}.|My favorite {k} is {v}.|Of all {k}s I like {v} best.]",
        ("[What is my favourite {k}?|What is my favourite {k}?|What's my favourite {k}?|Which"
         " {k} do I like best?|Do you remember my favourite {k}?|Do you know my favourite"
         " {k}?|Tell me my favourite {k}.|What is my favorite {k}?]",),
        ("Your favourite {k} is {v}.",)),
    "tint": Kind(
        "[My {k} is {v}.|I have {va} {k}.|The colour of my {k} is {v}.]",
        ("[What colour is my {k}?|What colour is my {k}?|What is the colour of my {k}?|Which"
         " colour does my {k} have?|What color is my {k}?]",),
        ("Your {k} is {v}.",)),
    "secret": Kind(
        "[The {k} is {v}.|The {k} is {v}.|The {k} is {v}.|{v} is the {k}.|Remember the {k}:"
        " {v}.|The {k}: {v}.]",
        ("[What is the {k}?|What is the {k}?|What's the {k}?|Tell me the {k}.|Do you remember"
         " the {k}?|Do you know the {k}?|What was the {k}?|Give me the {k}.|And the {k}?]",),
        ("The {k} is {v}.",)),
    "mine": Kind(
        "[My {k} is {v}.|My {k} is {v}.|{v} is my {k}.|Remember my {k}: {v}.|My {k}: {v}.]",
        ("[What is my {k}?|What is my {k}?|What's my {k}?|Tell me my {k}.|Do you remember my"
         " {k}?|Do you know my {k}?|What was my {k}?]",),
        ("Your {k} is {v}.",)),
    "place": Kind(
        "[The {k} is {v}.|The {k} is {v}.|You can find the {k} {v}.|The {k} lies {v}.]",
        ("[Where is the {k}?|Where is the {k}?|Where can I find the {k}?|Do you know where the"
         " {k} is?|Tell me where the {k} is.]",
         "[What is {v}?|What lies {v}?|What can I find {v}?]"),
        ("The {k} is {v}.", "The {k} is {v}.")),
    "my place": Kind(
        "[I put my {k} {v}.|My {k} is {v}.|I left my {k} {v}.|I have hidden my {k} {v}.]",
        ("[Where is my {k}?|Where is my {k}?|Where did I put my {k}?|Where did I leave my"
         " {k}?|Do you know where my {k} is?]",),
        ("Your {k} is {v}.",)),
    "age": Kind(
        "[My {k} is {v} years old.|My {k} is {v}.]",
        ("[How old is my {k}?|How old is my {k}?|What is the age of my {k}?|Do you know how old"
         " my {k} is?]",),
        ("Your {k} is {v} years old.",)),
    "relative": Kind(
        "[My {k} is called {v}.|My {k} is named {v}.|My {k}'s name is {v}.|I have {ka} called"
        " {v}.|{v} is my {k}.]",
        ("[What is my {k} called?|What is my {k}'s name?|What is the name of my {k}?|What's my"
         " {k}'s name?|Who is my {k}?]",),
        ("Your {k}'s name is {v}.",)),
    "home": Kind(
        "[My {k} lives in {v}.|My {k} is from {v}.|My {k} moved to {v}.]",
        ("[Where does my {k} live?|Where does my {k} live?|Where is my {k}?|Do you know where"
         " my {k} lives?]",),
        ("Your {k} lives in {v}.",)),
    "like": Kind(
        "[I {k} {v}.|I {k} {v}.|I really {k} {v}.|I {k} {v} very much.]",
        ("[What do I {k}?|What do I {k}?|Do you remember what I {k}?|Do you know what I"
         " {k}?|Tell me what I {k}.]",),
        ("You {k} {v}.",)),
    "event": Kind(
        "[The {k} is {v}.|The {k} is {v}.|There is {ka} {v}.|We have {ka} {v}.]",
        ("[When is the {k}?|When is the {k}?|When will the {k} be?|Do you know when the {k}"
         " is?|Tell me when the {k} is.]",),
        ("The {k} is {v}.",)),
    "count": Kind(
        "[I have {v} {k}.|I have {v} {k}.|There are {v} {k} in my house.|I own {v} {k}.]",
        ("[How many {k} do I have?|How many {k} do I have?|How many {k} are mine?|Do you know"
         " how many {k} I have?]",),
        ("You have {v} {k}.",)),
}
SHARES = {"favourite": 3, "tint": 1, "secret": 3, "mine": 1.5, "place": 1.5, "my place": 1.5,
          "age": 1, "relative": 2, "home": 1, "like": 1, "event": 1, "count": 1}
COLOURED = ("car bike hat coat house door bag boat shirt dress room bed chair scarf umbrella"
            " kite").split()
OWN = ("password;code;phone number;house number;room number;lucky number;last name;nickname;team;"
       "ship;school;boss;neighbour;doctor;street;secret;plan;wish;size;shoe size").split(";")
VERBS = "like love hate collect want need".split()


def _usually(r: Random, words: List[str]) -> str:
    """A word of the list, now and then one that nobody has heard."""
    return r.choice(words) if r.random() < 0.88 else world.made_up_word(r)


def _secret(r: Random, name: Names) -> str:
    return r.choice((str(r.randint(0, 9)), str(r.randint(10, 99)), str(r.randint(100, 9999)),
                     world.made_up_word(r), name(r), r.choice(world.OBJECTS),
                     world.made_up_word(r) + str(r.randint(0, 999))))


def _subject_and_value(r: Random, kind: str, name: Names, city: Names) -> Tuple[str, str]:
    """What a note of this kind is about, and what it says about it."""
    if kind == "favourite":
        k = _usually(r, world.FAVOURITES)
        known = {
            "number": str(r.randint(1, 99)), "animal": "the " + r.choice(world.PETS),
            "day": r.choice(world.DAYS), "month": r.choice(world.MONTHS),
            "season": r.choice(world.SEASONS)[0], "city": city(r),
            "country": r.choice(world.COUNTRIES)[0],
        }
        word = r.choice((world.made_up_word(r), _usually(r, world.OBJECTS), name(r)))
        return k, known.get(k, word)
    if kind == "tint":
        return _usually(r, COLOURED), r.choice(world.COLOURS)
    if kind in ("secret", "mine"):
        return _usually(r, world.SECRETS if kind == "secret" else OWN), _secret(r, name)
    if kind in ("place", "my place"):
        thing = _usually(r, world.OBJECTS)
        if r.random() < 0.3:
            thing = r.choice(world.COLOURS) + " " + thing
        where = r.choice("in under behind on near by".split())
        return thing, f"{where} the {_usually(r, world.PLACES + world.OBJECTS)}"
    if kind in ("age", "home", "relative"):
        value = {"age": str(r.randint(1, 99)), "home": city(r), "relative": name(r)}[kind]
        pets = [] if kind == "relative" else world.PETS
        return r.choice(world.RELATIVES + pets), value
    if kind == "like":
        return r.choice(VERBS), r.choice((r.choice(world.FOODS), r.choice(world.HOBBIES),
                                          _usually(r, world.OBJECTS) + "s"))
    if kind == "event":
        when = "on " + r.choice(world.DAYS) if r.random() < 0.7 else "in " + r.choice(world.MONTHS)
        return _usually(r, world.EVENTS), when
    return r.choice(world.COUNTED), str(r.randint(2, 40))


def draw(r: Random, name: Names, city: Names) -> Told:
    """A new note, or two in one sentence."""
    first = _single(r, name, city)
    if r.random() > 0.25:
        return first
    second = _single(r, name, city)
    if r.random() < 0.6:  # two of a kind, which must not be mixed up
        kind = r.choice(("relative", "relative", "tint", "mine", "my place"))
        first, second = _single(r, name, city, kind), _single(r, name, city, kind)
    if second.about & first.about or first.text[-1] != ".":
        return first
    text = second.text
    if text.split()[0] in ("My", "The", "There", "We", "You", "Remember", "Of"):
        text = text[0].lower() + text[1:]
    return Told(first.text[:-1] + r.choice((" and ", ", and ")) + text, first.asks + second.asks,
                first.about | second.about)


def _single(r: Random, name: Names, city: Names, kind: Optional[str] = None) -> Told:
    kind = kind or r.choices(list(SHARES), list(SHARES.values()))[0]
    k, v = _subject_and_value(r, kind, name, city)
    fill = dict(k=k, v=v, V=capitalised(v), va=article(v), ka=article(k))
    asks = [(say(r, ask, **fill), reply.format(**fill))
            for ask, reply in zip(KINDS[kind].asks, KINDS[kind].answers)]
    return Told(say(r, KINDS[kind].tell, **fill), asks, frozenset([(kind, k)]))


_BEFORE = ("By the way, ", "You know, ", "Remember this: ", "Please remember: ", "Listen: ", "Oh, ",
           "Well, ", "Hello! ", "Hi. ", "Also, ", "One more thing: ", "Note this: ",
           "It may help that ", "I should say: ")
_AFTER = (" Please remember that.", " Remember it.", " Do not forget it.", " Keep that in mind.",
          " That is all.", " OK?")


def around(r: Random, text: str) -> str:
    """The note with other words before or after it, now and then."""
    if r.random() < 0.25:
        return r.choice(_BEFORE) + text
    return text + r.choice(_AFTER) if r.random() < 0.15 else text


def answer(r: Random) -> str:
    """What is said to a note."""
    return say(r, "[I see.|All right.|I will remember that.|Good to know.|OK.|I will keep that in"
                  " mind.|Thank you for telling me.]")
