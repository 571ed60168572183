"""What a SavedModel out of somebody's `.keras` file may do: compute. Files, networks and Python are not for it."""

import re
from collections.abc import Callable, Container
from typing import Any

# Stateful operations that hold or change numbers and tables of the model itself.
_HOLDS = re.compile(
    r"VarHandleOp|VarIsInitializedOp|ReadVariableOp|DisableCopyOnRead|DestroyResourceOp|Assign(Add|Sub)?VariableOp|"
    r"Resource(Gather|GatherNd|StridedSliceAssign|Scatter\w+)|(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?|"
    r"LookupTable\w+V2|InitializeTable(FromTextFile)?V2|StatefulPartitionedCall|PartitionedCall|If|While|Case|Assert|"
    r"Random\w+|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|Rng\w+|Stateful(Standard|Truncated|Uniform)\w*|"
    r"Placeholder|Sentencepiece\w+|(Whitespace|Wordpiece|FastWordpiece|RegexSplit)\w*|Stack\w*V2|TensorArray\w*V3"
)
# Operations that TensorFlow does not call stateful, and that reach out of the model all the same.
_REACHES_OUT = re.compile(
    r"ReadFile|MatchingFiles|ImmutableConst|Debug\w+|GenerateVocabRemapping|LoadAndRemapMatrix|"
    r"PyFunc\w*|DecodeProtoV2|EncodeProto|\w*Dataset\w*|RemoteCall|Symbolic\w+"
)

_trusted: set[str] = set()


def forbidden_operations(graph: Any, stateful: Callable[[str], bool | None]) -> list[str]:
    """The operations of a SavedModel's functions (`meta_graphs[0]`) that do more than compute, sorted.

    Looked through are the functions that loading the model restores, gradients, and all that they call: those that write checkpoints
    stand in every file, and are not among them. `stateful` tells of an operation's name whether TensorFlow calls it
    stateful, None where it does not know it.
    """
    library, assets = graph.graph_def.library, _asset_inputs(graph)
    functions = {one.signature.name: one for one in library.function}
    waiting = list(graph.object_graph_def.concrete_functions)
    waiting += [one.gradient_func for one in (*library.gradient, *library.registered_gradients)]
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            if node.op in functions:
                waiting.append(node.op)
            elif not _computes(node.op, stateful(node.op)) or _reads_elsewhere(node, assets.get(name, ())):
                found.add(node.op)
            for value in node.attr.values():
                waiting += [value.func.name, *(one.name for one in value.list.func)]
    return sorted(found)


def _asset_inputs(graph: Any) -> dict[str, set[str]]:
    """Of each function the arguments that loading binds to a file in the module's own folder `assets`."""
    functions = {one.signature.name: one for one in graph.graph_def.library.function}
    nodes, files = graph.object_graph_def.nodes, graph.asset_file_def
    found: dict[str, set[str]] = {}
    for name, concrete in graph.object_graph_def.concrete_functions.items():
        bound = concrete.bound_inputs  # the last of its arguments
        arguments = [one.name for one in functions[name].signature.input_arg] if bound and name in functions else []
        for argument, place in zip(arguments[-len(bound) :], bound, strict=False):
            if nodes[place].WhichOneof("kind") == "asset":
                file = files[nodes[place].asset.asset_file_def_index].filename
                if not {"/", "\\"} & set(file) and file != "..":
                    found.setdefault(name, set()).add(argument)
    return found


def _reads_elsewhere(node: Any, assets: Container[str]) -> bool:
    """Whether it fills a table from a file that is not one of the module's own."""
    return node.op.startswith("InitializeTableFromTextFile") and node.input[1].partition(":")[0] not in assets


def _computes(operation: str, stateful: bool | None) -> bool:
    if _REACHES_OUT.fullmatch(operation):
        return False
    return stateful is False or bool(_HOLDS.fullmatch(operation))


def trust_module(sha256: str) -> None:
    """Let a module of this hash be loaded out of a `.keras` file, whatever it does, as long as this process runs."""
    if len(sha256) != 64:
        raise ValueError(f"A module is trusted by its whole hash of 64 digits. Received: {sha256!r}")
    _trusted.add(sha256)


def is_trusted(sha256: str) -> bool:
    """Whether `trust_module` was called with that hash."""
    return sha256 in _trusted
