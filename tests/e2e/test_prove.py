"""``modelyard prove`` on the real stack, the control plane being killed all the while."""

from __future__ import annotations

from stack import Stack, wait_for


def test_prove_loses_nothing_and_leaves_nothing(fresh_stack: Stack) -> None:
    found = fresh_stack.json(
        "prove", "--updates", "6", "--seconds", "40", "--rate", "50", "--kill", "--seed", "11"
    )
    assert found["verdict"] == "0 lost", found
    updates, predictions, platform = found["updates"], found["predictions"], found["platform"]
    assert 1 <= updates["asked"] <= 6
    assert updates["accepted"] == updates["asked"]
    assert updates.get("succeeded", 0) + updates.get("overtaken", 0) == updates["asked"], found
    assert found["control_plane_killed"] >= 1
    assert predictions["ok"] == predictions["sent"] > 50
    assert platform["requests"] > 0
    assert platform["lost"] == 0
    assert fresh_stack.json("service", "list")["count"] == 0
    assert fresh_stack.json("model", "list")["count"] == 0
    wait_for(lambda: not fresh_stack.status()["instances"], 20, "the end of the instances")


def test_prove_needs_a_platform(tmp_path, fresh_stack: Stack) -> None:
    refused = fresh_stack.run("prove", "--home", str(tmp_path), check=False)
    assert refused.returncode == 1
    assert "modelyard up" in refused.stderr
