"""The canvas on which a person draws where a defect is: the photo, the mask as it was, and a pen.

It is plain HTML of our own, for Gradio's editor draws by WebGL, which takes minutes on a machine without a GPU.
"""

from __future__ import annotations

import base64
import binascii

import cv2
import numpy as np

from data.errors import UserError
from data.sample import ImageArray, MaskArray
from eval.assistant.views import shrink
from models.contour import RED

LONGEST = 1 << 25  # characters of a drawing
HEAD = "data:image/png;base64,"

ON_LOAD = """
let last = null;
const at = (canvas, event) => {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};
const draw = (canvas, event) => {
  const pen = canvas.getContext('2d'), next = at(canvas, event), tool = element.querySelector('.erase');
  pen.globalCompositeOperation = tool.checked ? 'destination-out' : 'source-over';
  pen.strokeStyle = 'rgb(230,30,40)';
  pen.lineCap = 'round';
  pen.lineWidth = element.querySelector('.width').value * canvas.width / canvas.getBoundingClientRect().width;
  pen.beginPath();
  pen.moveTo(...(last || next));
  pen.lineTo(...next);
  pen.stroke();
  last = next;
};
element.addEventListener('load', event => {
  if (event.target.matches('.before')) element.querySelector('canvas').getContext('2d').drawImage(event.target, 0, 0);
}, true);
element.addEventListener('pointerdown', event => {
  if (!event.target.matches('canvas')) return;
  event.target.setPointerCapture(event.pointerId);
  last = null;
  draw(event.target, event);
});
element.addEventListener('pointermove', event => { if (last && event.buttons) draw(event.target, event); });
element.addEventListener('pointerup', () => { last = null; });
"""

ON_SAVE = """(...values) => {
  const canvas = document.querySelector('#canvas canvas');
  return [...values.slice(0, -1), canvas ? canvas.toDataURL('image/png') : ''];
}"""


def draw_canvas(picture: ImageArray, mask: MaskArray) -> str:
    """The canvas as HTML.

    Args:
        picture: What is drawn on, (h, w, 3) uint8 RGB.
        mask: What is drawn already, (H, W) bool at the photo's size.
    """
    height, width = picture.shape[:2]
    before = np.zeros((height, width, 4), np.uint8)
    before[shrink(mask, (width, height))] = (*RED[::-1], 255)
    shown = base64.b64encode(cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()).decode()
    drawn = base64.b64encode(cv2.imencode(".png", before)[1].tobytes()).decode()
    return (
        f"<div class='paper'><img alt='the photo' src='data:image/jpeg;base64,{shown}'>"
        f"<canvas width='{width}' height='{height}'></canvas>"
        f"<img class='before' hidden alt='' src='{HEAD}{drawn}'></div>"
        "<p><label>Pen <input class='width' type='range' min='2' max='60' value='14'></label> "
        "<label><input class='erase' type='checkbox'> Erase</label></p>"
    )


def read_drawing(sent: str, size: tuple[int, int]) -> MaskArray:
    """What was drawn, at the photo's size.

    Args:
        sent: The canvas as the browser sends it: a PNG file whose opaque pixels were drawn, as a data URL.
        size: (height, width) of the photo.

    Raises:
        UserError: If it is no such thing.
    """
    try:
        if not sent.startswith(HEAD) or len(sent) > LONGEST:
            raise ValueError("it is no PNG, or a very large one")
        content = np.frombuffer(base64.b64decode(sent.removeprefix(HEAD), validate=True), np.uint8)
        layer = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if layer is None or layer.ndim != 3 or layer.shape[2] != 4:
            raise ValueError("it does not decode")
    except (ValueError, binascii.Error, cv2.error) as error:
        raise UserError(f"The drawing did not arrive ({error}). Open the mask again, and draw once more.") from error
    opaque = (layer[..., 3] > 127).astype(np.uint8)
    return np.asarray(cv2.resize(opaque, size[::-1], interpolation=cv2.INTER_NEAREST) > 0)
