"""Characters of a game: the system prompt says who they are, the player asks.

What is asked for and was not said is answered by "I don't know.".  Phrasings in the HELD_OUT
tables are used by the evaluation only.
"""

from random import Random
from typing import Callable, Dict, List, Optional, Tuple

import world
from chat import Talk
from phrase import lines, say, table
from world import article

Names = Callable[[Random], str]
Pair = Tuple[str, str]

# {n} name, {k} job, {j} job with article, {t} town, {g} goods, {p} price
CHARACTER = lines(r"""
    You are {n}, {j} in {t}. You sell {g} for {p} coins.
    You are {n}, {j} in {t}. You sell {g} for {p} coins.
    You are {n}, {j} in {t}. You sell {g} for {p} coins.
    You are {n}, {j} in {t}. You sell {g} for {p} coins each.
    You are {n}, {j} from {t}. You sell {g}. They cost {p} coins.
    You are {n}, {j} in the [town|village|city] of {t}. You sell {g} for {p} coins.
    Your name is {n}. You are {j} in {t}. You sell {g} for {p} coins.
    Your name is {n}. You live in {t} and work as {j}. You sell {g} for {p} coins.
    You are {j} in {t}. Your name is {n}. You sell {g} for {p} coins.
    You are {j} called {n}. You live in {t}. You sell {g}. The price is {p} coins.
    You play {n}, {j} in {t}, who sells {g} for {p} coins.
    Name: {n}. Job: {k}. Town: {t}. Goods: {g}. Price: {p} coins.
    You are {n}. You work as {j} in {t} and sell {g} for {p} coins.
    You are {n} and live in {t}, where you are {j}. You sell {g} for {p} coins.
    Play the role of {n}, {j} in {t}, who sells {g} for {p} coins.
    Act as {n}, {j} in {t}. You sell {g} for {p} coins.
    Your name is {n}, you live in {t}, and you sell {g} for {p} coins as {j}.
    You are {n} the {k}. We are in {t}. You have {g} for {p} coins.
    This is a game. You are {n}, {j} in {t}. You sell {g} for {p} coins.
    You are a character in a game. You are {n}, {j} of {t}. You sell {g} for {p} coins.
    In {t}, you are {n}, {j}. You sell {g} for {p} coins.
""")
CHARACTER_HELD_OUT = lines(r"""
    You are {n}, {j} of {t}. You sell {g}. One costs {p} coins.
    Your name is {n}, and you are {j} in {t}. You sell {g} for {p} coins.
""")
# {o} is something that is not for sale.
CHARACTER_ASK = table("""
= who
    Who are you?
    Who are you?
    Who are you?
    Who is there?
    Who is this?
    You are?
    Who am I speaking to?
    Who are you, my friend?
    And you are?
    And who are you?
    Tell me who you are.
    Please introduce yourself.
    Who am I talking to?
    Tell me about yourself.
    [Hello|Hi|Stranger|Friend|Sorry], who are you?
    Who do we have here?
    Who stands [there|here|before me]?
    With whom do I [speak|talk]?
    I don't know you. Who are you?
    Who [could|can] you be?
    [Would you|Can you] tell me who you are?
    What [sort|kind] of person are you?
= name
    What is your name?
    What is your name?
    What's your name?
    Your name?
    What are you called?
    What should I call you?
    How are you called?
    May I know your name?
    Tell me your name.
= job
    What is your job?
    What do you do?
    What's your job?
    What is your work?
    What do you work as?
    What do you do here?
    What do you do for a living?
= goods
    What do you sell?
    What do you sell?
    What do you sell?
    What can I buy here?
    What can I buy?
    What do you have?
    What are you selling?
    What do you have for sale?
    What is for sale?
    Do you sell anything?
    What goods do you have?
    I want to buy something.
    What can I get here?
    Show me your goods.
    What are your goods?
    What do you offer?
= price
    How much?
    How much is it?
    How much are they?
    How much do they cost?
    What do they cost?
    What is the price?
    How much are the {g}?
    How much do the {g} cost?
    What is the price of the {g}?
    What do your {g} cost?
    How much do you want for the {g}?
    How many coins?
    How many coins do you want?
    What does it cost?
    How much for the {g}?
    How much are your {g}?
    How much does it cost?
    And the price?
    How much do you want?
    How expensive are the {g}?
= where
    Where are we?
    Where are we?
    Where are we?
    Where am I?
    What town is this?
    What is this place?
    Which town is this?
    Where do you live?
    What is this town called?
    What is the name of this town?
    What is the name of this place?
    Is this a town?
    Where are you from?
    What village is this?
    What is this place called?
= yes
    Do you sell {g}?
    Do you have {g}?
    Can I buy {g}?
    Have you got {g}?
    I need {g}.
    I am looking for {g}.
    I would like {g}.
    I want to buy {g}.
= no
    Do you sell {o}?
    Do you have {o}?
    Can I buy {o}?
    Have you got {o}?
    I need {o}.
    I am looking for {o}.
    I would like {o}.
    I want to buy {o}.
""")
CHARACTER_ASK_HELD_OUT = table("""
= who
    Say, who are you?
    Who might you be?
= goods
    What do you sell here?
    Say, what do you sell?
= price
    How many coins do the {g} cost?
    How much are these {g}?
= where
    Say, where are we?
    Where are we now?
""")
CHARACTER_ANSWER: Dict[str, str] = {
    "who": "I am {n}, {j} in {t}.",
    "name": "My name is {n}.",
    "job": "I am {j}.",
    "goods": "I sell {g}.",
    "price": "They cost {p} coins.",
    "where": "We are in {t}.",
    "yes": "Yes, I sell {g} for {p} coins.",
    "no": "No, I only sell {g}.",
}
# Said of a character, and not asked for.
BACKGROUND = lines(r"""
    It is raining.
    The market is full of people.
    You are tired today.
    It is a cold morning.
    You do not like dragons.
    You love your work.
    You have two children.
    The road is long.
    A wolf was seen near the gate.
    You know everybody here.
    You are kind.
    You are in a hurry.
    The king is ill.
    You speak in short sentences.
    You never lie.
    The shop opens in the morning.
    Travellers come here often.
""")
# Asked for, and never said.
UNSAID = lines(r"""
    How old are you?
    Who is the king?
    Do you have children?
    What is in the cave?
    Where is the castle?
    Who is your father?
    When do you open?
    Where is the next town?
    Who lives next door?
    Have you seen my brother?
    What is behind the hill?
""")
# Prompts that say less than will be asked, and the answers that they do give.
HALF_KNOWN: Tuple[Tuple[str, Dict[str, str]], ...] = (
    ("You are {n}.", {"who": "I am {n}.", "name": "My name is {n}."}),
    ("You are {n}, {j}.",
     {"who": "I am {n}, {j}.", "name": "My name is {n}.", "job": "I am {j}."}),
    ("You are {n} from {t}.",
     {"who": "I am {n} from {t}.", "name": "My name is {n}.", "where": "We are in {t}."}),
    ("You are {n}, {j} in {t}.",
     {"who": "I am {n}, {j} in {t}.", "name": "My name is {n}.", "job": "I am {j}.",
      "where": "We are in {t}."}),
    ("You are {n}, {j} in {t}. You sell {g}.",
     {"who": "I am {n}, {j} in {t}.", "name": "My name is {n}.", "job": "I am {j}.",
      "where": "We are in {t}.", "goods": "I sell {g}."}),
)
# Further lines of a prompt, with what can be asked about them.
EXTRA: Tuple[Tuple[str, Tuple[Pair, ...]], ...] = (
    ("You have {a_pet} called {v}.",
     (("What is your {pet} called?", "My {pet} is called {v}."),
      ("Do you have a pet?", "I have {a_pet} called {v}."))),
    ("You are {feel}.", (("[How are you|How do you feel]?", "I am {feel}."),)),
    ("Your favourite food is {food}.",
     (("[What is your favourite food|What do you like to eat]?", "My favourite food is {food}."),)),
    ("Your friend is {v}.", (("[Who is your friend|Do you have a friend]?", "My friend is {v}."),)),
    ("You are afraid of {pet}s.", (("What are you afraid of?", "I am afraid of {pet}s."),)),
    ("You have lost your {thing}.",
     (("[What have you lost|Have you lost something|What is wrong]?", "I have lost my {thing}."),)),
    ("You need {a_thing}.", (("[What do you need|Can I help you]?", "I need {a_thing}."),)),
    ("[You know that the|The] {thing} is {where}.",
     (("[Where is the {thing}|Where can I find the {thing}|Do you know where the {thing} is]?",
       "The {thing} is {where}."),)),
    ("You are {age} years old.",
     (("[How old are you|What is your age]?", "I am {age} years old."),)),
)
CURRENCIES = ("gold coins;silver coins;pennies;gold;silver pieces;gold pieces;dollars;crowns;"
              "copper coins;euros").split(";")
MOODS = "cheerful grumpy shy proud friendly tired".split()
MANNERS = ("Be friendly.", "Stay in your role.", "Answer in one sentence.", "You like to talk.",
           "Talk with the player.")


def character(r: Random, name: Names = world.name, town: Names = world.town) -> Dict[str, str]:
    """Who a character is, what is sold where and for how much."""
    job = r.choice(list(world.JOBS))
    goods = r.choice(world.JOBS[job])
    if r.random() < 0.25:
        job = r.choice(list(world.JOBS) + world.PLAIN_JOBS + world.OTHER_JOBS)
        if r.random() < 0.2:
            job = world.made_up_word(r)
    roll = r.random()
    if roll < 0.3:
        goods = r.choice(world.JOBS[r.choice(list(world.JOBS))])
    elif roll < 0.44:
        goods = world.made_up_word(r) + "s"
    elif roll < 0.5:
        goods = r.choice(world.COLOURS) + " " + goods
    other = goods
    while other == goods:
        other = r.choice(world.JOBS[r.choice(list(world.JOBS))])
    price = r.randint(1, 99) if r.random() < 0.9 else r.randint(100, 999)
    # Training also has real cities, which the evaluation leaves to other questions.
    place = world.city(r) if town is world.town and r.random() < 0.3 else town(r)
    return dict(n=name(r), k=job, j=article(job), t=place, g=goods, p=str(price), o=other)


def half_known_chat(r: Random) -> str:
    """A character of whom less is said than is asked."""
    who = character(r)
    prompt, known = r.choice(HALF_KNOWN)
    talk = Talk(r)
    talk.messages.append(("system", prompt.format(**who)))
    kinds = [k for k in ("who", "name", "job", "where", "goods", "price")
             if (k != "price" or "goods" in known) and (k in known or r.random() < 0.6)]
    for kind in r.sample(kinds, r.randint(1, len(kinds))):
        talk.ask(say(r, r.choice(CHARACTER_ASK[kind]), **who),
                 known.get(kind, "I don't know.").format(**who))
    return talk.text()


class Scene:
    """A character, the prompt, and what can be asked."""

    def __init__(self, r: Random) -> None:
        self.r, self.who, self.coin = r, character(r), "coins"
        self.extra: List[Pair] = []
        self.second: Optional[Dict[str, str]] = None
        self.prompt = say(r, r.choice(CHARACTER), **self.who)
        if r.random() < 0.2:
            self.coin = r.choice(CURRENCIES)
            self.prompt = self.prompt.replace(" coins", " " + self.coin)
        if r.random() < 0.15:
            self._second_goods()
        if r.random() < 0.35:
            self._extra_line()
        if r.random() < 0.2:
            line = r.choice(BACKGROUND)
            self.prompt = " ".join((line, self.prompt) if r.random() < 0.3 else (self.prompt, line))
        if r.random() < 0.12:
            self.prompt += " " + r.choice(MANNERS)

    def _second_goods(self) -> None:
        first = f"sell {self.who['g']} for {self.who['p']} {self.coin}"
        if first not in self.prompt:
            return
        self.second = dict(g=self.who["o"], p=str(self.r.randint(1, 99)))
        self.prompt = self.prompt.replace(
            first, f"{first} and {self.second['g']} for {self.second['p']} {self.coin}")

    def _extra_line(self) -> None:
        r = self.r
        pet, thing = r.choice(world.PETS), r.choice(world.OBJECTS)
        fill = dict(
            pet=pet, a_pet=article(pet), v=world.name(r), feel=r.choice(MOODS),
            food=r.choice(world.FOODS), thing=thing, a_thing=article(thing), age=r.randint(12, 90),
            where=r.choice("in under behind on near".split()) + " the " + r.choice(world.PLACES))
        line, pairs = r.choice(EXTRA)
        self.prompt += " " + say(r, line, **fill)
        self.extra = [(say(r, q, **fill), a.format(**fill)) for q, a in pairs]

    def question(self) -> Pair:
        """Something that the prompt says, and the answer."""
        r = self.r
        kind = r.choice("who goods price where who goods price where name job yes no".split())
        if self.second is not None and kind in ("goods", "price", "yes", "no"):
            if kind == "price":
                goods = r.choice((self.second, self.who))
                way = r.choice([w for w in CHARACTER_ASK["price"] if "{g}" in w])
                return say(r, way, **goods), f"They cost {goods['p']} {self.coin}."
            return (say(r, r.choice(CHARACTER_ASK["goods"])),
                    f"I sell {self.who['g']} and {self.second['g']}.")
        answer = CHARACTER_ANSWER[kind].format(**self.who).replace(" coins", " " + self.coin)
        if kind in ("goods", "who", "where") and r.random() < 0.03:
            answer += " " + say(r, "However, [I have only a few left|they are not cheap|you must be"
                                   " quick|it is late today].")
        return say(r, r.choice(CHARACTER_ASK[kind]), **self.who), answer


def character_chat(r: Random) -> str:
    """A talk with a character."""
    if r.random() < 0.1:
        return half_known_chat(r)
    scene, talk = Scene(r), Talk(r)
    who = scene.who
    talk.messages.append(("system", scene.prompt))
    if r.random() < 0.25:
        talk.turn(say(r, "[Hello|Good morning|Good day|Hi|Greetings][!|.|]"),
                  say(r, "[Welcome|Hello|Good day]! [I am {n}.|What can I do for you?|Welcome to"
                         " {t}.]", **who))
    for _ in range(r.choice((1, 2, 3, 3, 4, 5))):
        roll = r.random()
        if roll < 0.72:
            talk.ask(*scene.question())
        elif roll < 0.80 and scene.extra:
            talk.ask(*r.choice(scene.extra))
        elif roll < 0.84:
            talk.tell("name")
        elif roll < 0.90:
            talk.recall("name")
        elif roll < 0.925:
            talk.fact()
        elif roll < 0.945:
            question = r.choice(UNSAID)
            if not (question == "How old are you?" and "years old" in scene.prompt):
                talk.ask(question, "I don't know.")
        elif roll < 0.97 or scene.second is not None:
            talk.turn(say(r, "[Thanks|Thank you|Goodbye|Bye|I will be back|See you][.|!|]"),
                      say(r, "[Come back soon|Goodbye|Good luck]!"))
        else:
            talk.turn(say(r, "[I will take one|I will buy the {g}|Give me one|I want one|I will"
                             " take the {g}].", **who),
                      say(r, "That makes {p} {c}[.|, please.]", p=who["p"], c=scene.coin))
    return talk.text()
