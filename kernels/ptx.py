#!/usr/bin/env python3
"""Kernels to PTX, on a machine with no GPU and no CUDA toolkit.

    kernels/ptx.py build            writes kernels/ptx/*.ptx.z, after a kernel was changed
    kernels/ptx.py check            fails where a file is stale, does not assemble, spills, or loses performance
    kernels/ptx.py fresh            only whether files are stale, by the hash in their first line: needs no compiler
    kernels/ptx.py fetch            only the compilers, so that they are there
    kernels/ptx.py show NAME        prints the PTX of a file, which is kept deflated
    kernels/ptx.py compile NAME     prints what a file compiles to now

The compilers are NVIDIA's wheels on PyPI, fetched once into a cache, which also keeps what they said; where they cannot be
fetched, `check` says so and does what `fresh` does. PTX of CUDA 12.0 is read by every driver since 525. The assembler of the
same release proves that; the one of 13.0 counts registers and spills for each architecture.
"""

import argparse
import concurrent.futures
import ctypes
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib

HOME = pathlib.Path(__file__).resolve().parent
COMPILER = "nvidia-cuda-nvrtc-cu12==12.0.140"
ASSEMBLERS = {"12.0": "nvidia-cuda-nvcc-cu12==12.0.140", "13.0": "nvidia-cuda-nvcc==13.0.88"}
# What a file is compiled for: a name that ends in _hopper says so, and all others run on every GPU since sm_80.
TARGETS = {True: "compute_90a", False: "compute_80"}
# Where each is assembled: by the assembler of its release for validity, by a newer one for counts; with --every more of them.
PROOFS = {
    "compute_80": [("12.0", "sm_80"), ("13.0", "sm_80"), ("13.0", "sm_90"), ("13.0", "sm_120")],
    "compute_90a": [("12.0", "sm_90a"), ("13.0", "sm_90a")],
}
MORE = {"compute_80": [("12.0", "sm_90"), ("13.0", "sm_86"), ("13.0", "sm_89"), ("13.0", "sm_100")], "compute_90a": []}
OPTIONS = ["--std=c++17", "--extra-device-vectorization"]
# Of lambdas that take words of any length the compiler does not know by itself that they run on the device.
LAMBDAS = ["--device-as-default-execution-space"]


def target(source):
    return TARGETS[source.stem.endswith("_hopper")]


def options(source):
    return OPTIONS + LAMBDAS * (b'#include "row.cuh"' in source.read_bytes())


def digest(source):
    """Of the source, of the headers it includes, and of how they are compiled."""
    parts, open_files, seen = [], [source], set()
    while open_files:
        text = open_files.pop(0).read_bytes()
        parts.append(text)
        names = [name.decode() for name in re.findall(rb'#include "(\w+\.cuh)"', text)]
        open_files += [HOME / name for name in names if name not in seen]
        seen.update(names)
    parts += [" ".join([COMPILER, target(source), *options(source)]).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def packed(text):
    """As it is embedded: by the same settings always. (Another version of zlib may find other bytes for the same text.)"""
    deflate = zlib.compressobj(level=9, method=zlib.DEFLATED, wbits=15, memLevel=9, strategy=zlib.Z_DEFAULT_STRATEGY)
    return deflate.compress(text.encode()) + deflate.flush()


def kept(source):
    """The PTX that is embedded; nothing where it is not there or cannot be read."""
    try:
        return zlib.decompress(place(source).read_bytes()).decode()
    except (FileNotFoundError, ValueError, zlib.error):
        return ""


def place(source):
    return HOME / "ptx" / f"{source.stem}.ptx.z"


def is_fresh(source, text):
    return text.startswith(f"// {digest(source)} ")


def fetch(wheel, cache):
    folder = pathlib.Path(cache) / wheel
    if not (folder / "complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps", "--only-binary=:all:", "--target", str(folder), wheel]
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
            raise ConnectionError(f"{wheel} cannot be fetched")
        (folder / "complete").touch()
    return folder


def remembered(cache, name, make):
    """A text that was made before, or is made now."""
    file = pathlib.Path(cache) / "said" / name
    if not file.exists():
        text = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return file.read_text()


class Compiler:
    def __init__(self, cache):
        self.cache = cache
        library = next(fetch(COMPILER, cache).glob("nvidia/**/libnvrtc.so.12"))
        ctypes.CDLL(str(next(library.parent.glob("libnvrtc-builtins.so.*"))), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(library))

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, text)
        return text.value.decode()

    def compiled(self, source):
        program = ctypes.c_void_p()
        given = [option.encode() for option in [f"--gpu-architecture={target(source)}", f"-I{HOME}", *options(source)]]
        self.library.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None)
        if self.library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given)):
            raise ValueError(f"{source.name} does not compile\n{self.text(program, 'ProgramLog')}")
        text = self.text(program, "PTX")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        text = re.sub(r"\A(//.*\n|\s*\n)*", "", text)  # the banner
        text = re.sub(r"(?m)^\s*//.*\n|[ \t]+$", "", text)
        text = re.sub(r"\n{2,}", "\n", text)
        return f"// {digest(source)} of {source.name}: written by kernels/ptx.py, edit that file instead\n{text}"


def compiled(cache, source):
    """In a process of its own: how the compiler numbers depends on what it compiled before."""

    def compile_it():
        run = subprocess.run([sys.executable, __file__, "compile", source.stem, "--cache", cache], capture_output=True, text=True)
        if run.returncode:
            raise ValueError(run.stderr.strip())
        return run.stdout

    return remembered(cache, digest(source), compile_it)


def assemble(cache, release, architecture, source):
    """What the assembler counts, and what it has to object."""
    program = next(fetch(ASSEMBLERS[release], cache).glob("nvidia/**/bin/ptxas"))
    program.chmod(0o755)
    text = kept(source)

    def said_of_it():
        with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
            file.write(text)
            file.flush()
            run = subprocess.run([str(program), "-v", f"-arch={architecture}", file.name, "-o", "/dev/null"], capture_output=True, text=True)
        return run.stderr + ("error: it does not assemble" if run.returncode else "")

    said = f"{source.stem}.ptx, {architecture} by ptxas {release}"
    name = hashlib.sha256(text.encode() + f"{release} {architecture}".encode()).hexdigest()[:32]
    log = remembered(cache, name, said_of_it)
    if log.endswith("error: it does not assemble"):
        return [], [f"{said}\n{log}"]
    # An assembler of 12.0 that takes products of four warps one after another is slow, not wrong.
    objections = [f"{said}: {line}" for line in log.splitlines() if "warning" in line or ("erformance" in line and release == "13.0")]
    counts = []
    for name, body in re.findall(r"Compiling entry function '(\w+)'[^\n]*\n(.*?)(?=ptxas info +: Compiling|\Z)", log, re.S):
        spilled = int(re.search(r"(\d+) bytes spill stores", body)[1])
        stack = int(re.search(r"(\d+) bytes stack frame", body)[1])
        shared = re.search(r"(\d+) bytes smem", body)
        counts.append((architecture, name, int(re.search(r"Used (\d+) registers", body)[1]), stack, int(shared[1]) if shared else 0))
        if spilled and release == "13.0":
            objections.append(f"{said}: {name} spills {spilled} bytes")
    return counts, objections


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["build", "check", "fresh", "fetch", "show", "compile"])
    parser.add_argument("only", nargs="*", help="names of files, without their ending")
    parser.add_argument("--cache", default=str(pathlib.Path.home() / ".cache/cuda-wheels"))
    parser.add_argument("--every", action="store_true", help="for every architecture")
    parser.add_argument("--table", action="store_true", help="registers, stack and shared bytes of every kernel")
    asked = parser.parse_args()

    if asked.what in ["show", "compile"]:
        if len(asked.only) != 1 or not (source := HOME / f"{asked.only[0]}.cu").exists():
            sys.exit(f"{asked.what} wants the name of one file of kernels: {', '.join(file.stem for file in sorted(HOME.glob('*.cu')))}")
        try:
            text = Compiler(asked.cache).compiled(source) if asked.what == "compile" else kept(source)
        except ValueError as error:
            sys.exit(str(error))
        print(text or f"{place(source).name} cannot be read: run kernels/ptx.py build", end="")
        return

    sources = sorted(HOME.glob("*.cu"))
    chosen = [s for s in sources if not asked.only or s.stem in asked.only]
    folder = HOME / "ptx"
    folder.mkdir(exist_ok=True)
    wrong = []
    known = {source: kept(source) for source in chosen}
    if asked.what != "build":
        wrong += [f"ptx/{place(s).name} is stale: run kernels/ptx.py build" for s in chosen if not is_fresh(s, known[s])]
    for file in folder.iterdir():
        if file not in {place(source) for source in sources}:
            if asked.what == "build":
                file.unlink()
            else:
                wrong.append(f"ptx/{file.name} has no source: kernels/ptx.py build removes it")

    has_compilers = asked.what != "fresh"
    if has_compilers:
        try:
            for wheel in [COMPILER, *ASSEMBLERS.values()]:
                fetch(wheel, asked.cache)
        except ConnectionError as error:
            if asked.what in ["build", "fetch"]:
                sys.exit(str(error))
            print(f"{error}: only hashes were compared")
            has_compilers = False
    if has_compilers and asked.what != "fetch":
        # What is fresh by its hash is not built again. The longest come first, so that none is waited for alone.
        chosen = [s for s in chosen if asked.what != "build" or not is_fresh(s, known[s])]
        chosen.sort(key=lambda source: -len(known[source]))

        def text_of(source):
            try:
                return compiled(asked.cache, source)
            except ValueError as error:
                wrong.append(str(error))

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            texts = {source: pool.submit(text_of, source) for source in chosen}
            if asked.what == "build":
                chosen = [source for source in chosen if texts[source].result() is not None]
                for source in chosen:
                    place(source).write_bytes(packed(texts[source].result()))
            proofs = {
                source: [pool.submit(assemble, asked.cache, *how, source) for how in PROOFS[target(source)] + MORE[target(source)] * asked.every]
                for source in chosen
            }
            for source in sorted(chosen):
                text = texts[source].result()
                # Where it puts a move depends on addresses.
                if asked.what == "check" and text is not None and sorted(known[source].splitlines()) != sorted(text.splitlines()):
                    wrong.append(f"ptx/{place(source).name} is not what {source.name} compiles to: run kernels/ptx.py build")
                for proof in proofs[source]:
                    counts, objections = proof.result()
                    wrong += objections
                    if asked.table:
                        for architecture, name, registers, stack, shared in counts:
                            print(f"{architecture:7} {name:32} {registers:4} registers {stack:5} bytes of stack {shared:6} bytes shared")
    for one in dict.fromkeys(wrong):
        print(one, file=sys.stderr)
    sys.exit(bool(wrong))


main()
