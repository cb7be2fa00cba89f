"""Columns of the table of scored files, in their order, and of the scores that it is made from."""

FILE = "file"  # absolute path
VERDICT = "verdict"  # one of the three below
P_VALUE = "p_value"  # conformal; the columns of the scores follow, the main one first
BH = "outlier_bh"  # whether Benjamini-Hochberg over the list rejects it, at score.false_discovery_rate
AS_OUTLYING = "calibration_at_least_as_outlying"  # number of calibration images
COPY_OF = "copy_of"  # TRAINING, CALIBRATION, or the path of the first listed file with the same pixels; None
REASON = "reason"  # in which statistics the image differs most
UNREADABLE = "unreadable"  # why it has no score; None
WIDTH, HEIGHT, KIND, COLOURS = "width", "height", "kind", "colours"  # as stored: pixels, `PNG`, `grey` or `colour`

OUTLIER, NORMAL, NO_VERDICT = "outlier", "normal", "unreadable"
TRAINING, CALIBRATION = "training image", "calibration image"

# Columns of the scores of files before they are judged together, beside those above that concern one file alone.
PATH = "path"  # absolute, as bytes: names of files may be in any encoding
CONTENT = "content_hash"  # of the prepared image
FINDINGS = "findings"  # in the file, as JSON; missing where there are none
SIZE, MODIFIED, CHANGED = "size_bytes", "mtime_ns", "ctime_ns"  # of the file when it was scored
