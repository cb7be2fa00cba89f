"""The matrix of models and sets of outliers."""

from results.matrix import blocks
from results.rows import Row


def row(**kinds: str) -> Row:
    score = {"auroc": 0.95, "auroc_low": 0.9, "auroc_high": 1.0, "fpr_at_95_tpr": 0.25, "aupr_out": 0.5}
    return {
        "command": "kedro run --pipelines benchmark",
        "commit": "0123456",
        "date": "2026-11-27",
        "machine": "2 cores",
        "model": "2026-11-27T12.00.00.000Z",
        "detector": "2026-11-27T12.00.00.000Z",
        "weights_sha256": "ab" * 32,
        "sets": {
            name: {
                "kind": kind,
                "n_in": 297,
                "n_out": 1000,
                "scores": dict.fromkeys(("density_sum", "nll", "complexity"), score),
            }
            for name, kind in kinds.items()
        },
    }


def test_sets_are_rows_and_models_columns() -> None:
    rows = {"mnist": row(blur="near"), "digits": row(blur="near", mnist="far")}
    assert blocks(rows)["matrix"].strip().splitlines() == [
        "| outliers | `digits` | `mnist` |",
        "|---|---|---|",
        "| mnist, far | .950 [.900, 1.000] |  |",
        "| blur, near | .950 [.900, 1.000] | .950 [.900, 1.000] |",
    ]


def test_each_model_has_all_figures_and_its_command() -> None:
    text = blocks({"digits": row(mnist="far")})["models"]
    assert "### digits\n\n`kedro run --pipelines benchmark`" in text
    assert f"| mnist, far | 297 / 1,000 |{' .950 [.900, 1.000] | .250 | .500 |' * 3}" in text
