# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many agents at once over one connection.

What is to be done to one agent is a generator, its *conversation*: it yields a question for the
supervisor, is sent the answer, and returns the outcome. ``hold`` keeps ``parallel`` conversations
going and puts all their open questions to the supervisor in one exchange, so that a batch costs a
few round trips and neither threads nor one program per agent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Callable, Generator, Sequence, TypeVar

from ..effects import Clock, Outcome
from ..errors import ContinuityError

SETTLES_WITHIN = 0.5
"""Seconds for which an agent that cannot report readiness must stay up to count as started."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Conversation = Generator[Question, Answer, Outcome]


def hold(
    agents: Sequence[str],
    begin: Callable[[str], Conversation[Question, Answer]],
    exchange: Callable[[list[Question]], list[Answer]],
    clock: Clock,
    *,
    parallel: int,
    timeout: float,
    pause: float,
) -> dict[str, Outcome]:
    """The outcome of every agent's conversation, no later than ``timeout`` seconds from now.

    ``exchange`` answers a list of questions in their order; ``pause`` is the time between two
    exchanges. A conversation that raises ContinuityError or OSError ends as a failed outcome; an
    exchange that raises ContinuityError ends all that are not finished.
    """
    start = clock.monotonic()
    deadline = start + timeout
    waiting = deque(dict.fromkeys(agents))
    talks: dict[str, Conversation[Question, Answer]] = {}
    questions: dict[str, Question] = {}
    begun: dict[str, float] = {}
    outcomes: dict[str, Outcome] = {}

    def advance(agent: str, step: Callable[[], Question]) -> None:
        try:
            questions[agent] = step()
            return
        except StopIteration as end:
            outcome: Outcome = end.value
        except (ContinuityError, OSError) as error:
            outcome = Outcome(agent, False, str(error))
        outcomes[agent] = replace(outcome, seconds=round(clock.monotonic() - begun[agent], 3))
        talks.pop(agent)
        questions.pop(agent, None)

    while waiting or talks:
        while waiting and len(talks) < max(1, parallel):
            agent = waiting.popleft()
            begun[agent] = clock.monotonic()
            talks[agent] = begin(agent)
            advance(agent, talks[agent].__next__)
        asked = list(questions)
        if not asked:
            continue
        try:
            answers = exchange([questions[agent] for agent in asked])
        except ContinuityError as error:
            outcomes.update({agent: Outcome(agent, False, str(error)) for agent in (*talks, *waiting)})
            break
        for agent, answer in zip(asked, answers):
            advance(agent, lambda talk=talks[agent], answer=answer: talk.send(answer))  # type: ignore[misc]
        if clock.monotonic() >= deadline:
            late = {agent: "was not finished" for agent in talks}
            late.update({agent: "was not begun" for agent in waiting})
            for agent, what in late.items():
                seconds = round(clock.monotonic() - begun.get(agent, clock.monotonic()), 3)
                outcomes[agent] = Outcome(agent, False, f"{what} within {timeout:g} s", seconds)
            break
        if questions:
            clock.sleep(pause)
    return {agent: outcomes[agent] for agent in dict.fromkeys(agents)}
