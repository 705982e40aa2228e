"""`fasa weights` as typed."""

import hashlib
import json
import os
import subprocess
import sys
import time


def fasa(*arguments, **changes):
    command = [sys.executable, "-m", "fasa_cli", "weights", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **changes)


def test_the_shipped_weights_are_shown_with_their_card():
    done = fasa("show")
    assert done.returncode == 0, done.stderr
    assert "preset: compact" in done.stdout
    assert "What a score means" in done.stdout


def test_json_is_one_object(tiny_weights):
    done = fasa("show", tiny_weights, "--json")
    summary = json.loads(done.stdout)
    assert summary["preset"] == "tiny"
    assert summary["sha256"] == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()


def test_a_missing_file_is_named():
    done = fasa("show", "nowhere.safetensors")
    assert done.returncode == 1
    assert "nowhere.safetensors" in done.stderr


def test_pulling_without_a_network_says_so(tmp_path):
    """Nothing answers on this proxy, so that the test never reaches a network."""
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY")
    nowhere = dict.fromkeys(names, "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "HF_HOME": str(tmp_path), "no_proxy": ""}
    start = time.monotonic()
    done = fasa("pull", env=environment)
    assert time.monotonic() - start < 20  # the libraries' own attempts take a minute
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: https://huggingface.co: ")
    assert "HTTPS_PROXY" in line
