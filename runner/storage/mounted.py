"""Credentials in a mounted Secret, which Kubernetes replaces under a running pod."""

from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Forbidden

ACCESS_KEY_FILE = "AWS_ACCESS_KEY_ID"
SECRET_KEY_FILE = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the file's name
TOKEN_FILE = "AWS_SESSION_TOKEN"  # noqa: S105 - the file's name


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """One consistent reading, in the words of botocore's `ReadOnlyCredentials`.

    Attributes:
        access_key: the key's id.
        secret_key: never shown.
        token: of temporary credentials; never shown.
        account_id: None, for the file has none.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    account_id: str | None = None


class MountedCredentials:
    """botocore's `Credentials`, read again whenever the files change: the signer asks at every request.

    Args:
        directory: holds the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN.

    Raises:
        runner.errors.Forbidden: it does not.
    """

    method = "mounted-secret"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen = self._signature()
        self._frozen = self._read()

    @property
    def access_key(self) -> str:
        """The key's id."""
        return self.get_frozen_credentials().access_key

    @property
    def secret_key(self) -> str:
        """The secret key."""
        return self.get_frozen_credentials().secret_key

    @property
    def token(self) -> str | None:
        """The session token, if there is one."""
        return self.get_frozen_credentials().token

    def get_frozen_credentials(self) -> FrozenCredentials:
        """Those that the files hold now."""
        signature = self._signature()
        if signature != self._seen:
            # Read before remembering: when reading fails, the next request tries again.
            self._frozen = self._read()
            self._seen = signature
        return self._frozen

    def get_deferred_property(self, name: str) -> str | None:
        """What botocore asks when it builds an endpoint."""
        value = getattr(self.get_frozen_credentials(), name)
        return None if value is None else str(value)

    def _signature(self) -> tuple[tuple[int, int], ...]:
        paths = [self._directory / name for name in (ACCESS_KEY_FILE, SECRET_KEY_FILE, TOKEN_FILE)]
        return tuple((path.stat().st_mtime_ns, path.stat().st_ino) for path in paths if path.exists())

    def _read(self) -> FrozenCredentials:
        access_key, secret_key, token = map(self._value, (ACCESS_KEY_FILE, SECRET_KEY_FILE, TOKEN_FILE))
        if access_key is None or secret_key is None:
            missing = ACCESS_KEY_FILE if access_key is None else SECRET_KEY_FILE
            message = f"no store credentials: {self._directory / missing} cannot be read or is empty"
            raise Forbidden(
                message,
                "Give the Secret that store.secret names the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        return FrozenCredentials(access_key, secret_key, token)

    def _value(self, name: str) -> str | None:
        try:
            return (self._directory / name).read_text().strip() or None
        except OSError:
            return None


class MountedProvider:
    """A credential provider for botocore's chain.

    Args:
        directory: the mounted Secret.
    """

    METHOD = CANONICAL_NAME = MountedCredentials.method

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self) -> MountedCredentials:
        """The credentials; the chain asks no further."""
        return MountedCredentials(self._directory)
