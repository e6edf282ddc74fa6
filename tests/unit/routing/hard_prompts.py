"""Prompts of our own that deceive a reader of words: hard ones without tell-tale words, and easy ones that look hard.

`HARD` and `EASY` were written before the rules of their day were changed, `HARD_LATER` and `EASY_LATER` after, and
`HARD_LAST` against what the rules had then learnt. The rules were cut back after each of the last two.
"""

from __future__ import annotations

HARD = tuple(
    """\
The lease says nothing on paint, but an annex that I never signed does. Where do I stand?
Our supplier went bankrupt after we paid half. Who owns the machines on his floor?
My uncle left the house to me in a letter and to his wife in the will.
The seller knew of the damp and kept quiet. We have signed. What is left to us?
The contract names two courts, one in each annex. Which of them is it?
A driver swerved to miss a child and hit my parked car. Who pays?
Our former engineer now sells what he built with us, from memory.
The clause caps damages at the fee, and the fee was waived.
Can the landlord evict me for this?
The tenant stopped paying when the lift broke. May we keep the deposit?
They want me to sign away a claim that I do not know yet.
A partner left the firm and took three clients along. Is that a breach?
My employer reads my private mail on the office phone. What can I do?
The insurer says the flood was a backwater. Is it right?
We used a photo that an agency says is hers, and the agency is in another country.
Her visa ended a day before the offer came. What now?
The board voted while one director was in hospital. Does the vote hold?
A minor bought the car and the dealer wants it back.
Two wills, same day, one typed and one by hand. Which counts?
The hospital lost his file and the deadline is next week.
What dose of warfarin is safe with amiodarone?
She is eight weeks pregnant and takes lithium. Stop it?
A man of 71 on warfarin has begun St John's wort and feels dizzy. What matters most over the next day?
He fell, seems fine, and takes blood thinners.
My father's potassium is 6.1 and he feels well.
The rash came on day nine of the antibiotic. Go on with it?
Both knees swell in the morning, her eyes are dry, and the tests are clean.
Her heart rate is 48 and she wants the same pill for her pressure.
A child of four swallowed a battery an hour ago and plays as before.
The fever is gone but the lab says the number doubled.
Which of the two drugs goes first when the kidneys fail and the sodium is low?
He sees double only when he looks down. Where is the lesion?
Is metformin fine with a clearance of 28?
The scan shows a shadow of 7 mm in a smoker of 52.
Wound is clean, pain is far beyond what one would expect.
How long after the stroke may she fly?
Insulin at night, low in the morning, high before lunch.
The mother is Rh negative and bled a little at week twelve.
What would make you doubt the diagnosis of asthma in this woman?
Her mood lifted within two days of the new pill, and she sleeps three hours.
Show that among any six people there are three friends or three strangers.
Is every continuous bijection between compact spaces open?
There are infinitely many primes of the form 4k + 3. Why?
A sequence has every subsequence with a convergent subsequence. What follows?
Is the sum of two measurable functions always measurable when they take infinite values?
Can a set be both meagre and of full measure?
Does this hold without the axiom of choice?
What is the smallest group with no abelian normal subgroup besides the trivial one?
Find all functions f with f(x + f(y)) = f(x) + y.
Is 91 a witness for the compositeness of 561?
How many ways are there to tile a 2 by n strip so that no four corners meet?
Where is the error: all horses have the same colour, by induction?
Give a matrix whose square root does not exist.
The series converges at every point, and the limit jumps. How can that be?
What is wrong with this definition of a limit?
Is P equal to NP?
A coin lands heads until it does not. What is the law of the longest run?
Which graphs can be drawn on a torus without crossings?
Why does this deadlock?
Each worker holds one row and waits for the other's. It began with the second index.
The counter is off by one, about once in a million requests.
It works under the debugger and hangs without it.
The test passes alone and fails with the others.
Two threads, one flag, no lock. When does it break?
The queue drains, the memory does not.
Writes are seen by one reader and not by the other for a second or so.
Under load the pool is empty, yet nothing is running.
Can a reader see the pointer before the object it points to?
Our leader was elected twice in the same term.
The cache and the database disagree on Mondays.
Messages arrive in order in the test and out of order in production.
We retry, and the customer is charged twice.
Who frees the buffer when the callback fails?
Is it fine to call this from inside the signal handler?
Latency doubles when we add the second core.
What happens to the lock if the process dies in between?
The snapshot is consistent and the restored state is not.
The timeout fires, and then the answer comes.
A customer offers to pay two years ahead at 40 % off. Take it?
We have cash for nine months and a covenant on recurring revenue.
The bond pays more than the stock of the same firm. What does that say?
Is this a good hedge for my portfolio?
Rates rise by a point. Which of our loans hurts first?
The deal adds to earnings and takes from cash.
Sell the building and rent it back?
Our margin rose while every product's margin fell.
Who bears the currency risk in this arrangement?
The fund is up 12 % a year and nobody can say from what.
Buy back shares or pay down the loan at 6 %?
The auditor wants the rebate booked as revenue. Is she right?
The option is cheap and the volatility is low. What am I missing?
He wants half of the firm for what he put in last year.
Half of our stores make money, but the weak ones bring in the web shop's customers.
Our biggest customer asks for an exclusive. What do we give up?
A rival gives away what we sell.
We can win the tender at a loss.
Do we enter the market now or let the other burn his money first?
Two founders, one wants to sell.
The best team works on the product that nobody buys.
What would tell us that we are wrong?
The union and the bank want opposite things by Friday.
We promised both customers the same date.
Our prices are half of theirs and we still lose. Where would you look?
The pilot went well at the one site that volunteered.
Who should hear of the breach first, and what do we say?
Keep the old platform alive for its three last customers?""".splitlines()
)
"""Law, medicine, proofs, concurrency, finance and strategy, where a cheap answer is dear."""

EASY = tuple(
    line.replace(r"\n", "\n")
    for line in r"""I have to prove my identity, where do I upload my passport?
How do I prove that I am the owner of the account?
I cannot prove my address, which papers do you take?
My card was declined at the pharmacy, can I use it again?
Where do I find the contract in the app?
How do I change the address for the delivery of my legal documents?
How do I cancel my subscription?
How can I reset my password?
Where can I see my last invoice?
When will my parcel with the algorithms book arrive?
I would like to change my PIN.
I want to return the quantum physics book.
My order has not arrived yet.
The transfer is still pending, when will it arrive?
Can I pay by bank transfer?
What time does the pharmacy in Ward Street close?
Who wrote The Critique of Pure Reason?
When was the Magna Carta signed?
Where was Emmy Noether born?
Who proved Fermat's last theorem?
What is the capital of Mongolia?
What is the boiling point of ethanol in degrees Celsius?
When did the French Revolution begin?
Who is the author of The Wealth of Nations?
Which year did the Berlin wall fall?
What does HTTP stand for?
What is the plural of hypothesis?
What is the chemical symbol for tungsten?
How many days are there in a leap year?
How do you spell onomatopoeia?
Who painted the Sistine Chapel?
Where is the headquarters of the European Central Bank?
When does the tax office open?
What is the abbreviation for electroencephalography?
Who discovered penicillin?
hello
thanks, that solved the deadlock!
ok, thank you very much
Great, perfect
good morning
Classify the clause as one of: liability, payment, term.\n\nThe supplier is liable for gross negligence only.
Label the abstract with one of these categories: algebra, analysis, topology.\n\nWe prove that every ring is a sum.
Which of these labels fits: theorem, lemma, definition?\n\nA ring is a set with two operations such that it is a group.
Triage the note: urgent, routine or admin. Reply with the label.\n\nShe asks for a copy of her cardiology letter.
Is the tone of this review positive or negative?\n\nThe proof in chapter nine is beautiful and the index is a mess.
Categorise the ticket: refund, delivery, other.\n\nI have proof that the courier never rang.
Assign one of these tags: bug, praise, question.\n\nThe optimizer is wonderful and the concurrency just works.
Classify the e-mail as spam or not spam.\n\nInvest in our derivative strategy, the hedge that banks fear.
Answer with yes or no: does the note mention a dose?\n\nWarfarin 5 mg daily, next visit in May.
Answer yes or no. Does the sentence name a court?\n\nThe parties submit to the courts of Lyon.
Extract the drug names.\n\nThe patient takes amiodarone 200 mg and warfarin 5 mg, no allergies.
Extract the parties and the date.\n\nThis agreement is made on 3 May 2024 between Oriel Ltd and Bastion GmbH.
Extract all theorem numbers.\n\nBy Theorem 3.2 and Lemma 4.1, the claim of Theorem 5 follows.
Pull out the amounts.\n\nThe derivative was settled at 410,000 EUR, the collateral of 55,000 EUR was returned.
List the names in the text.\n\nThe motion of Ms Ortega was denied by Judge Abara; Mr Lind appealed.
List all dates in this paragraph.\n\nThe appeal was filed on 4 March, heard on 9 June and decided on 1 July.
Find the case number in the text below.\n\nIn the matter of Harlan v. Ives, docket 22-1187, the court adjourned.
Copy the ICD code out of the note.\n\nDx: atrial fibrillation (I48.91), on anticoagulation, stable.
Sort these names by alphabet: Turing, Goedel, Church, Kleene.
Rank these bonds by coupon, highest first:\n- Alba 4.1 %\n- Corvo 5.3 %\n- Dane 3.9 %
Sort the list by date:\n- 3 May 2021 hearing\n- 1 May 2020 filing\n- 9 June 2021 judgment
Rank the drugs by dose, lowest first:\n- apixaban 5 mg\n- warfarin 3 mg\n- aspirin 100 mg
Do the two sentences mean the same? Yes or no.\n1: The court dismissed the claim.\n2: The claim was dismissed.
Is sentence 2 a paraphrase of sentence 1?\n1: The lock is held.\n2: Nobody holds the lock.
Does the second sentence follow from the first? Answer yes or no.\nA: All rings are groups.\nB: Some rings are groups.
Question: When was the appeal filed?\nText: The claim was brought in May. The appeal was filed on 3 June.
Question: Who held the lock?\nLog: worker 7 took the lock at 10:02. worker 9 waited for it until 10:05.
What is the dose in this note?\n\nMs Adeyemi, 61. Amiodarone 200 mg once a day, INR weekly, next visit on 4 May.
Who signed the agreement below?\n\nIt was signed in Turin on 9 May by Ada Conti for Lumen and Jo Park for Vale.
How much was the fee in the text below?\n\nThe arbitration took nine days. The fee of the tribunal was 41,200 EUR.
When does the option expire, by the text below?\n\nThe call, struck at 40, expires on 19 June and settles in cash.
What are the topics in the sentence: the scheduler starves the writer when two readers hold the lock.
Which company is named in this sentence? The derivative desk of Marlow Bank closed in May.
Is this review negative?\n\nThe monograph on stochastic calculus came with torn pages and I want my money back.
Positive or negative?\n\nThe proof assistant is a joy.
Was the customer satisfied or dissatisfied?\n\nThe anatomy atlas came late, but the plates are superb.
Which language is this text in?\n\nDie Beweislast liegt beim Verkäufer.
Is this e-mail about billing or delivery?\n\nThe treatise on tort law is still not here.
Is the following message spam? Answer yes or no.\n\nYour hedge fund account is locked, click to prove who you are.
Does the text mention a contract? Answer yes or no.\n\nThe annex to the lease was signed in Riga.
Where do I upload the medical certificate?
How do I add a second signatory to my account?
I forgot my password and the app is locked.
I have not received my refund for the law textbook.
My card has not arrived.
Why has my order not been delivered yet?
I was charged twice for my order of Principia Mathematica.
The app does not accept my password.
How long does the delivery take?
Do you deliver to Norway?
Where is my parcel?
Can I change the delivery date of my order?
Can I get a refund for my course on optimal control?
What are your opening hours?
How much does the delivery cost?
Please send me the invoice of my last order again.
Please cancel my order of the differential geometry course.
I need to update my phone number.
How do I close my account?
Do you accept gift cards for the bar exam course?
My voucher for the chess strategy course does not work.""".splitlines()
)
"""Tickets, lookups, labels and extraction with long words, legal or mathematical matter, or "prove" in them."""

HARD_LATER = tuple(
    line.replace(r"\n", "\n")
    for line in r"""My ex emptied our joint account the day before the hearing. Can I get it back?
I paid for the course and the school closed. Who owes me what?
The bank froze my account over a transfer from my brother abroad. What are my options?
Our landlord sold the flat. Does my rent go on as it was?
The parcel was signed for by a neighbour who denies it. Whose loss is it?
He gave notice by text message. Is that enough?
The licence says share alike and we link to it at run time. Must we publish?
My co-author put my chapter under his name in another country.
A court abroad ordered us to hand over mails that our own law protects. Which one do we obey?
They offer a settlement that ends on Monday and say nothing of costs.
My son took two of his grandfather's heart pills. He is three.
She stopped the steroid on her own last week and is now faint and cold.
When may he start the blood thinner again after the bleed?
Two tests say no, the picture says yes. Treat?
His sodium went from 112 to 128 overnight. Good news?
What else could it be, if the lumbar puncture is clean?
The tremor is gone at rest and back when she reaches.
Can these three be taken together: tramadol, sertraline, linezolid?
Her calf is swollen since the flight and she is on the pill.
Who was right about the hidden variables, Einstein or Bohr, and by which experiment?
Does the series of the reciprocals of primes converge?
Is the rank of a matrix stable under small changes of it?
Every bounded sequence in this space has a weak limit. When is it strong?
Where does the argument use that the field is closed?
Colour the plane so that no two points at distance one agree. How few colours?
Was the use of Zorn's lemma needed there?
What is the order of the automorphism group of the Petersen graph?
How many spanning trees does the cube have?
Two servers hold the same lease after the network came back.
The payment goes through, the order is lost, and the log shows both as done.
Our transactions roll back only on the replica.
My app freezes when the phone is turned while a request is out.
Why is my transaction slower with the index than without?
The lock is released in the finally block and still held.
Do I need a barrier after the write?
One worker gets all the orders, the seven others idle.
Is the yield worth the maturity here?
The invoice is in dollars, our costs are in yen, and the year closes in June.
I can top up my pension or pay the mortgage. Which?
A refund of the deposit would breach our covenant. What do we tell the client?
We lose the account if we raise the price, and money if we do not.
Close the plant or retool it?
Should the vouchers be booked as debt?
Our investor wants the option pool before the round, not after.
Are we a platform or a shop?
The regulator asks for a plan by noon and the plant is still on fire.
Is this message a threat or a joke? He wrote: see you at the gate, bring the papers.
Does the note amount to a resignation or not?\n\nI have had it. Find somebody else for Monday.
When did the limitation begin?\n\nThe roof was built in 2009, leaked first in 2014, and was repaired without success.
Sort these creditors by rank: the bank with a pledge, the tax office, the workers, my aunt.""".splitlines()
)
"""The same, written later. Some lean on the very forms that rules are tempted to trust."""

EASY_LATER = tuple(
    line.replace(r"\n", "\n")
    for line in r"""How do I get a copy of my contract?
Where can I download my tax statement?
My login stopped working this morning.
I ordered the wrong edition of the anatomy atlas, can I send it back?
Has my payment for the conference on proof theory gone through?
How do I turn off the notifications?
Is the museum open on Mondays?
Can I bring a guest to the lecture on game theory?
What is the fee for a replacement card?
I never got the confirmation e-mail.
Please change the delivery address of my order to 4 Mill Lane.
The voucher code is not accepted.
My subscription was renewed although I had cancelled it.
Do I need a passport to open an account?
Who founded the Red Cross?
Who was the first president of Brazil?
When was the euro introduced?
When did Ludwig Wittgenstein die?
Where was the Treaty of Westphalia signed?
In which year was insulin discovered?
What is the currency of Sweden?
What does NATO stand for?
What is the melting point of gallium?
How do you spell Nietzsche?
What time does the last train to Basel leave?
Which planet is the largest?
How far is it from Oslo to Bergen?
good evening
hello, thanks a lot
Perfect, bye
Put the ticket into one of these queues: fraud, cards, loans. Reply with the queue.\n\nSomebody proved to be me.
Is the sentiment positive, negative or neutral?\n\nA rigorous book, and dull.
Does this comment contain an insult? Yes or no.\n\nYour lemma is as empty as your head.
Do the sentences mean the same thing?\n1: The appeal failed.\n2: The court rejected the appeal.
Was this review written by a happy or an unhappy customer?\n\nThe theorem prover crashed twice a day.
Extract every company and its role.\n\nLender: Marlow Bank. Borrower: Oriel Ltd. Guarantor: Vale Holdings.
List all the drugs in the note.\n\nOn bisoprolol 2.5 mg and ramipril 5 mg; paracetamol as needed.
What are the names in this paragraph?\n\nJudge Abara heard Mr Lind and Ms Ortega.
Pull out the dates.\n\nFiled 4 March, heard 9 June.
Who signed the lease?\n\nThe lease of 3 May was signed by Jo Park for the owner, in Turin.
When does the warranty end?\n\nThe warranty of the pump ends on 14 August 2027, that of the motor later.
How much was the fine?\n\nThe authority fined the exchange 2.4 million EUR for late reports on 3 July.
Sort these by date, oldest first:\n- 9 June 2021 judgment\n- 1 May 2020 filing
Rank the loans by amount, highest first:\n- 12,000 at 4 %\n- 9,500 at 3 %
Order the names alphabetically: Noether, Abel, Galois.
Classify this paper as theory or experiment.\n\nWe prove a bound on the entropy of black holes.
Which tag fits, bug or wish?\n\nThe deadlock detector has no dark mode.
Copy the docket number from the text.\n\nIn the matter of Harlan v. Ives, docket 22-1187.
Categorise this expense: travel, food, books.\n\nIntroduction to Stochastic Calculus, 89 EUR.
Is this e-mail spam or not?\n\nDear friend, my late client left you a hedge fund.""".splitlines()
)
"""The same for the easy ones."""

HARD_LAST = tuple(
    line.replace(r"\n", "\n")
    for line in r"""How do I get my deposit back from a landlord abroad?
How do I split the account with my wife before the divorce?
Where do I stand with an order that the seller cancelled after payment?
I want to end the lease early and keep the refund.
Please change the clause so that we keep the account when he leaves.
I need to move my pension transfer before the new tax year.
My card has been used by my son for bets.
Which payment do I make first, the tax or the wages?
How do I order the proofs so that none is circular?
Can I get a refund of tax that my late mother paid?
I forgot two doses of the anticoagulant after the surgery.
I cannot feel my left hand since last night.
I was charged with a crime that my brother did.
My order has no inverse in this group.
Where does the payment of the option sit in our balance sheet?
How does the transfer of risk work when the ship is late?
When was the contract of Smith and Vale formed?
Who was at fault in the collision of the Andrea Doria?
Where was the Federal Reserve wrong in 1929?
Who wrote the buffer that the second thread reads?
Who changed the invariant between the two calls?
What is the symbol of the operator in this gauge?
What was the currency of the debt, for the purpose of the treaty?
Is the sentence too harsh? Answer yes or no.\n\nFour years for a first theft of 900 EUR.
Does this message bind us as an offer, yes or no?\n\nWe could do 400 a piece, if the boss agrees.
Are these two sentences of the will consistent, or do they not say the same thing?
List the risks in this paragraph.\n\nThe buyer takes over all debts, known or not.
Find the weak point in the text.\n\nSales fell when we raised prices, so prices must be cut.
Which of the drugs in the note has to go?\n\nTramadol, sertraline, linezolid; fever since noon.
What are the gaps in the text below?\n\nThe claim follows by compactness, since the net has a limit.""".splitlines()
)
"""Hard ones in the very forms that easy ones have."""
