"""Say whether everything here is what dvc.lock says, and what repairs it where it is not: `python -m tools.verify`.

It hashes each output, each object of DVC's cache and each file that a stage hangs on; DVC itself goes by times and
inodes. It writes nothing and takes about 2 seconds for CIFAR-10 on two cores. It ends with 0 where the bytes are the
same, or were made anew on another kind of machine with scores within tolerance, and with 3 where something differs.
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
    # 1. What should be here, and whether DVC can work.
    defined, stages, params = read_pipeline(), read_lock(), read_params().model_dump()
    findings = _shown("project", [*broken_lock_file(), *detached_head()])
    hashes = Hashes()
    outputs = Outputs(stages, {path for stage in defined.values() for path in stage.uncached}, hashes)
    made = {str(out.path): out for stage in stages for out in stage.outs}

    if outputs.none_here():
        raise DataError(f"no output of DVC's is here, as in a fresh clone; run {brings()}")

    # 2. Stage by stage: what it hangs on, what it made.
    for stage in stages:
        reasons = list(changes(stage, defined.get(stage.name), params, made, hashes))
        found = [_out_of_date(stage, reasons)] if reasons else []
        found += outputs.findings(stage, current=not reasons)
        if stage.name == "train" and not findings + found:
            found += card_findings(read_facts(CARD), stage)
        findings += _shown(stage.name, found, otherwise=f"ok   {', '.join(str(out.path) for out in stage.outs)}")
    findings += _shown("project", _not_run(defined, stages))

    # 3. What killed processes left lying; it changes no byte.
    folders = sorted({Path("logs"), *(out.path.parent for out in made.values())})
    _shown("left over", [*dead_tasks(), *left_over_files(folders)])

    # 4. The verdict.
    if findings:
        more = f", then verify again ({len(findings) - 1} more above)" if len(findings) > 1 else ""
        raise DataError(f"{printable(findings[0].what)}; run {printable(findings[0].repair)}{more}")
    print(_verdict(len(made), read_facts(CARD), remake(stages)))


def _shown(name: str, findings: list[Finding], *, otherwise: str = "") -> list[Finding]:
    """Print the row or rows of the table that belong to a stage, and hand the findings on."""
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
    """One line; the card and the commit decide whether the bytes can be compared.

    Raises:
        DataError: outputs were made anew with other bytes, and nothing about the machine explains that.
    """
    same = f"{count} outputs as dvc.lock says"
    if not card:
        return f"same bytes: {same}"
    made = made_on(card)
    here = this_machine(like=made)
    if other is None:
        if made == here:
            return f"same bytes: {same}, made on this kind of machine ({here})"
        return (
            f"same bytes: {same}; made with {made}, here {here}: made anew here, they would differ in their last bits"
        )
    return _judged(other, f"here {made}", alike=other.machine == made)


def _judged(other: Remake, here: str, *, alike: bool) -> str:
    scores = ", ".join(f"{name} {before} and {now}" for name, (before, now) in other.scores.items())
    if alike:
        raise DataError(
            f"{other.differing} was made anew from the committed code, data and params on the same kind of machine, "
            f"and has other bytes; run dvc repro -f, and report it if that happens again"
        )
    there = f"committed ones made with {other.machine}" if other.machine else "the commit's machine is not known here"
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
