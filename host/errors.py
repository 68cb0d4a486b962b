"""What can go wrong with a node, always as one sentence a user can act on: `<node>: <what>; <rule>. <what to do>`."""

from __future__ import annotations


class HostError(Exception):
    """A failure with a message for the user. Carries no secret and is shown without a traceback."""


class Unreachable(HostError):
    """The node cannot be logged in to: no route, refused, timed out. May pass by itself."""


class Unable(Unreachable):
    """Every peer answered, and none is a member that could do the step: before a cluster exists, or after its end."""


class Refused(HostError):
    """The node answered, and may never be used like this: wrong host key, refused key, no sudo. Waiting does not help."""


class KeyRefused(Refused):
    """The log-in was refused. A node that is starting refuses everybody but root for a moment."""


class ConnectionLost(Unreachable):
    """The connection ended while a command ran: the node may be rebooting."""


class DeadlineExceeded(HostError):
    """A command ran past its deadline and was ended with everything it started."""
