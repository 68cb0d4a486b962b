"""`python webui.py --model Qwen/Qwen3-VL-4B-Instruct --device cuda`: the chat page and the API, on port 7860."""

from __future__ import annotations

import sys

from chat_webui.environment import prepare_environment
from chat_webui.logs import log_json_lines
from chat_webui.settings import SettingsError, parse_settings


def main() -> int:
    try:
        settings = parse_settings(sys.argv[1:])
        settings.current_redis_password()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    log_json_lines()
    prepare_environment()
    import uvloop
    from chat_webui.server import serve  # only now: Gradio reads the environment when it is imported

    try:
        uvloop.run(serve(settings))
    except SettingsError as error:  # a file that a setting names cannot be used
        print(error, file=sys.__stderr__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
