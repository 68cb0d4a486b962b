"""What the engine is asked: roles, order, images, and what has to fit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from chat_webui import prompt
from chat_webui.conversation import Conversation, KeptImage, Turn, TurnState
from chat_webui.images import ImageShelf, PreparedImage

SHELF = ImageShelf()
messages_for = partial(prompt.messages_for, max_images=4)
PICTURE = KeptImage("digest", 320, 320, "data:thumbnail")
ASKED = Turn("new", 9.0, "and now?")


def chat(turns: tuple[Turn, ...]) -> Conversation:
    return Conversation("c", "", turns)


def turn(number: int, answer: str = "answer", images: tuple[KeptImage, ...] = ()) -> Turn:
    return Turn(f"t{number}", float(number), f"question {number}", images, answer, TurnState.DONE)


def roles(conversation: Conversation, tokens: int = 10_000) -> list[str]:
    return [message["role"] for message in messages_for(conversation, SHELF, tokens)]


def test_a_first_question_is_one_message() -> None:
    assert messages_for(chat((ASKED,)), SHELF, 1000) == [{"role": "user", "content": "and now?"}]


def test_earlier_turns_come_first_in_order() -> None:
    messages = messages_for(chat((turn(1), turn(2), ASKED)), SHELF, 1000)
    assert [m["content"] for m in messages] == ["question 1", "answer", "question 2", "answer", "and now?"]


def test_turns_without_an_answer_are_left_out() -> None:
    failed = replace(turn(2, answer=""), state=TurnState.FAILED)
    stopped = replace(turn(3, answer="half"), state=TurnState.STOPPED)
    assert roles(chat((turn(1), failed, stopped, ASKED))) == ["user", "assistant", "user", "assistant", "user"]


def test_the_oldest_turns_are_left_out_when_the_context_is_short() -> None:
    long = turn(1, answer="x" * 3000)
    messages = messages_for(chat((long, turn(2), ASKED)), SHELF, 500)
    assert [m["content"] for m in messages] == ["question 2", "answer", "and now?"]


def test_the_question_itself_always_goes() -> None:
    asked = replace(ASKED, question="x" * 9000)
    assert len(messages_for(chat((turn(1), asked)), SHELF, 100)) == 1


def test_images_are_sent_from_the_shelf_else_as_thumbnail_else_not_at_all() -> None:
    shelf = ImageShelf()
    asked = replace(ASKED, images=(PICTURE, replace(PICTURE, digest="gone", thumbnail="")))

    def urls() -> list[str]:
        content = messages_for(chat((asked,)), shelf, 1000)[0]["content"]
        return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]

    assert urls() == ["data:thumbnail"]
    shelf.put(PreparedImage("data:full", PICTURE))
    assert urls() == ["data:full"]


def test_images_count_as_tokens() -> None:
    big = replace(PICTURE, width=1024, height=1024)
    assert roles(chat((turn(1, images=(big,)), ASKED)), tokens=900) == ["user"]
    assert roles(chat((turn(1, images=(big,)), ASKED)), tokens=1200) == ["user", "assistant", "user"]


def test_an_image_without_words_is_a_message_too() -> None:
    asked = replace(ASKED, question="", images=(PICTURE,))
    content = messages_for(chat((asked,)), SHELF, 1000)[0]["content"]
    assert [part["type"] for part in content] == ["image_url"]


def test_only_the_newest_images_of_the_whole_chat_are_shown_and_the_others_mentioned() -> None:
    def pictures(name: str, count: int) -> tuple[KeptImage, ...]:
        return tuple(KeptImage(f"{name}{n}", 32, 32, f"data:{name}{n}") for n in range(count))

    asked = replace(ASKED, images=pictures("c", 2))
    asking = chat((turn(1, images=pictures("a", 3)), turn(2, images=pictures("b", 3)), asked))
    messages = [m for m in messages_for(asking, SHELF, 10_000) if m["role"] == "user"]
    assert messages[0]["content"] == "[3 image(s) not shown any more] question 1"
    urls = [[p["image_url"]["url"] for p in m["content"] if p["type"] == "image_url"] for m in messages[1:]]
    assert urls == [["data:b0", "data:b1"], ["data:c0", "data:c1"]]
    assert messages[1]["content"][-1]["text"] == "[1 image(s) not shown any more] question 2"
    assert messages[2]["content"][-1]["text"] == "and now?"


def test_the_system_prompt_comes_first_and_counts() -> None:
    asked = chat((turn(1), ASKED))
    messages = messages_for(asked, SHELF, 1000, system_prompt="be brief")
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"] == "be brief"
    short = messages_for(asked, SHELF, 60, system_prompt="x" * 120)
    assert [m["role"] for m in short] == ["system", "user"]


def test_a_frame_of_a_video_is_told_with_its_time() -> None:
    frames = tuple(replace(PICTURE, second=second) for second in (0.5, 12.25))
    content = messages_for(chat((replace(ASKED, images=frames),)), ImageShelf(), 1000)[0]["content"]
    assert [part.get("text", "image") for part in content] == [
        "<0.5 seconds>",
        "image",
        "<12.2 seconds>",
        "image",
        "and now?",
    ]
