"""What was sent without a number, so that a copy of it is not taken for news.

Without a number an echo, a second echo and a response with the same content
look alike. A peer answers every echo it does not expect with one more echo, so
two ends that take echoes for news never stop. Hence for each text sent here:

1. a message that was given up, or sent without waiting, still has its echo to
   come: one copy is that echo, and dropped;
2. then one copy for each time it was sent may be the response of a callback: news;
3. any copy more is dropped if it follows closely upon the moment these bytes
   last left here, be it as a message or as an echo: it came around a loop.
   After a longer pause the other end says the same on its own account: news.

Over TCP nothing is doubled or lost, so `LateEchoes` counts exactly, and all copies
more are news.

Dropping what was news costs the other end one send, echoing what was an echo
costs both of them a storm.
"""

from __future__ import annotations


class _Text:
    __slots__ = ("late_echoes", "left_at", "responses")

    def __init__(self) -> None:
        self.left_at = 0.0
        self.late_echoes = 0
        self.responses = 0


class Recent:
    """Texts sent lately, each with what may still come back.

    Parameters
    ----------
    texts : int
        How many are remembered.
    age_s : float
        How long.
    responses : int
        The most responses of one text that are waited for.
    """

    __slots__ = ("_age_s", "_asked", "_by_bytes", "_responses", "_texts")

    def __init__(self, texts: int, age_s: float, responses: int) -> None:
        self._texts = texts
        self._age_s = age_s
        self._responses = responses
        #: Responses to come by event, whatever they say: the same token may answer several questions.
        self._asked: dict[bytes, tuple[int, float]] = {}
        #: In the order in which they were noted.
        self._by_bytes: dict[bytes, _Text] = {}

    def __len__(self) -> int:
        return len(self._by_bytes)

    def note(self, data: bytes, now: float, *, late: bool) -> None:
        """Remember a message that was confirmed, or one whose echo is yet to come (`late`)."""
        texts = self._by_bytes
        text = texts.pop(data, None)
        if text is None or now - text.left_at > self._age_s:
            text = _Text()
        texts[data] = text
        text.left_at = now
        if text.responses < self._responses:
            text.responses += 1
        event = _event_of(data)
        self._asked[event] = min(self._open(event, now) + 1, self._responses), now
        if len(self._asked) > self._texts:
            del self._asked[next(iter(self._asked))]
        if late and text.late_echoes < self._responses:
            text.late_echoes += 1
        if len(texts) > self._texts:
            del texts[next(iter(texts))]

    def takes(self, data: bytes, now: float, loop_s: float) -> bool:
        """Say whether this is a copy to be dropped.

        Parameters
        ----------
        data : bytes
            What arrived.
        now : float
            Monotonic seconds.
        loop_s : float
            How long a message may take around a loop.
        """
        text = self._by_bytes.get(data)
        if text is None:
            return False
        if now - text.left_at > self._age_s:
            del self._by_bytes[data]
            return False
        if text.late_echoes:
            text.late_echoes -= 1
            return True
        event = _event_of(data)
        asked = self._open(event, now)
        if asked:
            self._asked[event] = asked - 1, now
        if text.responses:
            text.responses -= 1
        elif not asked and now - text.left_at < loop_s:
            return True
        text.left_at = now
        return False

    def _open(self, event: bytes, now: float) -> int:
        asked, at = self._asked.get(event, (0, now))
        return asked if now - at <= self._age_s else 0


def _event_of(data: bytes) -> bytes:
    """Return the first item of a message, or the beginning of what is none."""
    return data[:16].partition(b",")[0]


class LateEchoes:
    """Messages that were given up, or sent without waiting, in a stream.

    Each of them will be echoed once, however late, unless the connection breaks.

    Parameters
    ----------
    texts : int
        How many different ones are remembered.
    """

    __slots__ = ("_texts", "_times")

    def __init__(self, texts: int) -> None:
        self._texts = texts
        #: How many echoes of each text are to come, without the white space behind it.
        self._times: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def note(self, data: bytes) -> None:
        """Remember a message."""
        text = data.rstrip()
        self._times[text] = self._times.get(text, 0) + 1
        if len(self._times) > self._texts:
            del self._times[next(iter(self._times))]

    def takes(self, data: bytes) -> bool:
        """Say whether this is one of the echoes."""
        if not self._times:
            return False
        text = data.rstrip()
        times = self._times.pop(text, 0)
        if times > 1:
            self._times[text] = times - 1
        return times > 0
