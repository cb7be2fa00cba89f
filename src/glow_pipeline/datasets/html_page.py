"""Kedro dataset of a page."""

from kedro_datasets._typing import HTMLPreview

from glow_pipeline.datasets.previews import NOT_MADE, html_preview
from glow_pipeline.datasets.stored_file import StoredFileDataset


class HTMLPageDataset(StoredFileDataset[str, str]):
    """An HTML page in UTF-8, for browsers, MLflow and kedro viz."""

    def save(self, data: str) -> None:
        with self._writing(self._get_save_path()) as page:
            page.write_text(data, encoding="utf-8", newline="\n")

    def load(self) -> str:
        with self._reading(self._get_load_path()) as page:
            return page.read_text(encoding="utf-8")

    def preview(self) -> HTMLPreview:
        """Return the page, for kedro viz, which shows what is in its body without its styles and scripts."""
        return html_preview(self.load()) if self.exists() else NOT_MADE
