"""What all layers share: parameters, modes, state dicts, and layers in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bnlib.validate import Array


class Parameter:
    """A learned array and its gradient.

    Parameters
    ----------
    data : ndarray
        The values.

    Attributes
    ----------
    data : ndarray
        The values.
    grad : ndarray or None
        Sum of the gradients since `zero_grad`; None before the first backward pass.
    """

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad: Array | None = None

    def accumulate(self, grad: Array | None) -> None:
        """Add a gradient to ``grad``.

        Parameters
        ----------
        grad : ndarray or None
            Gradient, like ``data``; None adds nothing.
        """
        if grad is not None:
            self.grad = grad if self.grad is None else self.grad + grad


class Module:
    """Base of all layers.

    Attributes
    ----------
    training : bool
        Training mode (True at first) or evaluation mode.
    buffer_names : tuple of str
        Attributes that belong to the state and are not learned.
    can_skip_input_grad : bool
        Whether ``backward`` takes ``input_grad=False``, as that of a linear layer.
    """

    buffer_names: tuple[str, ...] = ()
    can_skip_input_grad = False

    def __init__(self) -> None:
        self.training = True
        self._cache = None

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Compute the output and keep what the backward pass needs.

        Parameters
        ----------
        x : ndarray
            Input.

        Returns
        -------
        y : ndarray
            Output.
        """
        raise NotImplementedError

    def backward(self, grad_output: Array) -> Array:
        """Backpropagate through the last forward pass; parameters collect gradients.

        Parameters
        ----------
        grad_output : ndarray
            Gradient with respect to the output.

        Returns
        -------
        grad_x : ndarray
            Gradient with respect to the input.

        Raises
        ------
        RuntimeError
            There was no forward pass.
        """
        raise NotImplementedError

    def _saved(self):
        if self._cache is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward pass before it"
            )
        return self._cache

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and the module of each module right inside this one."""
        return iter(())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield the name and the module, this one first, then those inside it."""
        yield prefix, self
        for name, module in self.children():
            yield from module.named_modules(f"{prefix}{'.' if prefix else ''}{name}")

    def modules(self) -> Iterator[Module]:
        """Yield this module and those inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the name, as in the state dict, and the parameter."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}{'.' if prefix else ''}{name}", value

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        """Set training mode (or, with False, evaluation mode) here and inside.

        Parameters
        ----------
        mode : bool
            True for training.

        Returns
        -------
        self : Module
            For chaining.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and inside; return self."""
        return self.train(False)

    def _state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the arrays of the state dict: parameters, then buffers."""
        for prefix, module in self.named_modules():
            dot = "." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}{dot}{name}", value.data
            for name in module.buffer_names:
                if getattr(module, name) is not None:
                    yield f"{prefix}{dot}{name}", getattr(module, name)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers under PyTorch's keys.

        Returns
        -------
        state : dict of str to ndarray
            ``{k: torch.from_numpy(v)}`` of it loads into the same torch module.
        """
        return {name: np.array(value, order="C") for name, value in self._state()}

    def load_state_dict(self, state: Mapping[str, object], strict: bool = True) -> None:
        """Copy parameters and buffers from a state dict; all of it or nothing.

        Parameters
        ----------
        state : mapping of str to array_like
            From `state_dict`, or a torch state dict (its tensors are arrays to NumPy).
        strict : bool
            Whether the keys must be the same.

        Raises
        ------
        KeyError
            Keys are missing or not expected, and strict is True.
        ValueError
            A shape differs. Nothing was changed.
        """
        own = dict(self._state())
        missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
        if strict and (missing or unexpected):
            raise KeyError(
                f"missing keys {sorted(missing)}, unexpected keys {sorted(unexpected)}"
            )
        new = {
            name: np.asarray(state[name], own[name].dtype)
            for name in own
            if name in state
        }
        for name, value in new.items():
            if value.shape != own[name].shape:
                raise ValueError(
                    f"{name} must have shape {own[name].shape}, got {value.shape}"
                )
        for name, value in new.items():
            own[name][...] = value


class Sequential(Module):
    """Layers, one after the other; index, iterate and take the length as of a list.

    Parameters
    ----------
    *layers : Module
        The layers, in order.
    """

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield "0", "1", ... and the layers."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Array) -> Array:
        """Pass x through all layers."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Pass the gradient through all layers in reverse.

        Parameters
        ----------
        grad_output : ndarray
            Gradient with respect to the output.
        input_grad : bool
            Whether the gradient with respect to the input is wanted. Training does not
            need it, and a first `Linear` layer then leaves out a large product.

        Returns
        -------
        grad_x : ndarray or None
            Gradient with respect to the input.
        """
        for layer in reversed(self.layers[1:]):
            grad_output = layer.backward(grad_output)
        first = self.layers[0]
        if input_grad or not first.can_skip_input_grad:
            return first.backward(grad_output)
        return first.backward(grad_output, input_grad=False)
