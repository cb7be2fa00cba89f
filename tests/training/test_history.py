from glow_pipeline.training.history import reported


def test_figures_given_the_class_have_separate_names() -> None:
    row = {"epoch": 1, "train_bits_per_dim": 2.0, "val_bits_per_dim": 3.0, "lr": 0.1}
    assert reported(row, False) == row
    given = {"epoch": 1, "train_bits_per_dim_given_class": 2.0, "val_bits_per_dim_given_class": 3.0, "lr": 0.1}
    assert reported(row, True) == given
