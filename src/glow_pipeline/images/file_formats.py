"""The formats of image files as they are stored, which preparation hides: kind, size and colours."""

from typing import Literal, NamedTuple

from pydantic import BaseModel

Colours = Literal["grey", "colour"]
SIZES_AT_MOST = 100
ARRAY = "arrays without compression"  # kind of published images that are stored in arrays
LOSSLESS = ("BMP", "GIF", "PNG", "PPM", "TIFF")  # kinds whose pixels may be those of such an array


class FileFormat(NamedTuple):
    """The format of one image file, or of one image in an array."""

    kind: str  # `PNG`, `JPEG`, ..., by its content; `ARRAY`
    width: int  # in pixels, upright
    height: int
    colours: Colours

    @property
    def size(self) -> str:
        """Width and height: `640x480`."""
        return f"{self.width}x{self.height}"


class FileFormats(BaseModel):
    """Counts of the formats of image files, of a size that does not grow with the number of files.

    Attributes:
        count: number of files.
        kinds, colours: kind, `grey` or `colour` -> number of files.
        sizes: `<width>x<height>` -> number of files, of the first 100 different sizes.
        widths, heights: smallest and largest of all files, in pixels; (0, 0) without a file.
    """

    count: int = 0
    kinds: dict[str, int] = {}
    colours: dict[Colours, int] = {}
    sizes: dict[str, int] = {}
    widths: tuple[int, int] = (0, 0)
    heights: tuple[int, int] = (0, 0)

    def add(self, file: FileFormat, sizes_at_most: int = SIZES_AT_MOST) -> None:
        """Add a file."""
        self.kinds[file.kind] = self.kinds.get(file.kind, 0) + 1
        self.colours[file.colours] = self.colours.get(file.colours, 0) + 1
        if file.size in self.sizes or len(self.sizes) < sizes_at_most:
            self.sizes[file.size] = self.sizes.get(file.size, 0) + 1
        self.widths = _extended(self.widths, file.width) if self.count else (file.width, file.width)
        self.heights = _extended(self.heights, file.height) if self.count else (file.height, file.height)
        self.count += 1

    def add_all(self, later: "FileFormats") -> None:
        """Add the files that `later` has counted with all their sizes, as if each was added."""
        if not later.count:
            return
        for kind, number in later.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + number
        for colours, number in later.colours.items():
            self.colours[colours] = self.colours.get(colours, 0) + number
        for size, number in later.sizes.items():
            if size in self.sizes or len(self.sizes) < SIZES_AT_MOST:
                self.sizes[size] = self.sizes.get(size, 0) + number
        for end in (0, 1):
            self.widths = _extended(self.widths, later.widths[end]) if self.count else later.widths
            self.heights = _extended(self.heights, later.heights[end]) if self.count else later.heights
        self.count += later.count

    def has_kind(self, file: FileFormat) -> bool:
        """Return whether a file is stored in the same way as one of these."""
        if file.kind == ARRAY and not self.kinds.keys().isdisjoint(LOSSLESS):
            return True
        return file.kind in self.kinds or (ARRAY in self.kinds and file.kind in LOSSLESS)

    def has_size(self, file: FileFormat) -> bool:
        """Return whether a file may have the size of one of these: of more than 100 sizes only the range is known."""
        if file.size in self.sizes:
            return True
        if len(self.sizes) < SIZES_AT_MOST:
            return False
        return self.widths[0] <= file.width <= self.widths[1] and self.heights[0] <= file.height <= self.heights[1]


def _extended(bounds: tuple[int, int], value: int) -> tuple[int, int]:
    return min(bounds[0], value), max(bounds[1], value)
