"""The policy in the config repository, asked of real attestations in a real registry before a config commit."""

from __future__ import annotations

import json
from pathlib import Path

from gitops.committing.sources import Sources
from gitops.gate.inspection import Inspector
from gitops.git.configrepo import ConfigRepo
from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from pipeline.mirrors import Mirrors
from pipeline.records import Release, Verdict
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.supply import sign_release
from pipeline.verify import gather_evidence
from tests.support.committer_world import World, rollback, told
from tests.support.forgeries import BUILDER, SPDX, facts, sealed
from tests.support.judge import cosign
from tests.support.policy_world import SIGNER, VERIFIER, Shop, deciding, judge
from tests.support.registry import push_image, running_registry


def test_a_deployment_names_a_summary_that_cosign_verifies(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.world.do(await shop.release(1))
        target = await shop.world.target()
        message = shop.world.log("%B")
        (named,) = [line.partition(": ")[2] for line in message if line.startswith("Enclii-Summary: ")]
        image = ImageRef.parse(target.image)
        evidence = await gather_evidence(shop.registry, image, keys=[VERIFIER.public])
        (summary,) = evidence.of(attest.SUMMARY)
        assert summary.manifest == named
        assert summary.predicate["verificationResult"] == "PASSED"
        assert len(summary.predicate["inputAttestations"]) == 3
        key = tmp_path / "verifier.pub"
        key.write_bytes(VERIFIER.public.pem)
        judged = cosign(key, image, kind=attest.SUMMARY)
        assert judged.returncode == 0, judged.stderr
        assert json.loads(judged.stdout.splitlines()[0])

    deciding(tmp_path, story)


def test_what_the_policy_forbids_is_not_deployed_and_the_decision_names_each_rule(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.policy("builders: [https://elsewhere.example]\nrequire: [https://scan.example/v1]\n")
        await shop.world.do(await shop.release(1))
        decision = await shop.decision(1)
        assert (decision.outcome, decision.reason) == ("refused", "policy_refused")
        assert "https://scan.example/v1 is missing" in decision.message
        assert f"built by {BUILDER}, not allowed" in decision.message
        assert not [line for line in shop.world.log() if line.startswith("Deploy")]

    deciding(tmp_path, story)


def test_each_rule_of_a_policy_stops_what_breaks_it_and_nothing_is_committed(tmp_path: Path) -> None:
    spdx = {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "left-pad", "versionInfo": "1.3.0", "licenseDeclared": "A"}],
    }
    sbom = json.dumps(spdx).encode()
    broken = {
        "require: [cyclonedx]": "predicates: https://cyclonedx.org/bom is missing",
        "builders: [https://elsewhere.example]": f"builder: built by {BUILDER}, not allowed",
        "identities: [somebody]": "identity: signed by",
        "identities: [{identity: https://a.example, issuer: https://b.example}]": "identity: signed by",
        "reachable: true": "reachable: the commit is not on the branch",
        "deny: {licenses: [A]}": "licenses: left-pad@1.3.0 have a denied licence",
        'deny: {packages: ["left-*"]}': "packages: left-pad@1.3.0 denied",
    }

    async def story(shop: Shop) -> None:
        shop.world.committer = judge(shop.world, shop.registry, reachable=False)
        for number, (policy, said) in enumerate(broken.items(), 1):
            shop.policy(policy)
            await shop.world.do(await shop.release(number, sbom=sbom))
            decision = await shop.decision(number)
            assert (decision.outcome, decision.reason) == ("refused", "policy_refused"), policy
            assert said in decision.message
        shop.policy("reachable: true")
        shop.world.committer = judge(shop.world, shop.registry, reachable=None)
        await shop.world.do(await shop.release(20, sbom=sbom))
        assert "could not be found on" in (await shop.decision(20)).message
        assert not [line for line in shop.world.log() if line.startswith("Deploy")]

        shop.world.committer = judge(shop.world, shop.registry)
        await shop.world.do(await shop.release(21, sbom=sbom))
        assert (await shop.decision(21)).outcome == "accepted"

    deciding(tmp_path, story)


def test_an_sbom_that_hides_packages_behind_another_is_asked_too(tmp_path: Path) -> None:
    """Two SBOMs of one image, in either order of their digests: what one of them names is in the image."""
    named = json.dumps({"spdxVersion": "SPDX-2.3", "packages": [{"name": "left-pad"}]}).encode()
    unread = json.dumps({"spdxVersion": "SPDX-2.3", "packages": "left-pad"}).encode()

    async def story(shop: Shop) -> None:
        shop.policy('deny: {packages: ["left-*"]}')
        for number, (own, said) in enumerate(((named, "left-pad@ denied"), (unread, "cannot be read")), 1):
            for beside in range(4):  # their digests decide which comes last
                image = await shop.image(10 * number + beside)
                await sign_release(shop.registry, image, key=SIGNER, provenance=facts(), sbom=own)
                other = attest.sbom_statement(image, SPDX.replace(b'"web"', b'"%d"' % beside))
                await shop.attach(image, sealed(SIGNER, other), attest.SBOM)
                await shop.world.do(await shop.released(10 * number + beside, image))
                decision = await shop.decision(10 * number + beside)
                assert (decision.outcome, decision.reason) == ("refused", "policy_refused")
                assert said in decision.message

    deciding(tmp_path, story)


def test_one_identity_that_the_policy_allows_must_have_signed_every_part(tmp_path: Path) -> None:
    other = SigningKey.generate()

    async def story(shop: Shop) -> None:
        shop.world.committer = judge(shop.world, shop.registry, keys=(SIGNER.public, other.public))
        shop.policy(json.dumps({"identities": [SIGNER.public.hint]}))
        image = await shop.image(1)
        await shop.attach(image, sealed(SIGNER, attest.signature_statement(image)), attest.SIGNATURE)
        for kind, payload in (
            (attest.PROVENANCE, attest.provenance_statement(image, facts())),
            (attest.SBOM, attest.sbom_statement(image, SPDX)),
        ):
            await shop.attach(image, sealed(other, payload), kind)
        await shop.world.do(await shop.released(1, image))
        assert "identity: signed by nobody known" in (await shop.decision(1)).message

        await shop.world.do(await shop.release(2))
        assert (await shop.decision(2)).outcome == "accepted"

    deciding(tmp_path, story)


def test_a_projects_own_policy_counts_too(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.policy("identities: [somebody]\n", "shop/policy.yaml")
        await shop.world.do(await shop.release(1))
        assert (await shop.decision(1)).reason == "policy_refused"

    deciding(tmp_path, story)


def test_an_inspection_tells_what_the_gate_would_say(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.policy("require: [https://scan.example/v1]\n", "shop/policy.yaml")
        event = await shop.release(1)
        stored = await shop.world.store.get(Release, event.release)
        assert stored is not None
        sources = Sources(shop.world.store, Mirrors(Settings(), tmp_path / "mirrors"))
        repo = ConfigRepo(tmp_path / "reading", shop.world.url)
        inspector = Inspector(shop.registry, repo, (SIGNER.public,), frozenset({BUILDER}), sources)
        told = await inspector.release(stored.record)
        assert [one.rule for one in told.checks if not one.passed] == ["predicates"]
        assert (await inspector.image(stored.record.image, "")).passed
        unsigned = await push_image(shop.registry, "shop/web", content=b"nobody signed this")
        assert "signature" in [one.rule for one in (await inspector.image(str(unsigned), "")).checks if not one.passed]

    deciding(tmp_path, story)


def test_an_override_lets_one_image_pass_and_is_asked_again_the_next_time(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        event = await shop.release(1)
        stored = await shop.world.store.get(Release, event.release)
        assert stored is not None
        override = {"image": stored.record.image, "rules": ["identity"], "by": "on-call", "reason": "urgent"}
        shop.policy(json.dumps({"identities": ["somebody"], "overrides": [override]}))
        await shop.world.do(event)
        assert (await shop.decision(1)).outcome == "accepted"
        verdict = await shop.world.store.get(Verdict, stored.record.image)
        assert verdict is not None
        assert verdict.record.summaries == {}

    deciding(tmp_path, story)


def test_a_policy_that_nobody_can_read_lets_nothing_pass(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.policy("deny: {licences: [x]}\n")
        await shop.world.do(await shop.release(1))
        decision = await shop.decision(1)
        assert (decision.outcome, decision.reason) == ("refused", "bad_policy")
        assert "licences" in decision.message

    deciding(tmp_path, story)


def test_a_rollback_needs_no_registry_when_the_policy_is_the_same(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        with running_registry(tmp_path / "registry") as host:
            async with Registry(host, plain_http=True, timeout=60.0) as registry:
                world.committer = judge(world, registry)
                shop = Shop(world, registry)
                for number in (1, 2):
                    await world.do(await shop.release(number))
                    await world.seen_running()
        async with Registry(host, plain_http=True, timeout=1.0) as gone:
            world.committer = judge(world, gone)
            await world.do(rollback())
            assert (await world.target()).release == "shop.web.v1"

    told(tmp_path, story)
