"""The login page: without scripts, in English or Chinese."""

from __future__ import annotations

import html
from pathlib import Path

WORDS = {
    "en": {
        "title": "Log in",
        "name": "User name",
        "password": "Password",
        "send": "Log in",
        "wrong": "User name or password is wrong.",
        "often": "Too many attempts. Wait five minutes and try again.",
    },
    "zh": {
        "title": "登录",
        "name": "用户名",
        "password": "密码",
        "send": "登录",
        "wrong": "用户名或密码错误。",
        "often": "尝试次数过多。请五分钟后再试。",
    },
}

STYLE = Path(__file__).with_name("login.css").read_text()


def login_page(accept_language: str, message: str = "") -> str:
    """`message` is a key of WORDS, or empty."""
    language = "zh" if accept_language.strip().lower().startswith("zh") else "en"
    word = {key: html.escape(text) for key, text in WORDS[language].items()}
    said = f'<p role="alert">{word[message]}</p>' if message else ""
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Qwen3-VL · {word["title"]}</title>
<style>{STYLE}</style>
</head>
<body>
<form method="post" action="/login">
<h1>Qwen3-VL</h1>
{said}
<label>{word["name"]}<input name="name" autocomplete="username" autocapitalize="none" required autofocus maxlength="100"></label>
<label>{word["password"]}<input name="password" type="password" autocomplete="current-password" required maxlength="256"></label>
<button>{word["send"]}</button>
</form>
</body>
</html>
"""
