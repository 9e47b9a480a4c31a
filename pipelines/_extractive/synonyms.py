"""Everyday words that stand for one another in questions and answers, and irregular forms that no stemmer joins.

Word vectors do not serve here: with the bundled model Kentucky and Tennessee are closer (.68) than created and
designed (.51). Hence short lists by hand, of words that ask ("cost") and words that answer ("price").
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from sensorium.analysis import analyse

_FORMS = """
lead led|build built|begin began begun|hold held|sell sold|buy bought|pay paid|spend spent|lose lost|win won
grow grew grown|rise rose risen|fall fell fallen|write wrote written|speak spoke spoken|give gave given|take took taken
make made|come came|go went gone|become became|know knew known|draw drew drawn|drive drove driven|fly flew flown
eat ate eaten|choose chose chosen|meet met|mean meant|send sent|keep kept|teach taught|think thought
bring brought|catch caught|fight fought|feel felt|hear heard|see saw seen|get got gotten|break broke broken
freeze froze frozen|steal stole stolen|run ran|wear wore worn|throw threw thrown|show shown|stand stood
strike struck|hang hung|lend lent loan|shoot shot|shrink shrank shrunk|forbid forbade forbidden|bear bore born
hide hid hidden|leave left|find found|man men|woman women|child children|person people|foot feet|life lives
analysis analyses|criterion criteria|datum data|index indices|mouse mice|half halves|die died dead death
colour color|organisation organization|centre center|licence license|programme program|metre meter|litre liter
one 1|two 2 twice|three 3|four 4|five 5|six 6|seven 7|eight 8|nine 9|ten 10|eleven 11|twelve 12
first 1st|second 2nd|third 3rd|january jan|february feb|march mar|april apr|august aug|september sep sept
october oct|november nov|december dec|kilogram kg kilo|kilometre kilometer km|millimetre millimeter mm|metre meter m
percent percentage %
dollar $|euro €|pound £|square sq|telephone tel phone|quantity qty|department dept|versus vs
"""

_GROUPS = """
start found establish launch begin create initiate introduce
create develop design write author invent make build produce|discover find identify isolate
lead head chair direct run manage|leader head chair director manager
cost price fee charge expense pay expenditure|spend spent expenditure cost|salary pay wage income earnings
payment pay paid|end finish stop cease expire close closure terminate|happen occur take
hold host organize organise|buy purchase acquire acquisition order|sell sale sold|big large great|small little
size large big area|increase rise grow growth gain climb more|decrease fall drop decline reduce reduction less
need require must requirement necessary|allow permit enable may|forbid prohibit ban
show display depict illustrate|contain include comprise consist hold|call title entitle|add introduce new
remove delete drop|release publish issue appear launch publication|employ worker staff employee workforce job
person people individual|car automobile vehicle|aircraft airplane plane|ship vessel boat
house home dwelling household|child kid|doctor physician|lawyer attorney
firm company corporation business vendor supplier manufacturer|country nation state|city town|language tongue
speed velocity fast quick|height tall high|length long|depth deep|width wide|weight heavy mass weigh|age old
distance far|duration long time last|count total many|share proportion percentage|rate percentage
cause reason why because due|purpose goal aim objective|employ utilize apply use|method technique approach way
result outcome finding|error mistake fault|repair fix|send transmit submit|receive get obtain|date day
deadline due until|address location|locate location locate place site based situated headquarter
member participant attendee|win victory winner|birth born|compute calculate|store save keep|choose select
test check verify|sign signature|bankrupt bankruptcy insolvent|customer client buyer bill|invoice bill
film movie|picture photo photograph image|onset start begin|average mean median typical|most majority|half 50
male man boy|female woman girl|rule regulation|fund finance sponsor support pay|effective effect
maximum max high peak|minimum min low|live inhabitant population resident|earn income wage|publish appear
attend participate participant|estimate forecast expect predict|propose plan|replace change exchange
problem issue|borrow lend loan|road street highway|teacher instructor|student pupil
suggest recommend advise should|danger risk hazard|kill death die|injury injure hurt|injured injury|remain left
complete finish|warn warning caution|measure measurement
fps frame|fps rate|kbps bitrate|mbps bitrate|hz frequency|khz frequency|mhz frequency|ghz frequency
volt voltage|watt wattage|watt power|amp amperage|ampere amperage|ampere current|pixel resolution|px resolution
"""


def _groups(lists: str) -> Mapping[str, frozenset[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for line in lists.strip().replace("\n", "|").split("|"):
        members = {analyse(word)[0] for word in line.split()}
        for member in members:
            groups[member] |= members - {member}
    return {term: frozenset(others) for term, others in groups.items()}


@cache
def forms() -> Mapping[str, frozenset[str]]:
    """For an analysed term its irregular forms, number words, spellings and abbreviations."""
    return _groups(_FORMS)


@cache
def synonyms() -> Mapping[str, frozenset[str]]:
    """For an analysed term the analysed terms that may stand for it."""
    return _groups(_GROUPS)
