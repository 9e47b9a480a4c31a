"""The configuration: every fault at once and in its place, short forms, `extends`, the environment, the schema."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import ConfigError
from sensorium.pipelines.spec import Fault, Spec, default_yaml, fingerprint, json_schema, load_spec
from sensorium.registry import Registry

ROOT = Path(__file__).parents[2]
SECRET = "sk-live-1234567890"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a configuration and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults(source: Any) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        load_spec(source)
    assert all(isinstance(fault, Fault) for fault in caught.value.faults)
    return [fault for fault in caught.value.faults if isinstance(fault, Fault)]


def test_nothing_given_is_the_built_in_configuration() -> None:
    spec = load_spec()
    assert spec.store.name == "sqlite"
    assert [leg.name for leg in spec.pipelines["default"].retrieve] == ["vector", "keyword"]
    assert {"pdf", "slides", "image", "text", "audio", "captions"} <= set(spec.loaders)
    assert spec.index.limits.pages == 5000
    assert spec.data_folder == Path.cwd() / ".sensorium"


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "index:\npipelines:\n"])
def test_empty_parts_are_defaults(written: Any, text: str) -> None:
    assert load_spec(written(text)).model_dump() == load_spec().model_dump()


def test_documented_defaults_are_the_defaults() -> None:
    spec = load_spec(ROOT / "config.yaml")
    assert spec.model_dump() == load_spec().model_dump()
    assert fingerprint(spec) == fingerprint(load_spec())


def test_documented_defaults_are_current() -> None:
    assert (ROOT / "config.yaml").read_text(encoding="utf-8") == default_yaml(), "run: sensorium init --force"


def test_documented_defaults_name_every_option() -> None:
    text = default_yaml()
    spec = load_spec()
    for component in (spec.store, spec.index.split, *spec.loaders.values(), *spec.pipelines["default"].retrieve):
        for option in component.options:
            assert f"{option}:" in text


def test_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "config.schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema(), "run: sensorium init --force"


def test_schema_knows_every_registered_name() -> None:
    schema = json_schema()
    legs = schema["$defs"]["leg"]["anyOf"]
    assert [form["const"] for form in legs if "const" in form] == ["vector", "keyword"]
    long = next(form for form in legs if "properties" in form)["properties"]
    keyword = next(form for form in long["keyword"]["anyOf"] if form.get("type") == "object")
    assert keyword["additionalProperties"] is False
    assert keyword["properties"]["top_k"]["description"]
    assert set(schema["properties"]) == {"data", "store", "loaders", "index", "prompts", "pipelines"}
    assert {"minilm", "openai"} <= {form.get("const") for form in schema["$defs"]["embedder"]["anyOf"]}


ROWS = [
    # text; line, column, path, part of the problem, part of what was expected, nearest
    ("stor: sqlite", 1, 1, "stor", "unknown key", "data, store", "store"),
    ("store: sqlit", 1, 8, "store", "unknown store 'sqlit'", "sqlite", "sqlite"),
    ("store: {sqlit: {}}", 1, 9, "store.sqlit", "unknown store", "", "sqlite"),
    ("data: 3", 1, 7, "data", "got 3", "text", ""),
    ("data: ''", 1, 7, "data", "got ''", "some text", ""),
    ("index:\n  worker: 2", 2, 3, "index.worker", "unknown key", "workers", "workers"),
    ("index:\n  workers: many", 2, 12, "index.workers", "got 'many'", "a whole number", ""),
    ("index:\n  workers: -1", 2, 12, "index.workers", "got -1", "at least 0", ""),
    ("index:\n  ocr: tinny", 2, 8, "index.ocr", "got 'tinny'", "tiny, small, off", "tiny"),
    ("index:\n  speech: wisper", 2, 11, "index.speech", "unknown speech engine 'wisper'", "whisper, openai, off",
     "whisper"),
    ("index:\n  speech: {whisper: {beam: 0}}", 2, 28, "index.speech.whisper.beam", "got 0", "at least 1", ""),
    ("index:\n  speech: {openai: {url: x}}", 2, 21, "index.speech.openai.url", "unknown key", "base_url", ""),
    ("index: fast", 1, 8, "index", "got 'fast'", "a mapping", ""),
    ("index:\n  limits: {seconds: 0}", 2, 21, "index.limits.seconds", "got 0", "above 0", ""),
    ("index:\n  limits: {page: 5}", 2, 12, "index.limits.page", "unknown key", "pages", "pages"),
    ("index:\n  spaces: {}", 2, 11, "index.spaces", "got a mapping", "at least 1", ""),
    ("index:\n  spaces:\n    text: {}", 3, 11, "index.spaces.text", "'embed' is missing", "", ""),
    ("index:\n  spaces:\n    text: {embed: minlm}", 3, 19, "index.spaces.text.embed", "unknown text embedder 'minlm'",
     "minilm", "minilm"),
    ("index:\n  spaces:\n    text: {embed: {opnai: x}}", 3, 20, "index.spaces.text.embed.opnai", "unknown", "",
     "openai"),
    ("index:\n  spaces:\n    text: {embed: minilm}\n    sentences: {embed: minilm}", 4, 5, "index.spaces.sentences",
     "taken by Sensorium", "another name", ""),
    ("index:\n  split: {sentences: {token: 5}}", 2, 23, "index.split.sentences.token", "unknown key", "tokens",
     "tokens"),
    ("index:\n  split: {sentences: {tokens: 60, overlap: 40}}", 2, 22, "index.split.sentences",
     "overlap 40 is more than half of tokens 60", "at most 30", ""),
    ("loaders:\n  pfd: {}", 2, 3, "loaders.pfd", "unknown loader", "pdf", "pdf"),
    ("loaders:\n  pdf: {layuot: off}", 2, 9, "loaders.pdf.layuot", "unknown key", "layout", "layout"),
    ("loaders:\n  pdf: {layout: alwys}", 2, 17, "loaders.pdf.layout", "got 'alwys'", "always", "always"),
    ("loaders:\n  readers: {epub: a.B}", 2, 13, "loaders.readers.epub", "no file suffix", ".epub", ""),
    ("loaders:\n  readers: {.epub: no.such.Reader}", 2, 20, 'loaders.readers.".epub"', "got 'no.such.Reader'",
     "installed", ""),
    ("loaders:\n  readers: {.epub: [a.B]}", 2, 20, 'loaders.readers.".epub"', "got a list", "package.module.Class", ""),
    ("pipelines:\n  default:\n    retrieve: keyword", 3, 15, "pipelines.default.retrieve", "got 'keyword'", "a list",
     ""),
    ("pipelines:\n  default:\n    retrieve: []", 3, 15, "pipelines.default.retrieve", "got a list", "at least 1", ""),
    ("pipelines:\n  default:\n    retrieve: [vector, {keyword: {top_k: ten}}]", 3, 42,
     "pipelines.default.retrieve[1].keyword.top_k", "got 'ten'", "a whole number", ""),
    ("pipelines:\n  default:\n    retrieve:\n      - vector: {space: txt}", 4, 25,
     "pipelines.default.retrieve[0].vector.space", "no space 'txt'", "text", "text"),
    ("pipelines:\n  default:\n    retrieve:\n      - vector:\n        top_k: 3", 4, 9,
     "pipelines.default.retrieve[0]", "several names", "{name: {option: value}}", ""),
    ("pipelines:\n  default: {fuse: {rrf: fast}}", 2, 25, "pipelines.default.fuse.rrf", "got 'fast'", "a number", ""),
    ("pipelines:\n  default: {top_k: 0}", 2, 20, "pipelines.default.top_k", "got 0", "at least 1", ""),
    ("pipelines:\n  default: {synthesise: extractive}", 2, 13, "pipelines.default.synthesise", "unknown key",
     "synthesize", "synthesize"),
    ("pipelines:\n  vision: {extends: defalt}", 2, 21, "pipelines.vision.extends", "no pipeline 'defalt'", "default",
     "default"),
    ("pipelines:\n  a: {extends: a}", 2, 16, "pipelines.a.extends", "circle: a → a", "", ""),
    ("data: a\ndata: b", 2, 1, "data", "given twice, first on line 1", "", ""),
    ("data: [a,\n  b", 2, 4, "", "expected ','", "", ""),
    ("index:\n\tocr: off", 2, 1, "", "a tab indents", "spaces", ""),
    ("store: {weaviate: {url: ${URL}}}", 1, 26, "", "expected", '"${VAR}" in quotes', ""),
    ("data: !!python/name:os.system x", 1, 7, "data", "tag", "plain value", ""),
    ("index: &a {split: *a}", 1, 8, "index.split", "refers to itself", "", ""),
    ("- data", 1, 1, "", "got a list", "a mapping", ""),
    ("data: ${NO_SUCH_VARIABLE}/x", 1, 7, "data", "NO_SUCH_VARIABLE is not set", "default", ""),
    ("data: ${1x}", 1, 7, "data", "not well-formed", "${VAR:-default}", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "problem", "expected", "nearest"), ROWS, ids=[row[0] for row in ROWS]
)
def test_a_fault_names_its_place_and_what_was_meant(
    written: Any, text: str, line: int, column: int, path: str, problem: str, expected: str, nearest: str
) -> None:
    found = faults(written(text))
    assert len(found) == 1, [str(fault) for fault in found]
    fault = found[0]
    assert (fault.line, fault.column, fault.path) == (line, column, path), str(fault)
    assert problem in fault.problem
    assert expected in fault.expected
    assert fault.nearest == nearest
    assert f"config.yaml:{line}:{column}" in str(fault)


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(written: Any) -> None:
    path = written(
        "dat: x\nstore: sqlit\nindex:\n  ocr: huge\n  limits: {seconds: -1, page: 3}\n"
        "pipelines:\n  default: {top_k: 0, retrieve: [{vector: {space: txt}}, {keyword: {top_k: ten}}]}\n"
        "  b: {extends: nope}\n"
    )
    found = faults(path)
    assert [(f.line, f.path) for f in found] == [
        (1, "dat"), (2, "store"), (4, "index.ocr"), (5, "index.limits.seconds"), (5, "index.limits.page"),
        (7, "pipelines.default.top_k"), (7, "pipelines.default.retrieve[0].vector.space"),
        (7, "pipelines.default.retrieve[1].keyword.top_k"), (8, "pipelines.b.extends"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="9 things are wrong"):
        load_spec(path)


def test_an_inherited_fault_is_reported_once(written: Any) -> None:
    found = faults(written("pipelines:\n  default: {top_k: 0}\n  b: {extends: default}\n  c: {extends: b}\n"))
    assert [fault.path for fault in found] == ["pipelines.default.top_k"]


def test_circles_are_reported_for_their_members(written: Any) -> None:
    found = faults(written("pipelines:\n  a: {extends: b}\n  b: {extends: a}\n  c: {extends: a}\n"))
    assert {fault.path for fault in found} == {"pipelines.a.extends", "pipelines.b.extends"}


def test_faults_of_a_mapping_have_a_path_but_no_line() -> None:
    found = faults({"index": {"workers": "many"}})
    assert (found[0].file, found[0].line, found[0].path) == ("", None, "index.workers")


@pytest.mark.parametrize("form", ["keyword", {"keyword": 7}, {"keyword": {"top_k": 7}}, {"keyword": None}])
def test_short_forms_of_a_component(form: Any) -> None:
    leg = load_spec({"pipelines": {"default": {"retrieve": [form]}}}).pipelines["default"].retrieve[0]
    assert leg.name == "keyword"
    assert leg.options["top_k"] == (30 if form in ("keyword", {"keyword": None}) else 7)


def test_a_provider_of_llamaindex_is_an_embedder_by_name() -> None:
    spec = load_spec({"index": {"spaces": {"text": {"embed": {"openai": "text-embedding-3-large"}}}}})
    embed = spec.index.spaces["text"].embed
    assert (embed.name, embed.options) == ("openai", {"model": "text-embedding-3-large"})


def test_a_provider_that_is_not_installed_names_its_package() -> None:
    found = faults({"index": {"spaces": {"text": {"embed": {"voyageai": "voyage-3"}}}}})
    assert "llama-index-embeddings-voyageai" in found[0].problem


def test_off_is_a_word(written: Any) -> None:
    spec = load_spec(written("loaders:\n  pdf: {layout: off}\nindex: {ocr: off}\n"))
    assert spec.loaders["pdf"].options["layout"] == "off"
    assert spec.index.ocr == "off"


def test_extends_replaces_whole_stages_and_keeps_the_others(written: Any) -> None:
    spec = load_spec(written(
        "pipelines:\n  default: {top_k: 4, fuse: relative}\n  words: {extends: default, retrieve: [keyword]}\n"
        "  more: {extends: words, top_k: 9}\n"
    ))  # fmt: skip
    more = spec.pipelines["more"]
    assert ([leg.name for leg in more.retrieve], more.fuse.name, more.top_k) == (["keyword"], "relative", 9)
    assert spec.pipelines["words"].top_k == 4


def test_the_default_pipeline_is_always_there(written: Any) -> None:
    spec = load_spec(written("pipelines:\n  words: {extends: default, retrieve: [keyword]}\n"))
    assert set(spec.pipelines) == {"default", "words"}


def test_a_missing_default_space_points_at_the_spaces(written: Any) -> None:
    found = faults(written("index:\n  spaces:\n    words: {embed: minilm}\n"))
    assert [(f.line, f.path) for f in found] == [(2, "pipelines.default.retrieve[0].vector.space")]


def test_data_is_relative_to_the_configuration(written: Any, tmp_path: Path) -> None:
    spec = load_spec(written("data: kb"))
    assert spec.data_folder == tmp_path / "kb"
    assert spec.with_data("other").data_folder == Path.cwd() / "other"
    assert spec.with_data(tmp_path / "x").data_folder == tmp_path / "x"


def secret_spec(written: Any, monkeypatch: pytest.MonkeyPatch) -> Spec:
    monkeypatch.setenv("MY_KEY", SECRET)
    monkeypatch.setenv("MY_K", "71717")
    return load_spec(written(
        'data: "${MY_KEY}/kb"\n'
        "index:\n  workers: ${MY_K}\n  limits: {pages: '${MY_K}'}\n"
        '  spaces: {text: {embed: {openai: {model: m, api_key: "${MY_KEY}"}}}}\n'
        'pipelines:\n  default: {top_k: "${MY_K}", fuse: {rrf: "${MY_K}"}}\n  b: {extends: default}\n'
        '  c: {extends: default, retrieve: [{vector: {space: "${NOT_SET:-text}"}}], top_k: 3}\n'
    ))  # fmt: skip


def test_values_come_from_the_environment(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = secret_spec(written, monkeypatch)
    assert spec.data_folder.as_posix().endswith(f"{SECRET}/kb")
    assert (spec.index.workers, spec.index.limits.pages) == (71717, 71717)
    assert spec.index.spaces["text"].embed.options["api_key"] == SECRET
    assert [spec.pipelines[name].top_k for name in ("default", "b", "c")] == [71717, 71717, 3]
    assert spec.pipelines["c"].retrieve[0].options["space"] == "text"


def test_values_of_the_environment_are_never_shown(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = secret_spec(written, monkeypatch)
    views = [repr(spec), str(spec), str(spec.model_dump()), spec.model_dump_json(), repr(spec.index.spaces["text"])]
    views += [repr(spec.model_copy()), repr(spec.pipelines["b"])]
    for view in views:
        assert SECRET not in view
        assert "71717" not in view
    assert "${MY_KEY}" in repr(spec)
    assert "${MY_K}" in repr(spec.pipelines["b"])


def test_faults_show_the_reference_not_the_value(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    path = written(
        'store: "${MY_KEY}"\nindex:\n  ocr: "${MY_KEY}"\n  workers: "${MY_KEY}"\n'
        'pipelines:\n  default: {extends: "${MY_KEY}", retrieve: [{vector: "${MY_KEY}"}]}\n'
        'loaders: {readers: {.epub: "${MY_KEY}"}, pdf: "${MY_KEY}"}\n'
    )
    found = faults(path)
    assert len(found) == 7, [str(fault) for fault in found]
    for fault in found:
        assert SECRET not in str(fault)
        assert "${MY_KEY}" in fault.problem


def test_dollar_dollar_is_a_literal(written: Any) -> None:
    assert load_spec(written('data: "a$${B}c$d"')).data == "a${B}c$d"


def test_an_empty_variable_is_set_but_takes_the_default(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert load_spec(written('data: "x${EMPTY}y${EMPTY:-z w}"')).data == "xyz w"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file") as missing:
        load_spec(tmp_path / "no.yaml")
    assert "sensorium init" in missing.value.hint
    (tmp_path / "latin.yaml").write_bytes(b"data: caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_spec(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_spec(tmp_path)


def test_fingerprint_follows_what_decides_the_nodes() -> None:
    base = fingerprint(load_spec())
    same = {"data": "x", "index": {"workers": 3}, "pipelines": {"default": {"top_k": 3}}}
    assert fingerprint(load_spec(same)) == base
    for change in (
        {"loaders": {"pdf": {"layout": "off"}}}, {"index": {"split": {"sentences": {"tokens": 150}}}},
        {"index": {"ocr": "off"}}, {"index": {"limits": {"pages": 3}}},
        {"index": {"spaces": {"text": {"embed": {"openai": "m"}}}}},
    ):  # fmt: skip
        assert fingerprint(load_spec(change)) != base
    pdf = {"loaders": {"pdf": {"layout": "off"}}}
    assert fingerprint(load_spec(pdf), "text") == fingerprint(load_spec(), "text")
    keyed = {"index": {"spaces": {"text": {"embed": {"openai": {"model": "m", "api_key": "one"}}}}}}
    other = {"index": {"spaces": {"text": {"embed": {"openai": {"model": "m", "api_key": "two"}}}}}}
    assert fingerprint(load_spec(keyed)) == fingerprint(load_spec(other))


def test_a_new_component_brings_its_schema_and_its_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sensorium import pipelines

    (tmp_path / "my_fusion.py").write_text(
        'class Newest:\n    """By date.\n\n    Args:\n        half_life: Days.\n    """\n\n'
        "    def __init__(self, half_life: float = 30) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry = pipelines.FUSERS
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.add("newest", "my_fusion:Newest", value_option="half_life", summary="newest first")
    spec = load_spec({"pipelines": {"default": {"fuse": {"newest": 7}}}})
    assert spec.pipelines["default"].fuse.options == {"half_life": 7}
    assert faults({"pipelines": {"default": {"fuse": {"newest": {"half": 7}}}}})[0].nearest == "half_life"
    long = next(form for form in json_schema()["$defs"]["fusion"]["anyOf"] if "properties" in form)
    options = next(form for form in long["properties"]["newest"]["anyOf"] if form.get("type") == "object")
    assert options["properties"]["half_life"]["description"] == "Days."


def test_a_component_that_cannot_be_imported_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium import pipelines

    monkeypatch.setattr(pipelines.FUSERS, "_entries", dict(pipelines.FUSERS._entries))
    pipelines.FUSERS.add("absent", "no_such_package.module:Thing")
    found = faults({"pipelines": {"default": {"fuse": "absent"}}})
    assert "no_such_package" in found[0].problem


def test_importing_the_module_is_light() -> None:
    code = (
        "import sys, sensorium.pipelines.spec; heavy = {'llama_index', 'pymupdf', 'onnxruntime', 'numpy', 'PIL'}; "
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
