"""Webhooks on their way to the receiver: signed, batched, repeated, kept until they are acknowledged."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import hashlib
import hmac
import random
from collections.abc import Sequence

import aiohttp

from sandbox.model import Event, Page
from sandbox.wire import now_ms
from sandbox.world import World

USER_AGENT = "facebookexternalua"


@dataclasses.dataclass(slots=True)
class Delivery:
    """How webhooks are delivered. Rates are shares from 0 to 1.

    Args:
        entries_per_post: most entries in one POST (Meta docs: up to 1000); fewer go when fewer wait.
        events_per_entry: events of one page put into one entry's ``messaging``.
        connections: POSTs of one app at the same time.
        timeout_s: an answer later than this is a failure (Meta docs, Webhooks: 5 s).
        retries_at_once: repetitions without a pause.
        backoff_s: first pause after them; it doubles.
        backoff_most_s: longest pause.
        disable_after_s: continued failure after which the app is unsubscribed (Meta docs, Webhooks: 1 h).
        duplicates: POSTs delivered twice although acknowledged.
        shuffle: send events in another order than they happened.
        missing_mids: deliveries that carry a watermark only.
        missing_echo: messages whose echo never comes.
        missing_delivery: messages whose delivery never comes.
        seconds: events whose timestamp is in seconds.
        quoted: events whose timestamp is a quoted text.
        read_rate: messages read by the person.
        delay_ms: time between a message and its echo, delivery and read.
    """

    entries_per_post: int = 50
    events_per_entry: int = 1
    connections: int = 4
    timeout_s: float = 5.0
    retries_at_once: int = 3
    backoff_s: float = 0.25
    backoff_most_s: float = 5.0
    disable_after_s: float = 3600.0
    duplicates: float = 0.0
    shuffle: bool = False
    missing_mids: float = 0.0
    missing_echo: float = 0.0
    missing_delivery: float = 0.0
    seconds: float = 0.0
    quoted: float = 0.0
    read_rate: float = 0.5
    delay_ms: int = 0


class Queue(collections.deque[Event]):
    """The events of one app, and how many connections take from it."""

    takers = 0


class Outbox:
    """Delivers events to the receivers of their pages.

    Args:
        world: knows the pages, and remembers the events which must survive a restart.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues: dict[str, Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._random = random.Random(0)
        self._epoch = 0
        self.delivery = Delivery()
        self.idle = asyncio.Event()
        self._zero()

    def _zero(self) -> None:
        self.pending = self.delivered = self.failed = self.posts = self.retries = self.duplicates = 0
        self.idle.set()

    def put(self, page: Page, told: Sequence[Event], delay_ms: int = 0) -> None:
        """Take events of a page for delivery, as far as the app is subscribed to them."""
        wanted = [event for event in told if event.field in page.subscribed_fields]
        if page.webhook_url is None or not wanted:
            return
        self.pending += len(wanted)
        self.idle.clear()
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._queue, page.app_id, wanted, self._epoch)
        else:
            self._queue(page.app_id, wanted, self._epoch)

    def put_lasting(self, page: Page, told: Sequence[Event]) -> int:
        """Take events which must reach the receiver even after a restart of the sandbox; return how many."""
        wanted = [event for event in told if event.field in page.subscribed_fields]
        if page.webhook_url is None or not wanted:
            return 0
        self._world.keep_events(wanted)
        self.put(page, wanted)
        return len(wanted)

    def resume(self) -> None:
        """Take up the lasting events which were not acknowledged before the restart."""
        for event in list(self._world.undelivered.values()):
            self.put(self._world.pages[event.page_id], [event])

    async def close(self) -> None:
        """Give up what is on its way."""
        await self._stop()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reset(self) -> None:
        """Forget everything that waits."""
        await self._stop()
        self._zero()

    async def _stop(self) -> None:
        self._epoch += 1
        self._queues.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _queue(self, app_id: str, told: Sequence[Event], epoch: int) -> None:
        if epoch != self._epoch:
            return
        queue = self._queues.setdefault(app_id, Queue())
        queue.extend(told)
        if queue.takers < self.delivery.connections:
            queue.takers += 1
            task = asyncio.get_running_loop().create_task(self._drain(queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self, queue: Queue) -> None:
        try:
            while queue:
                page, told = self._take(queue)
                acknowledged = await self._deliver(page, told)
                self._settle(told, acknowledged=acknowledged)
        finally:
            queue.takers -= 1

    def _take(self, queue: Queue) -> tuple[Page, list[Event]]:
        """Take events that go into one POST: they share the receiver and the secret."""
        delivery = self.delivery
        most = delivery.entries_per_post * delivery.events_per_entry
        if delivery.shuffle:
            queue.rotate(-self._random.randrange(min(len(queue), 4 * most)))
        page = self._world.pages[queue[0].page_id]
        target = (page.webhook_url, page.app_secret)
        told: list[Event] = []
        while queue and len(told) < most:
            other = self._world.pages[queue[0].page_id]
            if (other.webhook_url, other.app_secret) != target:
                break
            told.append(queue.popleft())
        if delivery.shuffle:
            self._random.shuffle(told)
        return page, told

    def _settle(self, told: Sequence[Event], *, acknowledged: bool) -> None:
        if acknowledged:
            self.delivered += len(told)
        else:
            self.failed += len(told)
        self.pending -= len(told)
        numbers = [event.number for event in told if event.number]
        if numbers:
            self._world.write("delivered", numbers)
            self._world.commit()
        if self.pending == 0:
            self.idle.set()

    async def _deliver(self, page: Page, told: Sequence[Event]) -> bool:
        """Post until acknowledged; False once the app was unsubscribed for not answering."""
        raw = self.encode(told)
        loop = asyncio.get_running_loop()
        first, pause, tries = loop.time(), self.delivery.backoff_s, 0
        while True:
            page = self._world.pages[page.page_id]  # the receiver may have moved
            if page.webhook_url is None or not page.subscribed_fields:
                return False
            if await self.post(page, raw):
                break
            tries += 1
            self.retries += 1
            if loop.time() - first > self.delivery.disable_after_s:
                self._world.change_page(page, subscribed_fields=[])
                self._world.commit()
                return False
            if tries > self.delivery.retries_at_once:
                await asyncio.sleep(pause)
                pause = min(pause * 2, self.delivery.backoff_most_s)
        if self._random.random() < self.delivery.duplicates:
            self.duplicates += 1
            await self.post(page, raw)
        return True

    def encode(self, told: Sequence[Event]) -> bytes:
        """Return the body of one POST."""
        entries: list[tuple[str, list[str]]] = []
        for event in told:
            body = self._disguise(event)
            last = entries[-1] if entries else None
            if last is not None and last[0] == event.page_id and len(last[1]) < self.delivery.events_per_entry:
                last[1].append(body)
            else:
                entries.append((event.page_id, [body]))
        at = now_ms()
        text = ",".join(f'{{"id":"{page}","time":{at},"messaging":[{",".join(some)}]}}' for page, some in entries)
        return f'{{"object":"page","entry":[{text}]}}'.encode("ascii")

    def _disguise(self, event: Event) -> str:
        delivery = self.delivery
        if not delivery.seconds and not delivery.quoted:
            return event.body
        drawn = self._random.random()
        if drawn < delivery.seconds:
            return event.body.replace(f'"timestamp":{event.at}', f'"timestamp":{event.at // 1000}', 1)
        if drawn < delivery.seconds + delivery.quoted:
            return event.body.replace(f'"timestamp":{event.at}', f'"timestamp":"{event.at}"', 1)
        return event.body

    async def post(self, page: Page, raw: bytes, headers: dict[str, str] | None = None) -> int:
        """Post signed bytes to the receiver of a page.

        Args:
            page: whose receiver and secret are used.
            raw: the body; the signature covers exactly these bytes.
            headers: replace what would be sent; an empty value leaves the header out.

        Returns:
            The status when it acknowledges (200), else 0.
        """
        status = await self.post_any(page, raw, headers)
        return status if status == 200 else 0

    async def post_any(self, page: Page, raw: bytes, headers: dict[str, str] | None = None) -> int:
        """Like `post`, but return whatever status was answered; 0 when there was no answer."""
        key = page.app_secret.encode()
        sent = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "X-Hub-Signature": "sha1=" + hmac.new(key, raw, hashlib.sha1).hexdigest(),
            "X-Hub-Signature-256": "sha256=" + hmac.new(key, raw, hashlib.sha256).hexdigest(),
            **(headers or {}),
        }
        sent = {name: value for name, value in sent.items() if value}
        self.posts += 1
        limit = aiohttp.ClientTimeout(total=self.delivery.timeout_s)
        try:
            async with self.session().post(str(page.webhook_url), data=raw, headers=sent, timeout=limit) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def session(self) -> aiohttp.ClientSession:
        """Return the pool of connections to receivers."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=True), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session
