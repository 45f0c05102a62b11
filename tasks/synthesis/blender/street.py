"""A place: road, markings, verges, buildings, trees and street furniture along a gently curved road."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import bpy
from blender.kit import RGB, Shape, dirt, paint

GRASS: list[RGB] = [(0.09, 0.13, 0.03), (0.14, 0.16, 0.05), (0.2, 0.18, 0.08), (0.06, 0.1, 0.025)]


@dataclass
class Place:
    """A road's course and cross-section (m); `s` runs along it, `d` to the right of its middle."""

    road: str
    region: str
    side: int  # +1 drives on the right, -1 on the left
    lanes: int  # a direction
    width: float  # a lane
    bend: float  # 1/m
    rise: float
    shoulder: float
    night: bool = False
    autumn: bool = False
    lamps: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def half(self) -> float:
        """Half of the carriageway's width, with shoulders."""
        return self.lanes * self.width + self.shoulder + (1.2 if self.road == "motorway" else 0)

    def at(self, s: float, d: float, z: float = 0.0) -> tuple[float, float, float]:
        """World position of a point on or beside the road."""
        k = self.bend if abs(self.bend) > 1e-6 else 1e-6
        angle = k * s
        x = (1 - math.cos(angle)) / k + d * math.cos(angle)
        y = math.sin(angle) / k - d * math.sin(angle)
        return x, y, z + self.rise * (1 - math.cos(s / 45)) * 4

    def turn(self, s: float) -> float:
        """Heading at `s`: rotation about z in radians."""
        return -self.bend * s

    def lane(self, index: int, oncoming: bool = False) -> float:
        """Offset of a lane's middle; 0 is the lane nearest the road's middle."""
        gap = 1.2 if self.road == "motorway" else 0
        return (-1 if oncoming else 1) * self.side * (gap + (index + 0.5) * self.width)

    def put(
        self, mesh: bpy.types.Mesh, s: float, d: float, turn: float = 0.0, scale: float = 1.0, z: float = 0.0
    ) -> bpy.types.Object:
        """Place a mesh on the road's course; `turn` is relative to the driving direction."""
        thing = bpy.data.objects.new(mesh.name, mesh)
        thing.location = self.at(s, d, z)
        thing.rotation_euler = (0, 0, self.turn(s) + turn)
        thing.scale = (scale, scale, scale)
        bpy.context.scene.collection.objects.link(thing)
        return thing


def strip(
    place: Place,
    start: float,
    end: float,
    left: float,
    right: float,
    z: float,
    material: bpy.types.Material,
    step: float = 4.0,
) -> None:
    """Add a ribbon along the road between two offsets (m)."""
    shape = Shape()
    count = max(1, math.ceil((end - start) / step))
    for i in range(count):
        a, b = start + (end - start) * i / count, start + (end - start) * (i + 1) / count
        shape.face(
            [place.at(a, left, z), place.at(a, right, z), place.at(b, right, z), place.at(b, left, z)],
            material,
            [(left, a), (right, a), (right, b), (left, b)],
            smooth=True,
        )
    place_object = bpy.data.objects.new("strip", shape.mesh("strip"))
    bpy.context.scene.collection.objects.link(place_object)


def asphalt(rng: random.Random) -> bpy.types.Material:
    """Road surface whose wetness is set later through its named roughness node."""
    grey = rng.uniform(0.035, 0.13)
    material = bpy.data.materials.new("asphalt")
    material.use_nodes = True
    colour = (grey * rng.uniform(0.95, 1.1), grey, grey * rng.uniform(0.9, 1.05))
    dirt(material, colour, rng.choice([0.35, 0.8, 2.5]), rng.uniform(0.1, 0.3))
    tree = material.node_tree
    fine, mix = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeMix")
    fine.inputs["Scale"].default_value = 28
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs["Factor"].default_value = 0.55
    shader = tree.nodes["Principled BSDF"]
    source = shader.inputs["Base Color"].links[0].from_socket
    place = next(node for node in tree.nodes if node.type == "TEX_COORD")
    tree.links.new(place.outputs["Object"], fine.inputs["Vector"])
    tree.links.new(source, mix.inputs[6])
    tree.links.new(fine.outputs["Color"], mix.inputs[7])
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.9
    return material


def markings(place: Place, rng: random.Random) -> None:
    """Lane lines as the region paints them."""
    worn = rng.uniform(0.35, 0.8)
    white, yellow = paint((worn, worn, worn * 0.97), 0.7, grain=3), paint((worn, worn * 0.6, 0.05), 0.7, grain=3)
    middle = yellow if place.region == "us" or (place.region == "asia" and rng.random() < 0.4) else white
    gap = 1.2 if place.road == "motorway" else 0
    edge = gap + place.lanes * place.width
    if gap:
        for d in (-gap + 0.3, gap - 0.3):
            strip(place, -15, 160, d - 0.07, d + 0.07, 0.012, middle)
    elif rng.random() < 0.5:
        for d in (-0.12, 0.12):
            strip(place, -15, 130, d - 0.06, d + 0.06, 0.012, middle)
    else:
        _dashes(place, 0.0, middle)
    for index in range(1, place.lanes):
        for sign in (-1, 1):
            _dashes(place, sign * (gap + index * place.width), white)
    if place.shoulder > 0.2 or rng.random() < 0.5:
        for sign in (-1, 1):
            strip(place, -15, 150, sign * edge - 0.07, sign * edge + 0.07, 0.012, white)
    if place.road == "city" and rng.random() < 0.45:  # a crossing
        s = rng.uniform(7, 25)
        for i in range(int(2 * edge / 0.9)):
            d = -edge + 0.4 + i * 0.9
            strip(place, s, s + 3, d, d + 0.45, 0.014, white)


def _dashes(place: Place, d: float, material: bpy.types.Material) -> None:
    period, length = {"us": (12, 3), "eu": (9, 3), "asia": (10, 5)}[place.region]
    for i in range(-2, 12):
        strip(place, i * period, i * period + length, d - 0.06, d + 0.06, 0.013, material, 6)


def strip_wall(
    place: Place, d: float, top: float, material: bpy.types.Material, thickness: float, bottom: float = 0.0
) -> None:
    """Add an upright ribbon along the road: rails, walls, hedges."""
    shape = Shape()
    for i in range(-4, 38):
        a, b = i * 4.0, i * 4.0 + 4
        for edge in (-thickness / 2, thickness / 2):
            shape.face(
                [
                    place.at(a, d + edge, bottom),
                    place.at(b, d + edge, bottom),
                    place.at(b, d + edge, top),
                    place.at(a, d + edge, top),
                ],
                material,
            )
        shape.face(
            [
                place.at(a, d - thickness / 2, top),
                place.at(a, d + thickness / 2, top),
                place.at(b, d + thickness / 2, top),
                place.at(b, d - thickness / 2, top),
            ],
            material,
        )
    thing = bpy.data.objects.new("wall", shape.mesh("wall"))
    bpy.context.scene.collection.objects.link(thing)


def verges(place: Place, rng: random.Random) -> None:
    """Pavement and kerb in town, grass and fields outside, hills behind."""
    half = place.half
    grass = bpy.data.materials.new("grass")
    grass.use_nodes = True
    dirt(grass, rng.choice(GRASS), rng.choice([0.4, 1.2, 4.0]), 0.5)
    grass.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value = 1.0
    paved = paint(rng.choice([(0.28, 0.27, 0.25), (0.36, 0.33, 0.3), (0.2, 0.2, 0.2), (0.3, 0.2, 0.16)]), 0.95, grain=3)
    for sign in (-1, 1):
        inner, outer = sign * half, sign * (half + (4.5 if place.road == "city" else 1.8))
        low, high = min(inner, outer), max(inner, outer)
        if place.road in ("city", "suburb"):
            strip(place, -20, 150, low, high, 0.14, paved)
            strip_wall(place, inner, 0.14, paint((0.4, 0.4, 0.38), 0.9), 0.12)
        far = sign * 260
        start = outer if place.road in ("city", "suburb") else inner
        strip(place, -30, 420, min(start, far), max(start, far), 0.0 if place.road != "rural" else -0.04, grass, 12)
    if place.road in ("rural", "motorway"):
        for _ in range(rng.randint(2, 6)):
            shape = Shape()
            shape.ball(
                (0, 0, 0),
                (rng.uniform(60, 160), rng.uniform(40, 90), rng.uniform(8, 35)),
                paint(tuple(v * 0.8 for v in rng.choice(GRASS)), 1.0, grain=0.2),
                20,
            )
            thing = bpy.data.objects.new("hill", shape.mesh("hill"))
            thing.location = (rng.uniform(-260, 260), rng.uniform(260, 380), -4)
            bpy.context.scene.collection.objects.link(thing)
