"""Bad input as a user meets it: a code and a sentence, never a traceback, and nothing else is harmed."""

import io
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from PIL import Image
from typer.testing import CliRunner, Result

import sensorium
from sensorium.apps.cli import app
from sensorium.errors import ConfigError, QueryError, SpaceError
from sensorium.loaders.pdf import PdfLoader

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
WRONG_USE, FAILED = 2, 3
AES_256 = 5  # PyMuPDF: PDF_ENCRYPT_AES_256
READER = """
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

class Keyed(BaseReader):
    def __init__(self, key):
        self.key = key

    def load_data(self, file, extra_info=None):
        return [Document(text=f"Opened with {self.key}.")]

class Upper(BaseReader):
    def load_data(self, file, extra_info=None):
        text = open(file).read().replace("\\\\ud83d", "\\ud83d")
        if "BROKEN" in text:
            raise RuntimeError("line 4 is odd")
        if "LACKING" in text:
            raise ImportError("please run: pip install foo-tools")
        return [Document(text=text.upper(), metadata={"page_label": "7"})]
"""


def call(*arguments: object, code: int = 0) -> Result:
    """Run the command in this process; it has to end with this code and without a traceback."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "Traceback" not in done.output
    assert "unexpected" not in done.stderr
    return done


def rows(*arguments: object, code: int = 0) -> dict[str, dict[str, Any]]:
    found = json.loads(call("index", *arguments, "--json", code=code).stdout)
    return {row["source"]: row for row in found["sources"]}


def pdf(path: Path, *lines: str, **options: Any) -> Path:
    with pymupdf.open() as document:
        page = document.new_page()
        for number, line in enumerate(lines):
            page.insert_text((72, 100 + 40 * number), line, fontsize=11)
        document.save(path, **options)
    return path


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    pdf(folder / "lighthouse.pdf", "The lighthouse at Cape Arden was built in 1871 by the engineer Maria Lind.")
    (folder / "birds.md").write_text("# Birds\n\nIn 2021 the survey counted 48 puffins on the northern cliff.\n")
    return folder


@pytest.fixture(scope="module")
def indexed(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that tests only read."""
    data = tmp_path_factory.mktemp("kb") / "data"
    call("index", documents, "--data", data)
    return data


@pytest.fixture
def data(indexed: Path, tmp_path: Path) -> Path:
    """A data folder of one's own."""
    shutil.copytree(indexed, tmp_path / "data")
    return tmp_path / "data"


# Files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, dict[str, Any]]]:
    """A folder of troublesome files, its data folder, and the rows of its report."""
    folder = tmp_path_factory.mktemp("odd")
    good = pdf(folder / "good.pdf", "Terns breed on the sandbank in June.")
    (folder / os.fsdecode(b"latin-\xe9.pdf")).write_bytes(good.read_bytes() + b"\n%1")
    (folder / os.fsdecode(b"new\nline \xff.md")).write_text("Eiders winter in the bay.")
    (folder / "cut.pdf").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    no_pages = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    (folder / "no-pages.pdf").write_bytes(no_pages + b"trailer<</Root 1 0 R>>\n")
    pdf(folder / "blank.pdf")
    pdf(folder / "owner.pdf", "Open to all readers.", encryption=AES_256, owner_pw="o")
    (folder / "blank.txt").write_text(" \n\n")
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 8)
    (folder / "dangling.md").symlink_to("nowhere")
    report = rows(folder, "--data", folder.parent / "odd-data", code=FAILED)
    return folder, folder.parent / "odd-data", report


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("good.pdf", "stored", ""), ("latin-\\xe9.pdf", "stored", ""), ("new\nline \\xff.md", "stored", ""),
        ("owner.pdf", "stored", ""), ("cut.pdf", "failed", "truncated or damaged"),
        ("no-pages.pdf", "failed", "no pages"), ("blank.pdf", "failed", "no text"), ("blank.txt", "failed", "no text"),
        ("noise.bin", "skipped", "no loader"), ("dangling.md", "failed", "broken link"),
    ],
)  # fmt: skip
def test_every_odd_file_has_its_row(odd: tuple[Path, Path, Any], source: str, status: str, words: str) -> None:
    folder, _, report = odd
    assert len(report) == 10
    assert report[source]["status"] == status
    assert words in (report[source]["reason"] or "")
    assert str(folder) not in (report[source]["reason"] or ""), "the row names the file already"
    assert bool(report[source]["counts"]) is (status == "stored")


@pytest.mark.parametrize(("source", "magic"), [("latin-\\xe9.pdf", b"\x89PNG"), ("new\nline \\xff.md", b"Eiders")])
def test_names_that_are_no_text_open_like_others(
    odd: tuple[Path, Path, Any], tmp_path: Path, source: str, magic: bytes
) -> None:
    found = call("search", "eiders terns", "--filter", f"source={source}", "--data", odd[1], "--json")
    node = json.loads(found.stdout)["hits"][0]["node_id"]
    call("show", node, "-o", tmp_path / "shown", "--data", odd[1])
    assert next(tmp_path.glob("shown*")).read_bytes().startswith(magic)


def test_passwords_come_from_the_environment_and_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    pdf(tmp_path / "in" / "locked.pdf", "The vault holds 4711 silver coins.",
        encryption=AES_256, owner_pw="owner", user_pw="s3cret-user")  # fmt: skip
    config = tmp_path / "c.yaml"
    config.write_text("data: kb\nloaders: {pdf: {password: '${VAULT_PASSWORD}'}}\n")
    monkeypatch.delenv("VAULT_PASSWORD", raising=False)
    assert "VAULT_PASSWORD is not set" in call("index", tmp_path / "in", "--config", config, code=WRONG_USE).stderr
    monkeypatch.setenv("VAULT_PASSWORD", "s3cret-wrong")
    wrong = call("index", tmp_path / "in", "--config", config, code=FAILED)
    assert "locked.pdf: is encrypted and the password given is wrong" in wrong.stdout
    assert "s3cret" not in wrong.output
    monkeypatch.setenv("VAULT_PASSWORD", "s3cret-user")
    call("index", tmp_path / "in", "--config", config)
    found = call("search", "silver coins", "--config", config, "--json")
    hit = json.loads(found.stdout)["hits"][0]
    assert "4711" in hit["text"]
    call("show", hit["node_id"], "-o", tmp_path / "crop.png", "--config", config)
    written = [path for path in (tmp_path / "kb").rglob("*") if path.is_file()]
    assert not [path for path in written if b"s3cret" in path.read_bytes()]
    # Without the password the new attempt fails, and what is there stays.
    again = call("index", tmp_path / "in", "--data", tmp_path / "kb", "--json", code=FAILED)
    assert "a password is needed" in again.stdout
    assert "4711" in call("ask", "How many silver coins?", "--data", tmp_path / "kb").stdout
    shown = call("show", hit["node_id"], "-o", tmp_path / "x.png", "--data", tmp_path / "kb", code=1)
    assert "password" in shown.stderr


def test_a_failed_update_is_said_and_the_old_version_answers(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = pdf(tmp_path / "in" / "report.pdf", "The harbour wall was raised by 2.4 metres in 1998.")
    whole, data = file.read_bytes(), tmp_path / "kb"
    call("index", tmp_path / "in", "--data", data)
    file.write_bytes(whole[: len(whole) // 2])
    assert "older version stays searchable" in call("index", tmp_path / "in", "--data", data, code=FAILED).stdout
    assert "2.4 metres" in call("ask", "By how much was the harbour wall raised?", "--data", data).stdout
    assert "(an older version is searchable)" in call("status", "--data", data).stdout
    pdf(file, "The harbour wall was raised by 3.1 metres in 2011.")
    call("index", tmp_path / "in", "--data", data)
    found = call("search", "harbour wall", "--data", data, "--json").stdout
    assert "3.1 metres" in found
    assert "2.4 metres" not in found
    assert json.loads(call("status", "--data", data, "--json").stdout)["sources"] == {"stored": 1}


@pytest.mark.parametrize("name", ["truncated", "encrypted", "zip-bomb", "zero-byte", "jpeg-named", "corrupt-moov",
                                  "huge-dimensions"])  # fmt: skip
def test_hostile_files_alone(corpus: Path, tmp_path: Path, name: str) -> None:
    file = next((corpus / "hostile").glob(f"{name}.*"))
    code = 0 if name == "jpeg-named" else FAILED
    row = rows(file, "--data", tmp_path / "kb", code=code)[file.name]
    assert row["status"] == ("stored" if name == "jpeg-named" else "failed")
    assert row["status"] == "stored" or len(row["reason"]) > 10


def test_instructions_in_a_document_are_data(corpus: Path, tmp_path: Path) -> None:
    rows(corpus / "hostile" / "prompt-injection.pdf", "--data", tmp_path / "kb")
    asked = call("ask", "How often should the fern be watered?", "--data", tmp_path / "kb", "--json").stdout
    answer = json.loads(asked)
    assert "Water the fern every Tuesday." in answer["answer"]
    assert [c["evidence"]["source"] for c in answer["citations"]] == ["prompt-injection.pdf"]


# Places -------------------------------------------------------------------------------------------------------


def test_reading_verbs_make_no_index(tmp_path: Path) -> None:
    for arguments in (("search", "x"), ("ask", "x"), ("status",), ("show", "x"), ("delete", "x")):
        done = call(*arguments, "--data", tmp_path, code=WRONG_USE)
        assert "There is no index in" in done.stderr
        assert "sensorium index" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_reading_verbs_fill_no_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "index.sqlite3"
    file.touch()
    assert "There is no index in" in call("search", "x", "--data", tmp_path, code=WRONG_USE).stderr
    assert file.stat().st_size == 0
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert "There is no index in" in call("search", "x", "--data", tmp_path, code=WRONG_USE).stderr
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("path", ["missing.pdf", "n" * 300, "birds.md/below"])
def test_paths_that_cannot_be(documents: Path, indexed: Path, path: str, tmp_path: Path) -> None:
    call("index", documents / path, "--data", tmp_path / "kb", code=WRONG_USE)
    call("search", "x", "--data", documents / path, code=WRONG_USE)
    call("search", "x", "--config", documents / path, code=WRONG_USE)
    call("search", "--batch", documents / path, "--data", indexed, code=WRONG_USE)
    call("search", "x", "--image", documents / path, "--data", indexed, code=WRONG_USE)
    assert not (tmp_path / "kb").exists()


def test_a_file_in_place_of_the_data_folder(documents: Path) -> None:
    done = call("index", documents, "--data", documents / "birds.md", code=1)
    assert "a file of that name is there" in done.stderr
    assert "--data" in done.stderr


def test_a_configuration_that_cannot_be_read_is_not_passed_over(
    tmp_path: Path, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call("search", "puffins", "--data", indexed)
    (tmp_path / "config.yaml").symlink_to("gone.yaml")
    assert "config.yaml" in call("search", "puffins", "--data", indexed, code=WRONG_USE).stderr


def test_a_link_named_by_the_user_ends_as_a_row(tmp_path: Path) -> None:
    (tmp_path / "link.pdf").symlink_to("nowhere.pdf")
    found = rows(tmp_path / "link.pdf", "--data", tmp_path / "kb", code=FAILED)
    assert found["link.pdf"]["reason"] == "is a broken link"


# The index ----------------------------------------------------------------------------------------------------


def test_a_newer_index_is_refused_by_every_verb_and_left_alone(data: Path, documents: Path) -> None:
    file = data / "index.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = file.read_bytes()
    for arguments in (("search", "x"), ("index", documents), ("status",), ("delete", "--all"), ("show", "x")):
        assert "Update Sensorium" in call(*arguments, "--data", data, code=1).stderr
    assert file.read_bytes() == before


def test_another_embedder_is_named_and_the_advice_works(data: Path, documents: Path) -> None:
    with sqlite3.connect(data / "index.sqlite3") as connection:
        connection.execute("UPDATE spaces SET revision = 'older-model' WHERE name = 'text'")
    connection.close()
    for arguments in (("search", "puffins"), ("ask", "puffins?"), ("index", documents)):
        done = call(*arguments, "--data", data, code=1)
        assert "'text' was indexed by another embedder: revision 'older-model' is now 'minilm-" in done.stderr
        assert "sensorium delete --all" in done.stderr
    facts = json.loads(call("status", "--data", data, "--json").stdout)
    assert facts["spaces"]["text"]["revision"] == "older-model"
    assert "another embedder" in facts["store"]["warnings"][0]
    assert len(json.loads(call("delete", "--all", "--data", data, "--json").stdout)["deleted"]) == 2
    call("index", documents, "--data", data)
    assert "48 puffins" in call("search", "puffins", "--data", data).stdout


def test_pictures_and_deletion_need_no_embedder(data: Path) -> None:
    with sensorium.open(data=data) as kb:
        node = kb.search("lighthouse")[0].node.node_id
    with sqlite3.connect(data / "index.sqlite3") as connection:
        connection.execute("UPDATE spaces SET revision = 'older-model' WHERE name = 'text'")
    connection.close()
    with sensorium.open(data=data) as kb:
        with pytest.raises(SpaceError, match="'text'"):
            kb.search("lighthouse")
        assert kb.picture(node).media_type == "image/png"
        assert kb.delete("*.pdf") == ["lighthouse.pdf"]
        assert [record.source for record in kb.sources()] == ["birds.md"]


def test_a_damaged_index_says_so(data: Path) -> None:
    with (data / "index.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(12_000))
    done = call("search", "puffins", "--data", data, code=1)
    assert "damaged" in done.stderr
    assert "index again" in done.stderr


# Questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ['" OR *', "NEAR(puffins cliff)", "puffins AND", "text:puffins", "puffins*", '"puffins', "col:(a -b)",
              "x; DROP TABLE nodes", "\0puffins", "\ud800 puffins", "%s {x} ${HOME}", "puffins " * 12_500,
              "x" * 100_000],
    ids=lambda query: query[:12].encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
def test_any_words_are_only_words(indexed: Path, query: str) -> None:
    with sensorium.open(data=indexed) as kb:
        assert len(kb.search(query)) == 2
        assert kb.ask(query).text
        assert not query.count("puffins") or kb.search(query)[0].evidence.source == "birds.md"


@pytest.mark.parametrize("query", ["", " \n\t ", "\u3000"])
def test_an_empty_question_is_wrong_use(indexed: Path, query: str) -> None:
    for verb in ("search", "ask"):
        assert "The question is empty" in call(verb, query, "--data", indexed, code=WRONG_USE).stderr


def test_a_picture_larger_than_any_is_refused(corpus: Path, indexed: Path) -> None:
    picture = corpus / "hostile" / "huge-dimensions.png"
    assert "3600000000" in call("search", "x", "--image", picture, "--data", indexed, code=WRONG_USE).stderr


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"kind": "tabel"}, "no kind 'tabel'"), ({"kind": ["text", "tabel"]}, "no kind 'tabel'"),
        ({"page": None}, "'page'"), ({"page": {"gt": 1}}, "'page'"), ("kind=table", "mapping"),
    ],
)  # fmt: skip
def test_filters_that_mean_nothing(indexed: Path, filters: Any, words: str) -> None:
    with sensorium.open(data=indexed) as kb, pytest.raises(QueryError, match=words):
        kb.search("puffins", filters=filters)


def test_filters_that_let_nothing_pass_are_named(indexed: Path) -> None:
    assert "no kind 'tabel'" in call("search", "x", "--filter", "kind=tabel", "--data", indexed, code=WRONG_USE).stderr
    found = call("search", "puffins", "--filter", "page=77", "--data", indexed)
    assert found.stdout.startswith("Nothing found with page=77.")
    with sensorium.open(data=indexed) as kb:
        assert {hit.evidence.kind for hit in kb.search("x", filters={"kind": ("text", "table")})} == {"text"}
        assert kb.search("x", filters={"kind": []}) == []


# Configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("pipelines: {default: {fuse: {rrf: {k: -1}}}}", "k: got -1"),
        ("loaders: {text: {rows: 0}, slides: {dpi: 0, min_picture: 7}}", "3 things are wrong"),
        ("store: {sqlite: {busy_timeout_s: -1}}", "busy_timeout_s: got -1"),
        ("pipelines: {default: {retrieve: [{keyword: {weight: .inf}}]}}", "weight: got inf"),
    ],
)
def test_numbers_out_of_range_are_found_before_anything_runs(tmp_path: Path, yaml: str, words: str) -> None:
    (tmp_path / "c.yaml").write_text(yaml)
    assert words in call("validate", tmp_path / "c.yaml", code=WRONG_USE).stderr


def reranked(indexed: Path, reranker: dict[str, Any]) -> list[Any]:
    pipeline = {"default": {"rerank": [{"postprocessor": reranker}]}}
    with sensorium.open({"pipelines": pipeline}, data=indexed) as kb:
        return kb.search("puffins")


def test_a_misspelt_option_of_a_reranker_is_not_dropped(indexed: Path) -> None:
    cut = {"name": "SimilarityPostprocessor", "options": {"similarity_cutoff": 0.9}}
    assert reranked(indexed, cut) == []
    with pytest.raises(ConfigError, match=r"no option 'similarity_cutof'\. Did you mean 'similarity_cutoff'"):
        reranked(indexed, {"name": "SimilarityPostprocessor", "options": {"similarity_cutof": 0.9}})


class Neighbour(BaseNodePostprocessor):
    """Brings a node that no leg has found."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return [*nodes, NodeWithScore(node=TextNode(id_="mine", text="beside it"), score=0.001)]


def test_a_reranker_may_bring_nodes(indexed: Path) -> None:
    hits = reranked(indexed, {"name": f"{__name__}.Neighbour"})
    assert hits[-1].node.node_id == "mine"
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].legs
    assert not hits[-1].legs


# Readers of LlamaIndex ----------------------------------------------------------------------------------------


def test_a_reader_named_in_yaml_from_file_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "shouting.py").write_text(READER)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.foo").write_text("The lake holds 77 char.")
    (folder / "bad.foo").write_text("BROKEN")
    (folder / "lacking.foo").write_text("LACKING")
    (folder / "half.foo").write_text("half \\ud83d of a smile")
    (folder / "plain.txt").write_text("Plain texts keep their loader.")
    config = tmp_path / "c.yaml"
    config.write_text('data: kb\nloaders: {readers: {".foo": shouting.Upper}}\n')
    found = rows(folder, "--config", config, code=FAILED)
    assert {source: row["status"] for source, row in found.items()} == {
        "bad.foo": "failed", "good.foo": "stored", "half.foo": "stored", "lacking.foo": "failed", "plain.txt": "stored",
    }  # fmt: skip
    assert "RuntimeError: line 4 is odd" in found["bad.foo"]["reason"]
    assert "shouting.Upper cannot run: please run: pip install foo-tools" in found["lacking.foo"]["reason"]
    answer = json.loads(call("ask", "How many char does the lake hold?", "--config", config, "--json").stdout)
    assert "THE LAKE HOLDS 77 CHAR." in answer["answer"]
    citation = answer["citations"][0]
    assert (citation["evidence"]["source"], citation["evidence"]["page"]) == ("good.foo", 7)
    call("show", citation["node_id"], "-o", tmp_path / "shown.txt", "--config", config)
    assert "77 char" in (tmp_path / "shown.txt").read_text()
    (folder / "locked.bar").write_text("Locked.")
    config.write_text('data: kb\nloaders: {readers: {".bar": {shouting.Keyed: {key: "${FOO_KEY}"}}}}\n')
    monkeypatch.setenv("FOO_KEY", "the brass key")
    assert rows(folder / "locked.bar", "--config", config)["locked.bar"]["status"] == "stored"
    assert "brass" in json.loads(call("search", "opened", "--config", config, "--json").stdout)["hits"][0]["text"]
    wrong = {
        "Absent": "of an installed reader", "Document": "subclass of LlamaIndex's BaseReader",
        "Keyed": "needs the option 'key'", "{Keyed: {kye: 1}}": "takes no option 'kye'",
    }  # fmt: skip
    for name, words in wrong.items():
        name = f"{{shouting.{name[1:]}" if name[0] == "{" else f"shouting.{name}"
        config.write_text(f'loaders: {{readers: {{".foo": {name}}}}}\n')
        assert words in call("validate", config, code=WRONG_USE).stderr


def test_loaders_in_llamaindex_and_a_file_they_refuse(documents: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pdf").write_bytes((documents / "lighthouse.pdf").read_bytes()[:300])
    shutil.copy(documents / "lighthouse.pdf", tmp_path)
    read = SimpleDirectoryReader(str(tmp_path), file_extractor={".pdf": PdfLoader()}).load_data()
    assert [(d.metadata["source"], d.metadata["page"]) for d in read] == [("lighthouse.pdf", 1)]


def test_pictures_as_questions(indexed: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(stream, "PNG")
    (tmp_path / "white.png").write_bytes(stream.getvalue())
    (tmp_path / "cut.png").write_bytes(stream.getvalue()[:60])
    (tmp_path / "text.png").write_text("no picture")
    for name, words in (("white", "No text was recognised"), ("cut", "cannot be read"), ("text", "cannot be read")):
        done = call("search", "--image", tmp_path / f"{name}.png", "--data", indexed, code=WRONG_USE)
        assert words in done.stderr
