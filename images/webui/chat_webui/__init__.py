"""Web UI for a Qwen3-VL engine that speaks the OpenAI API: chat page, history in Redis, API pass-through."""
