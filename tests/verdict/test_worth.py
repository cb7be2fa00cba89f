from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.file_formats import FileFormat, FileFormats
from glow_pipeline.outliers.conformal.benjamini_hochberg import benjamini_hochberg
from glow_pipeline.outliers.conformal.p_values import p_values
from glow_pipeline.outliers.detector import Detector, DetectorRecord, UsedImages
from glow_pipeline.parameters.score import ScoreParameters
from glow_pipeline.verdict.columns import (
    BH,
    CALIBRATION,
    COLOURS,
    COPY_OF,
    FILE,
    HEIGHT,
    KIND,
    NO_VERDICT,
    NORMAL,
    OUTLIER,
    P_VALUE,
    TRAINING,
    VERDICT,
    WIDTH,
)
from glow_pipeline.verdict.doubts import calibration_images, unknown_training
from glow_pipeline.verdict.worth import Worth, check_enough, lines_of_worth, worth_of

CALIBRATION_SCORES = np.arange(199) / 199
NO_HASHES = np.empty(0, dtype=np.int64)


def judged(
    scores: Sequence[float | None], parameters: ScoreParameters, copies: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """The table of files with these scores; None: unreadable."""
    known = np.array([score is not None for score in scores], dtype=bool)
    p = np.full(len(scores), np.nan)
    p[known] = p_values(CALIBRATION_SCORES, np.array([score for score in scores if score is not None]))
    bh = np.zeros(len(scores), dtype=bool)
    bh[known] = benjamini_hochberg(p[known], parameters.false_discovery_rate)
    verdict = np.where(p <= parameters.false_alarm_rate, OUTLIER, NORMAL)
    return pd.DataFrame(
        {
            FILE: [f"/{i}.png" for i in range(len(scores))],
            VERDICT: np.where(known, verdict, NO_VERDICT),
            P_VALUE: p,
            "nll_bits_per_dim": [np.nan if score is None else score for score in scores],
            BH: pd.array([value if is_known else None for value, is_known in zip(bh, known, strict=True)], "boolean"),
            KIND: "PNG",
            WIDTH: 28,
            HEIGHT: 28,
            COLOURS: "grey",
            COPY_OF: [(copies or {}).get(i) for i in range(len(scores))],
        }
    )


def worth(
    scores: Sequence[float | None],
    copies: Mapping[int, str] | None = None,
    kind: str = "PNG",
    calibration_hashes: Sequence[int] = (),
    **parameters: float,
) -> Worth:
    chosen = ScoreParameters(**parameters)  # type: ignore[arg-type]
    files = FileFormats()
    files.add(FileFormat("PNG", 28, 28, "grey"))
    used = UsedImages(count=len(CALIBRATION_SCORES), file_formats=files)
    record = DetectorRecord(model_sha256="", calibration=used)
    hashes = np.sort(np.array(calibration_hashes, dtype=np.int64))
    detector = Detector({}, {"nll": CALIBRATION_SCORES}, record, calibration_hashes=hashes)
    table = judged(scores, chosen, copies).assign(**{KIND: kind})
    return worth_of(table, detector, "nll", chosen, NO_HASHES)


EVEN = [(i + 0.3) / 50 for i in range(50)]  # as the calibration scores are


def test_worth_of_a_list_has_the_guarantees() -> None:
    found = worth([*EVEN, *[2.0] * 5, None], false_alarm_rate=0.01, false_discovery_rate=0.1)
    assert found.model_dump(exclude={"folder_p_value", "warnings"}) == {
        "n_files": 56,
        "n_scored": 55,
        "n_unreadable": 1,
        "n_outliers": 5,
        "n_outliers_bh": 5,
        "n_calibration": 199,
        "false_alarm_rate": 0.01,
        "false_alarm_bound": found.false_alarm_bound,
        "smallest_p": 0.005,
        "false_discovery_rate": 0.1,
        "bh_fewest": 3,
        "at_least_outliers": 2,
        "guaranteed": True,
    }


def test_expected_false_alarms_follow_steps_of_p_values() -> None:
    line = lines_of_worth(worth(EVEN, false_alarm_rate=0.099))[1]  # 19 of 200 possible p-values are at most .099
    assert "about 4.8 of the 50 would" in line
    assert "about 4 of the 50 would" in lines_of_worth(worth(EVEN, false_alarm_rate=0.0849))[1]


def test_copies_are_no_further_evidence() -> None:
    first = len(EVEN)
    repeated = {first + i: f"/{first}.png" for i in range(1, 30)}
    found = worth([*EVEN, *[0.95] * 30], repeated, false_alarm_rate=0.1)
    assert (found.n_outliers, found.at_least_outliers) == (35, 0)
    assert worth([*EVEN, *[0.95] * 30], false_alarm_rate=0.1).at_least_outliers > 10


def test_at_least_so_many_files_do_not_belong() -> None:
    found = worth([0.5] * 20 + [2.0] * 5, false_alarm_rate=0.01)
    assert found.at_least_outliers == 3
    assert lines_of_worth(found)[-1].startswith(
        "At least 3 files do not belong, with 95% confidence; the files as a whole are unlike the calibration images (p"
    )


def test_lines_say_what_a_verdict_is_worth() -> None:
    found = worth([*EVEN, None], false_alarm_rate=0.01)
    assert lines_of_worth(found) == [
        "Of 51 files 0 are outliers at a false-alarm rate of 1%; 1 could not be read.",
        "False alarms: 1% at most of the images that are like the 199 calibration images, on average over calibration "
        "sets, and 1.94% at most with this one, with 90% confidence. If all files belonged, about 0.5 of the 50 "
        "would be called outliers.",
        "The files as a whole are not shown to be unlike the calibration images (p = 1).",
    ]
    assert found.warnings == []


def test_possible_chance_outliers_are_named_as_such() -> None:
    found = worth([*EVEN, 2.0], false_alarm_rate=0.01)
    assert (found.n_outliers, found.at_least_outliers) == (1, 0)
    assert lines_of_worth(found)[-1].startswith("That this outlier is a false alarm cannot be ruled out with 95%")
    lines = lines_of_worth(worth([*EVEN, *EVEN, 2.0, 2.0], false_alarm_rate=0.01))
    assert lines[-1].startswith("That all of these outliers are false alarms cannot be ruled out with 95% confidence; ")


def test_single_file_is_no_list() -> None:
    verdict, guarantee = lines_of_worth(worth([0.5]))
    assert verdict == "Of 1 file 0 are outliers at a false-alarm rate of 5%."
    assert guarantee.endswith("at most with this one, with 90% confidence.")


def test_list_without_a_readable_file_has_one_line() -> None:
    found = worth([None, None])
    assert lines_of_worth(found) == ["Of 2 files 0 are outliers at a false-alarm rate of 5%; 2 could not be read."]
    assert (found.folder_p_value, found.at_least_outliers, found.bh_fewest, found.warnings) == (None, 0, 0, [])
    assert lines_of_worth(worth([])) == ["Of 0 files 0 are outliers at a false-alarm rate of 5%."]


def test_copies_are_no_part_of_the_sample() -> None:
    copies = {**dict.fromkeys(range(50, 90), TRAINING), 90: CALIBRATION, 91: "/0.png"}
    found = worth([*EVEN, *[0.001] * 40, 0.2, EVEN[0]], copies)
    assert found.folder_p_value == worth(EVEN).folder_p_value == pytest.approx(1)
    training, calibration, repeated = found.warnings
    assert training.startswith("40 of 92 files are exact copies of training images")
    assert calibration.startswith("1 of 92 files is an exact copy of a calibration image,")
    assert repeated.startswith("1 of 92 files is an exact copy of another file of the list")


def test_p_values_piled_at_both_ends_warn() -> None:
    piled, whole = worth([*[0.01] * 30, *EVEN, *[2.0] * 30]).warnings
    assert piled.startswith("32% of the p-values are at the low end and 32% at the high end, where 10% each")
    assert whole.startswith("The 110 files as a whole are unlike the 199 calibration images (p = ")


def test_p_values_piled_at_high_end_warn() -> None:
    piled, _ = worth([*[0.01] * 30, *EVEN]).warnings
    assert piled.startswith("44% of the p-values are at the high end, where 10% are expected: the files are more")


def test_silence_of_benjamini_hochberg_is_explained() -> None:
    (warning,) = worth([*EVEN, 2.0], false_alarm_rate=0.01, false_discovery_rate=0.05).warnings
    assert warning == (
        "Benjamini-Hochberg (outlier_bh: of the files that it marks 5% at most are false alarms, on average) marks no "
        "file: with 199 calibration images it marks 6 of 51 files at least or none, and 1 has the smallest possible "
        "p-value. That does not mean that there is no outlier."
    )


def test_too_few_calibration_images_are_refused_before_work() -> None:
    check_enough(99, 0.01)
    with pytest.raises(GlowPipelineError) as refused:
        check_enough(98, 0.01)
    assert str(refused.value).startswith(
        "score.false_alarm_rate=0.01: needs 99 calibration images at least, and the detector has 98, with which no "
        "p-value is below 0.0101; raise score.false_alarm_rate, calibrate with more images"
    )


def test_files_of_another_kind_are_warned_of() -> None:
    (warning,) = worth(EVEN, kind="JPEG").warnings
    assert warning.startswith("50 of 50 files are JPEG, the calibration images PNG: ")


def doubts_of_calibration(hashes: Sequence[int], trained_on: Sequence[int]) -> list[str]:
    detector = Detector({}, {}, DetectorRecord(model_sha256=""), calibration_hashes=np.sort(hashes))
    return list(calibration_images(detector, np.array(trained_on, dtype=np.int64)))


def test_repeated_calibration_images_are_warned_of() -> None:
    (warning,) = doubts_of_calibration([*range(9)] * 40, [])
    assert warning.startswith("The 360 calibration images are 9 different ones and exact copies of them: ")
    assert "no p-value below 0.1 can be believed" in warning
    assert not doubts_of_calibration([0, *range(99)], [])


def test_nothing_is_guaranteed_by_repeated_calibration_images() -> None:
    scores = [*EVEN, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7]
    sound, repeated = worth(scores), worth(scores, calibration_hashes=[1, 2, 3] * 66 + [4])
    assert sound.guaranteed
    assert sound.at_least_outliers > 0
    assert sound.folder_p_value is not None
    assert not repeated.guaranteed
    assert (repeated.at_least_outliers, repeated.folder_p_value) == (0, None)
    assert [line.partition(":")[0] for line in lines_of_worth(repeated)] == [
        "Of 58 files 10 are outliers at a false-alarm rate of 5%.",
        "False alarms",
    ]
    assert "no rate is guaranteed" in lines_of_worth(repeated)[1]


def test_calibration_images_trained_on_are_warned_of() -> None:
    (warning,) = doubts_of_calibration(range(100), [98, 99, 500])
    assert warning.startswith("2 of the 100 calibration images are exact copies of images from which the model ")
    assert not doubts_of_calibration(range(100), [99, 500])


def test_unknown_training_images_are_warned_of() -> None:
    (warning,) = unknown_training(None)
    assert "does not say which images it was trained on" in warning
