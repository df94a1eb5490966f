"""A reverse-mode tape over float64 NumPy arrays."""

import numpy as np


class Tensor:
    """A float64 array, and how its gradient goes back to its parents.

    parents: pairs (tensor, vjp); vjp maps this tensor's gradient to that of
    the parent, up to the sum over broadcast axes.
    """

    tape = []  # all tensors of the current case, in order of creation
    __array_ufunc__ = None  # let "array * tensor" reach Tensor.__rmul__

    def __init__(self, value, *parents):
        self.value = np.asarray(value, np.float64)
        self.shape = self.value.shape
        self.grad = np.zeros(self.shape)
        self.parents = parents
        Tensor.tape.append(self)

    def __add__(self, other):
        other = lift(other)
        return Tensor(self.value + other.value,
                      (self, lambda d: d), (other, lambda d: d))

    def __mul__(self, other):
        other = lift(other)
        return Tensor(self.value * other.value,
                      (self, lambda d: d * other.value),
                      (other, lambda d: d * self.value))

    def __matmul__(self, other):
        other = lift(other)
        return Tensor(self.value @ other.value,
                      (self, lambda d: d @ other.value.swapaxes(-1, -2)),
                      (other, lambda d: self.value.swapaxes(-1, -2) @ d))

    def __pow__(self, p):
        return Tensor(self.value**p,
                      (self, lambda d: d * p * self.value**(p - 1)))

    def __getitem__(self, index):
        def vjp(d):
            grad = np.zeros(self.shape)
            np.add.at(grad, index, d)
            return grad
        return Tensor(self.value[index], (self, vjp))

    def __sub__(self, other):
        return self + lift(other) * -1.0

    def __rsub__(self, other):
        return self * -1.0 + other

    __radd__ = __add__
    __rmul__ = __mul__

    def reshape(self, *shape):
        return Tensor(self.value.reshape(shape),
                      (self, lambda d: d.reshape(self.shape)))

    def swap(self, i=-1, j=-2):
        return Tensor(self.value.swapaxes(i, j),
                      (self, lambda d: d.swapaxes(i, j)))

    def sum(self, axis):
        """Sum over one axis, which stays with length 1."""
        return Tensor(self.value.sum(axis, keepdims=True),
                      (self, lambda d: np.broadcast_to(d, self.shape)))

    def mean(self):
        """Mean over the last axis, which stays with length 1."""
        return self.sum(-1) * (1 / self.shape[-1])

    def backward(self, cotangent):
        """Fills grad in every tensor that this one was computed from."""
        self.grad += cotangent
        for tensor in reversed(Tensor.tape):
            for parent, vjp in tensor.parents:
                parent.grad += unbroadcast(vjp(tensor.grad), parent.shape)


def lift(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def unbroadcast(grad, shape):
    grad = grad.sum(tuple(range(grad.ndim - len(shape))))
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    return grad.sum(ones, keepdims=True)


def tanh(x):
    t = np.tanh(x.value)
    return Tensor(t, (x, lambda d: d * (1 - t * t)))


def sigmoid(x):
    return 0.5 * (1 + tanh(0.5 * x))


def concat(tensors, axis):
    ends = np.cumsum([t.shape[axis] for t in tensors])
    vjps = [lambda d, i=i: np.split(d, ends[:-1], axis)[i]
            for i in range(len(tensors))]
    return Tensor(np.concatenate([t.value for t in tensors], axis),
                  *zip(tensors, vjps))


def cross_entropy(logits, targets):
    """Mean over the targets that are not -100."""
    x = logits.value - logits.value.max(-1, keepdims=True)
    log_prob = x - np.log(np.exp(x).sum(-1, keepdims=True))
    used = targets != -100
    one_hot = np.eye(x.shape[-1])[np.where(used, targets, 0)]
    weight = (used / used.sum())[..., None]
    return Tensor(-(weight * one_hot * log_prob).sum(),
                  (logits, lambda d: d * weight * (np.exp(log_prob) - one_hot)))
