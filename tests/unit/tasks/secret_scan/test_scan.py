"""Secrets are found in files, in ignored files, and where only git's history still has them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tasks.secret_scan.files import MAX_BYTES
from tasks.secret_scan.history import NoHistoryError
from tasks.secret_scan.known_kinds import new_leaks
from tasks.secret_scan.scan import scan_history, scan_tree, wallet_leaks
from tasks.tools import secret_scan
from tests.support.wallets import git, keyfile, phrase, repository

TOKEN = "hf_" + "aB3" * 12


def paths(scanned: object) -> list[str]:
    return [leak.path for leak in scanned.leaks]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("wallets/miner/hotkeys/default", keyfile(), "not encrypted"),
        ("elsewhere.json", keyfile(), "not encrypted"),
        ("notes.py", f'secretSeed = "0x{"ab" * 32}"', "not encrypted"),
        ("coldkey", "$NACL" + "x" * 90, "password alone"),
        ("old", "$ANSIBLE_VAULT;1.1;AES256\n", "password alone"),
        ("wallets/miner/coldkey", "anything", "by its place"),
        ("notes.md", f"\n\n{phrase()}", "recovery phrase of 12 words"),
        # public, or talk about keys
        ("wallets/miner/coldkeypub.txt", '{"accountId": "0x12", "ss58Address": "5Grw"}', None),
        ("a.py", 'print(document["secretPhrase"])', None),
        ("a.md", "The file has secretSeed and privateKey.", None),
    ],
)
def test_kinds(path: str, text: str, kind: str | None) -> None:
    leaks = list(wallet_leaks(path, text.encode()))
    assert [kind in leak.kind for leak in leaks] == ([True] if kind else [])


def test_no_secret_is_shown() -> None:
    text = f"{phrase()}\n{keyfile(1)}"
    shown = " ".join(map(str, wallet_leaks("a", text.encode())))
    assert shown
    assert not set(phrase().split()) & set(shown.replace(":", " ").split()) - {"phrase", "key"}


def test_files_that_git_ignores_are_looked_at(tmp_path: Path) -> None:
    repository(tmp_path, {".gitignore": "private/\n"})
    (tmp_path / "private").mkdir()
    (tmp_path / "private/seed.txt").write_text(phrase())
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\0\0" + phrase().encode())
    (tmp_path / "large.txt").write_bytes(phrase().encode() + b" " * MAX_BYTES)
    assert paths(scan_tree(tmp_path)) == ["private/seed.txt"]


def test_a_phrase_that_only_history_has(tmp_path: Path) -> None:
    repository(tmp_path, {"a.txt": "x"}, {"notes/seed.txt": f"\n{phrase()}"}, {"notes/seed.txt": None, "b.txt": "y"})
    assert paths(scan_tree(tmp_path)) == []
    scanned = scan_history(tmp_path)
    assert [(leak.path, leak.line) for leak in scanned.leaks] == [("notes/seed.txt", 2)]
    assert scanned.leaks[0].commit == git(tmp_path, "rev-parse", "HEAD~1")
    assert scanned.complete


@pytest.mark.parametrize("kept", ["branch", "tag", "stash"])
def test_all_that_git_reaches_is_history(kept: str, tmp_path: Path) -> None:
    repository(tmp_path, {"a.txt": "x"})
    (tmp_path / "a.txt").write_text(phrase())
    if kept == "stash":
        git(tmp_path, "stash")
    else:
        git(tmp_path, "checkout", "-qb", "other")
        git(tmp_path, "commit", "-qam", "secret")
        git(tmp_path, *(("tag", "old") if kept == "tag" else ("branch", "more")))
        git(tmp_path, "checkout", "-q", "-")
        if kept == "tag":
            git(tmp_path, "branch", "-qD", "other")
    assert paths(scan_tree(tmp_path)) == []
    assert paths(scan_history(tmp_path)) == ["a.txt"]


def test_a_long_history_is_read_without_a_hold_up(tmp_path: Path) -> None:
    """More names and more text than a pipe holds: git may write before it has read all names."""
    git(tmp_path, "init", "-q")
    files = [f"{number} {'the ' * 100}" for number in range(2500)]
    blobs = "".join(f"M 644 inline {n}.txt\ndata {len(text)}\n{text}\n" for n, text in enumerate(files))
    stream = f"commit refs/heads/main\ncommitter t <t@example.org> 0 +0000\ndata 1\nc\n{blobs}"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=tmp_path, input=stream, text=True, check=True)
    assert scan_history(tmp_path).files == 2500


def test_time_that_is_over_is_said(tmp_path: Path) -> None:
    repository(tmp_path, {"a.txt": phrase()})
    assert not scan_history(tmp_path, time.monotonic() - 1).complete
    assert not scan_tree(tmp_path, time.monotonic() - 1).complete


def test_without_a_repository(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(phrase())
    assert paths(scan_tree(tmp_path)) == ["a.txt"]
    with pytest.raises(NoHistoryError):
        scan_history(tmp_path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f'token = "{TOKEN}"', "Hugging Face Hub Token"),
        ('password = "correct horse 7"', "Secret Keyword"),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", "Private Key"),
        ("url = 'postgresql://me:pa55word@host/db'", "Basic Auth Credentials"),
        ("AKIA" + "ABCDEFGH12345678", "AWS Access Key"),
        ('sha256 = "' + "0123456789abcdef" * 4 + '"', None),  # a digest
        ("password: ${DATABASE_PASSWORD}", None),
        (f'token = "{TOKEN}"  # pragma: allowlist secret', None),
    ],
)
def test_known_kinds(text: str, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(text)
    assert {leak.kind for leak in new_leaks(tmp_path, ["a.py"])} == ({kind} if kind else set())


def test_command_and_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository(tmp_path, {"a.py": 'password = "correct horse 7"\n'}))
    assert secret_scan.main([]) == 1
    assert "a.py:1: Secret Keyword" in capsys.readouterr().err
    assert secret_scan.main(["--update"]) == 0
    assert secret_scan.main([]) == 0
    Path("a.py").write_text('\n\npassword = "correct horse 7"\n')  # the same at another line
    assert secret_scan.main([]) == 0
    Path("new.txt").write_text(phrase())  # git has it not yet, and would take it
    assert secret_scan.main(["--update"]) == 1
    Path("new.txt").unlink()
    Path(".secrets.baseline").write_text("no JSON")
    assert secret_scan.main([]) == 1
    assert "--update" in capsys.readouterr().err
