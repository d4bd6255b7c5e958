"""Codes of discrete tokens (van den Oord et al., 2017): an objective that rounds codes to a codebook, and a prior of its tokens."""

from aepipe import hookimpl


@hookimpl
def register_objectives(register):
    register(codebook)


@hookimpl
def register_densities(register):
    register(chain)


def codebook(latent, *, size: int = 16, width: int = 2, commitment: float = 0.25):
    """Every `width` numbers of a code are one of `size` vectors, which are learned.

    size: vectors in the codebook
    width: numbers in each
    commitment: weight of the distance that the encoder keeps from the vectors
    """
    import torch
    from torch import nn

    if latent % width:
        raise ValueError(f"a code of {latent} numbers is no whole number of tokens of {width}")

    class Codebook(nn.Module):
        features_per_latent = 1

        def __init__(self):
            super().__init__()
            self.vectors = nn.Parameter(torch.randn(size, width))

        def code(self, features):
            parts = features.reshape(-1, latent // width, width)
            nearest = (parts[:, :, None] - self.vectors).square().sum(3).argmin(2)
            return self.vectors[nearest].reshape(features.shape)

        def losses(self, features, decode, target):
            code = self.code(features)
            error = (decode(features + (code - features).detach()) - target).square().sum() / len(target)
            pull = (code - features.detach()).square().sum() + commitment * (code.detach() - features).square().sum()
            return {"loss": error + pull / len(target), "error": error}

    return Codebook()


def chain(latent, *, width: int = 2, size: int = 16):
    """How often a token follows another: a Markov chain along the code.

    width: numbers in each token
    size: the most different tokens
    """
    import torch
    from torch import nn

    if latent % width:
        raise ValueError(f"a code of {latent} numbers is no whole number of tokens of {width}")
    places = latent // width

    class Chain(nn.Module):
        noise_features = places  # one number for each token
        discrete = True  # log_prob is the logarithm of a probability

        def __init__(self):
            super().__init__()
            self.register_buffer("vectors", torch.zeros(size, width))
            self.register_buffer(
                "rates", torch.full((places, size, size), 1 / size)
            )  # of a token after another, by place

        def fit(self, codes):
            found, tokens = codes.reshape(-1, width).unique(dim=0, return_inverse=True)
            if len(found) > size:
                raise ValueError(f"the codes have {len(found)} tokens, more than {size}: train with objective codebook")
            self.vectors[: len(found)] = found
            tokens = tokens.reshape(-1, places)
            before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)  # the first one follows token 0
            for place in range(places):
                counts = torch.full((size, size), 0.01)
                counts.index_put_((before[:, place], tokens[:, place]), torch.ones(len(tokens)), accumulate=True)
                counts[:, len(found) :] = 0
                self.rates[place] = counts / counts.sum(1, keepdim=True)

        def sample(self, noise):
            uniform = 0.5 * (1 + torch.erf(noise / 2**0.5))
            token, chosen = torch.zeros_like(noise[:, 0], dtype=torch.int64), []
            for place in range(places):
                steps = self.rates[place][token].cumsum(1)
                token = (uniform[:, place, None] > steps).sum(1).clamp(max=size - 1)
                chosen.append(self.vectors[token])
            return torch.cat(chosen, 1)

        def log_prob(self, codes):
            parts = codes.reshape(-1, places, width)
            tokens = (parts[:, :, None] - self.vectors).square().sum(3).argmin(2)
            before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
            rates = torch.stack([self.rates[place][before[:, place], tokens[:, place]] for place in range(places)], 1)
            return rates.clamp(min=1e-9).log().sum(1)

    return Chain()
