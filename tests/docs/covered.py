"""What tests each command of the documents that is not run as it stands there."""

# Commands that need something of their own before them, and the test that makes it and runs them.
TESTS = {
    "kedro run --pipelines ood --params ood.scores=nll+brightness": "test_added_score_has_column_and_metrics",
    "kedro run --pipelines sample --params sample.mode=ends": "test_added_mode_draws_its_picture",
    "kedro run --pipelines mine": "test_own_pipeline_takes_its_parameters",
    "kedro pipeline create mine": "test_own_pipeline_takes_its_parameters",
    "kedro run --env fashionmnist --pipelines benchmark --params benchmark.seeds=3": (
        "test_seeds_give_mean_and_deviation"
    ),
    "kedro run --pipelines benchmark --params dataset=pneumoniamnist,ingest.classes=[0],ingest.fit=pad,seed=1,"
    "stored_model=<version of seed 1>,benchmark.out_datasets=pneumoniamnist_class_1+all,benchmark.n_images=500,"
    "benchmark.seeds=3": "test_seeds_give_mean_and_deviation",
    "kedro run --env fashionmnist --pipelines ood --params ood.scores=one_pass+likelihood_ratio": (
        "test_background_is_trained_and_compared_with"
    ),
    "kedro run --env fashionmnist --pipelines ood --params ood.scores=one_pass+waic,ood.ensemble=<version>+<version>": (
        "test_models_of_other_seeds_score_together"
    ),
    "kedro run --pipelines score": "test_folder_of_odd_files_is_judged",  # named in a sentence, without its images
    "kedro run --pipelines ingest --params dataset=folder,ingest.path=<folder>,workers.engine=ray": (
        "test_two_nodes_make_the_table_of_one_process"
    ),
    "RAY_ADDRESS=<head node>:6379 kedro run --pipelines score --params score.images=<folder>,workers.engine=ray": (
        "test_processes_score_the_same"
    ),
    "kedro package": "test_wheel_and_archive_run_in_an_empty_folder",
    "python -m glow_pipeline --conf-source conf-glow_pipeline.tar.gz --env digits": (
        "test_wheel_and_archive_run_in_an_empty_folder"
    ),
    "kedro serve --params dataset=digits --port 5001 --workers 1": "test_served_verdicts_are_those_of_the_judge",
    "kedro serve": "test_served_verdicts_are_those_of_the_judge",
    "kedro server": "test_concurrent_runs_have_separate_mlflow_runs",
    "kedro draw": "test_make_ended_leaves_no_server",
    "kedro viz run": "test_kedro_viz_exports_pipelines_with_pictures",
    'echo "{\\"inputs\\": [\\"$(base64 -w0 seven.png)\\"]}" | curl -s -H \'Content-Type: application/json\' -d @- '
    "http://127.0.0.1:5001/invocations": "test_served_verdicts_are_those_of_the_judge",
    "curl -s -w '\\n%{http_code}\\n' -H 'Content-Type: application/json' -d '{\"inputs\": [[[0, 9], [9, 0]]]}' "
    "http://127.0.0.1:5001/invocations": "test_refusals_name_position_and_what_is_expected",
    "mkdir conf/best": "test_search_is_trained_with_its_best_parameters",
    "cp data/08_reporting/digits/best_parameters.yml/<version>/best_parameters.yml conf/best/parameters.yml": (
        "test_search_is_trained_with_its_best_parameters"
    ),
    "kedro run --env best --pipelines train": "test_search_is_trained_with_its_best_parameters",
    "python benchmarks/table_sha256.py <folder of a table>": "test_table_digest_depends_on_content_alone",
    "python benchmarks/killed.py": "test_killed_and_stopped_commands_resume_in_one_run",
    "DRY_RUN=1 bash benchmarks/gpu_checks.sh": "test_dry_run_makes_all_measurements",
    "bash benchmarks/gpu_checks.sh": "test_dry_run_makes_all_measurements",
}
TESTS |= dict.fromkeys(
    (
        "kedro run --env cluster --pipelines ingest,train,ood --params dataset=digits",
        "kedro run --env cluster --pipelines ingest --params dataset=fashionmnist,workers.part_images=7000",
    ),
    "test_commands_with_all_in_a_bucket",
)
TESTS |= dict.fromkeys(
    (
        "kedro run --pipelines train --params dataset=shards,ingest.path=/nas/photos/train,"
        "ingest.eval_path=/nas/photos/test",
        "kedro run --pipelines train --params dataset=shards,ingest.path=s3://bucket/photos/train",
        "kedro run --pipelines train --params dataset=folder,ingest.path=s3://bucket/xrays/normal",
    ),
    "test_shards_in_a_bucket_train_and_score",
)
TESTS |= dict.fromkeys(
    (
        "kedro versions --remove 2026-11-27T13.08",
        "kedro versions --remove all --dataset digits --keep 3 --older-than 30d",
        "kedro versions --remove all --entry checkpoints --yes",
        "kedro versions --remove all --entry checkpoints",
        "kedro versions --remove all --keep 3",
        "kedro versions --remove all --entry score_progress",
        "kedro versions --remove all --entry ood_progress",
        "kedro versions --remove all --dataset digits",
        "kedro versions",
    ),
    "test_documented_commands_are_understood",
)
TESTS["kedro versions --remove parts"] = "test_parts_are_removed_by_their_label"
# Commands that no test runs, and why.
REASONS = {
    "git pull": "needs a remote repository",
    "du -sb": "a command of the system",
    "mlflow runs restore": "a command of MLflow, which undoes a deletion on a server",
    "mlflow gc": "a command of an administrator; test_removed_version_takes_its_run_and_artifacts does the same here",
    'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)': "needs Slurm",
    "export MASTER_PORT=29500": "a setting of the shell",
    "mlflow server --artifacts-destination /srv/mlflow": "tests/mlflow_server.py starts one with other folders",
    "mlflow models serve --model-uri models:/glow-digits/1 --env-manager local --host 127.0.0.1 --port 5001": (
        "kedro serve runs it: test_served_verdicts_are_those_of_the_judge"
    ),
    "MLFLOW_TRACKING_URI=sqlite:///mlflow.db .venv/bin/mlflow artifacts download --artifact-uri models:/glow-digits/1 "
    "--dst-path build/served": "needs a registered model; test_dockerfile.py checks what the image does with it",
    ".venv/bin/uv pip install --python .venv/bin/python jupyterlab": "installs a package of others",
    "pip install 'glow_pipeline[ray]'": "installs a package of others",
    ".venv/bin/jupyter lab notebooks": "needs jupyterlab; tests/end_to_end/test_notebook.py runs the notebooks",
    "docker build --tag glow-serving .": "needs Docker; test_dockerfile.py checks its files and its command",
    'docker run --rm --publish 127.0.0.1:5001:5001 --volume "$PWD/build/served:/model:ro" glow-serving': "needs Docker",
}
