"""dvc.lock as it is read."""

import pytest

from tools.repository import Damaged, parse_lock

TEXT = """schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    params:
      params.yaml:
        train:
          lr: 3e-05
    outs:
    - path: models/classifier
      hash: md5
      md5: 81d210c83d99e77ab0cd53bb908a2da7.dir
      size: 7701443
      nfiles: 6
"""


def test_a_stage_is_read_with_numbers_as_yaml_1_2_has_them() -> None:
    (stage,) = parse_lock(TEXT)
    assert (stage.name, stage.params, stage.outs[0].size) == ("train", {"train": {"lr": 3e-05}}, 7701443)
    assert stage.outs[0].is_folder


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2da7.dir", "", "a part of it is missing"),
        ("size: 7701443", "size:", "a part of it is missing"),
        ("    outs:", "<<<<<<< HEAD\n    outs:", "line 9 is a merge conflict marker"),
        ("    outs:", "  \t outs:", "line 9 is not YAML"),
        (TEXT, "", "it is empty"),
    ],
)
def test_damage_is_named(old: str, new: str, words: str) -> None:
    with pytest.raises(Damaged, match=words):
        parse_lock(TEXT.replace(old, new))
