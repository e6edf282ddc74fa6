"""Prompts of our own that deceive a reader of words: hard ones without tell-tale words, and easy ones that look hard.

They were written before the rules that they test, and no rule was fitted to them line by line.
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
    """\
I have to prove my identity, where do I upload my passport?
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
Triage the note: urgent, routine or admin. Reply with the label.\n\nThe patient asks for a copy of her cardiology letter.
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
Question: Who held the lock?\nLog: worker 7 took the lock at 10:02. worker 9 waited for it. worker 7 released it at 10:05.
What is the dose in this note?\n\nMs Adeyemi, 61. Amiodarone 200 mg once a day, INR weekly, next visit on 4 May.
Who signed the agreement below?\n\nThis agreement was signed in Turin on 9 May by Ada Conti for Lumen and Jo Park for Vale.
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
My voucher for the chess strategy course does not work.""".replace("\\n", "\n").split("\n")
)
"""Tickets, lookups, labels and extraction with long words, legal or mathematical matter, or "prove" in them."""
