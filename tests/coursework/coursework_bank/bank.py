"""The bug bank: mistakes, and what the grader must make of them."""

# OPEN: a sixth item in a row says what the grader still does wrong with the entry.
# Its test is then expected to fail, and complains once it passes: take the item out.
from coursework_bank import bank_ps1, bank_ps2, bank_ps4, bank_ps5

BANK = [*bank_ps1.BUGS, *bank_ps2.BUGS, *bank_ps4.BUGS, *bank_ps5.BUGS]
