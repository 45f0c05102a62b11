"""Time of day and weather: sky, sun, street lamps, wet road, fog."""

from __future__ import annotations

import math
import random

import bpy
from blender.street import Place

TIMES = ("noon", "low_sun", "dusk", "night")
WEATHERS = ("clear", "overcast", "wet", "fog")


def set_light(place: Place, rng: random.Random, time: str, weather: str) -> None:
    """Replace sky, sun, lamps, wetness and mist of the scene."""
    for thing in [thing for thing in bpy.data.objects if thing.type == "LIGHT"]:
        bpy.data.objects.remove(thing)
    _sky(rng, time, weather)
    if time in ("dusk", "night"):
        _lamps(place, rng)
        _headlights(rng, 1.0 if time == "night" else 0.25)
    _wetness(rng, weather)
    _mist(rng, time, weather)
    view = bpy.context.scene.view_settings
    view.view_transform = rng.choice(["AgX", "AgX", "Filmic", "Standard"])
    view.exposure = (
        {"noon": 0.5, "low_sun": 0.8, "dusk": 1.1, "night": 1.5}[time]
        + rng.uniform(-0.5, 0.5)
        - (0.7 if view.view_transform == "Standard" else 0.0)
    )


def _sky(rng: random.Random, time: str, weather: str) -> None:
    world = bpy.context.scene.world or bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    # the importance map of the sky costs seconds at its automatic size and nothing at this one
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 128
    tree = world.node_tree
    tree.nodes.clear()
    output, background = tree.nodes.new("ShaderNodeOutputWorld"), tree.nodes.new("ShaderNodeBackground")
    tree.links.new(background.outputs[0], output.inputs[0])
    if time == "night":
        glow = rng.uniform(0.004, 0.02)
        background.inputs[0].default_value = (glow, glow * 0.95, glow * rng.uniform(1.0, 1.6), 1)
        return
    direction = rng.uniform(0, 2 * math.pi)
    elevation = math.radians(
        {"noon": rng.uniform(28, 65), "low_sun": rng.uniform(5, 14), "dusk": rng.uniform(-1, 2)}[time]
    )
    grey = weather in ("overcast", "wet", "fog")
    sky = tree.nodes.new("ShaderNodeTexSky")
    sky.sky_type = "NISHITA"
    sky.sun_disc = False
    sky.sun_elevation, sky.sun_rotation = max(elevation, 0.01), direction
    sky.air_density, sky.dust_density = rng.uniform(0.8, 1.8), rng.uniform(0.5, 5)
    _clouds(tree, sky, background, rng, grey, time)
    background.inputs[1].default_value = {"noon": 0.11, "low_sun": 0.16, "dusk": 0.35}[time] * rng.uniform(0.8, 1.25)
    if time == "dusk":
        return
    lamp = bpy.data.lights.new("sun", "SUN")
    lamp.energy = (rng.uniform(3.5, 6) if time == "noon" else rng.uniform(3, 4.5)) * (0.12 if grey else 1.0)
    lamp.angle = math.radians(12 if grey else 0.6)
    lamp.color = (1, 0.96, 0.9) if time == "noon" else (1, 0.72, 0.45)
    thing = bpy.data.objects.new("sun", lamp)
    # Nishita's sun stands at `direction` from +y towards +x; a lamp shines down its -z axis
    thing.rotation_euler = (math.pi / 2 - elevation, 0, math.pi - direction)
    bpy.context.scene.collection.objects.link(thing)


def _clouds(
    tree: bpy.types.NodeTree, sky: bpy.types.Node, background: bpy.types.Node, rng: random.Random, grey: bool, time: str
) -> None:
    """Mix noise-shaped clouds into the sky; an overcast sky is all cloud."""
    place, noise, ramp, mix, stretch = (
        tree.nodes.new(kind)
        for kind in (
            "ShaderNodeTexCoord",
            "ShaderNodeTexNoise",
            "ShaderNodeValToRGB",
            "ShaderNodeMix",
            "ShaderNodeMapping",
        )
    )
    stretch.inputs["Scale"].default_value = (1, 1, rng.uniform(2.5, 5))
    stretch.inputs["Location"].default_value = (rng.uniform(0, 50), rng.uniform(0, 50), 0)
    noise.inputs["Scale"].default_value = rng.uniform(1.5, 3.5)
    noise.inputs["Detail"].default_value = 3
    cover = rng.uniform(0.52, 0.66)
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = cover - 0.06, cover + 0.12
    if grey:
        ramp.color_ramp.elements[0].color = (0.75, 0.75, 0.75, 1)
    light = {"noon": rng.uniform(5, 8), "low_sun": rng.uniform(2.5, 4), "dusk": rng.uniform(0.4, 0.9)}[time] * (
        0.8 if grey else 1
    )
    tint = (1, 1, 1.03) if time == "noon" or grey else (1, 0.8, 0.66)
    mix.data_type = "RGBA"
    mix.inputs[7].default_value = (*(light * value for value in tint), 1)
    tree.links.new(place.outputs["Generated"], stretch.inputs["Vector"])
    tree.links.new(stretch.outputs["Vector"], noise.inputs["Vector"])
    tree.links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], mix.inputs["Factor"])
    tree.links.new(sky.outputs[0], mix.inputs[6])
    tree.links.new(mix.outputs[2], background.inputs[0])


def _lamps(place: Place, rng: random.Random) -> None:
    colour = rng.choice([(1, 0.62, 0.28), (1, 0.85, 0.65), (0.9, 0.95, 1)])
    spots = place.lamps or [place.at(s, rng.choice([-1, 1]) * (place.half + 1), 7.0) for s in range(10, 60, 28)]
    for position in spots[:6]:
        lamp = bpy.data.lights.new("lamp", "SPOT")
        lamp.energy, lamp.color, lamp.spot_size, lamp.spot_blend, lamp.shadow_soft_size = (
            900 * rng.uniform(0.6, 1.4),
            colour,
            2.5,
            0.6,
            0.25,
        )
        thing = bpy.data.objects.new("lamp", lamp)
        thing.location = position
        bpy.context.scene.collection.objects.link(thing)


def _headlights(rng: random.Random, strength: float) -> None:
    """Our own headlights, beside the camera."""
    camera = bpy.context.scene.camera
    for x in (-0.6, 0.6):
        lamp = bpy.data.lights.new("headlight", "SPOT")
        lamp.energy, lamp.spot_size, lamp.spot_blend, lamp.shadow_soft_size = (
            1500 * strength * rng.uniform(0.7, 1.3),
            0.85,
            0.7,
            0.08,
        )
        lamp.color = rng.choice([(1, 0.93, 0.8), (0.92, 0.96, 1)])
        thing = bpy.data.objects.new("headlight", lamp)
        thing.location = (camera.location.x + x, camera.location.y + 0.3, camera.location.z - 0.55)
        thing.rotation_euler = (math.radians(88), 0, camera.rotation_euler[2] * 0.5)
        bpy.context.scene.collection.objects.link(thing)


def _wetness(rng: random.Random, weather: str) -> None:
    for material in bpy.data.materials:
        if material.name.startswith("asphalt"):
            shader = material.node_tree.nodes["Principled BSDF"]
            shader.inputs["Roughness"].default_value = (
                rng.uniform(0.1, 0.28) if weather == "wet" else rng.uniform(0.75, 0.95)
            )
            shader.inputs["Specular IOR Level"].default_value = 0.6 if weather == "wet" else 0.3


def _mist(rng: random.Random, time: str, weather: str) -> None:
    """Aerial haze always, fog when asked: the compositor blends by the mist pass."""
    mist = bpy.context.scene.world.mist_settings
    mist.start, mist.falloff = 2, "LINEAR"
    mist.depth = rng.uniform(55, 110) if weather == "fog" else rng.uniform(500, 1500)
    level = {"noon": 0.62, "low_sun": 0.5, "dusk": 0.1, "night": 0.012}[time]
    colour = (level, level, level * 1.04) if time != "low_sun" else (level, level * 0.86, level * 0.72)
    nodes = bpy.context.scene.node_tree.nodes
    nodes["haze"].inputs[2].default_value = (*colour, 1)
    nodes["clear sky"].inputs[1].default_value = rng.uniform(0.0, 0.25) if weather == "fog" else rng.uniform(0.85, 1.0)
