"""Phrases and keys of wallets for tests, made anew each time: none may lie in this repository."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from mnemonic import Mnemonic


def phrase(words: int = 12, seed: int = 0) -> str:
    """A recovery phrase with a right checksum."""
    entropy = hashlib.sha256(f"{words} {seed}".encode()).digest()[: words * 4 // 3]
    return Mnemonic("english").to_mnemonic(entropy)


def keyfile(seed: int = 0) -> str:
    """An unencrypted keyfile as bittensor-wallet writes it."""
    key = "0x" + hashlib.sha256(str(seed).encode()).hexdigest()
    return json.dumps({"accountId": key, "publicKey": key, "secretPhrase": phrase(seed=seed), "secretSeed": key})


def repository(folder: Path, *commits: dict[str, str | None]) -> Path:
    """Make a git repository; each commit writes files, and removes those whose text is None."""
    git(folder, "init", "-q")
    for number, files in enumerate(commits):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", f"commit {number}")
    return folder


def git(folder: Path, *words: str) -> str:
    """Run git without the settings of whoever runs the tests."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
