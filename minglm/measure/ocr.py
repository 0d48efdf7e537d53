"""Optical character recognition: the lines of text in a picture, with boxes and confidences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from minglm.images import rgb

READABLE_WIDTH = 256                         # pixels to which small pictures are upscaled for the OCR


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
        large = rgb(image).resize((k * image.width, k * image.height), Image.Resampling.BICUBIC)
        # RapidOCR takes BGR
        result = self.engine(np.asarray(large)[:, :, ::-1].copy(), use_det=True, use_cls=False, use_rec=True)
        if getattr(result, "txts", None) is None:
            return []
        found = [Found(text, float(score), tuple(float(v) / k for v in (*box.min(0), *box.max(0))))
                 for text, score, box in zip(result.txts, result.scores, result.boxes)]
        return sorted(found, key=lambda f: (f.box[1], f.box[0]))
