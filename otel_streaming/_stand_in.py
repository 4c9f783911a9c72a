"""What stands in an application's place: servers hand out what they serve, gunicorn as its worker's ``wsgi``."""

from __future__ import annotations

from typing import Any

_OWN = {"_application", "_server"}


class StandIn:
    """Has its application's attributes, to read, set and delete, but those of its own and the data model's."""

    _application: Any

    def __getattr__(self, name: str) -> Any:
        if _is_own(name):  # a copy has been given none; how it is made is its own affair
            raise AttributeError(name)
        application = self._application
        # Middleware calls what it wraps "app": ours is told of only where the application itself wraps nothing.
        return getattr(application, name, application) if name == "app" else getattr(application, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_own(name):
            object.__setattr__(self, name, value)
        elif name == "app" and not hasattr(self._application, name):
            self._application = value
        elif type(self).__base__ is StandIn:
            setattr(self._application, name, value)
        else:  # a class derived from ours keeps what is set on it
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if _is_own(name) or name in vars(self):
            object.__delattr__(self, name)
        else:
            delattr(self._application, name)


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith("__")
