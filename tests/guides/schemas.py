"""What others read, as far as the examples go: the keys that their documentation gives, and no others.

GitLab Runner: "Advanced configuration", "Docker Autoscaler executor". GitLab: ".gitlab-ci.yml reference". GitHub:
"Workflow syntax". Compose: the Compose specification. kubelet: its v1 configuration API, which it decodes strictly.
"""

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
VARIABLES = {"type": "array", "items": {"type": "string", "pattern": r"^[A-Z][A-Z0-9_]*=."}}
# An image of ours is named in full: without a host it would be Docker Hub's.
IMAGE = {"type": "string", "pattern": r"^([a-z0-9.-]+\.[a-z0-9.-]+/)?[a-z0-9._/-]+:[\w.-]+$"}


def table(required=(), /, **members):
    """Return what an object must be that has these members and no others."""
    return {
        "type": "object",
        "properties": members,
        "required": list(required),
        "additionalProperties": False,
    }


_RUNNER = table(
    ("name", "url", "token", "executor"),
    name=TEXT,
    url={"type": "string", "pattern": "^https://"},
    token={"type": "string", "pattern": "^glrt-"},
    executor={"enum": ["docker", "shell", "docker-autoscaler", "instance"]},
    environment=VARIABLES,
    docker=table(("image",), image=IMAGE, privileged=FLAG, volumes=TEXTS),
    autoscaler=table(
        ("plugin", "plugin_config", "policy"),
        plugin=TEXT,
        capacity_per_instance=COUNT,
        max_use_count=COUNT,
        max_instances=COUNT,
        plugin_config=table(("name",), name=TEXT),
        connector_config=table(username=TEXT),
        policy={"type": "array", "items": table(("idle_count",), idle_count=COUNT, idle_time=TEXT)},
    ),
)

GITLAB_RUNNER = table(("runners",), concurrent=COUNT, runners={"type": "array", "items": _RUNNER, "minItems": 1})

_JOB = table(
    ("image", "script"),
    image={"anyOf": [IMAGE, table(("name",), name=IMAGE, entrypoint={"type": "array", "items": {"type": "string"}})]},
    services={"type": "array", "items": IMAGE},
    variables={"type": "object", "additionalProperties": TEXT},
    script=TEXTS,
)

GITLAB_CI = {"type": "object", "additionalProperties": _JOB, "minProperties": 1}

WORKFLOW = {
    # YAML 1.1, which PyYAML reads, takes the key `on` for true; GitHub does not.
    "type": "object",
    "required": ["jobs"],
    "properties": {
        "jobs": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": table(
                ("runs-on", "steps"),
                **{
                    "runs-on": TEXTS,
                    "container": table(("image",), image=IMAGE),
                    "services": {"type": "object", "additionalProperties": table(("image",), image=IMAGE)},
                    "steps": {"type": "array", "items": table(("run",), run=TEXT), "minItems": 1},
                },
            ),
        }
    },
}

COMPOSE = table(
    ("services",),
    services={
        "type": "object",
        "minProperties": 1,
        "additionalProperties": table(
            ("image",),
            image=IMAGE,
            restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
            depends_on=TEXTS,
            command=TEXTS,
            volumes={"type": "array", "items": {"type": "string", "pattern": r"^(\./|/)[^:]+:/[^:]+(:ro)?$"}},
        ),
    },
)

KUBELET_PROVIDER = table(
    ("apiVersion", "kind", "providers"),
    apiVersion={"const": "kubelet.config.k8s.io/v1"},
    kind={"const": "CredentialProviderConfig"},
    providers={
        "type": "array",
        "minItems": 1,
        "items": table(
            ("name", "matchImages", "defaultCacheDuration", "apiVersion"),
            name={"const": "ecrlogind-credential-provider"},
            apiVersion={"const": "credentialprovider.kubelet.k8s.io/v1"},
            defaultCacheDuration={"type": "string", "pattern": r"^(\d+[hms])+$"},
            matchImages=TEXTS,
            env={"type": "array", "items": table(("name", "value"), name=TEXT, value=TEXT)},
        ),
    },
)
