"""The server: whether it answers, keeps what it is given, and has room for us."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.cli.place import away, database_of
from otn.database import DatabaseAwayError, DatabaseError, make_engine, queries, transaction
from otn.errors import ConfigurationError
from otn.local.logins import RECEIVER, SENDER, Kind
from otn.settings import database_url, read_connection

OLDEST_SERVER = 140_000  # Postgres 14
CLOCK_YELLOW_S = 10  # Airflow's leeway for the times in its tokens
CLOCK_RED_S = 300
FULL_YELLOW, FULL_RED = 0.8, 0.95
LONG_S = 900
OLD_AGE = 1_000_000_000  # of two thousand million transactions, after which Postgres writes no more
KEPT_BYTES = 2 << 30
PROGRAMS = {RECEIVER: "receiver", SENDER: "sender"}
_NAME = "otn doctor"
_MAKE = "`./otn up` and `./otn deploy init` make logins; elsewhere see docs/sql.md, roles."


def connection(case: Case) -> Iterator[Check]:
    """Whether it answers; everything else about the database waits for this."""
    try:
        url = database_of(case.environment, case.home.path)
    except ConfigurationError as error:
        yield Check("database.connection", "red", str(error), "Nothing that stands in the database was looked at.")
        return
    engine = make_engine(url, application_name=_NAME)
    try:
        with transaction(engine) as conn:
            server = queries("doctor").server(conn)
    except DatabaseAwayError:
        engine.dispose()
        text = f"{away(case.home.path)} Nothing that stands in it was looked at."
        yield Check("database.connection", "red", text, "A password that it refuses looks the same: its log tells.")
        return
    case.engine = engine
    yield Check("database.connection", "green", "The database answers.")
    yield from _server(server.version, server.number)
    if server.standby:
        text = "This Postgres is a standby: nothing can be written."
        yield Check("database.primary", "red", text, "Let otn_db name the primary.")
    else:
        yield Check("database.primary", "green", "It can be written.")
    if server.encoding != "UTF8":
        text = f"Its encoding is {server.encoding}: names of topics in other scripts are refused."
        yield Check("database.encoding", "red", text, "Make a database with ENCODING 'UTF8' and move the data there.")
    else:
        yield Check("database.encoding", "green", "Its encoding is UTF-8.")
    yield from _clock(server.clock)


def _server(version: str, number: int) -> Iterator[Check]:
    if number < OLDEST_SERVER:
        yield Check("database.version", "red", f"Postgres {version} is too old.", "Use version 14 or newer.")
    else:
        yield Check("database.version", "green", f"It is Postgres {version}.")


def _clock(theirs: float) -> Iterator[Check]:
    gap = abs(theirs - time.time())
    if gap < CLOCK_YELLOW_S:
        yield Check("database.clock", "green", "Its clock and ours agree.")
        return
    text = f"The database's clock and this machine's differ by {gap:,.0f} s."
    advice = "Let both follow NTP. Airflow refuses its own tasks when clocks differ; days of webhooks get mixed up."
    yield Check("database.clock", "red" if gap > CLOCK_RED_S else "yellow", text, advice)


def durability(case: Case) -> Iterator[Check]:
    """Whether what was committed is still there after a power cut."""
    with case.asking() as conn:
        row = queries("doctor").durability(conn)
    advice = "Switch it on. Without it a crash can lose what was already sent, and people would see a message twice."
    off = [name for name in ("fsync", "full_page_writes") if not getattr(row, name)]
    if row.synchronous_commit == "off":
        off.append("synchronous_commit")
    if off:
        yield Check("database.durability", "red", f"Switched off: {', '.join(off)}.", advice)
    else:
        yield Check("database.durability", "green", "What is committed is on the disk.")


def vacuum(case: Case) -> Iterator[Check]:
    """Whether dead rows are cleared away."""
    with case.asking() as conn:
        row = queries("doctor").vacuum(conn)
    advice = "Switch autovacuum (and track_counts) on. Without it tables grow and sending gets slower each day."
    if row.age is not None and row.age > OLD_AGE:
        text = f"The oldest transaction number is {row.age:,} transactions old; at two thousand million Postgres stops."
        yield Check("database.vacuum", "red", text, "Run VACUUM FREEZE, and end what holds old transactions open.")
    elif not row.working:
        yield Check("database.vacuum", "yellow", "Autovacuum is switched off.", advice)
    elif row.excluded:
        text = f"Autovacuum is switched off for {', '.join(row.excluded)}."
        yield Check("database.vacuum", "yellow", text, advice)
    else:
        yield Check("database.vacuum", "green", "Autovacuum is at work.")


def connections(case: Case) -> Iterator[Check]:
    """Whether there is room for more connections."""
    with case.asking() as conn:
        row = queries("doctor").connections(conn)
    limits = [("the server", row.used, row.most)]
    limits += [("the database", row.of_database, row.most_of_database)] if row.most_of_database >= 0 else []
    limits += [("the role", row.of_role, row.most_of_role)] if row.most_of_role >= 0 else []
    place, used, most = max(limits, key=lambda one: one[1] / max(one[2], 1))
    share = used / max(most, 1)
    text = f"{used} of {most} connections of {place} are taken."
    if share < FULL_YELLOW:
        yield Check("database.connections", "green", text)
        return
    advice = "Raise max_connections (docs/deployment.md: plan 150 for two workers), or find who keeps so many."
    yield Check("database.connections", "red" if share > FULL_RED else "yellow", text, advice)


def transactions(case: Case) -> Iterator[Check]:
    """Whether somebody has been in one transaction for long."""
    with case.asking() as conn:
        row = queries("doctor").long_transactions(conn, long_s=LONG_S)
    if row.long:
        text = f"A transaction has been open for {row.oldest_s // 60} minutes ({row.oldest}): nothing is cleared away."
        yield Check("database.transactions", "yellow", text, "Find who it is in pg_stat_activity, and end it.")
    elif row.hidden:
        text = f"The role may not see {row.hidden} sessions of others."
        yield Check("database.transactions", "unseen", text, "Grant it pg_monitor to have them looked at.")
    else:
        yield Check("database.transactions", "green", "No transaction has been open for long.")


def wal(case: Case) -> Iterator[Check]:
    """Whether something keeps the write-ahead log from being cleared away."""
    with case.asking() as conn:
        row = queries("doctor").wal(conn)
    if row.idle_slots and (row.kept_bytes or 0) > KEPT_BYTES:
        text = f"A replication slot that nobody reads keeps {row.kept_bytes / (1 << 30):.1f} GiB: the disk fills."
        yield Check("database.wal", "yellow", text, "Start its reader, or drop it: pg_drop_replication_slot.")
    elif row.archive_fails:
        yield Check(
            "database.wal",
            "yellow",
            "Archiving the write-ahead log fails: the disk fills, and the backup ends where it failed.",
            "Look at archive_command and at the Postgres log.",
        )
    else:
        yield Check("database.wal", "green", "Nothing keeps the write-ahead log.")


def logs(case: Case) -> Iterator[Check]:
    """Whether people's ids get into the log of Postgres."""
    with case.asking() as conn:
        row = queries("doctor").logging(conn)
    told = []
    if row.error_statement not in {"panic", "fatal"}:
        told.append(f"log_min_error_statement = {row.error_statement}")
    if row.statement in {"mod", "all"}:
        told.append(f"log_statement = {row.statement}")
    if row.duration >= 0:
        told.append(f"log_min_duration_statement = {row.duration}")
    if told:
        text = f"Postgres writes statements into its log, and people's ids with them: {', '.join(told)}."
        yield Check("database.logs", "yellow", text, "See docs/deployment.md, A Postgres of your own.")
    else:
        yield Check("database.logs", "green", "Postgres logs no statements.")


def role(case: Case) -> Iterator[Check]:
    """Whom we work as."""
    with case.asking() as conn:
        row = queries("doctor").role(conn)
    if row.super:
        text = f"otn_db is the superuser {row.name}: whoever breaks into a task may do everything."
        yield Check("database.role", "yellow", text, "Give the database an owner of its own (docs/sql.md, roles).")
    else:
        yield Check("database.role", "green", f"otn_db is {row.name}, which is no superuser.")


def logins(case: Case) -> Iterator[Check]:
    """Whether receiver and senders have only the rights that they need, and can log in."""
    with case.asking() as conn:
        owner = queries("doctor").role(conn).name
    shared = []
    for kind, name in PROGRAMS.items():
        if not case.environment.get(kind.variable):
            shared.append((kind, name))
            continue
        try:
            login, may = _asked(kind, case)
        except (ConfigurationError, DatabaseError) as error:
            text = f"The login of the {name} ({kind.connection_id}) cannot connect: {error}"
            yield Check("database.logins", "red", text, f"Correct {kind.variable}. {_MAKE}", name)
            return
        if not may:
            text = (
                f"The login of the {name} ({kind.connection_id}) has not the role {kind.role}: it is refused its work."
            )
            advice = f'GRANT {kind.role} TO "{login.name}", or correct {kind.variable}. {_MAKE}'
            yield Check("database.logins", "red", text, advice, name)
            return
        if login.super or login.name == owner:
            shared.append((kind, name))
    if shared:
        names = " and the ".join(name for _, name in shared)
        text = f"Without a login of its own that is known here, the {names} may do whatever the owner may."
        variables = ", ".join(kind.variable for kind, _ in shared)
        yield Check("database.logins", "yellow", text, f"Define {variables}, here too. {_MAKE}")
    else:
        yield Check("database.logins", "green", "Receiver and senders have logins with the rights that they need.")


def _asked(kind: Kind, case: Case) -> tuple[Any, bool]:
    """Who a login is, and whether it has its role.

    Raises:
        ConfigurationError: its connection cannot be read.
        DatabaseError: it cannot connect.
    """
    engine = make_engine(database_url(read_connection(kind.connection_id, case.environment)), application_name=_NAME)
    try:
        with transaction(engine) as conn:
            return queries("doctor").role(conn), bool(queries("deployment").has_role(conn, role=kind.role))
    finally:
        engine.dispose()


QUESTIONS = (
    Question(
        (
            "database.connection",
            "database.version",
            "database.primary",
            "database.encoding",
            "database.clock",
        ),
        connection,
    ),
    *(
        Question((check_id,), look, needs="database")
        for check_id, look in (
            ("database.durability", durability),
            ("database.connections", connections),
            ("database.transactions", transactions),
            ("database.wal", wal),
            ("database.logs", logs),
            ("database.role", role),
            ("database.logins", logins),
        )
    ),
)
OF_THE_SCHEMA = Question(("database.vacuum",), vacuum, needs="schema")
