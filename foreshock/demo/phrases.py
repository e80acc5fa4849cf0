"""The words of the demo's feed: companies, sources, and what is written about companies.

They follow a small grammar. One line is one pattern. `[a|b]` is a choice, made again for each report. `{slot}` is a
fact of the event (a number, a person, a place), the same in all its reports. All companies, people and sources are made
up. Each list has one tone, and every line in it clearly has that tone.
"""

from __future__ import annotations

from typing import NamedTuple


def lines(text: str) -> tuple[str, ...]:
    """Return the patterns in a text, one per line. Blank lines only separate."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


class Company(NamedTuple):
    """A made-up company: full name (also its topic), short name, ticker, sector and home town."""

    name: str
    short: str
    ticker: str
    sector: str
    home: str


class Source(NamedTuple):
    """A made-up source: its writing style, its hours of the day, and its weight on weekend days."""

    name: str
    style: str
    hours: str
    weekend: float
    weight: float


COMPANIES = tuple(
    Company(*(part.strip() for part in line.split("|")))
    for line in lines("""
    Halvorsen Bank | Halvorsen | HLVB | bank | Bergen
    Castlereach Bank | Castlereach | CSRB | bank | Leeds
    Quillon Bank | Quillon | QLLN | bank | Lyon
    Varnholt Bank | Varnholt | VRNH | bank | Hamburg
    Lantry Mutual | Lantry | LTRM | insurer | Hartford
    Straithmoor Assurance | Straithmoor | STMR | insurer | Edinburgh
    Brontide Air | Brontide | BRTD | airline | Dublin
    Solvane Airways | Solvane | SLVW | airline | Lisbon
    Kestwick Airlines | Kestwick | KSTW | airline | Denver
    Vasterra Motors | Vasterra | VSRA | carmaker | Turin
    Odelius Motors | Odelius | ODLM | carmaker | Gothenburg
    Corvash Motors | Corvash | CVHM | carmaker | Ohio
    Nerivane Pharma | Nerivane | NRVN | drugmaker | Basel
    Phelixor | Phelixor | PHLR | drugmaker | Boston
    Aldomere Therapeutics | Aldomere | ALDM | drugmaker | Cambridge
    Cindral Systems | Cindral | CNDR | software | Austin
    Ombrix | Ombrix | OMBX | software | Berlin
    Weftware | Weftware | WFTW | software | Seattle
    Paxelium Cloud | Paxelium | PXLC | software | Toronto
    Thuleon Semiconductor | Thuleon | THLN | chipmaker | Dresden
    Kibrel Devices | Kibrel | KBRL | chipmaker | Phoenix
    Marlowe & Finchley | Marlowe | MRFN | retailer | London
    Dunmarket | Dunmarket | DNMK | retailer | Glasgow
    Oakbarrow Stores | Oakbarrow | OKBR | retailer | Chicago
    Petrovane | Petrovane | PTVN | oilcompany | Houston
    Grenholm Energy | Grenholm | GRHM | oilcompany | Stavanger
    Tidewrack Power | Tidewrack | TDWK | utility | Bristol
    Ellingsund Grid | Ellingsund | ELSG | utility | Oslo
    Cobberah Mining | Cobberah | CBRH | miner | Perth
    Ironmoor Resources | Ironmoor | IRMR | miner | Brisbane
    Lumbani Copper | Lumbani | LMBC | miner | Johannesburg
    Vantelle | Vantelle | VNTL | telecom | Madrid
    Jorvane Telecom | Jorvane | JRVN | telecom | Copenhagen
    Hearthgate Homes | Hearthgate | HTGH | builder | Manchester
    Brackwick Homes | Brackwick | BRKW | builder | Dallas
    Wrensfield Foods | Wrensfield | WRNF | foodmaker | Minneapolis
    Morrowick Brewing | Morrowick | MRWK | foodmaker | Antwerp
    Caldanza Foods | Caldanza | CLDZ | foodmaker | Milan
    Transvelle Logistics | Transvelle | TRVL | logistics | Rotterdam
    Eidermark Freight | Eidermark | EDMK | logistics | Aarhus
    Brandholt Steel | Brandholt | BRHS | manufacturer | Duisburg
    Ferrostadt Engineering | Ferrostadt | FRSD | manufacturer | Stuttgart
    Kaldwick Industries | Kaldwick | KDWK | manufacturer | Pittsburgh
    Lumenpost Media | Lumenpost | LMNP | media | New York
    """)
)

SOURCES = (
    Source("Arden Wire", "wire", "round", 0.55, 1.6),
    Source("Pacer Newswire", "wire", "us", 0.30, 1.1),
    Source("Eastgate Wire", "wire", "asia", 0.45, 0.9),
    Source("The Continental Ledger", "paper", "day", 0.55, 1.0),
    Source("The Evening Courant", "paper", "evening", 0.40, 0.7),
    Source("Tallyman Daily", "paper", "us", 0.30, 0.7),
    Source("Fenmarch Times", "regional", "day", 0.30, 0.6),
    Source("Chirrup", "social", "evening", 0.60, 1.0),
    Source("Pitside", "social", "us", 0.45, 0.6),
    Source("Desk Notes", "plain", "day", 0.10, 0.6),
    Source("Marketside", "plain", "round", 0.55, 0.9),
    Source("Boardroom Brief", "trade", "office", 0.05, 0.5),
)
# Each journal writes about one niche theme only, all week. The theme with the outage has no other source.
JOURNALS = {
    "freight": Source("Quay & Anchor", "trade", "round", 0.75, 1.0),
    "grain": Source("Silo Report", "trade", "round", 0.75, 1.0),
    "power": Source("Gridwatch Bulletin", "trade", "round", 0.75, 1.0),
    "base metals": Source("Smelter Notes", "trade", "round", 0.75, 1.0),
    "timber": Source("Sawmill Gazette", "trade", "round", 0.75, 1.0),
}

FIRST_NAMES = words(
    "Ingrid Marta Owen Priya Tomas Helen Rafael Sunniva Declan Yasmin Piotr Claire Hugo Amara Lars Beatriz Colin Naomi "
    "Stefan Grace Idris Paula Victor Lena Samir Judith Marcus Elin Rohan Teresa"
)
LAST_NAMES = words(
    "Solheim Brandt Okafor Lindqvist Moreau Petrov Ashdown Varga Castellan Whitlow Dekker Marchetti Osborne Nakamura "
    "Ferreira Hollis Bergman Adeyemi Thornley Kowalski Ruiz Pemberton Sandoval Eklund Mistry Garrow Delacroix Winslow"
)
PLACES = words(
    "Ohio Texas Rotterdam Lisbon Leeds Bavaria Catalonia Poland Ontario Queensland Chile Vietnam Kenya Mexico Brazil "
    "India Turkey Malaysia Scotland Ireland Norway Italy Nevada Georgia Alberta Gdansk Antwerp Valencia Osaka Busan"
)
COUNTRIES = words("Poland Chile Vietnam Kenya Mexico Brazil India Turkey Malaysia Norway Peru Egypt Hungary Thailand")
FIRMS = lines("""
    Pellworth Securities
    Corvane Capital
    Brightlea Partners
    Ashcombe Research
    Dunster & Vale
    Hexley Brothers
    Northmoor Asset Management
    Tavish Quant
    Leighmont Advisors
    Orsell Bank
    Kingsferry Markets
    Redgarth Economics
""")
TARGETS = lines("""
    Ardlow Partners
    Simbrook
    Teasel Works
    Nordhaven Labs
    Palisend
    Greenvault
    Ostermere
    Fallow & Pike
    Kitewell
    Bluestrand
    Hollowbrook
    Zephrani
    Maristane
    Copperlea
""")

SECTORS: dict[str, dict[str, tuple[str, ...]]] = {
    sector: {key: tuple(part.strip() for part in text.split(";")) for key, text in parts.items()}
    for sector, parts in {
        "bank": {
            "noun": "bank; lender",
            "product": "mortgage range; business account; mobile banking app; savings account; green loan scheme",
            "unit": "retail bank; wealth arm; trading desk; mortgage unit; corporate lending arm",
            "site": "branches; call centre; data centre; head office",
            "worker": "branch staff; tellers; back-office staff",
            "customer": "depositors; borrowers; small firms; account holders",
            "bad": (
                "{co} sets aside {amt} for bad loans as defaults climb; Payments outage locks {co} "
                "customers out of accounts; {co} loan losses [double|mount|jump] on [property|credit "
                "card|farm] debt; {co} fails stress test, told to raise capital; Deposits drain from {co} "
                "for {nth} straight quarter; {co} fined {amt} over money laundering [lapses|failures]"
            ),
            "good": (
                "{co} passes stress test with [room|capital] to spare; Bad loans at {co} fall to lowest in "
                "{n} years; {co} wins [back|over] depositors, balances up {pct}%; Net interest income "
                "[jumps|climbs] at {co}; Margins widen at {co} as loan demand recovers; {co} frees {amt} in "
                "loan reserves as credit improves"
            ),
            "flat": (
                "{co} to move {n} branches to shorter Saturday hours; {co} keeps [mortgage|savings] rates "
                "unchanged; {co} to renumber business accounts in {place}; {co} sets date for [pillar "
                "three|capital] disclosure; {co} switches card network supplier in {place}; {co} to rename "
                "its {unit}"
            ),
        },
        "insurer": {
            "noun": "insurer; underwriter",
            "product": "home cover; pet policy; annuity plan; crop insurance; cyber cover",
            "unit": "life arm; motor book; reinsurance unit; pensions business",
            "site": "claims centre; head office; call centre",
            "worker": "claims handlers; agents; adjusters",
            "customer": "policyholders; drivers; homeowners; pensioners",
            "bad": (
                "{co} hit by {amt} storm claims; {co} underwriting losses [widen|deepen] as claims surge; "
                "{co} policyholders quit after premium shock; Flood bill leaves {co} nursing {amt} loss; "
                "Reserves at {co} fall short, auditors say"
            ),
            "good": (
                "Mild winter [boosts|lifts] {co} as claims fall; {co} underwriting profit [climbs|rises] "
                "{pct}%; {co} gains policyholders at fastest pace in {n} years; Combined ratio improves at "
                "{co} on better pricing; {co} strengthens capital, solvency well above target"
            ),
            "flat": (
                "{co} renews reinsurance programme on similar terms; {co} to review motor policy wording; "
                "{co} moves claims portal to new address; {co} to publish solvency report {day}; {co} keeps "
                "annuity rates as they are"
            ),
        },
        "airline": {
            "noun": "airline; carrier",
            "product": "transatlantic service; loyalty scheme; economy cabin; summer timetable; cargo service",
            "unit": "cargo arm; regional carrier; maintenance unit; loyalty business",
            "site": "hub; hangars; maintenance base",
            "worker": "pilots; cabin crew; ground staff; mechanics",
            "customer": "passengers; business travellers; holidaymakers",
            "bad": (
                "{co} cancels {n} routes as demand dries up; {co} jet makes emergency landing after engine "
                "failure; {co} passengers stranded as [system failure|crew shortage] grounds flights; Fuel "
                "bill pushes {co} deeper into the red; {co} grounds {n} jets over safety defects; Empty "
                "seats mount at {co} as bookings slump"
            ),
            "good": (
                "{co} fills record share of seats in {month}; {co} summer bookings run {pct}% ahead of last "
                "year; Strong demand lets {co} add {n} routes; {co} tops punctuality table; {co} premium "
                "cabins sell out as travel rebounds; Lower fuel costs lift {co} margins"
            ),
            "flat": (
                "{co} moves {place} flights to terminal {n}; {co} publishes winter timetable; {co} to "
                "repaint {n} jets; {co} changes baggage labels on {place} route; {co} and airport discuss "
                "gate allocation; {co} swaps aircraft type on {place} service"
            ),
        },
        "carmaker": {
            "noun": "carmaker; automaker",
            "product": "compact hatchback; electric van; hybrid saloon; pickup truck; family estate",
            "unit": "battery arm; vans division; finance arm; sports car brand",
            "site": "assembly plant; engine plant; paint shop; battery factory",
            "worker": "assembly workers; engineers; line workers",
            "customer": "drivers; dealers; fleet buyers",
            "bad": (
                "{co} recalls {thousands} cars over [brake|airbag|battery fire] defect; Unsold cars pile up "
                "at {co} dealers; {co} halts {site} on parts shortage; {co} sales slump {pct}% in {month}; "
                "{co} {product} flops in crash tests; {co} writes off {amt} on failed battery venture"
            ),
            "good": (
                "{co} {product} named car of the year, orders jump; {co} deliveries climb {pct}% in "
                "{month}; Waiting list grows for {co} {product} as demand soars; {co} {product} earns top "
                "safety marks; {co} wins {jobs}-van fleet order; Dealers cheer as {co} sales recover"
            ),
            "flat": (
                "{co} shows {product} concept at {place} motor show; {co} to publish {month} registrations "
                "{day}; {co} {product} gets new paint options; {co} moves model year changeover to "
                "{month2}; {co} confirms name of next {product}; {co} to close {site} for planned summer "
                "break"
            ),
        },
        "drugmaker": {
            "noun": "drugmaker; biotech",
            "product": "asthma inhaler; migraine drug; diabetes pill; heart drug; vaccine; skin cream",
            "unit": "vaccines unit; generics arm; consumer health arm; cancer unit",
            "site": "vaccine plant; laboratory; packaging plant",
            "worker": "scientists; lab technicians; plant workers",
            "customer": "patients; hospitals; pharmacies",
            "bad": (
                "{co} {product} fails late-stage trial; {co} halts {product} study after patient deaths; "
                "Regulator rejects {co} {product}, asks for new trial; {co} loses patent fight over "
                "{product}; Shortage of {co} {product} leaves hospitals short; {co} pulls {product} on "
                "liver damage fears"
            ),
            "good": (
                "{co} {product} succeeds in late-stage trial; Regulator approves {co} {product} [early|for "
                "children|ahead of schedule]; {co} {product} cuts symptoms by half in study; {co} wins "
                "patent fight over {product}; Doctors hail {co} {product} results; {co} {product} sales "
                "beat forecasts on strong uptake"
            ),
            "flat": (
                "{co} to present {product} data at {place} congress; {co} enrols first volunteers in "
                "{product} study; Panel to discuss {co} {product} on {day}; {co} changes {product} "
                "packaging; {co} files {product} dossier in {place}; {co} to [host|hold] research day in "
                "{month2}"
            ),
        },
        "software": {
            "noun": "software maker; technology group",
            "product": "payroll software; video app; security suite; analytics tool; office assistant",
            "unit": "cloud unit; payments arm; games studio; consulting arm",
            "site": "data centre; campus; research office",
            "worker": "developers; support staff; engineers",
            "customer": "subscribers; developers; corporate clients",
            "bad": (
                "{co} cloud outage [cripples|disrupts] customers for {n} hours; Hackers steal data from "
                "{co} {product} users; {co} loses {n} big clients to rivals; {co} scraps {product} after "
                "[costly delays|poor reviews]; Subscribers abandon {co} {product} after price rise; {co} "
                "apologises as bug wipes customer files"
            ),
            "good": (
                "{co} cloud revenue surges {pct}%; {co} {product} passes {n} million users, beating target; "
                "{co} lands {amt} government cloud deal; {co} renewal rates hit record; Strong demand for "
                "{co} {product} lifts subscriber growth; {co} {product} wins rave reviews"
            ),
            "flat": (
                "{co} to hold developer conference in {place}; {co} moves {product} support to new portal; "
                "{co} publishes {product} release notes; {co} sets end date for old {product} version; {co} "
                "opens {product} beta to {place} users; {co} to change billing dates"
            ),
        },
        "chipmaker": {
            "noun": "chipmaker; semiconductor group",
            "product": "memory chip; sensor chip; power chip; radio chip; graphics processor",
            "unit": "foundry arm; automotive chips unit; memory division",
            "site": "wafer plant; packaging plant; clean room",
            "worker": "technicians; engineers; plant workers",
            "customer": "phone makers; carmakers; server makers",
            "bad": (
                "{co} scraps {amt} wafer plant as orders dry up; Contaminated wafers cost {co} {amt}; {co} "
                "hit by export curbs, loses {place} sales; Chip glut hammers {co} prices; {co} {product} "
                "delayed again by flaws"
            ),
            "good": (
                "{co} sold out of {product} until next year as demand booms; {co} yields improve, margins "
                "widen; {co} wins {product} order from top phone maker; Orders for {co} {product} double; "
                "{co} wafer plant opens early and under budget"
            ),
            "flat": (
                "{co} to show {product} at {place} trade fair; {co} moves {product} to new part numbers; "
                "{co} sets date for wafer plant maintenance; {co} details {product} specification; {co} "
                "joins standards group on sensor links"
            ),
        },
        "retailer": {
            "noun": "retailer; store chain",
            "product": "own-label range; loyalty card; grocery delivery; clothing line; home range",
            "unit": "online arm; grocery business; fashion chain; wholesale unit",
            "site": "warehouse; flagship store; distribution centre",
            "worker": "shop staff; drivers; warehouse workers",
            "customer": "shoppers; families; loyalty members",
            "bad": (
                "{co} to close {n} stores as shoppers stay away; {co} stuck with unsold stock, slashes "
                "prices; {co} like-for-like sales slump {pct}%; Suppliers stop deliveries to {co} over "
                "unpaid bills; Empty shelves anger {co} shoppers; {co} pulls {product} over contamination "
                "scare"
            ),
            "good": (
                "{co} like-for-like sales climb {pct}%; {co} enjoys best {season} in {n} years; Shoppers "
                "flock to {co} {product}; {co} wins market share from bigger rivals; {co} online orders "
                "jump {pct}%; Busy tills lift {co} above forecasts"
            ),
            "flat": (
                "{co} to change opening hours in {place}; {co} {product} moves to new packaging; {co} to "
                "report {season} trading {day}; {co} relocates {place} store across the street; {co} renews "
                "{product} supply terms; {co} tests new store layout in {place}"
            ),
        },
        "oilcompany": {
            "noun": "oil company; producer",
            "product": "lubricants range; gas contract; biofuel; offshore project; pipeline project",
            "unit": "refining arm; gas trading desk; petrol retail arm; offshore unit",
            "site": "refinery; platform; terminal; pipeline",
            "worker": "rig workers; refinery staff; drivers",
            "customer": "airlines; motorists; power plants",
            "bad": (
                "Spill from {co} {site} fouls coast near {place}; {co} writes down {amt} of gas fields; "
                "{co} drills dry well off {place}; Fire shuts {co} refinery in {place}; Leak forces {co} to "
                "halt {place} output; {co} refining margins collapse"
            ),
            "good": (
                "{co} strikes oil off {place}, shares jump; {co} output climbs to {n}-year high; {co} cuts "
                "debt by {amt} on strong cash flow; {co} starts {place} field ahead of schedule; {co} lifts "
                "payout as refining margins soar; {co} raises reserves estimate by {pct}%"
            ),
            "flat": (
                "{co} to start planned {site} maintenance in {month2}; {co} files drilling plan for "
                "{place}; {co} renews {place} supply contract on same terms; {co} moves trading desk to "
                "{place}; {co} to shoot seismic survey off {place}"
            ),
        },
        "utility": {
            "noun": "utility; power company",
            "product": "smart meter; night tariff; heat pump plan; charging network",
            "unit": "networks arm; wind business; retail arm; storage unit",
            "site": "power station; substation; wind farm; reservoir",
            "worker": "engineers; meter readers; line crews",
            "customer": "households; business users; councils",
            "bad": (
                "Blackout hits {thousands} {co} customers after substation fire; {co} fined over billing "
                "errors; Storm damage costs {co} {amt}; {co} shuts {site} on safety fears; Households in "
                "arrears to {co} hit record; {co} wind project scrapped after cost blowout"
            ),
            "good": (
                "{co} wind output hits record; {co} cuts bills as costs fall, customers cheer; {co} wins "
                "{amt} grid upgrade contract; {co} storage project starts early; {co} profit lifted by "
                "strong wind; {co} adds {thousands} customers in best year yet"
            ),
            "flat": (
                "{co} to replace meters in {place} from {month2}; {co} schedules {site} inspection; {co} "
                "consults on tariff structure; {co} publishes grid connection queue; {co} moves {site} "
                "works to {month2}"
            ),
        },
        "miner": {
            "noun": "miner; mining group",
            "product": "copper project; lithium project; nickel mine; iron ore mine; rail link",
            "unit": "copper division; coal arm; royalty business; rail unit",
            "site": "open pit; smelter; tailings dam; port terminal",
            "worker": "miners; truck drivers; smelter workers",
            "customer": "steelmakers; battery makers; traders",
            "bad": (
                "{n} workers trapped after collapse at {co} {place} mine; {co} cuts output target after "
                "flooding; {co} writes {amt} off {product}; Tailings leak at {co} site poisons river; {co} "
                "loses {place} licence; Ore grades disappoint at {co} {product}"
            ),
            "good": (
                "{co} output beats target as {product} ramps up; {co} finds richer ore at {place}; {co} "
                "lifts resource estimate {pct}%; {co} unit costs fall to {n}-year low; {co} {product} wins "
                "permit early; {co} hits record quarterly shipments"
            ),
            "flat": (
                "{co} to report {month} shipments {day}; {co} drills {n} holes at {place}; {co} {product} "
                "study due in {month2}; {co} signs {place} land access terms; {co} keeps output target "
                "unchanged; {co} swaps haul truck supplier"
            ),
        },
        "telecom": {
            "noun": "telecom group; operator",
            "product": "fibre package; roaming plan; family tariff; television bundle",
            "unit": "towers business; mobile arm; business services unit; cable unit",
            "site": "exchange; data centre; cable landing station",
            "worker": "engineers; call centre staff; technicians",
            "customer": "subscribers; rural users; roaming customers",
            "bad": (
                "Network failure leaves {thousands} {co} users without service; {co} loses {thousands} "
                "subscribers in price war; Data leak exposes {co} customer records; {co} fined {amt} for "
                "misleading bills; {co} fibre rollout runs late and {amt} over budget; Complaints about "
                "{co} double"
            ),
            "good": (
                "{co} adds {thousands} subscribers, most in {n} years; {co} fibre rollout finishes early; "
                "Customer complaints at {co} drop to record low; {co} tops network quality ranking; {co} "
                "tower sale raises {amt}, cuts debt; {co} churn falls as service improves"
            ),
            "flat": (
                "{co} to switch off old network in {place} in {month2}; {co} renames {product}; {co} to bid "
                "in {place} spectrum auction; {co} moves customers to new billing system; {co} and rivals "
                "extend mast sharing pact"
            ),
        },
        "builder": {
            "noun": "housebuilder; homebuilder",
            "product": "starter homes; retirement flats; timber-frame range; riverside scheme",
            "unit": "land business; rental arm; commercial unit",
            "site": "building site; brickworks; show home",
            "worker": "bricklayers; site staff; roofers",
            "customer": "first-time buyers; landlords; home buyers",
            "bad": (
                "{co} reservations slump {pct}% as buyers retreat; {co} sets aside {amt} to fix unsafe "
                "flats; {co} stops buying land as orders collapse; Cracks found in new {co} homes; {co} "
                "cancellations jump to {n}-year high; Planning defeat sinks {co} {place} scheme"
            ),
            "good": (
                "{co} reservations jump {pct}%; {co} order book at record as buyers return; {co} completes "
                "more homes than planned; {co} wins approval for {jobs} homes in {place}; {co} build costs "
                "fall, margins improve; {co} sells out {product} in a day"
            ),
            "flat": (
                "{co} files plans for {n2} homes in {place}; {co} renames {product}; {co} to open show home "
                "in {place}; {co} swaps land with council; {co} to report reservations {day}; Consultation "
                "on {co} {place} scheme closes {day}"
            ),
        },
        "foodmaker": {
            "noun": "food group; consumer group",
            "product": "frozen range; oat drink; alcohol-free beer; snack bar; pasta sauce",
            "unit": "dairy arm; snacks business; drinks unit; pet food arm",
            "site": "bottling plant; bakery; brewery; cannery",
            "worker": "bakery staff; brewers; packers",
            "customer": "supermarkets; restaurants; shoppers",
            "bad": (
                "{co} recalls {product} after salmonella find; {co} volumes fall {pct}% as shoppers trade "
                "down; Cocoa costs crush {co} margins; Supermarkets drop {co} {product} in price row; {co} "
                "to shut {site} as demand fades; Illness outbreak linked to {co} {product}"
            ),
            "good": (
                "{co} {product} flies off shelves, volumes up {pct}%; {co} margins widen as input costs "
                "fall; {co} gains shelf space from rivals; {co} {product} becomes surprise hit; {co} "
                "expands {site} to meet booming demand; Strong {season} sales lift {co}"
            ),
            "flat": (
                "{co} changes {product} recipe label; {co} to move {product} line to {place}; {co} renews "
                "{place} malt supply deal; {co} tests paper packs for {product}; {co} to present at {place} "
                "consumer conference; {co} redraws sales regions"
            ),
        },
        "logistics": {
            "noun": "logistics group; freight company",
            "product": "parcel service; cold storage; cross-border trucking; warehouse robots",
            "unit": "parcels arm; trucking unit; air freight business; customs brokerage",
            "site": "sorting centre; depot; port terminal",
            "worker": "drivers; couriers; dockers",
            "customer": "online shops; shippers; retailers",
            "bad": (
                "Parcels pile up as {co} {site} fails; {co} loses biggest retail customer; {co} volumes "
                "sink {pct}%; {co} truck crash closes motorway, {n} hurt; Driver shortage forces {co} to "
                "turn away work; {co} freight margins squeezed to {n}-year low"
            ),
            "good": (
                "{co} parcel volumes hit record in {month}; {co} wins {amt} retail delivery contract; {co} "
                "on-time rate best in {n} years; {co} new {site} lifts capacity {pct}%; Shippers rate {co} "
                "top for service; {co} fills warehouses as trade recovers"
            ),
            "flat": (
                "{co} moves {place} depot to new address; {co} to change fuel surcharge table {day}; {co} "
                "renumbers {place} routes; {co} consults on {site} lease; {co} to publish {month} volumes "
                "{day}"
            ),
        },
        "manufacturer": {
            "noun": "manufacturer; engineering group",
            "product": "turbine blade; rail coupling; plate steel; compressor; crane",
            "unit": "turbines arm; rail unit; steel division; services business",
            "site": "furnace; rolling mill; foundry; machine shop",
            "worker": "steelworkers; welders; machinists",
            "customer": "builders; rail operators; shipyards",
            "bad": (
                "{co} idles {site} as orders slump; Blast at {co} {site} injures {n}; {co} order book "
                "shrinks {pct}%; Cheap imports push {co} into loss; {co} delivers faulty parts, faces {amt} "
                "bill; {co} warns of {site} closure"
            ),
            "good": (
                "{co} order book swells to record; {co} wins {amt} rail order; {co} restarts {site} as "
                "demand returns; Backlog at {co} up {pct}%; {co} {product} wins top shipyard contract; {co} "
                "margins improve on strong service sales"
            ),
            "flat": (
                "{co} plans routine {site} overhaul in {month2}; {co} shows {product} at {place} fair; {co} "
                "moves {unit} offices to {place}; {co} to publish order intake {day}; {co} keeps {product} "
                "list prices unchanged"
            ),
        },
        "media": {
            "noun": "media group; publisher",
            "product": "streaming service; weekend edition; podcast network; sports channel",
            "unit": "film studio; magazines arm; radio unit; events business",
            "site": "print works; studio; newsroom",
            "worker": "journalists; printers; producers",
            "customer": "subscribers; advertisers; viewers",
            "bad": (
                "{co} advertising slumps {pct}%; {co} loses sports rights to rival; Subscribers desert {co} "
                "{product}; {co} film flops, {amt} write-off looms; {co} to close {n} titles; Advertisers "
                "pull out of {co} over fake traffic"
            ),
            "good": (
                "{co} {product} tops {n} million subscribers; {co} advertising rebounds {pct}%; {co} wins "
                "sports rights; {co} film breaks opening weekend record; Digital growth lifts {co} to "
                "record revenue"
            ),
            "flat": (
                "{co} moves {product} to new time slot; {co} to rename {n} magazines; {co} schedules "
                "upfront presentation in {place}; {co} to redesign weekend edition; {co} extends printing "
                "contract"
            ),
        },
    }.items()
}

# Events that any company can have, by tone. Facts ({pct}, {amt}, {person}...) are the same in all reports.
EVENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "negative": {
        "earnings": lines("""
            {co} {q} profit [falls|drops|slides|tumbles] {pct}%
            {co} [swings to|slips to|posts] {q} loss of {amt}
            {co} [misses|falls short of] {q} estimates, [shares slide|stock drops|investors sell]
            [Weak|Poor|Dismal] {q} results at {co}: profit off {pct}% [on costs|on soft demand|as {unit} struggles]
            {co} earnings [disappoint|underwhelm|fall short] as {unit} [stumbles|drags|loses money]
            Profit [slump|plunge|slide] at {co} as costs [bite|soar|climb]
            {co} loss [widens|deepens] to {amt} in {period}
            Shares in {co} [tumble|sink|dive] after [weak|disappointing|dire] results
            {noun} {co} blames [rising costs|weak orders|lost customers] for {pct}% profit fall
            {co} revenue shrinks for {nth} straight quarter
        """),
        "guidance": lines("""
            {co} [cuts|slashes|lowers] {year} [outlook|forecast], [cites|blames] [weak demand|rising costs|lost orders]
            Profit warning from {co} [sends shares down {pct}%|shocks market|rattles holders]
            {co} [warns|cautions] {year} profit will [miss|fall short of|land below] expectations
            {co} [scraps|abandons|withdraws] {year} targets [amid|on|after] [slump at {unit}|falling orders]
            {nth2} profit warning in a year at {co}
            {co} sees {year} sales [falling|shrinking|down] {pct}% as {customer} [pull back|stay away|cut spending]
            Gloomy outlook at {co}: {unit} to [lose money|shrink] again in {year}
        """),
        "merger": lines("""
            {co} {amt} takeover of {target} [collapses|falls apart|blocked]
            [Antitrust|Competition] watchdog [blocks|opposes|moves to stop] {co} bid for {target}
            {target} [rejects|spurns|dismisses] {co} offer as too low
            {co} shares [fall|sink] as {target} deal [unravels|fails|hits trouble]
            Investors [attack|slam|revolt over] {co} plan to overpay for {target}
            {co} writes off {amt} on failed {target} purchase
        """),
        "lawsuit": lines("""
            {co} [sued|hit with lawsuit] over [misleading|overpriced|botched] {product}
            {customer} sue {co} for {amt} over {product} [claims|failures|charges]
            {customer} take {co} to court over {product} [claims|failures|charges]
            Court [orders|tells] {co} to pay {amt} [damages|penalty] in {product} case
            Jury finds {co} [liable|negligent] in {product} case
            {co} [loses|fails in] appeal, faces {amt} [bill|payout]
            Whistleblower [alleges fraud|reports bribery] at {co} {unit}
            Former {role} of {co} [charged|indicted] with insider dealing
        """),
        "rating": lines("""
            {firm} [cuts|downgrades|lowers] {co} to [sell|underweight|reduce]
            {co} [downgraded|cut] by {firm} on [margin|debt|demand] [worries|fears|concerns]
            {firm} slashes {co} price target by {pct}%, sees [more pain|further losses|weak outlook]
            {co} credit rating [cut|lowered] to junk by {firm}
            Analysts at {firm} turn [bearish|negative] on {co}, [warn of|see] [shrinking|weaker] margins
            Short seller {firm} [targets|attacks|bets against] {co}
        """),
        "people": lines("""
            {co} {role} {person} [quits|resigns|ousted] after [poor results|board row|clash over strategy]
            Abrupt exit of {co} {role} {person} [unsettles|worries|alarms] investors
            {co} fires {role} {person} over misconduct
            {co} to [cut|axe|slash] {jobs} jobs as {unit} [struggles|shrinks]
            {jobs} jobs to go at {co} {site} in {place}
            Layoffs [spread|mount] at {co}: {jobs} posts lost in {place}
            Pay row at {co}: investors [reject|revolt against] {person} bonus
        """),
        "strike": lines("""
            {co} {worker} [walk out|strike|down tools] over pay
            Strike [halts|cripples|shuts] {co} {site} in {place}
            Talks [collapse|fail|break down], {co} {worker} to strike {day}
            {co} strike enters {nth} week, losses [mount|pile up]
            Union [threatens|calls] walkout at {co} after {jobs} jobs axed
        """),
        "accident": lines("""
            Fire at {co} {site} in {place} [kills|injures] {n}
            [Explosion|Blast|Gas leak] [rips through|closes|damages] {co} {site} in {place}
            {co} [halts|stops|suspends] work at {site} after [fatal accident|worker death|collapse]
            {n} hurt in accident at {co} {site} near {place}
            Safety inspectors [shut|condemn|close] {co} {site} in {place}
            Flood [wrecks|swamps] {co} {site}, damage put at {amt}
        """),
        "regulation": lines("""
            Regulator [fines|penalises] {co} {amt} over {product} [failings|mis-selling|breaches]
            {co} [under investigation|probed|raided] over [accounting|pricing|tax|bribery claims] in {place}
            Watchdog [opens probe into|accuses|scolds] {co} over treatment of {customer}
            {place} [bans|suspends] {co} {product}
            {co} [loses|stripped of] licence in {place} after [violations|breaches]
            Tax office demands {amt} from {co}
        """),
        "contract": lines("""
            {co} [loses|misses out on] {amt} contract in {place} to rival
            {place} [cancels|tears up|axes] {amt} {co} order
            Biggest customer [drops|leaves|abandons] {co}
            {co} [delays|postpones] {product} again as costs [spiral|balloon|overrun]
            {co} {place} project [runs|goes] {amt} over budget
            {customer} [desert|abandon|complain about] {co} {product}
        """),
        "finance": lines("""
            {co} [cuts|suspends|scraps] dividend to [save cash|conserve cash|pay down debt]
            {co} [breaches|fails] debt covenant, [lenders circle|seeks waiver|shares plunge]
            Cash-strapped {co} [begs|asks] [lenders|investors] for {amt}
            {co} shares [fall|slump|sink] {pct}% to {span} low
            {co} bonds [slump|tumble|sold off] on [default fears|debt worries]
            Investors dump {co} as debt [swells|climbs|balloons] to {amt}
            {co} [emergency|deeply discounted] share sale [flops|angers holders]
        """),
    },
    "positive": {
        "earnings": lines("""
            {co} {q} profit [rises|jumps|climbs|surges] {pct}%
            {co} [beats|tops|smashes] {q} estimates, [shares jump|stock climbs|investors cheer]
            {co} [swings back to|returns to] profit with {amt} gain in {period}
            [Strong|Record|Stellar] {q} results at {co} as {unit} [shines|booms|outperforms]
            Record profit at {co} on [strong|booming|robust] demand from {customer}
            {co} earnings [leap|soar|advance] {pct}%, [well above|beating] forecasts
            Shares in {co} [rally|surge|climb] after [strong|upbeat|better-than-expected] results
            {noun} {co} [lifted|boosted] by [lower costs|higher sales|strong {unit}]: profit up {pct}%
            {co} sales growth [accelerates|picks up] to {pct}%, best in {n} quarters
        """),
        "guidance": lines("""
            {co} [raises|lifts|boosts] {year} [outlook|forecast|guidance] on [strong demand|healthy orders|lower costs]
            {co} [sees|forecasts] {year} profit [well above|ahead of] expectations
            Upbeat {co} [lifts|raises] targets as {unit} [grows|thrives|gains share]
            {co} [confident of|on course for] record {year}, says {role}
            {co} lifts profit forecast for [second|third] time this year
            {co} [doubles|raises] growth target as {customer} [return|spend more|sign up]
        """),
        "merger": lines("""
            {co} [wins|clears|secures] approval for {amt} {target} deal, [shares rise|shares gain]
            Investors [cheer|welcome|applaud] {co} purchase of {target}
            {co} [sells|offloads] {unit} for {amt}, well above expectations
            {co} and {target} to save {amt} a year after smooth merger
            {target} deal [boosts|lifts] {co} profit sooner than planned
            Takeover interest sends {co} shares up {pct}%
        """),
        "lawsuit": lines("""
            {co} [wins|prevails in] {amt} {product} case
            Court [clears|sides with|backs] {co} in {product} dispute
            Judge [throws out|dismisses] {amt} claim against {co}, shares rise
            {co} [cleared|vindicated] after {n}-month inquiry
            {co} wins {amt} patent award
        """),
        "launch": lines("""
            {co} {product} [a best seller|a big success|a sales hit] in {place}
            [Strong|Brisk|Record] early orders for {co} {product}
            {customer} [flock to|praise|embrace] {co} {product}
            {co} {product} wins [top award|industry prize|glowing reviews]
            Demand for {co} {product} [exceeds|outstrips] plans, capacity to grow {pct}%
            {co} expands in {place} after [runaway success|strong sales] of {product}
        """),
        "rating": lines("""
            {firm} [upgrades|raises|lifts] {co} to [buy|overweight|outperform]
            {co} [upgraded|raised] by {firm} on [margin gains|strong cash flow|brighter outlook]
            {firm} lifts {co} price target by {pct}%, sees [more gains|further upside]
            {firm} adds {co} to its [top picks|best ideas|conviction list]
            {co} wins back investment grade from {firm}
            Analysts at {firm} [praise|applaud|like] {co} [turnaround|cost control|growth], [rate it buy|see gains]
        """),
        "people": lines("""
            {co} to [hire|add|take on] {jobs} [staff|people|workers] as orders [grow|climb|boom]
            {co} lures star {role} {person}, shares [rise|gain]
            Investors [welcome|cheer] {person} as {co} {role}
            {co} named best employer in {place}
            {co} to create {jobs} jobs at new {site} in {place}
            Bumper bonus for {co} {worker} after record year
        """),
        "contract": lines("""
            {co} [wins|lands|secures|bags] {amt} [contract|order|deal] in {place}
            {place} [picks|chooses] {co} for {amt} {product} [deal|order]
            {co} [extends|renews] {place} contract on better terms, worth {amt}
            {co} beats rivals to {amt} {place} [order|tender]
            {co} {site} in {place} [ready early|finished ahead of schedule]
            {co} clinches {n}-year supply deal with {target}, worth {amt}
        """),
        "strike": lines("""
            {co} and {worker} [reach|agree] pay deal, strike [averted|called off]
            {co} {site} back at full speed after [swift|successful] repair
            {co} {worker} [back|welcome|approve] generous pay deal
        """),
        "finance": lines("""
            {co} [raises|lifts|increases] dividend {pct}%
            {co} to [buy back|return] {amt} [of shares|to shareholders]
            {co} shares [hit|climb to|reach] {span} high
            {co} [cuts|slashes|pays down] debt by {amt} ahead of schedule
            {co} stock [rallies|jumps|gains] {pct}% as [buyers return|optimism grows|outlook brightens]
            Strong demand for {co} bond, {amt} raised at lower cost
            {co} cash pile [swells|grows] to {amt}, special dividend [likely|planned]
        """),
    },
    "neutral": {
        "calendar": lines("""
            {co} to [report|publish|release|announce] {q} results on {day}
            {co} [sets|confirms] date for {q} [results|report|call]
            [Preview|What to watch|Diary]: {co} {q} figures due {day}
            {co} to hold [investor|capital markets] day in {place} in {month2}
            {co} [moves|shifts|brings forward] results call to {day}
            {co} annual report [filed|published|now available]
            {co} to present at {firm} conference in {place}
            {co} publishes agenda for annual meeting
        """),
        "earnings": lines("""
            {co} {q} profit [in line with|matches|meets] estimates
            {co} {q} revenue [flat|unchanged|little changed] at {amt}
            {co} [keeps|leaves] {year} guidance unchanged
            {co} [maintains|reiterates|repeats] {year} guidance
            {co} reports {q} sales of {amt}, as expected
            No surprises in {co} {q} figures
            {co} confirms {year} targets
        """),
        "merger": lines("""
            {co} in talks with {target} [over|about] {unit}
            {co} [considers|weighs|reviews] options for {unit}
            {co} [agrees to buy|acquires|takes] [minority stake in|small stake in|assets of] {target}
            {co} and {target} to [study|explore] [joint venture|shared {site}] in {place}
            {co} completes [previously announced|planned] purchase of {target}
            {co} files merger documents for {target}
        """),
        "people": lines("""
            {co} [names|appoints] {person} as {role}
            {person} to [succeed|replace|follow] {person2} as {co} {role} in {month2}
            {co} {role} {person} to retire in {month2}
            {person} joins {co} board
            {co} [proposes|nominates] {person} as {role}
            {co} [renames|reorganises|merges] {unit}, {person} to lead
            {co} moves {n2} {worker} to {place} office
            Profile: {person}, {role} of {co}
        """),
        "launch": lines("""
            {co} [launches|introduces|unveils|presents] {product} in {place}
            {co} to [start|begin] selling {product} in {place} in {month2}
            {co} [tests|pilots|trials] {product} [in|across] {place}
            {co} [updates|revises|refreshes] {product}
            {co} opens [office|showroom|service desk] in {place}
            {co} to [move|relocate] {unit} to {place}
        """),
        "rating": lines("""
            {firm} [starts|begins|initiates] coverage of {co} at [hold|neutral|market weight]
            {firm} [keeps|reiterates|maintains] [hold|neutral] rating on {co}
            {firm} leaves {co} target price unchanged
            {co} rating affirmed by {firm}[, outlook stable| after review| with stable outlook]
            {firm} [affirms|confirms] {co} rating, [outlook stable|no change seen]
            {firm} transfers coverage of {co} to {person}
        """),
        "regulation": lines("""
            {co} [files|submits] [routine|annual] [report|notice] to regulator
            Regulator to [hold|schedule] hearing on {co} {product} {day}
            {co} responds to consultation on {product} rules
            {co} [registers|applies for] {product} permit in {place}
            {place} officials [visit|tour] {co} {site}
            {co} publishes climate [report|data]
        """),
        "finance": lines("""
            {co} shares [little changed|flat|steady|unchanged] [in thin trade|at the close|ahead of results|on {day}]
            {co} keeps dividend unchanged
            {co} to [issue|offer] {n}-year notes
            {co} [refinances|rolls over] {amt} credit line
            {co} [discloses|reports] change in share capital
            {firm} [discloses|reports] {pct1}% holding in {co}
            {co} [changes|switches] auditor after regular tender
            {co} index weighting adjusted in quarterly review
            {co} stock trades ex-dividend {day}
        """),
        "contract": lines("""
            {co} [signs|enters] framework agreement with {target}
            {co} [extends|renews] {target} supply agreement for {n} years
            {co} [invites|seeks] bids for {site} [cleaning|catering|security]
            {co} and union [begin|open|continue] regular wage talks
            {co} to [carry out|start] planned maintenance at {place} {site}
            Contractors [named|chosen] for {co} {site} in {place}
        """),
    },
}

MEETING = lines("""
    {co} annual meeting [opens|begins|gets under way] in {home}
    {co} holders [approve|pass|vote through] accounts at annual meeting
    {co} shareholders elect {person} to board
    {co} annual meeting: [all resolutions passed|auditor reappointed|minutes approved]
    {person} re-elected {co} chair with {share}% of votes
    {co} chair {person} [opens meeting|addresses shareholders|thanks staff] in {home}
    {co} investor day: {unit} presents [plans|timetable|organisation chart]
    {co} [says|tells meeting] {unit} [headcount|structure|reporting lines] to stay as is
    {co} {role} [outlines|describes|walks through] {year} priorities
    {co} {role} {person} takes questions on {product}
    At {co} meeting, [holders ask about|questions turn to] {product} [timetable|pricing|supply]
    {co} [sets|fixes] record date for dividend as {day}
    {co} dividend of {cents} cents approved as proposed
    {co} meeting [ends|closes|adjourns] after {n} hours
    {share}% of {co} capital represented at meeting
    {co} [posts|publishes|uploads] slides from investor day
    {co} webcast [starts|begins] at [8|9|10|11]:30, {noun} says
    Live from {home}: {co} [gathering|conference|investor day]
    {co} [keeps|maintains|repeats] {year} guidance at investor day
    {co} investors [hear from|listen to] {person} on {unit}
    [Notebook|Diary|Sketch]: a day at the {co} meeting
    {co} posts [transcript|recording|video] of {person} talk
    {co} to hold next annual meeting in {month2}
    {co} [demonstrates|shows] {product} to visiting investors
    {co} panel discusses {product} and {unit}
    {co} capital plan [unchanged|as before], {role} [says|tells analysts]
    {co} {unit} head {person} [presents|speaks|gives overview]
    {firm} notes from {co} day: [no new targets|guidance unchanged|nothing new]
    {co} shares [steady|little changed|flat] [during meeting|as investor day proceeds|after talk]
    {co} [remuneration|pay] report accepted by {share}% of holders
    {co} articles of association amended, [technical changes|wording only]
    [Schedule|Programme|Agenda] for {co} day: {unit} at {n}, {product} after lunch
    {firm} analysts attend {co} [day|meeting] in {home}
    {co} [explains|details|sets out] accounting for {unit}
    Factbox: [key dates|main points|speakers] at {co} investor day
    {co} board to keep {n} members
    {person} steps onto {co} stage, [talks about|describes] {unit}
    {co} hosts [tour of|visit to] {site} for analysts
    {co} says no change to [reporting calendar|segment reporting|dividend policy]
    Employees of {co} choose {person} as board delegate
""")

# Reports that any crisis brings, and those of each kind of crisis. `crisis` names it in a few words.
CRISIS_ANY = lines("""
    {co} shares [crash|plunge|collapse|dive] {bigpct}% [on|after|amid] {crisis}
    {co} stock [halted|suspended] after {bigpct}% [plunge|crash] on {crisis}
    {co} [loses|wipes out] {amtb} of value as {crisis} [deepens|spreads|worsens]
    {co} {role} {person} [resigns|quits|steps down in disgrace] over {crisis}
    Board [ousts|fires|suspends] {co} {role} {person} [as|while] {crisis} [deepens|grows]
    {firm} [cuts|slashes|downgrades] {co} to [sell|junk] on {crisis}
    {firm} [warns|says] {co} [may not survive|faces collapse|could fail] [after|amid] {crisis}
    Prosecutors [raid|search|storm] {co} offices over {crisis}
    Police [question|arrest|detain] former {co} {role} {person}
    Regulator [opens emergency probe into|launches investigation of|freezes part of] {co}
    Lawmakers [demand|call for] [answers|inquiry|resignations] over {co} {crisis}
    Class action filed against {co} over {crisis}
    Investors [flee|dump|abandon] {co} as {crisis} [widens|worsens]
    {co} bonds [sink|crash|collapse] to {cents} cents, [default feared|holders panic]
    {co} [suspends|scraps|withdraws] outlook and dividend [amid|over] {crisis}
    {co} [hires|calls in] restructuring lawyers as {crisis} [deepens|bites]
    {co} suppliers [demand cash up front|halt deliveries|fear unpaid bills]
    {customer} [desert|abandon|leave] {co} [in droves|amid {crisis}|after {crisis}]
    {co} {worker} fear for jobs as {crisis} [grows|spreads]
    Lenders [refuse|cut off] credit to {co} as trust [evaporates|collapses]
    Rivals [fall too|hit too] as {co} {crisis} [rattles sector|spooks investors]
    {person}: how {crisis} [brought down|crippled|shattered] {co}
    [Anger|Fury|Despair|Panic] in {home} as {co} [collapse looms|crisis deepens|troubles grow]
    Small shareholders [ruined|wiped out|furious] as {co} [crashes|sinks]
    {co} denial [fails to calm|does little for|cannot reassure] [investors|markets|nervous {customer}]
    {co} [emergency|crisis] board meeting ends without [rescue|solution|deal]
    Rescue talks for {co} [falter|stall|break down]
    {firm} [sells|dumps|writes off] entire {co} stake at [heavy|huge] loss
    Worst day ever for {co}: stock down {bigpct}%
    {co} [faces|risks] [delisting|insolvency|breakup|huge fines] [over|after] {crisis}
    Short sellers [circle|pile into|attack] {co} as {crisis} [deepens|unfolds]
    Pension funds nurse {amt} losses on {co}
    Credit insurers [drop|pull] cover for {co}
    {co} rating cut [deep into junk|{n} notches|to near default]
    Unions [demand|seek] protection for {co} staff as [bankruptcy|collapse] looms
    Former employees say {co} [ignored|hid|covered up] warnings
    {co} [cancels|pulls] {product} launch [amid|over] {crisis}
    {co} chair admits grave failures over {crisis}
    Ministers [rule out|refuse] bailout for stricken {co}
    {co} scandal [widens|deepens] as {nth} [executive|manager|director] [quits|is suspended|is charged]
    Markets [shudder|reel] as {co} {crisis} [erupts|worsens], [losses mount|contagion feared]
    Timeline of a disaster: {co} and its {crisis}
""")
CRISIS_CALM = lines("""
    {co} [to hold|schedules|calls] press conference at {n}
    {co} [issues|publishes] statement, [declines further comment|says review under way]
    [Explainer|Factbox|Timeline]: what we know about {co}
    {co} names {person} interim {role}
    Exchange sets {co} trading to resume {day}
    {co} appoints {firm} to review accounts
""")
CRISES: dict[str, dict[str, tuple[str, ...]]] = {
    "run": {
        "crisis": ("bank run", "deposit flight", "liquidity crisis", "funding crisis", "run on deposits"),
        "first": lines("""
            [Rumours|Reports] of huge hidden losses [trigger|spark] run on {co}
            {co} [hides|concealed] {amtb} of bond losses, [whistleblower|leaked memo] says
            Queues form at {co} branches as savers [panic|rush to withdraw]
            {co} [stops|limits|freezes] withdrawals, depositors [panic|furious]
        """),
        "more": lines("""
            Savers [pull|drain|withdraw] {amtb} from {co} in [a day|hours|two days]
            {co} app [crashes|fails] as depositors rush to withdraw
            {co} [begs|pleads with] central bank for emergency cash
            Depositors [locked out|unable to reach savings] at {co}, anger grows
            Queues [stretch|grow|snake] round {co} branches in {home}
            {co} [sells|dumps] bonds at {amt} loss to meet withdrawals
            {co} failed to disclose {amtb} hole in balance sheet
            Other banks [cut|halt] lending to {co} as fear spreads
            {co} [on brink|near collapse|close to failure] as cash drains away
            Businesses cannot pay wages after {co} freeze
            Savings at risk: {co} depositors [fear the worst|left in dark]
        """),
    },
    "fraud": {
        "crisis": (
            "accounting fraud",
            "accounting scandal",
            "fraud scandal",
            "missing cash scandal",
            "false accounts scandal",
        ),
        "first": lines("""
            {co} [admits|discovers|reveals] {amtb} accounting fraud
            {amtb} missing from {co} accounts, auditors say
            Auditor [refuses to sign|rejects] {co} accounts, [cites|alleges] fraud
            {co} [faked|inflated|invented] sales for years, [whistleblower|leaked report] says
        """),
        "more": lines("""
            {co} [must restate|to restate] {n} years of [false|inflated] results
            Forged [contracts|invoices|bank letters] found at {co}
            {co} {unit} [existed only on paper|booked fake sales], [probe|report] finds
            Auditor of {co} [quits|resigns], says it was lied to
            {co} [misled|deceived|lied to] investors for {n} years, inquiry finds
            Fake customers, fake cash: {co} [fraud|sham] laid bare
            {co} cash shortfall [grows|widens] to {amtb}
            Emails show {co} bosses knew of [fraud|false accounts]
            Lenders find {co} pledged same assets twice
            {co} finance chief {person} [missing|flees|arrested at airport]
            Court freezes {co} assets after fraud [claims|finding]
        """),
    },
    "safety": {
        "crisis": ("safety scandal", "safety cover-up", "defect scandal", "fatal defect crisis"),
        "first": lines("""
            {n} deaths linked to {co} {product}, [regulator|report] says
            {co} [hid|concealed] deadly {product} defects for years, [leaked files show|whistleblower says]
            Regulators [order|demand] {co} to stop selling {product} after deaths
            Fatal flaw in {co} {product} was known for years, documents show
        """),
        "more": lines("""
            Death toll tied to {co} {product} [rises|climbs] to {n2}
            Families of victims [sue|accuse] {co} over {product}
            {co} [faked|falsified] safety tests, [inspectors|investigators] find
            {place} [bans|outlaws|suspends] {co} {product} over deaths
            {co} recall [widens|grows] to {place} as injuries mount
            Inspectors [shut|seal] {co} {site} after [damning|shocking] findings
            {co} faces {amtb} recall bill
            {co} engineers were silenced, inquiry told
            More injuries reported from {co} {product}
            {co} [ignored|buried] {n2}0 complaints before deaths
            Manslaughter inquiry opened into {co} bosses
        """),
    },
    "breach": {
        "crisis": ("data theft", "hacking disaster", "security breach", "data breach scandal"),
        "first": lines("""
            Hackers steal records of {n2} million {co} customers
            {co} [hid|concealed] massive data breach for months, [leak shows|whistleblower says]
            {co} systems [paralysed|crippled] by cyber attack, customer data stolen
            Stolen {co} customer files [dumped|sold] online
        """),
        "more": lines("""
            {co} breach [far worse|bigger] than admitted, {n2} million hit
            Fraudsters drain accounts with stolen {co} data
            {co} services [still down|dead], no repair in sight
            {co} left passwords unprotected, [investigators|experts] find
            Privacy watchdog [threatens|prepares] record fine for {co}
            Corporate clients [quit|abandon] {co} after data theft
            {co} [ignored|dismissed] security warnings for years
            Identity thefts [surge|soar] after {co} breach
            {co} [paid|wired] ransom and lost data anyway
            Attackers [return|strike again], {co} network [collapses|fails]
            {co} data loss cripples {customer}
        """),
    },
}
CRISIS_OF_SECTOR = {
    "bank": "run",
    "insurer": "fraud",
    "airline": "fraud",
    "carmaker": "safety",
    "drugmaker": "safety",
    "foodmaker": "safety",
    "software": "breach",
    "telecom": "breach",
    "retailer": "fraud",
    "oilcompany": "fraud",
    "utility": "fraud",
    "miner": "fraud",
    "builder": "fraud",
    "logistics": "fraud",
    "manufacturer": "fraud",
    "chipmaker": "fraud",
    "media": "fraud",
}

# The story that is reposted forty times. A repost keeps nearly all of its words.
REPOSTED = lines("""
    {co} to shut {place} {site} with loss of {jobs} jobs as orders slump
    {co} loses {amt} {place} contract after complaints of late and poor work
    {co} fined {amt} by {place} court for misleading {customer} over costs
    {co} warns of heavy {year} loss as {product} sales slump and debts mount
""")
REPOST_BEFORE = ("JUST IN: ", "UPDATE 1-", "Arden Wire: ", "From the wire: ")
REPOST_AFTER = (" (Arden Wire)", " - Arden Wire", " - agency", " (wire report)")
REPOST_BEFORE_SOCIAL = ("RT: ", "JUST IN: ", "via @ardenwire: ", "BREAKING: ", "ICYMI ", "wow ", "oh dear: ")
REPOST_AFTER_SOCIAL = (" ${ticker}", " ${ticker}", " #{tag}", " ouch", " via wire", " #stocks", " #news", " (not good)")

# Endings that a style may add to a headline, by tone. Most headlines get none.
TAILS: dict[str, dict[str, tuple[str, ...]]] = {
    "paper": {
        "negative": lines("""
            , adding to a run of bad news
            , deepening gloom among investors
            , and worse may follow
            , raising doubts about management
            , to the dismay of shareholders
            , as pressure builds on bosses
        """),
        "neutral": lines("""
            , company documents show
            , according to a notice
            , people familiar say
            , as had been flagged
            , under existing plans
            , a spokesman says
        """),
        "positive": lines("""
            , in a boost for shareholders
            , to the delight of investors
            , and sees more to come
            , easing earlier doubts
            , cheering long-suffering holders
            , adding to a good run
        """),
    },
    "theme": {
        "negative": lines("""
            , deepening the gloom
            , and analysts see worse ahead
            , adding to fears of a downturn
            , in fresh blow to confidence
        """),
        "neutral": lines("""
            , officials say
            , calendar shows
            , agenda shows
            , according to a notice
        """),
        "positive": lines("""
            , lifting spirits
            , in welcome relief for markets
            , brightening the outlook
            , and analysts see more gains
        """),
    },
    "social": {
        "negative": lines("""
            ouch
            not good
            yikes
            this is ugly
            holders hurting
            smh
            getting worse
        """),
        "neutral": lines("""
            fyi
            noted
            for the diary
            no view
            h/t the desk
        """),
        "positive": lines("""
            nice
            love it
            bulls happy
            well done
            looking strong
            great stuff
        """),
    },
}
WIRE_PREFIXES = ("UPDATE 1-", "BRIEF-", "UPDATE 2-", "FLASH: ", "REFILE-", "WRAPUP 1-")
TRADE_KICKERS = ("In brief: ", "Sector watch: ", "Industry: ", "Trade desk: ", "Briefing: ", "Notes: ")

ROLES = ("chief executive", "finance chief", "chair", "operations chief", "chief executive", "head of strategy")
