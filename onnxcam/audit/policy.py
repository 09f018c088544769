"""A policy: limits that are set before the first sample is seen, read from TOML and checked."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from onnxcam.audit import measures
from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.labels import read_text

PER = ("overall", "class", "slice")
NEEDS = ("labels", "objects", "maps", "trust")
_FIELDS = {"name", "needs_baseline", "confidence", "minimum", "resamples", "seed", "limit"}
_LIMIT = {"measure", "min", "max", "per", "minimum", "needs", "method"}


@dataclass(frozen=True)
class Limit:
    """A limit on the mean of a measure.

    Attributes:
        measure: Name of the measure.
        low: The least that the mean may be; None for no such limit.
        high: The most.
        per: The groups that it holds for: "overall", "class", "slice".
        minimum: Samples that a class or slice must have to be judged.
        needs: "labels", "objects", "maps" or "trust", where the limit holds only if the
            data or the audit has these; "" where it always holds.
        method: The method whose maps it is about; "" for the first.
    """

    measure: str
    low: float | None
    high: float | None
    per: tuple[str, ...]
    minimum: int
    needs: str = ""
    method: str = ""

    @property
    def words(self) -> str:
        """The limit in words."""
        ends = ((self.low, "at least"), (self.high, "at most"))
        said = " and ".join(f"{word} {end:g}" for end, word in ends if end is not None)
        return f"{self.measure} {said}"


@dataclass(frozen=True)
class Policy:
    """What an audit must find.

    Attributes:
        name: What it is called.
        text: The TOML, as it was read.
        limits: The limits.
        confidence: Of every limit, all its groups together (Bonferroni's correction).
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        needs_baseline: Whether it speaks of a second model.
    """

    name: str
    text: str
    limits: tuple[Limit, ...]
    confidence: float
    resamples: int
    seed: int
    needs_baseline: bool

    @property
    def sha256(self) -> str:
        """Of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def ready() -> tuple[str, ...]:
    """Return the names of the policies that come with onnxcam."""
    files = resources.files("onnxcam.audit.policies").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def read_policy(said: str | Path) -> Policy:
    """Read a policy.

    Args:
        said: The path of a TOML file, or the name of a ready policy ("quantised-build").

    Raises:
        OnnxcamError: Of the kind that fits: it cannot be read, or says what makes no sense.
    """
    name = str(said).lower().replace(" ", "-")
    if name in ready() and not Path(said).exists():
        text = resources.files("onnxcam.audit.policies").joinpath(f"{name}.toml").read_text()
        return parsed(text, name)
    path = Path(said)
    if not path.exists():
        raise UsageError(
            f"no policy {str(said)!r}", f"give a TOML file, or one of {', '.join(ready())}"
        )
    return parsed(read_text(path), str(path))


def parsed(text: str, where: str) -> Policy:
    """Return the policy that a TOML text says; ``where`` it stands, for messages.

    Raises:
        InputError: It is no TOML, or has unknown or wrong fields.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}", "see the ready policies") from None
    _only(said, _FIELDS, where)
    limits = said.get("limit", [])
    if not isinstance(limits, list) or not limits:
        raise InputError(f"{where} sets no limit", "write one as [[limit]]")
    confidence = _number(said, "confidence", 0.95, where)
    if not 0.5 <= confidence < 1:
        raise InputError(f"{where}: confidence {confidence:g}", "write one from 0.5 to below 1")
    minimum = int(_number(said, "minimum", 20, where))
    return Policy(
        str(said.get("name", where)), text,
        tuple(_limit(each, minimum, where) for each in limits),
        confidence, int(_number(said, "resamples", 2000, where)),
        int(_number(said, "seed", 0, where)), bool(said.get("needs_baseline", False)),
    )  # fmt: skip


def _limit(said: Any, minimum: int, where: str) -> Limit:
    if not isinstance(said, Mapping):
        raise InputError(f"{where}: a limit is no table", "write it as [[limit]]")
    _only(said, _LIMIT, where)
    name = str(said.get("measure", ""))
    if measures.find(name) is None:
        known = ", ".join(measures.MEASURES)
        raise InputError(f"{where}: no measure {name!r}", f"choose one of {known}")
    if "min" not in said and "max" not in said:
        raise InputError(f"{where}: the limit on {name} has neither min nor max", "add one")
    per = said.get("per", ["overall"])
    per = tuple([per] if isinstance(per, str) else per)
    needs = str(said.get("needs", ""))
    if not per or any(each not in PER for each in per) or needs not in ("", *NEEDS):
        raise InputError(
            f"{where}: the limit on {name} holds for {', '.join(map(str, per))} {needs}".rstrip(),
            f"choose per of {', '.join(PER)}, needs of {', '.join(NEEDS)}",
        )
    ends = [_number(said, end, None, where) if end in said else None for end in ("min", "max")]
    least = int(_number(said, "minimum", minimum, where))
    return Limit(name, ends[0], ends[1], per, least, needs, str(said.get("method", "")))


def _only(said: Mapping[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(said.keys() - fields)
    if unknown:
        raise InputError(
            f"{where} says {unknown[0]!r}, which is no field",
            f"the fields are {', '.join(sorted(fields))}",
        )


def _number(said: Mapping[str, Any], name: str, otherwise: Any, where: str) -> float:
    value = said.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124
        raise InputError(f"{where}: {name} is {value!r}, no number", "write a number")
    return float(value)
