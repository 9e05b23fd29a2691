"""The state machine: whatever senders, people, operators and the platform may do, in any order, on the real SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otn.campaign import control, evidence, ledger
from otn.campaign.answers import Answer
from otn.campaign.ledger import Claimed, Doubtful, WaitingChunk
from otn.database import queries, transaction
from otn.privacy import erasure
from tests.model.ground import Ground
from tests.model.platform import MOODS, Call, Token
from tests.model.promise import MOVES, check_row, check_tokens

PEOPLE = 3
CAMPAIGNS = 3
LEASE_S = 600.0  # ends when the model says so
ANY = st.integers(0, 11)  # picks one of what there is


class Senders(RuleBasedStateMachine):
    """Campaigns of one page, its people and consents, and any number of senders at work."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.ids: list[int] = []  # otn.subscriber.id by person
        self.erased: set[int] = set()
        self.stopped: dict[int, int] = {}  # person to the moment of the last stop that no start has lifted
        self.tokens: dict[int, Token] = {}  # by otn.token.id
        self.calls: list[Call] = []
        self.campaigns: list[int] = []
        self.planned: dict[int, int] = {}  # campaign to people
        self.known: dict[tuple[int, int], Any] = {}  # rows as they stood after the last step

    # ── people

    @initialize(tokens=st.lists(st.integers(1, 2), min_size=PEOPLE, max_size=PEOPLE))
    def begin(self, tokens: list[int]) -> None:
        type(self).ground = Ground(self.ground.engine, self.ground.keyring, self.ground.folder)
        for person, count in enumerate(tokens):
            self.ids.append(self.ground.meet(self.psid(person)))
            for _ in range(count):
                self.consent(person)
        self.plan()

    def psid(self, person: int) -> str:
        return f"{self.ground.page.page_id}{person}"

    def consent(self, person: int) -> None:
        self.now += 1
        text = f"token of {self.psid(person)} at {self.now}"
        self.tokens[self.ground.consent(self.ids[person], text)] = Token(text, person, self.now)

    def person_of(self, subscriber: int) -> int:
        return self.ids.index(subscriber)

    def silent(self, token: Token) -> bool:
        return self.stopped.get(token.person, -1) >= token.given_at

    @rule(pick=ANY)
    def opts_in(self, pick: int) -> None:
        person = pick % PEOPLE
        if person not in self.erased and len(self.tokens) < 3 * PEOPLE:
            self.consent(person)

    @rule(pick=ANY, word=st.sampled_from(["stop_word", "stop_word", "start_word"]))
    def says(self, pick: int, word: str) -> None:
        person = pick % PEOPLE
        if person in self.erased:
            return
        self.now += 1
        self.ground.happen("message", self.ids[person], detail=word)
        if word == "stop_word":
            self.stopped[person] = self.now
        else:
            self.stopped.pop(person, None)

    @precondition(lambda self: len(self.erased) < PEOPLE - 1 and self.now > 12)
    @rule(pick=ANY)
    def is_erased(self, pick: int) -> None:
        person = pick % PEOPLE
        self.ground.erase(self.psid(person))
        self.erased.add(person)

    @precondition(lambda self: self.erased)
    @rule()
    def purge_runs(self) -> None:
        erasure.forget_late(self.ground.engine)

    @rule(pick=ANY)
    def token_ends(self, pick: int) -> None:
        token_id = list(self.tokens)[pick % len(self.tokens)]
        if pick % 3 == 0 and not self.tokens[token_id].expired:  # rarely: most stories need tokens that live
            self.ground.end(token_id)
            self.tokens[token_id].expired = True

    @rule(pick=ANY)
    def token_is_spent_elsewhere(self, pick: int) -> None:
        if pick % 4 == 0:
            self.tokens[list(self.tokens)[pick % len(self.tokens)]].spent = True

    # ── campaigns

    @precondition(lambda self: len(self.campaigns) < CAMPAIGNS)
    @rule()
    def plan(self) -> None:
        campaign = self.ground.planned(f"campaign {len(self.campaigns)}")
        self.campaigns.append(campaign)
        rows = [row for row in self.ground.rows() if row.campaign_id == campaign]
        self.planned[campaign] = len(rows)
        for row in rows:
            token = self.tokens[row.token_id]
            assert self.ids[token.person] == row.subscriber_id, "a token of somebody else"
            assert not token.expired, "an expired token was planned"
            assert not self.silent(token), "somebody who said stop was planned"
            assert token.person not in self.erased, "an erased person was planned"
        excluded = self.ground.sql("SELECT count(*) FROM otn.exclusion WHERE campaign_id = %s", campaign)[0][0]
        assert len(rows) + excluded == PEOPLE, "somebody was left out without a reason"

    def campaign(self, pick: int) -> int:
        return self.campaigns[pick % len(self.campaigns)]

    @rule(pick=ANY, step=st.sampled_from(["pause", "resume", "resume", "resume", "end", "end", "reenter", "cancel"]))
    def operator_acts(self, pick: int, step: str) -> None:
        campaign = self.campaign(pick)
        state = self.ground.state(campaign)
        if step == "pause" and state == "sending":
            control.pause(self.ground.engine, campaign, actor="model")
        elif step == "resume" and state in {"paused", "halted", "interrupted"}:
            control.resume(self.ground.engine, campaign, actor="model")
        elif step == "cancel" and state not in {"finished", "cancelled"} and pick % 3 == 0:
            control.cancel(self.ground.engine, campaign, actor="model")
        elif step == "end":
            control.end_run(self.ground.engine, campaign)
        elif step == "reenter":
            with transaction(self.ground.engine) as connection:
                queries("campaign").reenter(connection, campaign_id=campaign)

    @rule(pick=ANY, scope=st.sampled_from(["waiting", "refused", "refused", "unknown"]))
    def operator_retries(self, pick: int, scope: control.Scope) -> None:
        campaign = self.campaign(pick)
        if self.ground.state(campaign) != "cancelled":
            control.retry(self.ground.engine, campaign, scope=scope, actor="model")

    # ── senders

    @rule(pick=ANY, most=st.integers(1, 3))
    def claims_waiting(self, pick: int, most: int) -> None:
        campaign = self.campaign(pick)
        source = WaitingChunk(campaign, 1)
        claims = ledger.claim(self.ground.engine, source, most=most, lease_s=LEASE_S, sender="model")
        self.claimed(campaign, claims.rows, "waiting")

    @rule(pick=ANY, most=st.integers(1, 3))
    def claims_doubtful(self, pick: int, most: int) -> None:
        campaign = self.campaign(pick)
        claims = ledger.claim(self.ground.engine, Doubtful(campaign), most=most, lease_s=LEASE_S, sender="model")
        self.claimed(campaign, claims.rows, "unknown")

    @rule(pick=ANY, first=st.integers(1, 2), doubtful=st.booleans(), commits=st.booleans())
    def two_claim_at_once(self, pick: int, first: int, doubtful: bool, commits: bool) -> None:
        """The second claims while the first has not committed; a first that dies then has claimed nothing."""
        campaign = self.campaign(pick)
        source = Doubtful(campaign) if doubtful else WaitingChunk(campaign, 1)
        engine, rows = self.ground.engine, []
        try:
            with transaction(engine) as one:
                rows = list(source.claim(one, first, LEASE_S, "one"))
                second = ledger.claim(engine, source, most=3, lease_s=LEASE_S, sender="two")
                if not commits:
                    raise _DiedError  # noqa: TRY301 - rolls the first claim back
        except _DiedError:
            rows = []
        both = [
            Claimed(row.subscriber_id, row.attempt_id, row.attempts, row.variables, bytes(row.token_encrypted))
            for row in rows
            if row.attempt_id
        ] + second.rows
        assert len({row.subscriber_id for row in both}) == len(both), "two senders claimed one row"
        self.claimed(campaign, both, "unknown" if doubtful else "waiting")

    def claimed(self, campaign: int, claims: Sequence[Claimed], was: str) -> None:
        """Whoever was claimed may be called: every gate held at this moment."""
        if claims:
            assert self.ground.state(campaign) == "sending", "a campaign that does not send was claimed from"
            assert not self.ground.halted(), "a halted page was claimed from"
        for claim in claims:
            before = self.known[campaign, claim.subscriber_id]
            token = self.tokens[before.token_id]
            assert before.state == was, f"a row that was {before.state} was claimed"
            assert bytes(claim.token_encrypted).decode() == token.text, "another token than the planned one"
            assert not token.expired, "an expired token was claimed"
            assert not self.silent(token), "somebody who said stop was claimed"
            assert token.person not in self.erased, "an erased person was claimed"
            self.calls.append(Call(campaign, claim.subscriber_id, claim.attempt_id, token))

    def some(self, *wanted: str) -> list[Call]:
        """Calls on their way: ``flying`` may still arrive, ``open`` have no answer written."""
        calls = [call for call in self.calls if "flying" not in wanted or (call.fate is None and not call.dead)]
        return [call for call in calls if "open" not in wanted or call.recorded is None]

    @precondition(lambda self: self.some("flying"))
    @rule(pick=ANY, mood=st.sampled_from([*MOODS, "shown", "shown", "shown"]))
    def call_arrives(self, pick: int, mood: str) -> None:
        flying = self.some("flying")
        flying[pick % len(flying)].arrive(mood)

    @precondition(lambda self: self.some("open"))
    @rule(pick=ANY, more=st.integers(0, 2), heard=st.sampled_from([True, True, False]))
    def answer_is_recorded(self, pick: int, more: int, heard: bool) -> None:
        """A slice: one answer, and perhaps more of the same campaign. What was not heard is a timeout."""
        calls = self.some("open")
        first = calls[pick % len(calls)]
        others = {call.subscriber: call for call in calls if call.campaign == first.campaign}
        others.pop(first.subscriber)  # a slice comes from one claim: a row is in it once
        self.record([first, *list(others.values())[:more]], heard=heard)

    @precondition(lambda self: any(call.recorded for call in self.calls))
    @rule(pick=ANY)
    def answer_is_recorded_twice(self, pick: int) -> None:
        calls = [call for call in self.calls if call.recorded]
        call = calls[pick % len(calls)]
        again = call.silence() if call.recorded == "unknown" else call.answer()
        ledger.record(self.ground.engine, call.campaign, [again], sender="model")
        assert [tuple(row) for row in self.ground.rows()] == [tuple(row) for row in self.known.values()]

    def record(self, calls: Sequence[Call], *, heard: bool) -> None:
        said: list[Answer] = []
        page_reason = None
        for call in calls:
            # Who hears nothing may write down a timeout before the call arrives; who says "not called" ends it.
            said.append(call.answer() if heard else call.silence())
            call.dead = call.dead or (heard and call.fate is None)
            call.recorded = said[-1].outcome
            if heard and call.fate == "barred":
                page_reason = "Messenger refused the page."
        ledger.record(self.ground.engine, calls[0].campaign, said, sender="model", page_reason=page_reason)
        rows = {row[:2]: row for row in self.ground.rows()}
        for call, answer in zip(calls, said, strict=True):
            before, row = (of.get((call.campaign, call.subscriber)) for of in (self.known, rows))
            if answer.outcome == "sent":
                assert row.state == "sent", "an acceptance did not lead to sent"
            elif before.attempt_id != call.attempt_id:
                assert (row.state, row.evidence) == (before.state, before.evidence), "a late no changed the row"

    @precondition(lambda self: self.some("open"))
    @rule(pick=ANY)
    def lease_is_renewed(self, pick: int) -> None:
        calls = self.some("open")
        call = calls[pick % len(calls)]
        row = self.known[call.campaign, call.subscriber]
        claim = Claimed(call.subscriber, call.attempt_id, 1, {}, b"")
        renewed = ledger.renew(self.ground.engine, call.campaign, [claim], LEASE_S)
        assert (call.subscriber in renewed) == (row.state == "sending" and row.attempt_id == call.attempt_id)

    @precondition(lambda self: self.some("open"))
    @rule(pick=ANY, dies=st.booleans())
    def lease_is_lost(self, pick: int, dies: bool) -> None:
        """Its sender died, or hangs and will wake: its call may have been made, may be made yet."""
        calls = self.some("open")
        call = calls[pick % len(calls)]
        self.ground.lose_leases([call.attempt_id])
        with transaction(self.ground.engine) as connection:
            queries("recipient").expire_leases(connection, campaign_id=call.campaign)
        call.dead = call.dead or (dies and call.fate is None)

    @rule()
    def time_goes_by(self) -> None:
        """Rows that were told to wait are due; those that only a person frees are not."""
        self.ground.sql(
            "UPDATE otn.recipient r SET not_before = clock_timestamp() FROM otn.campaign c"
            " WHERE c.id = r.campaign_id AND c.page_id = %s AND isfinite(r.not_before)",
            self.ground.page.id,
        )

    # ── evidence

    @precondition(lambda self: self.echoable())
    @rule(pick=ANY, whole=st.sampled_from([True, True, False]))
    def echo_comes(self, pick: int, whole: bool) -> None:
        """With our attempt id; or, its metadata lost on the way, with the message id alone."""
        calls = self.echoable()
        call = calls[pick % len(calls)]
        before = self.known[call.campaign, call.subscriber]
        self.ground.happen("echo", call.subscriber, mid=call.mid, metadata=call.attempt_id if whole else None)
        if whole or before.message_id == call.mid:
            call.echoed = True
            row = next(r for r in self.ground.rows() if r[:2] == (call.campaign, call.subscriber))
            assert row.state == "sent", "an echo did not lead to sent"
            assert row.evidence in {"answer", "echo"}, "an echo did not make it stated"

    def echoable(self) -> list[Call]:
        """The ingest drops what comes for people who were erased."""
        return [call for call in self.calls if call.shown and self.person_of(call.subscriber) not in self.erased]

    @rule(pick=ANY, kind=st.sampled_from(["delivery", "read"]), named=st.booleans())
    def is_delivered_or_read(self, pick: int, kind: str, named: bool) -> None:
        """Reports about anything up to now, ours or not: they never settle a row."""
        person = pick % PEOPLE
        if person in self.erased:
            return
        mids = [call.mid for call in self.calls if call.subscriber == self.ids[person]] if named else None
        values = {"mids": mids} if kind == "delivery" and named else {}
        self.ground.happen(
            kind, self.ids[person], watermark=self.ground.sql("SELECT clock_timestamp()")[0][0], **values
        )
        states = {row[:2]: (row.state, row.evidence, row.unanswered) for row in self.ground.rows()}
        assert states == {key: (row.state, row.evidence, row.unanswered) for key, row in self.known.items()}

    @rule(pick=ANY)
    def evidence_is_read_again(self, pick: int) -> None:
        evidence.settle_campaign(self.ground.engine, self.campaign(pick))

    # ── the end of a run

    @rule(pick=ANY)
    def run_ends_well(self, pick: int) -> None:
        """Whatever happened: once senders and platform are well, every row gets its end or says why not."""
        campaign = self.campaign(pick)
        engine, state = self.ground.engine, self.ground.state(campaign)
        if state == "cancelled":
            return
        mine = [call for call in self.calls if call.campaign == campaign]
        for call in mine:
            call.dead = True
        self.ground.lose_leases([call.attempt_id for call in mine])
        self.ground.sql("UPDATE otn.page SET halted_at = NULL, halt_reason = NULL WHERE id = %s", self.ground.page.id)
        control.retry(engine, campaign, scope="unknown", actor="model")
        if self.ground.state(campaign) in {"paused", "halted", "interrupted"}:
            control.resume(engine, campaign, actor="model")
        for source, was in ((WaitingChunk(campaign, 1), "waiting"), (Doubtful(campaign), "unknown")):
            self.time_goes_by()
            self.remember()
            known = len(self.calls)
            claims = ledger.claim(engine, source, most=50, lease_s=LEASE_S, sender="model")
            self.claimed(campaign, claims.rows, was)
            fresh = self.calls[known:]
            for call in fresh:
                call.arrive("shown")
            if fresh:
                self.remember()
                self.record(fresh, heard=True)
        evidence.settle_campaign(engine, campaign)
        self.check_ended(campaign)

    def check_ended(self, campaign: int) -> None:
        rows = [row for row in self.ground.rows() if row.campaign_id == campaign]
        for row in rows:
            token = self.tokens[row.token_id]
            gone = self.silent(token) or token.expired or token.person in self.erased
            assert row.state not in {"waiting", "sending"}, f"a row is still {row.state}"
            if row.state == "unknown":
                assert gone, f"a row stays unknown ({row.reason}) though it could be asked about"
        assert control.end_run(self.ground.engine, campaign) == "finished"

    # ── what holds after each step

    def remember(self) -> None:
        self.known = {row[:2]: row for row in self.ground.rows()}

    @invariant()
    def promise_holds(self) -> None:
        if not self.ids:
            return
        before = self.known
        self.remember()
        for key, row in self.known.items():
            calls = [call for call in self.calls if (call.campaign, call.subscriber) == key]
            check_row(row, calls, self.tokens[row.token_id])
            was = before[key].state if key in before else row.state
            assert was == row.state or row.state in MOVES[was], f"a row went from {was} to {row.state}"
        check_tokens(self.known.values())
        assert Counter(key[0] for key in self.known) == Counter({c: n for c, n in self.planned.items() if n})


class _DiedError(Exception):
    """A sender died before its claim was committed."""
