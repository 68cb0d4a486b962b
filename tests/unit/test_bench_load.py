"""The load generator's own arithmetic: what is due when, what a figure means, and when a run does not count."""

from __future__ import annotations

import base64
import io
import itertools
import json
import statistics

import pytest
from PIL import Image

from bench import gateway_report
from bench.gateway_report import Sample, Stage
from bench.load.generator import judge
from bench.load.instant import Connection, answer
from bench.load.questions import Questions, Shape
from bench.load.schedule import OutOfBounds, due_times
from bench.load.summary import NOT_SENT, Outcome, Summary, quantiles, summarize

SHAPE = Shape(model="m", stream=False, max_tokens=8)


def summary(outcomes: list[Outcome], cpu_seconds: float = 0.1, seconds: float = 10.0) -> Summary:
    return summarize(
        outcomes, wanted_rate=1, seconds=seconds, most_in_flight=1, cpu_seconds=cpu_seconds, late_limit_ms=10
    )


def test_constant_arrivals_are_evenly_spaced_and_bounded_in_time_and_number() -> None:
    assert due_times("constant", 4, 1, 100, 0) == [0, 0.25, 0.5, 0.75]
    assert due_times("constant", 4, 1, 3, 0) == [0, 0.25, 0.5]


def test_poisson_arrivals_repeat_with_their_seed_and_have_the_wanted_rate_and_spread() -> None:
    times = due_times("poisson", 50, 100, 100_000, 7)
    assert times == due_times("poisson", 50, 100, 100_000, 7)
    assert times != due_times("poisson", 50, 100, 100_000, 8)
    assert times == sorted(times)
    assert times[-1] < 100
    assert len(times) == pytest.approx(5000, rel=0.06)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.1)  # exponential: as wide as its mean


@pytest.mark.parametrize(("rate", "seconds", "limit"), [(0, 1, 1), (1e9, 1, 1), (1, 1e9, 1), (1, 0, 1), (1, 1, 0)])
def test_a_load_without_bounds_is_refused(rate: float, seconds: float, limit: int) -> None:
    with pytest.raises(OutOfBounds, match="must be above 0 and at most"):
        due_times("poisson", rate, seconds, limit, 0)


def test_quantiles_are_values_that_occurred() -> None:
    found = quantiles([number / 1000 for number in range(1, 101)])
    assert found == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert quantiles([0.003]) == {"p50": 3, "p90": 3, "p99": 3, "max": 3}
    assert quantiles([]) == {}


def test_latency_counts_from_the_moment_a_request_was_due() -> None:
    """A server that stops for a second must show it in every request that fell due meanwhile."""
    outcomes = [Outcome(due=at / 10, sent=1.0, first_byte=1.0, done=1.001) for at in range(10)]
    found = summary(outcomes)
    assert found.latency["max"] == pytest.approx(1001)
    assert found.latency["p50"] == pytest.approx(501)
    assert found.lateness["max"] == pytest.approx(1000)


def test_a_late_generator_makes_its_own_run_invalid() -> None:
    on_time = [Outcome(at, at + 0.001, at + 0.1, at + 0.2) for at in range(9)]
    assert summary(on_time).clean
    late = summary([*on_time, Outcome(9, 9.02, 9.1, 9.2)])
    assert late.invalid == ["1 of 100 requests left 20.0 ms late or later; 10 ms are allowed"]
    assert not late.clean


def test_a_generator_at_the_end_of_its_core_makes_its_run_invalid() -> None:
    assert "95% of one core" in summary([Outcome(0, 0, 0.1, 0.2)], cpu_seconds=9.5).invalid[0]


def test_what_was_not_answered_is_counted_by_kind_and_in_no_latency() -> None:
    outcomes = [
        Outcome(0, 0, 0.1, 0.2),
        Outcome(1, 1, 31, 31, "timeout"),
        Outcome(2, 2, 2.1, 2.1, "status 429"),
        Outcome(3, 3, 3.1, 3.1, "status 429"),
        Outcome(4, 4, 4, 4, NOT_SENT),
    ]
    found = summary(outcomes)
    assert found.errors == {NOT_SENT: 1, "status 429": 2, "timeout": 1}
    assert (found.sent, found.answered) == (4, 1)
    assert found.latency["max"] == 200
    assert not found.clean
    assert summary(outcomes[1:]).invalid == ["no request was answered"]


def test_every_body_is_a_chat_with_a_jpeg_of_the_exact_size_and_pixels_of_its_own() -> None:
    questions = Questions(SHAPE, first=0xFFFFFFFE)
    seen = set()
    for number in range(3):  # past the end of the numbers, too
        body = json.loads(questions.body(number))
        text, image = body["messages"][0]["content"]
        assert text["text"].startswith(questions.tag(number))
        file = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,"), validate=True)
        assert len(file) == 300_000
        with Image.open(io.BytesIO(file)) as picture:
            assert picture.size == (1280, 720)
            seen.add(picture.convert("RGB").tobytes())
    assert len(seen) == 3


def test_the_picture_is_no_padding() -> None:
    """Nine tenths of the file are picture: a decoder has the work that 300 KB are."""
    file = Questions(SHAPE, first=0).image(0)
    with Image.open(io.BytesIO(file)) as picture:
        assert len(picture.info.get("comment", b"")) < 30_000


@pytest.mark.parametrize(
    ("status", "body", "stream", "tag", "error"),
    [
        (200, b'{"choices": ["ask-1"]}', False, "ask-1", ""),
        (200, b'{"choices": ["ask-2"]}', False, "ask-1", "wrong answer"),
        (200, b"{}", False, "", "no choices"),
        (200, b'data: "ask-1"\n\ndata: [DONE]\n\n', True, "ask-1", ""),
        (200, b'data: "ask-1"\n\n', True, "ask-1", "cut stream"),
        (429, b'{"choices": []}', False, "", "status 429"),
    ],
)
def test_only_a_complete_answer_to_the_own_question_is_right(
    status: int, body: bytes, stream: bool, tag: str, error: str
) -> None:
    assert judge(status, body, stream, tag) == error


class Written:
    def __init__(self) -> None:
        self.data: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.data.append(data)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_the_instant_engine_answers_each_request_once_however_it_arrives(chunked: bool, step: int) -> None:
    body = b'{"stream": false, "text": "ask-0000002a"}'
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    request = b"POST /v1/chat/completions HTTP/1.1\r\n%b\r\n\r\n%b" % (length, framed)
    connection, written = Connection(), Written()
    connection.connection_made(written)  # type: ignore[arg-type]
    for _ in range(2):
        for at in range(0, len(request), step):
            connection.data_received(request[at : at + step])
    assert len(written.data) == 2
    assert all(b"ask-0000002a" in each and each.startswith(b"HTTP/1.1 200") for each in written.data)


def test_the_instant_engine_streams_when_it_is_asked_to() -> None:
    said = answer(b"POST / HTTP/1.1", b'POST / HTTP/1.1\r\n\r\n{"stream": true, "text": "ask-0000002a"}')
    assert b"text/event-stream" in said
    assert judge(200, said, True, "ask-0000002a") == ""


def sample(path: str, rate: float, p50: float, run: int = 0, **changed: object) -> Sample:
    known: dict[str, object] = {
        "stage": "instant",
        "rate": rate,
        "path": path,
        "run": run,
        "sent": 10,
        "answered": 10,
        "sent_rate": rate * 0.85,  # a short Poisson run has fewer than wanted, and that is no failure
        "answered_rate": rate * 0.85,
        "errors": {},
        "latency": {"p50": p50, "p99": 2 * p50},
        "first_byte": {"p50": p50},
        "lateness": {"p99": 1.0},
        "invalid": [],
        "cpu": 1.0,
        "memory_mib": 100.0,
        "load_average": 1.0,
    }
    return Sample(**{**known, **changed})  # type: ignore[arg-type]


STAGE = Stage("instant", "an engine", stream=False, rates=(35,))


def report(samples: list[Sample]) -> str:
    facts = {
        "cores": "2",
        "cpu": "x",
        "memory": "1",
        "kernel": "6",
        "python": "3",
        "ssh": "-",
        "load before": "0",
        "date": "-",
    }
    return gateway_report.markdown(samples, [STAGE], {**facts, "runs": "2", "seconds": "1"}, {}, "")


def test_added_latency_is_the_difference_within_a_turn() -> None:
    text = report(
        [
            sample("direct", 35, 1, run=0),
            sample("webui", 35, 2, run=0),
            sample("direct", 35, 10, run=1),
            sample("webui", 35, 12, run=1),
        ]
    )
    assert "| web UI (`/v1`) | 7.0 (2.0-12.0) | 1.50 (1.00-2.00) |" in text
    assert "| added P50, web UI (`/v1`), 35/s, ms at most | 3 | 1.50 (1.00-2.00) | met |" in text


def test_late_runs_are_marked_and_judge_no_aim() -> None:
    late = [sample("direct", 35, 1), sample("webui", 35, 2, invalid=["late"])]
    text = report(late)
    assert "web UI (`/v1`) (late)" in text
    assert "| no run in which the generator was on time | not judged |" in text


def test_the_highest_rate_ends_below_the_first_that_failed() -> None:
    samples = [
        sample("webui", 35, 1),
        sample("webui", 70, 1, errors={"status 502": 1}),
        sample("webui", 140, 1),
        sample("traefik", 35, 1),
        sample("traefik", 70, 1, answered_rate=40),
    ]
    assert gateway_report.highest(samples, "webui") == 35
    assert gateway_report.highest(samples, "traefik") == 35
    assert "| requests/s without an error, web UI (`/v1`) | 260 | 35 | **missed** |" in report(samples)
