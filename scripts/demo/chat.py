"""Chats with a user: greetings, facts, and what the user has told.

A dialog is a list of (role, text).  What the user has told so far is kept beside it, so that a
later question has the answer that was given, or "I don't know." when nothing was said.
The phrasings stand in wordings.py.
"""

from random import Random
from typing import Callable, Dict, List, Optional, Tuple

import facts
import notes
import stories
import world
from phrase import TELLING, behind, careless, say, wrapped
from wordings import (
    ACK, AFTER, AGAIN, ANSWER, AROUND_CLAUSE, AROUND_NOUN, ASK, BEFORE, BYE, CLAUSES, GREET,
    INTRODUCTIONS, NAME_AND_HOME, NOUNS, SYSTEM, TELL, TELL_PET, TELL_RELATIVE, THANKS,
    Pairs)
from world import article, capitalised

Message = Tuple[str, str]
Names = Callable[[Random], str]


def one_of(r: Random, row: Tuple[str, ...]) -> str:
    """One of the phrases that stand between bars in any of the lines."""
    return r.choice([phrase.strip() for line in row for phrase in line.split("|")])


def _way_to_ask(r: Random, topic: str) -> str:
    """A question about a topic, as a template: a ready one, or one built around what is asked."""
    if r.random() < 0.6:
        return r.choice(ASK[topic])
    if r.random() < 0.67:
        return r.choice(AROUND_CLAUSE).replace("{x}", r.choice(CLAUSES[topic]))
    return r.choice(AROUND_NOUN).replace("{x}", r.choice(NOUNS[topic]))


class Talk:
    """One dialog in the making: its messages and what the user has told."""

    TOPICS = ("name name name name age age home home home home home pet pet pet colour colour"
              " colour relative food hobby job").split()

    def __init__(self, r: Random, name: Names = world.name, city: Names = world.city) -> None:
        self.r, self.name, self.city = r, name, city
        self.messages: List[Message] = []
        self.told: Dict[str, Dict[str, str]] = {}
        self.notes: List[notes.Told] = []

    def turn(self, user: str, answer: str, keep_case: bool = False) -> None:
        """Adds what the user says and the answer to it."""
        r = self.r
        # A name at the beginning keeps its capital, or it could not be copied.
        if not keep_case and not any(user.startswith(f["v"]) for f in self.told.values()):
            user = careless(r, user)
        if r.random() < 0.02 and answer.endswith("."):
            answer += " " + say(r, "However, [I may be wrong|there is more to say about it|that is"
                                   " all I know|you can ask me more|I don't know more about it].")
        self.messages += [("user", user), ("assistant", answer)]

    def ask(self, question: str, answer: str) -> None:
        """A question, perhaps with other words around it."""
        self.turn(wrapped(self.r, question), answer)

    def value(self, topic: str) -> Dict[str, str]:
        """A new value for a topic, with all the forms its phrasings need."""
        r = self.r
        if topic == "name":
            value = world.full_name(r) if r.random() < 0.06 else self.name(r)
            roll = r.random()
            fill = dict(v=value.lower() if roll < 0.05 else value.upper() if roll < 0.06 else value)
        elif topic == "age":
            fill = dict(v=str(r.randint(4, 99) if r.random() < 0.95 else r.randint(100, 999)))
        elif topic == "home":
            fill = dict(v=self.city(r))
            if r.random() < 0.05:
                fill["v"] = r.choice(world.COUNTRIES)[0]
            elif r.random() < 0.05:
                fill["v"] = fill["v"].lower()
        elif topic in ("pet", "relative"):
            kind = r.choice(world.PETS if topic == "pet" else world.RELATIVES)
            if topic == "pet" and r.random() < 0.15:
                kind = world.made_up_word(r)
            fill = dict(v=self.name(r), s=kind, p=article(kind))
        else:
            words = dict(colour=world.COLOURS, food=world.FOODS, hobby=world.HOBBIES,
                         job=world.PLAIN_JOBS)[topic]
            fill = dict(v=r.choice(words) if r.random() < 0.78 else world.made_up_word(r))
        fill["V"], fill["a"] = capitalised(fill["v"]), article(fill["v"])
        return fill

    def sentence(self, topic: str, fill: Dict[str, str]) -> str:
        """A sentence that tells the topic; remembers what was told."""
        ways = {"pet": TELL_PET, "relative": TELL_RELATIVE}.get(topic) or TELL[topic]
        self.remember(topic, fill)
        return say(self.r, self.r.choice(ways), **fill)

    def remember(self, topic: str, fill: Dict[str, str]) -> None:
        """Notes what has been told."""
        self.told[topic] = fill
        if topic == "pet":
            self.told["petname"] = fill

    def tell(self, topic: Optional[str] = None) -> None:
        """The user tells one thing, sometimes two or three at once, perhaps with a question."""
        r = self.r
        chosen = [topic or r.choice(self.TOPICS)]
        for _ in range(r.choices((0, 1, 2), (62, 25, 13))[0]):
            more = r.choice(self.TOPICS)
            if more not in chosen:
                chosen.append(more)
        again = any(t in self.told for t in chosen)
        fills = {t: self.value(t) for t in chosen}
        text = self._sentences(chosen, fills)
        if again and r.random() < 0.8:
            text = behind(one_of(r, AGAIN) + " ", text, TELLING)
        elif r.random() < 0.30:
            text = behind(one_of(r, BEFORE) + " ", text, TELLING)
        elif r.random() < 0.12:
            text += ("" if text[-1] in ".!?" else ".") + " " + one_of(r, AFTER)
        elif r.random() < 0.12:  # a question in the same message: it is the one that is answered
            fact = facts.ask(r)
            text += "" if text[-1] in ".!?" else "."
            self.turn(text + " " + fact.question, fact.answer)
            return
        if r.random() < 0.06:
            question, answer = self.question(r.choice(chosen))
            text += "" if text[-1] in ".!?" else "."
            self.turn(text + " " + question, answer)
            return
        named = chosen[0] if r.random() < 0.75 else r.choice(chosen)
        self.turn(text, say(r, r.choice(ACK[named]), **fills[named]))

    def _sentences(self, chosen: List[str], fills: Dict[str, Dict[str, str]]) -> str:
        r = self.r
        if {"name", "age", "home"} == set(chosen) and r.random() < 0.5:
            for t in chosen:
                self.remember(t, fills[t])
            return say(r, r.choice(INTRODUCTIONS), n=fills["name"]["v"], a=fills["age"]["v"],
                       h=fills["home"]["v"])
        if {"name", "home"} == set(chosen) and r.random() < 0.4:
            for t in chosen:
                self.remember(t, fills[t])
            return say(r, r.choice(NAME_AND_HOME), n=fills["name"]["v"], h=fills["home"]["v"])
        parts = [self.sentence(t, fills[t]) for t in chosen]
        if len(parts) == 2 and r.random() < 0.5 and parts[0].endswith("."):
            second = parts[1]
            if not second.startswith(("I ", "I'm", fills[chosen[1]]["v"])):
                second = second[0].lower() + second[1:]
            return parts[0][:-1] + r.choice((" and ", ", and ")) + second
        return " ".join(p if p[-1] in ".!?" or p is parts[-1] else p + "." for p in parts)

    def question(self, topic: str) -> Tuple[str, str]:
        """A question about what was told, or was not, and its answer."""
        r = self.r
        noted = {k for told in self.notes for _, k in told.about}
        kinds = [k for k in (world.PETS if topic == "petname" else world.RELATIVES)
                 if k not in noted]
        way = _way_to_ask(r, topic)
        fill = self.told.get(topic)
        if fill is None:
            return say(r, way, s=r.choice(kinds)), "I don't know."
        if topic in ("petname", "relative") and r.random() < 0.08:  # of another one
            other = r.choice([k for k in kinds if k != fill["s"]])
            return say(r, way, s=other), "I don't know."
        return say(r, way, **fill), say(r, ANSWER[topic], **fill)

    def recall(self, topic: Optional[str] = None) -> None:
        """The user asks for something told before, or for something that was not told."""
        r = self.r
        if topic is None:
            known = self.told and r.random() < 0.70
            topic = r.choice(list(self.told) if known else list(ASK))
        question, answer = self.question(topic)
        others = [t for t in self.told if t != topic and t not in ("petname", "relative", "pet")]
        if r.random() < 0.04 and topic in self.told and others:  # two questions at once
            second, more = self.question(r.choice(others))
            question = question.rstrip("?.") + " and " + second[0].lower() + second[1:]
            answer += " " + more
        self.ask(question, answer)

    def note(self) -> None:
        """The user tells something of another kind; what can be asked about it is kept."""
        told = notes.draw(self.r, self.name, self.city)
        self.notes = [old for old in self.notes if not old.about & told.about] + [told]
        text = notes.around(self.r, told.text)
        if self.r.random() < 0.05:
            question, answer = told.asks[0]
            self.turn(text + " " + question, answer, keep_case=True)
        else:  # a value at the beginning keeps its capital, or it could not be copied
            self.turn(text, notes.answer(self.r), keep_case=text.split()[0] not in (
                "My", "The", "There", "We", "You", "Remember", "Of", "I"))

    def recall_note(self) -> None:
        """A question about one of the notes, or about something that was not noted."""
        r = self.r
        if self.notes and r.random() > 0.08:
            self.ask(*r.choice(r.choice(self.notes).asks))
            return
        other = notes.draw(r, self.name, self.city)
        if not any(other.about & told.about for told in self.notes):
            self.ask(other.asks[0][0], "I don't know.")

    def fact(self) -> None:
        """A question about the world, often with one or two that need it."""
        r = self.r
        fact: Optional[facts.Fact] = facts.ask(r)
        while fact is not None:
            answer = fact.answer
            if r.random() < 0.03 and answer != "I don't know.":
                answer += " " + facts.contrast(r, fact)
            self.ask(fact.question, answer)
            fact = facts.follow(r, fact) if r.random() < 0.38 else None

    def small_talk(self) -> None:
        """Thanks, moods and other things between the questions."""
        question, answer = self.r.choice(THANKS if self.r.random() < 0.6 else GREET[2:])
        self.turn(say(self.r, question), say(self.r, answer))

    def greet(self) -> None:
        """The first words of a dialog."""
        self.turn(*(say(self.r, part) for part in self.r.choice(GREET)))

    def friend(self) -> None:
        """Somebody else is talked about and asked for: names belong to those who have them."""
        r = self.r
        who, town, age, other = self.name(r), self.city(r), str(r.randint(4, 99)), self.name(r)
        thing = r.choice(world.COLOURS) + " " + r.choice(world.OBJECTS)
        line, question = r.choice((
            (f"{who} lives in {town}.", f"Where does {who} live?"),
            (f"{who} is {age} years old.", f"How old is {who}?"),
            (f"{who} is the friend of {other}.", f"Who is the friend of {other}?"),
            (f"{who} has {article(thing)}.", f"What does {who} have?"),
            (f"{who} has the {thing}.", f"Who has the {thing}?"),
        ))
        intro = r.choice(("", "", "My friend ", "Listen: ", "I know somebody. "))
        self.turn(intro + line, notes.answer(r), keep_case=not intro)
        if r.random() < 0.5:
            self.filler()
        self.turn(question, line)

    def story(self) -> None:
        """A story on request."""
        r = self.r
        if r.random() < 0.4:
            request = say(r, "[Tell me a story|Please tell me a story|Can you tell me a story|I"
                             " want to hear a story|A story, please|Write a story][.|?|]")
            self.turn(request, stories.story(r, however=False))
            return
        hero = self.name(r)
        kind = r.choice(stories.CREATURES + [k for k, _ in stories.PEOPLE])
        request = say(r, "[Tell me|Write|Please tell me|Can you tell me] a story about {k}"
                         " [named|called] {h}[.|?]", k=article(kind), h=hero)
        self.turn(request, stories.story(r, hero, kind, however=False))

    def echo(self) -> None:
        """The user asks for words to be repeated: copying in its purest form."""
        r = self.r
        words = echo_words(r, 1, 5)
        request = say(r, "[Repeat|Say|Please repeat|Repeat after me|Please say|Write|Say this]:")
        self.turn(request + " " + words, words, keep_case=True)

    def filler(self) -> None:
        """A turn that has nothing to do with what was told."""
        self.r.choices((self.fact, self.small_talk, self.echo), (6, 3, 0.5))[0]()

    def text(self) -> str:
        """The dialog in ChatML."""
        return chat_text(self.messages)


def echo_words(r: Random, least: int, most: int) -> str:
    """Words that have nothing to do with each other."""
    return " ".join(
        r.choice((world.made_up_word(r), world.name(r), world.city(r), r.choice(world.OBJECTS),
                  str(r.randint(0, 999))))
        for _ in range(r.randint(least, most)))


def chat_text(messages: List[Message]) -> str:
    """The messages in ChatML."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def begin(r: Random, share: float = 0.35) -> Talk:
    """A new dialog; some start with a general system prompt."""
    talk = Talk(r)
    if r.random() < share:
        talk.messages.append(("system", r.choice(SYSTEM)))
    return talk


TOLD_BY_SYSTEM = {
    "name": "[The user is called {v}.|The name of the user is {v}.|The user's name is {v}.|You are"
            " talking to {v}.|The player is called {v}.]",
    "age": "The user is {v} years old.",
    "home": "The user lives in {v}.",
    "colour": "The user's favourite colour is {v}.",
}


def _begin_told(r: Random) -> Talk:
    """A dialog whose system prompt says who the user is."""
    talk, text = Talk(r), []
    for topic in r.sample(list(TOLD_BY_SYSTEM), r.choice((1, 1, 2, 3))):
        fill = talk.value(topic)
        talk.remember(topic, fill)
        text.append(say(r, TOLD_BY_SYSTEM[topic], **fill))
    if r.random() < 0.6:
        text.insert(0, r.choice(SYSTEM))
    talk.messages.append(("system", " ".join(text)))
    return talk


def fact_chat(r: Random) -> str:
    """Questions about the world and their follow-ups."""
    talk = begin(r)
    if r.random() < 0.2:
        talk.greet()
    for _ in range(r.choice((1, 1, 2, 2, 3, 4))):
        talk.fact()
        if r.random() < 0.12:
            talk.small_talk()
    if r.random() < 0.08:
        talk.turn(*(say(r, part) for part in BYE[0]))
    return talk.text()


def recall_chat(r: Random) -> str:
    """The user tells things and asks for them later; other turns lie between."""
    talk = _begin_told(r) if r.random() < 0.05 else begin(r)
    if r.random() < 0.25:
        talk.greet()
    if r.random() < 0.10:  # asked before anything was told
        talk.recall()
    talk.tell("name" if r.random() < 0.45 else None)
    steps = (talk.filler, talk.tell, talk.note, talk.recall_note, talk.recall)
    for _ in range(r.choice((1, 2, 2, 3, 3, 4, 5, 7)) if r.random() < 0.97 else r.randint(8, 16)):
        r.choices(steps, (34, 14, 10, 10 if talk.notes else 0, 32))[0]()
    talk.recall(r.choice(list(talk.told)))
    if r.random() < 0.04:
        talk.story()
    return talk.text()


SPEAKERS: Pairs = (("User: ", "Assistant: "), ("User: ", "Assistant: "), ("Q: ", "A: "),
                   ("Human: ", "AI: "), ("You: ", "Bot: "), ("User: ", "Bot: "), ("", ""))


def recall_plain(r: Random) -> str:
    """The same as a script with speakers, or as running text."""
    talk = Talk(r)
    talk.tell("name" if r.random() < 0.6 else None)
    for _ in range(r.randint(0, 3)):
        r.choices((talk.filler, talk.tell, talk.recall), (3, 2, 2))[0]()
    talk.recall(r.choice(list(talk.told)))
    if r.random() < 0.25:
        return r.choice((" ", "\n")).join(text for _, text in talk.messages)
    if r.random() < 0.25:  # all that was told, then the question
        last = [text for _, text in talk.messages[-2:]]
        told = [text for role, text in talk.messages[:-2] if role == "user" and text[-1:] == "."]
        return " ".join(told + last) if told else "\n".join(last)
    marks = dict(zip(("user", "assistant"), r.choice(SPEAKERS)))
    return "\n".join(marks[role] + text for role, text in talk.messages)


def note_chat(r: Random) -> str:
    """Other things that a user tells and asks for."""
    talk = begin(r, 0.25)
    for _ in range(r.choice((1, 1, 2, 2, 3))):
        talk.note()
        if r.random() < 0.15:
            talk.tell()
        for _ in range(r.choice((0, 0, 1, 1, 2))):
            talk.filler()
        if r.random() < 0.7:
            talk.recall_note()
    talk.recall_note()
    return talk.text()


def unknown_chat(r: Random) -> str:
    """Questions about a user who has told nothing, or something else."""
    talk = begin(r)
    if r.random() < 0.4:
        talk.filler()
    for _ in range(r.randint(1, 3)):
        topic = r.choice(list(ASK))
        if r.random() < 0.4:
            told = r.choice([t for t in TELL if t != topic])
            if told not in talk.told:
                talk.tell(told)
        talk.recall(topic)
    return talk.text()


def friend_chat(r: Random) -> str:
    """Other people, and repetitions."""
    talk = begin(r, 0.2)
    for _ in range(r.randint(1, 3)):
        r.choices((talk.friend, talk.echo, talk.small_talk), (6, 5, 1))[0]()
    return talk.text()


def story_chat(r: Random) -> str:
    """A story on request, and what follows it."""
    talk = begin(r, 0.2)
    talk.story()
    if r.random() < 0.3:
        talk.small_talk()
    return talk.text()
