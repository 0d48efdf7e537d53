"""Optical character recognition: the lines of text in a picture, with boxes and confidences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from minglm.images import rgb
from minglm.world.layout import CELL
from minglm.world.posters import Poster

READABLE_WIDTH = 384                         # pixels to which small pictures are upscaled for the OCR
MARGIN = 24  # pixels of background around a picture: detection is weak at edges


@dataclass(frozen=True)
class Found:
    """One line of text; score: the OCR's confidence, 0..1; box (x0, y0, x1, y1) in pixels."""

    text: str
    score: float
    box: tuple[float, float, float, float]


class Judge:
    """PP-OCR detection and recognition by RapidOCR, which brings the models. Raises ValueError without it."""

    def __init__(self, threads: int = 1):
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ValueError("reading posters needs OCR: pip install -e '.[ocr]'") from error
        self.engine = RapidOCR(params={
            "Global.log_level": "error", "Global.use_cls": False, "Global.text_score": 0.0,
            "Det.limit_type": "max", "Det.limit_side_len": 960,  # the default enlarges everything
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1})

    def read(self, image: Image.Image) -> list[Found]:
        """All lines of text in a picture, from top to bottom."""
        k = max(1, round(READABLE_WIDTH / image.width))
        ground = tuple(int(v) for v in np.median(np.asarray(rgb(image)).reshape(-1, 3), 0))
        large = ImageOps.expand(rgb(image), MARGIN, ground)
        large = large.resize((k * large.width, k * large.height), Image.Resampling.BICUBIC)
        # RapidOCR takes BGR
        result = self.engine(np.asarray(large)[:, :, ::-1].copy(), use_det=True, use_cls=False, use_rec=True)
        if getattr(result, "txts", None) is None:
            return []
        found = [Found(text, float(score), tuple(float(v) / k - MARGIN for v in (*box.min(0), *box.max(0))))
                 for text, score, box in zip(result.txts, result.scores, result.boxes)]
        return sorted(found, key=lambda f: (f.box[1], f.box[0]))

    def read_slots(self, image: Image.Image, poster: Poster) -> list[Found]:
        """The lines of a poster whose layout is known, each recognised where it stands, without detection."""
        found = []
        for _, line, letters in poster.lines:
            x0, x1, y = letters[0].x, letters[-1].x + letters[-1].width, letters[0].y
            box = (max(0, x0 - 4), max(0, y - 2), min(image.width, x1 + 4), min(image.height, y + CELL + 2))
            crop = rgb(image).crop(tuple(map(round, box)))
            large = crop.resize((4 * crop.width, 4 * crop.height), Image.Resampling.BICUBIC)
            result = self.engine(
                np.asarray(large)[:, :, ::-1].copy(), use_det=False, use_cls=False, use_rec=True
            )
            for text, score in zip(result.txts or (), result.scores or ()):
                found.append(Found(text, float(score), box))
        return found
