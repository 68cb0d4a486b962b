"""An open-loop load generator for the OpenAI chat API: what it sends and when is decided before the first answer."""
