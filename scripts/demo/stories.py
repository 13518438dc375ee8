"""Stories of 60 to 200 words: somebody wants something, meets an obstacle and reaches an end.

A story is a list of sentences.  Every sentence is written for the hero, one companion and one
wish, which are drawn once, so that what is named at the beginning is what is named at the end;
the name that is spoken last is always the hero's.
"""

from random import Random
from typing import Dict, List, NamedTuple, Optional, Tuple

import world
from phrase import lines, say
from world import article, capitalised

Pronouns = Tuple[str, str, str]  # subject, object, possessive
HE, SHE, IT = ("he", "him", "his"), ("she", "her", "her"), ("it", "it", "its")
MEN = ("boy;boy;old man;king;farmer;prince;wizard;sailor;knight;tailor;fisher;miller;giant;man;"
       "pirate;blacksmith;robot").split(";")
WOMEN = ("girl;girl;old woman;queen;princess;witch;baker;shepherd;gardener;child;woman;"
         "teacher").split(";")
PEOPLE: List[Tuple[str, Pronouns]] = [(k, HE) for k in MEN] + [(k, SHE) for k in WOMEN]
CREATURES = (
    "fox bear mouse cat dog rabbit owl frog duck dragon robot wolf hedgehog goat horse lion"
    " squirrel turtle crow pig hen bee elephant snail monkey penguin cow tiger sheep ghost fairy"
    " troll bird whale fish unicorn").split()
TRAITS = ("little young kind brave clever shy quiet happy curious lonely poor lazy gentle small"
          " strong funny old proud").split()
HOMES = lines("""
    a small house by the sea
    a cottage near the forest
    a village in the hills
    a tower by the river
    a farm at the end of the road
    a warm house under a big tree
    a town called {town}
    the village of {town}
    the town of {town}
    an old mill near {town}
    a castle above {town}
    a quiet street in {town}
""")
THINGS = (
    "kite ball lamp crown flute drum book map ring hat boat bell sword lantern key basket coat cake"
    " star stone shell wheel mirror feather clock chair bow cup").split()
ADJECTIVES = ("red blue green golden silver white black big small old new magic warm bright shiny"
              " wooden").split()
SPOTS = ("forest;cave;river;mountain;lake;garden;market;old bridge;tower;beach;hill;castle;island;"
         "field;swamp;mill").split(";")
FEELINGS = "sad tired afraid hungry cold worried angry".split()
SKILLS = ("swim;sing;dance;read;fly a kite;ride a horse;bake bread;climb trees;play the flute;"
          "paint;skate;whistle;make cheese;write;cook soup").split(";")

# What stands in the way / how it is overcome.
OBSTACLES = lines("""
    a deep river was in the way / They built a small raft and crossed the river.
    a great storm came and it rained all day / They waited under a tree until the storm was over.
    the bridge was broken / They laid a long log over the gap and walked across.
    it grew dark and {hero} could not see the way / They lit a lantern and found the path again.
    a big wolf stood on the path / They gave the wolf some bread, and it let them pass.
    a tall wall was in the way / They climbed over the wall with a rope.
    an angry dragon guarded the {spot} / They sang a soft song until the dragon fell asleep.
    the gate was locked / They found the key under a stone and opened the gate.
    a troll asked for ten coins / They told the troll a joke, and it laughed and let them go.
    {hero} fell into a deep hole / A long rope came down, and {hero} climbed out.
    thick fog covered the land / They followed the sound of a bell through the fog.
    the snow was too deep / They made a sled and slid over the snow.
    a thief took {poss} bag / They ran after the thief and got the bag back.
    {hero} was too small to reach it / They stood on each other and reached it together.
    the boat had a hole / They closed the hole with wax and went on.
    a cold wind blew out the lantern / They held hands and walked slowly until the moon came out.
    two roads lay before them / They followed the birds, and the birds were right.
    a proud knight would not let them pass / They asked him for a game of chess, and he lost.
    a goat ate the map / They drew a new map from memory.
    the door had no handle / They knocked three times, and the door opened.
    a witch turned the path into ice / They walked on it with nails in their shoes.
    bees came out of a tree / They stood still until the bees flew away.
    the rope broke / They made a new rope from an old blanket.
    a deep sleep fell upon everyone / They were woken by a small bell.
    all the bread was gone / They found berries and a spring of clear water.
    a giant slept across the road / They walked around him on their toes.
    the stairs were broken / They climbed up on the ivy.
    {hero} lost heart / They talked all night, and in the morning there was hope again.
    a guard asked for the secret word / They remembered an old song, and the word was in it.
    nobody knew the way / They asked an old owl, and the owl showed them the way.
""")

OPENINGS = lines("""
    Once upon a time[,|] there was {a_trait_kind} [named|called] {hero}.
    Once upon a time[,|] there was {a_trait_kind} [named|called] {hero}.
    Once upon a time[,|] there was {a_kind} [named|called|whose name was] {hero}.
    Once upon a time[,|] there lived {a_trait_kind} [named|called] {hero}.
    Once upon a time[,|] {a_trait_kind} [named|called] {hero} lived in {home}.
    Once upon a time[,|] in {home}[,|] there lived {a_kind} [named|called] {hero}.
    Once upon a time[,|] {hero} the {kind} lived in {home}.
    There was once {a_trait_kind} [named|called] {hero}.
    [Long ago|One day|Many years ago][,|] {a_trait_kind} [named|called] {hero} lived in {home}.
    Once upon a time[,|] there was {a_trait_kind} [named|called] {hero} who [wanted|dreamed of] \
        {a_wish}.
    Once upon a time[,|] there was {a_kind} who lived in {home}. {Sub} was called {hero}.
    Once upon a time[,|] there was {a_kind}. {Poss} name was {hero}.
    Once[,|] in {home}, lived {a_trait_kind} [named|called] {hero}.
    {hero} was {a_trait_kind}.
    The {kind} was called {hero}.
    {hero} the {kind} lived in {home}.
""")
LIVED = "{Sub} lived in {home}[| with {poss} family| all alone]."
HABITS = lines("""
    {hero} [liked|loved] to [walk by the sea|sit under the old tree|look at the stars|tell \
        stories|sleep in the sun|play in the rain|eat warm soup|count the clouds].
    Every [day|morning|evening] {sub} [went to the well|worked hard|walked to the shore|looked \
        out of the window].
    Everybody [knew|liked] {hero}, [for|because] {sub} was [always kind|never angry|good to \
        all|so {trait}].
""")
MEETINGS = lines("""
    On the way {sub} met {a_friend} [named|called] {friend}.
    There {sub} met {friend}, {a_friend}.
    Then {a_friend} [named|called] {friend} came [by|along|down the road].
    {Sub} asked {friend} the {friend_kind} for help.
""")
# What is said / what is said to that.
SPEECH = lines("""
    "[Why are you so {feeling}|Where are you going|What is wrong|What are you looking for]?" asked \
        {friend}. / {hero} told {friend} everything.
    "[What is wrong|Do you need help]?" asked {friend}. / "[Yes, please help me|I need your \
        help]," said {hero}.
    "Can I [help you|come with you]?" asked {friend}. / "[Yes, come with me|Please do|Let us go \
        together]," said {hero}.
    "I [will|can] help you," said {friend}. / "[Thank you|You are very kind]," said {hero}.
""")
SILENT = "{friend} [wanted to help|knew what to do|had a kind heart], so they went on together."
FELT = "{hero} [was|felt] {feeling}[| and sat down| and did not know what to do]."

# May follow any sentence before the end.
HOWEVER = lines("""
    However, {hero} did not give up.
    However, {hero} was not [sure|happy|afraid|tired] [yet|at all|].
    However, it was [harder|easier|later|colder] than {sub} [had thought|had hoped].
    However, {hero} [still|always] [had hope|thought of {a_wish}|wanted to try].
    However, nobody [else|] knew [that|about it].
    However, [the day|the night|the way] was [long|cold|still young].
    However, {hero} [kept a smile|stayed calm|said nothing|felt that something was wrong].
    However, [not all was well|things were not so simple|there was a problem].
    However, {friend} had [another idea|a better plan|a good idea].
    However, {hero} [had forgotten something|heard a strange sound|saw a light far away].
""")
# May follow the last sentence, and brings a new end.
HOWEVER_END = lines("""
    However, that was not the end. The next day {hero} [met|helped|visited] [a lost bird|a poor \
        man|an old friend], and [they became friends|all was well].
    However, {hero} [soon|later|one day] wanted [to see more of the world|something new]. So {sub} \
        [packed a bag|said goodbye|took {poss} hat] and \
        [went on a new journey|walked down the road].
    However, {hero} never forgot [{friend}|that day|the way to the {spot}]. Every year {hero} \
        [went back|told the story again|thought of it and smiled].
    However, some things [never|always] change. {hero} [still|always] [liked to sleep late|loved \
        a good soup|sang in the rain].
""")


class Plot(NamedTuple):
    """The sentences that say what is wanted, those that say how it is reached, and the ends, of
    which one is told."""

    begin: Tuple[str, ...]
    solved: Tuple[str, ...]
    ends: Tuple[str, ...]


GIFT = Plot(
    lines("""
    [Soon|In three days] there was a [feast|birthday|wedding] in {town}, and {hero} had no gift.
    {hero} wanted to [bring|give] {a_wish}, [but {sub} had no money|but there was none in the \
        shop].
    [A bird|An old man|Somebody] said that [there was one|one could be found] [in|near|by] the \
        {spot}, so {hero} [went there|set out].
    """),
    lines("""
    [Behind a door|In an old chest|Under a stone], they found {a_wish}.
    They [came back|were back] [just in time|before dark], and {friend} [smiled|laughed|was \
        proud].
    """),
    lines("""
    Everybody loved the {wish}, and {hero} was [proud|happy|the guest of honour].
    It was the best gift of all, and {hero} danced until the morning.
    """))
LONELY = Plot(
    lines("""
    {hero} [loved to be alone|had no friends] and wanted [only quiet|to change that].
    [Every evening|At night] {sub} [looked at the stars|sat by the fire] and thought of the \
        {spot}, where [others played|there was music].
    One day {hero} [took heart|stood up] and [went|walked] to the {spot}.
    """),
    lines("""
    [That evening|At the {spot}] they [sang|laughed|danced|ate soup] [together|until late].
    {friend} [gave {a_wish} to {hero}|asked {hero} to come again].
    """),
    lines("""
    From that day on, {hero} was never alone again.
    And {hero} had found a friend for life.
    Since then, {hero} has gone there every [day|week].
    """))
BUILD = Plot(
    lines("""
    {hero} wanted to build [a house|a boat|a tower|a bridge|a mill] [near|by] the {spot}.
    {Sub} [worked|carried wood] [from morning to night|all week], but [it fell down|it was too \
        much for one] [again and again|].
    """),
    lines("""
    [Together|With four hands] they built it [in three days|before winter|stone by stone].
    It was [strong|tall|beautiful], and {a_wish} stood on top of it.
    """),
    lines("""
    {hero} looked at it and was proud.
    Everybody came to see it, and {hero} told them how it was done.
    And there {hero} lived for many years.
    """))
SECRET = Plot(
    lines("""
    One [night|evening] {hero} [heard|saw] something strange [in|near|by] the {spot}.
    [Everybody was afraid|Nobody dared to go there], but {hero} wanted to know what it was.
    {Sub} took {a_wish} and [went out|crept out of the house].
    """),
    lines("""
    [At last|Then] they saw it: it was only [a small owl|a lost lamb|the wind in an old pipe|a \
        {pet} called {petname}].
    They laughed [until their sides hurt|for a long time].
    """),
    lines("""
    Since that night {hero} has not been afraid of anything.
    {hero} told the story to everyone, and everyone laughed.
    Back in bed, {hero} slept well until the morning.
    """))
WANT = Plot(
    lines("""
    [{hero} [wanted|wished for|dreamed of] {a_wish} [more than anything|with all {poss} \
        heart|].|More than anything, {hero} wanted {a_wish}.|There was one thing that {hero} \
        wanted: {a_wish}.]
    [[People said|They said|An old song said] that there was one [in|near|by|behind] the \
        {spot}.|The only {thing} of that kind was [in|near|by] the {spot}.|One day {sub} heard \
        that {a_wish} was hidden [in|near|by] the {spot}.]
    So {hero} [set out|left home|packed a bag and went] [early in the morning|the next day|at \
        once] to [find it|look for it].
    """),
    lines("""
    There[, at last,|] was the {wish}[|, bright in the sun|, just as {sub} had dreamed].
    {hero} took the {wish} [home|in {poss} arms] and [thanked|hugged] {friend}.
    """),
    lines("""
    From that day on, {hero} [never went anywhere without the {wish}|kept the {wish} by the \
        bed|was never {feeling} again].
    {hero} [looked at|held] the {wish} and was happy.
    And {hero} kept the {wish} for ever.
    That night {hero} fell asleep with the {wish} [at {poss} side|close by] and a smile.
    """))
LOST_THING = Plot(
    lines("""
    {hero} had {a_wish}[, and {sub} loved it very much|].
    One [day|morning|night] the {wish} was gone[|, and nobody knew where it was].
    {hero} [looked|searched] [in every corner|everywhere|all day], but [could not find it|it was \
        not there].
    {Sub} wanted to [find|get back] the {wish}, so {sub} went to the {spot}.
    """),
    lines("""
    [Behind a stone|Under a tree|In the tall grass|In an old box] they found the {wish}.
    {friend} [laughed|smiled] and gave the {wish} to {hero}.
    """),
    lines("""
    {hero} took the {wish} home and never lost it again.
    {hero} was so happy that {sub} danced all the way home with the {wish}.
    From then on, {hero} [took good care of|always looked after] the {wish}.
    """))
LOST_PET = Plot(
    lines("""
    {hero} had a {pet} [named|called] {petname}.
    One [day|morning|night] the {pet} ran away [to|into] the {spot}.
    {hero} [wanted to find|missed] the {pet} [very much|so much] and [went to look for it|ran \
        after it].
    """),
    lines("""
    There, [under a bush|behind a rock|by the water], sat the {pet}.
    The {pet} [jumped up|ran to {hero}|made a happy sound].
    """),
    lines("""
    {hero} took the {pet} home, and it never ran away again.
    From that day on, the {pet} stayed close to {hero}.
    {hero} held the {pet} in {poss} arms and was happy again.
    """))
LEARN = Plot(
    lines("""
    {hero} wanted to learn to {skill}[, but {sub} did not know how|].
    [Everyone|All the others] [laughed at {obj}|said that it was too hard].
    One day {sub} heard of a teacher who lived near the {spot}, and {sub} [set out|went] to find \
        [the teacher|this teacher].
    """),
    lines("""
    The teacher was kind and showed {hero} how to {skill}.
    [Day after day|Every day|All summer] {sub} [tried|practised] [again and again|a little more].
    """),
    lines("""
    In the end, {hero} could {skill} better than [anyone else|all the others].
    Now {hero} could {skill}, and [nobody laughed any more|{sub} was proud].
    And when people asked how, {hero} said that it only takes time.
    """))
JOURNEY = Plot(
    lines("""
    {hero} had never [seen|been to] the {spot}[, and {sub} wanted to go there|].
    [More than anything|All {poss} life][,|] {sub} wanted to [see it|go there].
    One [morning|day] {hero} [took some bread|put on {poss} hat|took a map] and [set out|left] \
        [for the {spot}|with a song].
    """),
    lines("""
    [At last|In the evening|After three days] they [came to|reached] the {spot}.
    It was [more beautiful|bigger|quieter] than {hero} had ever thought.
    """),
    lines("""
    {hero} stayed there for a long time and then went home with many stories.
    {hero} never forgot the {spot}.
    Back at home, {hero} told everybody about the {spot}.
    """))
HELP = Plot(
    lines("""
    One [day|night] all the [water|bread|light|fish] in [the village|{town}] was gone, and the \
        people were [sad|hungry|afraid].
    {hero} wanted to help [them|the people].
    [An old woman|A wise man|A bird] said that [only a brave heart|only a friend] could help, \
        and that the answer was [in|near] the {spot}.
    So {hero} went to the {spot}.
    """),
    lines("""
    There they found [a magic stone|a hidden spring|an old book with the answer], and they [took \
        it home|brought it back].
    Soon all was [well|good] again[|, and the people sang].
    """),
    lines("""
    The people thanked {hero}, and there was a great feast.
    From that day on, everybody in the village loved {hero}.
    They gave {a_wish} to {hero}, who was the happiest {kind} of all.
    """))
PLOTS = (GIFT, LONELY, BUILD, SECRET, WANT, WANT, LOST_THING, LOST_PET, LEARN, JOURNEY, HELP)


def _anybody(r: Random) -> Tuple[str, Pronouns]:
    if r.random() < 0.55:
        return r.choice(PEOPLE)
    return r.choice(CREATURES), r.choice((HE, SHE, IT))


def _different_names(r: Random, count: int, first: Optional[str] = None) -> List[str]:
    names = [first] if first else []
    while len(names) < count:
        name = world.one_word_name(r)
        if name not in names:
            names.append(name)
    return names


def cast(r: Random, hero: Optional[str] = None, kind: Optional[str] = None) -> Dict[str, str]:
    """Who and what the story is about; the hero's name and kind may be given."""
    drawn, (sub, obj, poss) = _anybody(r)
    if kind is not None:
        drawn, (sub, obj, poss) = kind, dict(PEOPLE).get(kind, r.choice((HE, SHE, IT)))
    hero, friend = _different_names(r, 2, hero)
    trait, friend_kind = r.choice(TRAITS), _anybody(r)[0]
    thing, adjective = r.choice(THINGS), r.choice(ADJECTIVES)
    return dict(
        hero=hero, kind=drawn, a_kind=article(drawn), trait=trait,
        a_trait_kind=article(f"{trait} {drawn}"), sub=sub, Sub=sub.capitalize(), obj=obj,
        poss=poss, Poss=poss.capitalize(), friend=friend, friend_kind=friend_kind,
        a_friend=article(friend_kind), spot=r.choice(SPOTS), thing=thing,
        home=r.choice(HOMES).format(town=world.town(r)), wish=f"{adjective} {thing}",
        a_wish=article(f"{adjective} {thing}"), skill=r.choice(SKILLS),
        feeling=r.choice(FEELINGS), pet=r.choice(world.PETS), petname=world.one_word_name(r),
        town=world.town(r))


def _about(r: Random, opening: str) -> List[str]:
    about = [LIVED] if r.random() < 0.6 and "{home}" not in opening else []
    return about + ([r.choice(HABITS)] if r.random() < 0.6 else [])


def _meeting(r: Random) -> List[str]:
    said = r.choice(SPEECH).split(" / ") if r.random() < 0.65 else [SILENT]
    return [r.choice(MEETINGS)] + said


def _middle(r: Random) -> List[str]:
    """The obstacle, the companion, and how it is overcome."""
    obstacle, solution = r.choice(OBSTACLES).split(" / ")
    trouble = [f"[But|But then|Then|On the way,|Soon|But soon] {obstacle}."]
    if r.random() < 0.5:
        trouble.append(FELT)
    meeting = _meeting(r)
    return (trouble + meeting if r.random() < 0.5 else meeting + trouble) + [solution]


def _with_contrasts(r: Random, part: List[str]) -> List[str]:
    """The sentences with one or two that begin with "However," put between them."""
    for _ in range(1 if r.random() < 0.8 else 2):
        part.insert(r.randint(1, len(part)), r.choice(HOWEVER))
    met = next(i for i, line in enumerate(part)
               if "{friend}" in line and not line.startswith("However"))
    return [line for i, line in enumerate(part)
            if i > met or not line.startswith("However, {friend}")]


def story(r: Random, hero: Optional[str] = None, kind: Optional[str] = None,
          however: Optional[bool] = None) -> str:
    """One story as running text."""
    who, plot, opening = cast(r, hero, kind), r.choice(PLOTS), r.choice(OPENINGS)
    begin = plot.begin
    if "{a_wish}" in opening:  # the wish is told already
        plot, begin = WANT, WANT.begin[1:]
    part = [opening, *_about(r, opening), *begin, *_middle(r), *plot.solved]
    however = r.random() < 0.4 if however is None else however
    if however:
        part = _with_contrasts(r, part)
    part.append(r.choice(plot.ends))
    if r.random() < (0.25 if however else 0.04):
        part.append(r.choice(HOWEVER_END))
    elif r.random() < 0.1:
        part.append("The end.")
    gap = "\n\n" if r.random() < 0.04 else " "
    return gap.join(capitalised(say(r, line, **who)) for line in part)


# Scenes: K speaks to the guest G, a third person T may come in.
TRADE = lines("""
    K: [Good morning|Hello|Good day|Welcome], {G}! [What do you need|How are you|What brings you \
        here] today?
    G: [Good morning|Hello], {K}. [I am looking for {goods}.|Do you have {goods}?|I need {goods}.]
    K: [Of course|Yes]. I sell {goods} for {price} coins.
    G: [{price} coins? That is a lot.|{price} coins is fine.|That is a good price.]
    K: [They are the best in {town}|You will not find better {goods} in {town}].
    G: [Then I will take them|Here are your {price} coins|All right, here you are].
    K: [Thank you|Many thanks], {G}. [Come back soon|Have a good day]!
    G: [Goodbye|See you soon], {K}!
""")
NEWS = lines("""
    K: [Good morning|Hello|Good day|Welcome], {G}! [What do you need|How are you|What brings you \
        here] today?
    G: [Have you heard|Did you hear]? [A wolf|A dragon|A stranger|A storm] is near {town}.
    K: [I heard it too|That is bad news|I am not afraid]. [What should we do|Who will help us]?
    G: [We should close the gate|Let us ask the old wizard|We must stay together].
    K: [A good plan|You are right], {G}. [I will tell the others|Let us go].
    G: [Be careful|Good luck], {K}.
""")
THIRD = ("T: [Hello, {K}! Hello, {G}!|Good day to you all.|What are you two talking about?|Nice"
         " weather today, {K}.]")
PLACE = "[Welcome to {town}.|The market of {town}, in the morning.|A street in {town}.|{town}.]"


def scene(r: Random) -> str:
    """A village scene written like a play: one line of speech after the name of each speaker."""
    keeper, guest, third = _different_names(r, 3)
    who = dict(K=keeper, G=guest, T=third, town=world.town(r), price=r.randint(2, 40),
               goods=r.choice(world.JOBS[r.choice(list(world.JOBS))]))
    script = list(TRADE if r.random() < 0.6 else NEWS)
    if r.random() < 0.33:
        script.insert(r.randint(2, len(script)), THIRD)
    spoken = [f"{who[line[0]]}: {say(r, line[2:], **who)}" for line in script]
    return "\n".join([say(r, PLACE, **who)] + spoken)
