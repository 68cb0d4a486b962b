"""Everything the page says, in each language, and which language a browser gets.

The browser translates what stands on the page from the start (Gradio sends it the tables); what the server says later is
put into words here. Both choose the language by the same rule: the cookie that the switch sets, else the first
language of the browser that there is a table for, else English.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

LANGUAGE_COOKIE = "qwen3vl_language"
DEFAULT = "en"

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "new_chat": "New chat",
        "conversations": "Conversations",
        "no_conversations": "No conversations yet",
        "untitled": "Image",
        "rename": "Rename",
        "rename_prompt": "Name of this conversation",
        "delete": "Delete",
        "delete_prompt": "Delete this conversation?",
        "settings": "Settings",
        "system_prompt": "System prompt",
        "system_prompt_info": "What the model should always keep in mind",
        "system_prompt_hint": "Answer briefly and in a friendly tone.",
        "temperature": "Temperature",
        "temperature_info": "0 is the most predictable",
        "top_p": "Top P",
        "top_p_info": "Share of the likeliest words to choose from",
        "max_tokens": "Longest answer (tokens)",
        "defaults": "Restore defaults",
        "language": "Language",
        "theme": "Appearance",
        "theme_system": "System",
        "theme_light": "Light",
        "theme_dark": "Dark",
        "sidebar": "Show or hide the conversations",
        "greeting": "## What would you like to know?\n\nAsk a question, with images or a short video if you like: paste, drop "
        "or choose them.",
        "box_hint": "Ask about an image, or anything",
        "retry": "Retry",
        "edit": "Edit question",
        "clear": "Clear",
        "cancel": "Cancel",
        "editing": "You are changing your last question. Its images stay; send it to get a new answer.",
        "stopped": "stopped",
        "no_answer": "no answer; press Retry",
        "interrupted": "the answer was interrupted; press Retry",
        "in_line": "Many questions are being answered right now. Yours is in line…",
        "image_size": "image, {width} x {height} pixels",
        "image_gone": "{image}; no longer kept",
        "frame": "{second} s",
        "not_saved": "The history cannot be saved right now (Redis does not answer). The chat goes on; what you see stays "
        "on this page's server until it can be saved.",
        "engine_loading": "The model is still being loaded. This takes a few minutes after a start; you can ask as soon as "
        "this message goes away.",
        "engine_down": "The engine cannot be reached right now. It is usually back within a minute or two; this message "
        "goes away then. Press Retry to ask again.",
        "engine_busy": "The engine is full right now. Wait a moment and press Retry.",
        "engine_slow": "The engine did not answer in time. Press Retry.",
        "engine_broke_off": "the answer broke off. Press Retry.",
        "engine_failed": "the engine failed (status {status}). Press Retry.",
        "engine_refused": "The engine refused the question: {reason}",
        "engine_no_model": "The engine serves no model.",
        "fault": "Something went wrong here. Press Retry.",
        "still_answering": "an answer is still being written; stop it or wait",
        "too_many_of_yours": "{count} of your questions are being answered already; wait for one of them",
        "too_many_answers": "too many answers are being written right now; try again in a moment",
        "nothing_to_retry": "there is no question to ask again",
        "edit_gone": "the question was changed elsewhere meanwhile; reload the page",
        "empty_question": "type a question or add an image",
        "long_question": "the question is longer than {limit} characters",
        "many_images": "{count} images; one message takes at most {limit}",
        "large_image": "the image has {width} x {height} pixels; at most {millions} million are read",
        "not_an_image": "the file is not an image that can be read (JPEG, PNG, WebP, GIF or BMP)",
        "video_unreadable": "This browser cannot read that video.",
        "video_reading": "Taking pictures out of the video…",
    },
    "zh-CN": {
        "new_chat": "新对话",
        "conversations": "对话列表",
        "no_conversations": "还没有对话",
        "untitled": "图片",
        "rename": "重命名",
        "rename_prompt": "对话名称",
        "delete": "删除",
        "delete_prompt": "删除这个对话？",
        "settings": "设置",
        "system_prompt": "系统提示词",
        "system_prompt_info": "模型始终要遵守的要求",
        "system_prompt_hint": "请用友好的语气简短回答。",
        "temperature": "温度",
        "temperature_info": "0 表示结果最稳定",
        "top_p": "Top P（核采样）",
        "top_p_info": "从最可能的词中选择的比例",
        "max_tokens": "回答最大长度（token）",
        "defaults": "恢复默认",
        "language": "语言",
        "theme": "外观",
        "theme_system": "跟随系统",
        "theme_light": "浅色",
        "theme_dark": "深色",
        "sidebar": "显示或隐藏对话列表",
        "greeting": "## 想了解什么？\n\n输入问题，也可以附上图片或短视频：粘贴、拖放或选择文件。",
        "box_hint": "就图片提问，或随便问点什么",
        "retry": "重试",
        "edit": "编辑问题",
        "clear": "清空",
        "cancel": "取消",
        "editing": "正在修改上一个问题。原有图片会保留；发送后将重新回答。",
        "stopped": "已停止",
        "no_answer": "没有回答；请点击“重试”",
        "interrupted": "回答被中断；请点击“重试”",
        "in_line": "当前提问较多，您的问题正在排队…",
        "image_size": "图片，{width} x {height} 像素",
        "image_gone": "{image}；已不再保存",
        "frame": "{second} 秒",
        "not_saved": "暂时无法保存历史记录（Redis 无响应）。对话可以继续；内容先保留在当前服务器上，恢复后自动保存。",
        "engine_loading": "模型仍在加载，启动后需要几分钟；此提示消失后即可提问。",
        "engine_down": "暂时无法连接推理引擎，通常一两分钟内恢复，届时此提示会消失。请点击“重试”重新提问。",
        "engine_busy": "推理引擎已满载。请稍候再点击“重试”。",
        "engine_slow": "推理引擎没有及时响应。请点击“重试”。",
        "engine_broke_off": "回答中途中断。请点击“重试”。",
        "engine_failed": "推理引擎出错（状态码 {status}）。请点击“重试”。",
        "engine_refused": "推理引擎拒绝了这个问题：{reason}",
        "engine_no_model": "推理引擎没有提供任何模型。",
        "fault": "这里出了点问题。请点击“重试”。",
        "still_answering": "上一个回答仍在生成，请停止或等待",
        "too_many_of_yours": "您已有 {count} 个问题正在回答，请先等待其中一个完成",
        "too_many_answers": "当前正在生成的回答过多，请稍后再试",
        "nothing_to_retry": "没有可以重新提问的问题",
        "edit_gone": "这个问题已在别处被修改；请刷新页面",
        "empty_question": "请输入问题或添加图片",
        "long_question": "问题超过 {limit} 个字符",
        "many_images": "共 {count} 张图片；每条消息最多 {limit} 张",
        "large_image": "图片为 {width} x {height} 像素；最多读取 {millions} 百万像素",
        "not_an_image": "无法读取该图片文件（支持 JPEG、PNG、WebP、GIF、BMP）",
        "video_unreadable": "此浏览器无法读取该视频。",
        "video_reading": "正在从视频中截取画面…",
    },
}
LANGUAGE_NAMES = {"en": "English", "zh-CN": "中文"}


class Told(Exception):
    """A failure the user is told of, as a key of the tables with its values."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values

    def text(self, language: str) -> str:
        return say(language, self.key, self.values)


def say(language: str, key: str, values: Mapping[str, object] | None = None) -> str:
    return TEXTS[language][key].format_map(values or {})


def language_of(cookie_header: str, accept_language: str) -> str:
    """One of the tables' names, from a request's Cookie and Accept-Language headers."""
    try:
        cookie = SimpleCookie(cookie_header).get(LANGUAGE_COOKIE)
    except CookieError:
        cookie = None
    if cookie is not None and cookie.value in TEXTS:
        return cookie.value
    for wanted in accept_language.lower().split(","):  # browsers send it ordered
        for language in TEXTS:
            if wanted.strip().split(";")[0].split("-")[0] == language.split("-")[0]:
                return language
    return DEFAULT
