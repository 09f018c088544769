"""The verdict: every limit held against every group that it is for, with what is certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from onnxcam.audit import measures
from onnxcam.audit.policy import Limit, Policy
from onnxcam.audit.records import Row
from onnxcam.audit.statistics import Estimate, estimate
from onnxcam.audit.table import having

Result: TypeAlias = Literal["pass", "fail", "not enough data"]
EXIT: Mapping[str, int] = {"pass": 0, "fail": 3, "not enough data": 4}
Tables: TypeAlias = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Finding:
    """A limit and a group.

    Attributes:
        limit: The limit in words.
        measure: Its measure.
        per: "overall", "class" or "slice".
        group: The class or slice; "" for all.
        result: "pass" where the whole interval keeps the limit, "fail" where none of it does, else
            "not enough data".
        value: The mean, None where there is none.
        low: Lower end of its interval.
        high: Upper end.
        count: Samples behind it.
        confidence: Of the interval: the policy's, corrected for the groups of this limit.
        least: What the mean must be at least, None for no such limit.
        most: What it may be at most.
    """

    limit: str
    measure: str
    per: str
    group: str
    result: Result
    value: float | None
    low: float | None
    high: float | None
    count: int
    confidence: float
    least: float | None
    most: float | None


@dataclass(frozen=True)
class Verdict:
    """What an audit comes to.

    Attributes:
        result: "fail" where a limit fails; else "not enough data" where one is open; else "pass".
        findings: Every limit and group that was judged.
        skipped: What was not judged, and why, in words.
        conflicts: Where the audit's own checks disagree, in words.
    """

    result: Result
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]
    conflicts: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, 3 or 4."""
        return EXIT[self.result]

    @property
    def open(self) -> list[Finding]:
        """The findings that do not pass, failures first."""
        order = ("fail", "not enough data")
        found = [f for f in self.findings if f.result in order]
        return sorted(found, key=lambda f: order.index(f.result))

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {**asdict(self), "exit_code": self.exit_code}


def judge(policy: Policy, tables: Tables, conflicts: Iterable[str] = ()) -> Verdict:
    """Hold records against a policy.

    Args:
        policy: The policy.
        tables: The rows of "records" (of the model), "pairs", "where" and "trust".
        conflicts: Where the audit's own checks disagree: then it does not pass.
    """
    findings: list[Finding] = []
    skipped: list[str] = []
    for limit in policy.limits:
        missing = _missing(limit, tables)
        if missing:
            skipped.append(f"{limit.words}: {missing}")
            continue
        for per in limit.per:
            found, left_out = _per(policy, limit, per, tables)
            findings += found
            skipped += left_out
    results = {f.result for f in findings}
    conflicts = tuple(conflicts)
    result: Result = "pass" if findings else "not enough data"
    if "fail" in results:
        result = "fail"
    elif "not enough data" in results or conflicts:
        result = "not enough data"
    return Verdict(result, tuple(findings), tuple(skipped), conflicts)


def _missing(limit: Limit, tables: Tables) -> str | None:
    """Return why a limit that needs something does not hold here."""
    records = tables["records"]
    if limit.needs == "labels" and not any(r.get("label") for r in records):
        return "the data has no labels"
    if limit.needs == "objects" and all(r.get("object_area") is None for r in records):
        return "the data has no boxes or masks"
    if limit.needs == "maps" and not tables.get("where"):
        return "no class has enough maps"
    if limit.needs == "trust" and not tables.get("trust"):
        return "the audit was not checked itself"
    return None


def _per(policy: Policy, limit: Limit, per: str, tables: Tables) -> tuple[list[Finding], list[str]]:
    measure = measures.find(limit.measure)
    assert measure is not None, "the policy was checked"
    rows = of_method(tables.get(measure.table, ()), limit.method)
    said = measures.columns([measure], rows)[measure.name]
    columns = {group: said.of(at) for group, at in measures.places(rows, per).items()}
    least = limit.minimum if per != "overall" else 1
    judged = {g: c for g, c in columns.items() if len(c) >= least}
    skipped = []
    if len(judged) < len(columns) and per != "overall":
        kind = {"class": "classes", "slice": "slices"}[per]
        skipped.append(
            f"{limit.words}: {len(columns) - len(judged)} of {len(columns)} {kind} have fewer than "
            f"{least} samples that say something"
        )
    confidence = 1 - (1 - policy.confidence) / max(len(judged), 1)
    found = []
    for group, values in judged.items():
        made = estimate(values, confidence, resamples=policy.resamples, seed=policy.seed)
        if made is not None and made.count < limit.minimum:
            skipped.append(f"{limit.words}: {made.count} samples, fewer than {limit.minimum}")
        found.append(_finding(limit, per, group, made, confidence))
    if per == "overall" and not judged:
        found.append(_finding(limit, per, "", None, confidence))
    return found, skipped


def of_method(rows: Sequence[Row], method: str = "") -> Sequence[Row]:
    """Return the rows of a method; of the first where none is named."""
    wanted = method or next((r["method"] for r in rows if "method" in r), "")
    return having(rows, "method", wanted)


def _finding(
    limit: Limit, per: str, group: str, made: Estimate | None, confidence: float
) -> Finding:
    result: Result = "not enough data"
    if made is not None and made.count >= limit.minimum:
        least = -float("inf") if limit.low is None else limit.low
        most = float("inf") if limit.high is None else limit.high
        if made.low >= least and made.high <= most:
            result = "pass"
        elif made.high < least or made.low > most:
            result = "fail"
    value, low, high, count = _parts(made)
    return Finding(
        limit.words, limit.measure, per, group, result, value, low, high, count, confidence,
        limit.low, limit.high,
    )  # fmt: skip


def _parts(made: Estimate | None) -> tuple[float | None, float | None, float | None, int]:
    return (None, None, None, 0) if made is None else (made.value, made.low, made.high, made.count)
