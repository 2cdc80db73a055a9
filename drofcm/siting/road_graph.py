"""The graph behind a road network: roads joined at their ends and cut where places are, and the search in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.ops
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra, reverse_cuthill_mckee
from scipy.spatial import cKDTree

__all__ = ["Floats", "Pieces", "Places", "cut_roads", "joined", "lightest", "part_of", "renumbered", "search"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Roads cut where places are: the pieces, the number of vertices now, and the vertex of each place."""

    edge: Places
    tail: Places
    head: Places
    share: Floats
    count: int
    place: Places


def cut_roads(edge: Places, along: Floats, start: Places, end: Places, crossings: int) -> Pieces:
    """Cut roads where places lie: road and share along it of each place; ends of every road, number of crossings."""
    place = np.empty(len(edge), dtype=np.int64)
    place[along <= 0] = start[edge[along <= 0]]
    place[along >= 1] = end[edge[along >= 1]]
    inside = np.flatnonzero((along > 0) & (along < 1))
    # places at the same point of a road share a vertex
    at, which = np.unique(np.column_stack([edge[inside], along[inside]]), axis=0, return_inverse=True)
    on, share = at[:, 0].astype(np.int64), at[:, 1]
    vertex = crossings + np.arange(len(at))
    place[inside] = vertex[which.ravel()]
    first = np.append(True, on[1:] != on[:-1])[: len(on)]
    last = np.append(on[1:] != on[:-1], True)[: len(on)]
    before = np.where(first, 0.0, np.concatenate([[0.0], share])[: len(on)])
    tail = np.where(first, start[on], vertex - 1)
    # the piece behind the last place of each road
    rest = on[last]
    return Pieces(
        edge=np.concatenate([on, rest]),
        tail=np.concatenate([tail, vertex[last]]),
        head=np.concatenate([vertex, end[rest]]),
        share=np.concatenate([share - before, 1 - share[last]]),
        count=crossings + len(at),
        place=place,
    )


def renumbered(graph: sparse.csr_array) -> tuple[sparse.csr_array, Places]:
    """The graph with neighbours near each other in memory, and the new number of each vertex.

    A search in a large graph takes a third less time so (``tests/benchmarks/roads.py``).
    """
    # the function takes none of the newer arrays
    order = np.asarray(reverse_cuthill_mckee(sparse.csr_matrix(graph)), dtype=np.int64)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return sparse.csr_array(graph[order][:, order]), number


def search(graph: sparse.csr_array, sources: Places) -> Floats:
    """Cost of the cheapest way from each source to every vertex, (source, vertex)."""
    return np.asarray(dijkstra(graph, indices=sources), dtype=np.float64)


def part_of(line: Any, begin: float, end: float) -> Any:
    """The part of a line between two shares of its length."""
    return line if begin <= 0 and end >= 1 else shapely.ops.substring(line, begin, end, normalized=True)


def lightest(tail: Places, head: Places, value: Floats, count: int) -> sparse.csr_array:
    """The matrix of the graph; of parallel roads the lightest, where a sparse matrix would add them up."""
    order = np.lexsort((value, head, tail))
    tail, head, value = tail[order], head[order], value[order]
    kept = np.append(True, (tail[1:] != tail[:-1]) | (head[1:] != head[:-1]))[: len(tail)]
    return sparse.csr_array((value[kept], (tail[kept], head[kept])), shape=(count, count))


def joined(ends: Floats, within: float) -> tuple[Places, int]:
    """Numbers of the crossings: ends that lie within a distance, directly or by a chain of others, are one."""
    points, number = np.unique(ends, axis=0, return_inverse=True)
    pairs = cKDTree(points).query_pairs(within, output_type="ndarray")
    near = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    count, crossing = connected_components(near, directed=False)
    return np.asarray(crossing, dtype=np.int64)[number.ravel()], int(count)
