"""The secret part of the stack config. Kept apart from Settings, so that no plain value ever carries a secret."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

# Redis takes any password; this one also travels through a configuration file, so it has to be one line.
MIN_REDIS_PASSWORD = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Secret outputs; the engine keeps them encrypted in state and hides them in every message."""

    redis_password: pulumi.Output[str]
    ssh_private_key: pulumi.Output[str] | None  # absent: `ssh.privateKeyFile` or the SSH agent
    model_store: pulumi.Output[str] | None  # absent: the source of the models is public, or an export

    @staticmethod
    def read(config: pulumi.Config) -> Credentials:
        """Reads the secrets from the stack config. Raises pulumi.RunError naming each that is missing or unusable."""
        found = {key: config.get_secret(key) for key in ("redisPassword", "sshPrivateKey", "modelStoreCredential")}
        problems = missing(config.name, present={key for key, value in found.items() if value is not None})
        password = found["redisPassword"]
        if problems or password is None:
            raise pulumi.RunError("\n".join(problems))
        return Credentials(
            redis_password=password.apply(lambda text: checked_redis_password(config.name, text)),
            ssh_private_key=found["sshPrivateKey"],
            model_store=found["modelStoreCredential"],
        )


def missing(project: str, present: set[str]) -> list[str]:
    """One line for each required secret that is not in `present`."""
    required = {"redisPassword": "Redis is never left open"}
    return [
        f"{project}:{key}: missing; {why}. Run: pulumi config set --secret {key} VALUE (or let `openssl rand -hex 24` choose)"
        for key, why in required.items()
        if key not in present
    ]


def checked_redis_password(project: str, text: str) -> str:
    """The password itself. Raises pulumi.RunError, without showing it, if it is too short or not one printable line."""
    if len(text) < MIN_REDIS_PASSWORD or not text.isprintable() or text != text.strip():
        raise pulumi.RunError(
            f"{project}:redisPassword: not usable; it must be one printable line of {MIN_REDIS_PASSWORD} characters or more,"
            " without spaces at its ends. Run: pulumi config set --secret redisPassword VALUE"
        )
    return text
