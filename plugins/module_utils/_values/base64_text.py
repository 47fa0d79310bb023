# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Base64 as Go reads it in both files."""

import base64
import re
from typing import Optional

_BASE_64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_NO_BREAKS = {ord("\r"): None, ord("\n"): None}


def decode_base64(text: str) -> Optional[bytes]:
    """The bytes that a text stands for, None if it is not Base64: padded, and with line breaks anywhere, but nothing else between.

    Source: StdEncoding in Go's encoding/base64, used by yaml v3 (`resolve.go`) and docker/cli (`decodeAuth` in `file.go`).
    """
    text = text.translate(_NO_BREAKS)
    return base64.b64decode(text) if _BASE_64.match(text) else None
