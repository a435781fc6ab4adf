"""The printed summary: who led, who voted how, and what became of the messages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from controllers.account import CONTROLLERS
from controllers.controller import NO_LEADER, NOT_REACHED
from controllers.ledger import ledgers

if TYPE_CHECKING:
    from controllers.account import Session, Vote


def leaders_table(session: Session) -> str:
    """One line per leader: term, and how long there was none before."""
    rows = [f"Leaders{'':<17}{'term':>12}{'ms to elect':>14}"]
    rows += [
        f"  {reign.leader:<22}{reign.term:>12}{1000 * reign.seconds:>14.0f}"
        for reign in (session.first, session.second)
    ]
    return "\n".join(rows)


def votes_table(session: Session) -> str:
    """One line per vote: each ballot, the result, and how far apart the actions were."""
    rows = [f"Votes{'':<19}{''.join(f'{name:>12}' for name in CONTROLLERS)}      result      ms apart"]
    for vote in session.votes:
        result = "/".join(sorted(set(session.results(vote).values()))) or "none"
        apart = f"{1000 * session.apart_s(vote):.1f}" if session.actions(vote) else "nothing done"
        cells = "".join(f"{_cell(session, vote, name):>12}" for name in CONTROLLERS)
        rows.append(f"  {vote.motion:<22}{cells}{result:>12}{apart:>14}")
    return "\n".join(rows)


def messages_table(session: Session) -> str:
    """One line per sender: what became of its messages to the leader."""
    heads = ("sent", "answered", NO_LEADER, NOT_REACHED, "lost")
    rows = [f"Messages to the leader  {''.join(f'{head:>12}' for head in heads)}"]
    for book in ledgers(session):
        why = Counter(outcome for outcome, *_ in book.refused.values())
        figures = (len(book.numbers), len(book.answers), why[NO_LEADER], why[NOT_REACHED], len(book.lost))
        rows.append(f"  {book.name:<22}{''.join(f'{figure:>12}' for figure in figures)}")
    return "\n".join(rows)


def _cell(session: Session, vote: Vote, name: str) -> str:
    ballots = session.ballots(vote)
    if name in ballots:
        return "yes" if ballots[name] else "no"
    return "silent" if name in vote.living else "dead"
