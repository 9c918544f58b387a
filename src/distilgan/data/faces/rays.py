"""Ray queries against a triangle mesh, by `warp` on the CPU."""
# mypy: disable-error-code="attr-defined,no-untyped-def,valid-type,name-defined,no-untyped-call,untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import warp as wp

Array = npt.NDArray[Any]


@wp.kernel
def _nearest(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    far: wp.float32,
    face: wp.array(dtype=wp.int32),
    hit: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    query = wp.mesh_query_ray(mesh, origins[i], directions[i], far)
    if query.result:
        face[i] = query.face
        hit[i] = wp.vec3(query.u, query.v, query.t)
    else:
        face[i] = -1
        hit[i] = wp.vec3(0.0, 0.0, far)


@wp.kernel
def _blocked(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    far: wp.float32,
    result: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    result[i] = wp.where(wp.mesh_query_ray_anyhit(mesh, origins[i], directions[i], far), 1.0, 0.0)


class RayMesh:
    """A mesh that answers ray queries."""

    def __init__(self, vertices: Array, triangles: npt.NDArray[np.int32]) -> None:
        self._mesh = wp.Mesh(
            wp.array(np.ascontiguousarray(vertices, np.float32), dtype=wp.vec3, device="cpu"),
            wp.array(np.ascontiguousarray(triangles, np.int32).ravel(), dtype=wp.int32, device="cpu"),
        )

    def nearest(self, origins: Array, directions: Array, far: float = 10.0) -> tuple[npt.NDArray[np.int32], Array]:
        """First hit of each ray: triangle index (-1: none) [N] and (u, v, distance) [N, 3].

        `u`, `v` weigh the triangle's first and second corner.
        """
        n = len(origins)
        face, hit = wp.empty(n, dtype=wp.int32, device="cpu"), wp.empty(n, dtype=wp.vec3, device="cpu")
        wp.launch(_nearest, n, [self._mesh.id, *_vectors(origins, directions), far, face, hit], device="cpu")
        return face.numpy(), hit.numpy()

    def blocked(self, origins: Array, directions: Array, far: float = 10.0) -> Array:
        """1.0 where anything lies within `far` along the ray, else 0.0; [N]."""
        n = len(origins)
        result = wp.empty(n, dtype=wp.float32, device="cpu")
        wp.launch(_blocked, n, [self._mesh.id, *_vectors(origins, directions), far, result], device="cpu")
        blocked: Array = result.numpy()
        return blocked


def _vectors(*arrays: Array):
    return [wp.array(np.ascontiguousarray(a, np.float32), dtype=wp.vec3, device="cpu") for a in arrays]
