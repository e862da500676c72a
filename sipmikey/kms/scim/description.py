"""What the SCIM service tells of itself (RFC 7643 sections 5 to 7)."""

from __future__ import annotations

from typing import Any, Final

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    ETag,
    Filter,
    Meta,
    Pagination,
    Patch,
    Resource,
    ResourceType,
    Schema,
    ServiceProviderConfig,
    Sort,
)

from sipmikey.kms.scim.models import ScimGroup, ScimUser

MAX_RESULTS: Final = 200


def provider_config(base: str) -> ServiceProviderConfig:
    """Return what this service can do."""
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=True),
        pagination=Pagination(cursor=False, index=True, max_page_size=MAX_RESULTS),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="A token made by sipmikey kms scim token add",
                primary=True,
            )
        ],
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{base}/ServiceProviderConfig"),
    )


def resource_types(base: str) -> list[ResourceType]:
    """Return the kinds of resources that there are."""
    kinds = (("User", "/Users", ScimUser), ("Group", "/Groups", ScimGroup))
    return [
        ResourceType.model_validate(
            {
                "id": name, "name": name, "endpoint": endpoint, "schema": str(model.__schema__),
                "description": f"A {name.lower()} of the KMS",
                "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
            }
        )
        for name, endpoint, model in kinds
    ]  # fmt: skip


def schemas(base: str) -> list[Schema]:
    """Return the attributes of each kind."""
    found = []
    for model in (ScimUser, ScimGroup):
        schema = model.to_schema()
        schema.meta = Meta(resource_type="Schema", location=f"{base}/Schemas/{schema.id}")
        found.append(schema)
    return found


def written(resource: Resource[Any]) -> dict[str, Any]:
    """Return a resource as clients get it."""
    return dict(resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))
