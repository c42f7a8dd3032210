"""A network in a zip file, read within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from zipfile import ZipInfo

from core.errors import NetworkFileError
from core.networks.library.files import CONFIG, printable
from core.networks.library.place import Place
from core.networks.transformer import TransformerSpec
from core.zip_file import UntrustedZip, ZipLimits

MAX_BYTES = 256 * 2**20
"""Maximum size of a zip, which is in memory while it is read; the server's limit for uploads (``maxUploadSize``) is the
same."""

MAX_ENTRIES = 1000


class ZipPlace(Place):
    """A zip with a network's files, at its top or in one folder."""

    origin = "zip"

    def __init__(self, content: bytes, name: str) -> None:
        """Args:
        content: the zip.
        name: of the file, for messages.

        Raises:
            NetworkFileError: not a zip, damaged, too large, or unsafe.
        """
        self.what = f"The zip {printable(name, 60)}"
        if len(content) > MAX_BYTES:
            raise NetworkFileError(
                f"{self.what} has more than {MAX_BYTES // 2**20} MiB: unpack it on the server and bring the folder."
            )
        limits = ZipLimits(MAX_ENTRIES, TransformerSpec.max_bytes)
        self._zip = UntrustedZip(content, limits, self.what, NetworkFileError)
        # The config that is nearest to the top: some people zip the folder, some what is in it.
        configs = [info.filename for info in self._zip.entries if info.filename.rpartition("/")[2] == CONFIG]
        folder = min(configs, key=lambda path: (path.count("/"), path), default="").rpartition("/")[0]
        inside = f"{folder}/" if folder else ""
        self._entries: dict[str, ZipInfo] = {
            info.filename.removeprefix(inside): info for info in self._zip.entries if info.filename.startswith(inside)
        }

    def sizes(self) -> Mapping[str, int]:
        return {name: info.file_size for name, info in self._entries.items() if "/" not in name}

    def pieces(self, name: str, start: int = 0) -> Iterator[bytes]:
        skipped = 0
        for chunk in self._zip.chunks(self._entries[name]):
            yield chunk[max(0, start - skipped) :]
            skipped += len(chunk)
