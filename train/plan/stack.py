"""A stack of transformer layers in numbers: what it saves for the backward pass, and how many operations it takes.

Shape legend: T tokens of all rows together, L tokens of one row, D width, Q width of all query heads, F feed-forward
width, e bytes of a number of the forward pass.

What autograd keeps of one layer whose weights are frozen (their own gradients need no inputs, so only the inputs of
the adapters, of the non-linear operations and of attention stay):

    two norms        2 × T D × 4     the float32 copy that each of them squares
    attention        4 × T Q × e     queries, keys and values (repeated to the number of query heads), the result
    gated MLP        3 × T F × e     gate, silu(gate), up         (plain MLP: 1 × T F × e)
    LoRA             T × inputs × e  the input of each adapted matrix (in float32 shared by q, k, v and by gate, up;
                                     a mixed forward casts it once for each), with dropout a mask of one byte more
                     T × ranks × e   what enters the second of its two matrices

Attention is assumed to be fused (SDPA or flash): no L × L matrix is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Sizes of a stack of layers.

    Attributes:
        layers: Number of layers.
        width: D.
        query: Q.
        heads: Attention heads.
        mlp: F.
        gated: Whether the MLP has a gate.
        matrices: Parameters of all its matrices: each multiplies and adds once a token.
        adapted: Inputs of all adapted matrices together, over all layers.
        adapted_shared: The same, where matrices with a common input count once.
        ranks: Ranks of all adapters together.
        dropout: Whether the adapters drop inputs.
    """

    layers: int
    width: int
    query: int
    heads: int
    mlp: int
    gated: bool
    matrices: int
    adapted: int = 0
    adapted_shared: int = 0
    ranks: int = 0
    dropout: bool = False

    def saved(self, tokens: int, number: int, *, mask: int = 1) -> int:
        """Bytes kept for the backward pass without gradient checkpointing.

        Args:
            tokens: T.
            number: e, 2 or 4.
            mask: Bytes of a number of the dropout's mask: 1 on a GPU; a CPU keeps it in float32.
        """
        layer = 2 * self.width * 4 + 4 * self.query * number + 4 * self.heads
        layer += (3 if self.gated else 1) * self.mlp * number
        inputs = self.adapted if number < 4 or self.dropout else self.adapted_shared
        lora = inputs * (number + mask * self.dropout) + self.ranks * number
        return tokens * (self.layers * layer + lora)

    def saved_with_checkpointing(self, tokens: int, number: int, weights: int) -> int:
        """Bytes kept with gradient checkpointing: the input of each layer, and one layer while it runs again.

        Args:
            tokens: T.
            number: e.
            weights: Bytes of a weight, whose format the layers' inputs have.
        """
        return tokens * self.layers * self.width * weights + self.one_layer().saved(tokens, number)

    def one_layer(self) -> Stack:
        """A stack of one of these layers."""
        share = {
            name: getattr(self, name) // self.layers for name in ("matrices", "adapted", "adapted_shared", "ranks")
        }
        return replace(self, layers=1, **share)

    def working(self, tokens: int, number: int) -> int:
        """Bytes of the gradients and results that are alive while one layer runs forward or backward."""
        return tokens * (2 * self.mlp + 4 * self.width) * number

    def flops(self, tokens: int, length: int) -> float:
        """Floating-point operations of a forward pass; attention counts in full, as fused kernels mostly run it.

        Args:
            tokens: T.
            length: L.
        """
        return 2.0 * self.matrices * tokens + 4.0 * self.layers * tokens * length * self.query
