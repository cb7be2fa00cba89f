"""Names of MLflow runs."""

from glow_pipeline.hooks.run_name import LONGEST, run_name


def test_name_says_what_differs_most_important_first() -> None:
    typed = {"dataset": "digits", "train.n_epochs": 5, "model.K": 4, "seed": 3, "train.lr": 0.002}
    assert run_name("train digits", typed, None, "digits") == "train digits lr=0.002 seed=3 K=4 n_epochs=5"


def test_preset_is_named_where_it_is_another() -> None:
    assert run_name("train digits", {}, "digits", "digits") == "train digits preset"
    assert run_name("train digits", {}, "mnist", "digits") == "train digits preset=mnist"
    assert [run_name("train digits", {}, env, "digits") for env in ("base", "local", None)] == ["train digits"] * 3


def test_names_that_end_alike_are_whole() -> None:
    typed = {"sample.mode": "vtemp", "own.mode": True, "stored_model": None}
    assert run_name("sample digits", typed, None, "digits") == (
        "sample digits sample.mode=vtemp own.mode=true stored_model=null"
    )


def test_long_values_and_paths_are_shortened() -> None:
    typed = {"stored_model": "/a/long/path/mine.safetensors", "ood.scores": ["nll", "waic"]}
    assert run_name("ood", typed, None, "digits") == "ood stored_model=mine.safetensors scores=nll+waic"
    typed = {"stored_model": "models/fashionmnist/glow_model.safetensors"}
    assert run_name("ood", typed, None, "fashionmnist") == "ood stored_model=fashionmnist"
    assert run_name("ood", {"own.text": "a" * 30}, None, "digits") == f"ood text={'a' * 21}..."


def test_long_name_ends_with_the_number_left_out() -> None:
    typed = {f"own.parameter_{k}": k for k in range(12)}
    name = run_name("train digits", typed, None, "digits")
    assert len(name) <= LONGEST
    assert name.endswith(" and 7 more")
    title = " ".join(["title"] * 30)
    assert run_name(title, typed, None, "digits") == title


def test_long_names_of_images_leave_room_for_parameters() -> None:
    images = f"folder_{'n' * 40}_e475271e"
    assert run_name(f"train {images}", {"seed": 3}, None, "folder") == f"train folder_{'n' * 12}...e475271e seed=3"
