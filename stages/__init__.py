"""The experiment: one module per stage; `core` holds what they share, `tools` other commands."""

import logging
import os
import sys
from pathlib import Path
from types import TracebackType


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the remedy instead of a traceback for what the user can fix.

    A hook, because a full disk can surface while a stage's libraries are still being imported.
    """
    from stages.core.launch.errors import printable, user_hint

    reason = user_hint(error) if isinstance(error, Exception) else None
    if reason:
        file = Path(sys.argv[0])
        name = file.parent.name if file.stem == "__main__" else file.stem
        print(f"{name}: {printable(reason)}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _explain
if not sys.stderr.isatty() or os.environ.get("LOCAL_RANK", "0") != "0":
    # A log is no place for progress bars, and one of each is enough.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
# transformers takes any large vocabulary beside a config of this version for a Mistral's.
logging.getLogger("transformers.tokenization_utils_base").addFilter(
    lambda record: "fix_mistral_regex" not in record.getMessage()
)
# These libraries report their use over the network unless told not to before their import.
for _variable in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")
