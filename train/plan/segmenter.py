"""SAM and DAM in numbers: what the frozen encoder needs for a moment, and what the trained decoder keeps.

Shape legend: I images, N prompts, S side of SAM's input, E cells a side, C channels, H encoder heads, W encoder width,
e bytes of a number of the forward pass. A unit u is one C × E × E tensor of one prompt.

Where the encoder's attention is explicit (eager), it builds scores of all cells with all cells and adds relative
positions to them: at its peak the scores in the number format of the forward pass stand beside the softmax's input and
output in float32. Where it is fused (sdpa) no scores are built: relative positions are 2 E further channels of every
head's q and k, and of v, which is padded to match.

The decoder keeps, of each prompt:
    two-way layers   2 × (u (3 e + 4) + u/2 × 4 e)   inputs of k, v, q and norm; k, v, q, result (half width)
                     + attention to and from 6 tokens
    last attention   u × 2 e + u/2 × 2 e
    upscaling        u × (9 e + 4)                   two transposed convolutions, a norm, two GELUs, the product
    loss             6 × (4 E)² × 4                  float32 logits, targets and their products
DAM keeps u × (5 e + 4), and of its text tokens (2 e + 4) a number.
"""

from __future__ import annotations

from dataclasses import dataclass

PROMPT_TOKENS = 6  # one quality token, four mask tokens, the [SEG] prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmenter:
    """Sizes of SAM and DAM.

    Attributes:
        cells: E.
        width: W.
        depth: Encoder layers.
        heads: H.
        window: Side of a window in cells; 0 where all layers attend globally.
        global_layers: Encoder layers with global attention.
        relative: Whether relative positions are added to the attention scores.
        fused: Whether the scores are never built.
        matrices: Parameters of the encoder's matrices.
        channels: C.
        decoder_heads: Heads of the decoder's attention.
        decoder_matrices: Parameters of the decoder's matrices.
        dam: Whether there is a DAM.
        text_width: Width of the language model, whose states DAM reads.
        encoder_trained: Whether the encoder (or an adapter in it) is trained.
        bytes_each: Bytes of one of its weights.
    """

    cells: int
    width: int
    depth: int
    heads: int
    window: int
    global_layers: int
    relative: bool
    fused: bool
    matrices: int
    channels: int
    decoder_heads: int
    decoder_matrices: int
    dam: bool
    text_width: int
    encoder_trained: bool
    bytes_each: int = 4

    def encoder_working(self, images: int, number: int) -> int:
        """Bytes alive at the frozen encoder's peak: its attention's, beside the tensors of a layer's MLP."""
        mlp = self.cells**2 * self.width * (2 * 4 * number + 2 * number)
        if self.fused:
            places = 2 * self.cells if self.relative else 0
            heads = (
                4 * (self.width + self.heads * places) + 2 * self.heads * places
            )  # q, k, v, result; the biases twice
            attention = self.cells**2 * number * (heads + 2 * self.width)  # and what q, k and v were made from
            return images * max(attention, mlp)
        scores = self.heads * self.cells**4
        softmax = (number + 8 if number < 4 else 8) * scores
        adding = (3 if self.relative else 1) * number * scores
        return images * (max(softmax, adding) + mlp)

    def encoder_saved(self, images: int, number: int) -> int:
        """Bytes that the encoder keeps where it is trained: norms, q, k, v, results, MLP and explicit attention."""
        if not self.encoder_trained:
            return 0
        layer = self.cells**2 * self.width * (2 * 4 + 4 * number + 4 * number + 2 * number)
        scores = 0 if self.fused else self.heads * (number + 4)
        wide = self.global_layers * scores * self.cells**4
        narrow = (self.depth - self.global_layers) * scores * self.cells**2 * self.window**2
        return images * (self.depth * layer + wide + narrow)

    def decoder_saved(self, prompts: int, text_tokens: int, number: int) -> int:
        """Bytes that decoder, DAM and loss keep.

        Args:
            prompts: N.
            text_tokens: Tokens of one prompt that DAM reads, padding and image included.
            number: e.
        """
        unit = self.channels * self.cells**2
        attention = PROMPT_TOKENS * self.decoder_heads * self.cells**2 * (4 + number)
        layers = 2 * (unit * (3 * number + 4) + unit // 2 * 4 * number + 2 * attention)
        last = unit * 2 * number + unit // 2 * 2 * number + attention
        upscaling = unit * (9 * number + 4)
        loss = 6 * (4 * self.cells) ** 2 * 4
        dam = (unit * (5 * number + 4) + text_tokens * self.text_width * (2 * number + 4)) if self.dam else 0
        return prompts * (layers + last + upscaling + loss + dam)

    def encoder_flops(self) -> float:
        """Operations of the encoder for one image; windows that do not fill the grid are padded."""
        tokens = self.cells**2
        total = 2.0 * self.matrices * tokens
        total += 4.0 * self.global_layers * tokens * tokens * self.width
        local = self.depth - self.global_layers
        if local and self.window:
            padded = (-(-self.cells // self.window) * self.window) ** 2
            total += 4.0 * local * padded * self.window**2 * self.width
            total += 2.0 * local * 4 * self.width**2 * (padded - tokens)
        return total

    def decoder_flops(self) -> float:
        """Operations of decoder and DAM for one prompt, forward."""
        cells, channels = self.cells**2, self.channels
        attention = 2.0 * channels * channels // 2 * cells * 2  # two projections of the cells to half the width
        layers = 2 * (attention + attention) + attention
        upscaling = 2.0 * cells * channels * channels + 2.0 * 4 * cells * channels // 4 * channels // 8 * 4
        dam = 2.0 * 2 * channels * channels * cells if self.dam else 0.0
        return layers + upscaling + dam
