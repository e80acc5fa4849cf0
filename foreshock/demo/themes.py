"""The words of the demo's themes: rates, oil, jobs and the like, in the grammar that `phrases.py` explains.

Each theme has subjects that are good when they rise (`subj`) and people (`actors`), both plural; causes of falls and of
rises, as nouns (`bear`, `bull`); dates on its calendar (`agenda`); its subjects of debate (`issue`); and its own lines.
"""

from __future__ import annotations

from foreshock.demo.phrases import lines

THEME_PATTERNS: dict[str, tuple[str, ...]] = {
    "negative": lines("""
        {subj} [fall|drop|slide|tumble|retreat] {pct}% on {bear}
        {subj} [sink to|hit|slump to] {span} low [amid|on] {bear}
        {subj} [hurt|hit|dragged down|dented|undermined] by {bear}
        {actors} [brace for|fear|expect] [worse|more pain|hard times] [amid|on] {bear}
        {firm} [cuts|slashes|lowers] {subj} [forecast|outlook], [blames|citing|points to] {bear}
        {subj} miss {month} [forecasts|expectations|estimates], off {pct}%
        Worst {month} for {subj} in {n} years, {bear} blamed
        Outlook for {subj} [darkens|worsens|dims] on {bear}, {firm} [says|warns]
        {actors} [count the cost of|reel from|suffer under] {bear}
        {firm} [turns bearish|sours|turns gloomy] on {subj}, [blames|cites|points to] {bear}
        Sell-off deepens: {subj} down {pct}% [in {place}|this week|by midday]
        No relief for {actors} as {subj} [slide|weaken|shrink] for {nth} month
        Why {actors} are worried: {bear}
        {place} {subj} [plunge|slump|shrink] {pct}%, [worst|weakest] reading since {pastyear}
        [Pain|Trouble|Misery] for {actors} in {place} [from|amid|on] {bear}
        {bear} [could sink|may hurt|likely to hurt] {subj}, [survey|study|report] warns
        {actors} [lose faith|lose heart|despair] as {subj} [keep falling|disappoint again|sink further]
        {person} of {firm}: {bear} will [hurt|sink] {subj}
        {subj} [skid|stumble|falter] as {actors} [panic|retreat|pull back]
        [Gloom|Anxiety|Alarm] grows among {actors} over {bear}
        {place} hit hardest as {subj} [slump|collapse]
        [Bleak|Grim|Dismal] {month} for {actors}, {subj} down {pct}%
        {actors} [slam|criticise|attack] [ministers|officials|regulators] over {bear}
        {subj} [extend|deepen] losses, {nth} [weekly|daily] fall [on|amid] {bear}
    """),
    "positive": lines("""
        {subj} [rise|climb|jump|gain|advance] {pct}% on {bull}
        {subj} [surge to|reach|hit] {span} high [on|amid] {bull}
        {subj} [lifted|boosted|helped|buoyed] by {bull}
        {firm} [raises|lifts|upgrades] {subj} [forecast|outlook] [on|after|citing] {bull}
        {subj} [beat|top|exceed] {month} [forecasts|expectations|estimates], up {pct}%
        Best {month} for {subj} in {n} years thanks to {bull}
        Outlook for {subj} [brightens|improves] on {bull}, {firm} says
        {actors} [benefit|gain|profit] from {bull}
        {firm} [turns bullish|warms|turns upbeat] on {subj}, [cites|points to] {bull}
        Rally [widens|gathers pace]: {subj} up {pct}% [in {place}|this week|by midday]
        {actors} [cheer|welcome|celebrate] {bull}
        {subj} [recover|rebound|bounce back] for {nth} month
        {place} {subj} [grow|expand|improve] {pct}%, [best|strongest] reading since {pastyear}
        [Relief|Good news] for {actors} in {place} [on|from] {bull}
        {bull} to [lift|support|boost] {subj}, [survey|study|report] finds
        {person} of {firm}: {bull} [bodes well|good news] for {subj}
        [Optimism|Confidence] grows among {actors} on {bull}
        {place} leads as {subj} [recover|strengthen|boom]
        [Bright|Strong|Buoyant] {month} for {actors}, {subj} up {pct}%
        {actors} [regain confidence|hopeful again] as {subj} [keep rising|improve again]
        {subj} [extend|add to] gains, {nth} [weekly|daily] rise [on|amid] {bull}
        {actors} see [strong|solid|healthy] {year} after {bull}
    """),
    "neutral": lines("""
        {subj} [little changed|steady|flat|unchanged|mixed] [ahead of|before] {agenda}
        {actors} [await|look to|prepare for|turn to|wait for] {agenda}
        [What to watch|Week ahead|Diary|Preview]: {agenda}
        {agenda} [due|set for|scheduled for] {day}
        {firm} [keeps|leaves|maintains] forecast for {subj} unchanged
        {actors} [meet|gather|convene] in {place} to discuss {issue}
        [Factbox|Explainer|Q&A|Primer]: how {subj} are [measured|reported|calculated|compiled]
        [Table|Data|Chart]: {subj} by region, {month}
        Agency to [publish|release] {month} figures on {subj} {day}
        {subj} [hold|stay] in narrow range, {actors} [await|eye] {agenda}
        {month} {subj} [in line with|match|meet] [estimates|forecasts|expectations]
        {place} [to hold|opens|schedules] [hearing|consultation|seminar] on {issue}
        {person} to speak on {issue} in {place} {day}
        {actors} [split|divided] on {issue}, [poll|survey] [finds|shows]
        {firm} publishes [quarterly|monthly|annual] note on {issue}
        {subj} [end|close] {day2} where they began
        [Panel|Working group|Committee] on {issue} [holds first session|meets|reports back] in {month2}
        {person} [named|appointed] to panel on {issue}
        {place} to leave {issue} [unchanged|as before]
        Little news for {actors} [on quiet {day2}|before {agenda}]
        {agenda} moved to {day}
        Transcript: {person} of {firm} on {issue}
        {subj} in {place}: [five|four|three] charts
        {place} [statisticians|officials] [revise method for|change base year of] {subj}
    """),
}


def _theme(**parts: str) -> dict[str, tuple[str, ...]]:
    return {key: tuple(part.strip() for part in text.split(";")) for key, text in parts.items()}


THEMES: dict[str, dict[str, tuple[str, ...]]] = {
    "rates": _theme(
        subj="hopes of lower rates; rate-cut bets; loan approvals; bond prices; interest-sensitive stocks",
        actors="borrowers; economists; small firms; homeowners; investors",
        bear=("hawkish central bank talk; sticky inflation; fear of another rate rise; a surprise rate increase"),
        bull="dovish central bank signals; a surprise rate cut; cooling inflation; easing credit conditions",
        agenda=("central bank minutes; rate decision; governor's testimony; quarterly bank survey; policy statement"),
        issue="policy guidance; reserve requirements; the neutral rate; balance sheet policy; meeting dates",
        bad=(
            "Central bank raises rates again, [squeezing borrowers|markets sink]; Borrowers face "
            "[painful|higher] payments as rates climb; Rate rise [shocks|rattles] markets; Policymakers "
            "warn of [recession|hard landing] risk; Higher rates push [small firms|households] into "
            "default; Governor [dashes|crushes] hopes of rate cut"
        ),
        good=(
            "Central bank cuts rates, [relief for borrowers|stocks rally]; Governor [hints at|signals] "
            "lower rates, markets rally; Lower rates [lift|revive] lending; Borrowers cheer as loan costs "
            "fall to {n}-year low; Rate cut [boosts|lifts] confidence among small firms"
        ),
        flat=(
            "Central bank [leaves|keeps|holds] rates [unchanged|steady] [as expected|in {country}]; "
            "Rate-setters vote [five|six|seven] to [one|two|three] to hold; Central bank publishes {month} "
            "minutes; Governor {person} to speak in {country} {day}; {country} central bank sets {year} "
            "meeting dates; Money markets price no change"
        ),
    ),
    "inflation": _theme(
        subj="real wages; household budgets; spending plans; real incomes; profit margins",
        actors="economists; households; grocers; pensioners; shop owners",
        bear="rising food prices; soaring energy bills; higher rents; stubborn price pressures; import costs",
        bull=("falling food prices; cheaper energy; slowing price growth; lower import costs; easing price pressures"),
        agenda="consumer price report; producer price index; price survey; wage tracker; {month} price data",
        issue="index weights; the price basket; rent measurement; seasonal adjustment; wage indexation",
        bad=(
            "Inflation [jumps|accelerates] to {pct1}%, [worse than feared|hurting households]; Food bills "
            "soar, families [cut back|go without]; Price shock [squeezes|hammers] households in {place}; "
            "Inflation eats [savings|wages] in {place}; Cost of living crisis deepens"
        ),
        good=(
            "Inflation [cools|eases] to {pct1}%, lowest in {n} years; Price pressures fade, [relief|good "
            "news] for households; Wages outpace prices for {nth} month; Grocery bills fall at last; "
            "Inflation back at target, markets cheer"
        ),
        flat=(
            "Inflation [steady|unchanged] at {pct1}% in {month}; {month} consumer prices match forecasts; "
            "Statistics office updates price basket; {place} to publish price data {day}; Core inflation in "
            "line with estimates"
        ),
    ),
    "jobs": _theme(
        subj="payrolls; job openings; hiring plans; temp placements; graduate vacancies; factory jobs",
        actors="employers; recruiters; job seekers; unions; staffing firms",
        bear="mass layoffs; weak hiring; plant closures; falling orders; a hiring freeze",
        bull="strong hiring; new plants; rising pay; a hiring rush; robust orders",
        agenda="payrolls report; jobless claims; labour force survey; pay review; vacancy figures",
        issue="apprenticeships; shift patterns; remote work; pay reporting; job classifications",
        bad=(
            "Jobless rate [climbs|jumps] to {pct1}% as layoffs mount; {jobs} jobs lost in {place} plant "
            "closures; Jobless claims [surge|spike] to {span} high; Youth unemployment [worsens|soars] in "
            "{place}; Employers shed {thousands} jobs, worst in {n} years"
        ),
        good=(
            "Jobless rate [falls|drops] to {pct1}%, lowest in {n} years; Employers add {thousands} jobs, "
            "beating forecasts; Jobless claims fall to {span} low; {jobs} new jobs for {place}; Pay growth "
            "[picks up|quickens] as hiring booms"
        ),
        flat=(
            "Jobless rate [unchanged|steady] at {pct1}%; Payrolls in line with forecasts; {place} labour "
            "office to publish {month} data; Union and employers in {place} open wage talks; Jobless claims "
            "little changed"
        ),
    ),
    "housing": _theme(
        subj=("home sales; house prices; housing starts; mortgage approvals; building permits; property shares"),
        actors="homebuilders; estate agents; first-time buyers; landlords; mortgage lenders",
        bear="costly mortgages; a buyers' strike; weak demand; rising repossessions; higher building costs",
        bull="cheaper mortgages; strong demand; easing mortgage rates; rising incomes; a spring rush",
        agenda=(
            "housing starts data; house price index; mortgage survey; builders' sentiment index; planning reform vote"
        ),
        issue="planning rules; building codes; land registers; rent registers; zoning",
        bad=(
            "Repossessions [jump|soar] {pct}% as owners fall behind; Half-built estates "
            "[abandoned|deserted] as builders fail; House price slump [deepens|spreads] in {place}; Buyers "
            "[walk away|vanish] as mortgage costs bite; Builders go bust at fastest rate since {pastyear}"
        ),
        good=(
            "Buyers return as mortgage rates ease; Home sales hit {span} high; Builders [upbeat|confident] "
            "as orders jump; House prices in {place} recover all losses; First-time buyers [cheer|enjoy] "
            "best market in {n} years"
        ),
        flat=(
            "House prices [flat|unchanged] in {month}; {place} council consults on zoning plan; Mortgage "
            "lenders publish {month} figures; Housing minister {person} visits {place}; Survey of landlords "
            "due {day}"
        ),
    ),
    "banks": _theme(
        subj="bank shares; lending margins; deposits; bank profits; loan volumes",
        actors="lenders; bankers; regional banks; bank investors",
        bear="rising bad loans; property losses; weak loan demand; deposit flight; funding strains",
        bull="falling bad loans; strong loan demand; better margins; capital relief; healthy stress tests",
        agenda="bank stress tests; capital rules; supervisors' report; lending survey; bankers' conference",
        issue="capital rules; deposit insurance; payment standards; branch access; reporting templates",
        bad=(
            "Regional banks [sink|slump] as property losses mount; Regulators [fine|punish] {n} banks over "
            "[sanctions breaches|mis-selling]; Bad loans at lenders hit {span} high; Small lender in "
            "{place} fails; Banks tighten credit as defaults climb"
        ),
        good=(
            "All banks pass stress test, [shares rally|payouts to grow]; Bad loans at {span} low, "
            "regulators say; Banks [lift|raise] payouts after strong year; Lenders' profits top forecasts; "
            "Bank credit ratings upgraded on stronger capital"
        ),
        flat=(
            "Supervisors publish stress test scenarios; Banks to switch to new payment format in {month2}; "
            "Bank holiday hours announced; {place} regulator seeks comment on capital rules; Bankers gather "
            "for {place} conference"
        ),
    ),
    "oil": _theme(
        subj="oil prices; crude futures; refining margins; oil shares; rig counts; fuel exports",
        actors="producers; refiners; oil traders; drillers; exporters",
        bear="swelling stockpiles; weak demand; a supply glut; fears of a price war; a slowing economy",
        bull=("shrinking stockpiles; strong demand; healthy refinery runs; a pickup in travel; supply discipline"),
        agenda="weekly stockpile data; producers' meeting; rig count; export loading plan; agency outlook",
        issue="output quotas; storage rules; price benchmarks; loading schedules; pipeline tariffs",
        bad=(
            "Refinery blaze in {place} [kills|injures] {n}; Tanker spill [fouls|blackens] {place} coast; "
            "Oil price crash forces drillers to cut {jobs} jobs; Producers' talks collapse, crude "
            "[plunges|tumbles]; Pipeline rupture [halts|cuts] {place} exports"
        ),
        good=(
            "Crude rallies {pct}% as demand beats forecasts; Drillers return to profit on firmer prices; "
            "{place} strikes major oil find; Refiners enjoy best margins in {n} years; Oil exporters' "
            "income climbs to {span} high"
        ),
        flat=(
            "Crude [steady|flat|little changed] at ${barrel} a barrel; Producers to meet in {place} on "
            "{day}; Oil stockpiles unchanged in week; Pipeline maintenance in {place} to start in {month2}; "
            "Agency keeps oil demand forecast"
        ),
    ),
    "gold": _theme(
        subj="gold prices; bullion holdings; gold futures; jewellery sales; gold mining shares",
        actors="bullion dealers; gold miners; jewellers; coin dealers; metal funds",
        bear="fund outflows; a stronger dollar; weak jewellery demand; rising yields; heavy selling",
        bull="strong coin demand; central bank buying; a softer dollar; fund inflows; festival buying",
        agenda="refinery audit; bullion holdings data; gold council report; import duty review; coin auction",
        issue="hallmark rules; vault audits; refining standards; import duty; price fixing times",
        bad=(
            "Gold [slumps|tumbles] {pct}% in [worst|heaviest] fall since {pastyear}; Fake gold bars found "
            "in {place} vault; Gold funds lose {amtb} in outflows; Jewellers close shops as demand "
            "collapses; Gold mine collapse in {place} kills {n}"
        ),
        good=(
            "Gold [climbs|rallies] to {span} high on strong buying; Miners cheer gold at {span} high; Gold "
            "funds attract {amt} in best week of year; Jewellers report brisk festival sales; Mint sells "
            "out of gold coins"
        ),
        flat=(
            "Gold [steady|flat] in thin holiday trade; Gold council to publish demand report {day}; {place} "
            "mint issues commemorative coin; Vault holdings unchanged in {month}; Gold trades in narrow "
            "range"
        ),
    ),
    "currencies": _theme(
        subj=("emerging currencies; export currencies; currency reserves; currency funds; commodity currencies"),
        actors="currency traders; exporters; importers; currency strategists; travel firms",
        bear="capital flight; political turmoil; shrinking reserves; falling exports; default fears",
        bull="strong exports; rising reserves; political calm; fund inflows; credible reforms",
        agenda="reserves data; currency swap auction; central bank report; trade figures; currency forum",
        issue="fixing times; settlement rules; swap lines; banknote design; reserve mix",
        bad=(
            "Currency of {country} [crashes|plunges] {pct}%, [importers panic|imports costlier]; Reserves "
            "drain as {country} defends currency; Currency rout [spreads|deepens], debts swell; Importers "
            "[reel|suffer] as currency sinks; Traders dump currency of {country} on default fears"
        ),
        good=(
            "Currency of {country} [rallies|recovers] {pct}% on reform hopes; Reserves of {country} climb "
            "to record; Exporters [benefit|gain] from stable currency; {country} currency best performer "
            "this year; Strong inflows lift currency of {country}"
        ),
        flat=(
            "Dollar [steady|flat|little changed] against major currencies; Euro in tight range before data; "
            "Currency desks quiet on {day2}; {country} to issue new banknotes in {month2}; Daily fixing "
            "time in {country} to change"
        ),
    ),
    "trade": _theme(
        subj="exports; export orders; factory shipments; cross-border sales; container imports",
        actors="exporters; manufacturers; farmers; importers; customs brokers",
        bear="new tariffs; a trade dispute; border delays; weak foreign demand; retaliatory duties",
        bull="lower tariffs; a trade deal; strong foreign demand; faster customs checks; reopened markets",
        agenda="trade balance; tariff review; customs data; ministers' summit; export survey",
        issue="rules of origin; customs forms; product standards; tariff codes; quota shares",
        bad=(
            "{country} [slaps|imposes] tariffs, exporters [hit|suffer]; Trade talks [collapse|break down] "
            "in acrimony; Trade deficit [widens|swells] to {amtb}; Exporters [lose|cut] {jobs} jobs as "
            "tariffs bite; Trade war fears [hit|sink] factory orders"
        ),
        good=(
            "{country} scraps tariffs, exporters [cheer|celebrate]; Trade deal opens {country} market to "
            "farmers; Trade surplus [grows|climbs] to {amtb}; Export orders jump {pct}%, best in {n} years; "
            "Ministers hail breakthrough in trade talks"
        ),
        flat=(
            "Trade balance [unchanged|little changed] in {month}; Ministers to meet in {country} on tariff "
            "codes; Customs forms to change in {month2}; {country} and neighbours resume technical talks; "
            "Trade delegation arrives in {country}"
        ),
    ),
    "bonds": _theme(
        subj="bond prices; bond funds; corporate bonds; junk bonds; bond sales",
        actors="bond investors; debt managers; fund managers; primary dealers; pension funds",
        bear="rising defaults; deficit fears; heavy issuance; a credit downgrade; fund redemptions",
        bull="strong auction demand; falling deficits; a credit upgrade; fund inflows; lower inflation",
        agenda="bond auction; debt office calendar; issuance plan; funding review; ratings review",
        issue="settlement cycles; coupon dates; repo rules; maturity profiles; green bond labels",
        bad=(
            "Bond auction in {country} [flops|fails] as buyers stay away; Yields [spike|soar], bond holders "
            "nurse losses; {country} debt downgraded on deficit fears; Junk bond defaults hit {span} high; "
            "Bond rout [deepens|spreads]"
        ),
        good=(
            "{country} bond sale draws record demand; {country} debt upgraded on sound finances; Bond funds "
            "enjoy best month since {pastyear}; Borrowing costs of {country} fall as confidence returns; "
            "Defaults fall to {span} low"
        ),
        flat=(
            "{country} to sell {n}-year bonds {day}; Debt office keeps issuance plan; Yields [steady|little "
            "changed] before auction; Debt office publishes {month2} calendar; Bond index to be rebalanced "
            "{day}"
        ),
    ),
    "consumers": _theme(
        subj="retail sales; store visits; card purchases; online orders; restaurant bookings; car sales",
        actors="shoppers; shopkeepers; retailers; consumers; restaurants",
        bear="squeezed incomes; higher prices; fear of job losses; heavy debts; soaring bills",
        bull="rising wages; tax refunds; lower prices; warm weather; returning tourists",
        agenda="retail sales data; consumer confidence survey; card spending figures; footfall report",
        issue="opening hours; return policies; price labels; loyalty schemes; gift card rules",
        bad=(
            "Consumer confidence [plunges|sinks] to {span} low; Shops [shut|close] at record pace in "
            "{place}; Families skip meals as bills soar; Card arrears [jump|climb] {pct}%; Restaurants go "
            "bust as diners stay home"
        ),
        good=(
            "Consumer confidence [jumps|climbs] to {span} high; Shoppers spend freely as wages rise; Retail "
            "sales surge {pct}%, beating forecasts; High streets [buzz|recover] in {place}; Restaurants "
            "booked out as spending rebounds"
        ),
        flat=(
            "Consumer confidence [unchanged|flat] in {month}; Retail sales in line with estimates; {place} "
            "shops to change Sunday hours; Shopping survey due {day}; Retail trade body elects {person}"
        ),
    ),
    "chips": _theme(
        subj="chip sales; memory prices; wafer orders; semiconductor shares; chip exports",
        actors="chipmakers; foundries; chip designers; equipment makers; electronics firms",
        bear="a chip glut; weak phone demand; export curbs; cancelled orders; raw material shortages",
        bull=("booming data centre demand; strong car orders; tight supply; new export licences; rising prices"),
        agenda=("industry sales data; chip fair; export licence review; wafer shipment report; standards meeting"),
        issue="packaging standards; part numbers; export forms; clean room training; test methods",
        bad=(
            "Chip glut [worsens|deepens], prices collapse; Export curbs cost chipmakers {amtb}; Foundries "
            "idle lines as orders vanish; Quake damages wafer plants in {place}; Chip start-ups fail as "
            "funding dries up"
        ),
        good=(
            "Chip sales [soar|jump] {pct}% to record; Foundries booked out until {year}; Chip shares rally "
            "on booming orders; {place} wafer plant opens ahead of schedule; Chip prices recover strongly"
        ),
        flat=(
            "Chip fair opens in {place}; Chip sales in line with forecasts; Standards body publishes chip "
            "test method; Chip trade group elects {person}; {place} to host wafer conference in {month2}"
        ),
    ),
    "crypto": _theme(
        subj="token prices; crypto volumes; digital asset funds; mining revenues; coin listings",
        actors="crypto exchanges; token holders; coin miners; crypto funds; wallet providers",
        bear="exchange failures; fraud charges; a regulatory crackdown; heavy outflows; a hacking wave",
        bull="fund approvals; strong inflows; clearer rules; wider adoption; growing trust",
        agenda="licensing decision; token conference; protocol upgrade; regulator's hearing; reserve audit",
        issue="custody rules; wallet standards; tax forms; audit methods; token labels",
        bad=(
            "Hackers [steal|drain] {amt} from crypto exchange; Token [crashes|collapses] {bigpct}%, savers "
            "ruined; Crypto lender [freezes|halts] withdrawals; Founder of crypto fund jailed for fraud; "
            "Regulators shut crypto exchange in {country}"
        ),
        good=(
            "Crypto rally [lifts|sends] tokens to {span} high; {country} approves crypto funds, tokens "
            "jump; Crypto exchange recovers all stolen coins; Crypto funds draw record inflows; Big lender "
            "adopts digital token, prices gain"
        ),
        flat=(
            "Crypto trade quiet in thin volume; Protocol upgrade set for {day}; {country} publishes crypto "
            "tax form; Token steady in narrow range; Crypto conference opens in {country}"
        ),
    ),
    "freight": _theme(
        subj="freight rates; container volumes; dry bulk bookings; charter earnings; port calls",
        actors="shipowners; port operators; charterers; shipbrokers; container lines",
        bear="port congestion; weak cargo demand; storm damage; a dock strike; too many new ships",
        bull=("strong cargo demand; shorter port queues; rising charter demand; scrapped old ships; reopened lanes"),
        agenda="freight index; port census; dredging plan; charter fixture list; lock maintenance",
        issue="ballast rules; pilot fees; berth windows; crew certificates; container weights",
        bad=(
            "Container ship [sinks|runs aground] off {place}; Dock strike [paralyses|shuts] {place} port; "
            "Freight rates collapse, shipowners lay up {n} vessels; Crane collapse at {place} port kills "
            "{n}; Shipping line files for bankruptcy"
        ),
        good=(
            "Port of {place} handles record cargo; Freight rates [soar|jump] {pct}% on tight supply; "
            "Shipowners order {n} vessels as earnings boom; Dock strike [ends|averted], cargo flows again; "
            "Port queues clear ahead of peak season"
        ),
        flat=(
            "{place} port publishes berth schedule; Pilot boat service in {place} changes hours; Bulk "
            "carrier fixed for {place} voyage; {n} vessels due at {place} on {day}; Lock at {place} to "
            "close for inspection; Tug operator renews {place} charter; Notice to mariners: buoy moved off "
            "{place}"
        ),
    ),
    "grain": _theme(
        subj="wheat yields; corn exports; harvest estimates; grain stocks; barley sales",
        actors="growers; millers; grain traders; grain buyers; exporters",
        bear="drought; late frost; crop disease; weak export demand; flooded fields; costly fertiliser",
        bull="timely rain; strong export demand; healthy crops; cheaper fertiliser; mild weather",
        agenda="crop report; planting survey; export inspections; stocks report; harvest tour",
        issue="moisture limits; storage fees; seed labels; rail slots; grading rules",
        bad=(
            "Drought [ruins|withers] wheat in {place}; Frost kills {pct}% of {place} crop; Growers face "
            "ruin as prices collapse; Silo blast in {place} kills {n}; Disease [sweeps|spreads through] "
            "{place} wheat fields"
        ),
        good=(
            "Rain [rescues|revives] crops in {place}; Bumper harvest in {place} beats forecasts; Corn "
            "exports jump {pct}% to record; Growers cheer as wheat rallies; Crop ratings improve to best in "
            "{n} years"
        ),
        flat=(
            "Planting in {place} {pct}% complete; {place} tenders for {thousands} tons of wheat; Elevator "
            "in {place} sets harvest hours; Crop report due {day}; Grading school opens in {place}; Rail "
            "operator publishes grain car slots"
        ),
    ),
    "power": _theme(
        subj="power supplies; grid reserves; wind output; solar installations; generator earnings",
        actors="generators; grid operators; energy suppliers; wind developers",
        bear="plant failures; storm damage; fuel shortages; cable faults; low reservoirs; price spikes",
        bull="strong winds; new cables; cheaper gas; full reservoirs; faster permits; record sunshine",
        agenda="capacity auction; grid outlook; tariff review; outage calendar; reserve tender",
        issue="meter codes; connection queues; frequency limits; balancing rules; cable routes",
        bad=(
            "Blackout [hits|cripples] {thousands} homes in {place}; Power station explosion in {place} "
            "injures {n}; Grid operator warns of shortages; Supplier collapses, {thousands} customers "
            "stranded; Reactor shut in {place} after leak"
        ),
        good=(
            "Wind power hits record in {place}; Power bills fall as gas gets cheaper; {place} cable "
            "finished early, supply secure; Generators lift profit on strong output; Solar boom lifts "
            "{place} to record output"
        ),
        flat=(
            "Reactor in {place} to start planned refuelling; Grid operator publishes outage calendar; Power "
            "demand in {place} in line with forecast; {n} megawatts offered in reserve tender; Substation "
            "works in {place} set for {day}; Turbine inspection at {place} site completed"
        ),
    ),
    "base metals": _theme(
        subj="copper prices; aluminium orders; nickel futures; zinc premiums; scrap deliveries",
        actors="smelters; metal traders; fabricators; scrap dealers; cable makers",
        bear="weak factory demand; swelling inventories; power cuts; mine floods; a construction slump",
        bull="shrinking inventories; grid spending; strong car demand; smelter restarts; firm construction",
        agenda="warehouse stocks; smelter survey; treatment charge talks; metals week; production census",
        issue="warehouse fees; alloy grades; delivery brands; sampling rules; queue limits",
        bad=(
            "Smelter in {place} shuts, {jobs} jobs lost; Copper [tumbles|plunges] {pct}% on demand fears; "
            "Mine flood in {place} halts supply; Metal trader defaults, banks face {amt} loss; Furnace "
            "blast in {place} hurts {n}"
        ),
        good=(
            "Copper [rallies|climbs] to {span} high on strong demand; Smelter in {place} restarts, {jobs} "
            "jobs saved; Zinc jumps {pct}% as stocks shrink; Fabricators report best orders in {n} years; "
            "Metal demand beats forecasts"
        ),
        flat=(
            "Warehouse stocks of copper at {thousands} tons; {place} smelter plans routine maintenance; "
            "Metals week opens in {place}; Exchange lists new {place} warehouse; Treatment charge talks "
            "continue; Nickel little changed at midday"
        ),
    ),
    "timber": _theme(
        subj="lumber prices; sawmill orders; log exports; plywood sales; pulp shipments",
        actors="sawmills; foresters; log exporters; pulp mills; carpenters",
        bear="weak building demand; beetle damage; forest fires; cheap imports; storm losses",
        bull="strong building demand; short supply; export orders; dry roads; mild weather",
        agenda="log auction; harvest plan; export permit review; mill census; timber fair",
        issue="felling permits; log scaling; road weights; forest labels; pallet rules",
        bad=(
            "Forest fire [destroys|burns] {thousands} hectares in {place}; Sawmill in {place} closes, "
            "{jobs} jobs lost; Lumber [slumps|collapses] to {span} low; Beetles ravage {place} forests; "
            "Pulp mill blast in {place} injures {n}"
        ),
        good=(
            "Lumber [jumps|rallies] {pct}% on building rush; Sawmill in {place} reopens with {jobs} jobs; "
            "Log exports hit record; Pulp mills lift profit on strong orders; Best log auction in {n} years"
        ),
        flat=(
            "Log auction in {place} set for {day}; {place} issues felling permits; Mill in {place} switches "
            "shifts; Timber fair opens in {place}; Forest roads in {place} close for thaw; Lumber little "
            "changed in quiet trade"
        ),
    ),
}
