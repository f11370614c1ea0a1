"""The peer of the transformer benches: the same decoder in plain PyTorch, with a cache.

It takes its weights from a `kerasaid.transformers.TransformerLanguageModel` with learned
positions, so that both are known to compute the same.
"""


def decoder(model):
    """Return a PyTorch module that computes what a TransformerLanguageModel computes.

    Its call takes tokens (batch, length), and perhaps the caches of `empty_caches(batch)`, which
    it fills in place, and how many tokens came before; it returns the logits.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    width, heads, length = model.hidden_dim, model.num_heads, model.sequence_length

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.expand = nn.Linear(width, model.intermediate_dim)
            self.contract = nn.Linear(model.intermediate_dim, width)

        def forward(self, x, cache=None, done=0):
            batch, new, _ = x.shape
            split = self.qkv(self.norm_1(x)).view(batch, new, 3, heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            if cache is not None:
                for old, part in zip(cache, (key, value)):
                    old[:, :, done : done + new] = part
                key, value = (old[:, :, : done + new] for old in cache)
            y = functional.scaled_dot_product_attention(query, key, value, is_causal=new > 1)
            x = x + self.out(y.transpose(1, 2).reshape(batch, new, width))
            return x + self.contract(functional.gelu(self.expand(self.norm_2(x))))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(model.vocabulary_size, width)
            self.position = nn.Embedding(length, width)
            self.blocks = nn.ModuleList(Block() for _ in range(model.num_layers))
            self.norm = nn.LayerNorm(width)

        def forward(self, tokens, caches=None, done=0):
            x = self.embedding(tokens) + self.position.weight[done : done + tokens.shape[1]]
            for number, block in enumerate(self.blocks):
                x = block(x, caches and caches[number], done)
            return functional.linear(self.norm(x), self.embedding.weight)

        def empty_caches(self, batch):
            shape = (batch, heads, length, width // heads)
            return [(torch.zeros(shape), torch.zeros(shape)) for _ in self.blocks]

    peer = Decoder()
    _copy(model, peer, width)
    return peer


def _copy(model, peer, width):
    import torch

    def put(parameters, values):
        for parameter, value in zip(parameters, values, strict=True):
            value = torch.tensor(value)
            assert parameter.shape == value.shape, (parameter.shape, value.shape)
            with torch.no_grad():
                parameter.copy_(value)

    def put_dense(linear, weights):
        kernel, bias = weights
        put((linear.weight, linear.bias), (kernel.reshape(-1, bias.size).T, bias.ravel()))

    put([peer.embedding.weight], model.embedding.get_weights())
    put([peer.position.weight], model.position.get_weights())
    put((peer.norm.weight, peer.norm.bias), model.norm.get_weights())
    for theirs, ours in zip(peer.blocks, model.blocks):
        put((theirs.norm_1.weight, theirs.norm_1.bias), ours.attention_norm.get_weights())
        put((theirs.norm_2.weight, theirs.norm_2.bias), ours.dense_norm.get_weights())
        *projections, kernel, bias = ours.attention.get_weights()
        for number in range(3):
            rows = slice(number * width, (number + 1) * width)
            weight, offset = projections[2 * number : 2 * number + 2]
            put(
                (theirs.qkv.weight[rows], theirs.qkv.bias[rows]),
                (weight.reshape(width, width).T, offset.ravel()),
            )
        put_dense(theirs.out, (kernel, bias))
        put_dense(theirs.expand, ours.expand.get_weights())
        put_dense(theirs.contract, ours.contract.get_weights())
