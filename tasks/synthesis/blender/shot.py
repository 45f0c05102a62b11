"""One picture: camera, render settings, the exact visible boxes, and the marks a dashcam leaves."""

from __future__ import annotations

import io
import math
import random
import tempfile
from pathlib import Path

import bpy
import numpy as np
from blender.street import Place
from blender.works import Item
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 400, 300  # px
SMALLEST = 3  # px a side; less is not a visible object


def prepare(samples: int) -> None:
    """Empty the scene and set the renderer up once a process."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_denoising, cycles.denoiser = "CPU", samples, True, "OPENIMAGEDENOISE"
    cycles.denoising_quality = cycles.denoising_prefilter = "FAST"
    cycles.use_adaptive_sampling = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transparent_max_bounces = 2, 1, 1, 4
    # ambient occlusion in place of the second bounce: a fifth less time, hard to tell at this size
    cycles.use_fast_gi, cycles.fast_gi_method, cycles.ao_bounces, cycles.ao_bounces_render = True, "REPLACE", 1, 1
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = WIDTH, HEIGHT, 100
    # kept from shot to shot, Cycles' data made the last picture of a place one of two, by chance, and saved no time
    scene.render.use_persistent_data = False
    layer = bpy.context.view_layer
    layer.use_pass_object_index = layer.use_pass_mist = True
    _compositor(scene)
    lens = bpy.data.cameras.new("camera")
    scene.camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(scene.camera)


def _compositor(scene: bpy.types.Scene) -> None:
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers, haze, out = (
        tree.nodes.new("CompositorNodeRLayers"),
        tree.nodes.new("CompositorNodeMixRGB"),
        tree.nodes.new("CompositorNodeComposite"),
    )
    haze.name = "haze"
    # the mist pass is 1 on the sky; of that the share `clear sky` is taken back, or haze would hide every sky
    sky, share, factor = (tree.nodes.new("CompositorNodeMath") for _ in range(3))
    sky.operation, share.operation, factor.operation = "GREATER_THAN", "MULTIPLY", "SUBTRACT"
    share.name = "clear sky"
    sky.inputs[1].default_value = 0.9985
    tree.links.new(layers.outputs["Mist"], sky.inputs[0])
    tree.links.new(sky.outputs[0], share.inputs[0])
    tree.links.new(layers.outputs["Mist"], factor.inputs[0])
    tree.links.new(share.outputs[0], factor.inputs[1])
    tree.links.new(factor.outputs[0], haze.inputs[0])
    tree.links.new(layers.outputs["Image"], haze.inputs[1])
    tree.links.new(haze.outputs[0], out.inputs[0])
    masks = tree.nodes.new("CompositorNodeOutputFile")
    masks.name = "masks"
    masks.format.file_format, masks.format.color_mode, masks.format.color_depth = "OPEN_EXR", "RGB", "32"
    tree.links.new(layers.outputs["IndexOB"], masks.inputs[0])


def aim(place: Place, rng: random.Random) -> None:
    """Put the camera into a car of some height, in some lane, a little askew."""
    camera = bpy.context.scene.camera
    lens = camera.data
    lens.sensor_width = 36
    lens.lens = rng.choice([18, 20, 22, 24, 26, 28, 32, 38])
    d = place.lane(rng.randrange(place.lanes)) + rng.uniform(-0.4, 0.4)
    camera.location = place.at(0, d, rng.choice([1.15, 1.25, 1.35, 1.45, 1.6, 2.3]) + rng.uniform(-0.05, 0.05))
    camera.rotation_euler = (
        math.radians(90 + rng.uniform(-6, 2.5)),
        math.radians(rng.gauss(0, 1.2)),
        math.radians(rng.gauss(0, 5)),
    )


def render(folder: Path) -> tuple[Image.Image, np.ndarray]:
    """Render the scene; returns the picture and the object indices, (HEIGHT, WIDTH) int."""
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        scene.node_tree.nodes["masks"].base_path = scratch
        scene.render.image_settings.file_format = "PNG"
        scene.render.filepath = str(Path(scratch) / "picture.png")
        bpy.ops.render.render(write_still=True)
        picture = Image.open(scene.render.filepath).convert("RGB")
        picture.load()
        file = next(Path(scratch).glob("*.exr"))
        image = bpy.data.images.load(str(file))
        pixels = np.empty(WIDTH * HEIGHT * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
    return picture, pixels.reshape(HEIGHT, WIDTH, -1)[::-1, :, 0].round().astype(int)


def boxes(items: list[Item], index: np.ndarray) -> list[dict[str, object]]:
    """Tight boxes, [x, y, width, height] in px, around the visible pixels of each item; the pixel count comes along."""
    found = []
    for item in items:
        rows, columns = np.nonzero(index == item.thing.pass_index)
        if len(rows) < 10:
            continue
        x, y = int(columns.min()), int(rows.min())
        width, height = int(columns.max()) - x + 1, int(rows.max()) - y + 1
        if min(width, height) >= SMALLEST:
            found.append({"category": item.category, "bbox": [x, y, width, height], "pixels": len(rows)})
    return found


def dashcam(picture: Image.Image, rng: random.Random, weather: str) -> bytes:
    """Add what the lens, the sensor, the bonnet and the codec do; returns JPEG bytes."""
    noise = np.random.default_rng(rng.randrange(2**32))
    if weather == "wet" and rng.random() < 0.5:
        picture = _drops(picture, rng)
    if rng.random() < 0.35:
        picture = _bonnet(picture, rng)
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    pixels = np.asarray(picture, np.float32)
    pixels *= np.array([rng.uniform(0.9, 1.1), rng.uniform(0.95, 1.05), rng.uniform(0.88, 1.12)], np.float32)
    pixels = (pixels - 128) * rng.uniform(0.8, 1.12) + 128 + rng.uniform(-10, 14)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    pixels *= (1 - rng.uniform(0, 0.3) * (x**2 + y**2)[..., None] / 2).astype(np.float32)
    pixels += noise.normal(0, rng.uniform(0.5, 5), pixels.shape) + noise.normal(
        0, rng.uniform(0.5, 3), (*pixels.shape[:2], 1)
    )
    target = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target, "JPEG", quality=rng.randint(58, 88))
    return target.getvalue()


def _bonnet(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Cover the lowest rows with our own bonnet or dashboard; works never begin as low as that."""
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    top, shade = rng.uniform(0.91, 0.97) * HEIGHT, rng.randint(8, 70)
    draw.ellipse(
        (-WIDTH * rng.uniform(0.1, 0.5), top, WIDTH * rng.uniform(1.1, 1.5), HEIGHT * 1.25),
        fill=(shade, shade, shade + rng.randint(0, 8), 255),
    )
    return Image.alpha_composite(picture.convert("RGBA"), layer.filter(ImageFilter.GaussianBlur(1.2))).convert("RGB")


def _drops(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Blurred drops on the windscreen."""
    mask = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.randint(15, 90)):
        x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(1, 6)
        draw.ellipse((x - r, y - r * 1.2, x + r, y + r * 1.2), fill=rng.randint(90, 230))
    soft = (
        picture.filter(ImageFilter.GaussianBlur(4))
        .transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        .filter(ImageFilter.GaussianBlur(3))
    )
    return Image.composite(
        Image.blend(picture.filter(ImageFilter.GaussianBlur(3)), soft, 0.4),
        picture,
        mask.filter(ImageFilter.GaussianBlur(0.8)),
    )
