"""Check every output against dvc.lock, and print repair commands: `python -m tools.verify`.

It hashes each output, each object of DVC's cache and each file that a stage depends on; DVC itself trusts times and
inodes. It writes nothing, and takes about 2 seconds for CIFAR-10 on two cores. The exit code is 0 if the bytes are
identical, or if another kind of machine reproduced them with scores within tolerance, and 3 if anything differs.
"""

from pathlib import Path
from typing import Any

from imageclf.config.params import read_params
from imageclf.models.card import CLASSIFIER
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.files import brings
from imageclf.runtime.stage import run_tool
from tools.repository import Defined, Hashes, Stage, read_lock, read_pipeline
from tools.verifying.health import broken_lock_file, dead_tasks, detached_head, left_over_files
from tools.verifying.outputs import Finding, Outputs, changes
from tools.verifying.provenance import CARD, TOLERANCE, Remake, card_findings, made_on, read_facts, remake, this_machine


def main() -> None:
    # 1. Read dvc.yaml and dvc.lock, and check that DVC can work.
    defined, stages, params = read_pipeline(), read_lock(), read_params().model_dump()
    findings = _shown("project", [*broken_lock_file(), *detached_head()])
    hashes = Hashes()
    outputs = Outputs(stages, {path for stage in defined.values() for path in stage.uncached}, hashes)
    made = {str(out.path): out for stage in stages for out in stage.outs}

    if outputs.none_here():
        raise DataError(f"no output is here, as in a fresh clone; run {brings()}")

    # 2. Check each stage's deps and outputs.
    for stage in stages:
        reasons = list(changes(stage, defined.get(stage.name), params, made, hashes))
        found = [_out_of_date(stage, reasons)] if reasons else []
        found += outputs.findings(stage, current=not reasons)
        if stage.name == "train" and not findings + found:
            found += card_findings(read_facts(CARD), stage)
        findings += _shown(stage.name, found, otherwise=f"ok   {', '.join(str(out.path) for out in stage.outs)}")
    findings += _shown("project", _not_run(defined, stages))

    # 3. List what killed processes left behind. It leaves results bit-identical.
    folders = sorted({Path("logs"), *(out.path.parent for out in made.values())})
    _shown("left over", [*dead_tasks(), *left_over_files(folders)])

    # 4. Print the verdict.
    if findings:
        more = f", then verify again ({len(findings) - 1} more above)" if len(findings) > 1 else ""
        raise DataError(f"{printable(findings[0].what)}; run {printable(findings[0].repair)}{more}")
    print(_verdict(len(made), read_facts(CARD), remake(stages)))


def _shown(name: str, findings: list[Finding], *, otherwise: str = "") -> list[Finding]:
    """Print a stage's findings, or `otherwise`; returns the findings."""
    for finding in findings:
        print(f"{name:<10}{printable(finding.what)}\n{'':<10}repair: {printable(finding.repair)}", flush=True)
    if otherwise and not findings:
        print(f"{name:<10}{otherwise}", flush=True)
    return findings


def _out_of_date(stage: Stage, reasons: list[str]) -> Finding:
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return Finding(f"stage {stage.name} is out of date ({reasons[0]}{more})", "dvc repro")


def _not_run(defined: dict[str, Defined], stages: list[Stage]) -> list[Finding]:
    missing = [name for name in defined if name not in {stage.name for stage in stages}]
    return [Finding(f"stage {name} is not in dvc.lock", "dvc repro") for name in missing]


def _verdict(count: int, card: dict[str, Any], other: Remake | None) -> str:
    """One line on whether the outputs are identical, or comparable at all.

    Raises:
        DataError: the outputs differ from the committed ones on the same kind of machine.
    """
    same = f"{count} outputs as dvc.lock says"
    if not card:
        return f"same bytes: {same}"
    made = made_on(card)
    here = this_machine(like=made)
    if other is None:
        if made == here:
            return f"same bytes: {same}, made on this kind of machine ({here})"
        return f"same bytes: {same}; made with {made}; a new run here ({here}) would differ in the last bits"
    return _judged(other, f"here {made}", alike=other.machine == made)


def _judged(other: Remake, here: str, *, alike: bool) -> str:
    scores = ", ".join(f"{name} {before} and {now}" for name, (before, now) in other.scores.items())
    if alike:
        raise DataError(
            f"{other.differing} differs from the committed one, with the same code, data, params and kind of machine; "
            "run dvc repro -f, and report it if that happens again"
        )
    there = f"committed ones made with {other.machine}" if other.machine else "the committed ones' machine is unknown"
    limits = ", ".join(f"{name} {limit}" for name, limit in TOLERANCE.items())
    sentence = f"not comparable bit by bit: {there}, {here}"
    if other.within_tolerance:
        return f"{sentence}; within tolerance ({limits}): {scores}"
    raise DataError(
        f"{sentence}; and not within tolerance ({limits}): {scores or 'no scores to compare'}; "
        f"run git checkout HEAD dvc.lock metrics && dvc pull for the committed {CLASSIFIER}"
    )


if __name__ == "__main__":
    run_tool(main)
