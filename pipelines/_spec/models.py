"""The configuration as pydantic models, after short forms, environment and `extends` are resolved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)

if TYPE_CHECKING:
    from sensorium.loaders.base import Limits
else:  # importing it takes LlamaIndex along; `load_spec` does that when it builds the limits
    Limits = Any


class SpecModel(BaseModel):
    """Base: frozen, no unknown keys, and what came from the environment is shown as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    _shown: dict[str, Any] = PrivateAttr(default_factory=dict)

    def show(self, **instead: Any) -> Self:
        """Show something else for the values of these fields in `repr` and dumps."""
        self._shown.update(instead)
        return self

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            yield name, self._shown.get(name, value) if name else value

    @model_serializer(mode="wrap")
    def _masked(self, serialize: SerializerFunctionWrapHandler) -> Any:
        values = serialize(self)
        return values | {k: v for k, v in self._shown.items() if k in values}


class Component(SpecModel):
    """One component by name, with every one of its options (defaults filled in)."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


class SpaceSpec(SpecModel):
    """An embedding space: `embed` is the model that makes its vectors."""

    embed: Component


class IndexSpec(SpecModel):
    """What happens between a file and the store."""

    split: Component = Field(description="How texts are packed into nodes.")
    spaces: dict[str, SpaceSpec] = Field(
        min_length=1,
        description="Embedding spaces by name; a node gets one vector in each. Any LlamaIndex embedding works by "
        "provider: {openai: text-embedding-3-large}.",
    )
    ocr: str = Field(description="Text recognition in pictures and scans.")
    speech: Component = Field(description="Speech recognition in sound and video.")
    captions: Component | None = Field(
        default=None,
        description="Descriptions of pictures by a multimodal LLM, so that they are found by what they show; off: "
        "none. What was described once is kept. `sensorium index --dry-run` tells what it would cost.",
    )
    limits: Limits = Field(description="What one source may cost before it is cut or counted as failed.")
    workers: int = Field(ge=0, description="Processes that read files; 0: one a core.")


class PipelineSpec(SpecModel):
    """From a question to hits and an answer. `extends` starts from another pipeline; stages given replace its."""

    extends: str | None = Field(default=None, description="Name of the pipeline to start from.")
    route: list[Component] = Field(
        default_factory=list,
        description="Which pipeline answers instead of this one; the first router that decides wins. Not inherited.",
    )
    expand: list[Component] = Field(default_factory=list, description="What else is searched for, found by an LLM.")
    retrieve: list[Component] = Field(min_length=1, description="Searches that run in parallel.")
    fuse: Component = Field(description="How their hits are joined.")
    rerank: list[Component] = Field(default_factory=list, description="What reorders the joined hits.")
    synthesize: Component = Field(description="How the answer is made.")
    top_k: int = Field(ge=1, description="Hits of a search.")


class Spec(SpecModel):
    """A whole, valid configuration."""

    data: str = Field(min_length=1, description="Folder of the index, relative to this file.")
    store: Component = Field(description="Engine that keeps nodes and vectors.")
    loaders: dict[str, Component] = Field(description="Options by format.")
    readers: dict[str, Component] = Field(
        default_factory=dict,
        description='LlamaIndex readers for formats without a loader, e.g. {".epub": package.module.Class}; '
        "options as {package.module.Class: {option: value}}.",
    )
    index: IndexSpec = Field(description="From files to the store.")
    prompts: str | dict[str, str] | None = Field(
        default=None,
        description="Prompts that replace ours: a folder of NAME.md files, relative to this file, or texts or files by "
        "name. Each uses every variable of the prompt that it replaces.",
    )
    pipelines: dict[str, PipelineSpec] = Field(description="Ways to answer, by name.")
    folder: Path = Field(default=Path(), exclude=True, description="What `data` is relative to.")

    @property
    def data_folder(self) -> Path:
        """`data` as a path, resolved against the folder of the configuration file."""
        return self.folder / Path(self.data).expanduser()

    def with_data(self, data: str | Path) -> "Spec":
        """A copy with another data folder, relative to the working folder."""
        copy = self.model_copy(update={"data": str(data), "folder": Path.cwd()})
        copy._shown = {k: v for k, v in self._shown.items() if k != "data"}
        return copy
