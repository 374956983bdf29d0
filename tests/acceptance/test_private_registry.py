"""The whole line on a registry that takes and gives nothing without an account, which a docker config.json holds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.test_push import runs
from tests.support.line import API, eventually, git, run_enclii, running_line, sample

# bcrypt of "correct horse", made for this test alone
HTPASSWD = "builder:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
ENTRY = {"username": "builder", "password": "correct horse"}


def test_a_push_is_built_signed_verified_and_run_with_the_account(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    config = tmp_path / "config.json"
    config.write_text("{}")
    auth = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}
    with running_line(tmp_path / "home", {"REGISTRY_CONFIG": str(config)}, auth=auth) as line:
        config.write_text(json.dumps({"auths": {line.registry: ENTRY}}))  # read anew each time
        line.kill("builder")
        line.start("builder")
        sample(tmp_path / "shop", "one\n")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: runs(line, "v1"), what="v1 runs")

        checks = {one["subject"]: one for one in line.api("/v1/doctor")["checks"]}
        assert (checks["registry"]["level"], checks["registry referrers"]["level"]) == ("ok", "ok")
        told = run_enclii(line, API, "doctor").stdout
        assert f"accounts of registries: {line.registry} by config.json" in " ".join(told.split())
        assert run_enclii(line, API, "verify", "shop.web.v1").returncode == 0
        assert not [name for name in ("builder", "signer", "syncer") if "correct horse" in line.log(name)]
