"""Hands Alertmanager's notifications on to chats that have a format of their own."""
