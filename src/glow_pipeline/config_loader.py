"""Configuration from conf/: which folders are read in which order, and one line about a file that cannot be read."""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import click
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from glow_pipeline.config_files import ConfigFile, dotted_key, error_in, repeated_key, surprising_number
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.parameters import Parameters, flattened, nearest, parse_parameters
from glow_pipeline.parameters.batch_size import one_batch_size
from glow_pipeline.verdict.listing import list_name

logger = logging.getLogger(__name__)
LOCAL = "local"
NEEDED = ("parameters", "catalog", "mlflow")
UNREADABLE = (YAMLError, OmegaConfBaseException, MissingConfigException, OSError, ValueError, AttributeError)
SUFFIXES = (".yml", ".yaml", ".json")  # those that Kedro reads


class ConfigurationError(GlowPipelineError, click.ClickException):
    """An error in a file of conf/. Commands print it as one line also where no hook of this project is called."""


class ConfigLoader(OmegaConfigLoader):
    """A loader like Kedro's, with four additions.

    - The order is `base` < the environment of `--env` < `local`: conf/local applies to presets too. Kedro by itself
      reads either a preset or conf/local. `--env base` reads conf/base alone.
    - catalog.yml has names that follow from the parameters: `${run:in}` and `${run:out}` are names that no other
      images have, `${run:model}` is the folder of a model of them, `${run:sample_mode}` is the kind of picture,
      `${run:score}` the name of the files to judge. A hook could not set them: Kedro-Viz reads the catalog without
      hooks.
    - Typed parameters are values: `${` in them is not an interpolation.
    - `checked_parameters` are the parameters as typed objects.

    Raises:
        ConfigurationError: one line that names the file and the line, instead of pages of traceback.
    """

    def __init__(
        self,
        conf_source: str | Path,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self._overrides_reported = False
        if Path(conf_source).is_dir() and not (Path(conf_source) / LOCAL).exists():
            settings["default_run_env"] = settings["base_env"]  # a deleted conf/local is an empty one
        super().__init__(str(conf_source), env, literal(runtime_params), **settings)
        self._check_file_names()

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key == "catalog":
            parameters = self.checked_parameters
            _THREAD.run = {
                "in": parameters.image_selection.key,
                "model": parameters.model_key,
                "out": parameters.out_image_selection.key,
                "sample_mode": parameters.sample.mode,
                "calibrate": calibrate_table(parameters),
                "score": list_name(parameters.score.images),
            }
        try:
            loaded = self._load(key)
        except UNREADABLE as error:
            line = self._error_line(key, error)
            if line is None:
                raise
            raise ConfigurationError(line) from None
        if key == "parameters":
            files = [file for env in self._layers() for file in self._files(key, env)]
            for line in filter(None, [check(file) for check in (dotted_key, surprising_number) for file in files]):
                raise ConfigurationError(line)
        return loaded

    def open_catalog(self) -> dict[str, Any]:
        """Return the catalog with `*` in place of the names that follow from a command's parameters."""
        _THREAD.run = _AnyName()
        return self._load("catalog")

    @cached_property
    def checked_parameters(self) -> Parameters:
        """The parameters of this command, parsed and checked once for the catalog, the hooks and the nodes.

        Raises:
            GlowPipelineError: one line about the first thing that is wrong.
        """
        return parse_parameters(one_batch_size(self["parameters"], self._given()))

    def environments(self) -> list[str]:
        """Return the names of the folders of conf/, also of an archive."""
        root = Path(self._get_conf_env_path(""))
        if not self._fs.isdir(root.as_posix()):
            return []
        found = self._fs.ls(root.as_posix(), detail=True)
        return sorted(Path(entry["name"]).name for entry in found if entry["type"] == "directory")

    def _load(self, key: str) -> dict[str, Any]:
        """Load Kedro's own layers, and conf/local over them where the environment is another one."""
        if key in self.data or self.env in (None, LOCAL, self.base_env) or LOCAL not in self.environments():
            loaded: dict[str, Any] = super().__getitem__(key)
            return loaded
        try:
            loaded = super().__getitem__(key)
        except MissingConfigException:  # neither in base nor in the preset
            loaded = {}
        files: set[Path] = set()
        folder = self._get_conf_env_path(LOCAL)
        local = self.load_and_merge_dir_config(
            folder, self.config_patterns[key], key, files, read_environment_variables=key == "credentials"
        )
        if not files and not loaded:
            return super().__getitem__(key)  # which raises, as Kedro does
        if key == "parameters" and files:
            self._report_overrides(local)
        merged: dict[str, Any] = self._merge_configs(loaded, local, key, folder)
        return merged

    def _resolve_catalog_config(self, aggregate_config: Iterable[DictConfig]) -> dict[str, Any]:
        """Resolve the catalog: first its own names, which begin with an underscore, since most entries have some."""
        config = cast(DictConfig, OmegaConf.unsafe_merge(*aggregate_config))
        for name in map(str, config):
            if name.startswith("_") and isinstance(config[name], str):
                config[name] = literal(config[name])
        resolved: dict[str, Any] = super()._resolve_catalog_config([config])
        return resolved

    @staticmethod
    def _soft_merge(config: dict[str, Any], env_config: dict[str, Any], *_path: str | None) -> dict[str, Any]:
        """Merge group by group. Kedro's own would read `${` in values that are resolved already."""
        return merged(config, env_config)

    def _report_overrides(self, local: dict[str, Any]) -> None:
        """Log once which values of the preset conf/local replaces."""
        if self._overrides_reported:
            return
        self._overrides_reported = True
        preset = self._values(self._files("parameters", str(self.env)))
        typed = flattened(self.runtime_params or {})
        changed = [
            f"{name}={value} (not {preset[name]})"
            for name, value in flattened(local).items()
            if name in preset and preset[name] != value and name not in typed
        ]
        if changed:
            logger.info("conf/local takes precedence over --env %s: %s", self.env, ", ".join(changed))

    def _given(self) -> Iterator[dict[str, Any]]:
        """Yield the values of each layer above conf/base, the highest first."""
        yield flattened(self.runtime_params or {})
        for env in reversed(self._layers()):
            if env != self.base_env:
                yield self._values(self._files("parameters", env))

    def _values(self, files: list[ConfigFile]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for file in files:
            content = OmegaConf.to_container(OmegaConf.create(file.content.decode("utf8")))
            values |= flattened(cast(dict[str, Any], content))
        return values

    def _layers(self) -> list[str]:
        """Return the environments in the order in which they are read."""
        named = [self.base_env, self.env or self.default_run_env, LOCAL if self.env != self.base_env else ""]
        return [name for name in dict.fromkeys(named) if name in self.environments()]

    def _files(self, key: str, env: str) -> list[ConfigFile]:
        """Return the files of one environment that configure `key`, in the order of their names.

        Raises:
            OSError: one cannot be read.
        """
        folder = self._get_conf_env_path(env)
        found = {
            path
            for pattern in self.config_patterns[key]
            for path in self._fs.glob(f"{Path(folder).as_posix()}/{pattern}")
            if Path(path).suffix in SUFFIXES and self._fs.isfile(path)
        }
        return [ConfigFile(self._shown(path), self._fs.cat_file(path)) for path in sorted(found)]

    def _shown(self, path: str) -> str:
        parent = Path(self.conf_source).resolve().parent
        return os.path.relpath(path, parent) if Path(path).is_relative_to(parent) else path

    def _error_line(self, key: str, error: Exception) -> str | None:
        """Return one line about the error in the files of `key`; None if they have none."""
        if self.env is not None and (known := self.environments()) and self.env not in known:
            return f"--env {self.env!r}: no such folder in {self.conf_source}; {nearest(self.env, known)}"
        if isinstance(error, MissingConfigException):
            if key not in NEEDED:
                return None
            advice = "type --conf-source with the folder or archive that has it, or be in the project's folder"
            return f"{self.conf_source}: no {key}*.yml in {' or '.join(self._layers()) or 'it'}; {advice}"
        try:
            layers = [self._files(key, env) for env in self._layers()]
        except OSError as unreadable:
            return f"{self._shown(str(unreadable.filename))}: {unreadable.strerror}; make it readable, or move it away"
        for files in layers:
            for file in files:
                if (line := error_in(file)) is not None:
                    return line
            if (line := repeated_key(files, leaves_count=key == "parameters")) is not None:
                return line
        if isinstance(error, OmegaConfBaseException):
            return _unresolved(error, [file for files in reversed(layers) for file in files])
        return None

    def _check_file_names(self) -> None:
        """Refuse a file whose misspelled name would keep it from being read."""
        patterns = [pattern for patterns in self.config_patterns.values() for pattern in patterns]
        for env in self._layers():
            folder = self._get_conf_env_path(env)
            if self._protocol == "file" and not os.access(folder, os.R_OK | os.X_OK):
                raise ConfigurationError(
                    f"{self._shown(folder)}: cannot be listed; give yourself permission to read it"
                )
            for entry in self._fs.ls(Path(folder).as_posix(), detail=True):
                name = Path(entry["name"])
                if name.suffix in SUFFIXES and not self._fs.exists(entry["name"]):
                    raise ConfigurationError(
                        f"{self._shown(str(name))}: a link to nothing; point it to a file, or delete it"
                    )
                if entry["type"] != "file" or name.suffix.lower() not in (*SUFFIXES, ".txt"):
                    continue
                if name.suffix in SUFFIXES and any(fnmatch(name.name, pattern) for pattern in patterns):
                    continue
                stem = name.name.partition(".")[0]
                for kind in get_close_matches(stem, list(self.config_patterns), n=1, cutoff=0.7):
                    raise ConfigurationError(f"{self._shown(str(name))}: is not read; did you mean {kind}.yml?")


class _AnyName(dict[str, str]):
    """Names of a run that are left open, as in a pattern of paths."""

    def __missing__(self, name: str) -> str:
        return "*"


# Resolvers belong to the whole process, and other threads may be reading their catalogs at this moment.
_THREAD = threading.local()
OmegaConf.register_new_resolver("run", lambda name: _THREAD.run[name], replace=True)


def _unresolved(error: OmegaConfBaseException, files: list[ConfigFile]) -> str:
    """Return a line about a `${...}` that has no value."""
    problem = (error.msg or first_line(error)).splitlines()[0]
    name = str(error.full_key or "")
    place = next((f"{file.name}:{line}: " for file in files if (line := file.line_of(name)) is not None), "")
    advice = "type the value, or write \\${ where it is meant as it stands"
    if "oc.env" in problem:
        advice = "the environment is read in credentials.yml alone; type it instead, as --params name=$NAME"
    return f"{place}{name}: {problem}; {advice}"


def calibrate_table(parameters: Parameters) -> str:
    """Return the folder, within that of all image tables, of the images that a detector is made with."""
    selection = parameters.calibrate_image_selection
    return f"{selection.key}/{'train' if parameters.calibrate.path is None else 'test'}"


def literal(value: Any) -> Any:
    r"""Escape each `${` in the texts of a value, so that OmegaConf returns them unchanged."""
    if isinstance(value, dict):
        return {name: literal(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal(inner) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    head, *rest = value.split("${")
    escaped = head
    for part in rest:
        backslashes = len(escaped) - len(escaped.rstrip("\\"))
        escaped += "\\" * (backslashes + 1) + "${" + part
    return escaped


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings; of a value that both have, take the one of `above`."""
    result = dict(below)
    for name, value in above.items():
        inner = result.get(name)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[name] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result
