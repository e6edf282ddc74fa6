"""Plain work is known by more than its verb: hard work that begins like it is left in doubt."""

from __future__ import annotations

from time import perf_counter

import pytest
from langchain_core.messages import HumanMessage
from unit.routing.hard_prompts import HARD, HARD_LAST, HARD_LATER

from langchain_tiered.routing import NO_TOOLS, classify_by_rules, facts_of
from langchain_tiered.routing.leaning import lean
from langchain_tiered.types import Classification, Facts, TierFacts

TIERS = tuple(TierFacts(name) for name in ("nano", "mini", "flagship"))


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.replace(r"\n", "\n") for line in text.splitlines())


LIKE_PLAIN_WORK = lines(
    r"""Classify all groups of order 12 up to isomorphism: give the full argument.
Classify the singularities of this vector field and solve it:\nx' = y, y' = -x + x^3
Triage this incident: two services deadlock under load, the pool is exhausted, and retries double.
Classify the legal risk of this clause and redraft it so that our liability is capped:\nWe pay all.
Label the flaws in this proof: Let n be even, then n squared is even, hence every square is even.
Extract the assumptions behind this theorem and show that it fails without each:\nEvery ring is a sum.
Sort these treatments by survival benefit for a 70-year-old with heart failure, highest first: ICD, drugs.
Do these two clauses mean the same thing under New York law? Clause A: best efforts. Clause B: all efforts.
Diagnose the patient: 54, chest pain radiating to the jaw, troponin normal, ST depression.
Solve this: the integral of x^2 sin x dx
Find the bug: two threads take locks in opposite order.
Rate the legal risk: we want to fire a pregnant employee
Break the goal into tasks: migrate 4 TB of Postgres
Classify the critical points of f(x, y) = x^3 - 3xy + y^3: give the type of each.
Classify the surfaces: a torus with two holes, a sphere with a cross-cap, a Klein bottle with a handle.
Categorise the failure modes of this bridge design and size the members:\nSpan 40 m, load 5 kN per m.
Classify this partial differential equation and reduce it to canonical form:\nu_xx + 2 u_xy + 5 u_yy = 0
Triage the patients below and say whom you would operate on first:\nA: 30, stab wound. B: 70, fall.
Triage this outage:\nThe primary lost quorum, the replica lags 40 minutes, and writes are still accepted.
Triage the ticket as urgent or routine, and propose a fix for the race behind it:\nTwo workers charge the same card.
Classify the e-mail as a binding offer or not, and argue it for the seller.\n\nWe could do 400 a piece.
Label this passage with one of these categories: valid, invalid, and prove the choice.\n\nAll A are B, some B are C.
Label the steps of this derivation that fail: expand the logarithm, swap the limit, take the sum.
Label each move with one of these tags: good, dubious, blunder, then explain the winning plan.\n1. e4 e5 2. Qh5
Assign these classes to rooms: maths at 9, physics at 9, law at 10, so that no teacher walks twice.
Assign the queues to servers: checkout, search, mail, such that no server is above 70 percent.
Route the tickets to one of these queues: billing, legal, fraud, and estimate the loss.\n\nIt was not me.
Extract the hidden premises from this argument.\n\nHe is rich, so he must be lucky.
Extract the obligations from this contract and assess which of them we breach:\nThe supplier delivers by 3 May.
Extract the dates from the note and decide whether the claim is time-barred.\n\nThe roof leaked in 2014.
Extract the names in the message and work out who owes whom how much, then propose a settlement.\n\nAnn paid for Bo.
Extract the leading asymptotics of this integral:\nThe integral from 0 to 1 of exp(-n x^2).
Extract the square root of 3 + 4i in closed form.
Pull out the weak points of this plea: the contract was never signed, the delivery was late.
Pull out the amounts, then advise which claims to drop.\n\nFee 400 EUR, damages 9,000 EUR.
Extract the drug names.\n\nAmiodarone, warfarin, linezolid, tramadol.\n\nThen explain which of them has to go.
List the dates in this note and explain whether the claim is barred.\n\nBuilt in 2009, leaked in 2014.
Rank these investments by risk-adjusted return, highest first: bonds, gold, small caps.
Rank these arguments, strongest first: the clause is void, the notice was late, the fee is a penalty.
Rank the treatments by expected benefit for this patient, largest first: stent, bypass, drugs.
Sort these proofs by length and show which of them is complete: A, B, C.
Sort these functions by growth, slowest first: n log n, n^1.5, (log n)^9, 2^sqrt(n).
Sort these creditors by rank in the insolvency, highest first: the bank, the tax office, the workers.
Order these steps of the synthesis so that the yield is highest first: reduction, protection, coupling.
Rank the suspects by likelihood, highest first: the butler, the cook, the nephew.
Do the two definitions of compactness mean the same thing in every metric space?
Do these two sentences of the treaty mean the same thing under the Vienna Convention rules?\n1: A. 2: B.
Are these two programs the same thing, or does one of them deadlock?\nA: lock a, lock b. B: lock b, lock a.
Does the note mean the same thing in law as a resignation?\n\nI have had it. Find somebody else.
Is the conduct in this message lawful or unlawful?\n\nWe both keep the price at 40.
Is the message constitutional or unconstitutional?\n\nNo assembly of more than three.
Does the text include an implied waiver of the warranty? Answer yes or no.\n\nSold as seen.
Is the sentiment in this letter positive or negative, and how should we answer to keep the client?\n\nWe are let down.
Classify this contract as a lease or a licence under English law.\n\nThe occupier has the keys, the owner may enter.
Classify the clause as valid or void and justify it.\n\nThe buyer waives all rights.
Categorise the risks: market, credit, operational, and hedge each of them.\n\nWe hold long bonds.
Classify the finite fields of order 8, 9 and 16 and give their multiplication tables.
Classify the isometries of the plane: show that each is a product of reflections.
Name: J. D.\nAge: 54\nComplaint: chest pain radiating to the jaw\nECG: ST depression
Task: underwrite the loan\nName: Ann Smith\nAge: 30\nAmount: 400,000
Name: Ann\nAge: 30\nApprove or deny the loan
Classify the surfaces: a torus, a sphere, a Klein bottle.
Label this ticket with one of these labels: refund, other. Ticket: it is late. Then explain who is liable.
Review: we are let down. Is the sentiment positive or negative, and how should we answer?
Triage the alerts: disk, memory, quorum.
Classify these conics: x^2 + 4xy + y^2 = 1, x^2 - y = 0
Extract the value of the option from this lattice so that no arbitrage is left:\nu = 1.1, d = 0.9
Classify the knots with up to seven crossings.
Classify this Lie algebra as nilpotent, solvable or semisimple, with a full derivation.\n[x, y] = z, [x, z] = y
Classify the following singular points as regular or irregular: x = 0 and x = 1 of x^2 y'' + x y' + y = 0.
Classify each of these contracts as debt or equity for tax purposes.\n\nA note without maturity, paid from profits.
Triage: which of these patients do you see first?\n- chest pain, 54\n- ankle, 20
Triage this ticket. Find the root cause too.\n\nWrites vanish when the leader changes.
Categorise the algorithms below by worst-case complexity and find the lower bound.\nA: two nested loops.
Label the functional groups in this molecule and predict its NMR spectrum: CC(=O)OC1=CC=CC=C1.
Label each argument with one of these tags: sound, unsound. Defend each tag.\n\nAll men are mortal.
Extract the requirements from this e-mail and turn them into an architecture.\n\nWe want 10,000 orders a second.
Extract the causal graph from this text and compute the effect of the treatment.\n\nSmoking causes tar.
Extract the names of the theorems used and fill the gaps in the proof.\n\nBy compactness the claim follows.
Extract the amounts from the text below and work out the settlement that is fair to both.\n\nAnn paid 40, Bo 90.
Parse the problem into variables and values, then find the optimum.\n\nTwo plants, three shops.
Rank these schemes by size of the key and by security against quantum attacks: RSA, ECC, lattice.
Rank these countries by size of the tariff shock: Norway, Chile, Japan.
Rank the theories from weakest to strongest: ZF, PA, PRA.
Sort these events by date and say which one started the limitation period: notice, delivery, defect.
Order the jobs by length so that the mean wait is least: 3, 5, 2 with release times 0, 1, 4.
Do these two sentences mean the same thing to a court?\n1: shall. 2: may.
Do these two statements have the same meaning in intuitionistic logic?\n1: not not A. 2: A.
Are the two texts paraphrases, or does the second shift the burden of proof?\n1: A. 2: B.
Does the message contain an offer capable of acceptance? Answer yes or no.\n\nWe could do 400.
Does the note mention anything that rules out thrombolysis? Yes or no.\n\nFell on Monday, INR 2.9.
Is the tone of this letter negative enough that we should settle?\n\nYou will hear from us.
Date: 3 May\nAmount: 400,000\nWho is liable for the loss?
Invoice: 88213\nTotal: 372\nIs the tax right?
What is the total exposure?\n\nWe hold 40 calls at 3.10 and are short 20 puts, delta 0.4.
How long may she fly after surgery?\n\nLung resection on 3 May, drain out on 6 May.
Who was at fault?\n\nCar A turned left at 40 km/h, car B ran the light at 70 km/h.
{"name": "loan", "amount": 400000, "age": 61, "question": "approve?"}
Triage the alerts into noise and signal, and say what broke first.\n\ndisk full, leader lost
Classify this message as a threat or a bluff, considering the game that both sides play.\n\nWe walk away at 40.
Categorise these transactions: loan, gift, sale. Then recharacterise what a tax court would not accept.\n\nDad gave 40k.
Label each clause with one of these tags: fair, unfair. Cite the case that supports each.\n\nNo refunds.
Extract the dates and parties, and on that basis compute when the limitation period ends.\n\nSigned 3 May 2014.
Extract every number from the report and reconstruct the missing balance sheet.\n\nSales 400, costs 310.
Pull out the names of the drugs that interact in this patient.\n\nTramadol, linezolid, sertraline.
Extract the order of the element g in this group and the structure of its centraliser.\n\ng = (1 2 3)(4 5)
Extract the value of x: x^x = 3
Sort the patients by age and then by urgency of the operation: Ann 40 appendix, Bo 9 torsion.
Rank the moves by number of replies that hold the draw: Kf5, Rd8, h4.
Rank these hypotheses, highest first, by posterior given the data: A, B, C.
Do these two sentences have the same truth value in every model?\n1: A. 2: B.
Is the statement 'all ravens are black' a paraphrase of its contrapositive for Hempel?
Is the reviewer of this paper positive or negative about lemma 4, and is he right?\n\nLemma 4 lacks a base case.
Does the e-mail mention a deadline? Answer yes or no, and if so, may we miss it without a penalty?\n\nBy 3 May.
What is the number of critical points?\n\nf(x, y) = x^3 - 3 x y + y^3 on the plane, with all derivatives.
How much should each pay?\n\nAnn paid 40 EUR and Bo 90 EUR for three who ate the same.
How many spanning trees does it have?\n\nThe graph has 5 vertices, and every two are joined by an edge.
Who inherits?\n\nHe died on 3 May 2020 without a will, left a wife, a brother and two nieces by a late sister.
Sort these drugs by price, cheapest first, and drop those that clash with warfarin: aspirin 3, ibuprofen 4.
Extract the names of the parties. Then advise who wins.\n\nOriel v. Vale.
Extract the date. Was the notice in time?\n\nNotice of 3 May, deadline 1 May.
Classify the ticket as bug or wish. Whose fault is it?\n\nIt crashes.
Rank the candidates by rating: A 4.1, B 3.9. Which one would you hire?
Is the sentiment positive or negative? Tell me what the board wants.\n\nNo comment.
Extract the topics and the contradictions between them.\n\nA is true. A is false.
Do these two statements mean the same thing? Give a counterexample in a finite group.\n1: A. 2: B.
Label this email with one of these intents: threat, offer. Outline our reply.\n\nPay or else.
Classify this phone call as abuse or not, weighing what the child and the mother say.\n\nTranscript: he fell.
Label this note with one of these tags: sepsis, flu, other, and start the treatment.\n\nFever 39, pressure 80/50.
Extract the names of all functions that can deadlock from the text below.\n\nf takes a then b, g takes b then a.
Extract the total amount we owe after set-off.\n\nWe owe 40, they owe 15, 9 is time-barred.
Extract the key numbers and model next year.\n\nSales 400, costs 310.
Pull out the entities, relations and contradictions.\n\nAnn says Bo left at nine, Bo says ten.
Sort these elements by number of inverses: 2 mod 4, 3 mod 5.
Rank the students by score, highest first, correcting for the curve: Ann 4, Bo 5.
Order the tasks by length of the critical path: a, b, c.
Do these two statements mean the same thing? Show it with truth tables.\n1: A. 2: B.
Is this review negative? Draft an answer that keeps the client.\n\nNever again.
Who signed the lease on behalf of the estate, and had he the power to?\n\nThe lease of 3 May names Jo Park.
How much was the fair value of the fine?\n\nThe authority fined the exchange 2.4 million EUR on 3 July.
Parse the date arithmetic: what is 40 business days after 3 May in Riga?
Which of the following categories fits the theorem? (algebra, topology) Then generalise it.\n\nA ring is a sum."""
)
"""Hard work in the words of plain work: judgements, second pieces of work, other senses of the verbs."""

PLAIN = lines(
    r"""Classify this ticket:\nMy parcel is late.
Classify the ticket as refund or delivery.\n\nMy parcel is late.
Categorise these comments: praise, complaint, question.\n\nThe app is slow.
Triage the e-mail: urgent, routine or spam.\n\nPlease call me back today.
Classify the following message into billing, delivery or other: My card was charged twice.
Please classify this review as positive or negative.\n\nIt broke after a day.
Label this ticket with one of these labels: refund, delivery, other.\n\nIt is late, explain why!
Extract the order number and the date from this e-mail.\n\nOrder 4711 of 3 May.
Extract the e-mail addresses.\n\nann@x.org, bo@y.org
Please extract the invoice number, the vendor and the total.\n\nInvoice 88213, Tallis, 372 USD.
Pull out the phone numbers.\n\nCall 555 1234 or 555 9876.
Sort these names alphabetically: Turing, Church.
Rank the flights by price, cheapest first:\n- A 90\n- B 70
Order these invoices by due date:\n- 3 May\n- 1 May
Sort the list by date, oldest first:\n- 3 May\n- 1 May
Rank these parcels by weight (heaviest first): 3 kg, 4 kg.
Do the two sentences mean the same thing?\n1: It rains.\n2: Rain falls.
Is the sentiment of this review positive, negative or neutral? Reply with the label only.\n\nFine.
Does the message mention a refund? Yes or no.\n\nLate kettle.
Classify this ticket: My parcel is late and the courier never rang.
Extract the name and the date from the message below.\n\nI am Ann, and on 3 May I should have got it.
Extract the sender, the amount and the due date. Return JSON.\n\nAnn owes 40 EUR until 3 May.
Extract all the company names and their addresses from the text.\n\nOriel Ltd, Mill Lane 4, Riga.
Categorise the transaction: food, travel, rent.\n\nSpar 12.40 EUR
Sort the following cities by population, largest first: Oslo 700k, Riga 600k.
Rank the products by rating: A 4.1, B 3.9."""
)

PLAIN_IN_A_SCHEMA = lines(
    r"""Read the invoice below into the fields.\n\nInvoice number: 88213\nVendor: Tallis\nTotal: 372.00 USD
Name: Ann Smith\nBorn: 3 May 1990
{"name": "Ann", "age": 30, "city": "Oslo"}
{\n  "name": "Ann",\n  "email": "ann@x.org"\n}
Extract the person from this text.\n\nAnn Smith, born 3 May 1990 in Oslo.
Extract the details of the order: two kettles, 40 EUR each, to Ann Smith in Oslo
Extract the desired information from the following passage.\n\nPassage:\nAnn Smith is 30.
Parse this receipt into the schema: Tea 3.20, Cake 4.10, total 7.30
Ann Smith, 3 May 1990.\nWhen was she born?
Extract the information below into the schema.\n\nAnn Smith, 30, Oslo
Please extract all the fields.\n\nInvoice 88213 of Tallis, 372 USD."""
)


def said(text: str, *, schema: bool = False) -> Classification | None:
    return classify_by_rules(facts_of([HumanMessage(text)], NO_TOOLS, schema=schema), TIERS)


def at_nano(text: str, *, schema: bool = False) -> bool:
    found = said(text, schema=schema)
    return found is not None and found["tier"] == "nano"


@pytest.mark.parametrize("schema", [False, True])
@pytest.mark.parametrize("text", LIKE_PLAIN_WORK)
def test_hard_work_in_the_words_of_plain_work_is_not_held_for_easy(text: str, schema: bool) -> None:  # noqa: FBT001  (a column of the table)
    assert not at_nano(text, schema=schema)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_labels_fields_and_orders_are_decided_without_a_call(text: str) -> None:
    assert at_nano(text)


@pytest.mark.parametrize("text", PLAIN_IN_A_SCHEMA)
def test_plain_fields_for_a_schema_are_decided_without_a_call(text: str) -> None:
    assert at_nano(text, schema=True)


@pytest.mark.parametrize("prompts", [HARD, HARD_LATER, HARD_LAST], ids=["first", "later", "last"])
@pytest.mark.parametrize(
    "lead",
    [
        "",
        "Task: ",
        "Answer the question below.\n\n",
        "Here is the input:\n",
        "Fill the schema.\n\nInput: ",
        "Return JSON for this request.\nRequest: ",
    ],
)
def test_a_schema_alone_makes_no_hard_question_easy(prompts: tuple[str, ...], lead: str) -> None:
    cheap = [text for text in prompts if at_nano(lead + text, schema=True)]
    assert len(cheap) <= 0.05 * len(prompts), cheap


@pytest.mark.parametrize("text", ["Find the bug: two threads take locks in opposite order.", "Where is my parcel?"])
def test_a_schema_does_not_move_the_lean(text: str) -> None:
    with_schema = lean(facts_of([HumanMessage(text)], NO_TOOLS, schema=True), TIERS)
    assert with_schema == lean(facts_of([HumanMessage(text)]), TIERS)


@pytest.mark.parametrize(
    ("text", "extracted"),
    [("", True), ("Here is the invoice.", True), ("Read it and diagnose.", False), ("Is it enforceable?", False)],
)
def test_a_file_for_a_schema_is_read_where_nothing_else_is_asked(text: str, extracted: bool) -> None:  # noqa: FBT001  (a column of the table)
    found = classify_by_rules(Facts(text=text, schema=True, turn_files=1), TIERS)
    assert (found is not None and found["task"] == "extract") == extracted


@pytest.mark.parametrize(
    "piece",
    [
        "classify this ",
        "classify this note: a, ",
        "a, b or ",
        "extract the name",
        "extract name and ",
        "name: a\n",
        "\nexplain",
        "sort the a ",
        "who a\n",
        "; then ",
        "what is the date in ",
        "parse a/",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    for start in ("", "Classify the note: ", "Extract the name ", "Who signed it?\n"):
        facts = Facts(text=start + piece * 20_000, schema=True)
        begun = perf_counter()
        classify_by_rules(facts, TIERS)
        assert perf_counter() - begun < 0.05
