"""What an S3 server's and the SDK's errors mean to a person: one table, by error code or exception class.

Server messages are not passed on: some servers put access keys or signed strings into them.
"""

from dataclasses import dataclass

from runner.errors import BadData, DiskFull, Forbidden, InvalidSpec, NotFound, RunnerError, StoreUnreachable
from runner.storage.store import CreateOnlyUnsupported

_CREDENTIALS = (
    "Check the AWS_* variables or profile; in a pod, the keys of the Secret that store.secret names."
)
_RETRY = (
    "Try again; if it stays so, check store.endpoint (the port, and whether the server speaks http or https)"
    " and the network (proxy, VPN, firewall)."
)


@dataclass(frozen=True, slots=True)
class _Meaning:
    codes: str
    error: type[RunnerError]
    says: str
    remedy: str


_TABLE = (
    _Meaning("NoSuchKey", NotFound, "no such object", ""),
    _Meaning(
        "NoSuchBucket",
        NotFound,
        "there is no such bucket",
        "Create it, for instance with `{create}`, or correct --store.",
    ),
    _Meaning(
        "AccessDenied AllAccessDisabled AccountProblem NotSignedUp UnauthorizedAccess InvalidSecurity",
        Forbidden,
        "these credentials do not allow it",
        "Allow this identity s3:GetObject, PutObject, DeleteObject on the bucket's objects and s3:ListBucket on the"
        " bucket, or use other credentials.",
    ),
    _Meaning("InvalidAccessKeyId", Forbidden, "the server does not know this access key", _CREDENTIALS),
    _Meaning("SignatureDoesNotMatch", Forbidden, "the secret key does not fit the access key", _CREDENTIALS),
    _Meaning(
        "ExpiredToken InvalidToken TokenRefreshRequired RequestExpired SSOTokenLoadError SSOError"
        " UnauthorizedSSOTokenError LoginTokenLoadError TokenRetrievalError NoAuthTokenError",
        Forbidden,
        "the credentials have expired",
        "Log in again (`aws sso login`, or renew AWS_SESSION_TOKEN), then repeat the command.",
    ),
    _Meaning(
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError UnknownCredentialError",
        Forbidden,
        "there are no complete credentials",
        _CREDENTIALS,
    ),
    _Meaning(
        "ProfileNotFound ConfigNotFound ConfigParseError",
        Forbidden,
        "the AWS profile cannot be read",
        "Check AWS_PROFILE and ~/.aws/config.",
    ),
    _Meaning(
        "RequestTimeTooSkewed", Forbidden, "this machine's clock is wrong", "Set the clock and try again."
    ),
    _Meaning(
        "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException NoRegionError"
        " InvalidRegionError UnknownRegionError",
        InvalidSpec,
        "the region is not the bucket's",
        "Set store.region (or AWS_REGION) to the bucket's region.",
    ),
    _Meaning(
        "InvalidBucketName ParamValidationError",
        InvalidSpec,
        "this is no valid bucket name",
        "Correct --store: s3://bucket/prefix.",
    ),
    _Meaning(
        "SSLError",
        StoreUnreachable,
        "no TLS connection: its certificate is not trusted here, or it speaks plain http",
        "Name the authority's file in AWS_CA_BUNDLE, or correct the scheme of store.endpoint.",
    ),
    _Meaning(
        "EndpointConnectionError ConnectTimeoutError ProxyConnectionError",
        StoreUnreachable,
        "no connection",
        "Check that the server runs and that store.endpoint is right.",
    ),
    _Meaning(
        "ReadTimeoutError ConnectionClosedError ResponseStreamingError IncompleteReadError HTTPClientError"
        " HTTPError ResponseParserError RequestTimeout",
        StoreUnreachable,
        "the connection broke",
        _RETRY,
    ),
    _Meaning(
        "SlowDown ServiceUnavailable InternalError Throttling ThrottlingException TooManyRequests"
        " RequestLimitExceeded ConditionalRequestConflict OperationAborted",
        StoreUnreachable,
        "the server is overloaded or failing",
        _RETRY,
    ),
    _Meaning(
        "QuotaExceeded InsufficientStorage XMinioStorageFull EntityTooLarge",
        DiskFull,
        "the store has no room for this object",
        "Free space or raise the quota of the bucket.",
    ),
    _Meaning(
        "BadDigest InvalidDigest XAmzContentSHA256Mismatch ChecksumError FlexibleChecksumError",
        StoreUnreachable,
        "bytes were damaged on the way",
        _RETRY,
    ),
    _Meaning(
        "InvalidObjectState",
        BadData,
        "the object is archived",
        "Restore it from its archive storage class first.",
    ),
    _Meaning(
        "NotImplemented",
        CreateOnlyUnsupported,
        "the server lacks this operation",
        "Use a store that has conditional writes.",
    ),
)
_UNKNOWN = _Meaning("", StoreUnreachable, "the store refused the request", _RETRY)
_MEANINGS = {code: meaning for meaning in _TABLE for code in meaning.codes.split()}
_BY_STATUS = {
    301: "PermanentRedirect",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "NoSuchKey",
    429: "SlowDown",
    501: "NotImplemented",
    507: "InsufficientStorage",
}
_SERVER_FAULT = 500


def error_code(error: Exception) -> str:
    """The server's error code, such as `NoSuchKey`; the exception's class name when no server answered."""
    response = getattr(error, "response", None)
    return (
        str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else type(error).__name__
    )


def http_status(error: Exception) -> int:
    """The HTTP status of the answer; 0 when there was none."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode", 0))


def explain(error: Exception, where: str, create: str) -> RunnerError:
    """The error a person sees.

    Args:
        error: of the SDK.
        where: the object's or store's URL and the endpoint.
        create: the command that would make the bucket.
    """
    meaning = _meaning(error)
    code = error_code(error) or http_status(error)
    return meaning.error(f"{where}: {meaning.says} ({code})", meaning.remedy.format(create=create))


def _meaning(error: Exception) -> _Meaning:
    names = [error_code(error), *(base.__name__ for base in type(error).__mro__)]
    for name in names:
        if name in _MEANINGS:
            return _MEANINGS[name]
    status = http_status(error)
    if status in _BY_STATUS:
        return _MEANINGS[_BY_STATUS[status]]
    if status >= _SERVER_FAULT:
        return _MEANINGS["InternalError"]
    return _UNKNOWN
