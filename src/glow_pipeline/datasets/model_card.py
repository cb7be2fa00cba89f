"""Kedro dataset of a model card."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from kedro_datasets._typing import HTMLPreview

from glow_pipeline.datasets.previews import NOT_MADE, markdown_preview
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.training.model_card.card import CARD_FILE, ModelCard
from glow_pipeline.training.model_card.folder import read_card, write_card


class ModelCardDataset(CopiedVersionDataset[ModelCard, ModelCard]):
    """The card of a stored model: README.md in the folder of the model's version, with the picture of its samples.

    A card belongs to a model and not to the command that writes it, so it is saved as the version of its model.

    Args:
        filepath, credentials, fs_args: as of the model: the path or address of the .safetensors file.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    _model_version: str | None = None

    def _get_versioned_path(self, version: str) -> PurePosixPath:
        return super()._get_versioned_path(version).with_name(CARD_FILE)

    def _get_load_path(self) -> PurePosixPath:
        """Return the path of the card that was saved, whose version is its model's; else that of Kedro's version."""
        if self._model_version is None:
            return super()._get_load_path()
        return self._get_versioned_path(self._model_version)

    def save(self, data: ModelCard) -> None:
        # Kedro warns where the version that it would load is not that of the command.
        self._saved_version, self._model_version = self.resolve_save_version(), data.version
        with self._editing(self._get_versioned_path(data.version).parent, CARD_FILE) as folder:
            write_card(folder, data)

    def load(self) -> ModelCard:
        with self._reading() as folder:
            return read_card(folder)

    def preview(self) -> HTMLPreview:
        """Return the text of the card, for kedro viz."""
        if not self.exists():
            return NOT_MADE
        with self._reading() as folder:
            return markdown_preview((folder / CARD_FILE).read_text(encoding="utf-8"))

    @contextmanager
    def _reading(self) -> Iterator[Path]:
        """Yield a local folder with the card's files. In a bucket they may have changed; the model is not fetched."""
        version = self._get_load_path().parent
        if self.is_local:
            yield Path(version)
            return
        with TemporaryDirectory() as temporary:
            local = Path(temporary) / version.name
            for file in self._fs.address(version).listed(recursive=True):
                if file.name != self._filepath.name:
                    self._fs.get_file(str(version / file.name), str(local / file.name))
            yield local

    def _exists(self) -> bool:
        return self._is_file(self._get_load_path())
