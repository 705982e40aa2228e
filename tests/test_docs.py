"""The documents name what there is: every field of the records, every command, every link."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import typer

from fasa_cli.app import app
from fasa_cli.inspection.records import (
    Component,
    Finding,
    Inspection,
    JpegCoding,
    JpegStructure,
    Preview,
    Version,
)
from fasa_cli.inspection.records import Segment as JpegSegment
from fasa_cli.results import CopyMovePair, Failure, Region, ScanRecord, Skipped

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


RECORDS = [ScanRecord, Failure, Skipped, Region, CopyMovePair]
RECORDS += [
    Inspection,
    Finding,
    Preview,
    Version,
    JpegCoding,
    JpegStructure,
    JpegSegment,
    Component,
]


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_of_a_record_is_documented(record: type) -> None:
    text = (ROOT / "docs/records.md").read_text(encoding="utf-8")
    missing = [field.name for field in fields(record) if f"`{field.name}`" not in text]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_readme_names_every_command_and_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`fasa {name}`" in text, name


def test_options_that_documents_name_exist() -> None:
    known = {"--check", "--git-dir", "--nproc-per-node", "--part", "--list", "--sizes", "--files"}
    root = typer.main.get_command(app)
    commands = list(root.commands.values())  # type: ignore[attr-defined]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    known |= {"--help", "--version", "--degrade", "--photos", "--picture", "--peer", "--save"}
    known |= {"--against", "--count", "--kills", "--megapixels", "--half", "--limit", "--weights"}
    for document in DOCUMENTS:
        found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", document.read_text(encoding="utf-8")))
        assert found <= known, (document.name, found - known)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "docs" / "make_cli_reference.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def test_the_reference_is_made_from_the_help(script: ModuleType) -> None:
    written = (ROOT / "docs" / "cli-reference.md").read_text(encoding="utf-8")
    assert written == script.reference(), "run: python docs/make_cli_reference.py"


def test_options_say_what_they_take_and_out_is_o_everywhere(script: ModuleType) -> None:
    for name, command in script.commands_of(typer.main.get_command(app)):
        for parameter in command.params:
            assert parameter.metavar or getattr(parameter, "is_flag", False), (name, parameter.name)
            assert ("--out" in parameter.opts) == ("-o" in parameter.opts), name


def test_the_web_site_has_every_document() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[a-z-]+\.md", text)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
