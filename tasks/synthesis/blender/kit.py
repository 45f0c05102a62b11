"""Mesh and material primitives: one builder that collects faces, and a cache of materials by colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import bpy

Vec = Sequence[float]
RGB = tuple[float, float, float]


class Shape:
    """Collects faces with materials and UVs (metres), then becomes one mesh: a prop is one object with one mask."""

    def __init__(self) -> None:
        self.points: list[Vec] = []
        self.faces: list[list[int]] = []
        self.uvs: list[list[tuple[float, float]]] = []
        self.slots: list[int] = []
        self.smooth: list[bool] = []
        self.materials: list[bpy.types.Material] = []

    def face(
        self,
        corners: Sequence[Vec],
        material: bpy.types.Material,
        uv: Sequence[tuple[float, float]] | None = None,
        smooth: bool = False,
    ) -> None:
        """Add one polygon; without `uv` the texture is laid out in metres along its longest side."""
        start = len(self.points)
        self.points.extend(tuple(corner) for corner in corners)
        self.faces.append(list(range(start, start + len(corners))))
        self.uvs.append(list(uv) if uv else metric_uv(corners))
        if material not in self.materials:
            self.materials.append(material)
        self.slots.append(self.materials.index(material))
        self.smooth.append(smooth)

    def box(self, centre: Vec, size: Vec, material: bpy.types.Material, turn: float = 0.0, tilt: float = 0.0) -> None:
        """Add a box of `size` (m) around `centre`, turned about z and tilted about x (radians)."""
        hx, hy, hz = (value / 2 for value in size)
        corners = [(x, y, z) for z in (-hz, hz) for x, y in ((-hx, -hy), (hx, -hy), (hx, hy), (-hx, hy))]
        moved = [_move(corner, centre, turn, tilt) for corner in corners]
        for ring in ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)):
            self.face([moved[i] for i in ring], material)

    def cone(
        self,
        base: Vec,
        low: float,
        high: float,
        height: float,
        material: bpy.types.Material,
        sides: int = 18,
        axis: str = "z",
        cap: bool = True,
    ) -> None:
        """Add a frustum from radius `low` to `high` (m) along an axis; equal radii make a cylinder."""
        rings = []
        for radius, up in ((low, 0.0), (high, height)):
            ring = []
            for i in range(sides):
                a = 2 * math.pi * i / sides
                u, v = radius * math.cos(a), radius * math.sin(a)
                x, y, z = {"z": (u, v, up), "x": (up, u, v), "y": (v, up, u)}[axis]
                ring.append((base[0] + x, base[1] + y, base[2] + z))
            rings.append(ring)
        start = len(self.points)
        self.points.extend(rings[0] + rings[1])
        if material not in self.materials:
            self.materials.append(material)
        for i in range(sides):
            j = (i + 1) % sides
            self.faces.append([start + i, start + j, start + sides + j, start + sides + i])
            self.uvs.append([(0, 0), (1, 0), (1, 1), (0, 1)])
            self.slots.append(self.materials.index(material))
            self.smooth.append(True)
        if cap:
            self.face(rings[1], material)
            self.face(list(reversed(rings[0])), material)

    def ball(self, centre: Vec, radii: Vec, material: bpy.types.Material, sides: int = 12, turn: float = 0.0) -> None:
        """Add an ellipsoid of `radii` (m)."""
        rows = sides // 2
        start = len(self.points)
        for r in range(rows + 1):
            b = math.pi * r / rows
            for i in range(sides):
                a = 2 * math.pi * i / sides
                point = (
                    radii[0] * math.sin(b) * math.cos(a),
                    radii[1] * math.sin(b) * math.sin(a),
                    radii[2] * math.cos(b),
                )
                self.points.append(_move(point, centre, turn, 0.0))
        if material not in self.materials:
            self.materials.append(material)
        for r in range(rows):
            for i in range(sides):
                j = (i + 1) % sides
                self.faces.append(
                    [
                        start + r * sides + i,
                        start + (r + 1) * sides + i,
                        start + (r + 1) * sides + j,
                        start + r * sides + j,
                    ]
                )
                self.uvs.append([(0, 0), (0, 1), (1, 1), (1, 0)])
                self.slots.append(self.materials.index(material))
                self.smooth.append(True)

    def prism(
        self,
        outline: Sequence[tuple[float, float]],
        width: float,
        material: bpy.types.Material,
        inset: float = 0.06,
        centre: Vec = (0.0, 0.0, 0.0),
    ) -> None:
        """Extrude a side view, (y, z) in metres, over `width` along x with chamfered sides."""
        cy = sum(p[0] for p in outline) / len(outline)
        cz = sum(p[1] for p in outline) / len(outline)
        near = [(cy + (y - cy) * (1 - inset * 0.5), cz + (z - cz) * (1 - inset * 1.6)) for y, z in outline]
        sections = [
            (-width / 2, near),
            (-width / 2 + inset * 2, outline),
            (width / 2 - inset * 2, outline),
            (width / 2, near),
        ]
        rings = [[(centre[0] + x, centre[1] + y, centre[2] + z) for y, z in ring] for x, ring in sections]
        count = len(outline)
        for a, b in pairwise(rings):
            for i in range(count):
                j = (i + 1) % count
                self.face([a[i], a[j], b[j], b[i]], material)
        self.face(list(reversed(rings[0])), material)
        self.face(rings[-1], material)

    def limb(self, start: Vec, end: Vec, low: float, high: float, material: bpy.types.Material, sides: int = 8) -> None:
        """Add a tapered round bar between two points, radii in metres: arms, legs, booms, poles."""
        direction = [e - s for s, e in zip(start, end, strict=True)]
        length = math.sqrt(sum(d * d for d in direction)) or 1e-6
        w = [d / length for d in direction]
        helper = (0.0, 0.0, 1.0) if abs(w[2]) < 0.9 else (1.0, 0.0, 0.0)
        u = _unit(_cross(helper, w))
        v = _cross(w, u)
        rings = []
        for origin, radius in ((start, low), (end, high)):
            ring = []
            for i in range(sides):
                c, s = radius * math.cos(2 * math.pi * i / sides), radius * math.sin(2 * math.pi * i / sides)
                ring.append(tuple(origin[k] + c * u[k] + s * v[k] for k in range(3)))
            rings.append(ring)
        for i in range(sides):
            j = (i + 1) % sides
            self.face([rings[0][i], rings[0][j], rings[1][j], rings[1][i]], material)
        self.face(rings[1], material)
        self.face(list(reversed(rings[0])), material)

    def mesh(self, name: str) -> bpy.types.Mesh:
        """Return the collected faces as one Blender mesh."""
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(self.points, [], self.faces)
        for material in self.materials:
            mesh.materials.append(material)
        mesh.polygons.foreach_set("material_index", self.slots)
        mesh.polygons.foreach_set("use_smooth", self.smooth)
        layer = mesh.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", [value for ring in self.uvs for pair in ring for value in pair])
        mesh.update()
        return mesh


def metric_uv(corners: Sequence[Vec]) -> list[tuple[float, float]]:
    """Texture coordinates in metres: u along the level side of a wall, v up it; x and y on level faces."""
    xs, ys, zs = zip(*corners, strict=True)
    if max(zs) - min(zs) < 1e-4:
        return [(x, y) for x, y, _ in corners]
    if max(xs) - min(xs) >= max(ys) - min(ys):
        return [(x, z) for x, _, z in corners]
    return [(y, z) for _, y, z in corners]


def _move(point: Vec, centre: Vec, turn: float, tilt: float) -> Vec:
    x, y, z = point
    y, z = y * math.cos(tilt) - z * math.sin(tilt), y * math.sin(tilt) + z * math.cos(tilt)
    x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    return (x + centre[0], y + centre[1], z + centre[2])


def _cross(a: Vec, b: Vec) -> Vec:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Vec) -> Vec:
    length = math.sqrt(sum(v * v for v in a)) or 1e-6
    return tuple(v / length for v in a)


def paint(
    colour: RGB, rough: float = 0.6, metal: float = 0.0, glow: float = 0.0, grain: float = 0.0
) -> bpy.types.Material:
    """Return the cached material of a colour; `glow` is emission strength, `grain` the frequency of dirt (1/m)."""
    name = "paint " + " ".join(f"{value:.3f}" for value in (*colour, rough, metal, glow, grain))
    known = bpy.data.materials.get(name)
    if known:
        return known
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = rough
    shader.inputs["Metallic"].default_value = metal
    if glow:
        shader.inputs["Emission Color"].default_value = (*colour, 1)
        shader.inputs["Emission Strength"].default_value = glow
    if grain:
        dirt(material, colour, grain)
    return material


def dirt(
    material: bpy.types.Material, colour: RGB, grain: float, depth: float = 0.45, coordinate: str = "Object"
) -> None:
    """Vary a material's base colour with noise of frequency `grain` (1/m)."""
    tree = material.node_tree
    noise, ramp, place = (
        tree.nodes.new(kind) for kind in ("ShaderNodeTexNoise", "ShaderNodeValToRGB", "ShaderNodeTexCoord")
    )
    noise.inputs["Scale"].default_value = grain
    noise.inputs["Detail"].default_value = 6
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.3, 0.75
    ramp.color_ramp.elements[0].color = (*(value * (1 - depth) for value in colour), 1)
    ramp.color_ramp.elements[1].color = (*(min(1, value * (1 + depth)) for value in colour), 1)
    tree.links.new(place.outputs[coordinate], noise.inputs["Vector"])
    tree.links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])


def picture(path: str, glow: float = 0.0) -> bpy.types.Material:
    """Return the cached material of an RGBA picture; sign faces reflect headlights, so they glow a little at night."""
    name = f"picture {path} {glow:.2f}"
    known = bpy.data.materials.get(name)
    if known:
        return known
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    image = tree.nodes.new("ShaderNodeTexImage")
    image.image = bpy.data.images.load(path, check_existing=True)
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = 0.4
    tree.links.new(image.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(image.outputs["Alpha"], shader.inputs["Alpha"])
    if glow:
        tree.links.new(image.outputs["Color"], shader.inputs["Emission Color"])
        shader.inputs["Emission Strength"].default_value = glow
    return material
