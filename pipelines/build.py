"""From a specification to objects. Every part is made when it is first asked for, once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.embeddings.base import BaseEmbedding

from sensorium.errors import EvidenceError, QueryError, SpaceError
from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
from sensorium.loaders.base import Loader, OcrEngine
from sensorium.models import OCR_ENGINES, TEXT_EMBEDDERS
from sensorium.models.adapters import dimension, revision, text_embedder
from sensorium.models.base import PartEncoder
from sensorium.models.cache import EmbeddingCache
from sensorium.nodes import whole_characters
from sensorium.once import once
from sensorium.pictures import silent
from sensorium.pipelines import FUSERS, LEGS, QUERY_STEPS, RERANKERS, ROUTERS, SPLITTERS, SYNTHESIZERS
from sensorium.pipelines._ingest.messages import Part, loader_parts
from sensorium.pipelines._ingest.recordings import is_recording
from sensorium.pipelines.apart import Apart, Drawers, Here
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.drawn import Drawn
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.pipelines.ingest import Ingestor
from sensorium.pipelines.opening import check_there, open_store
from sensorium.pipelines.query import QueryPipeline
from sensorium.pipelines.results import PictureOf
from sensorium.pipelines.retrievers import FusedRetriever
from sensorium.pipelines.spec import Component, Spec, fingerprint
from sensorium.pipelines.units import UNITS_VERSION
from sensorium.stores.base import Space, Store

if TYPE_CHECKING:
    from sensorium.pipelines.captions import Captions
    from sensorium.pipelines.expand import Expansion
    from sensorium.pipelines.route import Route

SENTENCES = "sentences"
"""The space of the sentence vectors that the extractive answer reads; kept beside the nodes, not searched."""


class Parts:
    """The parts of one configuration.

    Args:
        spec: A validated configuration.
        create: Whether the store makes its index where there is none.

    Raises:
        MissingIndexError: there is none, none is to be made, and that can be seen without opening the store.

    Attributes:
        mismatch: Why the store cannot be searched with this configuration, once `archive` has found that out.
    """

    def __init__(self, spec: Spec, create: bool = True) -> None:
        if not create:
            check_there(spec)
        self.spec = spec
        self._create = create
        self._embedders: dict[str, BaseEmbedding] = {}
        self._loaders: dict[str, Loader] = {}
        self._making, self._embedding, self._drawing = Lock(), Lock(), Lock()
        self.mismatch = ""

    @once
    def assets(self) -> AssetStore:
        """Pictures kept at indexing."""
        return AssetStore(str(self.spec.data_folder / "assets"))

    @once
    def drawn(self) -> Drawn:
        """Pictures drawn for answers and citations."""
        return Drawn(self.spec.data_folder / "drawn", fingerprint(self.spec))

    @once
    def store(self) -> Store:
        """The store, opened with the configured spaces.

        Raises:
            SpaceError: its nodes were embedded otherwise.
        """
        return open_store(self.spec, self.spaces, self._create)

    @once
    def archive(self) -> Store:
        """The store for what needs no vectors (status, evidence, deleting); also when the embedders have changed."""
        try:
            return self.store
        except SpaceError as fault:
            self.mismatch = str(fault)
            return open_store(self.spec, None, self._create)

    @once
    def spaces(self) -> list[Space]:
        """The configured spaces, and the one for sentence vectors where the embedder can make them."""
        spaces = []
        for name in self.spec.index.spaces:
            embedder = self.embedder(name)
            spaces.append(Space(name, dimension(embedder), revision(embedder)))
            if name == "text" and isinstance(embedder, PartEncoder):
                version = f"{revision(embedder)}/units-{UNITS_VERSION}"
                spaces.append(Space(SENTENCES, dimension(embedder), version, multi=True, searchable=False))
        return spaces

    def embedder(self, space: str) -> BaseEmbedding:
        """The embedder of a space; its weights are loaded when it first embeds."""
        with self._embedding:
            if space not in self._embedders:
                component = self.spec.index.spaces[space].embed
                self._embedders[space] = text_embedder((component.name, component.options))
            return self._embedders[space]

    @once
    def encoder(self) -> PartEncoder:
        """What the extractive answer compares sentences with: the text space's embedder, else the bundled one."""
        if "text" in self.spec.index.spaces:
            embedder = self.embedder("text")
            if isinstance(embedder, PartEncoder):
                return embedder
        return cast(PartEncoder, TEXT_EMBEDDERS.create("minilm"))

    def loader(self, media_type: str) -> Loader:
        """The loader of a media type.

        Raises:
            EvidenceError: a reader of LlamaIndex read it, and those draw no pictures.
        """
        if media_type not in BY_MEDIA_TYPE:
            raise EvidenceError(f"Sources of the type {media_type} have no pictures; see the quote.")
        name = BY_MEDIA_TYPE[media_type]
        with self._making:
            if name not in self._loaders:
                made = cast(Loader, LOADERS.create(name, self.spec.loaders[name].options))
                apart = is_recording(media_type) and Drawers.possible()
                self._loaders[name] = Apart(made, self.drawers) if apart else Here(made, self._drawing)
            return self._loaders[name]

    @once
    def drawers(self) -> Drawers:
        """The processes that draw and cut what citations of recordings show."""
        ocr = Part(self._ocr, OCR_ENGINES.entry(self._ocr).target)
        return Drawers(loader_parts(self._loader_options), ocr, self.spec.index.limits)

    @property
    def _loader_options(self) -> dict[str, Mapping[str, Any]]:
        return {name: component.options for name, component in self.spec.loaders.items()}

    def pipeline(
        self, name: str, picture_of: PictureOf, others: Callable[[str], QueryPipeline] | None = None
    ) -> QueryPipeline:
        """A query pipeline by name; `others` gives those that it routes to."""
        spec, prompts = self.spec.pipelines[name], self.spec.prompts
        legs = [self._leg(component) for component in spec.retrieve]
        fusion = FUSERS.create(spec.fuse.name, spec.fuse.options)
        rerank = [RERANKERS.create(c.name, c.options, picture_of=picture_of, prompts=prompts) for c in spec.rerank]
        retriever = FusedRetriever(self.store, legs, fusion, rerank, spec.top_k, self._expansion(name))
        made = SYNTHESIZERS.create(
            spec.synthesize.name,
            spec.synthesize.options,
            store=self.store,
            encoder=self.encoder,
            picture_of=picture_of,
            shared_prompts=self.spec.prompts,
        )
        return QueryPipeline(name, retriever, made, picture_of, self._route(name), others)

    def _expansion(self, name: str) -> "Expansion | None":
        if not (components := self.spec.pipelines[name].expand):
            return None
        from sensorium.pipelines.expand import Expansion

        steps = [QUERY_STEPS.create(c.name, c.options, prompts=self.spec.prompts) for c in components]
        return Expansion(steps, f"pipelines.{name}.expand")

    def _route(self, name: str) -> "Route | None":
        if not (components := self.spec.pipelines[name].route):
            return None
        from sensorium.pipelines.route import Route

        routers = [ROUTERS.create(c.name, c.options, prompts=self.spec.prompts) for c in components]
        return Route(routers, f"pipelines.{name}.route")

    def _leg(self, component: Component) -> Any:
        supplied: dict[str, Any] = {"store": self.store}
        if "space" in component.options:
            supplied["embedder"] = self.embedder(component.options["space"])
        return LEGS.create(component.name, component.options, **supplied)

    def ingestor(self) -> Ingestor:
        """What indexes files into the store."""
        index = self.spec.index
        return Ingestor(
            store=self.store,
            embedders={name: self.embedder(name) for name in index.spaces},
            sentences=SENTENCES if any(space.name == SENTENCES for space in self.spaces) else None,
            split=SPLITTERS.create(index.split.name, index.split.options),
            loaders=self._loader_options,
            readers={suffix: (reader.name, reader.options) for suffix, reader in self.spec.readers.items()},
            ocr=index.ocr,
            speech=(index.speech.name, index.speech.options),
            limits=index.limits,
            workers=index.workers,
            fingerprint=fingerprint(self.spec),
            assets=self.assets,
            cache=EmbeddingCache(self.spec.data_folder / "embeddings.sqlite3"),
            captions=self._captions(),
            draw=PictureDrawer(self.loader, self.assets).draw,
        )

    def _captions(self) -> "Captions | None":
        """What describes pictures, when that is asked for; new for each run, since it counts what it spends."""
        component = self.spec.index.captions
        if component is None:
            return None
        from sensorium.pipelines.captions import Captions, kept_in

        return Captions(self.spec.prompts, kept_in(self.spec.data_folder), **component.options)

    def query_text(self, text: str, image: str | Path | None, audio: str | Path | None) -> str:
        """The words to search for, in whole characters: the question and what is written in the query picture.

        Raises:
            QueryError: a picture without words and no question, or a recording.
        """
        if audio is not None:
            raise QueryError("No configured space takes sound as a query.", "Ask with words or a picture.")
        text = whole_characters(text)
        if image is None:
            return text
        words = " ".join((text, *self._words_in(Path(image)))).strip()
        if not words:
            raise QueryError(
                f"No text was recognised in {image}, and no configured space takes pictures as a query.",
                "Add some words to the question.",
            )
        return words

    def _words_in(self, image: Path) -> list[str]:
        from PIL import Image, UnidentifiedImageError

        try:
            with silent():
                opened = Image.open(image)
            with opened as picture:
                return [line.text for line in self.ocr.read(picture)]
        except FileNotFoundError as fault:
            raise QueryError(f"The query picture {image} does not exist.") from fault
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as fault:
            raise QueryError(f"The query picture {image} cannot be read: {fault}") from fault

    @once
    def ocr(self) -> OcrEngine:
        """What recognises text outside of indexing: in query pictures, and where a quote stands."""
        return cast(OcrEngine, OCR_ENGINES.create(self._ocr))

    @property
    def _ocr(self) -> str:
        return self.spec.index.ocr if self.spec.index.ocr in OCR_ENGINES else "tiny"

    def space_facts(self) -> dict[str, Any]:
        """For `status`: model, dimension and revision of each space of the store."""
        return {
            space.name: {"revision": space.revision, "dimension": space.dimension, "searchable": space.searchable}
            for space in self.archive.spaces.values()
        }

    def close(self) -> None:
        """Close the store, if it was opened, and end the processes that drew."""
        for name in ("store", "archive", "drawers"):
            if name in self.__dict__:
                self.__dict__[name].close()
