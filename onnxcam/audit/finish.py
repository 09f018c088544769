"""From records to the evidence: figures, verdict, report, manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxcam.audit import bundle, evidence, results
from onnxcam.audit.data import Listing
from onnxcam.audit.job import Job
from onnxcam.audit.log import RunLog
from onnxcam.audit.page import write_report
from onnxcam.audit.policy import Policy
from onnxcam.audit.store import Store
from onnxcam.audit.verdict import Verdict, judge, of_method
from onnxcam.audit.where import suspicious, where
from onnxcam.audit.work import again, local
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import json_text
from onnxcam.files import write_whole


def finish(
    folder: Path, job: Job, listing: Listing, policy: Policy, trust: int, apart: float | None
) -> tuple[Verdict, dict[str, Any]]:
    """Judge the records of an audit and write everything that is made of them.

    Args:
        folder: The audit's folder.
        job: The audit.
        listing: Its data.
        policy: Its policy.
        trust: Samples that the audit itself is checked on.
        apart: Seconds of another process, which may crash, that looks at the models; None looks
            at them here.

    Returns:
        The verdict, and how many samples there are of each kind.
    """
    looked = (
        local.look_again(folder, apart, trust, policy.seed)
        if apart is not None
        else again.looked(job, Worker(job), listing.samples, trust, policy.seed)
    )
    found = results.tables(Store(folder, job.chunk))
    write(folder / "data" / "manifest.json", listing.as_dict())
    write(folder / "evidence.json", _evidence(job, looked["models"]))
    counts = results.counts(found)
    records = of_method(found["records"])
    looks = where(Store(folder, job.chunk), records, job.methods[0])
    found["where"] = suspicious(looks, records)
    found["trust"], conflicts = looked["trust"], looked["conflicts"]
    write(
        folder / "results.json",
        {
            "counts": counts,
            "figures": results.figures(found),
            "divergence": looked["divergence"],
            "where": looks,
            "suspicious": found["where"],
            "trust": found["trust"],
            "conflicts": conflicts,
        },
    )
    verdict = judge(policy, found, conflicts)
    write(folder / "verdict.json", {"policy": policy.name, **verdict.as_dict()})
    RunLog(folder).add("judged", result=verdict.result)
    bundle.write_all(folder)
    write_report(folder)
    return verdict, counts


def write(place: Path, value: Any) -> None:
    """Write a value as JSON."""
    write_whole(place, (json_text(value) + "\n").encode())


def _evidence(job: Job, models: Mapping[str, Any]) -> dict[str, Any]:
    """Return what went in: the models' files, the methods, the environment."""
    return {
        "models": models,
        "methods": evidence.method_records(job.methods),
        "environment": evidence.environment(),
        "not_shown": evidence.NOT_SHOWN,
    }
