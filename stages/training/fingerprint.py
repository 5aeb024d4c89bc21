"""What a run is: the same fingerprint, the same result, so that only its own checkpoints are ever used."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import stages
from stages.files.hashing import sha256_of_file


def fingerprint(facts: dict[str, Any]) -> str:
    """Hex sha256 of `facts` (params, data, versions, precision) and of every file of ours that training may use."""
    root = Path(stages.__file__).parent
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    files |= set((root / "model").glob("*.py"))  # of which some are imported when a network first needs them
    code = {str(file.relative_to(root)): sha256_of_file(file) for file in files if file.is_relative_to(root)}
    return hashlib.sha256(json.dumps({"facts": facts, "code": code}, sort_keys=True).encode()).hexdigest()
