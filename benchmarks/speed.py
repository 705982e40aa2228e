"""Measure speed, every claim as a ratio within one run.

    python benchmarks/speed.py                       # every part, briefly
    python benchmarks/speed.py --part model --part scan --photos 200
    python benchmarks/speed.py --list

Tables go to stdout (`--markdown` for a document); figures and the machine go into --out as JSON,
beside those of the parts that were not run. A part that cannot run here says why.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from measuring import Part, in_words, machine, write_json

# Each is a module of this folder: `add_options(parser)` and `measure(options) -> Part`.
PARTS = {
    "startup": "speed_startup",
    "cpu": "speed_cpu",
    "model": "speed_model",
    "scan": "speed_scan",
    "inspect": "speed_inspect",
    "growth": "speed_growth",
    "training": "speed_training",
    "step": "speed_step",
    "cuda": "speed_cuda",
    "peers": "speed_peers",
}


def main() -> None:
    """Measure the parts that were asked for, one after another."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="one of them; repeatable")
    parser.add_argument("--list", action="store_true", help="say what the parts are")
    parser.add_argument("--rounds", type=int, default=5, help="of timing in turns")
    parser.add_argument("--out", type=Path, help="JSON file to write, or to add to")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    modules = {name: importlib.import_module(module) for name, module in PARTS.items()}
    for name, module in modules.items():
        module.add_options(parser.add_argument_group(name))
    options = parser.parse_args()
    if options.list:
        for name, module in modules.items():
            print(f"{name:10}{(module.__doc__ or '').partition(chr(10))[0]}")
        return
    found: dict[str, Part] = {}
    for name in options.part or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = part = modules[name].measure(options)
        if part.skipped:
            print(f"{name}: skipped: {part.skipped}", flush=True)
        for table in part.tables:
            print(table.markdown()) if options.markdown else table.show()
        if options.out:  # after every part: one that fails later loses nothing
            write_json(options.out, {name: part})
    print(in_words(machine()))


if __name__ == "__main__":
    main()
