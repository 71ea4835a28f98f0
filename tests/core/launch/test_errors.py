import errno
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from stages.core.launch.atomic import atomic_directory
from stages.core.launch.errors import InputError, printable, readable, user_hint


@contextmanager
def little_room() -> Iterator[None]:
    """Let no file grow beyond a kibibyte: not as a fixture, because pytest's own log may have."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_known_from_a_library_in_rust_too(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError) as raised, little_room():
        save_file({"weights": np.zeros(1000)}, tmp_path / "model.safetensors")
    reason = "its output: File too large; free some space, then run dvc repro again"
    assert user_hint(raised.value) == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("no such thing"), "no such thing"),
        (
            OSError(errno.EROFS, "Read-only file system", "data/corpus"),
            "data/corpus: Read-only file system; allow this user to use it, then run dvc repro "
            "again",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "source", None, "copy"),
            "copy: No space",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "data/x"), "no data/x; make it with: dvc"),
        (
            MemoryError(),
            "out of memory (MemoryError); free some, or, in a training, lower its batch_size",
        ),
        (
            RuntimeError("CUDA out of memory. Tried\nto"),
            "out of memory (CUDA out of memory. Tried)",
        ),
        (
            RuntimeError("[enforce fail] can't allocate memory: you tried"),
            "out of memory ([enforce",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory ([Errno 12] Cannot"),
    ],
)
def test_what_a_user_can_fix_names_the_remedy(error: Exception, reason: str) -> None:
    assert (user_hint(error) or "").startswith(reason)


def test_a_copied_tree_that_does_not_fit_is_no_bug(tmp_path: Path) -> None:
    said = [("a", "b", "[Errno 2] No such file: 'a'"), ("c", "d", "[Errno 28] No space: 'd'")]
    with pytest.raises(shutil.Error) as caught, atomic_directory(tmp_path / "release"):
        raise shutil.Error(said)
    assert (user_hint(caught.value) or "").startswith("its output: No space left on device; free")


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError("conf/x"), ValueError("data")])
def test_what_only_code_can_fix_has_none(error: Exception) -> None:
    assert user_hint(error) is None


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError("none left"),
        RuntimeError("can't allocate memory: you tried"),
        ValueError("Permission denied (os error 13)"),
    ],
)
def test_what_is_no_damage_is_not_called_so(error: Exception, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(type(error), match=re.escape(str(error))), readable(file):
        raise error


def test_a_missing_file_is_not_called_damaged(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"tokenizer\.json"),
        readable(tmp_path / "tokenizer.json") as file,
    ):
        Tokenizer.from_file(str(file))


def test_damage_is_named_with_its_remedy(tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.touch()
    with (
        pytest.raises(InputError, match=r"/b is damaged \(odd\); remove it, then run dvc repro"),
        readable(file),
    ):
        raise ValueError("odd\nindeed")


def test_only_what_disturbs_a_line_is_escaped() -> None:
    kept = "Très bon\u00a0! \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚀"
    assert printable(kept) == kept
    assert printable("a\nb\x1b[2J\u202e\u2028\ud800") == r"a\nb\x1b[2J\u202e\u2028\ud800"
