"""Image helpers over ``mxnet.image``, imported when first called."""

from __future__ import annotations

from typing import Any

from modelyard_instance.inference.engines import need

_WHO = "mms.utils.mxnet.image"


def read(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> Any:
    """Decode an image file's bytes (or file-like) into an array of height, width, channel."""
    content = buf.read() if hasattr(buf, "read") else buf
    return need("mxnet", _WHO).image.imdecode(content, flag=flag, to_rgb=to_rgb, out=out)


def resize(src: Any, new_width: int, new_height: int, interp: int = 2) -> Any:
    """Scale to ``new_width`` by ``new_height`` pixels."""
    return need("mxnet", _WHO).image.imresize(src, new_width, new_height, interp=interp)


def fixed_crop(
    src: Any,
    x0: int,
    y0: int,
    w: int,
    h: int,
    size: tuple[int, int] | None = None,
    interp: int = 2,
) -> Any:
    """Cut out ``w`` by ``h`` pixels at ``x0``, ``y0``, then scale to ``size``."""
    return need("mxnet", _WHO).image.fixed_crop(src, x0, y0, w, h, size=size, interp=interp)


def color_normalize(src: Any, mean: Any, std: Any = None) -> Any:
    """Subtract ``mean`` and divide by ``std``, channel by channel."""
    return need("mxnet", _WHO).image.color_normalize(src, mean, std)


def transform_shape(img_arr: Any, dim_order: str = "NCHW") -> Any:
    """From height, width, channel to ``dim_order`` with a leading batch axis."""
    mxnet = need("mxnet", _WHO)
    if dim_order not in ("NCHW", "NHWC"):
        raise ValueError(f"dim_order is NCHW or NHWC, not {dim_order!r}")
    if dim_order == "NCHW":
        img_arr = mxnet.nd.transpose(img_arr, (2, 0, 1))
    return mxnet.nd.expand_dims(img_arr, axis=0)
