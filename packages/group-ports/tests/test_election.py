"""One member in an election, message by message: each rule of `_election` and its neighbours."""

from __future__ import annotations

import pytest

from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    LeaderElected,
    LeaderExited,
    MemberLeft,
    UnbindAnswer,
)
from group_ports._healing import Healing
from group_ports._terms import MAX_TERM, MAX_TERM_JUMP, Terms
from wireframe.group import Ballot, LeaderNote, Leave, Request, Tic

from .scripted_member import OWN, A, B, C, D, Scripted, note
from .simulated_network import FAST

LOW, HIGH = b"\x01" * 16, b"\xff" * 16


def led(*peers, term=3, leader=A, **settings):
    """A member that follows a leader."""
    one = Scripted(*peers, **settings)
    one.hear(note(term, leader))
    one.taken()
    return one


# -- standing


def test_stands_and_wins_with_a_quorum():
    """Own vote and one more, of three; then it binds and says where."""
    one = Scripted(A, B)
    request = one.stand()
    assert request == Request(1, OWN)
    one.hear(Ballot(1, OWN, True, A))
    assert one.actions[0] == BindAnswer()
    assert one.events() == [LeaderElected(OWN, 1)]
    one.do(one.member.answer_bound("127.0.0.1", 4000, one.now))
    assert one.published() == [LeaderNote(1, OWN, "127.0.0.1", 4000)]
    assert one.member.is_leader
    assert (one.member.leader_id, one.member.term) == (OWN, 1)


def test_does_not_stand_without_a_quorum():
    """Three of five heard are needed; two are not enough, however long it takes."""
    one = Scripted(A, size=5)
    one.pass_time(20.0)
    assert one.published(Request) == []
    one.peers = (A, B)
    assert one.stand().term == 1


def test_a_member_alone_leads_a_group_of_one():
    """If that is what it is configured for."""
    one = Scripted(size=1)
    one.pass_time(1.0)
    assert one.member.is_leader


def test_needs_more_than_half_of_those_it_hears():
    """A group that has outgrown its size does not elect two leaders at a time."""
    one = Scripted(A, B, C, D, size=2)
    one.stand()
    one.hear(Ballot(1, OWN, True, A))
    assert not one.member.is_leader
    one.hear(Ballot(1, OWN, True, B))
    assert one.member.is_leader


@pytest.mark.parametrize(
    "ballot",
    [
        Ballot(1, OWN, False, A),
        Ballot(0, OWN, True, A),
        Ballot(2, OWN, True, A),
        Ballot(1, B, True, A),
        Ballot(1, OWN, True, D),
        Ballot(1, OWN, True, OWN),
    ],
    ids=["no", "older", "newer", "another", "stranger", "itself"],
)
def test_votes_that_do_not_count(ballot):
    """Not for it, not for this term, not of a member."""
    one = Scripted(A, B)
    one.stand()
    one.hear(ballot)
    assert not one.member.is_leader


def test_a_member_votes_once():
    """Repeats of one voter do not make a quorum."""
    one = Scripted(A, B, C, D, size=5)
    one.stand()
    one.hear(*[Ballot(1, OWN, True, A)] * 5)
    assert not one.member.is_leader


def test_a_vote_of_one_that_left_does_not_count():
    """A quorum is of those that are there."""
    one = Scripted(A, B, C, D, size=5)
    one.stand()
    one.hear(Ballot(1, OWN, True, A), Leave(A), Ballot(1, OWN, True, B))
    assert not one.member.is_leader
    one.hear(Ballot(1, OWN, True, C))
    assert one.member.is_leader


def test_asks_again_in_the_same_term():
    """Those that missed the request, or were bound, get another one."""
    one = Scripted(A, B)
    one.stand()
    one.pass_time(FAST.heartbeat)
    assert one.published(Request) == [Request(1, OWN)] * 2


def test_a_candidacy_without_answers_ends_and_another_one_follows():
    """Always with a new term, and always with a deadline."""
    one = Scripted(A, B)
    terms = []
    for _ in range(4):
        terms.append(one.stand().term)
        one.pass_time(FAST.election_max)
        one.taken()
    assert terms == sorted(terms)
    assert terms[-1] > terms[0]
    assert one.member.term == 0, "a candidacy that failed is no leadership"


def test_gives_up_when_too_many_voted_for_another():
    """And stands again soon, if nobody leads."""
    one = Scripted(A, B, C)
    one.stand()
    one.hear(Ballot(1, A, True, A), Ballot(1, A, True, B))
    one.pass_time(FAST.election_max - FAST.election_min + 0.01)
    assert one.published(Request)[-1].term == 2


def test_a_rival_candidate_of_the_same_term_gets_no_vote_but_a_race():
    """Neither waits for a whole election."""
    one = Scripted(A, B, C, D, size=5)
    one.stand()
    one.hear(Request(1, A))
    assert one.published(Ballot) == [Ballot(1, A, False, OWN)]
    one.pass_time(FAST.election_max - FAST.election_min + 0.01)
    assert one.published(Request)[-1].term == 2


def test_strangers_take_no_hope():
    """A rival that is no member has no vote to be missing."""
    one = Scripted(A, B)
    one.stand()
    one.hear(Request(1, C), Request(1, D))
    one.hear(Ballot(1, OWN, True, A))
    assert one.member.is_leader


def test_a_contest_without_a_quorum_is_over():
    """Should the others have gone meanwhile, it is no candidate any more."""
    one = Scripted(A, B)
    one.stand()
    one.hear(Request(1, A), Leave(A), Leave(B))
    one.peers = ()
    one.taken()
    one.pass_time(5.0)
    assert one.published(Request) == []


# -- voting


def test_votes_for_a_newer_term():
    """And says so."""
    one = Scripted(A, B)
    one.hear(Request(1, A))
    assert one.published() == [Ballot(1, A, True, OWN)]


def test_one_vote_a_term():
    """The same candidate may ask again, another one not."""
    one = Scripted(A, B)
    one.hear(Request(1, A), Request(1, B), Request(1, A), Request(0, B))
    assert [(body.candidate, body.vote) for body in one.published(Ballot)] == [
        (A, True),
        (B, False),
        (A, True),
        (B, False),
    ]


def test_a_candidate_votes_for_a_newer_term():
    """And is a candidate no more."""
    one = Scripted(A, B)
    one.stand()
    one.hear(Request(2, A))
    assert one.published(Ballot) == [Ballot(2, A, True, OWN)]
    one.hear(Ballot(1, OWN, True, B))
    assert not one.member.is_leader


def test_sticks_to_a_leader_that_is_heard():
    """Nobody who lost touch with it alone unseats it."""
    one = led(A, B)
    one.hear(Request(9, B))
    assert one.published(Ballot) == [Ballot(9, B, False, OWN)]
    assert one.member.leader_id == A


def test_is_free_when_the_leader_was_silent_for_an_election():
    """Then a candidate need not wait for this member's own deadline."""
    one = led(A, B)
    one.now += FAST.election_max
    one.hear(Request(9, B))
    assert one.published(Ballot) == [Ballot(9, B, True, OWN)]


def test_does_not_vote_in_a_term_that_has_a_leader():
    """Even if it has not voted in it."""
    one = led(A, B, term=3)
    one.pass_time(1.0)
    one.taken()
    one.hear(Request(3, B))
    assert [body.vote for body in one.published(Ballot)] == [False]


def test_new_members_keep_their_votes():
    """For one peer timeout: the former self may have voted."""
    one = Scripted(A, B, last_term=None)
    one.pass_time(FAST.peer_timeout - 0.01)
    one.hear(Request(1, A))
    assert [body.vote for body in one.published(Ballot)] == [False]
    assert one.published(Request) == []
    one.pass_time(0.011)
    one.hear(Request(1, A))
    assert [body.vote for body in one.published(Ballot)] == [True]


def test_a_stored_term_is_not_voted_in_again():
    """But above it at once."""
    one = Scripted(A, B, last_term=7)
    assert one.member.last_term == 7
    one.hear(Request(7, A), Request(8, A))
    assert [body.vote for body in one.published(Ballot)] == [False, True]
    assert one.member.last_term == 8


def test_what_it_hears_of_itself_is_no_news():
    """Its own publisher is among those it hears."""
    one = Scripted(A, B)
    one.hear(Tic(OWN), Request(5, OWN), note(5, OWN), Leave(OWN))
    assert one.taken() == []
    assert one.member.size == 3


def test_votes_do_not_put_the_deadline_off_for_ever():
    """A row of candidates, invented or not, delays the own candidacy only so long."""
    one = Scripted(A, B)
    for term in range(1, 200):
        one.pass_time(0.02)
        if one.published(Request):
            break
        one.hear(Request(term, A))
    assert one.now - 100.0 <= FAST.peer_timeout + FAST.election_max


# -- following


def test_follows_a_leader():
    """And points the query port to it."""
    one = Scripted(A, B)
    one.hear(note(3, A))
    assert one.actions[0] == ConnectQuery("127.0.0.1", 5000)
    assert one.events() == [LeaderElected(A, 3)]
    one.hear(note(3, A))
    assert one.taken() == []
    one.hear(note(3, A, port=5001))
    assert one.taken() == [ConnectQuery("127.0.0.1", 5001)]
    one.hear(note(3, A, port=0))
    assert one.taken() == [DisconnectQuery()]


def test_follows_a_higher_term():
    """The change is reported: the token is another one, too."""
    one = led(A, B, term=3)
    one.hear(note(4, B))
    assert one.events() == [LeaderExited(A), LeaderElected(B, 4)]
    one.hear(note(5, B))
    assert one.events() == [LeaderElected(B, 5)]


def test_terms_never_go_back():
    """A lower one is not followed, with or without a leader."""
    one = led(A, B, term=3)
    one.hear(note(2, B))
    assert (one.member.leader_id, one.member.term) == (A, 3)
    one.hear(Leave(A), note(2, B))
    assert (one.member.leader_id, one.member.term) == (None, 3)


def test_one_leader_a_term():
    """The first that was heard."""
    one = led(A, B, term=3)
    one.hear(note(3, B))
    assert one.member.leader_id == A


def test_gives_a_silent_leader_up_and_stands():
    """Between election_max and the peer timeout."""
    one = led(A, B)
    one.pass_time(FAST.election_max)
    assert one.member.leader_id == A
    one.pass_time(FAST.peer_timeout - FAST.election_max)
    assert LeaderExited(A) in [getattr(action, "event", None) for action in one.actions]
    assert one.published(Request)[0].term == 4


def test_a_leader_that_goes_is_replaced_at_once():
    """And a late note of it does not bring it back."""
    one = led(A, B, C, size=4)
    one.hear(Leave(A))
    assert one.events() == [MemberLeft(A), LeaderExited(A)]
    one.hear(note(3, A))
    assert one.member.leader_id is None
    one.peers = (B, C)
    one.pass_time(FAST.election_max - FAST.election_min + 0.01)
    assert one.published(Request) == [Request(4, OWN)]


def test_a_flood_does_not_delay_the_timers():
    """Thousands of messages a second, and each timer is on time."""
    one = led(A, B)
    heard = 0
    while not one.published(Request):
        one.now += 0.0002
        one.hear(Tic(B) if heard % 2 else Tic(A))
        heard += 1
    assert one.now - 100.0 <= FAST.peer_timeout + 0.001
    tics = 0
    for _ in range(5000):
        one.now += 0.0002
        one.hear(Tic(B))
        tics += len(one.published(Tic))
    assert tics == int(1.0 / FAST.heartbeat)


# -- leading


def test_a_leader_says_so_each_heartbeat():
    """Whatever else it hears."""
    one = Scripted(A, B)
    one.win()
    one.pass_time(3.01)
    assert len(one.published(LeaderNote)) == 10


def test_a_leader_whose_port_cannot_be_bound_says_that_it_leads():
    """With no port; it has one as soon as it is bound."""
    one = Scripted(A, B)
    one.stand()
    one.hear(Ballot(1, OWN, True, A))
    one.pass_time(FAST.heartbeat)
    assert one.published(LeaderNote)[0] == LeaderNote(1, OWN, "0.0.0.0", 0)


def test_a_late_bind_is_no_news():
    """Who leads no more says nothing."""
    one = Scripted(A, B)
    one.win()
    one.hear(note(2, A))
    one.taken()
    assert one.member.answer_bound("127.0.0.1", 4001, one.now) == []


def test_a_leader_steps_down_without_a_quorum():
    """A peer timeout after the others fell silent."""
    one = Scripted(A, B)
    one.win()
    one.peers = (A,)
    one.pass_time(5.0)
    assert one.member.is_leader
    one.peers = ()
    one.taken()
    one.pass_time(FAST.peer_timeout + 0.3)
    assert UnbindAnswer() in one.actions
    assert LeaderExited(OWN) in one.events()
    assert not one.member.is_leader
    one.pass_time(5.0)
    assert one.published(Request, LeaderNote) == []


def test_a_leader_that_was_stopped_has_stepped_down_before_it_reads():
    """However much has piled up."""
    one = Scripted(A, B)
    one.win()
    one.now += 10.0
    one.hear(Tic(A))
    assert not one.member.is_leader
    assert one.published(LeaderNote) == []


def test_a_leader_steps_down_for_a_higher_term():
    """And follows."""
    one = Scripted(A, B)
    one.win()
    one.hear(note(2, A))
    assert one.actions[0] == UnbindAnswer()
    assert one.events() == [LeaderExited(OWN), LeaderElected(A, 2)]


def test_a_leader_answers_a_candidate_with_a_note():
    """Soon, once, and it gives no vote."""
    one = Scripted(A, B)
    one.win()
    one.hear(*[Request(9, B)] * 50)
    one.pass_time(FAST.heartbeat / 4 + 0.01)
    assert len(one.published(Ballot, LeaderNote)) == 1
    assert one.member.is_leader


# -- terms


def test_stands_above_every_term_heard():
    """Whatever message it was in."""
    one = Scripted(A, B)
    one.hear(Ballot(6, A, True, B))
    assert one.stand().term == 7


def test_a_term_out_of_reason_is_noise():
    """One wrong message cannot use all terms up."""
    one = Scripted(A, B)
    far = MAX_TERM_JUMP + 1
    one.hear(Request(far, A), Ballot(MAX_TERM, A, True, B), note(MAX_TERM, A))
    assert one.taken() == []
    assert one.stand().term == 1


def test_the_last_term_is_the_last():
    """No candidacy beyond what the wire can say."""
    one = Scripted(A, B, last_term=MAX_TERM)
    one.pass_time(10.0)
    assert one.published(Request) == []


@pytest.mark.parametrize("term", [-1, MAX_TERM + 1])
def test_impossible_terms(term):
    """Not a term of the wire."""
    with pytest.raises(ValueError, match="a term of"):
        Terms(term)


# -- other leaders


def test_a_stale_leader_is_told_in_its_own_term():
    """A reference member listens to nothing else; one note, not one per message."""
    one = Scripted(A, B)
    one.hear(Ballot(8, A, True, B))
    one.win()
    assert one.member.term == 9
    one.hear(*[note(3, B)] * 20)
    assert one.published() == [LeaderNote(3, OWN, "127.0.0.1", 4000)]


def test_followers_tell_a_stale_leader_that_goes_on():
    """The leader may be deaf to it."""
    one = led(A, B, C, size=4, term=9)
    told = []
    for _ in range(6):
        one.pass_time(FAST.heartbeat, note=note(9, A))
        one.hear(note(3, B))
        told.append(one.published(LeaderNote))
    assert told[:2] == [[], []]
    assert [note(3, A)] in told


def test_a_stale_note_of_the_leader_is_nothing():
    """It was on its way for long."""
    one = led(A, B, term=9)
    for _ in range(6):
        one.pass_time(FAST.heartbeat, note=note(9, A))
        one.hear(note(3, A))
    assert one.published(LeaderNote, Ballot) == []


def test_several_stale_leaders_are_all_told():
    """Each has its own time of going on; the oldest are forgotten first."""
    healing = Healing(0.3)
    assert not healing.insists(A, 2.0, 0.0)
    assert not healing.insists(B, 2.0, 0.1)
    assert not healing.insists(A, 2.0, 0.5)
    assert healing.insists(A, 2.0, 0.7)
    assert healing.insists(B, 2.0, 0.8)
    for i in range(20):
        healing.insists(bytes([i]) * 16, 2.0, 0.9)
    assert not healing.insists(A, 2.0, 1.0)


def test_a_flood_of_stale_leaders_is_not_answered_by_a_flood():
    """Whoever invents them gets a few answers a heartbeat."""
    one = Scripted(A, B, last_term=9)
    one.win()
    one.hear(*(note(3, bytes([7, i]) * 8) for i in range(200)))
    assert len(one.published(LeaderNote)) == 16


def test_a_stale_leader_that_paused_begins_anew():
    """What was long ago is no going on."""
    healing = Healing(0.3)
    healing.insists(A, 2.0, 0.0)
    assert not healing.insists(A, 2.0, 5.0)


def test_a_leader_of_too_low_a_term_hears_of_it():
    """A leaderless member that cannot follow says which term it knows."""
    one = led(A, B, term=9)
    one.hear(Leave(A), *[note(3, B)] * 20)
    assert one.published(Ballot) == [Ballot(9, B, False, OWN)]


def test_stale_leaders_are_brought_together():
    """Leaders do not vote: the one with the lower term is made a follower of the other."""
    one = led(A, B, C, D, size=4, term=9)
    one.hear(Leave(A))
    one.peers = (B, C, D)
    told = []
    for _ in range(10):
        one.pass_time(0.2)
        one.hear(note(3, B, port=5003), note(2, C), note(3, B, port=5003))
        told += one.published(LeaderNote)
    assert told
    assert set(map(str, told)) == {str(note(2, B, port=5003))}


def test_a_leader_refused_for_its_term_stands_again():
    """Above the term that it was told, and its followers are free to vote for it."""
    one = Scripted(A, B)
    one.win()
    one.hear(Ballot(5, OWN, False, B))
    assert UnbindAnswer() in one.actions
    assert one.published(Request) == [Request(6, OWN)]
    one.hear(Ballot(6, OWN, True, A), Ballot(9, OWN, False, B))
    assert one.member.is_leader, "not as often as somebody says so"
    follower = led(A, B, term=1)
    follower.hear(Request(6, A))
    assert follower.published(Ballot) == [Ballot(6, A, True, OWN)]


def test_a_leader_is_not_refused_by_just_anything():
    """A stranger, a yes, its own term, or another leader: no reason to stand again."""
    one = Scripted(A, B)
    one.win()
    one.hear(
        Ballot(5, OWN, False, D), Ballot(5, OWN, True, B), Ballot(1, OWN, False, B), Ballot(5, A, False, B)
    )
    assert one.published(Request) == []
    assert one.member.is_leader


def test_followers_of_a_refused_leader_are_free():
    """It may be a reference member, which does not stand again."""
    one = led(A, B, C, size=4, term=3)
    one.hear(Ballot(9, A, False, B), Request(10, B))
    assert one.published(Ballot) == [Ballot(10, B, True, OWN)]


def test_a_rival_is_told_first():
    """A reference member follows the next note of ours."""
    one = Scripted(A, B, own_id=LOW)
    one.win()
    one.hear(note(1, HIGH))
    one.pass_time(0.1)
    assert one.published(LeaderNote)
    assert one.member.is_leader


@pytest.mark.parametrize(("own_id", "rival", "stays"), [(LOW, HIGH, False), (HIGH, LOW, True)])
def test_of_two_rivals_that_go_on_the_lower_id_steps_down(own_id, rival, stays):
    """On either side the same answer."""
    one = Scripted(A, B, own_id=own_id)
    one.win()
    one.hear(note(1, rival))
    one.pass_time(FAST.heartbeat)
    one.hear(note(1, rival))
    assert one.member.is_leader is stays
