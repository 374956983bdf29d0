"""Services whose files belong to people, through a real committer: adopted, deployed by splice, taken back, held."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.layout import Place
from pipeline.events import AdoptRequested, DestroyRequested, ResumeRequested
from pipeline.names import token
from tests.support.committer_world import WEB, World, image_of, rollback, told

KUSTOMIZATION = "apps/web/overlays/production/kustomization.yaml"
VALUES = "charts/values-production.yaml"
TARGETS = "shop/production/web/enclii-targets.yaml"
OLD = "ghcr.io/acme/web"

FILES = {
    KUSTOMIZATION: (
        "# Production. Ask in #platform before you change the replicas!\r\n"
        "apiVersion: kustomize.config.k8s.io/v1beta1\r\nkind: Kustomization\r\nresources:\r\n  - ../../base\r\n"
        "images:\r\n  - name: acme/web   # what the base says\r\n    newName: 'ghcr.io/acme/web'\r\n"
        "    newTag: v1.2.3      # set by hand\r\n  - {name: envoy, newTag: v1.30}"
    ),
    "apps/web/base/deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n"
        "      containers:\n      - name: web\n        image: acme/web\n"
    ),
    "charts/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "charts/values.yaml": "web:\n  image:\n    repository: ghcr.io/acme/web\n    tag: latest\n",
    VALUES: (
        "# Values of production.\n\nglobal: &defaults\n  pullPolicy: IfNotPresent\n\n"
        "web:\n  image:\n    <<: *defaults\n    repository: ghcr.io/acme/web\n    tag: \"v1.2.3\"   # renovate: off\n"
        "    digest: ''\n  motd: |\n    image:\n      tag: v1.2.3\n"
        "api:\n  image: {repository: ghcr.io/acme/api, tag: v9}\n"
    ),
    "shop/production/web/stack.yaml": (
        "kind: Service\napiVersion: v1\nmetadata: {name: web}\n---\n"
        "# the workload\nkind: Deployment\napiVersion: apps/v1\n"
        "metadata:\n  name: web\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n"
        "    metadata: {labels: {app: web}}\n    spec:\n      containers:\n"
        "        - image: \"ghcr.io/acme/web:v1.2.3\"  # pinned by hand\n"
        "          name: web\n          ports: [{containerPort: 8080}]\n"
        "        - name: proxy\n          image: envoyproxy/envoy:v1.30\n"
    ),
}  # fmt: skip


def written(world: World, *paths: str) -> None:
    """A person's files, byte for byte, in a commit of theirs."""
    person = world.person()
    for path in paths or FILES:
        (person.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (person.clone / path).write_bytes(FILES[path].encode())
    person.push("What we have")


def adopt(path: str, identity: str = "c-adopt", **given: object) -> AdoptRequested:
    fields = {"project": "shop", "environment": "production", "service": "web", "actor": "operator", **given}
    return AdoptRequested(id=identity, path=path, **fields)  # type: ignore[arg-type]


def raw(world: World, path: str, at: str = "main") -> str:
    """A file's exact bytes as text, its last line break included."""
    import pygit2

    repo = pygit2.Repository(str(world.remote))
    blob = repo.revparse_single(f"{at}:{path}")
    assert isinstance(blob, pygit2.Blob)
    return blob.data.decode()


def digest(number: int) -> str:
    return image_of(number).partition("@")[2]


NAME = image_of(1).partition("@")[0]
KINDS = {
    "kustomize": (
        "apps/web/overlays/production",
        KUSTOMIZATION,
        lambda n: FILES[KUSTOMIZATION].replace(OLD, NAME).replace("newTag: v1.2.3", f"newTag: v{n}@{digest(n)}"),
    ),
    "helm": (
        "charts",
        VALUES,
        lambda n: (
            FILES[VALUES]
            .replace("repository: ghcr.io/acme/web", f"repository: {NAME}")
            .replace('tag: "v1.2.3"', f'tag: "v{n}"')
            .replace("digest: ''", f"digest: '{digest(n)}'")
        ),
    ),
    "manifests": (
        "shop/production/web",
        "shop/production/web/stack.yaml",
        lambda n: FILES["shop/production/web/stack.yaml"].replace(f"{OLD}:v1.2.3", image_of(n)),
    ),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def adopted(world: World, kind: str) -> str:
    """The person's files adopted for web; the path of the file that is edited."""
    folder, path, _ = KINDS[kind]
    written(world, *(name for name in FILES if name.split("/")[0] == path.split("/")[0]))
    target = ("helm:web.image",) if kind == "helm" else ()
    await world.do(adopt(folder, targets=target))
    assert (await world.decision("c-adopt")).reason == "adopted", (await world.decision("c-adopt")).message
    return path


def test_adopting_adds_one_file_and_touches_none(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, kind)
        assert raw(world, path) == FILES[path]
        changed = world.person().git("diff", "--name-only", "HEAD^", "HEAD").splitlines()
        assert changed == [TARGETS]
        assert (await world.target()).release == ""

    told(tmp_path, story)


def test_a_release_changes_the_image_where_it_stands_and_nothing_else(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, kind)
        await world.deployed(1)
        assert raw(world, path) == KINDS[kind][2](1)
        await world.deployed(2)
        assert raw(world, path) == KINDS[kind][2](2)
        assert world.person().git("diff", "--name-only", "HEAD^", "HEAD") == path
        target = await world.target()
        assert (target.image, target.release) == (image_of(2), "shop.web.v2")

    told(tmp_path, story)


def test_a_rollback_brings_the_image_back_keeps_what_people_wrote_and_holds(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, kind)
        await world.deployed(1)
        await world.deployed(2)
        person = world.person()
        (person.clone / path).write_bytes(raw(world, path).encode() + b"\n# a word by hand\n")
        person.push("A word")
        await world.do(rollback())
        assert raw(world, path) == KINDS[kind][2](1) + "\n# a word by hand\n"
        target = await world.target()
        assert (target.image, target.release, target.held) == (image_of(1), "shop.web.v1", True)
        await world.do(await world.release(3))
        assert (await world.target()).held_release == "shop.web.v3"
        await world.do(ResumeRequested(id="c-2", project="shop", environment="production", service="web"))
        assert raw(world, path) == KINDS[kind][2](3) + "\n# a word by hand\n"
        assert "shop/production/web/hold.yaml" not in world.files()

    told(tmp_path, story)


def test_a_revert_by_hand_of_an_edit_is_a_rollback_that_holds(tmp_path: Path, kind: str) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, kind)
        await world.deployed(1)
        second = await world.deployed(2)
        world.person().revert(second.config_commit)
        await world.moved()
        assert raw(world, path) == KINDS[kind][2](1)
        target = await world.target()
        assert (target.image, target.release, target.held) == (image_of(1), "shop.web.v1", True)
        assert await world.status(second.id) == "rolled_back"

    told(tmp_path, story)


def test_a_revert_by_hand_of_the_first_release_brings_back_what_was_there_before_enclii(
    tmp_path: Path, kind: str
) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, kind)
        first = await world.deployed(1)
        world.person().revert(first.config_commit)
        await world.moved()
        assert raw(world, path) == FILES[path]
        target = await world.target()
        assert (target.image, target.held) == (f"{OLD}:v1.2.3", True)

    told(tmp_path, story)


def test_a_death_after_the_push_deploys_nothing_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await adopted(world, "kustomize")
        event = await world.release(1)
        await world.committer.handle([event])
        world.committer = world.new_committer()
        await world.do(event)
        assert len([line for line in world.log() if line.startswith("Deploy")]) == 1
        assert (await world.target()).release == "shop.web.v1"

    told(tmp_path, story)


def test_a_plan_is_shown_and_binds_what_is_done(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        written(world)
        before = world.log("%H")
        await world.do(adopt("apps/web/overlays/production", "c-1", plan=True))
        said = (await world.decision("c-1")).message
        assert f"{KUSTOMIZATION}:9  images[0].newTag: v1.2.3" in said
        assert "kustomize:envoy" in said
        assert world.log("%H") == before
        person = world.person()
        person.write(KUSTOMIZATION, FILES[KUSTOMIZATION].replace("v1.2.3", "v1.2.4"))
        person.push()
        await world.do(adopt("apps/web/overlays/production", "c-2", expected=token(said)))
        assert (await world.decision("c-2")).reason == "moved_meanwhile"

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "given", "reason"),
    [
        ("charts", {"service": "shop"}, "ambiguous_image"),
        ("apps/web/base", {"targets": ("workload:Deployment/api/web",)}, "no_such_target"),
        ("apps", {}, "no_such_path"),
        ("nowhere", {}, "no_such_path"),
        ("../etc", {}, "bad_path"),
        ("charts", {"environment": "staging"}, "unknown_environment"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, path: str, given: dict[str, object], reason: str) -> None:
    async def story(world: World) -> None:
        written(world)
        await world.do(adopt(path, "c-1", **given))
        assert (await world.decision("c-1")).reason == reason
        assert not [name for name in world.files() if name.endswith("enclii-targets.yaml")]

    told(tmp_path, story)


def test_what_is_managed_is_not_adopted_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await adopted(world, "kustomize")
        await world.do(adopt("apps/web/overlays/production", "c-2"))
        assert (await world.decision("c-2")).reason == "already_adopted"
        await world.do(await world.release(1, "api"))
        await world.do(adopt("apps/web/overlays/production", "c-3", service="api"))
        assert (await world.decision("c-3")).reason == "already_managed"

    told(tmp_path, story)


def test_an_edit_that_cannot_be_exact_is_refused_and_the_next_service_is_deployed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await adopted(world, "kustomize")
        person = world.person()
        person.write(KUSTOMIZATION, "images: [")
        person.push()
        await world.do(await world.release(1), await world.release(1, "api"))
        said = await world.decision("shop.web.v1/production")
        assert (said.outcome, said.reason) == ("refused", "bad_yaml")
        assert said.message.startswith(KUSTOMIZATION)
        assert (await world.target(Place("shop", "production", "api"))).release == "shop.api.v1"

    told(tmp_path, story)


def test_two_services_in_one_file_of_values_are_edited_by_each_others_side(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await adopted(world, "helm")
        await world.do(adopt("charts", "c-2", service="api", targets=("helm:api.image",)))
        await world.do(await world.release(1), await world.release(1, "api"))
        second = (await world.target(Place("shop", "production", "api"))).config_commit
        world.person().revert(second)
        await world.moved()
        assert raw(world, VALUES) == KINDS["helm"][2](1)
        assert (await world.target()).held is False
        assert (await world.target(Place("shop", "production", "api"))).held is True

    told(tmp_path, story)


def test_destroying_an_adopted_service_leaves_the_persons_files(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        path = await adopted(world, "kustomize")
        await world.deployed(1)
        await world.do(DestroyRequested(id="c-2", project="shop", environment="production", service="web"))
        assert TARGETS not in world.files()
        assert raw(world, path) == KINDS["kustomize"][2](1)

    told(tmp_path, story)


def test_a_manifest_from_which_somebody_took_the_header_is_spliced_from_then_on(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        person = world.person()
        path = f"{WEB.path}/deployment.yaml"
        taken = world.file(path).partition("\n")[2].replace("replicas: 1", "replicas: 3  # mine") + "\n"
        person.write(path, taken)
        person.push("Mine now")
        await world.do(await world.release(2))
        assert raw(world, path) == taken.replace(image_of(1), image_of(2))
        assert (await world.target()).release == "shop.web.v2"

    told(tmp_path, story)


RUNNING = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: "ghcr.io/acme/web:v1.2.3"
"""


async def seen(world: World) -> str:
    """The plan of adopting what runs."""
    await world.do(adopt("", "c-plan", running="shop/web", cluster="office", manifest=RUNNING, plan=True))
    return (await world.decision("c-plan")).message


def test_what_runs_already_becomes_a_persons_file_that_a_release_edits(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        planned = await seen(world)
        assert "deployment.yaml is written as shop/web runs now" in planned
        await world.do(adopt("", running="shop/web", cluster="office", manifest=RUNNING, expected=token(planned)))

        manifest = "shop/production/web/deployment.yaml"
        assert raw(world, manifest) == RUNNING
        assert world.person().git("diff", "--name-only", "HEAD^", "HEAD").splitlines() == [manifest, TARGETS]
        await world.deployed(1)
        assert raw(world, manifest) == RUNNING.replace(f'"{OLD}:v1.2.3"', f'"{image_of(1)}"')

    told(tmp_path, story)


def test_what_runs_otherwise_than_was_shown_is_not_adopted(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        planned = await seen(world)
        later = RUNNING + "      restartPolicy: Always\n"
        await world.do(adopt("", running="shop/web", cluster="office", manifest=later, expected=token(planned)))

        assert (await world.decision("c-adopt")).reason == "moved_meanwhile"

    told(tmp_path, story)
