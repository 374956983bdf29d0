"""Files of config repositories as people write them, built by hypothesis from blocks: a template and its targets.

A file is text with ``{0}``, ``{1}`` … where the values of the image stand, so that the bytes that an edit must come to
are known without any code that parses or edits YAML.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from gitops.editing.targets import Target
from pipeline.images import ImageRef

FILE = "/apps/web.yaml"
HOST, PATH = "registry.example:5000", "shop/web"
OLD_TAGS = ("v1.2.3", "2024-11-02-ab12cd3", "sha-0a1b2c3", "main-41")
OLD_DIGEST = "sha256:" + "ab" * 32


@dataclass(frozen=True)
class Filled:
    """One file before its edit: its bytes, the targets in it, and what it is for another image."""

    template: str
    values: tuple[str, ...]
    parts: tuple[str, ...]
    target: Target
    bom: bool
    crlf: bool

    @property
    def data(self) -> bytes:
        return self._with(self.values)

    def edited(self, image: ImageRef, tag: str) -> bytes:
        """The bytes with the values replaced in the template, where they stand."""
        said: dict[str, str] = {
            "image": str(image), "repository": f"{image.registry}/{image.repository}", "registry": image.registry,
            "name": image.repository, "digest": image.digest, "tag": tag, "pinned": f"{tag}@{image.digest}",
        }  # fmt: skip
        return self._with(tuple(said[part] for part in self.parts))

    def _with(self, values: tuple[str, ...]) -> bytes:
        text = self.template
        for number, value in enumerate(values):
            text = text.replace(f"<{number}>", value)
        if self.crlf:
            text = text.replace("\n", "\r\n")
        return ("\ufeff" if self.bom else "").encode() + text.encode()


NOISE = (
    "# image: registry.example:5000/shop/web:v0  (a comment that looks like the value)\n",
    "\n",
    "\n\n   \n",
    "# {\"$imagepolicy\": \"flux-system:web\"} stands here for nobody\n",
    "title: 'Überseehafen, 港' # ünïcode ✓\n",
    "flow: {image: {repository: not/this, tag: v1}, list: [a, 'b', \"c\\td\", {d: }]}\n",
    "empty:\n",
    "quoted: \"image: registry.example:5000/shop/web:v1\"\n",
    "single: 'it''s {curly}'\n",
    "script: |\n  image: registry.example:5000/shop/web:v1\n  # {\"$imagepolicy\": \"flux-system:web\"}\n\n  images:\n",
    "folded: >-\n    one\n    two\n\n    three\n",
    "kept: |+\n  text\n\n",
    "base: &base\n  cpu: 100m   \n  memory: 1Gi\nderived:\n  <<: *base\n  cpu: 200m\nagain: *base\n",
    "number: 0x1F\nfloat: 1.10\noctal: 0o17\nyes: no\ndate: 2024-11-02\nnothing: ~\n",
    "typed: !!str 12\n",
    "long plain: several words\n  over two lines  # and a comment\n",
    "tabbed:\tvalue\t# behind tabs\n",
    "? complex\n: value\n",
    "list:\n- a\n-   b: 1\n    c: 2\n-\n  - nested\n",
)  # fmt: skip
DOCUMENTS = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata:\n  image: registry.example:5000/shop/web:v9\n",
    "# nothing but a comment\n",
    "kind: Deployment\nmetadata:\n  name: other\nspec:\n  template:\n    spec:\n"
    "      containers:\n        - {name: web, image: other/image:v1}\n",
    "%YAML 1.1\n---\na: b\n",
)
QUOTES: tuple[Callable[[str], str], ...] = (str, "'{}'".format, '"{}"'.format, "!!str {}".format, "&it {}".format)
COMMENTS = ("", "  # set by hand", " #", "   ")


@st.composite
def _value(draw: st.DrawFn, number: int, *, indent: int | None = None) -> str:
    shapes = list(QUOTES)
    if indent is not None:
        shapes += [lambda text: f">-\n{' ' * indent}{text}", lambda text: f"|-\n{' ' * indent}{text}"]
        shapes += [lambda text: f"\n{' ' * indent}{text}"]
    shaped = draw(st.sampled_from(shapes))(f"<{number}>")
    return shaped if "\n" in shaped else shaped + draw(st.sampled_from(COMMENTS))


def _tag() -> st.SearchStrategy[str]:
    return st.sampled_from(OLD_TAGS)


@st.composite
def workload(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...], Target]:
    """A Deployment or its like, whose container stands among others."""
    kind = draw(st.sampled_from(["Deployment", "StatefulSet", "DaemonSet"]))
    value = draw(_value(0, indent=14))
    sidecar = "        - name: proxy\n          image: envoy:v1 # not this one\n"
    ours = f"        - name: web\n          image: {value}\n          args: [serve]\n"
    order = draw(st.permutations([sidecar, ours]))
    text = (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n"
        f"      containers:\n{''.join(order)}"
    )
    old = draw(st.sampled_from([f"old.example/web:{draw(_tag())}", f"{HOST}/{PATH}@{OLD_DIGEST}"]))
    return text, (old,), ("image",), Target(FILE, "workload", f"{kind}/web", "web")


@st.composite
def kustomization(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...], Target]:
    """A kustomization with several images."""
    keys = draw(st.sampled_from([("newName", "newTag"), ("newName", "digest"), ("newName", "newTag", "digest")]))
    parts = {"newName": "repository", "digest": "digest", "newTag": "tag" if "digest" in keys else "pinned"}
    old = {"newName": "old.example/web", "digest": OLD_DIGEST, "newTag": draw(_tag())}
    lines = "".join(f"    {key}: {draw(_plain_value(number))}\n" for number, key in enumerate(keys))
    text = f"resources:\n  - ../../base\nimages:\n  - name: nginx\n    newTag: v1\n  - name: acme/web\n{lines}"
    return text, tuple(old[key] for key in keys), tuple(parts[key] for key in keys), _kustomize


_kustomize = Target(FILE, "kustomize", "acme/web")


def _plain_value(number: int) -> st.SearchStrategy[str]:
    shapes = st.sampled_from(["<{}>", "'<{}>'", '"<{}>"', "!!str '<{}>'"])
    return st.builds(lambda shape, comment: shape.format(number) + comment, shapes, st.sampled_from(COMMENTS))


@st.composite
def helm(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...], Target]:
    """Helm values: a repository with a tag or digest, a registry beside them, or one text; in flow style too."""
    shape = draw(st.sampled_from(["tag", "digest", "registry", "flow", "one"]))
    tag = draw(_tag())
    if shape == "one":
        return f"web:\n  image: {draw(_value(0, indent=4))}\n", (f"old/web:{tag}",), ("image",), _helm
    if shape == "flow":
        text = "web: {image: {repository: <0>, tag: '<1>', pullPolicy: Always}}\n"
        return text, ("old/web", tag), ("repository", "pinned"), _helm
    keys = {
        "tag": ("repository", "tag"),
        "digest": ("repository", "digest"),
        "registry": ("registry", "repository", "tag", "digest"),
    }[shape]
    lines = "".join(f"    {key}: {draw(_plain_value(number))}\n" for number, key in enumerate(keys))
    old = {"registry": "old.example", "repository": "old/web", "tag": tag, "digest": OLD_DIGEST}
    parts = {"registry": "registry", "repository": "name" if "registry" in keys else "repository"}
    parts |= {"digest": "digest", "tag": "tag" if "digest" in keys else "pinned"}
    text = f"web:\n  image:\n{lines}    pullPolicy: IfNotPresent\n"
    return text, tuple(old[key] for key in keys), tuple(parts[key] for key in keys), _helm


_helm = Target(FILE, "helm", "web.image")


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...], Target]:
    """Values behind which Flux's markers stand."""
    target = Target(FILE, "policy", "flux-system:web")
    marker = ' # {"$imagepolicy": "flux-system:web%s"}'
    quote = draw(st.sampled_from(["<{}>", "'<{}>'", '"<{}>"']))
    if draw(st.booleans()):
        text = f'values:\n  other: x # {{"$imagepolicy": "flux-system:api"}}\n  image: {quote.format(0)}{marker % ""}\n'
        return text, (f"old/web:{draw(_tag())}",), ("image",), target
    text = f"image:\n  repository: {quote.format(0)}{marker % ':name'}\n  tag: {quote.format(1)}{marker % ':tag'}\n"
    return text, ("old/web", draw(_tag())), ("repository", "pinned"), target


@st.composite
def path(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...], Target]:
    """A value of somebody's own resource."""
    target = Target(FILE, "path", 'spec."acme.dev/parts"[name=web].image')
    text = (
        f"spec:\n  acme.dev/parts:\n  - name: db\n    image: x\n  - image: {draw(_value(0, indent=8))}\n    name: web\n"
    )
    return text, (f"old/web:{draw(_tag())}",), ("image",), target


@st.composite
def files(draw: st.DrawFn) -> Filled:
    """A whole file: the document with the values, noise before and behind it, other documents around it."""
    shape = draw(st.one_of(workload(), kustomization(), helm(), marked(), path()))
    text, values, parts, target = shape
    before = draw(st.lists(st.sampled_from(NOISE), unique=True, max_size=5))
    after = draw(st.lists(st.sampled_from([one for one in NOISE if one not in before]), unique=True, max_size=4))
    documents = ["".join([*before, text, *after])]
    if target.kind != "policy":
        others = draw(st.lists(st.sampled_from(DOCUMENTS[:3]), max_size=2))
        documents = draw(st.permutations([*others, *documents]))
    opened = draw(st.sampled_from(["", "---\n", "# head\n---\n", "%YAML 1.1\n---\n"]))
    whole = opened + "---\n".join(documents)
    if draw(st.booleans()):
        whole = whole.rstrip("\n")
    return Filled(whole, values, parts, target, draw(st.booleans()), draw(st.booleans()))
