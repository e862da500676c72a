"""One SCIM request in, one answer out (RFC 7644). I/O is by the store and its audit log only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs

from pydantic import ValidationError
from scim2_models import (
    Context,
    Error,
    InvalidSyntaxException,
    InvalidValueException,
    NotFoundException,
    NotImplementedException,
    SCIMException,
    SearchRequest,
)

from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.provisioning.acts import SCIM, Provisioner
from sipmikey.kms.provisioning.people import Pattern
from sipmikey.kms.scim.description import provider_config, resource_types, schemas, written
from sipmikey.kms.scim.groups import Groups
from sipmikey.kms.scim.models import POLICY
from sipmikey.kms.scim.users import Users
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.database import UnfitText
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

MAX_FIELDS: Final = 16
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ScimSettings:
    """``identities``: patterns of users' identities, the primary first; ``group``: that of a group's.

    ``base``: address of the service as clients have it.
    """

    identities: tuple[Pattern, ...]
    group: Pattern | None
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScimRequest:
    """``path`` is below the base, as ``/Users/ID``; ``conditions``: if-match and if-none-match."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScimReply:
    """``reason``: a word for the log. ``etag`` and ``location`` become headers where there are any."""

    status: int
    reason: str
    document: Mapping[str, Any] | None = None
    etag: str = ""
    location: str = ""


class ScimDesk:
    """Answers requests of clients that have shown who they are. Changes are made one after another."""

    def __init__(self, store: Store, settings: ScimSettings, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._settings = settings
        self._now_ns = now_ns
        self._lock = asyncio.Lock()

    async def handle(self, request: ScimRequest, actor: Actor) -> ScimReply:
        """Answer one request; never raises for anything its sender can do."""
        try:
            with POLICY:
                return await self._routed(request, actor)
        except SCIMException as error:
            return failure(error.to_error())
        except ValidationError as error:
            return failure(Error.from_validation_errors(error)[0])
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
            return failure(InvalidValueException(detail="a text is not Unicode").to_error())
        except RecursionError:
            return failure(InvalidSyntaxException(detail="nested too deeply").to_error())
        except StoreUnavailable as error:
            return failure(Error(status=503, detail=str(error)))
        except UnfitText as error:
            return failure(InvalidValueException(detail=str(error)).to_error())
        except LocalError as error:  # what was there when we looked is gone, or was changed by another worker
            return failure(Error(status=409, detail=str(error)))

    async def _routed(self, request: ScimRequest, actor: Actor) -> ScimReply:
        kind, _, key = request.path.strip("/").partition("/")
        if kind in ("ServiceProviderConfig", "ResourceTypes", "Schemas"):
            return self._described(request, kind, key)
        if kind not in ("Users", "Groups") or "/" in key or len(key) > 255:
            if kind in ("Bulk", "Me", ".search"):
                raise NotImplementedException(detail=f"{kind} is not served here")
            raise NotFoundException(detail="there is no such resource")
        provisioner = Provisioner(self._store, SCIM, actor, self._now_ns)
        resources: Users | Groups
        if kind == "Users":
            resources = Users(provisioner, self._settings.identities, self._settings.base)
        elif self._settings.group is not None:
            resources = Groups(provisioner, self._settings.group, self._settings.base)
        else:
            raise NotImplementedException(detail="groups are not taken here: scim.group_identity is not set")
        if request.method == "GET":
            return await _read(resources, request, key)
        async with self._lock:
            return await _written(resources, request, key)

    def _described(self, request: ScimRequest, kind: str, key: str) -> ScimReply:
        if request.method != "GET":
            return failure(Error(status=405, detail="only GET is understood here"))
        if "filter" in parse_qs(request.query, max_num_fields=MAX_FIELDS):
            return failure(Error(status=403, detail="nothing is filtered here"))
        base = self._settings.base
        if kind == "ServiceProviderConfig" and not key:
            return ScimReply(status=200, reason="granted", document=written(provider_config(base)))
        found = resource_types(base) if kind == "ResourceTypes" else schemas(base)
        if not key:
            return ScimReply(status=200, reason="granted", document=listed([written(one) for one in found]))
        for one in found:
            if one.id == key:
                return ScimReply(status=200, reason="granted", document=written(one))
        raise NotFoundException(detail="there is no such resource")


async def _read(resources: Users | Groups, request: ScimRequest, key: str) -> ScimReply:
    if not key:
        return await _page(resources, request)
    etag, resource = await resources.get(key)
    if request.conditions.get("if-none-match") in (etag, "*"):
        return ScimReply(status=304, reason="granted", etag=etag)
    search = _search(request, resources.model)
    document = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=search)
    return ScimReply(status=200, reason="granted", document=document, etag=etag)


async def _written(resources: Users | Groups, request: ScimRequest, key: str) -> ScimReply:
    if request.method == "POST" and not key:
        etag, resource = await resources.create(_object(request.body))
        document = resource.model_dump(scim_ctx=Context.RESOURCE_CREATION_RESPONSE)
        location = str(document["meta"]["location"])
        return ScimReply(status=201, reason="granted", document=document, etag=etag, location=location)
    if key and request.method in ("PUT", "PATCH", "DELETE"):
        condition = request.conditions.get("if-match", "")
        if request.method == "DELETE":
            await resources.delete(key, condition)
            return ScimReply(status=204, reason="granted")
        act = resources.replace if request.method == "PUT" else resources.patch
        etag, resource = await act(key, _object(request.body), condition)
        document = resource.model_dump(scim_ctx=Context.RESOURCE_REPLACEMENT_RESPONSE)
        return ScimReply(status=200, reason="granted", document=document, etag=etag)
    return failure(Error(status=405, detail=f"{request.method} is not understood here"))


async def _page(resources: Users | Groups, request: ScimRequest) -> ScimReply:
    search = _search(request, resources.model)
    total, start, found = await resources.search(search)
    documents = [
        one.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=search) for one in found
    ]
    return ScimReply(status=200, reason="granted", document=listed(documents, total=total, start=start))


def listed(
    documents: Sequence[Mapping[str, Any]], *, total: int | None = None, start: int = 1
) -> dict[str, Any]:
    """Return a list of resources as clients get it (RFC 7644 section 3.4.2)."""
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(documents) if total is None else total,
        "startIndex": start,
        "itemsPerPage": len(documents),
        "Resources": list(documents),
    }


def failure(error: Error) -> ScimReply:
    """Return an error as clients get it (RFC 7644 section 3.12)."""
    document = error.model_dump(scim_ctx=Context.DEFAULT)
    return ScimReply(
        status=int(error.status or 500), reason=str(error.scim_type or "refused"), document=document
    )


def failure_of(status: int, detail: str, reason: str) -> ScimReply:
    """Return an error that is none of SCIM's own words."""
    return replace(failure(Error(status=status, detail=detail)), reason=reason)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidSyntaxException(detail="a JSON object is needed") from None
    if not isinstance(value, dict):
        raise InvalidSyntaxException(detail="a JSON object is needed")
    _check_values(value, "", MAX_DEPTH)
    return value


def _check_values(value: object, attribute: str, left: int) -> None:
    """Raise `SCIMException` where *value*, that of *attribute*, is nested too deeply or has a NUL within."""
    if isinstance(value, str) and "\0" in value:
        where = printable(attribute, most=60)
        raise InvalidValueException(attribute=where, detail=f"{where}: a text has the character NUL")
    if not isinstance(value, dict | list) or not value:
        return
    if left == 0:
        raise InvalidSyntaxException(detail="nested too deeply")
    inner = value.items() if isinstance(value, dict) else ((attribute, item) for item in value)
    for name, item in inner:
        _check_values(item, name, left - 1)


def _no_constant(word: str) -> object:
    raise ValueError(word)


def _search(request: ScimRequest, model: type[Any]) -> SearchRequest[Any]:
    """Return the parameters of the query, bound to what they are asked of."""
    try:
        fields = parse_qs(request.query, max_num_fields=MAX_FIELDS, keep_blank_values=True)
    except ValueError:
        raise InvalidSyntaxException(detail="too many parameters") from None
    if any(len(values) > 1 for values in fields.values()):
        raise InvalidValueException(detail="a parameter is there twice")
    bound: type[SearchRequest[Any]] = SearchRequest[model]  # type: ignore[valid-type]
    return bound.model_validate({name: values[0] for name, values in fields.items()})
