"""Pairs of rules, made up by hand, with how the second stands to the first: to measure the grouping against.

As in `comment_table`: `WRITTEN_WITH` is what the measure was written with, `HELD_OUT` was written before it.
"""

from promptlearn.feedback.statements import Relation

Pairs = tuple[tuple[Relation, str, str], ...]

WRITTEN_WITH: Pairs = (
    ("same", "Always answer in the language of the customer.", "Answer in the customer's language."),
    ("same", "Never promise a refund date.", "Do not promise refund dates."),
    ("same", "Gift cards go to `Account`.", "Gift cards and vouchers always go to `Account`."),
    ("same", "Use at most three sentences.", "At most 3 sentences per answer."),
    ("same", "Avoid exclamation marks.", "Never use exclamation marks."),
    ("same", "Broken goods are `Return`, not `Delivery`.", "Label broken goods as `Return`."),
    ("same", "End every answer with a next step.", "Every answer should end with the next step for the customer."),
    ("same", "Do not mention competitors.", "Never mention competitors by name."),
    ("same", "Start with an apology when the customer is angry.", "If the customer is angry, start with an apology."),
    ("opposite", "Always mention the order number.", "Never mention the order number."),
    ("opposite", "Gift cards go to `Account`.", "Gift cards go to `Billing`."),
    ("opposite", "Use at most three sentences.", "Use at most five sentences."),
    ("opposite", "Broken goods are `Return`, not `Delivery`.", "Broken goods are `Delivery`, not `Return`."),
    ("opposite", "Answer in lower case.", "Answer in upper case."),
    ("opposite", "Use emoji in the greeting.", "Do not use emoji in the greeting."),
    ("different", "Always mention the order number.", "Always mention the warranty."),
    ("different", "Gift cards go to `Account`.", "Invoices go to `Billing`."),
    ("different", "Never promise a refund date.", "Never ask for a password."),
    ("different", "Answer in the customer's language.", "Answer in lower case."),
    ("different", "Start with an apology.", "End with a next step."),
    ("different", "Use `pathlib` for paths.", "Use `pytest` for tests."),
    ("different", "Do not translate product names.", "Do not use exclamation marks."),
    ("different", "A lost parcel is `Delivery`.", "A changed address is `Account`."),
    ("different", "Write dates as 31 January 2026.", "Write numbers below 10 as words."),
    ("different", "Label questions about invoices `Billing`.", "Label questions about parcels `Delivery`."),
)

HELD_OUT: Pairs = (
    ("same", "Never ask for the password.", "Do not ask customers for their password."),
    ("same", "Say which team takes over.", "Always name the team that takes over."),
    ("same", "Label questions about invoices `Billing`.", "Questions about invoices belong to `Billing`."),
    ("same", "Keep the greeting to one line.", "The greeting must be one line."),
    ("same", "Do not give legal advice.", "Never give any legal advice."),
    ("same", "Prefer bullet points over long paragraphs.", "Use bullet points instead of long paragraphs."),
    ("same", "Product names must not be translated.", "Never translate product names."),
    ("same", "Mention the warranty when something breaks.", "When something breaks, always mention the warranty."),
    ("same", "Answer with one word.", "Your answer must be one word only."),
    ("opposite", "Greet the customer by first name.", "Do not greet the customer by first name."),
    ("opposite", "Late parcels are `Delivery`.", "Late parcels are `Complaint`."),
    ("opposite", "Answers have at least two sentences.", "Answers have at most two sentences."),
    ("opposite", "Use “customers” rather than “users”.", "Use “users” rather than “customers”."),
    ("opposite", "Be formal with customers.", "Be informal with customers."),
    ("opposite", "Offer a refund for late parcels.", "Never offer a refund for late parcels."),
    ("different", "Never ask for the password.", "Never ask for the card number."),
    ("different", "Keep the greeting to one line.", "Keep the answer to one paragraph."),
    ("different", "Offer a refund for late parcels.", "Offer a voucher for a bad review."),
    ("different", "Mention the warranty when something breaks.", "Mention the opening hours."),
    ("different", "Tests must not talk to the network.", "Tests must run in a second."),
    ("different", "Answer with one word.", "Answer politely."),
    ("different", "Use “customers” rather than “users”.", "Use active voice."),
    ("different", "Late parcels are `Delivery`.", "Lost passwords are `Account`."),
)
